//! What is measured is what was caused: a slow model, a hog, failing calls, an idle session.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use simward_tests::client::HttpClient as Client;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::fake::How;
use simward_tests::programs;
use simward_tests::wait::wait_for;
use tempfile::TempDir;

use crate::auth;

/// Ten thousand boxes' worth of work for one step: many bodies that touch.
pub(crate) fn heap_of_boxes(count: u32) -> String {
    let body = |number: u32| {
        let (x, y, z) = (number % 4, number / 4 % 4, number / 16);
        format!(
            "<body pos='{} {} {}'><freejoint/><geom type='box' size='.05 .05 .05'/></body>",
            f64::from(x) * 0.11,
            f64::from(y) * 0.11,
            0.05 + f64::from(z) * 0.11
        )
    };
    let bodies: String = (0..count).map(body).collect();
    format!("<mujoco><worldbody><geom type='plane' size='5 5 .1'/>{bodies}</worldbody></mujoco>")
}

pub(crate) fn session_with(client: &mut Client, scene: &Value) -> String {
    let made = client.tool("create_session", json!({})).unwrap();
    let id = made["session_id"].as_str().unwrap().to_owned();
    let mut arguments = scene.clone();
    arguments["session_id"] = json!(id);
    let tool = if scene.get("scene").is_some() { "create_scene" } else { "load_model" };
    client.tool(tool, arguments).unwrap();
    id
}

pub(crate) fn run(client: &mut Client, id: &str) {
    let arguments = json!({ "session_id": id, "duration_secs": 80_000, "real_time_factor": null });
    client.tool("run_simulation", arguments).unwrap();
}

/// The entry of a session, once it says what is waited for.
fn entry(client: &mut Client, tool: &str, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    wait_for("the session's entry", || {
        let told = client.tool(tool, json!({ "session_id": id })).unwrap();
        let entry = told["sessions"][0].clone();
        assert_eq!(entry["session_id"], *id);
        is_so(&entry).then_some(entry)
    })
}

#[expect(clippy::cast_precision_loss, reason = "a few megabytes")]
const LEAK_BYTES: f64 = How::LEAK_BYTES as f64;

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

#[test]
fn a_slow_model_is_slow_and_a_paced_one_keeps_its_pace() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let slow = session_with(&mut client, &json!({ "model_xml": heap_of_boxes(64) }));
    let fast = session_with(&mut client, &json!({ "scene": "pendulum" }));
    run(&mut client, &slow);
    let paced = json!({ "session_id": fast, "duration_secs": 80_000, "real_time_factor": 2.0 });
    client.tool("run_simulation", paced).unwrap();
    let is_timed = |entry: &Value| !entry["step_secs"].is_null() && 3.0 <= number(&entry["steps"]);
    let slow = entry(&mut client, "get_simulation_metrics", &slow, is_timed);
    let fast_entry = entry(&mut client, "get_simulation_metrics", &fast, is_timed);
    for of in [&slow, &fast_entry] {
        let times = &of["step_secs"];
        let [mean, p50, p95, p99] =
            ["mean_secs", "p50_secs", "p95_secs", "p99_secs"].map(|name| number(&times[name]));
        assert!(0.0 < p50 && p50 <= p95 && p95 <= p99 && 0.0 < mean, "{times}");
        assert_eq!(of["models"][0]["steps_total"], of["steps_total"], "there is one model");
    }
    let p50 = |of: &Value| number(&of["step_secs"]["p50_secs"]);
    assert!(5.0 * p50(&fast_entry) < p50(&slow), "{slow} {fast_entry}");
    assert!(100.0 <= number(&slow["contacts"]) && slow["contacts_max"].is_u64(), "{slow}");
    assert!(0.0 < number(&slow["solver_iterations"]), "{slow}");
    assert_eq!(number(&fast_entry["contacts"]), 0.0);
    // Over whole seconds it keeps to twice the time.
    let keeps = |entry: &Value| (1.6..2.4).contains(&number(&entry["real_time_factor"]));
    let paced = |entry: &Value| keeps(entry) && 2000.0 < number(&entry["steps"]);
    entry(&mut client, "get_simulation_metrics", &fast, paced);
}

#[test]
fn divergences_are_counted_and_so_is_what_ran_in_a_rollout() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let unstable = "<mujoco><option timestep='1' integrator='Euler'/><worldbody><body>\
        <joint type='slide' stiffness='1e6' ref='1'/><geom size='.1'/></body></worldbody></mujoco>";
    let id = session_with(&mut client, &json!({ "model_xml": unstable }));
    client.tool("step_simulation", json!({ "session_id": id, "steps": 200 })).unwrap();
    let has_warned = |entry: &Value| 0.0 < number(&entry["warnings_total"]);
    let told = entry(&mut client, "get_simulation_metrics", &id, has_warned);
    assert!(0.0 < number(&told["auto_resets_total"]), "{told}");
    assert_eq!(told["steps_total"], 200);
    let rollout = json!({ "session_id": id, "controls": [[], []], "steps": 50 });
    client.tool("rollout", rollout).unwrap();
    entry(&mut client, "get_simulation_metrics", &id, |entry| entry["steps_total"] == 300);
    // All of them are in the series, too.
    let history = json!({
        "metrics": ["steps_per_sec"], "scope": "session", "name": id, "aggregate": "total",
        "duration_secs": 600, "step_secs": 600,
    });
    wait_for("the steps in the series", || {
        let frame = client.tool("get_performance_history", history.clone()).unwrap();
        let values = frame["columns"][0]["values"].as_array().cloned().unwrap_or_default();
        let total: f64 = values.iter().filter_map(Value::as_f64).sum();
        (299.0..=301.0).contains(&total).then_some(())
    });
}

#[test]
fn a_hog_is_seen_by_the_byte_and_by_the_core() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let hog = session_with(&mut client, &json!({ "model_xml": heap_of_boxes(200) }));
    let idle = session_with(&mut client, &json!({ "scene": "pendulum" }));
    run(&mut client, &hog);
    // What a model used is not known before it has taken a step.
    let look = |client: &mut Client, id: &str, used_at_least: u64| {
        let has_used = |entry: &Value| {
            entry["models"][0]["arena_used_max_bytes"]
                .as_u64()
                .is_some_and(|used| used_at_least <= used)
        };
        entry(client, "get_memory_usage", id, has_used)
    };
    let (large, small) = (look(&mut client, &hog, 1), look(&mut client, &idle, 0));
    for of in [&large, &small] {
        let [rss, pss, own] = ["resident_bytes", "proportional_bytes", "anonymous_bytes"]
            .map(|name| number(&of[name]));
        assert!(0.0 < own && own <= rss && pss <= rss, "{of}");
        let model = &of["models"][0];
        assert!(number(&model["arena_used_max_bytes"]) <= number(&model["arena_bytes"]), "{of}");
    }
    // A scene that is built in has textures, which take more than many boxes.
    for what in ["data_bytes", "arena_used_max_bytes"] {
        let of = |entry: &Value| number(&entry["models"][0][what]);
        assert!(of(&small) < of(&large), "{what}: {small} {large}");
    }
    let busy = json!({ "metrics": ["cpu_ratio"], "scope": "session", "duration_secs": 3 });
    wait_for("the one that works to stand out", || {
        let frame = client.tool("get_performance_history", busy.clone()).unwrap();
        let last = |id: &str| {
            let columns = frame["columns"].as_array()?;
            let column = columns.iter().find(|column| column["name"] == *id)?;
            column["values"].as_array()?.iter().filter_map(Value::as_f64).next_back()
        };
        let (hog, idle) = (last(&hog)?, last(&idle)?);
        (10.0 * idle < hog && 0.05 < hog).then_some(())
    });
    // What is unloaded is in no list any more.
    client.tool("unload_model", json!({ "session_id": idle })).unwrap();
    let told = client.tool("get_memory_usage", json!({ "session_id": idle })).unwrap();
    assert_eq!(told["sessions"][0]["models"], json!([]));
}

#[test]
fn a_leak_shows_in_what_is_used_in_its_history_in_a_profile_and_as_an_alert() {
    let daemon = Setup::rogue(&programs!(), How::Leaks).serve();
    let mut client = daemon.client();
    let id = session_with(&mut client, &json!({ "model_xml": "<mujoco/>" }));
    let step = |client: &mut Client, times: u32| {
        for _ in 0..times {
            client.tool("step_simulation", json!({ "session_id": id, "steps": 1 })).unwrap();
        }
    };
    let used = |client: &mut Client| {
        let told = client.tool("get_memory_usage", json!({ "session_id": id })).unwrap();
        number(&told["sessions"][0]["anonymous_bytes"])
    };
    let of_time = json!({
        "metrics": ["resident_bytes"], "scope": "session", "duration_secs": 60, "step_secs": 1,
    });
    let history = |client: &mut Client| -> Vec<f64> {
        let frame = client.tool("get_performance_history", of_time.clone()).unwrap();
        let values = frame["columns"][0]["values"].as_array().cloned().unwrap_or_default();
        values.iter().filter_map(Value::as_f64).collect()
    };
    let begin = wait_for("a look at it", || history(&mut client).last().copied());
    let rule = json!({
        "name": "leak", "metric": "session_resident_bytes", "operator": "gt", "for_secs": 0,
        "value": begin + LEAK_BYTES * 9.0,
    });
    client.tool("set_performance_thresholds", json!({ "set": [rule] })).unwrap();
    let before = used(&mut client);
    step(&mut client, 5);
    let leaked = used(&mut client) - before;
    assert!(5.0 <= leaked / LEAK_BYTES && leaked / LEAK_BYTES < 5.5, "{leaked}");
    let ask = json!({ "session_id": id, "kind": "memory", "duration_secs": 1 });
    let profile = client.tool("start_profiling", ask).unwrap()["profile_id"].clone();
    let mut steps = 0.0;
    let memory = wait_for("the profile", || {
        step(&mut client, 1);
        steps += 1.0;
        let ask = json!({ "profile_id": profile, "view": "top" });
        let told = client.tool("get_profile_results", ask).unwrap();
        (told["state"] == "done").then(|| told["memory"].clone())
    });
    let amounts = memory["process"].as_array().unwrap();
    let rss = amounts.iter().find(|amount| amount["what"] == "rss").unwrap();
    // It may have begun after the first steps, and ended before the last one.
    let grown = number(&rss["grown_bytes"]) / LEAK_BYTES;
    assert!(3.0 < grown && grown < steps + 0.5, "{rss} after {steps} steps");
    let alert = wait_for("the alert", || {
        let told = client.tool("get_performance_alerts", json!({ "rule": "leak" })).unwrap();
        told["alerts"].as_array().unwrap().iter().find(|it| it["state"] == "firing").cloned()
    });
    assert_eq!(alert["labels"]["session_id"], *id, "{alert}");
    // Values are told with four digits.
    let end = begin + LEAK_BYTES * (5.0 + steps - 1.0);
    let values = wait_for("all of it in the history", || {
        let values = history(&mut client);
        values.last().is_some_and(|last| end < *last).then_some(values)
    });
    assert!(values.is_sorted(), "{values:?}");
}

#[test]
fn calls_that_fail_are_errors_of_their_tool_and_their_tenant() {
    let folder = TempDir::new().unwrap();
    let (ann, bob) = (auth::add(folder.path(), "ann", &[]), auth::add(folder.path(), "bob", &[]));
    let daemon = auth::setup(folder.path()).serve();
    let mut ann = daemon.client().with_token(&ann);
    let mut bob = daemon.client().with_token(&bob);
    for _ in 0..6 {
        ann.tool("get_state", json!({ "session_id": "sim_none" })).unwrap_err();
    }
    let id = session_with(&mut ann, &json!({ "scene": "pendulum" }));
    for _ in 0..2 {
        ann.tool("get_state", json!({ "session_id": id })).unwrap();
    }
    let tool = wait_for("all calls", || {
        let told = ann.tool("get_tool_metrics", json!({ "tool": "get_state" })).unwrap();
        let tool = told["tools"][0].clone();
        (tool["calls"] == 8).then_some(tool)
    });
    assert_eq!((&tool["errors"], &tool["error_ratio"]), (&json!(6), &json!(0.75)));
    assert!(0.0 < number(&tool["request_bytes"]) && 0.0 < number(&tool["result_bytes"]), "{tool}");
    let [p50, max] = [&tool["call_secs"]["p50_secs"], &tool["max_secs"]].map(number);
    assert!(0.0 < p50 && p50 <= 1.2 * max, "{tool}");
    // The call itself is under way while it looks.
    let told = ann.tool("get_tool_metrics", json!({ "tool": "get_tool_metrics" })).unwrap();
    assert_eq!(told["tools"][0]["in_flight"], 1);
    let told = bob.tool("get_tool_metrics", json!({ "tool": "get_state" })).unwrap();
    assert_eq!(told["tools"], json!([]));
    let refused = bob.tool("get_tool_metrics", json!({ "tool": "fly" })).unwrap_err();
    assert_eq!(refused["message"], "there is no tool `fly`");
}

#[test]
fn nobody_sees_or_changes_what_is_measured_of_others() {
    let folder = TempDir::new().unwrap();
    let scopes = ["--scope", "sim:use", "--scope", "metrics:read"];
    let tokens = [
        auth::add(folder.path(), "ann", &[]),
        auth::add(folder.path(), "bob", &[]),
        auth::add(folder.path(), "reader", &scopes),
    ];
    let daemon = auth::setup(folder.path()).serve();
    let [mut ann, mut bob, mut reader] = tokens.map(|token| daemon.client().with_token(&token));
    let id = session_with(&mut ann, &json!({ "scene": "pendulum" }));
    ann.tool("step_simulation", json!({ "session_id": id, "steps": 1000 })).unwrap();
    entry(&mut ann, "get_simulation_metrics", &id, |entry| 1000.0 == number(&entry["steps"]));
    for tool in ["get_simulation_metrics", "get_memory_usage", "clear_performance_data"] {
        let refused = bob.tool(tool, json!({ "session_id": id })).unwrap_err();
        assert_eq!(refused["code"], "session_unknown", "{tool}");
        if tool != "clear_performance_data" {
            let own = bob.tool(tool, json!({})).unwrap();
            assert_eq!(own["sessions"], json!([]), "{tool}");
            let all = bob.tool(tool, json!({ "all_tenants": true })).unwrap_err();
            assert_eq!(all["code"], "insufficient_scope", "{tool}");
            let all = reader.tool(tool, json!({ "all_tenants": true })).unwrap();
            assert_eq!(all["sessions"][0]["session_id"], *id, "{tool}");
        }
    }
    let off = json!({ "level": "off", "session_id": id });
    assert_eq!(
        bob.tool("enable_performance_tracking", off).unwrap_err()["code"],
        "session_unknown"
    );
    for tool in ["enable_performance_tracking", "clear_performance_data"] {
        let mut all = json!({ "all_tenants": true });
        if tool == "enable_performance_tracking" {
            all["level"] = json!("off");
        }
        assert_eq!(reader.tool(tool, all).unwrap_err()["code"], "insufficient_scope", "{tool}");
    }
    let of = |scope: &str| json!({ "metrics": ["steps_per_sec"], "scope": scope });
    assert_eq!(bob.tool("get_performance_history", of("session")).unwrap()["columns"], json!([]));
    let refused = bob.tool("get_performance_history", of("fleet")).unwrap_err();
    assert_eq!(refused["code"], "insufficient_scope");
    let fleet = reader.tool("get_performance_history", of("fleet")).unwrap();
    assert_eq!(fleet["columns"][0]["metric"], "steps_per_sec");
    let unknown = json!({ "metrics": ["steps"], "scope": "session" });
    let refused = ann.tool("get_performance_history", unknown).unwrap_err();
    assert_eq!(refused["code"], "metric_unknown");
}

#[test]
fn what_is_not_to_be_measured_is_not_and_what_is_to_be_forgotten_is() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let id = session_with(&mut client, &json!({ "scene": "pendulum" }));
    let step = |client: &mut Client| {
        client.tool("step_simulation", json!({ "session_id": id, "steps": 500 })).unwrap();
    };
    step(&mut client);
    let told = |client: &mut Client| {
        let told = client.tool("get_simulation_metrics", json!({ "session_id": id })).unwrap();
        number(&told["sessions"][0]["steps"])
    };
    wait_for("the steps", || (told(&mut client) == 500.0).then_some(()));
    let off = json!({ "level": "off", "session_id": id });
    let set = client.tool("enable_performance_tracking", off).unwrap();
    assert_eq!((&set["level"], &set["of"]), (&json!("off"), &json!(id)));
    let cleared = client.tool("clear_performance_data", json!({ "session_id": id })).unwrap();
    assert_eq!(cleared["subjects"], 1);
    step(&mut client);
    // Others are measured meanwhile, by which it can be told that time has passed.
    let other = session_with(&mut client, &json!({ "scene": "cart_pole" }));
    client.tool("step_simulation", json!({ "session_id": other, "steps": 7 })).unwrap();
    entry(&mut client, "get_simulation_metrics", &other, |entry| entry["steps"] == 7.0);
    assert_eq!(told(&mut client), 0.0);
    let on = json!({ "level": "detailed", "session_id": id });
    client.tool("enable_performance_tracking", on).unwrap();
    wait_for("steps to be measured again", || {
        step(&mut client);
        (0.0 < told(&mut client)).then_some(())
    });
    // Calls are forgotten with everything else of a tenant.
    let calls = |client: &mut Client| {
        let told = client.tool("get_tool_metrics", json!({ "tool": "create_session" })).unwrap();
        told["tools"].as_array().unwrap().len()
    };
    wait_for("calls to be counted", || (calls(&mut client) == 1).then_some(()));
    client.tool("clear_performance_data", json!({})).unwrap();
    assert_eq!(calls(&mut client), 0);
}

#[test]
fn the_overview_has_everything_and_what_the_measuring_itself_takes() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let id = session_with(&mut client, &json!({ "scene": "pendulum" }));
    run(&mut client, &id);
    let fleet = wait_for("a busy fleet", || {
        let arguments = json!({ "all_tenants": true, "window_secs": 3 });
        let told = client.tool("get_performance_metrics", arguments).unwrap();
        (0.0 < number(&told["means"]["steps_per_sec"])).then_some(told)
    });
    for name in ["host_memory_ratio", "supervisor_resident_bytes", "telemetry_cpu_ratio", "workers"]
    {
        assert!(0.0 < number(&fleet["means"][name]), "{name}: {fleet}");
    }
    assert!(0.0 < number(&fleet["measuring"]["memory_bytes"]), "{fleet}");
    assert_eq!(fleet["measuring"]["samples_dropped_total"], 0);
    assert!(fleet["measuring"]["history_bytes"].is_u64(), "{fleet}");
    let own = client.tool("get_performance_metrics", json!({})).unwrap();
    assert_eq!(own["means"]["host_memory_ratio"], Value::Null, "that is not a tenant's");
    assert!(0.0 < number(&own["means"]["sessions"]), "{own}");
    let refused = client.tool("get_performance_metrics", json!({ "window_secs": 0 })).unwrap_err();
    assert_eq!(refused["code"], "invalid_argument");
}

#[test]
fn the_past_survives_the_daemon_and_a_damaged_one_does_not_stop_the_next() {
    let state = TempDir::new().unwrap();
    let setup = || Setup::real(&programs!());
    let file = state.path().join("metrics.sqlite");
    let mut daemon = setup().serve_at(state.path());
    session_with(&mut daemon.client(), &json!({ "scene": "pendulum" }));
    let is_measured = |daemon: &Daemon| {
        let query = json!({ "metrics": ["sessions"], "duration_secs": 60 });
        let told = daemon.client().tool("get_performance_history", query).unwrap();
        told["columns"][0]["metric"] == "sessions"
    };
    wait_for("a session to be measured", || is_measured(&daemon).then_some(()));
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert!(file.is_file());
    for ending in ["-wal", "-shm"] {
        // Out of which it would be mended.
        std::fs::remove_file(state.path().join(format!("metrics.sqlite{ending}"))).ok();
    }
    std::fs::write(&file, "this is no database, and never was one. ".repeat(100)).unwrap();
    let daemon = setup().serve_at(state.path());
    wait_for("a session to be measured", || is_measured(&daemon).then_some(()));
    let aside = std::fs::read_to_string(state.path().join("metrics.sqlite.damaged-1")).unwrap();
    assert!(aside.starts_with("this is no database"));
}
