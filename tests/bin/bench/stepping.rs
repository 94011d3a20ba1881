//! What a step costs through the daemon, beside what it costs in the engine alone.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::json;
use simward_supervisor::scenes;
use simward_tests::models;

use crate::bare::Bare;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;
use crate::wire::request;
use crate::{Bench, process};

/// How many steps a batch has.
const STEPS: u32 = 1000;

/// How often both sides start anew. Where a process happens to put its memory makes its steps a few
/// percent faster or slower, the engine's own as well; only several starts even that out.
const HEATS: u32 = 10;

/// How many batches of humanoid steps each side takes in a heat.
const HUMANOID_BATCHES: u32 = 12;

/// How many batches of pendulum steps each side takes in a heat.
const PENDULUM_BATCHES: u32 = 100;

/// How many batches one side takes before it is the other's turn.
const TURN: u32 = 4;

/// How often each short call is made.
const SHORT_CALLS: u32 = 5000;

pub(crate) fn humanoid(bench: &Bench, report: &mut Report) {
    let server = Server::start(&bench.programs);
    let model = models::path("humanoid");
    let mut race = Race::default();
    for _ in 0..bench.options.times(HEATS) {
        let bare = Bare::start(&bench.programs, &model, STEPS);
        let room = Room::open(&mut server.client());
        room.load_humanoid(&mut server.client());
        race.heat(&server, &room, bare, HUMANOID_BATCHES);
    }
    race.tell(report, (3, "1,000 humanoid steps"), 0.97);
    one_step(bench, report, &server);
}

pub(crate) fn pendulum(bench: &Bench, report: &mut Report) {
    let server = Server::start(&bench.programs);
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("pendulum.xml");
    std::fs::write(&model, scenes::build("pendulum", &BTreeMap::new()).unwrap()).unwrap();
    let mut race = Race::default();
    for _ in 0..bench.options.times(HEATS) {
        let bare = Bare::start(&bench.programs, &model, STEPS);
        let room = Room::open(&mut server.client());
        room.load_pendulum(&mut server.client());
        race.heat(&server, &room, bare, PENDULUM_BATCHES);
    }
    race.tell(report, (5, "1,000 pendulum steps"), 0.8);
}

/// The same steps of the same model, batch by batch, through the daemon and in the engine alone.
/// Both go through the same states, so the steps cost the same.
#[derive(Default)]
struct Race {
    /// Steps per second of each batch.
    daemon: Samples,
    bare: Samples,
    /// Processor time of all batches, in seconds: of the sessions' workers, and of the bare loops.
    worker_cpu_secs: f64,
    bare_cpu_secs: f64,
}

impl Race {
    fn heat(&mut self, server: &Server, room: &Room, mut bare: Bare, batches: u32) {
        let mut wire = server.wire();
        let call = room.request("step_simulation", json!({ "steps": STEPS }));
        let mut through_daemon = || {
            let begun = Instant::now();
            wire.call(&call).expect_success();
            f64::from(STEPS) / begun.elapsed().as_secs_f64()
        };
        // The first batch of a new process pays for memory that nobody has touched.
        through_daemon();
        bare.batch();
        let cpu_before = (process::ran_secs(room.pid), process::ran_secs(bare.pid()));
        for turn in 0..batches / TURN {
            // Whoever comes second may find warmer or more crowded caches.
            for daemons in [turn % 2 == 0, turn % 2 != 0] {
                for _ in 0..TURN {
                    if daemons {
                        self.daemon.add(through_daemon());
                    } else {
                        self.bare.add(bare.batch());
                    }
                }
            }
        }
        self.worker_cpu_secs += process::ran_secs(room.pid) - cpu_before.0;
        self.bare_cpu_secs += process::ran_secs(bare.pid()) - cpu_before.1;
    }

    fn tell(&self, report: &mut Report, (number, what): (u32, &str), target: f64) {
        let (daemon, bare) = (self.daemon.median(), self.bare.median());
        let name = format!("{what} in one call (ratio: to the bare loop)");
        let row = Row::new(number, &name, daemon, "steps/s");
        report.add(row.ratio(daemon / bare).ratio_at_least(target));
        let name = format!("{what} in the bare loop");
        report.add(Row::new(number, &name, bare, "steps/s"));
        let beside = f64::from(STEPS) * (1e6 / daemon - 1e6 / bare);
        let name = format!("{what} in one call, beside what the bare loop takes");
        report.add(Row::new(number, &name, beside, "µs"));
        let steps = self.daemon.count() * f64::from(STEPS);
        let per_cpu_sec = steps / self.worker_cpu_secs;
        let name = format!("{what}, by the worker's CPU time (ratio: to the bare loop's)");
        let row = Row::new(number, &name, per_cpu_sec, "steps/CPU-s");
        report.add(row.ratio(self.bare_cpu_secs / self.worker_cpu_secs));
    }
}

/// One step a call, taking turns with a call that asks no worker.
fn one_step(bench: &Bench, report: &mut Report, server: &Server) {
    let room = Room::open(&mut server.client());
    room.load_humanoid(&mut server.client());
    let mut wire = server.wire();
    let idle = request("get_server_info", &json!({}));
    let step = room.request("step_simulation", json!({ "steps": 1 }));
    let (mut idles, mut steps) = (Samples::default(), Samples::default());
    for _ in 0..bench.options.times(SHORT_CALLS) {
        for (call, samples) in [(&idle, &mut idles), (&step, &mut steps)] {
            let begun = Instant::now();
            wire.call(call).expect_success();
            samples.add_micros(begun.elapsed());
        }
    }
    let what = "1 humanoid step in one call, p50 (ratio: to get_server_info)";
    let row = Row::new(3, what, steps.median(), "µs");
    report.add(row.ratio(steps.median() / idles.median()).ratio_at_most(2.5));
    report.add(Row::new(3, "1 humanoid step in one call, p99", steps.quantile(99), "µs"));
    report.add(Row::new(3, "get_server_info, p50", idles.median(), "µs"));
}
