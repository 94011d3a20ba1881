//! The MCP endpoint over HTTP: who may call, and how.

use serde_json::{Value, json};
use simward_tests::client::LEGACY;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::http::{Answer, Http};
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};

fn daemon() -> Daemon {
    Setup::toy(&programs!()).serve()
}

/// A conversation in the older protocol.
struct Legacy {
    http: Http,
    session: String,
}

const TALK: [(&str, &str); 2] =
    [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];

impl Legacy {
    fn open(daemon: &Daemon) -> Self {
        let mut http = Http::connect(daemon.address).unwrap();
        let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": LEGACY, "capabilities": {},
            "clientInfo": { "name": "tests", "version": "0" },
        }});
        let answer = http.ask("POST", "/mcp", &TALK, hello.to_string().as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let session = answer.header("mcp-session-id").unwrap().to_owned();
        let mut legacy = Self { http, session };
        let done = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(legacy.post(&done).status, 202);
        legacy
    }

    fn post(&mut self, message: &Value) -> Answer {
        let session = self.session.clone();
        let headers = [TALK[0], TALK[1], ("mcp-session-id", &session)];
        self.http.ask("POST", "/mcp", &headers, message.to_string().as_bytes()).unwrap()
    }

    fn tool(&mut self, name: &str, arguments: &Value) -> Value {
        let params = json!({ "name": name, "arguments": arguments });
        let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
        let answer = self.post(&call);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = answer.text();
        let mut data = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
        let message = data.rfind(|data| data.contains("\"result\"")).unwrap();
        serde_json::from_str::<Value>(message).unwrap()["result"]["structuredContent"].clone()
    }

    fn delete(&mut self) -> u16 {
        let session = self.session.clone();
        let headers = [("mcp-session-id", session.as_str())];
        self.http.ask("DELETE", "/mcp", &headers, b"").unwrap().status
    }
}

#[test]
fn pages_for_load_balancers() {
    let daemon = daemon();
    let mut http = Http::connect(daemon.address).unwrap();
    assert_eq!(http.ask("GET", "/healthz", &[], b"").unwrap().status, 200);
    let ready = http.ask("GET", "/readyz", &[], b"").unwrap();
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("\"ready\""));
}

#[test]
fn pages_of_other_sites_and_other_names_are_turned_away() {
    let daemon = daemon();
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{}}"#;
    let ask = |extra: (&str, &str)| {
        let headers = [TALK[0], TALK[1], extra];
        Http::connect(daemon.address).unwrap().ask("POST", "/mcp", &headers, body).unwrap().status
    };
    assert_eq!(ask(("origin", "http://evil.example")), 403);
    assert_eq!(ask(("host", "evil.example")), 403);
    assert_ne!(ask(("origin", "http://localhost:3000")), 403);
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    let daemon = Setup::toy(&programs!()).set("http.body_bytes_max", "10000").serve();
    let mut client = daemon.client();
    let model = json!({ "model_xml": "x".repeat(20_000) });
    assert_eq!(client.tool_raw("load_model", model).status, 413);
}

#[test]
fn the_newer_protocol_answers_in_json_and_the_older_one_in_a_conversation() {
    let daemon = daemon();
    let answer = daemon.client().tool_raw("get_server_info", json!({}));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let mut legacy = Legacy::open(&daemon);
    assert!(legacy.tool("get_server_info", &json!({}))["version"].is_string());
}

#[test]
fn the_end_of_a_conversation_takes_its_default_session_along() {
    let mut daemon = daemon();
    let mut legacy = Legacy::open(&daemon);
    legacy.tool("load_model", &json!({ "model_xml": "<mujoco/>" }));
    wait_until("the compiler is gone", || daemon.workers().len() == 1);
    assert!([200, 202, 204].contains(&legacy.delete()));
    let list = daemon.client().tool("list_sessions", json!({})).unwrap();
    assert_eq!(list["sessions"], json!([]));
    let ping = json!({ "jsonrpc": "2.0", "id": 9, "method": "ping" });
    assert_eq!(legacy.post(&ping).status, 404);
}

#[test]
fn the_end_of_a_conversation_leaves_sessions_that_were_named() {
    let mut daemon = daemon();
    let mut legacy = Legacy::open(&daemon);
    let made = legacy.tool("create_session", &json!({}))["session_id"].clone();
    let default = legacy.tool("load_model", &json!({ "model_xml": "<mujoco/>" }));
    let default = default["session_id"].clone();
    // Somebody names the default session by its handle.
    let named = json!({ "session_id": default });
    daemon.client().tool("get_state", named.clone()).unwrap();
    daemon.workers();
    legacy.delete();
    daemon.client().tool("get_state", named).unwrap();
    daemon.client().tool("get_session_info", json!({ "session_id": made })).unwrap();
}

#[test]
fn conversations_have_default_sessions_of_their_own() {
    let mut daemon = daemon();
    let (mut one, mut other) = (Legacy::open(&daemon), Legacy::open(&daemon));
    one.tool("load_model", &json!({ "model_xml": "<mujoco/>" }));
    daemon.workers();
    assert_eq!(other.tool("get_state", &json!({}))["code"], "no_model");
    assert_eq!(one.tool("get_state", &json!({}))["time_secs"], 0.0);
}

#[test]
fn unused_conversations_end() {
    let daemon = Setup::toy(&programs!()).set("http.legacy_idle_secs", "0.5").serve();
    let mut legacy = Legacy::open(&daemon);
    let ping = json!({ "jsonrpc": "2.0", "id": 9, "method": "ping" });
    assert_eq!(legacy.post(&ping).status, 200);
    // Looking would be using it, so the daemon's own list is looked at: it has room for one.
    drop(legacy);
    let full = Setup::toy(&programs!())
        .set("http.legacy_idle_secs", "0.5")
        .set("http.legacy_sessions_max", "1")
        .serve();
    let _one = Legacy::open(&full);
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": LEGACY, "capabilities": {},
        "clientInfo": { "name": "tests", "version": "0" },
    }});
    let mut http = Http::connect(full.address).unwrap();
    let mut ask = || http.ask("POST", "/mcp", &TALK, hello.to_string().as_bytes()).unwrap().status;
    assert_eq!(ask(), 503);
    simward_tests::wait::wait_until("the unused conversation made room", || ask() == 200);
}

#[test]
fn a_conversation_does_not_end_under_a_call_that_takes_longer_than_it_may_rest() {
    let daemon = Setup::real(&programs!()).set("http.legacy_idle_secs", "0.2").serve();
    let mut legacy = Legacy::open(&daemon);
    let limited = json!({ "limits": { "step_rate": 100 } });
    let session = legacy.tool("create_session", &limited)["session_id"].clone();
    legacy.tool("create_scene", &json!({ "session_id": session, "scene": "pendulum" }));
    // At its step rate that takes two seconds and more.
    let stepped = legacy.tool("step_simulation", &json!({ "session_id": session, "steps": 220 }));
    assert_eq!(stepped["steps_done"], 220, "{stepped}");
}

#[test]
fn a_small_answer_does_not_wait_for_nagle() {
    let daemon = daemon();
    let mut client = daemon.client();
    let mut quickest = std::time::Duration::MAX;
    // Nagle's algorithm costs 40 ms each time; without it one of twenty is far quicker, on any
    // machine.
    for _ in 0..20 {
        let begun = std::time::Instant::now();
        client.tool("get_server_info", json!({})).unwrap();
        quickest = quickest.min(begun.elapsed());
    }
    assert!(quickest < std::time::Duration::from_millis(30), "{quickest:?}");
}

#[test]
fn a_body_that_is_small_on_the_wire_and_large_in_memory_is_refused() {
    let daemon = daemon();
    let mut client = daemon.client();
    let control: Vec<Value> = vec![json!({}); 1_500_000];
    let refused = client.tool_raw("step_simulation", json!({ "control": control }));
    assert_eq!(refused.status, 413, "{}", refused.text());
    let pid = i32::try_from(daemon.pid()).unwrap();
    let peak = procfs::process::Process::new(pid).unwrap().status().unwrap().vmhwm.unwrap();
    assert!(peak < 300 * 1024, "{peak} kB");
}

/// What a client hears that comes back to a stream.
fn come_back(daemon: &Daemon, session: &str, last: &str) -> String {
    let headers =
        [("accept", "text/event-stream"), ("mcp-session-id", session), ("last-event-id", last)];
    let mut http = Http::connect(daemon.address).unwrap();
    let answer = http.ask("GET", "/mcp", &headers, b"").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

#[test]
fn a_client_that_was_away_when_its_call_ended_comes_back_for_the_answer() {
    let daemon = Setup::real(&programs!()).serve();
    let mut legacy = Legacy::open(&daemon);
    let made = legacy.tool("create_session", &json!({ "limits": { "step_rate": 1000 } }));
    let session = made["session_id"].clone();
    legacy.tool("create_scene", &json!({ "session_id": session, "scene": "pendulum" }));
    let params = json!({
        "name": "step_simulation", "arguments": { "session_id": session, "steps": 1500 },
        "_meta": { "progressToken": "p" },
    });
    let call = json!({ "jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": params });
    let headers = [TALK[0], TALK[1], ("mcp-session-id", legacy.session.as_str())];
    let mut away = Http::connect(daemon.address).unwrap();
    away.send("POST", "/mcp", &headers, call.to_string().as_bytes()).unwrap();
    let head = away.read_head().unwrap();
    let mut heard = String::new();
    let first = wait_for("an event", || {
        heard.push_str(&String::from_utf8(away.read_chunk(&head).unwrap().unwrap()).unwrap());
        let id = heard.lines().find_map(|line| line.strip_prefix("id:"))?;
        Some(id.trim().to_owned())
    });
    drop(away);
    // While the call goes on, and after its end.
    let during = come_back(&daemon, &legacy.session, &first);
    assert!(during.contains("\"steps_done\":1500"), "{during}");
    let after = come_back(&daemon, &legacy.session, &first);
    assert!(after.contains("\"steps_done\":1500"), "{after}");
    // Other conversations hear nothing of it, and what never was is an empty stream.
    let other = Legacy::open(&daemon);
    for nothing in [first.as_str(), "0/nothing:1", "nonsense"] {
        assert_eq!(come_back(&daemon, &other.session, nothing), "", "{nothing}");
    }
    // With the conversation everything is gone.
    legacy.delete();
    let headers = [
        ("accept", "text/event-stream"),
        ("mcp-session-id", legacy.session.as_str()),
        ("last-event-id", first.as_str()),
    ];
    let mut http = Http::connect(daemon.address).unwrap();
    assert_eq!(http.ask("GET", "/mcp", &headers, b"").unwrap().status, 404);
}
