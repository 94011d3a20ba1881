//! What it costs that every change is kept before it is answered.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use simward_tests::models;

use crate::Bench;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;

/// How often one step is asked for.
const CALLS: u32 = 10_000;

/// How many checkpoints of a humanoid are taken.
const COMMITS: u32 = 100_000;

/// How many checkpoints of the crowd are taken.
const CROWD_COMMITS: u32 = 1000;

/// A hundred humanoids, each out of the others' reach.
const CROWD: &str = r#"<mujoco>
  <size memory="500M"/>
  <option timestep="0.005" iterations="1" ls_iterations="4"/>
  <asset><model name="humanoid" file="HUMANOID"/></asset>
  <worldbody>
    <geom type="plane" size="100 100 .1"/>
    <replicate count="10" offset="3 0 0"><replicate count="10" offset="0 3 0">
      <frame><attach model="humanoid" body="torso" prefix="a"/></frame>
    </replicate></replicate>
  </worldbody>
</mujoco>"#;

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let humanoid = models::path("humanoid");
    let rounds = bench.options.times(COMMITS);
    let one = cost(bench, &humanoid, &folder.path().join("one"), rounds);
    let call = one_step(bench);
    let what = "checkpoint of a humanoid, p50 (ratio: to step_simulation with 1 step)";
    let row = Row::new(9, what, one.commit, "µs");
    report.add(row.ratio(one.commit / call).ratio_at_most(0.05));
    report.add(Row::new(9, "step_simulation with 1 step of a humanoid, p50", call, "µs"));
    let what = "checkpoint of a humanoid, p50 (ratio: to one mj_step)";
    report.add(Row::new(9, what, one.commit, "µs").ratio(one.commit / one.step));

    let crowd = folder.path().join("crowd.xml");
    let path = std::path::absolute(humanoid).unwrap().display().to_string();
    std::fs::write(&crowd, CROWD.replace("HUMANOID", &path)).unwrap();
    let rounds = bench.options.times(CROWD_COMMITS);
    let many = cost(bench, &crowd, &folder.path().join("many"), rounds);
    let what = "checkpoint of 100 humanoids in one model, p50 (ratio: to one mj_step)";
    report.add(Row::new(9, what, many.commit, "µs").ratio(many.commit / many.step));
    let sizes = [("a humanoid", &one), ("100 humanoids in one model", &many)];
    for (what, Cost { values, bytes, .. }) in sizes {
        report.add(Row::new(9, &format!("values in the state of {what}"), *values, ""));
        report.add(Row::new(9, &format!("checkpoint file of {what}"), bytes / 1e3, "kB"));
    }
}

/// What `commit_cost` measured.
struct Cost {
    values: f64,
    bytes: f64,
    step: f64,
    commit: f64,
}

fn cost(bench: &Bench, model: &Path, file: &Path, rounds: u32) -> Cost {
    let mut command = Command::new(&bench.programs.commit_cost);
    command.arg(model).arg(file).arg(rounds.to_string());
    // The engine writes its warnings into the folder that it is started in.
    let output = command.current_dir(file.parent().unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "commit_cost: {}: {said}", output.status);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |name: &str| said[name].as_f64().unwrap();
    Cost {
        values: number("values"),
        bytes: number("file_bytes"),
        step: number("step_micros"),
        commit: number("commit_micros"),
    }
}

/// What a call with one step takes, in microseconds.
fn one_step(bench: &Bench) -> f64 {
    let server = Server::start(&bench.programs);
    let mut client = server.client();
    let room = Room::open(&mut client);
    room.load_humanoid(&mut client);
    let mut wire = server.wire();
    let call = room.request("step_simulation", json!({ "steps": 1 }));
    let mut micros = Samples::default();
    for _ in 0..bench.options.times(CALLS) {
        let begun = Instant::now();
        wire.call(&call).expect_success();
        micros.add_micros(begun.elapsed());
    }
    micros.median()
}
