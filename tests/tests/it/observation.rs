//! Bodies, sensors, contacts, energy and forces: against the official package, and physics.

use serde_json::{Value, json};

use crate::official::{MODELS, assert_close, daemon, number, numbers, same_state, vector};

#[test]
fn bodies_contacts_energy_and_forces_are_those_of_the_official_package() {
    let (daemon, _) = daemon();
    for name in MODELS {
        let (mut client, official) = same_state(&daemon, name);
        let all = json!({ "model_id": name, "max_items": 10_000 });
        let before = client.tool("get_state", json!({ "model_id": name })).unwrap();

        let bodies = client.tool("get_body_states", all.clone()).unwrap();
        assert_eq!(bodies["items_cut"], 0);
        assert_close(&bodies["bodies"], &official["bodies"], 0.0, &format!("{name}: bodies"));
        let names = |value: &Value| {
            let list = value.as_array().unwrap().iter();
            list.map(|body| body["name"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&bodies["bodies"]), names(&official["bodies"]));

        let contacts = client.tool("get_contacts", all.clone()).unwrap();
        let found = contacts["contacts"].as_array().unwrap();
        let wanted = official["contacts"].as_array().unwrap();
        assert_eq!(found.len(), wanted.len(), "{name}: contacts");
        assert_eq!(name == "ur5e", found.is_empty(), "only the bare arm touches nothing");
        for (found, wanted) in found.iter().zip(wanted) {
            assert_eq!(found["geoms"], wanted["geoms"]);
            for (part, tolerance) in [
                ("position_m", 0.0),
                ("normal", 0.0),
                ("depth_m", 0.0),
                ("normal_force_n", 0.0),
                ("friction_force_n", 1e-12),
                ("force_n", 1e-12),
            ] {
                assert_close(&found[part], &wanted[part], tolerance, &format!("{name}: {part}"));
            }
        }

        let energy = client.tool("get_energy", json!({ "model_id": name })).unwrap();
        let [potential, kinetic] = vector(&official["energy"]);
        let got = json!([energy["potential_j"], energy["kinetic_j"], energy["total_j"]]);
        let wanted = json!([potential, kinetic, potential + kinetic]);
        assert_close(&got, &wanted, 0.0, &format!("{name}: energy"));

        let forces = client.tool("get_forces", all).unwrap();
        for part in ["actuator", "passive", "constraint", "bias", "gravity", "inertial"] {
            let joints = forces["joints"].as_array().unwrap().iter();
            let got: Value = joints.map(|joint| joint[part].clone()).collect();
            assert_close(&got, &official["forces"][part], 0.0, &format!("{name}: {part}"));
        }
        assert_eq!(client.tool("get_state", json!({ "model_id": name })).unwrap(), before);
    }
}

/// A ball of 2 kg that falls from 3 m, and a box of 5 kg that lies on the floor.
const FALLING: &str = r#"<mujoco><option timestep="0.001" gravity="0 0 -10"/><worldbody>
<geom name="floor" type="plane" size="5 5 1"/>
<body name="ball" pos="0 0 3"><freejoint name="ball_free"/>
  <geom name="sphere" type="sphere" size="0.1" mass="2"/></body>
<body name="crate" pos="2 0 0.1"><freejoint name="crate_free"/>
  <geom name="box" type="box" size="0.1 0.1 0.1" mass="5"/></body>
</worldbody></mujoco>"#;

#[test]
fn a_falling_ball_turns_height_into_motion() {
    let (_daemon, mut client) = daemon();
    client.tool("load_model", json!({ "model_xml": FALLING })).unwrap();
    let at_first = client.tool("get_energy", json!({})).unwrap();
    // m g h: 2·10·3 and 5·10·0.1; nothing moves yet.
    assert!((number(&at_first["potential_j"]) - 65.0).abs() < 1e-9, "{at_first}");
    assert_eq!(at_first["kinetic_j"], 0.0);
    client.tool("step_simulation", json!({ "steps": 500 })).unwrap();
    let ball = json!({ "bodies": ["ball"] });
    let ball = client.tool("get_body_states", ball).unwrap()["bodies"][0].clone();
    let [_, _, fall] = vector(&ball["linear_velocity_m_per_s"]);
    assert!((fall + 5.0).abs() < 1e-9, "after 0.5 s at 10 m/s²: {fall}");
    let later = client.tool("get_energy", json!({})).unwrap();
    // Half of m v², and the box lies still.
    assert!((number(&later["kinetic_j"]) - 25.0).abs() < 0.01, "{later}");
    // Semi-implicit Euler falls half a step too deep: m g v dt / 2.
    let lost = number(&at_first["total_j"]) - number(&later["total_j"]);
    assert!(lost.abs() < 0.1, "{at_first} {later}");
}

#[test]
fn the_floor_carries_the_weight_of_what_lies_on_it() {
    let (_daemon, mut client) = daemon();
    client.tool("load_model", json!({ "model_xml": FALLING })).unwrap();
    // The ball shall not be there before everything is at rest: it hovers far up.
    client
        .tool(
            "set_joint_positions",
            json!({ "positions": { "ball_free": [0, 0, 1000, 1, 0, 0, 0] } }),
        )
        .unwrap();
    client.tool("step_simulation", json!({ "steps": 2000 })).unwrap();
    let contacts = client.tool("get_contacts", json!({ "body": "crate" })).unwrap();
    let contacts = contacts["contacts"].as_array().unwrap().clone();
    assert_eq!(contacts.len(), 4, "a box stands on four corners");
    let mut weight = 0.0;
    for contact in &contacts {
        assert_eq!(contact["bodies"], json!(["world", "crate"]));
        assert_eq!(contact["normal"], json!([0.0, 0.0, 1.0]));
        assert!((0.0..1e-3).contains(&number(&contact["depth_m"])), "{contact}");
        weight += number(&contact["normal_force_n"]);
        let [_, _, up] = vector(&contact["force_n"]);
        assert!((up - number(&contact["normal_force_n"])).abs() < 1e-6);
    }
    assert!((weight - 50.0).abs() < 0.05, "5 kg at 10 m/s² weigh 50 N, not {weight}");
    let few = client.tool("get_contacts", json!({ "max_items": 3 })).unwrap();
    assert_eq!((few["contacts"].as_array().unwrap().len(), &few["items_cut"]), (3, &json!(1)));
    let none = client.tool("get_contacts", json!({ "body": "ball" })).unwrap();
    assert_eq!(none["contacts"], json!([]));
    // On the box's joint: the floor pushes up with 50 N, gravity takes them.
    let forces = client.tool("get_forces", json!({ "joints": ["crate_free"] })).unwrap();
    let forces = &forces["joints"][0];
    let [_, _, up, ..] = vector::<6>(&forces["constraint"]);
    assert!((up - 50.0).abs() < 0.05, "{forces}");
    let [_, _, down, ..] = vector::<6>(&forces["gravity"]);
    assert!((down - 50.0).abs() < 1e-9, "{forces}");
}

#[test]
fn forces_balance_and_gravity_pulls_a_pendulum_with_its_lever() {
    let (_daemon, mut client) = daemon();
    let pendulum = r#"<mujoco><option gravity="0 0 -10"/><worldbody><body name="bob" pos="0 0 1">
        <joint name="swing" type="hinge" axis="0 1 0" damping="0.5" armature="0.1"/>
        <geom type="sphere" size="0.05" pos="0 0 -2" mass="3"/></body></worldbody>
        <actuator><motor name="drive" joint="swing" gear="2"/></actuator></mujoco>"#;
    client.tool("load_model", json!({ "model_xml": pendulum })).unwrap();
    let state = json!({ "qpos": [0.5], "qvel": [2.0], "ctrl": [4.0] });
    client.tool("set_state", state).unwrap();
    let forces = client.tool("get_forces", json!({})).unwrap()["joints"][0].clone();
    let part = |name: &str| numbers(&forces[name])[0];
    let torque = 3.0 * 10.0 * 2.0 * 0.5_f64.sin();
    assert!((part("gravity") - torque).abs() < 1e-9, "m g l sin θ is {torque}: {forces}");
    assert!((part("bias") - torque).abs() < 1e-9, "one hinge has no Coriolis force");
    assert!((part("passive") + 1.0).abs() < 1e-12, "damping 0.5 at 2 rad/s");
    assert!((part("actuator") - 8.0).abs() < 1e-12, "control 4 through gear 2");
    let sum =
        part("actuator") + part("passive") + part("constraint") + part("applied") - part("bias");
    assert!((part("inertial") - sum).abs() < 1e-9, "{forces}");
    let qacc = client.tool("get_state", json!({ "include": ["qacc"] })).unwrap();
    // Steiner: m l² + 2/5 m r², and the armature.
    let inertia = 3.0 * 4.0 + 0.4 * 3.0 * 0.05 * 0.05 + 0.1;
    let wanted = inertia * numbers(&qacc["qacc"])[0];
    assert!((part("inertial") - wanted).abs() < 1e-9, "{forces} {qacc}");
}

#[test]
fn sensors_read_what_can_be_known_otherwise() {
    let (_daemon, mut client) = daemon();
    client.tool("create_scene", json!({ "scene": "arm" })).unwrap();
    client.tool("reset_simulation", json!({ "keyframe": "home" })).unwrap();
    client.tool("step_simulation", json!({ "steps": 50 })).unwrap();
    let names = ["elbow_pitch_pos", "elbow_pitch_vel", "cube_pos", "tip_pos", "elbow_pitch_frc"];
    let read = client.tool("get_sensor_data", json!({ "sensors": names })).unwrap();
    let read = read["sensors"].as_array().unwrap().clone();
    let kinds: Vec<_> = read.iter().map(|sensor| (&sensor["kind"], &sensor["unit"])).collect();
    let (m, rad, rad_s) = (json!("m"), json!("rad"), json!("rad/s"));
    let wanted = ["jointpos", "jointvel", "framepos", "framepos", "actuatorfrc"].map(|k| json!(k));
    let units = [&rad, &rad_s, &m, &m, &json!("?")];
    for (index, (kind, unit)) in kinds.into_iter().enumerate() {
        assert_eq!((kind, unit), (&wanted[index], units[index]));
    }
    let include = json!({ "include": ["qpos", "qvel", "actuator_force"] });
    let state = client.tool("get_state", include).unwrap();
    assert_eq!(read[0]["values"][0], state["qpos"][2]);
    assert_eq!(read[1]["values"][0], state["qvel"][2]);
    assert_eq!(read[4]["values"][0], state["actuator_force"][2]);
    let cube = client.tool("get_body_states", json!({ "bodies": ["cube"] })).unwrap();
    assert_eq!(read[2]["values"], cube["bodies"][0]["position_m"]);
    let tip = client.tool("compute_jacobian", json!({ "place": { "site": "tip" } })).unwrap();
    assert_eq!(read[3]["values"], tip["position_m"]);
    let some = client.tool("get_sensor_data", json!({ "max_items": 4 })).unwrap();
    assert_eq!(some["sensors"].as_array().unwrap().len(), 4);
    assert_eq!(some["items_cut"], 29);
}

#[test]
fn what_is_not_there_cannot_be_observed() {
    let (_daemon, mut client) = daemon();
    client.tool("create_scene", json!({ "scene": "arm" })).unwrap();
    for (tool, arguments, code) in [
        ("get_body_states", json!({ "bodies": ["hamd"] }), "name_unknown"),
        ("get_body_states", json!({ "bodies": ["a\u{0}b"] }), "name_unknown"),
        ("get_sensor_data", json!({ "sensors": ["#999"] }), "name_unknown"),
        ("get_contacts", json!({ "body": "nobody" }), "name_unknown"),
        ("get_forces", json!({ "joints": ["tip"] }), "name_unknown"),
        ("get_energy", json!({ "model_id": "other" }), "model_unknown"),
        ("get_energy", json!({ "bodies": [] }), "invalid_argument"),
    ] {
        let refused = client.tool(tool, arguments.clone()).unwrap_err();
        assert_eq!(refused["code"], code, "{tool} {arguments}: {refused}");
    }
    let refused = client.tool("get_body_states", json!({ "bodies": ["hamd"] })).unwrap_err();
    assert!(refused["message"].as_str().unwrap().contains("`hand`"), "{refused}");
}
