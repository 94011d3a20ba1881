//! Somebody who ends workers in many ways.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::Process;
use serde_json::json;
use simward_tests::client::HttpClient;

use crate::rooms::Room;
use crate::server::Server;

/// How often a worker is disturbed.
const EVERY: Duration = Duration::from_millis(200);

/// What a worker may have where it is to be made to swell, as `KEY=VALUE`.
pub(crate) const MEMORY: &str = "pool.worker_memory_bytes=1073741824";

/// A model that needs more.
const HOG: &str = "<mujoco><size memory='2G'/><worldbody><geom size='1'/></worldbody></mujoco>";

/// What was done to workers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Disturbances {
    pub(crate) killed: u32,
    pub(crate) stopped: u32,
    pub(crate) swollen: u32,
}

/// Disturbs workers of these sessions until it is told to end.
pub(crate) fn disturb(server: &Server, victims: &[Room], end: &AtomicBool) -> Disturbances {
    let mut client = server.client();
    let mut done = Disturbances::default();
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    let mut next = Instant::now();
    while !end.load(Ordering::Relaxed) {
        let victim = &victims[chance.below(victims.len())];
        match chance.below(3) {
            0 => done.killed += u32::from(signal(server, &mut client, victim, Signal::SIGKILL)),
            1 => done.stopped += u32::from(signal(server, &mut client, victim, Signal::SIGSTOP)),
            _ => done.swollen += u32::from(swell(&mut client, victim)),
        }
        next += EVERY;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    done
}

/// Sends a signal to a session's worker, if it has one.
fn signal(server: &Server, client: &mut HttpClient, victim: &Room, signal: Signal) -> bool {
    let info = victim.tool(client, "get_session_info", json!({})).unwrap();
    let Some(pid) = info["pid"].as_i64() else { return false };
    let pid = i32::try_from(pid).unwrap();
    // It may be gone, and its number be another's.
    let stat = Process::new(pid).and_then(|process| process.stat());
    stat.is_ok_and(|stat| stat.ppid == server.pid()) && kill(Pid::from_raw(pid), signal).is_ok()
}

/// Lets a worker ask for more memory than it may have.
pub(crate) fn swell(client: &mut HttpClient, victim: &Room) -> bool {
    let arguments = json!({ "model_xml": HOG, "model_id": "hog" });
    let refused = victim.tool(client, "load_model", arguments);
    let refused = refused.expect_err("a worker has more memory than it may have");
    refused["code"] == "worker_lost"
}

/// Numbers that look random, and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }
}
