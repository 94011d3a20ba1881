//! How soon the owner of a killed worker hears of it.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use simward_tests::client::HttpClient;

use crate::Bench;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;
use crate::wire::Wire;

const KILLS: u32 = 50;

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let server = Server::start(&bench.programs);
    let (mut client, mut wire) = (server.client(), server.wire());
    let (mut next, mut back, mut within) =
        (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..bench.options.times(KILLS) {
        // A session of its own for each kill: one that loses many gets no other worker.
        let room = Room::open(&mut client);
        let (told, well) = kill_before(&room, &mut wire);
        next.add_millis(told);
        back.add_millis(well);
        room.close(&mut client);
        within.add_millis(kill_within(&mut client, &mut wire));
    }
    // A call that comes after the loss was noticed is no part of it, and the next worker answers.
    let what = "SIGKILL of a worker until the next call is answered or refused with worker_lost";
    let row = Row::new(7, &format!("{what}, p95"), next.quantile(95), "ms").at_most(50.0);
    report.add(row);
    report.add(Row::new(7, &format!("{what}, p50"), next.median(), "ms"));
    let what = "SIGKILL until the call under way is refused with worker_lost";
    report.add(Row::new(7, &format!("{what}, p95"), within.quantile(95), "ms"));
    let what = "SIGKILL until the session answers again, with a new worker";
    report.add(Row::new(7, &format!("{what}, p50"), back.median(), "ms"));
    report.add(Row::new(7, &format!("{what}, p95"), back.quantile(95), "ms"));
}

/// Kills a worker, and then calls; returns when that was answered or refused, and when a call
/// succeeded.
fn kill_before(room: &Room, wire: &mut Wire) -> (Duration, Duration) {
    let call = room.request("get_loaded_models", json!({}));
    wire.call(&call).expect_success();
    let begun = Instant::now();
    kill(Pid::from_raw(room.pid), Signal::SIGKILL).unwrap();
    let answer = wire.call(&call);
    let told = begun.elapsed();
    if answer.is_success() {
        return (told, told);
    }
    assert_eq!(answer.content()["code"], "worker_lost", "{}", answer.content());
    wire.call(&call).expect_success();
    (told, begun.elapsed())
}

/// Kills a worker that is stepping; returns when the call was refused.
fn kill_within(client: &mut HttpClient, wire: &mut Wire) -> Duration {
    let room = Room::open(client);
    room.load_humanoid(client);
    room.begin_steps(wire);
    let begun = Instant::now();
    kill(Pid::from_raw(room.pid), Signal::SIGKILL).unwrap();
    let answer = wire.receive();
    let told = begun.elapsed();
    assert_eq!(answer.content()["code"], "worker_lost", "{}", answer.content());
    room.close(client);
    told
}
