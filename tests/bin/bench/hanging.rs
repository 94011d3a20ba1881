//! How soon it is noticed that a worker hangs.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use simward_tests::daemon::is_alive;

use crate::Bench;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;

/// What `pool.hang_after_secs` is, where it is not as it comes, and what is promised in seconds.
const LIMITS: [(Option<&str>, f64); 2] = [(None, 1.0), (Some("pool.hang_after_secs=0.2"), 0.2)];

const HANGS: u32 = 20;

/// How often it is looked whether the worker is gone.
const LOOK: Duration = Duration::from_micros(500);

/// How long a worker that hangs may be there.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    for (setting, target) in LIMITS {
        let server = Server::start_with(&bench.programs, setting.as_slice());
        let mut client = server.client();
        let template = Room::open(&mut client);
        template.load_humanoid(&mut client);
        let (mut gone, mut told) = (Samples::default(), Samples::default());
        for _ in 0..bench.options.times(HANGS) {
            let room = template.fork(&mut client, 1).remove(0);
            let (noticed, refused) = stop(&server, &room);
            gone.add(noticed.as_secs_f64());
            told.add(refused.as_secs_f64());
            room.close(&mut client);
        }
        let with = setting.unwrap_or("as it comes");
        let what = format!("SIGSTOP of a stepping worker until it is ended, {with}");
        report.add(Row::new(8, &format!("{what}, largest"), gone.max(), "s").at_most(target));
        report.add(Row::new(8, &format!("{what}, p50"), gone.median(), "s"));
        let what = format!("the same until its call is refused and its session is back, {with}");
        report.add(Row::new(8, &format!("{what}, p50"), told.median(), "s"));
    }
}

/// Stops a worker that is stepping; tells when it was gone, and when its call was refused.
fn stop(server: &Server, room: &Room) -> (Duration, Duration) {
    let mut wire = server.wire();
    room.begin_steps(&mut wire);
    let begun = Instant::now();
    kill(Pid::from_raw(room.pid), Signal::SIGSTOP).unwrap();
    while is_alive(room.pid) {
        assert!(begun.elapsed() < PATIENCE, "nobody notices that a worker is stopped");
        std::thread::sleep(LOOK);
    }
    let gone = begun.elapsed();
    let answer = wire.receive();
    assert_eq!(answer.content()["code"], "worker_lost", "{}", answer.content());
    let told = begun.elapsed();
    wire.call(&room.request("get_state", json!({}))).expect_success();
    (gone, told)
}
