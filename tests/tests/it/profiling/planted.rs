//! A profile finds what was put there to be found.

use serde_json::{Value, json};
use simward_tests::daemon::Setup;
use simward_tests::fake::How;
use simward_tests::programs;
use simward_tests::wait::wait_for;

use super::{look, number, start_cpu};

#[test]
fn a_planted_hot_spot_is_found() {
    let profiler = env!("CARGO_BIN_EXE_profiler-under-test");
    let daemon = Setup::rogue(&programs!(), How::HasHotSpot)
        .set("profiling.program", &format!("{profiler:?}"))
        .serve();
    let mut client = daemon.client();
    let session = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    client.tool("load_model", json!({ "session_id": session, "model_xml": "<mujoco/>" })).unwrap();
    let ask = json!({ "session_id": session, "duration_secs": 1.5, "frequency_hz": 499 });
    let Some(id) = start_cpu(&mut client, ask) else { return };
    let top = wait_for("the end of the profile", || {
        client.tool("step_simulation", json!({ "session_id": session, "steps": 1 })).unwrap();
        let top = look(&mut client, &id, "top");
        (top["state"] != "running").then_some(top)
    });
    assert_eq!(top["state"], "done", "{top}");
    let rows = top["cpu"]["functions"].as_array().unwrap();
    let is_planted = |row: &&Value| row["name"].as_str().unwrap().contains("planted_hot_spot");
    let planted = rows.iter().find(is_planted).unwrap();
    assert!(0.9 <= number(&planted["total_ratio"]), "{planted} of {}", top["cpu"]);
    // What was compiled without optimisation spends its time in what it calls, too.
    let tree = look(&mut client, &id, "tree");
    let nodes = tree["cpu"]["tree"].as_array().unwrap();
    assert!(nodes.iter().any(|node| is_planted(&node)), "{tree}");
}
