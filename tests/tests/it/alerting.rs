//! An alert has a cause: it is silent before it, says what it is, and is over after it. Whoever asks
//! for alerts gets those that were asked for.

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::fake::How;
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};
use tempfile::TempDir;

use crate::alerts::{always, firing, over, session};
use crate::auth;
use crate::cleaning::secs_between;
use crate::monitoring::{heap_of_boxes, number, run, session_with};

/// A daemon that looks often, a tenant, and an operator who looks at the tenant's alerts: his calls
/// are none of the tenant's.
fn watched(folder: &TempDir) -> (Daemon, [HttpClient; 2]) {
    let scopes = ["--scope", "pool:admin", "--scope", "sim:use"];
    let tokens = [auth::add(folder.path(), "ann", &[]), auth::add(folder.path(), "ops", &scopes)];
    let daemon = auth::setup(folder.path()).set("alerts.interval_secs", "0.1").serve();
    let clients = tokens.map(|token| daemon.client().with_token(&token));
    (daemon, clients)
}

/// The arguments that set a rule, and another one that looks at the same, after it, and is broken by
/// every value: where that one fires, it was looked.
fn armed(rule: &Value) -> Value {
    let mut look = rule.clone();
    look["name"] = json!(format!("{} is looked at", rule["name"].as_str().unwrap()));
    look["operator"] = json!("gte");
    for value in ["value", "clear_value"] {
        look[value] = json!(0);
    }
    json!({ "set": [rule, look] })
}

/// Waits for a look at so many subjects, none of which breaks the rule that was armed, or has.
fn assert_silent(client: &mut HttpClient, rule: &Value, subjects: usize) {
    let name = rule["name"].as_str().unwrap();
    let mut told =
        |rule: &str| client.tool("get_performance_alerts", json!({ "rule": rule })).unwrap();
    wait_until("a look at all of them", || {
        let told = told(&format!("{name} is looked at"));
        told["alerts"].as_array().unwrap().len() == subjects
    });
    let told = told(name);
    assert_eq!((&told["alerts"], &told["history"]), (&json!([]), &json!([])));
}

/// The only alert of a rule, once it fires.
fn only(client: &mut HttpClient, rule: &Value, labels: &Value, condition: &str) -> Value {
    let name = rule["name"].as_str().unwrap();
    let alert = wait_for("the alert", || firing(client, name));
    assert_eq!((&alert["labels"], &alert["severity"]), (labels, &rule["severity"]), "{alert}");
    assert_eq!(alert["condition"], condition);
    let told = client.tool("get_performance_alerts", json!({ "rule": name })).unwrap();
    assert_eq!(told["alerts"].as_array().unwrap().len(), 1, "{told}");
    alert
}

/// It is over by and by, and was the only one.
fn assert_over(client: &mut HttpClient, alert: &Value) {
    let name = alert["rule"].as_str().unwrap();
    let past = wait_for("the end of it", || over(client, name));
    for same in ["fired_at", "labels", "severity"] {
        assert_eq!(past[same], alert[same], "{past}");
    }
    assert_eq!(past["why"], "over", "{past}");
    assert!(0.0 < secs_between(&past["fired_at"], &past["resolved_at"]), "{past}");
    let told = client.tool("get_performance_alerts", json!({ "rule": name })).unwrap();
    assert_eq!((&told["alerts"], &told["history"]), (&json!([]), &json!([past])));
}

#[test]
fn a_session_that_takes_a_core_is_told_of_until_it_rests_and_its_idle_neighbour_is_not() {
    let folder = TempDir::new().unwrap();
    let (mut daemon, [mut ann, mut ops]) = watched(&folder);
    let pendulum = json!({ "scene": "pendulum" });
    let [hog, _neighbour] = [0; 2].map(|_| session_with(&mut ann, &pendulum));
    daemon.workers();
    let rule = json!({
        "name": "busy", "metric": "cpu", "window_secs": 3, "value": 0.2, "clear_value": 0.1,
        "for_secs": 0, "severity": "critical",
    });
    ann.tool("set_performance_thresholds", armed(&rule)).unwrap();
    assert_silent(&mut ops, &rule, 2);
    run(&mut ann, &hog);
    let labels = json!({ "session_id": hog, "tenant": "ann" });
    let condition = "avg of session_cpu_ratio over 3 s > 0.2";
    let alert = only(&mut ops, &rule, &labels, condition);
    let value = number(&alert["value"]);
    assert!(0.2 < value && value < 2.0, "{alert}");
    ann.tool("pause_simulation", json!({ "session_id": hog })).unwrap();
    assert_over(&mut ops, &alert);
}

#[test]
fn a_model_whose_steps_are_slow_is_told_of_until_it_is_gone_and_a_light_one_is_not() {
    let folder = TempDir::new().unwrap();
    let (mut daemon, [mut ann, mut ops]) = watched(&folder);
    let slow = session_with(&mut ann, &json!({ "model_xml": heap_of_boxes(200) }));
    let light = session_with(&mut ann, &json!({ "scene": "pendulum" }));
    daemon.workers();
    run(&mut ann, &light);
    let rule = json!({
        "name": "slow", "metric": "step_time", "window_secs": 3, "value": 0.0001,
        "for_secs": 0, "severity": "info",
    });
    ann.tool("set_performance_thresholds", armed(&rule)).unwrap();
    assert_silent(&mut ops, &rule, 1);
    run(&mut ann, &slow);
    let labels = json!({ "session_id": slow, "tenant": "ann" });
    let condition = "p95 of session_step_secs over 3 s > 0.0001";
    let alert = only(&mut ops, &rule, &labels, condition);
    let value = number(&alert["value"]);
    assert!(0.0001 < value && value < 1.0, "{alert}");
    for tool in ["pause_simulation", "unload_model"] {
        ann.tool(tool, json!({ "session_id": slow })).unwrap();
    }
    ann.tool("create_scene", json!({ "session_id": slow, "scene": "pendulum" })).unwrap();
    run(&mut ann, &slow);
    assert_over(&mut ops, &alert);
}

#[test]
fn three_of_four_calls_that_are_refused_are_told_of_until_most_are_well_again() {
    let folder = TempDir::new().unwrap();
    let (_daemon, [mut ann, mut ops]) = watched(&folder);
    let rule = json!({
        "name": "failing", "metric": "error_rate", "value": 0.7, "for_secs": 0,
        "severity": "critical",
    });
    // This is the call that is not refused.
    ann.tool("set_performance_thresholds", armed(&rule)).unwrap();
    assert_silent(&mut ops, &rule, 1);
    for _ in 0..3 {
        ann.tool("get_state", json!({ "session_id": "sim_none" })).unwrap_err();
    }
    let condition = "avg of tenant_error_ratio over 60 s > 0.7";
    let alert = only(&mut ops, &rule, &json!({ "tenant": "ann" }), condition);
    assert!((number(&alert["value"]) - 0.75).abs() < 1e-6, "{alert}");
    ann.tool("list_sessions", json!({})).unwrap();
    assert_over(&mut ops, &alert);
}

#[test]
fn a_leak_is_told_of_before_it_reaches_the_limit_and_its_end_names_the_limit() {
    for groups in ["true", "false"] {
        let setup = Setup::rogue(&programs!(), How::Leaks).set("pool.control_groups", groups);
        let mut daemon = setup.set("alerts.interval_secs", "0.1").serve();
        let mut client = daemon.client();
        let id = session_with(&mut client, &json!({ "model_xml": "<mujoco/>" }));
        daemon.workers();
        let limit_bytes = 200 << 20;
        let limit = json!({ "session_id": id, "memory_bytes": limit_bytes });
        client.tool("set_resource_limits", limit).unwrap();
        let rule = json!({
            "name": "full", "metric": "session_memory_limit_ratio", "aggregate": "last",
            "value": 0.5, "for_secs": 0, "severity": "critical",
        });
        client.tool("set_performance_thresholds", armed(&rule)).unwrap();
        assert_silent(&mut client, &rule, 1);
        let mut step = || client.tool("step_simulation", json!({ "session_id": id, "steps": 1 }));
        // A step more than half of it.
        let half = limit_bytes / 2 / How::LEAK_BYTES + 1;
        for _ in 0..half {
            step().unwrap();
        }
        let labels = json!({ "session_id": id, "tenant": "local" });
        let condition = "session_memory_limit_ratio > 0.5";
        let alert = only(&mut client, &rule, &labels, condition);
        let value = number(&alert["value"]);
        assert!(0.5 < value && value < 1.0, "{alert}");
        let info = |client: &mut HttpClient| {
            client.tool("get_session_info", json!({ "session_id": id })).unwrap()
        };
        assert_eq!(info(&mut client)["last_ending"], Value::Null, "it was told before");
        for _ in 0..half {
            client.tool("step_simulation", json!({ "session_id": id, "steps": 1 })).ok();
        }
        let ending = wait_for("its end", || {
            let ending = info(&mut client)["last_ending"].clone();
            ending.as_str().map(str::to_owned)
        });
        assert!(ending.contains("200 MiB"), "{ending} with control groups: {groups}");
        daemon.workers();
    }
}

#[test]
fn it_is_told_what_was_set_what_was_removed_and_what_to_know_of_it() {
    let daemon = Setup::toy(&programs!()).set("alerts.interval_secs", "0.1").serve();
    let mut client = daemon.client();
    session(&mut client);
    let set =
        |client: &mut HttpClient, rules: Value| client.tool("set_performance_thresholds", rules);
    let even = json!({
        "name": "even", "metric": "cpu", "operator": "eq", "value": 0.5, "epsilon": 0.01,
        "for_secs": 7, "severity": "info", "action": "warn",
    });
    let told = set(&mut client, json!({ "set": [always("old"), even] })).unwrap();
    let old = json!({
        "name": "old", "owner": "local", "condition": "session_age_secs >= 0", "labels": {},
        "for_secs": 0.0, "severity": "warning", "action": null, "configured": false,
    });
    let even = json!({
        "name": "even", "owner": "local", "condition": "avg of session_cpu_ratio over 60 s == 0.5",
        "labels": {}, "for_secs": 7.0, "severity": "info", "action": "warn", "configured": false,
    });
    assert_eq!((&told["rules"], &told["removed"]), (&json!([old, even]), &json!([])));
    let warning = "measured values are seldom equal; within 0.01 they count as it";
    assert_eq!(told["warnings"], json!([warning]));
    wait_for("an alert", || firing(&mut client, "old"));
    let changed = json!({ "name": "even", "metric": "cpu", "value": 0.9 });
    let told = set(&mut client, json!({ "set": [changed], "remove": ["old"] })).unwrap();
    assert_eq!((&told["removed"], &told["warnings"]), (&json!(["old"]), &json!([])));
    assert_eq!(told["rules"][0]["condition"], "avg of session_cpu_ratio over 60 s > 0.9");
    let past = over(&mut client, "old").expect("what it had found is over at once");
    assert_eq!(past["why"], "rule_removed");
    // What cannot be set takes nothing else with it.
    for (rules, code) in [
        (json!({}), "invalid_argument"),
        (json!({ "set": [always("new"), { "metric": "warp" }] }), "metric_unknown"),
        (json!({ "set": [{ "metric": "warp" }], "remove": ["even"] }), "metric_unknown"),
        (json!({ "remove": ["old"] }), "rule_unknown"),
        (json!({ "set": [always("new")], "remove": ["even", "old"] }), "rule_unknown"),
    ] {
        assert_eq!(set(&mut client, rules).unwrap_err()["code"], code);
    }
    let listed = client.tool("get_performance_alerts", json!({})).unwrap();
    assert_eq!((&listed["rules"], &listed["alerts"]), (&told["rules"], &json!([])));
}

/// Three rules of different severities that are broken at once.
fn severities() -> Value {
    let rule = |severity: &str| {
        let mut rule = always(severity);
        rule["severity"] = json!(severity);
        rule
    };
    let rules = ["info", "warning", "critical"].map(rule);
    json!({ "set": rules })
}

#[test]
fn alerts_are_asked_for_by_session_by_severity_and_by_number() {
    let daemon = Setup::toy(&programs!()).set("alerts.interval_secs", "0.1").serve();
    let mut client = daemon.client();
    let [first, second] = [0; 2].map(|_| session(&mut client));
    let mut listed = |arguments: Value| client.tool("get_performance_alerts", arguments).unwrap();
    let count = |listed: &Value, what: &str| listed[what].as_array().unwrap().len();
    let nothing = listed(json!({ "session_id": first }));
    assert_eq!(count(&nothing, "alerts") + count(&nothing, "history"), 0, "it is there");
    let mut owner = daemon.client();
    owner.tool("set_performance_thresholds", severities()).unwrap();
    wait_until("all fire", || count(&listed(json!({})), "alerts") == 6);
    let of_first = listed(json!({ "session_id": first }));
    assert_eq!((count(&of_first, "alerts"), &of_first["items_cut"]), (3, &json!(0)));
    let mut alerts = of_first["alerts"].as_array().unwrap().iter();
    assert!(alerts.all(|alert| alert["labels"]["session_id"] == *first), "{of_first}");
    for (severity, expected) in [("info", 6), ("warning", 4), ("critical", 2)] {
        let told = listed(json!({ "severity": severity }));
        assert_eq!(count(&told, "alerts"), expected, "at least {severity}");
    }
    let told = listed(json!({ "severity": "critical", "session_id": second, "rule": "critical" }));
    assert_eq!(count(&told, "alerts"), 1);
    let told = listed(json!({ "severity": "critical", "rule": "info" }));
    assert_eq!((count(&told, "alerts"), count(&told, "rules")), (0, 1));
    // The worst come first; of three rules there are two.
    let cut = listed(json!({ "max": 2 }));
    assert_eq!((count(&cut, "alerts"), count(&cut, "rules")), (2, 2));
    assert_eq!(cut["items_cut"], (6 - 2) + (3 - 2));
    let mut alerts = cut["alerts"].as_array().unwrap().iter();
    assert!(alerts.all(|alert| alert["severity"] == "critical"), "{cut}");
    owner.tool("close_session", json!({ "session_id": first })).unwrap();
    wait_until("its alerts are over", || count(&listed(json!({})), "history") == 3);
    let past = listed(json!({ "session_id": first, "severity": "warning", "max": 1 }));
    let (past, cut) = (&past["history"], &past["items_cut"]);
    assert_eq!((past.as_array().unwrap().len(), cut), (1, &json!((2 - 1) + (3 - 1))));
    assert_eq!(past[0]["labels"]["session_id"], *first);
    let unknown = owner.tool("get_performance_alerts", json!({ "session_id": "sim_none" }));
    assert_eq!(unknown.unwrap_err()["code"], "session_unknown");
}
