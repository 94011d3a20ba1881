//! Steps that end when something happens, at the moment when physics says that it does.

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::{models, programs};

/// A ball that falls from 1 m onto a floor, in steps of 1 ms.
const FALL: &str = "<mujoco><option timestep='0.001'/><worldbody>\
    <geom name='floor' type='plane' size='5 5 0.1'/>\
    <body name='ball' pos='0 0 1'><freejoint name='free'/>\
    <geom name='skin' type='sphere' size='0.1' mass='1'/></body></worldbody></mujoco>";

fn falling() -> (Daemon, HttpClient) {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    client.tool("load_model", json!({ "model_xml": FALL })).unwrap();
    (daemon, client)
}

fn until(client: &mut HttpClient, condition: Value) -> Value {
    let step = json!({ "steps": 10_000, "stop_when": condition });
    client.tool("step_simulation", step).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_fall_ends_at_the_first_contact() {
    let (_daemon, mut client) = falling();
    let contact = json!({
        "quantity": "contact_count", "name": "ball", "other": "floor", "above": 0
    });
    let stopped = until(&mut client, contact);
    assert_eq!(stopped["stopped_by"], "condition");
    // t = sqrt(2 h / g), h from the ball's skin to the floor; a step sees what lies before it.
    let expected = (2.0_f64 * 0.9 / 9.81).sqrt();
    let time = number(&stopped["time_secs"]);
    assert!((time - expected).abs() < 0.0025, "{time} instead of {expected}");
    assert_eq!(number(&stopped["steps_done"]), (time * 1000.0).round());
}

#[test]
fn a_body_is_watched_where_it_is_now() {
    let (_daemon, mut client) = falling();
    let height =
        json!({ "quantity": "body_position", "name": "ball", "component": 2, "below": 0.75 });
    let stopped = until(&mut client, height);
    assert_eq!(stopped["stopped_by"], "condition");
    let state = client.tool("get_state", json!({})).unwrap();
    let (z, speed) = (number(&state["qpos"][2]), -number(&state["qvel"][2]));
    // One step earlier it was not there yet.
    assert!(z < 0.75 && 0.75 <= z + speed * 0.001 + 1e-9, "{z} at {speed}");
}

#[test]
fn energy_is_that_of_the_state() {
    let (_daemon, mut client) = falling();
    let energy = json!({ "quantity": "kinetic_energy", "above": 2.0 });
    until(&mut client, energy);
    let state = client.tool("get_state", json!({})).unwrap();
    let speed = number(&state["qvel"][2]);
    let joules = 0.5 * speed * speed;
    let before = 0.5 * (speed.abs() - 0.00981).powi(2);
    assert!(2.0 < joules && before <= 2.0, "{joules} J, {before} J before");
}

#[test]
fn what_has_settled_has_been_still_for_a_while() {
    let (_daemon, mut client) = falling();
    let still = json!({ "all": [
        { "quantity": "max_velocity", "below": 0.01, "for_secs": 0.25 },
        { "quantity": "time", "above": 0.1 }
    ]});
    let stopped = until(&mut client, still);
    assert_eq!(stopped["stopped_by"], "condition", "{stopped}");
    let state = client.tool("get_state", json!({})).unwrap();
    assert!((number(&state["qpos"][2]) - 0.1).abs() < 0.01, "it lies on the floor: {state}");
}

#[test]
fn what_never_happens_ends_with_the_steps() {
    let (_daemon, mut client) = falling();
    let step = json!({ "steps": 50, "stop_when": { "quantity": "time", "above": 1e6 } });
    let stopped = client.tool("step_simulation", step).unwrap();
    assert_eq!((&stopped["stopped_by"], &stopped["steps_done"]), (&json!("steps"), &json!(50)));
}

#[test]
fn a_condition_that_makes_no_sense_is_refused_and_nothing_moves() {
    let (_daemon, mut client) = falling();
    for (condition, code, word) in [
        (json!({}), "invalid_argument", "exactly one"),
        (json!({ "quantity": "sensor", "name": "touch", "above": 1 }), "name_unknown", "touch"),
        (
            json!({ "quantity": "body_position", "name": "ball", "component": 3, "above": 1 }),
            "out_of_range",
            "component",
        ),
        (json!({ "quantity": "time", "above": 1, "script": "x" }), "invalid_argument", "script"),
        (json!({ "quantity": "weather", "above": 1 }), "invalid_argument", "weather"),
    ] {
        let step = json!({ "steps": 5, "stop_when": condition });
        let refused = client.tool("step_simulation", step).unwrap_err();
        assert_eq!(refused["code"], code, "{refused}");
        assert!(refused["message"].as_str().unwrap().contains(word), "{refused}");
    }
    let state = client.tool("get_state", json!({})).unwrap();
    assert_eq!(state["time_secs"], 0.0);
}

#[test]
fn watching_does_not_change_what_is_watched() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let mut run = |condition: Option<Value>| {
        let id = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
        let mut model = models::arguments("humanoid");
        model["session_id"] = id.clone();
        client.tool("load_model", model).unwrap();
        let mut step = json!({ "session_id": id, "steps": 300 });
        if let Some(condition) = condition {
            step["stop_when"] = condition;
        }
        let stepped = client.tool("step_simulation", step).unwrap();
        assert_eq!(stepped["steps_done"], 300);
        client.tool("get_state", json!({ "session_id": id })).unwrap()
    };
    let never = json!({ "all": [
        { "quantity": "total_energy", "above": 1e9 },
        { "quantity": "body_speed", "name": "torso", "above": 1e9 },
        { "quantity": "contact_force", "above": 1e12 }
    ]});
    assert_eq!(run(Some(never)), run(None));
}
