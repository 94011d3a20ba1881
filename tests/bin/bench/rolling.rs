//! What many futures of one state cost through the daemon, beside the engine's own batch.

use std::time::Instant;

use serde_json::{Value, json};
use simward_tests::models;

use crate::Bench;
use crate::bare::Bare;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;

const SIMULATIONS: u32 = 64;
const STEPS: u32 = 1000;

/// How often each side takes its turn.
const TURNS: u32 = 12;

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let server = Server::start(&bench.programs);
    let model = models::path("humanoid");
    let mut bare = Bare::rollout(&bench.programs, &model, SIMULATIONS, STEPS);
    let room = Room::open(&mut server.client());
    room.load_humanoid(&mut server.client());
    let mut wire = server.wire();
    let nothing: Vec<Value> = (0..SIMULATIONS).map(|_| json!([])).collect();
    let rollout = json!({ "controls": nothing, "steps": STEPS, "include": [] });
    let call = room.request("rollout", rollout);
    let (mut ours, mut bares) = (Samples::default(), Samples::default());
    for turn in 0..bench.options.times(TURNS) {
        for ours_now in [turn % 2 == 0, turn % 2 != 0] {
            if ours_now {
                let begun = Instant::now();
                wire.call(&call).expect_success();
                let steps = f64::from(SIMULATIONS) * f64::from(STEPS);
                ours.add(steps / begun.elapsed().as_secs_f64());
            } else {
                bares.add(bare.batch());
            }
        }
    }
    let (ours, bare) = (ours.median(), bares.median());
    let name = "rollout of 64 x 1,000 humanoid steps (ratio: to the engine's own batch)";
    report.add(Row::new(13, name, ours, "steps/s").ratio(ours / bare).ratio_at_least(0.95));
    report.add(Row::new(
        13,
        "64 x 1,000 humanoid steps in the engine's own batch",
        bare,
        "steps/s",
    ));
}
