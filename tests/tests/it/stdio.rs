//! MCP over standard input: one client, one daemon, and both go together.

use serde_json::json;
use simward_tests::daemon::{Setup, children, is_alive};
use simward_tests::programs;
use simward_tests::wait::wait_until;
use tempfile::TempDir;

#[test]
fn a_client_works_and_hangs_up_and_nothing_is_left() {
    let state = TempDir::new().unwrap();
    let mut client = Setup::real(&programs!()).stdio(&state);
    client.tool("create_scene", &json!({ "scene": "cart_pole" })).unwrap();
    let stepped = client.tool("step_simulation", &json!({ "steps": 10 })).unwrap();
    assert_eq!(stepped["steps_done"], 10);
    let workers = children(i32::try_from(client.pid()).unwrap());
    assert_eq!(workers.len(), 1);
    assert!(client.hang_up().success());
    wait_until("the worker is gone", || workers.iter().all(|pid| !is_alive(*pid)));
    let left: Vec<_> = std::fs::read_dir(state.path().join("stdio")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_client_that_hangs_up_during_a_call_leaves_nothing() {
    let state = TempDir::new().unwrap();
    let mut client = Setup::real(&programs!()).stdio(&state);
    client.tool("create_scene", &json!({ "scene": "arm" })).unwrap();
    let step = json!({ "name": "step_simulation", "arguments": { "steps": 1_000_000 } });
    client.post("tools/call", &step);
    let workers = children(i32::try_from(client.pid()).unwrap());
    client.hang_up();
    wait_until("the worker is gone", || workers.iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn a_call_can_be_cancelled_and_keeps_what_it_did() {
    let state = TempDir::new().unwrap();
    let mut client = Setup::real(&programs!()).stdio(&state);
    client.tool("create_scene", &json!({ "scene": "arm" })).unwrap();
    let step = json!({ "name": "step_simulation", "arguments": { "steps": 1_000_000 } });
    let id = client.post("tools/call", &step);
    let cancel = json!({ "requestId": id, "reason": "enough" });
    let notice = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel });
    client.send(&notice);
    // The next call waits for the one before it.
    let stepped = client.tool("step_simulation", &json!({})).unwrap();
    assert!(stepped["time_secs"].as_f64().unwrap() < 2000.0);
}

#[test]
fn progress_is_told_to_whoever_asks_for_it() {
    let state = TempDir::new().unwrap();
    let mut client = Setup::real(&programs!()).stdio(&state);
    client.tool("create_scene", &json!({ "scene": "arm" })).unwrap();
    let step = json!({
        "name": "step_simulation", "arguments": { "steps": 60_000 }, "_meta": { "progressToken": "p" },
    });
    let id = client.post("tools/call", &step);
    let mut told = Vec::new();
    loop {
        let message = client.message();
        if message["id"] == id {
            break;
        }
        if message["method"] == "notifications/progress" {
            assert_eq!(message["params"]["progressToken"], "p");
            assert_eq!(message["params"]["total"], 60_000.0);
            told.push(message["params"]["progress"].as_f64().unwrap());
        }
    }
    assert!(!told.is_empty());
    assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "{told:?}");
}

#[test]
fn progress_of_many_simulations_only_grows() {
    let state = TempDir::new().unwrap();
    let mut client = Setup::real(&programs!()).stdio(&state);
    let mut items = Vec::new();
    for _ in 0..3 {
        let session = client.tool("create_session", &json!({})).unwrap()["session_id"].clone();
        let scene = json!({ "session_id": session, "scene": "arm" });
        client.tool("create_scene", &scene).unwrap();
        items.push(json!({ "session_id": session, "steps": 4000 }));
    }
    let call = json!({
        "name": "batch_step", "arguments": { "items": items }, "_meta": { "progressToken": "p" },
    });
    let id = client.post("tools/call", &call);
    let mut told = Vec::new();
    let answer = loop {
        let message = client.message();
        if message["id"] == id {
            break message;
        }
        if message["method"] == "notifications/progress" {
            assert_eq!(message["params"]["total"], 3.0);
            told.push(message["params"]["progress"].as_f64().unwrap());
        }
    };
    assert_eq!(answer["result"]["structuredContent"]["steps_total"], 12_000, "{answer}");
    assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "{told:?}");
}

#[test]
fn many_calls_in_flight_are_all_answered() {
    let state = TempDir::new().unwrap();
    let mut client = Setup::toy(&programs!()).stdio(&state);
    client.tool("load_model", &json!({ "model_xml": "<mujoco/>" })).unwrap();
    let get = json!({ "name": "get_state", "arguments": {} });
    let mut ids: Vec<u64> = (0..200).map(|_| client.post("tools/call", &get)).collect();
    while !ids.is_empty() {
        let message = client.message();
        let id = message["id"].as_u64().unwrap();
        assert_eq!(message["result"]["isError"], false, "{message}");
        ids.retain(|known| *known != id);
    }
}

#[test]
fn several_daemons_share_a_state_folder() {
    let state = TempDir::new().unwrap();
    let mut one = Setup::toy(&programs!()).stdio(&state);
    let mut other = Setup::toy(&programs!()).stdio(&state);
    for client in [&mut one, &mut other] {
        client.tool("create_session", &json!({})).unwrap();
    }
    one.hang_up();
    other.tool("list_sessions", &json!({})).unwrap();
}
