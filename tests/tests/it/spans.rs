//! Where the time of calls went, and that telling it holds nobody up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};
use tempfile::TempDir;

use crate::auth;
use crate::metrics::samples;

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A call of a tool that is part of a trace.
fn traced(trace: u64, tool: &str, arguments: &Value) -> Value {
    let traceparent = format!("00-{trace:032x}-{trace:016x}-01");
    json!({ "name": tool, "arguments": arguments, "_meta": { "traceparent": traceparent } })
}

fn ask(client: &mut HttpClient, trace: u64, tool: &str, arguments: &Value) -> Value {
    client.ask("tools/call", Some(tool), traced(trace, tool, arguments))
}

fn secs(span: &Value, phase: &str) -> f64 {
    span["phases"][format!("{phase}_secs")].as_f64().unwrap()
}

fn end(mut daemon: Daemon) {
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
}

#[test]
fn every_call_is_a_span_whose_phases_are_its_time_and_whose_trace_the_audit_has() {
    let folder = TempDir::new().unwrap();
    let ann = auth::add(folder.path(), "ann", &["--tenant", "lab"]);
    let [spans, audit] = ["spans.jsonl", "audit.jsonl"].map(|name| folder.path().join(name));
    let setup = auth::setup(folder.path()).set("telemetry.spans_path", spans.to_str().unwrap());
    let daemon = setup.set("audit.path", audit.to_str().unwrap()).serve();
    let mut client = daemon.client().with_token(&ann);
    let made = client.tool("create_session", json!({})).unwrap();
    let here = json!({ "session_id": made["session_id"] });
    let scene = json!({ "session_id": made["session_id"], "scene": "secret" });
    client.tool("create_scene", scene).unwrap_err();
    let scene = json!({ "session_id": made["session_id"], "scene": "humanoid" });
    ask(&mut client, 1, "create_scene", &scene);
    let steps = json!({ "session_id": made["session_id"], "steps": 2000 });
    ask(&mut client, 2, "step_simulation", &steps);
    ask(&mut client, 3, "get_session_info", &here);
    ask(&mut client, 4, "get_state", &json!({}));
    ask(&mut client, 5, "no_such_tool", &json!({}));
    end(daemon);

    let told = lines(&spans);
    let of = |span: &Value, name: &str| span["attributes"][name].clone();
    let outcomes: Vec<_> = told.iter().map(|span| of(span, "simward.outcome")).collect();
    assert_eq!(outcomes.len(), 7);
    assert_eq!((&outcomes[3], &outcomes[6]), (&json!("ok"), &json!("rejected")));
    assert_eq!(of(&told[6], "error.type"), "rejected");
    for (span, line) in told.iter().zip(lines(&audit)) {
        assert_eq!(span["trace_id"], line["trace_id"]);
        assert_eq!(
            (of(span, "simward.tenant"), of(span, "simward.caller")),
            ("lab".into(), "ann".into())
        );
        assert_eq!(of(span, "gen_ai.tool.name"), line["tool"]);
        assert_eq!(of(span, "network.transport"), "tcp");
        let phases = ["validate", "queue", "worker", "format"].map(|phase| secs(span, phase));
        let difference = phases.iter().sum::<f64>() - span["duration_secs"].as_f64().unwrap();
        assert!(difference.abs() < 1e-6, "{span}");
    }
    // A trace of its own, where the client has none.
    let [own, _, scene, step, info, default, _] = &told[..] else { panic!("{told:?}") };
    assert!(own.get("parent_span_id").is_none());
    assert_ne!(own["trace_id"], told[1]["trace_id"]);
    assert_eq!(step["trace_id"], format!("{:032x}", 2));
    assert_eq!(step["parent_span_id"], format!("{:016x}", 2));
    assert_eq!(step["name"], "tools/call step_simulation");
    // A process compiled the one, the worker did the other, and nobody was asked the third.
    for span in [scene, step] {
        assert!(0.001 < secs(span, "worker"), "{span}");
    }
    assert_eq!(secs(info, "worker"), 0.0);
    // A default session is not named, and told.
    assert!(of(default, "simward.session_id").as_str().unwrap().starts_with("sim_"));
    assert_ne!(of(default, "simward.session_id"), made["session_id"]);
    let text = std::fs::read_to_string(&spans).unwrap();
    assert!(!text.contains("secret") && !text.contains("swt_"), "{text}");
}

#[test]
fn a_call_that_waits_for_another_one_says_so() {
    let folder = TempDir::new().unwrap();
    let spans = folder.path().join("spans.jsonl");
    let daemon = Setup::real(&programs!())
        .set("telemetry.spans_path", spans.to_str().unwrap())
        .set("metrics.listen", "127.0.0.1:0")
        .serve();
    let (mut first, mut second) = (daemon.client(), daemon.client());
    let made = first.tool("create_session", json!({})).unwrap();
    let id = &made["session_id"];
    first.tool("create_scene", json!({ "session_id": id, "scene": "humanoid" })).unwrap();
    first.send_tool("step_simulation", json!({ "session_id": id, "steps": 50_000 }));
    wait_until("it is under way", || samples(&daemon)["simward_calls_in_flight"] == 1.0);
    second.tool("get_state", json!({ "session_id": id })).unwrap();
    end(daemon);
    let told = lines(&spans);
    let of = |tool: &str| {
        let name = format!("tools/call {tool}");
        told.iter().find(|span| span["name"] == name).unwrap()
    };
    let (steps, state) = (of("step_simulation"), of("get_state"));
    assert!(secs(steps, "queue") < secs(steps, "worker"), "{steps}");
    assert!(secs(state, "worker") < secs(state, "queue"), "{state}");
}

#[test]
fn a_slow_call_is_logged_with_its_phases_and_its_trace() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    let script = folder.path().join("simward");
    let supervisor = programs!().supervisor;
    let text = format!("#!/bin/sh\nexec '{}' \"$@\" 2>'{}'\n", supervisor.display(), log.display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let setup = Setup::real(&programs!()).through(&script).args(&["--log-format", "json"]);
    let daemon = setup.set("telemetry.slow_call_secs", "0.001").serve();
    let mut client = daemon.client();
    let made = client.tool("create_session", json!({})).unwrap();
    let id = made["session_id"].clone();
    client.tool("create_scene", json!({ "session_id": id, "scene": "humanoid" })).unwrap();
    ask(&mut client, 7, "step_simulation", &json!({ "session_id": id, "steps": 5000 }));
    end(daemon);
    let told = lines(&log);
    let slow = told.iter().filter(|line| line["message"] == "a call was slow");
    let slow = slow.filter(|line| line["tool"] == "step_simulation").collect::<Vec<_>>();
    let [line] = slow[..] else { panic!("{told:?}") };
    assert_eq!((&line["level"], &line["session_id"]), (&json!("INFO"), &id));
    assert_eq!(line["trace_id"], format!("{:032x}", 7));
    assert!(0.0 < line["worker_secs"].as_f64().unwrap());
    assert!(line["worker_secs"].as_f64() < line["secs"].as_f64());
}

/// How many clients call until the daemon is gone.
const CLIENTS: u64 = 8;

#[test]
fn sigterm_under_load_loses_no_span_of_an_acknowledged_call() {
    let folder = TempDir::new().unwrap();
    let spans = folder.path().join("spans.jsonl");
    // It makes room for itself meanwhile.
    let daemon = Setup::toy(&programs!())
        .set("telemetry.spans_path", spans.to_str().unwrap())
        .set("telemetry.spans_bytes_max", "100000")
        .set("telemetry.spans_files_max", "1000")
        .serve();
    let answered = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for number in 1..=CLIENTS {
            let (mut client, answered) = (daemon.client(), &answered);
            scope.spawn(move || {
                for call in 1.. {
                    let trace = (number << 32) | call;
                    let params = traced(trace, "list_sessions", &json!({}));
                    let Ok(answer) =
                        client.try_request("tools/call", Some("list_sessions"), params)
                    else {
                        return;
                    };
                    if answer.status != 200 {
                        return;
                    }
                    answered.lock().unwrap().insert(format!("{trace:032x}"));
                }
            });
        }
        wait_until("many calls are answered", || 2000 < answered.lock().unwrap().len());
        end(daemon);
    });
    let mut written = BTreeMap::new();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        for span in lines(&file.unwrap().path()) {
            *written.entry(span["trace_id"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
    }
    let answered = answered.into_inner().unwrap();
    let missing: Vec<_> = answered.iter().filter(|id| !written.contains_key(*id)).collect();
    assert!(missing.is_empty(), "{} of {}: {missing:?}", missing.len(), answered.len());
    assert!(written.values().all(|count| *count == 1), "each once");
}

#[test]
fn a_file_that_cannot_be_written_costs_spans_and_no_call() {
    // Every write to it fails.
    let daemon = Setup::toy(&programs!())
        .set("telemetry.spans_path", "/dev/full")
        .set("metrics.listen", "127.0.0.1:0")
        .serve();
    let mut client = daemon.client();
    let dropped = |daemon: &Daemon| samples(daemon)["simward_spans_dropped_total{to=\"file\"}"];
    assert_eq!(dropped(&daemon), 0.0);
    wait_for("spans are dropped, and counted", || {
        client.tool("list_sessions", json!({})).unwrap();
        (0.0 < dropped(&daemon)).then_some(())
    });
    client.tool("list_sessions", json!({})).unwrap();
    assert_eq!(samples(&daemon)["simward_spans_dropped_total{to=\"otlp\"}"], 0.0);
    end(daemon);
}

#[test]
fn without_a_place_for_them_the_daemon_does_not_start() {
    let output = std::process::Command::new(programs!().supervisor)
        .args(["serve", "--listen", "127.0.0.1:0", "--set"])
        .arg("telemetry.spans_path=/nowhere/spans.jsonl")
        .arg("--state-dir")
        .arg(TempDir::new().unwrap().path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("spans cannot be written to /nowhere/spans.jsonl"), "{said}");
}
