//! Numbers of a model that change at run time, by what they do and by what outlives a process.

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

const FALL: &str = "<mujoco><option timestep='0.001'/><worldbody><body name='ball' pos='0 0 9'>\
    <joint name='z' type='slide' axis='0 0 1'/><geom size='0.1' mass='2'/></body></worldbody>\
    <actuator><motor name='lift' joint='z'/></actuator></mujoco>";

fn modify(client: &mut HttpClient, changes: Value) -> Value {
    client.tool("modify_model", json!({ "changes": changes })).unwrap()
}

/// Falls, or is lifted, for half a second from rest; tells how fast it is then.
fn speed(client: &mut HttpClient) -> f64 {
    client.tool("reset_simulation", json!({})).unwrap();
    let step = json!({ "steps": 500, "control": [19.62] });
    client.tool("step_simulation", step).unwrap();
    let read = client.tool("get_joint_velocities", json!({})).unwrap();
    number(&read["velocities"]["z"])
}

#[test]
fn gravity_mass_and_timestep_act_as_newton_says() {
    let (_daemon, mut client) = daemon();
    client.tool("load_model", json!({ "model_xml": FALL })).unwrap();
    assert!(speed(&mut client).abs() < 1e-9, "19.62 N hold 2 kg");
    let moon = modify(&mut client, json!([{ "field": "gravity", "value": [0, 0, -1.62] }]));
    assert_eq!(moon["changed"][0]["before"], json!([0.0, 0.0, -9.81]));
    assert!((speed(&mut client) - (9.81 - 1.62) * 0.5).abs() < 1e-9);
    modify(&mut client, json!([{ "field": "body_mass", "name": "ball", "value": 4 }]));
    assert!((speed(&mut client) - (4.905 - 1.62) * 0.5).abs() < 1e-9);
    // A factor is one on what was compiled, however often it is given.
    for _ in 0..3 {
        modify(&mut client, json!([{ "field": "body_mass", "name": "ball", "scale": 3 }]));
    }
    assert!((speed(&mut client) - (3.27 - 1.62) * 0.5).abs() < 1e-9);
    let slower = modify(&mut client, json!([{ "field": "timestep", "value": 0.0005 }]));
    assert_eq!(slower["modified_total"], 3, "{slower}");
    assert!((speed(&mut client) - (3.27 - 1.62) * 0.25).abs() < 1e-9);
    let reset = json!({ "reset": true });
    assert_eq!(client.tool("modify_model", reset).unwrap()["modified_total"], 0);
    assert!(speed(&mut client).abs() < 1e-9);
}

#[test]
fn friction_decides_whether_a_block_slides() {
    let (_daemon, mut client) = daemon();
    // A slope of 30°: a block stays where the friction is above tan 30° = 0.577.
    let slope = "<mujoco><option gravity='4.905 0 -8.4957' cone='elliptic' impratio='10'/>\
        <worldbody><geom name='floor' type='plane' size='9 9 .1' friction='0.1'/>\
        <body name='block' pos='0 0 0.1'><freejoint/>\
        <geom name='box' type='box' size='.1 .1 .1' mass='1' friction='0.1'/></body>\
        </worldbody></mujoco>";
    client.tool("load_model", json!({ "model_xml": slope })).unwrap();
    let mut slide = |friction: f64| {
        client.tool("reset_simulation", json!({})).unwrap();
        let friction =
            json!([{ "field": "geom_friction", "name": "box", "component": 0, "value": friction }]);
        modify(&mut client, friction);
        client.tool("step_simulation", json!({ "steps": 500 })).unwrap();
        let state = client.tool("get_state", json!({ "include": ["qpos"] })).unwrap();
        number(&state["qpos"][0])
    };
    assert!(slide(0.9).abs() < 0.01);
    // x = (g sin - µ g cos) t² / 2 in one second.
    let (far, expected) = (slide(0.3), (4.905 - 0.3 * 8.4957) / 2.0);
    assert!((far - expected).abs() < 0.05, "{far} instead of {expected}");
}

#[test]
fn a_modified_model_moves_as_one_that_was_compiled_so() {
    let (_daemon, mut client) = daemon();
    // With contacts, whose softness follows from constants that the engine derives of masses.
    let xml = |mass: f64, armature: f64| {
        format!(
            "<mujoco><worldbody><geom type='plane' size='9 9 .1'/><body name='ball' pos='0 0 .3'>\
             <freejoint/><inertial pos='0 0 .02' mass='{mass}' diaginertia='.02 .03 .04'/>\
             <geom type='box' size='.1 .2 .1' euler='9 4 0'/><body name='arm' pos='.2 0 0'>\
             <joint name='hinge' axis='0 1 0' armature='{armature}'/><geom size='.05' mass='1'/>\
             </body></body></worldbody></mujoco>"
        )
    };
    let mut moved = |xml: String, changes: Value| {
        let id = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
        client.tool("load_model", json!({ "session_id": id, "model_xml": xml })).unwrap();
        let modify = json!({ "session_id": id, "changes": changes });
        client.tool("modify_model", modify).unwrap();
        client.tool("step_simulation", json!({ "session_id": id, "steps": 700 })).unwrap();
        client.tool("get_state", json!({ "session_id": id })).unwrap()
    };
    let compiled = moved(xml(3.5, 0.02), json!([]));
    let changes = json!([
        { "field": "body_mass", "name": "ball", "value": 3.5 },
        { "field": "dof_armature", "name": "hinge", "value": 0.02 }
    ]);
    assert_eq!(moved(xml(1.25, 0.0), changes), compiled);
    assert_ne!(moved(xml(1.25, 0.0), json!([])), compiled);
}

#[test]
fn what_was_modified_outlives_the_process_to_the_last_bit() {
    let (_daemon, mut client) = daemon();
    let mut run = |disturb: bool| {
        let id = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
        let mut arguments = models::arguments("humanoid");
        arguments["session_id"] = id.clone();
        client.tool("load_model", arguments).unwrap();
        let step = json!({ "session_id": id, "steps": 50 });
        client.tool("step_simulation", step.clone()).unwrap();
        let changes = json!([
            { "field": "body_mass", "scale": 1.1 },
            { "field": "geom_friction", "scale": 0.5 },
            { "field": "dof_damping", "name": "abdomen_z", "value": 2.5 },
            { "field": "dof_armature", "name": "knee_left", "value": 0.02 },
            { "field": "gravity", "component": 2, "value": -9.0 },
            { "field": "timestep", "value": 0.004 }
        ]);
        client.tool("modify_model", json!({ "session_id": id, "changes": changes })).unwrap();
        client.tool("step_simulation", step.clone()).unwrap();
        if disturb {
            client.tool("restart_process", json!({ "session_id": id })).unwrap();
        }
        client.tool("step_simulation", step.clone()).unwrap();
        if disturb {
            client.tool("hibernate_session", json!({ "session_id": id })).unwrap();
        }
        client.tool("step_simulation", step).unwrap();
        let mut id = id;
        if disturb {
            let fork = client.tool("fork_session", json!({ "session_id": id })).unwrap();
            id = fork["sessions"][0]["session_id"].clone();
        }
        let step = json!({ "session_id": id, "steps": 50 });
        client.tool("step_simulation", step).unwrap();
        client.tool("get_state", json!({ "session_id": id })).unwrap()
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn a_snapshot_brings_back_what_was_modified() {
    let (_daemon, mut client) = daemon();
    client.tool("load_model", json!({ "model_xml": FALL })).unwrap();
    modify(&mut client, json!([{ "field": "gravity", "value": [0, 0, -1] }]));
    let id = client.tool("get_snapshot", json!({})).unwrap()["snapshot_id"].clone();
    modify(
        &mut client,
        json!([
            { "field": "gravity", "value": [0, 0, -2] },
            { "field": "body_mass", "name": "ball", "value": 1 }
        ]),
    );
    client.tool("restore_snapshot", json!({ "snapshot_id": id })).unwrap();
    let now = client.tool("modify_model", json!({})).unwrap();
    assert_eq!(now["modified_total"], 1);
    assert!((speed(&mut client) - (9.81 - 1.0) * 0.5).abs() < 1e-9);
}

#[test]
fn a_change_that_makes_no_sense_is_refused_and_nothing_changes() {
    let (_daemon, mut client) = daemon();
    client.tool("load_model", json!({ "model_xml": FALL })).unwrap();
    let good = json!({ "field": "gravity", "value": [0, 0, -1] });
    for (bad, code) in [
        (json!({ "field": "body_mas", "name": "ball", "value": 1 }), "name_unknown"),
        (json!({ "field": "body_mass", "name": "bal", "value": 1 }), "name_unknown"),
        (json!({ "field": "body_mass", "value": 1 }), "invalid_argument"),
        (json!({ "field": "body_mass", "name": "ball" }), "invalid_argument"),
        (
            json!({ "field": "body_mass", "name": "ball", "value": 1, "scale": 2 }),
            "invalid_argument",
        ),
        (json!({ "field": "body_mass", "name": "ball", "value": -1 }), "out_of_range"),
        (json!({ "field": "body_mass", "scale": 0 }), "out_of_range"),
        (json!({ "field": "timestep", "value": 0 }), "out_of_range"),
        (json!({ "field": "gravity", "value": 1 }), "wrong_length"),
        (json!({ "field": "gravity", "component": 3, "value": 1 }), "invalid_argument"),
        (json!({ "field": "gravity", "name": "ball", "value": [0, 0, 0] }), "invalid_argument"),
        (json!({ "field": "gravity", "value": ["NaN", 0, 0] }), "not_finite"),
    ] {
        let changes = json!({ "changes": [good, bad] });
        let refused = client.tool("modify_model", changes).unwrap_err();
        assert_eq!(refused["code"], code, "{bad}: {refused}");
    }
    assert_eq!(client.tool("modify_model", json!({})).unwrap()["modified_total"], 0);
    let many: Vec<_> = (0..513).map(|_| good.clone()).collect();
    let refused = client.tool("modify_model", json!({ "changes": many })).unwrap_err();
    assert_eq!(refused["code"], "limit_exceeded");
}

#[test]
fn a_seed_draws_the_same_factors_within_their_bounds() {
    let (_daemon, mut client) = daemon();
    client.tool("load_model", models::arguments("humanoid")).unwrap();
    let mut draw = |seed: u64| {
        let ranges = json!([{ "field": "body_mass", "scale": [0.8, 1.2] }]);
        let drawn = json!({ "ranges": ranges, "seed": seed });
        client.tool("randomize_dynamics", drawn).unwrap()["changed"].clone()
    };
    let masses = |changed: &Value| -> Vec<Value> {
        changed.as_array().unwrap().iter().map(|change| change["after"].clone()).collect()
    };
    let (one, other) = (draw(7), draw(8));
    let again = draw(7);
    assert_eq!(masses(&one), masses(&again));
    assert_ne!(masses(&one), masses(&other));
    let mut factors = Vec::new();
    for change in one.as_array().unwrap() {
        let (before, after) = (number(&change["before"][0]), number(&change["after"][0]));
        if before != 0.0 {
            assert!((0.8..=1.2).contains(&(after / before)), "{change}");
            factors.push(after / before);
        }
    }
    assert!(10 < factors.len() && factors.windows(2).any(|pair| pair[0] != pair[1]));
    let refused = client
        .tool("randomize_dynamics", json!({ "ranges": [{ "field": "gravity", "scale": [2, 1] }] }))
        .unwrap_err();
    assert_eq!(refused["code"], "invalid_argument");
}
