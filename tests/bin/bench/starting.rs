//! How long a session takes to be there.

use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;

use crate::Bench;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;
use crate::wire::request;

const SESSIONS: u32 = 200;

/// What is done before the clock counts.
const WARM_UP: u32 = 5;

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let server = Server::start(&bench.programs);
    let mut wire = server.wire();
    let create = request("create_session", &json!({}));
    let (mut created, mut closed) = (Samples::default(), Samples::default());
    let mut bare = Samples::default();
    for round in 0..WARM_UP + bench.options.times(SESSIONS) {
        let begun = Instant::now();
        let answer = wire.call(&create);
        let create_took = begun.elapsed();
        answer.expect_success();
        let room = Room::described(&answer.content());
        let close = room.request("close_session", json!({}));
        let begun = Instant::now();
        wire.call(&close).expect_success();
        let close_took = begun.elapsed();
        let begun = Instant::now();
        start_bare(bench);
        let bare_took = begun.elapsed();
        if WARM_UP <= round {
            created.add_millis(create_took);
            closed.add_millis(close_took);
            bare.add_millis(bare_took);
        }
    }
    let p50 = created.median();
    let row = Row::new(1, "create_session until ready, p50", p50, "ms").at_most(10.0);
    report.add(row);
    let p99 = created.quantile(99);
    report.add(Row::new(1, "create_session until ready, p99", p99, "ms").at_most(50.0));
    let what = "fork+exec of the worker alone, p50 (ratio: create_session to it)";
    report.add(Row::new(1, what, bare.median(), "ms").ratio(p50 / bare.median()));
    let what = "fork+exec of the worker alone, p99 (ratio: create_session to it)";
    report.add(Row::new(1, what, bare.quantile(99), "ms").ratio(p99 / bare.quantile(99)));
    report.add(Row::new(1, "close_session until gone, p50", closed.median(), "ms"));
}

/// Starts a worker that says its version, and waits for its end.
fn start_bare(bench: &Bench) {
    let mut command = Command::new(&bench.programs.worker);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null());
    assert!(command.status().unwrap().success(), "the worker does not start");
}
