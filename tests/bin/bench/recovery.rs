//! How soon a session goes on that has lost its worker, or let it go.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use simward_tests::client::HttpClient;
use simward_tests::daemon::is_alive;
use simward_tests::wait::wait_until;

use crate::Bench;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;
use crate::wire::Wire;

/// The models, how often a worker of each is killed, and the promised p50 and p99.
const MODELS: [(&str, u32, f64, f64); 2] =
    [("humanoid", 100, 25.0, 100.0), ("ur5e", 50, 200.0, f64::NAN)];

/// How often a session is put to sleep and woken.
const WAKES: u32 = 100;

type Kill = fn(&Server, &Room) -> Duration;

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let server = Server::start(&bench.programs);
    for (model, kills, p50, p99) in MODELS {
        let kills = bench.options.times(kills);
        let mut client = server.client();
        let template = Room::open(&mut client);
        template.load(&mut client, model);
        let mut idle = Samples::default();
        let mut within = Samples::default();
        for _ in 0..kills {
            // A session of its own for each kill: from the second loss on there is a pause before
            // the next worker.
            let kill: [(&mut Samples, Kill); 2] =
                [(&mut idle, kill_idle), (&mut within, kill_within)];
            for (samples, kill) in kill {
                let room = template.fork(&mut client, 1).remove(0);
                samples.add_millis(kill(&server, &room));
                room.close(&mut client);
            }
        }
        let what = format!("SIGKILL of an idle worker with a {model} until a call succeeds");
        tell(report, &what, &idle, (p50, p99));
        let what = format!("SIGKILL of a stepping worker with a {model} until a call succeeds");
        tell(report, &what, &within, (p50, p99));
    }
    wake(bench, report, &server);
}

/// Adds a p50 and a p99.
fn tell(report: &mut Report, what: &str, samples: &Samples, targets: (f64, f64)) {
    let rows = [("p50", samples.median(), targets.0), ("p99", samples.quantile(99), targets.1)];
    for (name, value, target) in rows {
        let row = Row::new(8, &format!("{what}, {name}"), value, "ms");
        report.add(if target.is_nan() { row } else { row.at_most(target) });
    }
}

/// Kills a worker that nobody calls, and calls.
fn kill_idle(server: &Server, room: &Room) -> Duration {
    let mut wire = server.wire();
    let call = room.request("get_state", json!({}));
    wire.call(&call).expect_success();
    let begun = Instant::now();
    kill(Pid::from_raw(room.pid), Signal::SIGKILL).unwrap();
    succeed(&mut wire, &call);
    begun.elapsed()
}

/// Kills a worker that is stepping, hears of it, and calls again.
fn kill_within(server: &Server, room: &Room) -> Duration {
    let mut wire = server.wire();
    room.begin_steps(&mut wire);
    let begun = Instant::now();
    kill(Pid::from_raw(room.pid), Signal::SIGKILL).unwrap();
    let answer = wire.receive();
    assert_eq!(answer.content()["code"], "worker_lost", "{}", answer.content());
    succeed(&mut wire, &room.request("get_state", json!({})));
    begun.elapsed()
}

/// Calls until it is no longer refused because of the loss.
fn succeed(wire: &mut Wire, call: &[u8]) {
    loop {
        let answer = wire.call(call);
        if answer.is_success() {
            return;
        }
        assert_eq!(answer.content()["code"], "worker_lost", "{}", answer.content());
    }
}

/// Puts a session to sleep, waits until its process is gone, and calls.
fn wake(bench: &Bench, report: &mut Report, server: &Server) {
    let mut client = server.client();
    let room = Room::open(&mut client);
    room.load_humanoid(&mut client);
    let mut wire = server.wire();
    let call = room.request("get_state", json!({}));
    let (mut asleep, mut awake) = (Samples::default(), Samples::default());
    for _ in 0..bench.options.times(WAKES) {
        let pid = pid(&mut client, &room);
        let begun = Instant::now();
        room.tool(&mut client, "hibernate_session", json!({})).unwrap();
        asleep.add_millis(begun.elapsed());
        wait_until("the process of a session that sleeps is gone", || !is_alive(pid));
        let begun = Instant::now();
        wire.call(&call).expect_success();
        awake.add_millis(begun.elapsed());
    }
    tell(report, "a call wakes a hibernated humanoid", &awake, (25.0, 100.0));
    report.add(Row::new(8, "hibernate_session with a humanoid, p50", asleep.median(), "ms"));
}

fn pid(client: &mut HttpClient, room: &Room) -> i32 {
    let info = room.tool(client, "get_session_info", json!({})).unwrap();
    i32::try_from(info["pid"].as_i64().expect("it is awake")).unwrap()
}
