//! Snapshots: whatever happens in between, what follows one is the same to the last bit.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::Setup;
use simward_tests::{models, programs};

fn session(client: &mut HttpClient, model: &str) -> Value {
    let id = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    let mut arguments = models::arguments(model);
    arguments["session_id"] = id.clone();
    client.tool("load_model", arguments).unwrap();
    id
}

fn step(client: &mut HttpClient, id: &Value, steps: u64) {
    client.tool("step_simulation", json!({ "session_id": id, "steps": steps })).unwrap();
}

fn state(client: &mut HttpClient, id: &Value) -> Value {
    client.tool("get_state", json!({ "session_id": id })).unwrap()
}

fn take(client: &mut HttpClient, id: &Value) -> Value {
    client.tool("get_snapshot", json!({ "session_id": id })).unwrap()
}

fn restore(client: &mut HttpClient, id: &Value, snapshot: &Value) -> Result<Value, Value> {
    let arguments = json!({ "session_id": id, "snapshot_id": snapshot["snapshot_id"] });
    client.tool("restore_snapshot", arguments)
}

#[test]
fn a_restored_snapshot_goes_on_to_the_last_bit_in_any_session_of_the_same_model() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let (one, other) = (session(&mut client, "humanoid"), session(&mut client, "humanoid"));
    step(&mut client, &one, 137);
    let snapshot = take(&mut client, &one);
    let there = state(&mut client, &one);
    assert_eq!(snapshot["time_secs"], there["time_secs"]);
    step(&mut client, &one, 200);
    let later = state(&mut client, &one);

    restore(&mut client, &one, &snapshot).unwrap();
    assert_eq!(state(&mut client, &one), there);
    step(&mut client, &one, 200);
    assert_eq!(state(&mut client, &one), later);

    step(&mut client, &other, 11);
    restore(&mut client, &other, &snapshot).unwrap();
    step(&mut client, &other, 200);
    assert_eq!(state(&mut client, &other), later);
}

#[test]
fn a_snapshot_outlives_its_worker_its_models_end_and_the_daemon() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut daemon = Setup::real(&programs!()).serve_at(folder.path());
    let mut client = daemon.client();
    let (one, other) = (session(&mut client, "humanoid"), session(&mut client, "humanoid"));
    step(&mut client, &one, 50);
    let snapshot = take(&mut client, &one);
    step(&mut client, &one, 50);
    let later = state(&mut client, &one);
    client.tool("unload_model", json!({ "session_id": one })).unwrap();
    client.tool("hibernate_session", json!({ "session_id": one })).unwrap();
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    let daemon = Setup::real(&programs!()).serve_at(folder.path());
    let mut client = daemon.client();
    restore(&mut client, &other, &snapshot).unwrap();
    step(&mut client, &other, 50);
    assert_eq!(state(&mut client, &other), later);
    // It ends with its session.
    client.tool("close_session", json!({ "session_id": one })).unwrap();
    let refused = restore(&mut client, &other, &snapshot).unwrap_err();
    assert_eq!(refused["code"], "snapshot_unknown");
    assert_eq!(state(&mut client, &other), later);
}

#[test]
fn a_snapshot_of_another_model_is_refused_and_nothing_changes() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let human = session(&mut client, "humanoid");
    let arm = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    client.tool("create_scene", json!({ "session_id": arm, "scene": "arm" })).unwrap();
    let snapshot = take(&mut client, &human);
    step(&mut client, &arm, 10);
    let before = state(&mut client, &arm);
    let refused = restore(&mut client, &arm, &snapshot).unwrap_err();
    assert_eq!(refused["code"], "snapshot_of_another_model");
    assert_eq!(state(&mut client, &arm), before);
    for unknown in ["snap_00", "", "sim_1"] {
        let arguments = json!({ "session_id": arm, "snapshot_id": unknown });
        let refused = client.tool("restore_snapshot", arguments).unwrap_err();
        assert_eq!(refused["code"], "snapshot_unknown");
    }
}

#[test]
fn snapshots_are_bounded_and_can_be_deleted() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    client.tool("create_scene", json!({ "scene": "pendulum" })).unwrap();
    let first = client.tool("get_snapshot", json!({})).unwrap()["snapshot_id"].clone();
    for _ in 1..64 {
        client.tool("get_snapshot", json!({})).unwrap();
    }
    let refused = client.tool("get_snapshot", json!({})).unwrap_err();
    assert_eq!(refused["code"], "limit_exceeded");
    let delete = json!({ "snapshot_id": first });
    client.tool("delete_snapshot", delete.clone()).unwrap();
    let refused = client.tool("delete_snapshot", delete).unwrap_err();
    assert_eq!(refused["code"], "snapshot_unknown");
    client.tool("get_snapshot", json!({})).unwrap();
}
