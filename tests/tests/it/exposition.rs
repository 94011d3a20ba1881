//! What is measured, as others get it: on the page for Prometheus, by remote write, as a file.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simward_tests::client::HttpClient as Client;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};
use tempfile::TempDir;

use crate::auth;
use crate::metrics::samples;

fn scraped() -> Setup {
    Setup::real(&programs!()).set("metrics.listen", "127.0.0.1:0")
}

/// A session with a pendulum that goes on by itself.
fn running(client: &mut Client) -> String {
    let made = client.tool("create_session", json!({})).unwrap();
    let id = made["session_id"].as_str().unwrap().to_owned();
    client.tool("create_scene", json!({ "session_id": id, "scene": "pendulum" })).unwrap();
    client.tool("step_simulation", json!({ "session_id": id, "steps": 10 })).unwrap();
    let run = json!({ "session_id": id, "duration_secs": 80_000, "real_time_factor": 1.0 });
    client.tool("run_simulation", run).unwrap();
    id
}

/// The page, once it has that.
fn page_with(daemon: &Daemon, name: &str) -> BTreeMap<String, f64> {
    wait_for(name, || Some(samples(daemon)).filter(|told| told.contains_key(name)))
}

fn has(told: &BTreeMap<String, f64>, begin: &str) -> bool {
    told.keys().any(|name| name.starts_with(begin))
}

#[test]
fn the_newest_values_are_on_the_page_and_no_session_is_named() {
    let daemon = scraped().serve();
    let mut client = daemon.client();
    let id = running(&mut client);
    page_with(&daemon, "simward_fleet_step_seconds{quantile=\"0.99\"}");
    let told = wait_for("a pendulum that keeps its pace", || {
        let told = samples(&daemon);
        let keeps = (0.5..1.5).contains(told.get("simward_fleet_real_time_factor")?);
        (keeps && 100.0 < told["simward_fleet_steps_per_second"]).then_some(told)
    });
    assert_eq!(told["simward_fleet_sessions"], 1.0);
    assert!(1e6 < told["simward_fleet_resident_bytes"]);
    for ratio in ["simward_host_memory_ratio", "simward_telemetry_cpu_ratio"] {
        assert!((0.0..1.0).contains(&told[ratio]), "{ratio}");
    }
    assert!(1.0 <= told["simward_telemetry_interval_seconds"]);
    let step_secs = told["simward_fleet_step_seconds{quantile=\"0.5\"}"];
    assert!((1e-8..1e-2).contains(&step_secs), "{step_secs}");
    assert!(!has(&told, "simward_session_") && told.keys().all(|name| !name.contains(&id)));
}

#[test]
fn what_is_not_measured_is_not_told() {
    let daemon = scraped().serve();
    let mut client = daemon.client();
    running(&mut client);
    page_with(&daemon, "simward_fleet_steps_per_second");
    let off = json!({ "level": "off", "all_tenants": true });
    client.tool("enable_performance_tracking", off).unwrap();
    wait_until("the last value to be gone", || !has(&samples(&daemon), "simward_fleet_"));
    // What is counted is, all the same.
    assert!(0.0 < samples(&daemon)["simward_steps_total"]);
}

#[test]
fn sessions_are_named_where_the_operator_wants_it_the_busiest_first_and_go() {
    let folder = TempDir::new().unwrap();
    let token = auth::add(folder.path(), "ann", &[]);
    let daemon = auth::setup(folder.path())
        .set("metrics.listen", "127.0.0.1:0")
        .set("metrics.sessions", "true")
        .set("metrics.sessions_max", "1")
        .set("metrics.tenants", "true")
        .serve();
    let mut client = daemon.client().with_token(&token);
    let busy = running(&mut client);
    let fast = json!({ "session_id": busy, "duration_secs": 80_000, "real_time_factor": null });
    client.tool("pause_simulation", json!({ "session_id": busy })).unwrap();
    client.tool("run_simulation", fast).unwrap();
    let idle = client.tool("create_session", json!({})).unwrap();
    let idle = idle["session_id"].as_str().unwrap();
    let of = |name: &str, id: &str| {
        format!("simward_session_{name}{{session_id=\"{id}\",tenant=\"ann\"}}")
    };
    let told = page_with(&daemon, &of("steps_per_second", &busy));
    assert!(has(
        &told,
        &format!("simward_session_step_seconds{{session_id=\"{busy}\",tenant=\"ann\",quantile=")
    ));
    wait_until("two sessions to be measured", || {
        let told = samples(&daemon);
        let both = told.get("simward_fleet_sessions") == Some(&2.0);
        let is_busy = told.get(&of("cpu_ratio", &busy)).is_some_and(|ratio| 0.1 < *ratio);
        both && is_busy && told.keys().all(|name| !name.contains(idle))
    });
    client.tool("close_session", json!({ "session_id": busy })).unwrap();
    wait_until("the other one to be the busiest", || {
        let told = samples(&daemon);
        told.contains_key(&of("cpu_ratio", idle)) && told.keys().all(|name| !name.contains(&busy))
    });
}

#[test]
fn counters_never_go_back_whatever_is_forgotten() {
    let daemon = scraped().serve();
    let mut client = daemon.client();
    let id = running(&mut client);
    client.tool("get_state", json!({ "session_id": "sim_none" })).unwrap_err();
    page_with(&daemon, "simward_fleet_steps_per_second");
    let counters = || {
        let told = samples(&daemon).into_iter();
        let counts = |name: &str| {
            name.contains("_total") || name.contains("_count") || name.contains("_bucket")
        };
        told.filter(|(name, _)| counts(name)).collect::<BTreeMap<_, _>>()
    };
    let before = counters();
    assert!(20 < before.len() && 0.0 < before["simward_steps_total"]);
    client.tool("clear_performance_data", json!({ "all_tenants": true })).unwrap();
    client.tool("close_session", json!({ "session_id": id })).unwrap();
    let after = counters();
    for (name, value) in before {
        assert!(value <= after[&name], "{name}: {value} {}", after[&name]);
    }
}

/// A minute is over within a minute, and then written.
const MINUTE: Duration = Duration::from_secs(90);

#[test]
fn a_minute_that_is_over_is_sent_on_and_can_be_exported() {
    let (url, told) = receiver();
    let state = TempDir::new().unwrap();
    let daemon = scraped().set("metrics.remote_write.url", &url).serve_at(state.path());
    let mut client = daemon.client();
    running(&mut client);
    let holds =
        |body: &[u8], part: &str| body.windows(part.len()).any(|window| window == part.as_bytes());
    loop {
        let body = told.recv_timeout(MINUTE).unwrap();
        let body = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
        assert!(holds(&body, "simward_fleet_steps_per_second"));
        assert!(!holds(&body, "simward_session_"));
        // The first minute may have ended before that.
        if holds(&body, "create_scene") {
            assert!(holds(&body, "simward_tool_call_seconds"));
            break;
        }
    }
    assert_eq!(samples(&daemon)["simward_remote_write_dropped_minutes_total"], 0.0);
    let rows = exported(&state, &["--scope", "tool", "--name", "create_scene"]);
    let calls = rows.iter().find(|row| row["metric"] == "calls_per_sec").unwrap();
    assert_eq!((&calls["name"], &calls["step_secs"]), (&json!("create_scene"), &json!(60)));
    assert!(0.0 < calls["mean"].as_f64().unwrap(), "{calls}");
    let times = rows.iter().find(|row| row["metric"] == "call_secs").unwrap();
    assert!(times["p50"].is_number() && times["count"] == 1, "{times}");
}

/// Rows of the past, once there are any.
fn exported(state: &TempDir, more: &[&str]) -> Vec<Value> {
    let file = state.path().join("table.json");
    let begun = Instant::now();
    loop {
        let done = Command::new(programs!().supervisor)
            .args(["metrics", "export", "--format", "json", "--output"])
            .arg(&file)
            .arg("--state-dir")
            .arg(state.path())
            .args(more)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        if !rows.is_empty() {
            return rows;
        }
        assert!(begun.elapsed() < MINUTE);
        std::thread::yield_now();
    }
}

/// Takes requests, one a connection; tells their bodies.
fn receiver() -> (String, std::sync::mpsc::Receiver<Vec<u8>>) {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v1/write", listener.local_addr().unwrap());
    let (tell, told) = std::sync::mpsc::sync_channel(16);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).unwrap() != 0 && line != "\r\n" {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
            stream.get_mut().write_all(answer).unwrap();
            if tell.send(body).is_err() {
                return;
            }
        }
    });
    (url, told)
}

#[test]
fn an_export_without_a_past_or_of_what_there_is_not_says_so() {
    let state = TempDir::new().unwrap();
    let refused = |more: &[&str]| {
        let export = Command::new(programs!().supervisor)
            .args(["metrics", "export", "--output", "-", "--state-dir"])
            .arg(state.path())
            .args(more)
            .output()
            .unwrap();
        assert!(!export.status.success());
        String::from_utf8_lossy(&export.stderr).into_owned()
    };
    assert!(refused(&[]).contains("there is nothing to export in"));
    assert!(refused(&["--metric", "cpu"]).contains("did you mean `cpu_ratio`?"));
    assert!(
        refused(&["--scope", "tool", "--metric", "cpu_ratio"])
            .contains("is not measured of a tool")
    );
    assert!(refused(&["--from", "1h", "--to", "2h"]).contains("ends before it begins"));
    assert!(refused(&["--from", "yesterday"]).contains("neither a time"));
}
