//! Bad habits that servers of this kind have, and this one must not: success without action, errors
//! that only people can read, answers without end, others who wait while a model compiles.

use std::time::Instant;

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup, children};
use simward_tests::wait::wait_until;
use simward_tests::{models, programs};

fn daemon() -> (Daemon, HttpClient) {
    let daemon = Setup::real(&programs!()).serve();
    let client = daemon.client();
    (daemon, client)
}

pub(crate) fn tools(client: &mut HttpClient) -> Vec<Value> {
    let list = client.ask("tools/list", None, json!({}));
    list["result"]["tools"].as_array().unwrap().clone()
}

/// Arguments that fit a tool's schema, for what it cannot do without.
pub(crate) fn least(tool: &Value) -> Value {
    let schema = &tool["inputSchema"];
    let required = schema["required"].as_array().into_iter().flatten();
    let mut arguments = json!({});
    for name in required {
        let name = name.as_str().unwrap();
        arguments[name] = fitting(schema, &schema["properties"][name]);
    }
    arguments
}

fn fitting(whole: &Value, schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        return fitting(whole, &whole["$defs"][name.trim_start_matches("#/$defs/")]);
    }
    if let Some(choice) = schema["enum"].as_array().or_else(|| schema["anyOf"].as_array()) {
        let first = &choice[0];
        return if first.is_object() { fitting(whole, first) } else { first.clone() };
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind {
        Some("string") => json!("#0"),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(false),
        Some("array") if schema["prefixItems"].is_array() => {
            let items = schema["prefixItems"].as_array().unwrap().iter();
            items.map(|item| fitting(whole, item)).collect()
        }
        Some("array") => {
            let count = schema["minItems"].as_u64().unwrap_or(1);
            (0..count).map(|_| fitting(whole, &schema["items"])).collect()
        }
        _ => {
            let mut object = json!({});
            for name in schema["required"].as_array().into_iter().flatten() {
                let name = name.as_str().unwrap();
                object[name] = fitting(whole, &schema["properties"][name]);
            }
            object
        }
    }
}

#[test]
fn no_tool_says_that_it_did_something_where_there_is_nothing() {
    let (_daemon, mut client) = daemon();
    // These need no model: they are about the server, sessions, runs, the pool, what is measured, or
    // sources; and
    // `batch_step` and `run_parallel` tell of each item why it was refused.
    let need_none = [
        "batch_step",
        "clear_performance_data",
        "close_viewer",
        "create_session",
        "enable_performance_tracking",
        "fork_session",
        "get_loaded_models",
        "get_memory_usage",
        "get_performance_alerts",
        "get_performance_metrics",
        "get_process_pool_stats",
        "get_resource_usage",
        "get_server_info",
        "get_session_info",
        "get_simulation_metrics",
        "get_tool_metrics",
        "get_viewer_url",
        "hibernate_session",
        "list_active_processes",
        "list_menagerie_models",
        "list_recordings",
        "list_runs",
        "list_sessions",
        "revive_session",
        "run_parallel",
        "validate_model_xml",
    ];
    let mut did = Vec::new();
    for tool in tools(&mut client) {
        let name = tool["name"].as_str().unwrap();
        // Whether this machine lets anybody sample is another question.
        if name != "start_profiling" && client.tool(name, least(&tool)).is_ok() {
            did.push(name.to_owned());
        }
    }
    assert_eq!(did, need_none);
    let items = json!({ "items": [{}] });
    let batch = client.tool("batch_step", items).unwrap();
    assert_eq!((&batch["steps_total"], &batch["refused_total"]), (&json!(0), &json!(1)));
}

#[test]
fn every_tool_refuses_in_a_form_that_programs_read() {
    let (_daemon, mut client) = daemon();
    for tool in tools(&mut client) {
        let name = tool["name"].as_str().unwrap();
        let mut arguments = least(&tool);
        arguments["wrong_argument"] = json!(1);
        let answer = client.tool_raw(name, arguments);
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        let result = &answer["result"];
        assert_eq!(result["isError"], true, "{name}: {answer}");
        assert_eq!(result["structuredContent"]["code"], "invalid_argument", "{name}");
        let message = result["structuredContent"]["message"].as_str().unwrap();
        assert!(message.contains("wrong_argument"), "{name}: {message}");
        let text: Value =
            serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, result["structuredContent"], "{name}: the text says something else");
    }
}

#[test]
fn answers_about_a_huge_model_stay_short_and_say_what_was_cut() {
    let (_daemon, mut client) = daemon();
    let many = "<mujoco><worldbody><replicate count='900' offset='1 0 0'><body><freejoint/>\
                <geom size='.1'/><site/></body></replicate></worldbody></mujoco>";
    client.tool("load_model", json!({ "model_xml": many })).unwrap();
    for tool in [
        "get_model_info",
        "get_joint_positions",
        "get_body_states",
        "scene_map",
        "get_contacts",
        "get_forces",
    ] {
        let answer = client.tool_raw(tool, json!({}));
        assert!(answer.body.len() < 200_000, "{tool} answers {} bytes", answer.body.len());
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        let content = &answer["result"]["structuredContent"];
        let cut = content["items_cut"].as_u64().unwrap();
        assert!(600 < cut || tool == "get_contacts", "{tool}: {cut}");
    }
}

#[test]
fn the_state_of_an_arm_is_short() {
    let model = models::arguments("ur5e");
    let (_daemon, mut client) = daemon();
    client.tool("load_model", model).unwrap();
    client.tool("reset_simulation", json!({ "keyframe": "home" })).unwrap();
    client.tool("step_simulation", json!({ "steps": 333 })).unwrap();
    let answer = client.tool_raw("get_state", json!({}));
    assert!(answer.body.len() <= 2000, "{} bytes: {}", answer.body.len(), answer.text());
}

#[test]
fn nobody_waits_while_somebody_elses_model_compiles() {
    let daemon = Setup::real(&programs!()).set("compile.timeout_secs", "10").serve();
    let mut client = daemon.client();
    client.tool("create_scene", json!({ "scene": "pendulum" })).unwrap();
    let before = children(i32::try_from(daemon.pid()).unwrap()).len();
    let bomb = models::root().join("tests/hostile/compile_bomb/lengthrange-endless.xml");
    let bomb = std::fs::read_to_string(bomb).unwrap();
    let mut other = daemon.client();
    other.send_tool("validate_model_xml", json!({ "model_xml": bomb }));
    let compiles = || before < children(i32::try_from(daemon.pid()).unwrap()).len();
    wait_until("it compiles", compiles);
    let begun = Instant::now();
    for _ in 0..50 {
        client.tool("step_simulation", json!({ "steps": 10 })).unwrap();
    }
    assert!(compiles(), "it was over before: {:?}", begun.elapsed());
}
