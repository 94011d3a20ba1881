//! A session's own port.

use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::http::{Answer, Http};
use simward_tests::programs;
use simward_tests::wait::wait_until;

fn session() -> (Daemon, Value, SocketAddr) {
    let daemon = Setup::real(&programs!()).serve();
    let session = daemon.client().tool("create_session", json!({})).unwrap();
    let endpoint = session["endpoint"].as_str().unwrap();
    let address = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
    (daemon, session, address)
}

fn get(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Answer {
    Http::connect(address).unwrap().ask("GET", target, headers, b"").unwrap()
}

#[test]
fn the_worker_itself_answers_on_the_sessions_port() {
    let (daemon, session, address) = session();
    let id = &session["session_id"];
    let scene = json!({ "session_id": id, "scene": "pendulum" });
    daemon.client().tool("create_scene", scene).unwrap();
    let stepped = json!({ "session_id": id, "steps": 5 });
    daemon.client().tool("step_simulation", stepped).unwrap();

    let health: Value = serde_json::from_slice(&get(address, "/healthz", &[]).body).unwrap();
    assert_eq!((&health["session_id"], &health["pid"]), (id, &session["pid"]));
    assert_eq!(health["steps_total"], 5);

    let bearer = format!("Bearer {}", session["endpoint_token"].as_str().unwrap());
    let state = get(address, "/state", &[("authorization", &bearer)]);
    let state: Value = serde_json::from_slice(&state.body).unwrap();
    let through_mcp = daemon.client().tool("get_state", json!({ "session_id": id })).unwrap();
    assert_eq!(state["models"][0]["qpos"], through_mcp["qpos"]);
    assert_eq!(state["models"][0]["time_secs"], through_mcp["time_secs"]);

    let token = format!("/metrics?token={}", session["endpoint_token"].as_str().unwrap());
    let metrics = get(address, &token, &[]);
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("# TYPE simward_steps_total counter"), "{}", metrics.text());
}

#[test]
fn without_the_token_or_from_elsewhere_it_does_not_answer() {
    let (_daemon, session, address) = session();
    assert_eq!(get(address, "/state", &[]).status, 401);
    assert_eq!(get(address, "/metrics?token=wrong", &[]).status, 401);
    assert_eq!(get(address, "/healthz", &[("host", "evil.example")]).status, 403);
    assert_eq!(get(address, "/healthz", &[("origin", "http://evil.example")]).status, 403);
    let token = session["endpoint_token"].as_str().unwrap();
    assert_eq!(get(address, &format!("/nothing?token={token}"), &[]).status, 404);
    let mut http = Http::connect(address).unwrap();
    assert_eq!(http.ask("POST", "/healthz", &[], b"").unwrap().status, 405);
}

#[test]
fn it_answers_while_the_simulation_is_busy() {
    let (daemon, session, address) = session();
    let id = session["session_id"].clone();
    let scene = json!({ "session_id": id, "scene": "arm" });
    daemon.client().tool("create_scene", scene).unwrap();
    let mut busy = daemon.client();
    busy.send_tool("step_simulation", json!({ "session_id": id, "steps": 1_000_000 }));
    wait_until("the worker is busy", || {
        let health = get(address, "/healthz", &[]).body;
        serde_json::from_slice::<Value>(&health).unwrap()["busy"] == true
    });
    let token = session["endpoint_token"].as_str().unwrap();
    let state = get(address, &format!("/state?token={token}"), &[]);
    assert_eq!(state.status, 200, "{}", state.text());
}

#[test]
fn clients_that_say_nothing_do_not_keep_others_out() {
    let (_daemon, _session, address) = session();
    let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    // Eight are listened to for a while, the others are turned away.
    wait_until("there is room again", || {
        Http::connect(address)
            .and_then(|mut http| http.ask("GET", "/healthz", &[], b""))
            .is_ok_and(|answer| answer.status == 200)
    });
    drop(silent);
}

#[test]
fn a_port_can_wait_until_somebody_asks_for_it() {
    let daemon = Setup::real(&programs!()).set("pool.ports.lease", "on_demand").serve();
    let mut client = daemon.client();
    let session = client.tool("create_session", json!({})).unwrap();
    assert_eq!(session["port"], Value::Null);
    let ask = json!({ "session_id": session["session_id"], "open_port": true });
    let info = client.tool("get_session_info", ask).unwrap();
    let address = info["endpoint"].as_str().unwrap().strip_prefix("http://").unwrap();
    assert_eq!(get(address.parse().unwrap(), "/healthz", &[]).status, 200);
}
