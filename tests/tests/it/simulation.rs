//! What an agent does all day: load, step, read, set, run, reset.

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

fn load(client: &mut HttpClient, name: &str) -> Value {
    client.tool("load_model", models::arguments(name)).unwrap()
}

#[test]
fn the_default_session_comes_with_its_first_use() {
    let (_daemon, mut client) = daemon();
    let loaded = load(&mut client, "humanoid");
    assert_eq!(
        (&loaded["model_id"], &loaded["nq"], &loaded["nu"]),
        (&json!("model"), &json!(28), &json!(21))
    );
    let stepped = client.tool("step_simulation", json!({ "steps": 100 })).unwrap();
    assert_eq!(stepped["steps_done"], 100);
    assert_eq!(stepped["stopped_by"], "steps");
    assert_eq!(stepped["warnings"], json!([]));
    assert!((stepped["time_secs"].as_f64().unwrap() - 0.5).abs() < 1e-9);
    let state = client.tool("get_state", json!({})).unwrap();
    assert_eq!(state["time_secs"], stepped["time_secs"]);
    assert_eq!(state["qpos"].as_array().unwrap().len(), 28);
    let sessions = client.tool("list_sessions", json!({})).unwrap();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1);
}

#[test]
fn every_real_model_loads_and_steps() {
    let (_daemon, mut client) = daemon();
    for name in ["humanoid", "shadow_hand", "barkour_v0", "ur5e", "robotiq_2f85"] {
        let id =
            client.tool("create_session", json!({ "name": name })).unwrap()["session_id"].clone();
        let mut arguments = models::arguments(name);
        arguments["session_id"] = id.clone();
        client.tool("load_model", arguments).unwrap();
        let step = json!({ "session_id": id, "steps": 50 });
        let stepped = client.tool("step_simulation", step).unwrap();
        assert_eq!(stepped["steps_done"], 50, "{name}");
        client.tool("close_session", json!({ "session_id": id })).unwrap();
    }
}

#[test]
fn every_built_in_scene_loads_from_its_keyframes() {
    let (_daemon, mut client) = daemon();
    let server = client.tool("get_server_info", json!({})).unwrap();
    let scenes = server["scenes"].as_array().unwrap();
    assert_eq!(scenes.len(), 8);
    for scene in scenes.iter().map(|scene| scene.as_str().unwrap()) {
        let loaded =
            client.tool("create_scene", json!({ "scene": scene, "model_id": scene })).unwrap();
        assert_eq!(loaded["name"], scene);
        let reset = json!({ "model_id": scene, "keyframe": "home" });
        client.tool("reset_simulation", reset).unwrap();
        let step = json!({ "model_id": scene, "steps": 200, "include": ["sensordata"] });
        let stepped = client.tool("step_simulation", step).unwrap();
        assert_eq!(stepped["auto_resets"], 0);
        assert!(!stepped["state"]["sensordata"].as_array().unwrap().is_empty());
    }
    let models = client.tool("get_loaded_models", json!({})).unwrap();
    assert_eq!(models["models"].as_array().unwrap().len(), 8);
    let refused = client.tool("get_state", json!({})).unwrap_err();
    assert_eq!(refused["code"], "model_ambiguous");
    client.tool("unload_model", json!({ "model_id": "arm" })).unwrap();
    let refused = client.tool("get_state", json!({ "model_id": "arm" })).unwrap_err();
    assert_eq!(refused["code"], "model_unknown");
}

#[test]
fn vectors_are_set_whole_or_by_name() {
    let (_daemon, mut client) = daemon();
    client.tool("create_scene", json!({ "scene": "arm" })).unwrap();
    let set = json!({ "positions": { "elbow_pitch": 0.5, "base_yaw": -0.25 } });
    assert_eq!(client.tool("set_joint_positions", set).unwrap()["values_set"], 2);
    let set = json!({ "velocities": { "elbow_pitch": 1.5 } });
    client.tool("set_joint_velocities", set).unwrap();
    let state = client.tool("get_state", json!({})).unwrap();
    let mut expected = state["qpos"].clone();
    expected[0] = json!(-0.25);
    expected[2] = json!(0.5);
    assert_eq!(state["qpos"], expected);
    let whole = json!({ "qpos": expected, "qvel": state["qvel"], "time_secs": 7.5 });
    client.tool("set_state", whole).unwrap();
    let again = client.tool("get_state", json!({})).unwrap();
    assert_eq!((&again["qpos"], &again["time_secs"]), (&expected, &json!(7.5)));
    let clamped =
        client.tool("apply_control", json!({ "control": { "base_yaw_servo": 99 } })).unwrap();
    assert_eq!(clamped["clamped"], json!(["base_yaw_servo"]));
}

#[test]
fn looking_at_a_simulation_does_not_change_its_future() {
    let (_daemon, mut client) = daemon();
    let run = |client: &mut HttpClient, look: bool| {
        let id = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
        let mut arguments = models::arguments("humanoid");
        arguments["session_id"] = id.clone();
        client.tool("load_model", arguments).unwrap();
        for _ in 0..20 {
            client.tool("step_simulation", json!({ "session_id": id, "steps": 7 })).unwrap();
            if look {
                let include = json!(["qacc", "sensordata", "xpos", "xquat", "actuator_force"]);
                let arguments = json!({ "session_id": id, "include": include });
                client.tool("get_state", arguments).unwrap();
            }
        }
        client.tool("get_state", json!({ "session_id": id })).unwrap()
    };
    assert_eq!(run(&mut client, true), run(&mut client, false));
}

#[test]
fn a_background_simulation_keeps_time_and_answers_meanwhile() {
    let (_daemon, mut client) = daemon();
    client.tool("create_scene", json!({ "scene": "pendulum" })).unwrap();
    let run = json!({ "duration_secs": 1000, "real_time_factor": 20 });
    let started = client.tool("run_simulation", run).unwrap();
    assert_eq!((&started["running"], &started["until_secs"]), (&json!(true), &json!(1000.0)));
    let refused = client.tool("step_simulation", json!({})).unwrap_err();
    assert_eq!(refused["code"], "simulation_running");
    client.tool("apply_control", json!({ "control": [0.1] })).unwrap();
    wait_for("simulated time passes", || {
        let state = client.tool("get_state", json!({})).unwrap();
        (1.0 < state["time_secs"].as_f64().unwrap()).then_some(())
    });
    let paused = client.tool("pause_simulation", json!({})).unwrap();
    assert_eq!(paused["running"], false);
    assert!(paused["time_secs"].as_f64().unwrap() < 1000.0);
    let refused = client.tool("pause_simulation", json!({})).unwrap_err();
    assert_eq!(refused["code"], "simulation_not_running");
}

#[test]
fn a_background_simulation_at_full_speed_ends_where_it_should() {
    let (_daemon, mut client) = daemon();
    client.tool("create_scene", json!({ "scene": "pendulum" })).unwrap();
    client.tool("run_simulation", json!({ "duration_secs": 2 })).unwrap();
    wait_for("the simulation ends by itself", || {
        client.tool("step_simulation", json!({})).ok().map(|stepped| {
            assert!((stepped["time_secs"].as_f64().unwrap() - 2.002).abs() < 1e-6, "{stepped}");
        })
    });
    // How it ended is told once.
    let ended = client.tool("pause_simulation", json!({})).unwrap();
    assert_eq!((&ended["running"], &ended["steps_done"]), (&json!(false), &json!(1000)));
    let refused = client.tool("pause_simulation", json!({})).unwrap_err();
    assert_eq!(refused["code"], "simulation_not_running");
}

#[test]
fn a_slow_background_simulation_is_not_taken_for_a_hang() {
    let daemon = Setup::real(&programs!()).set("pool.hang_after_secs", "0.3").serve();
    let mut client = daemon.client();
    // One step in two seconds.
    client.tool("create_scene", json!({ "scene": "pendulum" })).unwrap();
    let run = json!({ "duration_secs": 1000, "real_time_factor": 0.001 });
    client.tool("run_simulation", run).unwrap();
    wait_for("two slow steps", || {
        let state = client.tool("get_state", json!({})).unwrap();
        (0.0039 < state["time_secs"].as_f64().unwrap()).then_some(())
    });
    let info = client.tool("get_session_info", json!({})).unwrap();
    assert_eq!(info["restarts"], 0);
}

#[test]
fn an_unstable_simulation_says_so() {
    let (_daemon, mut client) = daemon();
    let xml = "<mujoco><option timestep='0.1'/><worldbody><body><joint type='slide' stiffness='1e9'/>\
               <geom size='.1' mass='.001'/></body></worldbody></mujoco>";
    client.tool("load_model", json!({ "model_xml": xml })).unwrap();
    client.tool("set_joint_positions", json!({ "positions": [1.0] })).unwrap();
    let stepped = client.tool("step_simulation", json!({ "steps": 500 })).unwrap();
    assert_eq!(stepped["steps_done"], 500);
    assert!(0 < stepped["auto_resets"].as_u64().unwrap(), "{stepped}");
    let codes: Vec<_> =
        stepped["warnings"].as_array().unwrap().iter().map(|w| &w["code"]).collect();
    assert!(codes.iter().any(|code| code.as_str().unwrap().starts_with("bad_q")), "{stepped}");
}

#[test]
fn a_call_that_takes_too_long_keeps_what_it_did() {
    let daemon = Setup::real(&programs!()).set("sessions.call_budget_secs", "0.2").serve();
    let mut client = daemon.client();
    load(&mut client, "humanoid");
    let stepped = client.tool("step_simulation", json!({ "steps": 1_000_000 })).unwrap();
    assert_eq!(stepped["stopped_by"], "deadline");
    let done = stepped["steps_done"].as_u64().unwrap();
    assert!(0 < done && done < 1_000_000);
    let state = client.tool("get_state", json!({})).unwrap();
    assert_eq!(state["time_secs"], stepped["time_secs"]);
}

#[test]
fn a_client_that_goes_away_withdraws_its_call() {
    let (daemon, mut client) = daemon();
    load(&mut client, "humanoid");
    let mut gone = daemon.client();
    gone.send_tool("step_simulation", json!({ "steps": 1_000_000 }));
    wait_for("the call is under way", || {
        let list = client.tool("list_active_processes", json!({})).unwrap();
        (list["processes"][0]["activity"] == "busy").then_some(())
    });
    drop(gone);
    // The next call waits for the one before it: had that gone on, this would take 20 s and more.
    let state = client.tool("get_state", json!({})).unwrap();
    assert!(state["time_secs"].as_f64().unwrap() < 4000.0);
}
