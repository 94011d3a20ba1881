//! The built-in scenes as physics: what stands goes on standing, what rests weighs what it weighs,
//! and what nothing damps keeps its energy.

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::programs;

fn daemon() -> (Daemon, HttpClient) {
    let daemon = Setup::real(&programs!()).serve();
    let client = daemon.client();
    (daemon, client)
}

/// A scene in one of its keyframes, and what it consists of.
fn scene(client: &mut HttpClient, name: &str, parameters: Value, keyframe: &str) -> Value {
    let create = json!({ "scene": name, "parameters": parameters, "model_id": name });
    client.tool("create_scene", create).unwrap();
    at(client, name, keyframe);
    client.tool("get_model_info", json!({ "model_id": name })).unwrap()
}

fn at(client: &mut HttpClient, name: &str, keyframe: &str) {
    client.tool("reset_simulation", json!({ "model_id": name, "keyframe": keyframe })).unwrap();
}

/// Steps, without a warning, and returns positions and sensors.
fn step(client: &mut HttpClient, name: &str, steps: u64) -> (Vec<f64>, Vec<f64>) {
    let include = json!(["qpos", "sensordata"]);
    let call = json!({ "model_id": name, "steps": steps, "include": include });
    let stepped = client.tool("step_simulation", call).unwrap();
    assert_eq!(stepped["warnings"], json!([]), "{name}");
    assert_eq!(stepped["auto_resets"], 0, "{name}");
    (numbers(&stepped["state"]["qpos"]), numbers(&stepped["state"]["sensordata"]))
}

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// The first value of a sensor.
fn sensor(info: &Value, values: &[f64], name: &str) -> f64 {
    let sensors = info["sensors"].as_array().unwrap();
    let sensor = sensors.iter().find(|sensor| sensor["name"] == name).unwrap();
    values[usize::try_from(sensor["index"].as_u64().unwrap()).unwrap()]
}

/// The sum of all sensors of contact forces whose name ends so.
fn touch(info: &Value, values: &[f64], ending: &str) -> f64 {
    let names = info["sensors"].as_array().unwrap().iter().map(|sensor| &sensor["name"]);
    let names = names.filter_map(Value::as_str).filter(|name| name.ends_with(ending));
    names.map(|name| sensor(info, values, name)).sum()
}

fn assert_near(got: f64, wanted: f64, ratio: f64, what: &str) {
    let off = (got - wanted).abs() / wanted.abs();
    assert!(off < ratio, "{what}: {got} instead of {wanted}");
}

const GRAVITY: f64 = 9.81;

#[test]
fn an_undamped_planar_arm_keeps_its_energy_at_every_tilt() {
    let (_daemon, mut client) = daemon();
    for tilt in [0.0, 0.8, std::f64::consts::FRAC_PI_2] {
        let parameters = json!({ "damping": 0, "tilt_rad": tilt });
        let info = scene(&mut client, "planar_arm", parameters, "spinning");
        assert_near(info["total_mass_kg"].as_f64().unwrap(), 3.0, 1e-9, "three links");
        let energies = |values: &[f64]| {
            ["potential_energy", "kinetic_energy"].map(|name| sensor(&info, values, name))
        };
        let (_, values) = step(&mut client, "planar_arm", 1);
        let first = energies(&values);
        let (_, values) = step(&mut client, "planar_arm", 5000);
        let last = energies(&values);
        assert_near(last.iter().sum(), first.iter().sum(), 1e-5, &format!("tilted by {tilt}"));
        // Level, gravity does no work; upright, much of the energy has changed its form.
        let exchanged = (last[0] - first[0]).abs();
        assert_eq!(exchanged < 1e-9, tilt < 0.1, "tilted by {tilt}: {exchanged} J");
        client.tool("unload_model", json!({ "model_id": "planar_arm" })).unwrap();
    }
}

#[test]
fn a_planar_arm_knows_where_its_target_is() {
    let (_daemon, mut client) = daemon();
    let info = scene(&mut client, "planar_arm", json!({ "link_length_m": 0.5 }), "stretched");
    let (_, values) = step(&mut client, "planar_arm", 1);
    // The tip is at 1.5 m along x, and the target at 0.75 and 0.6 m.
    assert_near(sensor(&info, &values, "tip_to_target"), -0.75, 1e-9, "target from the tip");
}

/// Five seconds under its servos, from one of its keyframes: it stands as high as it did, and its
/// feet feel its weight.
fn stands(client: &mut HttpClient, name: &str, keyframe: &str, info: &Value, sag_ratio: f64) {
    at(client, name, keyframe);
    let before = client.tool("get_state", json!({ "model_id": name })).unwrap();
    let height = numbers(&before["qpos"])[2];
    let (positions, values) = step(client, name, 2500);
    assert_near(positions[2], height, sag_ratio, &format!("{name} from {keyframe}"));
    // Upright: the quaternion of its root is nearly that of no turn.
    assert!(0.999 < positions[3].abs(), "{name} from {keyframe}: {:?}", &positions[..7]);
    let weight = info["total_mass_kg"].as_f64().unwrap() * GRAVITY;
    assert_near(touch(info, &values, "_touch"), weight, 0.01, &format!("{name} on its feet"));
}

#[test]
fn a_quadruped_stands_in_every_keyframe() {
    let (_daemon, mut client) = daemon();
    let info = scene(&mut client, "quadruped", json!({}), "home");
    assert_near(info["total_mass_kg"].as_f64().unwrap(), 8.0 + 4.0 * 1.75, 1e-9, "torso and legs");
    for keyframe in ["home", "crouched", "tall"] {
        stands(&mut client, "quadruped", keyframe, &info, 0.06);
    }
}

#[test]
fn a_quadruped_stands_with_every_parameter_at_its_bounds() {
    let (_daemon, mut client) = daemon();
    for parameters in [
        json!({ "torso_mass_kg": 3, "leg_length_m": 0.25, "stiffness": 60, "friction": 0.3 }),
        json!({ "torso_mass_kg": 20, "leg_length_m": 0.6, "stiffness": 600, "friction": 2 }),
    ] {
        let info = scene(&mut client, "quadruped", parameters, "home");
        stands(&mut client, "quadruped", "home", &info, 0.06);
        client.tool("unload_model", json!({ "model_id": "quadruped" })).unwrap();
    }
}

#[test]
fn a_humanoid_stands_in_every_keyframe_and_weighs_what_it_should() {
    let (_daemon, mut client) = daemon();
    let info = scene(&mut client, "humanoid", json!({}), "home");
    assert_near(info["total_mass_kg"].as_f64().unwrap(), 70.0, 1e-9, "its segments");
    assert_eq!(info["model"]["nu"], 21);
    for keyframe in ["home", "squat", "reach"] {
        stands(&mut client, "humanoid", keyframe, &info, 0.04);
    }
    for (mass, height, stiffness) in [(30.0, 1.2, 0.6), (120.0, 2.1, 3.0)] {
        client.tool("unload_model", json!({ "model_id": "humanoid" })).unwrap();
        let parameters = json!({ "mass_kg": mass, "height_m": height, "stiffness": stiffness });
        let info = scene(&mut client, "humanoid", parameters, "home");
        assert_near(info["total_mass_kg"].as_f64().unwrap(), mass, 1e-6, "its segments");
        stands(&mut client, "humanoid", "home", &info, 0.02);
    }
}

#[test]
fn objects_rest_on_the_table_and_weigh_what_they_should() {
    let (_daemon, mut client) = daemon();
    let info = scene(&mut client, "table", json!({}), "home");
    let weight = 6.0 * 0.2 * GRAVITY;
    for (keyframe, moved_m) in [("home", 1e-3), ("stacked", 1e-3), ("dropped", 0.5)] {
        at(&mut client, "table", keyframe);
        let before = client.tool("get_state", json!({ "model_id": "table" })).unwrap();
        let before = numbers(&before["qpos"]);
        let (after, values) = step(&mut client, "table", 2500);
        let load = sensor(&info, &values, "table_load");
        assert_near(load, weight, 0.01, &format!("the load from {keyframe}"));
        // Where each object's centre is: three numbers after those of the pusher, of every seven.
        for (index, (before, after)) in before.iter().zip(&after).enumerate().skip(2) {
            if (index - 2) % 7 < 3 {
                let moved = (after - before).abs();
                assert!(moved < moved_m, "{keyframe}: coordinate {index} moved by {moved} m");
            }
        }
    }
    // Nothing sank into the table: its top is at 0.75 m, and the cube's half edge is 25 mm.
    at(&mut client, "table", "home");
    let (after, _) = step(&mut client, "table", 1000);
    assert!((after[4] - 0.775).abs() < 2e-4, "the cube's centre is at {} m", after[4]);
}

#[test]
fn the_table_s_pusher_pushes_the_cube() {
    let (_daemon, mut client) = daemon();
    let info = scene(&mut client, "table", json!({}), "home");
    let control = json!({ "control": [-0.5, 0.15], "steps": 1500 });
    client.tool("step_simulation", control).unwrap();
    let far = json!({ "control": [0.35, 0.15], "steps": 1500, "include": ["sensordata"] });
    let stepped = client.tool("step_simulation", far).unwrap();
    let values = numbers(&stepped["state"]["sensordata"]);
    // The pusher's radius is 20 mm and the cube's half edge 25 mm; the ball may be in between.
    let cube = sensor(&info, &values, "cube_pos");
    assert!(0.35 + 0.045 - 0.01 < cube, "the cube is at {cube} m");
}
