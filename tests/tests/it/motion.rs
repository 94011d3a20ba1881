//! Inverse kinematics and trajectories: the poses that are promised are reached, by physics.

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::{models, programs};

use crate::official::{daemon, number, numbers, vector};

/// The joints of the robot that most tests move.
const UR5E: [&str; 6] = [
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "elbow_joint",
    "wrist_1_joint",
    "wrist_2_joint",
    "wrist_3_joint",
];

fn ur5e() -> (Daemon, HttpClient) {
    let model = models::arguments("ur5e");
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    client.tool("load_model", model).unwrap();
    client.tool("reset_simulation", json!({ "keyframe": "home" })).unwrap();
    (daemon, client)
}

fn scene(name: &str) -> (Daemon, HttpClient) {
    let (daemon, mut client) = daemon();
    client.tool("create_scene", json!({ "scene": name })).unwrap();
    client.tool("reset_simulation", json!({ "keyframe": "home" })).unwrap();
    (daemon, client)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Position and quaternion of a body.
fn pose(client: &mut HttpClient, body: &str) -> ([f64; 3], [f64; 4]) {
    let found = client.tool("get_body_states", json!({ "bodies": [body] })).unwrap();
    let found = &found["bodies"][0];
    (vector(&found["position_m"]), vector(&found["quaternion"]))
}

fn distance<const N: usize>(one: [f64; N], other: [f64; N]) -> f64 {
    one.iter().zip(other).map(|(one, other)| (one - other).powi(2)).sum::<f64>().sqrt()
}

/// The angle between two orientations.
fn angle(one: [f64; 4], other: [f64; 4]) -> f64 {
    let dot: f64 = one.iter().zip(other).map(|(one, other)| one * other).sum();
    2.0 * dot.abs().min(1.0).acos()
}

/// Numbers between -1 and 1 that are always the same.
fn shares(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let share = (state >> 11) as f64 / (1_u64 << 53) as f64;
        2.0 * share - 1.0
    }
}

#[test]
fn every_pose_that_the_arm_can_take_is_found_again() {
    let (_daemon, mut client) = ur5e();
    let home = client.tool("get_state", json!({})).unwrap();
    let mut share = shares(5);
    for number_of_pose in 0..12 {
        let angles: Vec<f64> = UR5E.iter().map(|_| 2.5 * share()).collect();
        client.tool("set_state", json!({ "qpos": angles })).unwrap();
        let (position, quaternion) = pose(&mut client, "wrist_3_link");
        client.tool("set_state", json!({ "qpos": home["qpos"] })).unwrap();
        let goal = json!({
            "place": { "body": "wrist_3_link" }, "position": position, "quaternion": quaternion
        });
        let found = client.tool("solve_ik", goal).unwrap();
        assert_eq!(found["is_reached"], true, "pose {number_of_pose}: {found}");
        assert_eq!(client.tool("get_state", json!({})).unwrap(), home, "nothing moves");
        let positions = found["positions"].clone();
        client.tool("set_joint_positions", json!({ "positions": positions })).unwrap();
        let (there, turned) = pose(&mut client, "wrist_3_link");
        assert!(distance(there, position) <= 1e-4, "pose {number_of_pose}");
        assert!(angle(turned, quaternion) <= 1e-4, "pose {number_of_pose}");
        let told = number(&found["position_error_m"]);
        assert!((told - distance(there, position)).abs() < 1e-9);
        client.tool("set_state", json!({ "qpos": home["qpos"] })).unwrap();
    }
}

#[test]
fn what_is_out_of_reach_is_told_with_how_far_it_is() {
    let (_daemon, mut client) = scene("planar_arm");
    // Three links: the reach is the distance from the shoulder to the stretched tip.
    client.tool("reset_simulation", json!({ "keyframe": "stretched" })).unwrap();
    let tip = json!({ "place": { "site": "tip" } });
    let tip: [f64; 3] = vector(&client.tool("compute_jacobian", tip).unwrap()["position_m"]);
    let (shoulder, _) = pose(&mut client, "upper");
    let reach = distance(tip, shoulder);
    client.tool("reset_simulation", json!({ "keyframe": "home" })).unwrap();
    let goal: [f64; 3] =
        std::array::from_fn(|axis| shoulder[axis] + 2.0 * (tip[axis] - shoulder[axis]));
    let call = json!({ "place": { "site": "tip" }, "position": goal, "restarts": 3 });
    let found = client.tool("solve_ik", call).unwrap();
    assert_eq!(found["is_reached"], false);
    assert_eq!(found["attempts"], 4);
    let error = number(&found["position_error_m"]);
    assert!((error - reach).abs() < 1e-6, "{error}, and it reaches {reach} m");
    assert_eq!(found["rotation_error_rad"], Value::Null);
}

#[test]
fn an_axis_points_where_it_shall_and_joints_stay_in_their_range() {
    let (_daemon, mut client) = scene("arm");
    let goal = json!({
        "place": { "site": "tip" }, "position": [0.35, 0.15, 0.25],
        "align": { "axis": [0, 0, 1], "to": [0, 0, -1] }
    });
    let down = client.tool("solve_ik", goal).unwrap();
    let up = json!({
        "place": { "site": "tip" }, "position": [0.35, 0.15, 0.25],
        "align": { "axis": [0, 0, 1], "to": [0, 0, 1] }
    });
    let up = client.tool("solve_ik", up).unwrap();
    let info = client.tool("get_model_info", json!({})).unwrap();
    let mut reached = 0;
    for (found, to) in [(&down, -1.0), (&up, 1.0)] {
        for joint in info["joints"].as_array().unwrap() {
            let at = &found["positions"][joint["name"].as_str().unwrap()];
            if let (Some(at), &[low, high]) = (at.as_f64(), &numbers(&joint["range"])[..]) {
                assert!((low..=high).contains(&at), "{joint} at {at}");
            }
        }
        if found["is_reached"] == false {
            continue;
        }
        reached += 1;
        client.tool("set_joint_positions", json!({ "positions": found["positions"] })).unwrap();
        let sensors = json!({ "sensors": ["tip_quat", "tip_pos"] });
        let sensors = client.tool("get_sensor_data", sensors).unwrap();
        let [w, x, y, z]: [f64; 4] = vector(&sensors["sensors"][0]["values"]);
        assert!((w * w - x * x - y * y + z * z - to).abs() < 1e-6, "{found}");
        let tip: [f64; 3] = vector(&sensors["sensors"][1]["values"]);
        assert!(distance(tip, [0.35, 0.15, 0.25]) <= 1e-4);
    }
    assert_ne!(reached, 0, "{down} {up}");
}

#[test]
fn a_posture_is_come_as_near_to_as_the_goal_allows() {
    let (_daemon, mut client) = scene("planar_arm");
    let tip = json!({ "place": { "site": "tip" } });
    let tip: [f64; 3] = vector(&client.tool("compute_jacobian", tip).unwrap()["position_m"]);
    let goal = json!({ "place": { "site": "tip" }, "position": tip });
    let plain = client.tool("solve_ik", goal.clone()).unwrap();
    let start = client.tool("get_joint_positions", json!({})).unwrap();
    assert_eq!(plain["positions"], start["positions"], "it is there already");
    let mut with_posture = goal;
    with_posture["posture"] = json!({ "elbow": 1.3 });
    let near = client.tool("solve_ik", with_posture).unwrap();
    assert_eq!(near["is_reached"], true);
    let away = |found: &Value| {
        ["shoulder", "elbow", "wrist"].map(|joint| {
            let posture = if joint == "elbow" { 1.3 } else { number(&start["positions"][joint]) };
            posture - number(&found["positions"][joint])
        })
    };
    let norm = |way: [f64; 3]| distance(way, [0.0; 3]);
    assert!(norm(away(&near)) < 0.9 * norm(away(&plain)), "{near}");
    // At the nearest posture, what is left cannot be gone without moving the tip.
    client.tool("set_joint_positions", json!({ "positions": near["positions"] })).unwrap();
    let jacobian = client.tool("compute_jacobian", json!({ "place": { "site": "tip" } })).unwrap();
    let rows: Vec<[f64; 3]> = (0..2).map(|row| vector(&jacobian["jacp"][row])).collect();
    let [a, b] = [rows[0], rows[1]];
    let cross = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    let left: f64 = away(&near).iter().zip(cross).map(|(way, free)| way * free).sum();
    assert!(left.abs() / norm(cross) < 1e-3, "{left}");
}

#[test]
fn a_goal_that_is_none_is_refused() {
    let (_daemon, mut client) = scene("arm");
    let tip = json!({ "site": "tip" });
    for (call, said) in [
        (json!({ "place": tip }), "there is no goal"),
        (json!({ "place": { "site": "tipp" }, "position": [0, 0, 1] }), "did you mean `tip`"),
        (json!({ "place": tip, "position": [0, 0, "NaN"] }), "invalid"),
        (json!({ "place": tip, "quaternion": [0, 0, 0, 0] }), "no rotation is [1, 0, 0, 0]"),
        (json!({ "place": tip, "position": [0, 0, 1], "joints": ["cube_free"] }), "joint"),
        (json!({ "place": tip, "position": [0, 0, 1], "restarts": 5000 }), "limited to 1000"),
        (
            json!({
                "place": tip, "quaternion": [1, 0, 0, 0],
                "align": { "axis": [0, 0, 1], "to": [0, 0, 1] }
            }),
            "not both",
        ),
        (json!({ "place": { "body": "world" }, "position": [0, 0, 1] }), "no joint moves it"),
    ] {
        let refused = client.tool("solve_ik", call.clone()).unwrap_err();
        assert!(text(&refused["message"]).contains(said), "{call}: {refused:?}");
    }
}

#[test]
fn a_plan_is_what_its_profile_says() {
    let (_daemon, mut client) = ur5e();
    let from: Vec<f64> = numbers(&client.tool("get_state", json!({})).unwrap()["qpos"]);
    let plan = json!({
        "waypoints": [{ "positions": { "elbow_joint": from[2] - 0.8, "wrist_1_joint": from[3] + 0.4 } }],
        "velocity_max": 0.5, "acceleration_max": 100, "samples": 5
    });
    let planned = client.tool("plan_trajectory", plan.clone()).unwrap();
    // 1.875 is the peak of 30 τ² (1 - τ)².
    let secs = number(&planned["duration_secs"]);
    assert!((secs - 1.875 * 0.8 / 0.5).abs() < 1e-12, "{secs}");
    assert_eq!(planned["table"]["columns"][1], "qpos.elbow_joint");
    let middle = numbers(&planned["table"]["rows"][2]);
    assert!((middle[1] - (from[2] - 0.4)).abs() < 1e-12 && (middle[3] + 0.5).abs() < 1e-12);
    let elbow = &planned["joints"][0];
    assert!((number(&elbow["peak_velocity"]) - 0.5).abs() < 1e-12);
    assert_eq!(elbow["actuator"], "elbow");
    // Held against gravity at the beginning: what get_forces says the elbow has to bear.
    let forces = client.tool("get_forces", json!({})).unwrap();
    let of_elbow = |joint: &&Value| joint["joint"] == "elbow_joint";
    let gravity = forces["joints"].as_array().unwrap().iter().find(of_elbow).unwrap();
    assert!(number(&gravity["gravity"][0]).abs() <= number(&elbow["peak_force"]) + 1e-9);
    assert_eq!(planned["collisions"], json!([]));

    let mut trapezoid = plan;
    trapezoid["profile"] = json!("trapezoid");
    trapezoid["acceleration_max"] = json!(1.0);
    let planned = client.tool("plan_trajectory", trapezoid).unwrap();
    assert!((number(&planned["duration_secs"]) - (0.8 / 0.5 + 0.5)).abs() < 1e-12);
}

#[test]
fn what_cannot_be_a_trajectory_is_refused() {
    let (_daemon, mut client) = scene("arm");
    let waypoint = |positions: Value| json!({ "waypoints": [{ "positions": positions }] });
    for (call, said) in [
        (json!({ "waypoints": [] }), "give 1 to 100"),
        (waypoint(json!({})), "name at least one joint"),
        (waypoint(json!({ "elbow": 1 })), "did you mean"),
        (waypoint(json!({ "elbow_pitch": 100 })), "must lie between"),
        (waypoint(json!({ "elbow_pitch": [1, 2] })), "needs 1 values"),
        (
            json!({ "waypoints": [{ "positions": { "elbow_pitch": 0.1 }, "duration_secs": 0.001 }] }),
            "at least",
        ),
        (
            json!({ "waypoints": [{ "positions": { "elbow_pitch": 0.1 } }], "velocity_max": 0 }),
            "velocity_max",
        ),
    ] {
        for tool in ["plan_trajectory", "execute_trajectory"] {
            let refused = client.tool(tool, call.clone()).unwrap_err();
            assert!(text(&refused["message"]).contains(said), "{tool} {call}: {refused:?}");
        }
    }
    let state = client.tool("get_state", json!({})).unwrap();
    assert_eq!(state["time_secs"], 0.0, "nothing has moved");
}

#[test]
fn what_is_in_the_way_is_told() {
    let (_daemon, mut client) = scene("arm");
    // The floor is in the way of an arm that lies down.
    let call = json!({ "waypoints": [
        { "positions": { "shoulder_pitch": 1.5, "elbow_pitch": 1.0 } }
    ] });
    let planned = client.tool("plan_trajectory", call).unwrap();
    let collisions = planned["collisions"].as_array().unwrap();
    assert!(!collisions.is_empty(), "{planned}");
    for collision in collisions {
        let since = number(&collision["since_secs"]);
        assert!((0.0..=number(&planned["duration_secs"])).contains(&since), "{collision}");
        assert!(0.0 < number(&collision["depth_m"]));
    }
}

#[test]
fn servos_follow_a_trajectory_closely_and_hold_its_end() {
    let (_daemon, mut client) = ur5e();
    let target = [-1.2, -1.9, 1.9, -1.2, -1.6, 0.5];
    let positions: Value = UR5E.iter().zip(target).map(|(joint, at)| (*joint, at)).collect();
    let before = client.tool("get_snapshot", json!({})).unwrap()["snapshot_id"].clone();
    let call = json!({
        "waypoints": [{ "positions": positions }], "settle_secs": 0.1,
        "record": { "channels": ["ctrl"] }, "include": ["qpos", "qvel", "ctrl"]
    });
    let done = client.tool("execute_trajectory", call.clone()).unwrap();
    assert_eq!(done["stopped_by"], "steps");
    assert_eq!((&done["auto_resets"], &done["warnings"]), (&json!(0), &json!([])));
    for (joint, wanted) in done["joints"].as_array().unwrap().iter().zip(target) {
        assert_eq!(joint["control"], "position_servo");
        assert_eq!(joint["target"], wanted);
        assert!(number(&joint["error_max"]) < 2e-3, "{joint}");
        assert!((number(&joint["position"]) - wanted).abs() < 1e-3, "{joint}");
        assert_eq!(joint["saturated_steps"], 0);
    }
    // The same controls, given step by step, lead to the same bits.
    let rows = done["table"]["rows"].as_array().unwrap();
    let controls: Vec<Vec<f64>> = rows.iter().map(|row| numbers(row)[1..].to_vec()).collect();
    client.tool("restore_snapshot", json!({ "snapshot_id": before })).unwrap();
    let again = json!({
        "controls": [controls], "steps": rows.len(), "hold_steps": 1,
        "include": ["qpos", "qvel", "ctrl"]
    });
    let again = client.tool("rollout", again).unwrap();
    assert_eq!(again["rollouts"][0]["state"], done["state"]);
    // And so does the whole call.
    let twice = client.tool("execute_trajectory", call).unwrap();
    assert_eq!(twice, done);
}

#[test]
fn motors_follow_by_computed_torque() {
    let (_daemon, mut client) = scene("planar_arm");
    let call = json!({
        "waypoints": [
            { "positions": { "shoulder": 0.2, "elbow": 1.2 } },
            { "positions": { "shoulder": 0.9, "wrist": 0.1 }, "duration_secs": 2.0 }
        ],
        "velocity_max": 2.0, "acceleration_max": 8.0, "settle_secs": 0.5
    });
    let done = client.tool("execute_trajectory", call).unwrap();
    assert_eq!(done["stopped_by"], "steps");
    for (joint, wanted) in done["joints"].as_array().unwrap().iter().zip([0.9, 1.2, 0.1]) {
        assert_eq!(joint["control"], "computed_torque");
        assert!(number(&joint["error_max"]) < 5e-3, "{joint}");
        assert!((number(&joint["position"]) - wanted).abs() < 1e-3, "{joint}");
    }
    // In less time than its motors can make it, it says that they were at their limit.
    let fast = json!({
        "waypoints": [{ "positions": { "shoulder": -1.0 }, "duration_secs": 0.05 }],
        "velocity_max": 1e4, "acceleration_max": 1e6
    });
    let done = client.tool("execute_trajectory", fast).unwrap();
    assert_ne!(done["joints"][0]["saturated_steps"], 0, "{done}");
    assert!(0.05 < number(&done["joints"][0]["error_max"]));
}

#[test]
fn a_trajectory_ends_when_what_it_waits_for_happens() {
    let (_daemon, mut client) = ur5e();
    let call = json!({
        "waypoints": [{ "positions": { "elbow_joint": 0.5 } }],
        "stop_when": { "quantity": "joint_position", "name": "elbow_joint", "below": 1.0 }
    });
    let done = client.tool("execute_trajectory", call).unwrap();
    assert_eq!(done["stopped_by"], "condition");
    let elbow = number(&done["joints"][0]["position"]);
    assert!((0.98..1.0).contains(&elbow), "{elbow}");
}

#[test]
fn a_joint_that_nothing_drives_is_refused_by_name() {
    let (_daemon, mut client) = scene("cart_pole");
    let info = client.tool("get_model_info", json!({})).unwrap();
    let driven = info["actuators"][0]["acts_on"].as_str().unwrap().to_owned();
    let joints = info["joints"].as_array().unwrap().iter();
    let mut free =
        joints.filter(|joint| format!("joint {}", joint["name"].as_str().unwrap()) != driven);
    let name = free.next().unwrap()["name"].as_str().unwrap();
    let call = json!({ "waypoints": [{ "positions": { name: 0.1 } }] });
    let refused = client.tool("execute_trajectory", call.clone()).unwrap_err();
    assert_eq!(refused["code"], "model_unsuitable");
    assert!(text(&refused["message"]).contains(name), "{refused:?}");
    let planned = client.tool("plan_trajectory", call).unwrap();
    assert_eq!(planned["joints"][0]["actuator"], Value::Null);
}

#[test]
fn a_long_trajectory_may_be_a_run() {
    let (_daemon, mut client) = ur5e();
    let call = json!({
        "waypoints": [{ "positions": { "elbow_joint": 1.0 }, "duration_secs": 4.0 }], "as_run": true
    });
    let run_id = client.tool("execute_trajectory", call).unwrap()["run_id"].clone();
    let run = client.tool("get_run", json!({ "run_id": run_id, "wait_secs": 30 })).unwrap();
    assert_eq!(run["state"], "completed", "{run}");
    assert_eq!(run["result"]["stopped_by"], "steps");
}
