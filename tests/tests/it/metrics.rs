//! What Prometheus reads.

use std::collections::{BTreeMap, BTreeSet};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::http::Http;
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};
use tempfile::TempDir;

use crate::auth;

/// All samples, by name and labels.
pub(crate) fn samples(daemon: &Daemon) -> BTreeMap<String, f64> {
    let mut http = Http::connect(daemon.metrics.unwrap()).unwrap();
    let page = http.ask("GET", "/metrics", &[], b"").unwrap();
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let page = page.text();
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

fn call(tool: &str, error: &str) -> String {
    format!(
        "mcp_server_operation_duration_seconds_count{{mcp_method_name=\"tools/call\",\
         gen_ai_tool_name=\"{tool}\",error_type=\"{error}\"}}"
    )
}

#[test]
fn what_happens_is_counted_and_nobody_is_named() {
    let folder = TempDir::new().unwrap();
    let token = auth::add(folder.path(), "somebody", &[]);
    let daemon = auth::setup(folder.path()).set("metrics.listen", "127.0.0.1:0").serve();
    let mut client = daemon.client().with_token(&token);
    let made = client.tool("create_session", json!({ "name": "arm" })).unwrap();
    let id = made["session_id"].as_str().unwrap();
    let on = |more: Value| {
        let mut arguments = json!({ "session_id": id });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    client.tool("create_scene", on(json!({ "scene": "pendulum" }))).unwrap();
    client.tool("step_simulation", on(json!({ "steps": 100 }))).unwrap();
    client.tool("get_state", json!({ "session_id": "sim_0" })).unwrap_err();
    assert_eq!(daemon.client().tool_raw("get_state", json!({})).status, 401);
    let pid = client.tool("get_session_info", on(json!({}))).unwrap()["pid"].as_i64().unwrap();
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    wait_for("another worker", || client.tool("get_state", on(json!({}))).ok());

    let told = samples(&daemon);
    assert_eq!(told[&call("create_session", "")], 1.0);
    assert_eq!(told[&call("step_simulation", "")], 1.0);
    assert_eq!(told[&call("get_state", "session_unknown")], 1.0);
    assert_eq!(told[&call("export_recording", "")], 0.0, "what was never called is there, too");
    assert_eq!(told["simward_http_refused_total{status=\"401\"}"], 1.0);
    assert_eq!(told["simward_sessions{state=\"ready\"}"], 1.0);
    assert_eq!(told["simward_sessions_created_total"], 1.0);
    assert_eq!(told["simward_steps_total"], 100.0);
    assert!(0.0 < told["simward_worker_busy_seconds_total"]);
    assert_eq!(told["simward_worker_endings_total{ending=\"crashed\"}"], 1.0);
    assert_eq!(told["simward_worker_ready_seconds_count"], 2.0);
    assert_eq!(told["simward_recovery_seconds_count"], 1.0);
    assert_eq!(told["simward_calls_in_flight"], 0.0);
    assert!(1e6 < told["process_resident_memory_bytes"]);
    for name in told.keys() {
        assert!(!name.contains(id) && !name.contains("somebody") && !name.contains("arm\""));
    }

    client.tool("close_session", on(json!({}))).unwrap();
    wait_until("nothing of it is told", || {
        samples(&daemon).keys().all(|name| !name.starts_with("simward_sessions{"))
    });
}

#[test]
fn without_an_address_nothing_is_told() {
    let daemon = Setup::real(&programs!()).serve();
    assert_eq!(daemon.metrics, None);
    let mut http = Http::connect(daemon.address).unwrap();
    assert_eq!(http.ask("GET", "/metrics", &[], b"").unwrap().status, 404);
}

/// The names that stand in a text and that we would give.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = |word: &&str| {
        ["simward_", "mcp_server_", "process_"].iter().any(|prefix| word.starts_with(prefix))
    };
    words.filter(ours).collect()
}

#[test]
fn the_dashboard_and_the_rules_ask_for_what_there_is() {
    let daemon = Setup::real(&programs!()).set("metrics.listen", "127.0.0.1:0").serve();
    let mut client = daemon.client();
    let made = client.tool("create_session", json!({})).unwrap();
    client.tool("close_session", json!({ "session_id": made["session_id"] })).unwrap();
    let made = client.tool("create_session", json!({})).unwrap();
    let on = json!({ "session_id": made["session_id"], "scene": "pendulum" });
    client.tool("create_scene", on).unwrap();
    // How long steps take is told once there are some.
    wait_until("steps that are measured", || {
        let on = json!({ "session_id": made["session_id"], "steps": 100 });
        client.tool("step_simulation", on).unwrap();
        samples(&daemon).keys().any(|name| name.starts_with("simward_fleet_step_seconds{"))
    });
    // Counters with labels are there once there is something to count.
    let counted = ["simward_worker_endings_total", "simward_http_refused_total"];
    let there = samples(&daemon);
    let there = there.keys().map(|name| name.split('{').next().unwrap()).chain(counted);
    let there: BTreeSet<_> = there.collect();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    for file in ["deploy/grafana/simward.json", "deploy/prometheus/simward.rules.yml"] {
        let text = std::fs::read_to_string(format!("{root}/{file}")).unwrap();
        let asked = named(&text);
        assert!(5 < asked.len());
        let missing: Vec<_> = asked.difference(&there).collect();
        assert_eq!(missing, [&""; 0], "{file}");
    }
}
