//! Jacobians, linear models, rays, distances and the map: against the official package, and
//! physics.

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::models;

use crate::official::{MODELS, assert_close, daemon, number, numbers, same_state, vector};

#[test]
fn jacobians_linear_models_rays_distances_and_boxes_are_those_of_the_official_package() {
    let (daemon, _) = daemon();
    for name in MODELS {
        let (mut client, official) = same_state(&daemon, name);
        let before = client.tool("get_state", json!({ "model_id": name })).unwrap();
        jacobian(&mut client, name, &official["jacobian"]);
        linear(&mut client, name, &official["linear"]);
        rays(&mut client, name, &official["rays"]);
        distances(&mut client, name, &official["distances"]);
        boxes(&mut client, name, &official["boxes"]);
        assert_eq!(client.tool("get_state", json!({ "model_id": name })).unwrap(), before);
    }
}

fn jacobian(client: &mut HttpClient, name: &str, official: &Value) {
    let place = json!({ "body": official["body"], "point": official["point"] });
    let arguments = json!({ "model_id": name, "place": place });
    let found = client.tool("compute_jacobian", arguments).unwrap();
    assert_eq!(found["dof_indices"], official["dof_indices"]);
    for part in ["jacp", "jacr"] {
        assert_close(&found[part], &official[part], 1e-12, &format!("{name}: {part}"));
    }
    let values = &found["both"]["singular_values"];
    assert_close(values, &official["singular_values"], 1e-9, &format!("{name}: singular values"));
}

fn linear(client: &mut HttpClient, name: &str, official: &Value) {
    let found = client.tool("linearize_dynamics", json!({ "model_id": name })).unwrap();
    assert_close(&found["a"], &official["a"], 0.0, &format!("{name}: A"));
    assert_close(&found["b"], &official["b"], 0.0, &format!("{name}: B"));
    let radius = (&found["spectral_radius"], &official["spectral_radius"]);
    assert_close(radius.0, radius.1, 1e-9, &format!("{name}: spectral radius"));
    let states = found["states"].as_array().unwrap().len();
    assert_eq!(states * states, numbers(&found["a"]).len());
}

fn rays(client: &mut HttpClient, name: &str, official: &Value) {
    let rays = official.as_array().unwrap();
    let ray = |ray: &Value| json!({ "origin": ray["origin"], "direction": ray["direction"] });
    let arguments = json!({ "model_id": name, "rays": rays.iter().map(ray).collect::<Vec<_>>() });
    let found = client.tool("cast_rays", arguments).unwrap();
    for (found, wanted) in found["hits"].as_array().unwrap().iter().zip(rays) {
        let wanted = &wanted["hit"];
        assert_eq!(found["geom"], wanted["geom"], "{name}");
        assert_close(&found["distance_m"], &wanted["distance_m"], 1e-9, "distance");
        assert_close(&found["normal"], &wanted["normal"], 1e-9, "normal");
    }
}

fn distances(client: &mut HttpClient, name: &str, official: &Value) {
    for wanted in official.as_array().unwrap() {
        let (from, to) = (json!({ "geom": wanted["from"] }), json!({ "geom": wanted["to"] }));
        let arguments = json!({ "model_id": name, "from": from, "to": to });
        let found = client.tool("measure_distance", arguments).unwrap();
        let nearest = &found["nearest"];
        assert_eq!(nearest.is_null(), number(&wanted["distance_m"]) == 100.0, "{wanted}");
        for part in ["distance_m", "from_point_m", "to_point_m"] {
            if !nearest.is_null() {
                assert_close(&nearest[part], &wanted[part], 0.0, &format!("{name}: {part}"));
            }
        }
    }
}

fn boxes(client: &mut HttpClient, name: &str, official: &Value) {
    let arguments = json!({ "model_id": name, "max_items": 10_000 });
    let found = client.tool("scene_map", arguments).unwrap();
    let bodies = found["bodies"].as_array().unwrap();
    assert_eq!(bodies.len(), official.as_array().unwrap().len());
    for (body, wanted) in bodies.iter().zip(official.as_array().unwrap()) {
        assert_close(&body["bounds"], wanted, 1e-12, &format!("{name}: {}", body["name"]));
    }
}

#[test]
fn a_jacobian_tells_where_a_small_motion_leads() {
    let (_daemon, mut client) = daemon();
    client.tool("create_scene", json!({ "scene": "arm" })).unwrap();
    client.tool("reset_simulation", json!({ "keyframe": "home" })).unwrap();
    let place = json!({ "place": { "site": "tip" } });
    let at = client.tool("compute_jacobian", place.clone()).unwrap();
    let joints = ["base_yaw", "shoulder_pitch", "elbow_pitch", "forearm_roll"];
    let joints = [joints.as_slice(), &["wrist_pitch", "wrist_roll"]].concat();
    assert_eq!(at["dofs"], json!(joints), "neither fingers nor cubes move the tip");
    let start: [f64; 3] = vector(&at["position_m"]);
    let state = client.tool("get_state", json!({})).unwrap();
    let small = 1e-6;
    for (column, joint) in joints.iter().enumerate() {
        let moved = number(&state["qpos"][column]) + small;
        client.tool("set_joint_positions", json!({ "positions": { *joint: moved } })).unwrap();
        let there = client.tool("compute_jacobian", place.clone()).unwrap();
        client.tool("set_state", json!({ "qpos": state["qpos"] })).unwrap();
        let end: [f64; 3] = vector(&there["position_m"]);
        for row in 0..3 {
            let slope = (end[row] - start[row]) / small;
            let told = number(&at["jacp"][row][column]);
            assert!((slope - told).abs() < 1e-5, "{joint}, row {row}: {slope} and {told}");
        }
    }
    // The arm stretched upwards: only forwards and backwards are left.
    client.tool("reset_simulation", json!({ "keyframe": "upright" })).unwrap();
    let stretched = client.tool("compute_jacobian", place).unwrap();
    assert_eq!(stretched["translation"]["rank"], 1, "{stretched}");
    assert_eq!(stretched["translation"]["condition_number"], "Infinity");
    assert!(number(&at["translation"]["condition_number"]) < 10.0);
}

#[test]
fn a_hanging_pendulum_is_stable_and_an_upright_one_is_not() {
    let (_daemon, mut client) = daemon();
    // A point mass of 1 kg on 1 m: θ'' = -g sin θ - d θ' + u.
    let xml = r#"<mujoco><option timestep="0.01" gravity="0 0 -10"/><worldbody><body>
        <joint name="swing" type="hinge" axis="0 1 0" damping="0.3"/>
        <inertial mass="1" pos="0 0 -1" diaginertia="1e-9 1e-9 1e-9"/></body></worldbody>
        <actuator><motor name="drive" joint="swing"/></actuator></mujoco>"#;
    client.tool("load_model", json!({ "model_xml": xml })).unwrap();
    let hanging = client.tool("linearize_dynamics", json!({})).unwrap();
    assert_eq!(hanging["states"], json!(["position of swing", "velocity of swing"]));
    assert_eq!(hanging["controls"], json!(["drive"]));
    // Euler with implicit damping: v' = (v - h g θ) / (1 + h d), θ' = θ + h v'.
    let (h, g, d) = (0.01_f64, 10.0_f64, 0.3_f64);
    let row = [-h * g / (1.0 + h * d), 1.0 / (1.0 + h * d)];
    let wanted = json!([[1.0 + h * row[0], h * row[1]], row]);
    assert_close(&hanging["a"], &wanted, 1e-6, "A");
    let push = h / (1.0 + h * d);
    assert_close(&hanging["b"], &json!([[h * push], [push]]), 1e-6, "B");
    assert_eq!(hanging["stability"], "stable");
    // The determinant is the product of the eigenvalues, here a conjugate pair.
    let determinant = row[1].sqrt();
    assert!((number(&hanging["spectral_radius"]) - determinant).abs() < 1e-6, "{hanging}");
    client.tool("set_state", json!({ "qpos": [std::f64::consts::PI] })).unwrap();
    let upright = client.tool("linearize_dynamics", json!({ "centered": false })).unwrap();
    assert_eq!(upright["stability"], "unstable");
    // It falls with the rate that solves s² + d s - g = 0.
    let rate = f64::midpoint(-d, (d * d + 4.0 * g).sqrt());
    let radius = number(&upright["spectral_radius"]);
    assert!((radius - (h * rate).exp()).abs() < 1e-3, "{radius}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene, measured from all sides")]
fn rays_and_distances_measure_what_was_built() {
    let (_daemon, mut client) = daemon();
    let xml = r#"<mujoco><worldbody><geom name="floor" type="plane" size="5 5 1"/>
        <geom name="other_floor" type="plane" size="5 5 1" pos="0 0 -1"/>
        <body name="ball" pos="0 0 2"><freejoint/><geom name="sphere" type="sphere" size="0.5"/>
        </body><body name="crate" pos="3 0 2" euler="0 0 45"><freejoint/>
        <geom name="box" type="box" size="0.5 0.5 0.25"/></body>
        <body name="bare"><joint/><inertial mass="1" pos="0 0 0" diaginertia="1 1 1"/></body>
        </worldbody></mujoco>"#;
    client.tool("load_model", json!({ "model_xml": xml })).unwrap();
    let rays = json!([
        { "origin": [0, 0, 7], "direction": [0, 0, -3] },
        { "origin": [1, 1, 7], "direction": [0, 0, -0.001] },
        { "origin": [0, 0, 7], "direction": [0, 0, 1] },
    ]);
    let hits = client.tool("cast_rays", json!({ "rays": rays })).unwrap();
    assert_eq!(hits["hits"][0]["body"], "ball");
    assert!((number(&hits["hits"][0]["distance_m"]) - 4.5).abs() < 1e-12, "{hits}");
    assert_close(&hits["hits"][0]["position_m"], &json!([0, 0, 2.5]), 1e-12, "where it hits");
    assert_eq!(
        (&hits["hits"][1]["geom"], &hits["hits"][1]["distance_m"]),
        (&json!("floor"), &json!(7.0))
    );
    assert_eq!(hits["hits"][1]["normal"], json!([0.0, 0.0, 1.0]));
    assert_eq!(hits["hits"][2], Value::Null);
    let through = json!({ "rays": rays, "exclude_body": "ball" });
    let through = client.tool("cast_rays", through).unwrap();
    assert_eq!(through["hits"][0]["geom"], "floor");
    let moving = json!({ "rays": rays, "include_static": false });
    assert_eq!(client.tool("cast_rays", moving).unwrap()["hits"][1], Value::Null);

    let between = json!({ "from": { "body": "ball" }, "to": { "geom": "box" } });
    let found = client.tool("measure_distance", between).unwrap()["nearest"].clone();
    // The box stands on its edge: 3 - √½ from the ball's centre.
    let wanted = 3.0 - 0.5_f64.sqrt() - 0.5;
    assert!((number(&found["distance_m"]) - wanted).abs() < 1e-6, "{found}");
    assert_close(&found["from_point_m"], &json!([0.5, 0, 2]), 1e-6, "the ball's nearest point");
    let near =
        json!({ "from": { "body": "ball" }, "to": { "body": "crate" }, "distance_max_m": 1 });
    assert_eq!(client.tool("measure_distance", near).unwrap()["nearest"], Value::Null);
    let flat = json!({ "from": { "geom": "floor" }, "to": { "geom": "other_floor" } });
    let flat = client.tool("measure_distance", flat).unwrap();
    assert_eq!((&flat["pairs_measured"], &flat["pairs_unmeasured"]), (&json!(0), &json!(1)));
    let deep = json!({ "qpos": [0, 0, 0.2, 1, 0, 0, 0, 3, 0, 2, 1, 0, 0, 0, 0] });
    client.tool("set_state", deep).unwrap();
    let floor = json!({ "from": { "body": "ball" }, "to": { "body": "world" } });
    let found = client.tool("measure_distance", floor).unwrap()["nearest"].clone();
    assert!((number(&found["distance_m"]) + 0.3).abs() < 1e-6, "{found}");

    for (tool, arguments, code) in [
        (
            "cast_rays",
            json!({ "rays": [{ "origin": [0, 0, 0], "direction": [0, 0, 0] }] }),
            "out_of_range",
        ),
        (
            "cast_rays",
            json!({ "rays": [{ "origin": [0, 0], "direction": [0, 0, 1] }] }),
            "invalid_argument",
        ),
        ("cast_rays", json!({ "rays": [], "exclude_body": "x" }), "name_unknown"),
        (
            "measure_distance",
            json!({ "from": { "body": "bare" }, "to": { "geom": "box" } }),
            "invalid_argument",
        ),
        ("measure_distance", json!({ "from": {}, "to": { "geom": "box" } }), "invalid_argument"),
        (
            "measure_distance",
            json!({ "from": { "geom": "box" }, "to": { "geom": "floor" }, "distance_max_m": -1 }),
            "out_of_range",
        ),
        (
            "compute_jacobian",
            json!({ "place": { "site": "a", "body": "ball" } }),
            "invalid_argument",
        ),
        ("compute_jacobian", json!({ "place": { "site": "a" } }), "name_unknown"),
        ("linearize_dynamics", json!({ "eps": 0 }), "out_of_range"),
        ("scene_map", json!({ "root": "x" }), "name_unknown"),
    ] {
        let refused = client.tool(tool, arguments.clone()).unwrap_err();
        assert_eq!(refused["code"], code, "{tool} {arguments}: {refused}");
    }
}

#[test]
fn the_map_shows_the_tree_and_its_boxes() {
    let (_daemon, mut client) = daemon();
    client.tool("create_scene", json!({ "scene": "arm" })).unwrap();
    client.tool("reset_simulation", json!({ "keyframe": "upright" })).unwrap();
    let map = client.tool("scene_map", json!({})).unwrap();
    let body = |name: &str| {
        let bodies = map["bodies"].as_array().unwrap();
        bodies.iter().find(|body| body["name"] == name).unwrap().clone()
    };
    assert_eq!(
        (&body("hand")["parent"], &body("hand")["depth"]),
        (&json!("wrist_lower"), &json!(7))
    );
    assert_eq!(body("hand")["joints"], json!(["wrist_roll"]));
    let cube = body("cube");
    let [x, y, z] = vector(&cube["position_m"]);
    let box_ =
        json!({ "max_m": [x + 0.02, y + 0.02, z + 0.02], "min_m": [x - 0.02, y - 0.02, z - 0.02] });
    assert_close(&cube["bounds"], &box_, 1e-12, "the cube's box");
    assert_eq!(cube["geoms"], json!(["box cube_box"]));
    let hand = client.tool("scene_map", json!({ "root": "hand", "max_depth": 0 })).unwrap();
    assert_eq!(hand["bodies"].as_array().unwrap().len(), 1);
    assert_eq!(hand["items_cut"], 2, "the fingers");
}

#[test]
fn what_the_engine_cannot_linearise_is_refused_and_the_session_lives() {
    let (_daemon, mut client) = daemon();
    for (id, option, actuator) in [
        ("rk4", r#"<option integrator="RK4"/>"#, ""),
        ("sleep", r#"<option><flag sleep="enable"/></option>"#, ""),
        ("delay", "", r#"delay="0.01" nsample="10""#),
    ] {
        let xml = format!(
            r#"<mujoco>{option}<worldbody><body><joint name="j"/><geom size="0.1"/></body>
            </worldbody><actuator><motor joint="j" {actuator}/></actuator></mujoco>"#
        );
        client.tool("load_model", json!({ "model_xml": xml, "model_id": id })).unwrap();
        let refused = client.tool("linearize_dynamics", json!({ "model_id": id })).unwrap_err();
        assert_eq!(refused["code"], "model_unsuitable", "{refused}");
        let step = json!({ "model_id": id, "steps": 5 });
        assert_eq!(client.tool("step_simulation", step).unwrap()["steps_done"], 5);
    }
    let sessions = client.tool("list_sessions", json!({})).unwrap();
    assert_eq!(sessions["sessions"][0]["restarts"], 0, "{sessions}");
}

#[test]
fn analysing_a_simulation_does_not_change_its_future() {
    let (_daemon, mut client) = daemon();
    let run = |client: &mut HttpClient, look: bool| {
        let id = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
        let mut arguments = models::arguments("humanoid");
        arguments["session_id"] = id.clone();
        client.tool("load_model", arguments).unwrap();
        for _ in 0..20 {
            client.tool("step_simulation", json!({ "session_id": id, "steps": 7 })).unwrap();
            let looks: &[(&str, Value)] = &[
                ("get_body_states", json!({})),
                ("get_sensor_data", json!({})),
                ("get_contacts", json!({})),
                ("get_energy", json!({})),
                ("get_forces", json!({})),
                ("compute_jacobian", json!({ "place": { "body": "torso" } })),
                ("linearize_dynamics", json!({})),
                (
                    "cast_rays",
                    json!({ "rays": [{ "origin": [0, 0, 3], "direction": [0, 0, -1] }] }),
                ),
                (
                    "measure_distance",
                    json!({ "from": { "body": "torso" }, "to": { "geom": "floor" } }),
                ),
                ("scene_map", json!({})),
            ];
            for (tool, arguments) in looks.iter().filter(|_| look) {
                let mut arguments = arguments.clone();
                arguments["session_id"] = id.clone();
                client.tool(tool, arguments).unwrap();
            }
        }
        client.tool("get_state", json!({ "session_id": id })).unwrap()
    };
    assert_eq!(run(&mut client, true), run(&mut client, false));
}
