//! Shared sessions: one process, several worlds.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Setup, is_alive};
use simward_tests::programs;
use simward_tests::wait::wait_until;

fn create(client: &mut HttpClient, isolation: &str) -> Value {
    client.tool("create_session", json!({ "isolation": isolation })).unwrap()
}

#[test]
fn shared_sessions_have_one_process_and_models_of_their_own() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let (one, other) = (create(&mut client, "shared"), create(&mut client, "shared"));
    let apart = create(&mut client, "process");
    assert_eq!(one["pid"], other["pid"]);
    assert_ne!(one["pid"], apart["pid"]);
    assert_ne!(one["port"], other["port"]);
    assert_eq!(daemon.workers().len(), 2);
    // The same name in both, and two different worlds.
    for (session, length) in [(&one, 0.5), (&other, 2.0)] {
        let scene = json!({
            "session_id": session["session_id"], "scene": "pendulum", "model_id": "p",
            "parameters": { "length_m": length },
        });
        client.tool("create_scene", scene).unwrap();
    }
    let step = json!({ "session_id": one["session_id"], "steps": 100 });
    client.tool("step_simulation", step).unwrap();
    let state = client.tool("get_state", json!({ "session_id": other["session_id"] })).unwrap();
    assert_eq!(state["time_secs"], 0.0);
    // One goes, the other stays; with the last one goes the process.
    let pid = i32::try_from(one["pid"].as_i64().unwrap()).unwrap();
    client.tool("close_session", json!({ "session_id": one["session_id"] })).unwrap();
    assert!(is_alive(pid));
    client.tool("get_state", json!({ "session_id": other["session_id"] })).unwrap();
    client.tool("close_session", json!({ "session_id": other["session_id"] })).unwrap();
    wait_until("the shared process is gone", || !is_alive(pid));
}

#[test]
fn shared_sessions_share_an_end_and_each_comes_back() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let (one, other) = (create(&mut client, "shared"), create(&mut client, "shared"));
    daemon.workers();
    let mut states = Vec::new();
    for (session, steps) in [(&one, 10), (&other, 20)] {
        let id = session["session_id"].clone();
        client.tool("create_scene", json!({ "session_id": id, "scene": "pendulum" })).unwrap();
        client.tool("step_simulation", json!({ "session_id": id, "steps": steps })).unwrap();
        states.push(client.tool("get_state", json!({ "session_id": id })).unwrap());
    }
    let pid = Pid::from_raw(i32::try_from(one["pid"].as_i64().unwrap()).unwrap());
    kill(pid, Signal::SIGKILL).unwrap();
    wait_until("its end is known", || {
        let id = json!({ "session_id": one["session_id"] });
        client.tool("get_session_info", id).unwrap()["pid"] != one["pid"]
    });
    for (session, state) in [&one, &other].into_iter().zip(states) {
        let id = json!({ "session_id": session["session_id"] });
        assert_eq!(client.tool("get_state", id).unwrap(), state);
    }
    let pids: Vec<Value> = [&one, &other]
        .iter()
        .map(|session| {
            let id = json!({ "session_id": session["session_id"] });
            client.tool("get_session_info", id).unwrap()["pid"].clone()
        })
        .collect();
    assert_eq!(pids[0], pids[1], "they share the new one too");
}
