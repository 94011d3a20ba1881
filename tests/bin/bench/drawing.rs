//! How long a picture takes.

use std::time::Instant;

use serde_json::json;

use crate::Bench;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;

const PICTURES: u32 = 40;
const SESSIONS: u32 = 5;

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let server = Server::start(&bench.programs);
    let mut client = server.client();
    let (mut first, mut later) = (Samples::default(), Samples::default());
    for _ in 0..bench.options.times(SESSIONS) {
        let room = Room::open(&mut client);
        room.load_humanoid(&mut client);
        let mut wire = server.wire();
        let draw = room.request("render_frame", json!({ "width": 640, "height": 480 }));
        for picture in 0..=bench.options.times(PICTURES) {
            let begun = Instant::now();
            wire.call(&draw).expect_success();
            let samples = if picture == 0 { &mut first } else { &mut later };
            samples.add_millis(begun.elapsed());
        }
        room.close(&mut client);
    }
    let what = "render_frame of a humanoid, 640x480, after the first, p50";
    report.add(Row::new(14, what, later.median(), "ms").at_most(100.0));
    let what = "render_frame of a humanoid, 640x480, the first of a session, largest";
    report.add(Row::new(14, what, first.max(), "ms").at_most(1500.0));
}
