//! Many simulations at once: the same bits as one after the other, and an answer for each.

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::wait::wait_for;
use simward_tests::{models, programs};

fn daemon() -> (Daemon, HttpClient) {
    let daemon = Setup::real(&programs!()).serve();
    let client = daemon.client();
    (daemon, client)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Sequences of two control vectors each.
fn sequences(count: usize, width: usize) -> Vec<Vec<Vec<f64>>> {
    let value = |sequence: usize, knot: usize, index: usize| {
        let mixed = (sequence * 31 + knot * 17 + index * 7) % 21;
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let value = (mixed as f64 - 10.0) / 20.0;
        value
    };
    let knots = |sequence| {
        (0..2).map(move |knot| (0..width).map(|index| value(sequence, knot, index)).collect())
    };
    (0..count).map(|sequence| knots(sequence).collect()).collect()
}

#[test]
fn a_rollout_is_what_stepping_one_by_one_is_to_the_last_bit() {
    let (_daemon, mut client) = daemon();
    client.tool("load_model", models::arguments("humanoid")).unwrap();
    client.tool("step_simulation", json!({ "steps": 120 })).unwrap();
    let start = client.tool("get_snapshot", json!({})).unwrap()["snapshot_id"].clone();
    let before = client.tool("get_state", json!({})).unwrap();
    let controls = sequences(9, 21);
    let include = json!(["qpos", "qvel", "xpos", "sensordata", "qacc"]);
    let rollout = json!({
        "controls": controls, "steps": 75, "hold_steps": 40, "include": include, "samples": 2
    });
    let rolled = client.tool("rollout", rollout).unwrap();
    assert_eq!(rolled["steps_done"], 75);
    assert_eq!(client.tool("get_state", json!({})).unwrap(), before, "the model stays as it is");
    let rollouts = rolled["rollouts"].as_array().unwrap();
    assert_eq!(rollouts.len(), 9);
    assert_ne!(rollouts[0]["state"], rollouts[1]["state"]);
    for (outcome, controls) in rollouts.iter().zip(controls) {
        assert_eq!(outcome["error"], Value::Null);
        client.tool("restore_snapshot", json!({ "snapshot_id": start })).unwrap();
        let mut step = |steps: u64, control: &[f64]| {
            let step = json!({ "steps": steps, "control": control, "include": include });
            client.tool("step_simulation", step).unwrap()["state"].clone()
        };
        assert_eq!(outcome["samples"][0], step(25, &controls[0]));
        step(15, &controls[0]);
        assert_eq!(outcome["samples"][1], step(10, &controls[1]));
        assert_eq!(outcome["state"], step(25, &controls[1]));
        assert_eq!(outcome["time_secs"], outcome["state"]["time_secs"]);
    }
}

#[test]
fn a_sequence_that_cannot_be_tried_says_so_and_the_others_are() {
    let (_daemon, mut client) = daemon();
    client.tool("create_scene", json!({ "scene": "pendulum" })).unwrap();
    let controls = json!([[[1.0]], [[1.0, 2.0]], [], [["NaN"]], [[-1.0]]]);
    let refused = client.tool("rollout", json!({ "controls": controls, "steps": 10 }));
    // What is no number is no control, whatever else there is.
    assert_eq!(refused.unwrap_err()["code"], "invalid_argument");
    let controls = json!([[[1.0]], [[1.0, 2.0]], [], [[-1.0]]]);
    let rolled = client.tool("rollout", json!({ "controls": controls, "steps": 10 })).unwrap();
    let rollouts = rolled["rollouts"].as_array().unwrap();
    let failed: Vec<_> = rollouts.iter().map(|outcome| !outcome["error"].is_null()).collect();
    assert_eq!(failed, [false, true, false, false]);
    assert!(rollouts[1]["error"].as_str().unwrap().contains("controls[1][0]"), "{rolled}");
    // Opposite torques at the bottom swing it to opposite sides.
    let [one, _, still, other] = &rollouts[..] else { panic!() };
    let angle = |outcome: &Value| number(&outcome["state"]["qpos"][0]);
    assert!(0.0 < angle(one) && (angle(one) + angle(other)).abs() < 1e-12, "{rolled}");
    assert!(angle(still).abs() < 1e-12);
}

#[test]
fn an_engine_error_fails_its_own_sequence_only() {
    let (_daemon, mut client) = daemon();
    // Little memory: enough while nothing touches.
    let boxes = "<mujoco><size memory='60K'/><worldbody><geom type='plane' size='9 9 .1'/>\
        <body name='cart'><joint name='x' type='slide' axis='0 0 1'/><geom size='.02' mass='1' \
        pos='0 0 5'/></body><replicate count='40' offset='.3 0 0'><body pos='0 0 .5'><freejoint/>\
        <geom type='box' size='.1 .1 .1'/></body></replicate></worldbody>\
        <actuator><motor joint='x'/></actuator></mujoco>";
    client.tool("load_model", json!({ "model_xml": boxes })).unwrap();
    let rollout = json!({ "controls": [[], []], "steps": 2000, "include": [] });
    let rolled = client.tool("rollout", rollout).unwrap();
    let error = rolled["rollouts"][0]["error"].as_str();
    let warnings = rolled["rollouts"][0]["warnings"].as_array().unwrap();
    // The engine either gives up or drops contacts and says so; it is never silent.
    assert!(error.is_some() || !warnings.is_empty(), "{rolled}");
    let info = client.tool("get_session_info", json!({})).unwrap();
    assert_eq!(info["restarts"], 0, "the worker lives: {rolled}");
}

#[test]
fn rollouts_are_bounded() {
    let (_daemon, mut client) = daemon();
    client.tool("create_scene", json!({ "scene": "pendulum" })).unwrap();
    for (rollout, code) in [
        (json!({ "controls": [], "steps": 10 }), "invalid_argument"),
        (json!({ "controls": [[]], "steps": 0 }), "invalid_argument"),
        (json!({ "controls": vec![json!([]); 1025], "steps": 1 }), "limit_exceeded"),
        (json!({ "controls": vec![json!([]); 200], "steps": 1_000_000 }), "limit_exceeded"),
        (
            json!({ "controls": vec![json!([]); 1000], "steps": 9000, "samples": 1000 }),
            "limit_exceeded",
        ),
    ] {
        let refused = client.tool("rollout", rollout).unwrap_err();
        assert_eq!(refused["code"], code, "{refused}");
    }
}

#[test]
fn a_rollout_that_takes_too_long_tells_how_far_it_came() {
    let daemon = Setup::real(&programs!()).set("sessions.call_budget_secs", "0.3").serve();
    let mut client = daemon.client();
    client.tool("load_model", models::arguments("humanoid")).unwrap();
    let rollout = json!({ "controls": vec![json!([]); 64], "steps": 1_000_000 });
    let rolled = client.tool("rollout", rollout).unwrap();
    let done = rolled["steps_done"].as_u64().unwrap();
    assert!(0 < done && done < 1_000_000, "{done}");
    assert_eq!(rolled["is_cut_short"], true);
    let timestep = 0.005;
    #[expect(clippy::cast_precision_loss, reason = "few steps")]
    let expected = done as f64 * timestep;
    let time = number(&rolled["rollouts"][63]["time_secs"]);
    assert!((time - expected).abs() < 1e-6 * expected, "{time} instead of {expected}");
}

#[test]
fn many_sessions_step_at_once_with_an_answer_for_each() {
    let (_daemon, mut client) = daemon();
    let mut open = |length: f64| {
        let id = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
        let scene = json!({
            "session_id": id, "scene": "pendulum", "parameters": { "length_m": length }
        });
        client.tool("create_scene", scene).unwrap();
        id
    };
    let ids: Vec<Value> = (1..=4).map(|length| open(f64::from(length) / 2.0)).collect();
    let mut items: Vec<Value> = ids
        .iter()
        .map(|id| json!({ "session_id": id, "steps": 100, "control": [1.0], "include": ["qvel"] }))
        .collect();
    items.insert(2, json!({ "session_id": "sim_none", "steps": 5 }));
    items.insert(3, json!({ "session_id": ids[0], "steps": 1, "control": [1, 2] }));
    let stepped = client.tool("batch_step", json!({ "items": items })).unwrap();
    assert_eq!((&stepped["steps_total"], &stepped["refused_total"]), (&json!(400), &json!(2)));
    let results = stepped["results"].as_array().unwrap();
    assert_eq!(results[2]["refused"]["code"], "session_unknown");
    assert_eq!(results[3]["refused"]["code"], "wrong_length");
    let speeds: Vec<f64> =
        [0, 1, 4, 5].map(|at: usize| number(&results[at]["result"]["state"]["qvel"][0])).to_vec();
    // The same torque turns a longer pendulum less: the inertia is m l².
    assert!(speeds.windows(2).all(|pair| pair[1] < pair[0]), "{speeds:?}");

    let parallel = json!({ "session_ids": ids, "duration_secs": 0.5 });
    let run = client.tool("run_parallel", parallel).unwrap();
    for result in run["results"].as_array().unwrap() {
        assert_eq!(result["result"]["steps_done"], 250);
        assert!((number(&result["result"]["time_secs"]) - 0.7).abs() < 1e-9);
    }
    let refused = client.tool("batch_step", json!({ "items": [] })).unwrap_err();
    assert_eq!(refused["code"], "invalid_argument");
}

#[test]
fn a_stretch_of_time_is_as_good_as_steps() {
    let (_daemon, mut client) = daemon();
    client.tool("create_scene", json!({ "scene": "pendulum" })).unwrap();
    let stepped = client.tool("step_simulation", json!({ "duration_secs": 0.1 })).unwrap();
    assert_eq!(stepped["steps_done"], 50);
    let refused = client.tool("step_simulation", json!({ "duration_secs": -1 })).unwrap_err();
    assert_eq!(refused["code"], "out_of_range");
}

#[test]
fn a_rollout_can_be_withdrawn() {
    let (daemon, mut client) = daemon();
    client.tool("load_model", models::arguments("humanoid")).unwrap();
    let mut gone = daemon.client();
    gone.send_tool("rollout", json!({ "controls": vec![json!([]); 64], "steps": 1_000_000 }));
    wait_for("the rollout is under way", || {
        let list = client.tool("list_active_processes", json!({})).unwrap();
        (list["processes"][0]["activity"] == "busy").then_some(())
    });
    drop(gone);
    // The next call waits for the one before it: had that gone on, this would take 20 s and more.
    let state = client.tool("get_state", json!({})).unwrap();
    assert_eq!(state["time_secs"], 0.0);
}

#[test]
fn a_sweep_is_what_modifying_and_stepping_is_to_the_last_bit() {
    let (_daemon, mut client) = daemon();
    client.tool("load_model", models::arguments("humanoid")).unwrap();
    client.tool("step_simulation", json!({ "steps": 100 })).unwrap();
    let start = client.tool("get_snapshot", json!({})).unwrap()["snapshot_id"].clone();
    let sweep = json!({
        "parameters": [
            { "field": "body_mass", "name": "torso", "values": [5, 9] },
            { "field": "gravity", "component": 2, "values": [-9.81, -1.62] },
            { "field": "dof_damping", "name": "knee_left", "values": [3] }
        ],
        "steps": 60, "include": ["qpos", "xpos"]
    });
    let swept = client.tool("run_sweep", sweep).unwrap();
    let results = swept["results"].as_array().unwrap();
    assert_eq!((results.len(), &swept["steps_done"]), (4, &json!(60)));
    assert_eq!(results[1]["parameters"], json!([5.0, -1.62, 3.0]));
    for result in results {
        client.tool("restore_snapshot", json!({ "snapshot_id": start })).unwrap();
        let [mass, gravity, damping] = [0, 1, 2].map(|at: usize| result["parameters"][at].clone());
        let changes = json!([
            { "field": "body_mass", "name": "torso", "value": mass },
            { "field": "gravity", "component": 2, "value": gravity },
            { "field": "dof_damping", "name": "knee_left", "value": damping }
        ]);
        client.tool("modify_model", json!({ "changes": changes })).unwrap();
        let step = json!({ "steps": 60, "include": ["qpos", "xpos"] });
        let stepped = client.tool("step_simulation", step).unwrap();
        assert_eq!(result["outcome"]["state"], stepped["state"], "{}", result["parameters"]);
    }
}

#[test]
fn what_is_drawn_is_drawn_again_by_the_same_seed() {
    let (_daemon, mut client) = daemon();
    client.tool("create_scene", json!({ "scene": "pendulum" })).unwrap();
    client.tool("set_joint_positions", json!({ "positions": [0.3] })).unwrap();
    let mut sweep = |seed: u64| {
        let sweep = json!({
            "parameters": [{ "field": "gravity", "component": 2, "values": [-12, -2] }],
            "draws": 20, "seed": seed, "steps": 20
        });
        client.tool("run_sweep", sweep).unwrap()["results"].clone()
    };
    let one = sweep(1);
    assert_eq!(one, sweep(1));
    assert_ne!(one, sweep(2));
    // The stronger the gravity, the further it has come back.
    let mut drawn: Vec<(f64, f64)> = one
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            let angle = &result["outcome"]["state"]["qpos"][0];
            (number(&result["parameters"][0]), number(angle))
        })
        .collect();
    drawn.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(drawn.windows(2).all(|pair| pair[0].1 < pair[1].1), "{drawn:?}");
    for (bad, code) in [
        (json!([]), "invalid_argument"),
        (json!([{ "field": "gravity", "values": [1] }]), "invalid_argument"),
        (json!([{ "field": "timestep", "values": [0] }]), "out_of_range"),
        (json!([{ "field": "timestep", "values": vec![0.001; 2000] }]), "limit_exceeded"),
    ] {
        let sweep = json!({ "parameters": bad, "steps": 5 });
        let refused = client.tool("run_sweep", sweep).unwrap_err();
        assert_eq!(refused["code"], code, "{refused}");
    }
}

#[test]
fn a_rollout_and_a_sweep_may_be_runs() {
    let (_daemon, mut client) = daemon();
    client.tool("create_scene", json!({ "scene": "pendulum" })).unwrap();
    let rollout = json!({ "controls": [[], []], "steps": 500 });
    let sweep = json!({
        "parameters": [{ "field": "gravity", "component": 2, "values": [-9.81, -1.6] }], "steps": 500
    });
    for (tool, call) in [("rollout", rollout), ("run_sweep", sweep)] {
        let now = client.tool(tool, call.clone()).unwrap();
        let mut later = call;
        later["as_run"] = json!(true);
        let run_id = client.tool(tool, later).unwrap()["run_id"].clone();
        let run = client.tool("get_run", json!({ "run_id": run_id, "wait_secs": 30 })).unwrap();
        assert_eq!((&run["state"], &run["tool"]), (&json!("completed"), &json!(tool)));
        assert_eq!(run["result"], now);
    }
}
