//! Whatever is lost, a session goes on where it was: bit by bit, and without the call that was
//! under way.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::fake::How;
use simward_tests::wait::{wait_for, wait_until};
use simward_tests::{models, programs};

/// Everything of a state that a step depends on or changes.
const PARTS: [&str; 6] = ["qpos", "qvel", "ctrl", "act", "qacc", "sensordata"];

fn humanoid(client: &mut HttpClient) -> Value {
    let here =
        json!({ "session_id": client.tool("create_session", json!({})).unwrap()["session_id"] });
    load(client, &here, models::arguments("humanoid"));
    here
}

fn load(client: &mut HttpClient, here: &Value, mut arguments: Value) {
    arguments["session_id"] = here["session_id"].clone();
    client.tool("load_model", arguments).unwrap();
}

fn with(here: &Value, more: Value) -> Value {
    let mut arguments = here.as_object().unwrap().clone();
    arguments.extend(more.as_object().unwrap().clone());
    arguments.into()
}

fn state(client: &mut HttpClient, here: &Value) -> Value {
    client.tool("get_state", with(here, json!({ "include": PARTS }))).unwrap()
}

/// Steps under controls that follow from the time reached, so that a lost step would show.
fn step(client: &mut HttpClient, here: &Value, round: u32) {
    let control: Vec<f64> =
        (0..21).map(|actuator| f64::from(actuator * 7 + round).sin() * 0.4).collect();
    let call = with(here, json!({ "steps": 20, "control": control }));
    client.tool("step_simulation", call).unwrap();
}

fn pid(client: &mut HttpClient, here: &Value) -> Option<Pid> {
    let info = client.tool("get_session_info", here.clone()).unwrap();
    Some(Pid::from_raw(i32::try_from(info["pid"].as_i64()?).unwrap()))
}

/// Kills the session's worker, and waits until the daemon knows. (A call that is made before that
/// may be in flight to a worker that is dying.)
fn kill_worker(daemon: &mut Daemon, client: &mut HttpClient, here: &Value) {
    let victim = wait_for("the session has a worker", || pid(client, here));
    daemon.workers();
    kill(victim, Signal::SIGKILL).unwrap();
    wait_until("its end is known", || pid(client, here) != Some(victim));
}

#[test]
fn a_killed_worker_costs_no_step_and_no_bit() {
    let mut daemon = Setup::real(&programs!()).set("sessions.restart.losses_max", "1000").serve();
    let mut client = daemon.client();
    let (hit, spared) = (humanoid(&mut client), humanoid(&mut client));
    for round in 0..12 {
        for here in [&hit, &spared] {
            step(&mut client, here, round);
        }
        if round % 2 == 0 {
            kill_worker(&mut daemon, &mut client, &hit);
        }
        // Nobody is told: nothing was lost.
        let (hit, spared) = (state(&mut client, &hit), state(&mut client, &spared));
        assert_eq!(hit, spared, "round {round}");
    }
    let info = client.tool("get_session_info", hit).unwrap();
    assert_eq!(info["restarts"], 6);
}

#[test]
fn every_model_of_a_session_comes_back() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let here = humanoid(&mut client);
    for scene in ["arm", "cart_pole"] {
        let call = with(&here, json!({ "scene": scene, "model_id": scene }));
        client.tool("create_scene", call).unwrap();
    }
    let states = |client: &mut HttpClient| {
        ["model", "arm", "cart_pole"].map(|model| {
            let call = with(&here, json!({ "model_id": model, "include": PARTS }));
            client.tool("get_state", call).unwrap()
        })
    };
    for (model, steps) in [("arm", 111), ("cart_pole", 222)] {
        let call = with(&here, json!({ "model_id": model, "steps": steps }));
        client.tool("step_simulation", call).unwrap();
    }
    client.tool("unload_model", with(&here, json!({ "model_id": "cart_pole" }))).unwrap();
    let call = with(&here, json!({ "scene": "cart_pole", "model_id": "cart_pole" }));
    client.tool("create_scene", call).unwrap();
    let before = states(&mut client);
    kill_worker(&mut daemon, &mut client, &here);
    assert_eq!(states(&mut client), before);
    let loaded = client.tool("get_loaded_models", here.clone()).unwrap();
    let steps: Vec<_> =
        loaded["models"].as_array().unwrap().iter().map(|m| m["steps_total"].clone()).collect();
    assert_eq!(steps, [111, 0, 0]);
}

#[test]
fn a_call_that_was_lost_with_its_worker_had_no_effect_and_says_so() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let here = humanoid(&mut client);
    step(&mut client, &here, 1);
    let before = state(&mut client, &here);
    let (mut other, call) = (daemon.client(), with(&here, json!({ "steps": 1_000_000 })));
    let lost = std::thread::spawn(move || other.tool("step_simulation", call).unwrap_err());
    wait_for("the call is under way", || {
        let list = client.tool("list_active_processes", json!({})).unwrap();
        (list["processes"][0]["activity"] == "busy").then_some(())
    });
    kill_worker(&mut daemon, &mut client, &here);
    let refused = lost.join().unwrap();
    assert_eq!(refused["code"], "worker_lost");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("SIGKILL"), "{message}");
    assert!(message.contains("This call was not carried out"), "{message}");
    let time_secs = before["time_secs"].to_string();
    assert!(message.contains(&format!("`model` at {time_secs} s (step 20)")), "{message}");
    assert_eq!(state(&mut client, &here), before);
}

#[test]
fn calls_that_only_waited_go_to_the_next_worker() {
    // The first step of every worker of this kind never ends.
    let mut daemon = Setup::rogue(&programs!(), How::Deadlocks)
        .set("pool.hang_after_secs", "0.5")
        .set("sessions.restart.losses_max", "1000")
        .serve();
    let mut client = daemon.client();
    let session = client.tool("create_session", json!({})).unwrap();
    let here = json!({ "session_id": session["session_id"] });
    client.tool("load_model", with(&here, json!({ "model_xml": "<mujoco/>" }))).unwrap();
    daemon.workers();
    client.tool("apply_control", with(&here, json!({ "control": [0.75] }))).unwrap();
    let (mut stepping, call) = (daemon.client(), here.clone());
    let stuck = std::thread::spawn(move || stepping.tool("step_simulation", call).unwrap_err());
    wait_for("the step is under way", || {
        let list = client.tool("list_active_processes", json!({})).unwrap();
        (list["processes"][0]["activity"] == "busy").then_some(())
    });
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, call) = (daemon.client(), here.clone());
            std::thread::spawn(move || client.tool("get_state", call).unwrap())
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.join().unwrap()["ctrl"], json!([0.75]));
    }
    assert_eq!(stuck.join().unwrap()["code"], "worker_lost");
    daemon.workers();
}

#[test]
fn a_background_simulation_goes_on() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let session = client.tool("create_session", json!({})).unwrap();
    let here = json!({ "session_id": session["session_id"] });
    client.tool("create_scene", with(&here, json!({ "scene": "pendulum" }))).unwrap();
    client.tool("run_simulation", with(&here, json!({ "duration_secs": 86_000 }))).unwrap();
    let time = |client: &mut HttpClient| {
        client.tool("get_state", here.clone()).unwrap()["time_secs"].as_f64().unwrap()
    };
    let before = wait_for("it runs", || Some(time(&mut client)).filter(|time| 1.0 < *time));
    kill_worker(&mut daemon, &mut client, &here);
    // What was seen of it is not unseen.
    assert!(before <= time(&mut client));
    wait_until("it runs on", || before + 1.0 < time(&mut client));
    let paused = client.tool("pause_simulation", here.clone()).unwrap();
    assert_eq!(paused["until_secs"], 86_000.0);
    // Its steps are counted from its beginning, not from the last worker's.
    let steps = paused["steps_done"].as_f64().unwrap();
    let timestep = paused["time_secs"].as_f64().unwrap() / steps;
    assert!((timestep - 0.002).abs() < 1e-6, "{timestep}");
}

#[test]
fn a_model_that_ends_its_worker_leaves_the_session_as_it_was() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let here = humanoid(&mut client);
    step(&mut client, &here, 3);
    let before = state(&mut client, &with(&here, json!({ "model_id": "model" })));
    // Its first step needs more memory than it gives itself.
    let bomb = "<mujoco><size memory='2M'/><worldbody><replicate count='1500' offset='0 0 .3'>\
                <body><geom size='.1'/></body></replicate></worldbody></mujoco>";
    load(&mut client, &here, json!({ "model_xml": bomb, "model_id": "bomb" }));
    let call = with(&here, json!({ "model_id": "bomb" }));
    let refused = client.tool("step_simulation", call).unwrap_err();
    daemon.workers();
    assert_eq!(refused["code"], "worker_lost");
    assert!(refused["message"].as_str().unwrap().contains("fatal error"), "{refused}");
    assert_eq!(state(&mut client, &with(&here, json!({ "model_id": "model" }))), before);
}

#[test]
fn a_session_sleeps_and_wakes_as_it_was() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let here = humanoid(&mut client);
    step(&mut client, &here, 1);
    let before = state(&mut client, &here);
    daemon.workers();
    let slept = client.tool("hibernate_session", here.clone()).unwrap();
    assert_eq!((&slept["state"], &slept["pid"]), (&json!("hibernated"), &Value::Null));
    assert_eq!(slept["port"], Value::Null);
    assert!(daemon.workers().is_empty());
    // A second time it is asleep already; and looking at it does not wake it.
    client.tool("hibernate_session", here.clone()).unwrap();
    let listed = client.tool("list_sessions", json!({})).unwrap();
    assert_eq!(listed["sessions"][0]["state"], "hibernated");
    assert!(daemon.workers().is_empty());
    assert_eq!(state(&mut client, &here), before);
    step(&mut client, &here, 2);
    let info = client.tool("get_session_info", here).unwrap();
    assert_eq!((&info["state"], &info["restarts"]), (&json!("ready"), &json!(0)));
}

#[test]
fn a_session_that_is_used_is_not_put_to_sleep() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let here = humanoid(&mut client);
    client.tool("run_simulation", with(&here, json!({ "duration_secs": 3600 }))).unwrap();
    let refused = client.tool("hibernate_session", here.clone()).unwrap_err();
    assert_eq!(refused["code"], "simulation_running");
    client.tool("pause_simulation", here.clone()).unwrap();
    assert_eq!(client.tool("hibernate_session", here).unwrap()["state"], "hibernated");
}

#[test]
fn sessions_that_nobody_uses_fall_asleep_and_make_room() {
    let mut daemon = Setup::toy(&programs!())
        .set("sessions.hibernate_after_secs", "1.5")
        .set("sessions.awake_max", "3")
        .serve();
    let mut client = daemon.client();
    // More than may be awake: those that nobody uses make room for the next ones.
    let ids: Vec<_> = (0..8)
        .map(|_| client.tool("create_session", json!({})).unwrap()["session_id"].clone())
        .collect();
    assert!(daemon.workers().len() <= 3);
    for id in &ids {
        let model = json!({ "session_id": id, "model_xml": "<mujoco/>" });
        client.tool("load_model", model).unwrap();
        assert!(daemon.workers().len() <= 3);
    }
    wait_until("all sleep", || daemon.workers().is_empty());
    for id in &ids {
        client.tool("step_simulation", json!({ "session_id": id })).unwrap();
    }
    daemon.workers();
}

#[test]
fn without_a_place_a_call_is_refused_and_the_session_stays() {
    let mut daemon = Setup::toy(&programs!()).set("sessions.awake_max", "1").serve();
    let mut client = daemon.client();
    let first = client.tool("create_session", json!({})).unwrap();
    let busy = json!({ "session_id": first["session_id"] });
    client.tool("load_model", with(&busy, json!({ "model_xml": "<mujoco/>" }))).unwrap();
    client
        .tool(
            "run_simulation",
            with(&busy, json!({ "duration_secs": 3600, "real_time_factor": 1 })),
        )
        .unwrap();
    daemon.workers();
    let refused = client.tool("create_session", json!({})).unwrap_err();
    assert_eq!(refused["code"], "overloaded", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("sessions.awake_max"), "{refused}");
    assert!(refused["retry_after_ms"].as_u64().is_some());
    client.tool("pause_simulation", busy).unwrap();
    client.tool("create_session", json!({})).unwrap();
    daemon.workers();
}

#[test]
fn forks_go_on_from_the_exact_state_and_do_not_touch_the_original() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let here = humanoid(&mut client);
    step(&mut client, &here, 1);
    let before = state(&mut client, &here);
    let forked = client.tool("fork_session", with(&here, json!({ "count": 3 }))).unwrap();
    daemon.workers();
    let copies: Vec<Value> = forked["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|copy| json!({ "session_id": copy["session_id"] }))
        .collect();
    assert_eq!(copies.len(), 3);
    step(&mut client, &copies[0], 5);
    for here in [&here, &copies[1], &copies[2]] {
        assert_eq!(state(&mut client, here), before);
    }
    step(&mut client, &here, 5);
    let after = state(&mut client, &here);
    assert_eq!(state(&mut client, &copies[0]), after);
    // A copy outlives its original, and its own worker.
    client.tool("close_session", here).unwrap();
    kill_worker(&mut daemon, &mut client, &copies[0]);
    assert_eq!(state(&mut client, &copies[0]), after);
    let refused =
        client.tool("fork_session", with(&copies[1], json!({ "count": 17 }))).unwrap_err();
    assert_eq!(refused["code"], "invalid_argument");
}

#[test]
fn a_model_is_compiled_once_for_a_tenant() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let mut load = || {
        let session = client.tool("create_session", json!({})).unwrap();
        let mut arguments = models::arguments("humanoid");
        arguments["session_id"] = session["session_id"].clone();
        client.tool("load_model", arguments).unwrap()["is_cached"].clone()
    };
    assert_eq!([load(), load()], [json!(false), json!(true)]);
}

#[test]
fn a_model_whose_state_is_too_large_to_keep_is_refused() {
    let daemon = Setup::real(&programs!()).set("sessions.checkpoint_bytes_max", "60000").serve();
    let mut client = daemon.client();
    let here = humanoid(&mut client);
    let large = "<mujoco><size nuserdata='5000'/></mujoco>";
    let call = with(&here, json!({ "model_xml": large, "model_id": "large" }));
    let refused = client.tool("load_model", call).unwrap_err();
    assert_eq!(refused["code"], "limit_exceeded", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("sessions.checkpoint_bytes_max"));
    step(&mut client, &here, 1);
}

#[test]
fn what_cannot_be_restored_exactly_says_so() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let sleepy = "<mujoco><option><flag sleep='enable'/></option></mujoco>";
    let exact = |client: &mut HttpClient, xml: &str, id: &str| {
        let model = json!({ "model_xml": xml, "model_id": id });
        client.tool("load_model", model).unwrap()["restores_exactly"].clone()
    };
    assert_eq!(exact(&mut client, sleepy, "sleepy"), false);
    assert_eq!(exact(&mut client, "<mujoco/>", "plain"), true);
}
