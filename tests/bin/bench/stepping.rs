//! What a step costs through the daemon, beside what it costs in the engine alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use simward_supervisor::scenes;
use simward_tests::models;

use crate::bare::Bare;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;
use crate::wire::{Wire, request};
use crate::{Bench, process};

/// How many steps a batch has.
const STEPS: u32 = 1000;

/// How often each side takes a batch of humanoid steps.
const HUMANOID_BATCHES: u32 = 100;

/// How often each side takes a batch of pendulum steps.
const PENDULUM_BATCHES: u32 = 1000;

/// How often each short call is made.
const SHORT_CALLS: u32 = 5000;

pub(crate) fn humanoid(bench: &Bench, report: &mut Report) {
    let server = Server::start(&bench.programs);
    let mut client = server.client();
    let room = Room::open(&mut client);
    room.load_humanoid(&mut client);
    let bare = Bare::start(&bench.programs, &models::path("humanoid"), STEPS);
    let mut wire = server.wire();
    let race = Race::run(bare, &room, &mut wire, bench.options.times(HUMANOID_BATCHES));
    race.tell(report, (3, "1,000 humanoid steps"), 0.97);
    one_step(bench, report, &room, &mut wire);
}

pub(crate) fn pendulum(bench: &Bench, report: &mut Report) {
    let server = Server::start(&bench.programs);
    let mut client = server.client();
    let room = Room::open(&mut client);
    room.load_pendulum(&mut client);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pendulum.xml");
    write_pendulum(&path);
    let bare = Bare::start(&bench.programs, &path, STEPS);
    let mut wire = server.wire();
    let race = Race::run(bare, &room, &mut wire, bench.options.times(PENDULUM_BATCHES));
    race.tell(report, (5, "1,000 pendulum steps"), 0.8);
}

fn write_pendulum(path: &Path) {
    let text = scenes::build("pendulum", &BTreeMap::new()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The same steps of the same model, batch by batch, through the daemon and in the engine alone.
/// Both go through the same states, so the steps cost the same.
struct Race {
    /// Steps per second of each batch.
    daemon: Samples,
    bare: Samples,
    /// Processor time of all batches, in seconds, of the session's worker.
    worker_cpu_secs: f64,
    bare_cpu_secs: f64,
}

impl Race {
    fn run(mut bare: Bare, room: &Room, wire: &mut Wire, batches: u32) -> Self {
        let call = room.request("step_simulation", json!({ "steps": STEPS }));
        let mut through_daemon = || {
            let begun = Instant::now();
            wire.call(&call).expect_success();
            f64::from(STEPS) / begun.elapsed().as_secs_f64()
        };
        let cpu_before = (process::ran_secs(room.pid), process::ran_secs(bare.pid()));
        let mut samples = (Samples::default(), Samples::default());
        for batch in 0..batches {
            // Whoever comes second may find warmer or more crowded caches.
            if batch % 2 == 0 {
                samples.0.add(through_daemon());
                samples.1.add(bare.batch());
            } else {
                samples.1.add(bare.batch());
                samples.0.add(through_daemon());
            }
        }
        Self {
            daemon: samples.0,
            bare: samples.1,
            worker_cpu_secs: process::ran_secs(room.pid) - cpu_before.0,
            bare_cpu_secs: process::ran_secs(bare.pid()) - cpu_before.1,
        }
    }

    fn tell(&self, report: &mut Report, (number, what): (u32, &str), target: f64) {
        let (daemon, bare) = (self.daemon.median(), self.bare.median());
        let name = format!("{what} in one call (ratio: to the bare loop)");
        let row = Row::new(number, &name, daemon, "steps/s");
        report.add(row.ratio(daemon / bare).ratio_at_least(target));
        let name = format!("{what} in the bare loop");
        report.add(Row::new(number, &name, bare, "steps/s"));
        let steps = self.daemon.count() * f64::from(STEPS);
        let per_cpu_sec = steps / self.worker_cpu_secs;
        let name = format!("{what}, by the worker's CPU time (ratio: to the bare loop's)");
        let row = Row::new(number, &name, per_cpu_sec, "steps/CPU-s");
        report.add(row.ratio(self.bare_cpu_secs / self.worker_cpu_secs));
    }
}

/// One step a call, taking turns with a call that asks no worker.
fn one_step(bench: &Bench, report: &mut Report, room: &Room, wire: &mut Wire) {
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
