//! Joints by name, actuators and forces, by what physics says of them.

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::{models, programs};

fn daemon() -> (Daemon, HttpClient) {
    let daemon = Setup::real(&programs!()).serve();
    let client = daemon.client();
    (daemon, client)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// A ball of 2 kg that floats, without gravity.
const BALL: &str = "<mujoco><option gravity='0 0 0' timestep='0.001'/><worldbody>\
    <body name='ball' pos='0 0 1'><freejoint name='free'/>\
    <geom name='skin' type='sphere' size='0.1' mass='2'/></body></worldbody></mujoco>";

#[test]
fn joints_are_read_by_name_as_they_were_set() {
    // Made before a client connects, who must not be silent for as long as that takes.
    let model = models::arguments("ur5e");
    let (_daemon, mut client) = daemon();
    client.tool("load_model", model).unwrap();
    let positions = json!({ "elbow_joint": 0.25, "wrist_3_joint": -1.5 });
    client.tool("set_joint_positions", json!({ "positions": positions })).unwrap();
    client.tool("set_joint_velocities", json!({ "velocities": { "elbow_joint": 0.5 } })).unwrap();
    let all = client.tool("get_joint_positions", json!({})).unwrap();
    let state = client.tool("get_state", json!({})).unwrap();
    let by_name: Vec<_> = all["positions"].as_object().unwrap().values().map(number).collect();
    assert_eq!(by_name.len(), 6);
    let mut sorted: Vec<_> = state["qpos"].as_array().unwrap().iter().map(number).collect();
    let mut by_name = by_name;
    sorted.sort_by(f64::total_cmp);
    by_name.sort_by(f64::total_cmp);
    assert_eq!(by_name, sorted);
    let some = json!({ "joints": ["elbow_joint"] });
    let one = client.tool("get_joint_positions", some.clone()).unwrap();
    assert_eq!(one["positions"], json!({ "elbow_joint": 0.25 }));
    let one = client.tool("get_joint_velocities", some).unwrap();
    assert_eq!(one["velocities"], json!({ "elbow_joint": 0.5 }));
    let cut = client.tool("get_joint_positions", json!({ "max_items": 2 })).unwrap();
    assert_eq!((&cut["items_cut"], cut["positions"].as_object().unwrap().len()), (&json!(4), 2));
    let refused =
        client.tool("get_joint_positions", json!({ "joints": ["elbw_joint"] })).unwrap_err();
    assert_eq!(refused["code"], "name_unknown");
    assert!(refused["message"].as_str().unwrap().contains("elbow_joint"), "{refused}");
}

#[test]
fn a_free_joint_has_seven_positions_and_six_velocities() {
    let (_daemon, mut client) = daemon();
    client.tool("load_model", json!({ "model_xml": BALL })).unwrap();
    let read = client.tool("get_joint_positions", json!({})).unwrap();
    assert_eq!(read["positions"]["free"], json!([0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]));
    let read = client.tool("get_joint_velocities", json!({})).unwrap();
    assert_eq!(read["velocities"]["free"].as_array().unwrap().len(), 6);
}

#[test]
fn a_force_accelerates_a_mass_as_newton_says() {
    let (_daemon, mut client) = daemon();
    client.tool("load_model", json!({ "model_xml": BALL })).unwrap();
    let push = json!({ "body": "ball", "force": [4.0, 0.0, 0.0] });
    let pushed = client.tool("apply_force", push).unwrap();
    assert_eq!(pushed["force"], json!([4.0, 0.0, 0.0]));
    client.tool("step_simulation", json!({ "steps": 500 })).unwrap();
    // a = F / m = 2, v = a t after 500 steps of 1 ms.
    let speed = |client: &mut HttpClient| {
        let read = client.tool("get_joint_velocities", json!({})).unwrap();
        number(&read["velocities"]["free"][0])
    };
    assert!((speed(&mut client) - 1.0).abs() < 1e-9);
    client.tool("apply_force", json!({ "body": "ball" })).unwrap();
    client.tool("step_simulation", json!({ "steps": 500 })).unwrap();
    assert!((speed(&mut client) - 1.0).abs() < 1e-9, "without a force it keeps its speed");
}

#[test]
fn a_force_off_the_centre_turns_a_body() {
    let (_daemon, mut client) = daemon();
    client.tool("load_model", json!({ "model_xml": BALL })).unwrap();
    let push = json!({ "body": "ball", "force": [0.0, 3.0, 0.0], "point": [0.1, 0.0, 1.0] });
    let pushed = client.tool("apply_force", push).unwrap();
    // 3 N at an arm of 0.1 m.
    assert!((number(&pushed["torque"][2]) - 0.3).abs() < 1e-12, "{pushed}");
    client.tool("step_simulation", json!({ "steps": 100 })).unwrap();
    let read = client.tool("get_joint_velocities", json!({})).unwrap();
    // A sphere's inertia is 2/5 m r²; the joint's angular velocity is the body's.
    let expected = 0.3 / (0.4 * 2.0 * 0.01) * 0.1;
    let spin = number(&read["velocities"]["free"][5]);
    assert!((spin - expected).abs() < 1e-6 * expected, "{spin} instead of {expected}");
}

#[test]
fn a_force_that_makes_no_sense_is_refused_and_nothing_moves() {
    let (_daemon, mut client) = daemon();
    client.tool("load_model", json!({ "model_xml": BALL })).unwrap();
    for (push, code) in [
        (json!({ "body": "bal", "force": [1, 0, 0] }), "name_unknown"),
        (json!({ "body": "world", "force": [1, 0, 0] }), "out_of_range"),
        (json!({ "body": "ball", "force": [1e300, 0, 0] }), "out_of_range"),
        (json!({ "body": "ball", "force": [1, 0] }), "invalid_argument"),
    ] {
        let refused = client.tool("apply_force", push).unwrap_err();
        assert_eq!(refused["code"], code, "{refused}");
    }
    let before = client.tool("get_state", json!({ "include": ["qpos"] })).unwrap();
    client.tool("step_simulation", json!({ "steps": 100 })).unwrap();
    let after = client.tool("get_state", json!({ "include": ["qpos"] })).unwrap();
    assert_eq!(before["qpos"], after["qpos"]);
}

#[test]
fn a_pushed_body_is_still_pushed_after_its_process_was_lost() {
    let (daemon, mut client) = daemon();
    client.tool("load_model", json!({ "model_xml": BALL })).unwrap();
    client.tool("apply_force", json!({ "body": "ball", "force": [2, 0, 0] })).unwrap();
    let id = session(&mut client);
    client.tool("restart_process", json!({ "session_id": id })).unwrap();
    client.tool("step_simulation", json!({ "steps": 1000 })).unwrap();
    let read = client.tool("get_joint_velocities", json!({})).unwrap();
    assert!((number(&read["velocities"]["free"][0]) - 1.0).abs() < 1e-9, "{read}");
    drop(daemon);
}

fn session(client: &mut HttpClient) -> Value {
    client.tool("list_sessions", json!({})).unwrap()["sessions"][0]["session_id"].clone()
}

#[test]
fn actuators_tell_what_they_are_and_what_they_do() {
    // Made before a client connects, who must not be silent for as long as that takes.
    let model = models::arguments("ur5e");
    let (_daemon, mut client) = daemon();
    client.tool("load_model", model).unwrap();
    let infos = client.tool("get_actuator_info", json!({})).unwrap();
    let infos = infos["actuators"].as_array().unwrap();
    assert_eq!(infos.len(), 6);
    for info in infos {
        assert_eq!(info["kind"], "position", "{info}");
        let stiffness = number(&info["gain"][0]);
        assert!(0.0 < stiffness);
        // A position servo: force = kp (ctrl - q) - kv v.
        assert_eq!(number(&info["bias"][1]), -stiffness);
    }
    let set = json!({ "positions": { "elbow_joint": 0.01 } });
    client.tool("set_joint_positions", set).unwrap();
    client.tool("apply_control", json!({ "control": [0, 0, 0, 0, 0, 0] })).unwrap();
    let elbow = infos.iter().find(|info| info["acts_on"] == "joint elbow_joint").unwrap();
    let read = json!({ "actuators": [elbow["name"]] });
    let state = client.tool("get_control_state", read.clone()).unwrap();
    let state = &state["actuators"][0];
    let force = number(&state["force"][0]);
    let expected = -number(&elbow["gain"][0]) * 0.01;
    assert!((force - expected).abs() < 1e-9, "{force} instead of {expected}");
    assert_eq!((&state["clamped"], &state["saturated"]), (&json!(false), &json!(false)));
    let name = elbow["name"].as_str().unwrap();
    client.tool("apply_control", json!({ "control": { name: 1e3 } })).unwrap();
    let state = client.tool("get_control_state", read).unwrap();
    assert_eq!(state["actuators"][0]["clamped"], true);
    assert_eq!(state["actuators"][0]["saturated"], true, "{state}");
}

#[test]
fn motors_are_told_from_servos() {
    let (_daemon, mut client) = daemon();
    client.tool("load_model", models::arguments("humanoid")).unwrap();
    let infos = client.tool("get_actuator_info", json!({})).unwrap();
    let infos = infos["actuators"].as_array().unwrap();
    assert!(infos.iter().all(|info| info["kind"] == "motor"), "{infos:?}");
}
