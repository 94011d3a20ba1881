//! Prompts, and the completion of their arguments.

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::Setup;
use simward_tests::programs;
use tempfile::TempDir;

fn prompt(client: &mut HttpClient, name: &str, arguments: Value) -> Value {
    client.ask("prompts/get", Some(name), json!({ "name": name, "arguments": arguments }))
}

fn text(answer: &Value) -> &str {
    let message = &answer["result"]["messages"][0];
    assert_eq!(message["role"], "user", "{answer}");
    message["content"]["text"].as_str().unwrap()
}

#[test]
fn there_are_six_prompts_which_take_what_a_user_says() {
    let daemon = Setup::toy(&programs!()).serve();
    let mut client = daemon.client();
    let listed = client.ask("prompts/list", None, json!({}));
    let prompts = listed["result"]["prompts"].as_array().unwrap().clone();
    let names: Vec<_> = prompts.iter().map(|prompt| prompt["name"].as_str().unwrap()).collect();
    let expected = [
        "run_simulation",
        "load_and_control_robot",
        "debug_contacts",
        "diagnose_crash",
        "tune_controller",
        "parameter_sensitivity",
    ];
    assert_eq!(names, expected);
    for it in &prompts {
        let arguments = it["arguments"].as_array().unwrap();
        let needed = arguments.iter().filter(|argument| argument["required"] == true);
        let said = needed.map(|it| (it["name"].as_str().unwrap().to_owned(), json!("said so")));
        let said = Value::Object(said.collect());
        let answer = prompt(&mut client, it["name"].as_str().unwrap(), said);
        assert!(text(&answer).contains("\n1. "), "{answer}");
    }
    let said = json!({ "scene": "cart_pole", "duration_secs": "2" });
    let answer = prompt(&mut client, "run_simulation", said);
    assert!(text(&answer).contains("scene cart_pole for 2 simulated seconds"), "{answer}");
    assert!(text(&answer).contains("step_simulation"), "{answer}");
}

#[test]
fn what_a_prompt_cannot_take_is_refused() {
    let daemon = Setup::toy(&programs!()).serve();
    let mut client = daemon.client();
    let long = "x".repeat(2000);
    for (name, arguments) in [
        ("no_such_prompt", json!({})),
        ("tune_controller", json!({})),
        ("run_simulation", json!({ "scene": long })),
        ("run_simulation", json!({ "scen": "pendulum" })),
        ("run_simulation", json!({ "scene": 3 })),
    ] {
        let answer = prompt(&mut client, name, arguments);
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
}

#[test]
fn a_prompt_does_not_send_a_model_after_tools_that_are_not_there() {
    let daemon = Setup::toy(&programs!()).args(&["--toolsets", "pool"]).serve();
    let mut client = daemon.client();
    let answer = prompt(&mut client, "run_simulation", json!({}));
    assert!(!text(&answer).contains("step_simulation"), "{answer}");
    let discovered = client.ask("server/discover", None, json!({}));
    let instructions = discovered["result"]["instructions"].as_str().unwrap();
    assert!(!instructions.contains("step_simulation"), "{instructions}");
    assert!(instructions.contains("create_session"), "{instructions}");
}

fn complete(
    client: &mut HttpClient,
    reference: Value,
    name: &str,
    typed: &str,
    said: Value,
) -> Value {
    let params = json!({
        "ref": reference, "argument": { "name": name, "value": typed },
        "context": { "arguments": said },
    });
    let answer = client.ask("completion/complete", None, params);
    assert!(answer["error"].is_null(), "{answer}");
    answer["result"]["completion"].clone()
}

#[test]
fn names_complete_to_what_is_there() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let of = |name: &str| json!({ "type": "ref/prompt", "name": name });
    let scenes = complete(&mut client, of("run_simulation"), "scene", "pend", json!({}));
    assert_eq!(scenes["values"], json!(["pendulum", "double_pendulum"]));
    let none = complete(&mut client, of("diagnose_crash"), "session_id", "", json!({}));
    assert_eq!(none["values"], json!([]));
    // Completing has created nothing.
    assert_eq!(client.tool("list_sessions", json!({})).unwrap()["sessions"], json!([]));

    let created = client.tool("create_session", json!({})).unwrap();
    let id = created["session_id"].clone();
    let scene = json!({ "session_id": id, "scene": "arm", "model_id": "robot" });
    client.tool("create_scene", scene).unwrap();
    let sessions = complete(&mut client, of("diagnose_crash"), "session_id", "sim_", json!({}));
    assert_eq!(sessions["values"], json!([id]));
    let template = json!({ "type": "ref/resource", "uri": "sim://{session_id}/state" });
    let sessions = complete(&mut client, template, "session_id", "", json!({}));
    assert_eq!(sessions["values"], json!([id]));
    let said = json!({ "session_id": id });
    let models = complete(&mut client, of("tune_controller"), "model_id", "", said.clone());
    assert_eq!(models["values"], json!(["robot"]));
    let info = client.tool("get_model_info", json!({ "session_id": id })).unwrap();
    for (argument, list) in [("joint", "joints"), ("actuator", "actuators")] {
        let named = complete(&mut client, of("tune_controller"), argument, "", said.clone());
        let names: Vec<_> =
            info[list].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
        assert_eq!(named["values"], json!(names), "{argument}");
        assert_eq!(named["hasMore"], false);
    }
    let elbow = complete(&mut client, of("tune_controller"), "actuator", "elbow", said);
    assert_eq!(elbow["values"], json!(["elbow_pitch_servo"]));
}

#[test]
fn completing_wakes_no_session_and_refuses_what_there_is_not() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let created = client.tool("create_session", json!({})).unwrap();
    let said = json!({ "session_id": created["session_id"] });
    client.tool("hibernate_session", said.clone()).unwrap();
    let reference = json!({ "type": "ref/prompt", "name": "tune_controller" });
    let models = complete(&mut client, reference, "model_id", "", said.clone());
    assert_eq!(models["values"], json!([]));
    let info = client.tool("get_session_info", said).unwrap();
    assert_eq!(info["state"], "hibernated");
    for (kind, name, argument) in [
        ("prompt", "no_such_prompt", "scene"),
        ("prompt", "run_simulation", "no_such_argument"),
        ("resource", "sim://{other}/state", "session_id"),
    ] {
        let key = if kind == "prompt" { "name" } else { "uri" };
        let params = json!({
            "ref": { "type": format!("ref/{kind}"), key: name },
            "argument": { "name": argument, "value": "" },
        });
        let answer = client.ask("completion/complete", None, params);
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
}

#[test]
fn the_older_protocol_has_prompts_and_completion_too() {
    let state = TempDir::new().unwrap();
    let mut client = Setup::toy(&programs!()).stdio(&state);
    let said = json!({ "joint": "elbow", "target": "0.5" });
    let answer =
        client.ask("prompts/get", &json!({ "name": "tune_controller", "arguments": said }));
    assert!(text(&answer).contains("the joint elbow"), "{answer}");
    assert!(text(&answer).contains("to reach 0.5 quickly"), "{answer}");
    let params = json!({
        "ref": { "type": "ref/prompt", "name": "run_simulation" },
        "argument": { "name": "scene", "value": "c" },
    });
    let answer = client.ask("completion/complete", &params);
    assert_eq!(answer["result"]["completion"]["values"], json!(["cart_pole"]), "{answer}");
}
