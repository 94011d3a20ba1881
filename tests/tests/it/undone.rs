//! A call that is refused has had no effect, for ever; and what is given up halfway leaves nothing.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Setup, is_alive};
use simward_tests::fake::How;
use simward_tests::wait::{wait_for, wait_until};
use simward_tests::{models, programs};
use tempfile::TempDir;

fn with(here: &Value, more: Value) -> Value {
    let mut arguments = here.as_object().unwrap().clone();
    arguments.extend(more.as_object().unwrap().clone());
    arguments.into()
}

fn create(client: &mut HttpClient, isolation: &str) -> Value {
    let session = client.tool("create_session", json!({ "isolation": isolation })).unwrap();
    json!({ "session_id": session["session_id"] })
}

fn scene(client: &mut HttpClient, here: &Value) {
    client.tool("create_scene", with(here, json!({ "scene": "pendulum" }))).unwrap();
}

fn info(client: &mut HttpClient, here: &Value) -> Value {
    client.tool("get_session_info", here.clone()).unwrap()
}

#[test]
fn what_a_worker_did_and_did_not_answer_for_is_undone() {
    let mut daemon = Setup::rogue(&programs!(), How::DiesBeforeAnswer)
        .set("sessions.restart.losses_max", "1000")
        .set("sessions.restart.back_off_max_secs", "0.05")
        .serve();
    let mut client = daemon.client();
    let here = create(&mut client, "process");
    client.tool("load_model", with(&here, json!({ "model_xml": "<mujoco/>" }))).unwrap();
    for control in [0.25, 0.5, 0.75] {
        daemon.workers();
        client.tool("apply_control", with(&here, json!({ "control": [control] }))).unwrap();
        let refused = client.tool("step_simulation", here.clone()).unwrap_err();
        assert_eq!(refused["code"], "worker_lost");
        let state = client.tool("get_state", here.clone()).unwrap();
        assert_eq!((&state["time_secs"], &state["ctrl"]), (&json!(0.0), &json!([control])));
    }
    daemon.workers();
}

#[test]
fn it_stays_undone_after_a_restart_of_the_daemon() {
    let folder = TempDir::new().unwrap();
    // One loss parks the session, so that no worker comes before the daemon ends.
    let mut daemon = Setup::rogue(&programs!(), How::DiesBeforeAnswer)
        .set("sessions.restart.losses_max", "0")
        .serve_at(folder.path());
    let mut client = daemon.client();
    let here = create(&mut client, "process");
    client.tool("load_model", with(&here, json!({ "model_xml": "<mujoco/>" }))).unwrap();
    daemon.workers();
    let refused = client.tool("step_simulation", here.clone()).unwrap_err();
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("its models are kept as they were before it"), "{message}");
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    let mut daemon = Setup::toy(&programs!()).serve_at(folder.path());
    let mut client = daemon.client();
    assert_eq!(client.tool("get_state", here.clone()).unwrap()["time_secs"], 0.0);
    client.tool("step_simulation", here).unwrap();
    daemon.workers();
}

#[test]
fn many_may_load_the_same_new_model_at_once() {
    let mut daemon = Setup::real(&programs!()).serve();
    let loading: Vec<_> = (0..8)
        .map(|_| {
            let mut client = daemon.client();
            std::thread::spawn(move || {
                let here = create(&mut client, "process");
                let call = with(&here, models::arguments("humanoid"));
                client.tool("load_model", call).unwrap();
                client.tool("step_simulation", with(&here, json!({ "steps": 10 }))).unwrap();
                client.tool("get_state", here).unwrap()
            })
        })
        .collect();
    let states: Vec<Value> = loading.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(states.windows(2).all(|pair| pair[0] == pair[1]));
    daemon.workers();
}

#[test]
fn a_fork_that_is_given_up_leaves_nothing() {
    let mut daemon = Setup::real(&programs!()).set("sessions.call_budget_secs", "2").serve();
    let mut client = daemon.client();
    let here = create(&mut client, "process");
    scene(&mut client, &here);
    let mut busy = daemon.client();
    busy.send_tool("step_simulation", with(&here, json!({ "steps": 1_000_000 })));
    wait_for("the worker is busy", || {
        let list = client.tool("list_active_processes", json!({})).unwrap();
        (list["processes"][0]["activity"] == "busy").then_some(())
    });
    let workers = daemon.workers();
    let mut forking = daemon.client();
    forking.send_tool("fork_session", with(&here, json!({ "count": 3 })));
    drop(forking);
    // The fork waits for the step. Once that is over, there is the one session that there was.
    client.tool("get_state", here).unwrap();
    let folder = daemon.state.path().join("store/sessions");
    wait_until("nothing is left of the fork", || {
        let sessions = client.tool("list_sessions", json!({})).unwrap();
        sessions["sessions"].as_array().unwrap().len() == 1
            && std::fs::read_dir(&folder).unwrap().count() == 1
            && daemon.workers() == workers
    });
}

#[test]
fn a_shared_worker_is_replaced_for_all_and_a_quiet_neighbour_may_sleep() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let (running, quiet) = (create(&mut client, "shared"), create(&mut client, "shared"));
    scene(&mut client, &running);
    scene(&mut client, &quiet);
    client.tool("step_simulation", with(&quiet, json!({ "steps": 5 }))).unwrap();
    let run = with(&running, json!({ "duration_secs": 3600, "real_time_factor": 1 }));
    client.tool("run_simulation", run).unwrap();
    assert_eq!(client.tool("hibernate_session", quiet.clone()).unwrap()["state"], "hibernated");
    let refused = client.tool("hibernate_session", running.clone()).unwrap_err();
    assert_eq!(refused["code"], "simulation_running");
    let before = client.tool("get_state", quiet.clone()).unwrap();
    let pid = info(&mut client, &quiet)["pid"].clone();
    daemon.workers();
    let restarted = client.tool("restart_process", quiet.clone()).unwrap();
    assert_ne!(restarted["pid"], pid);
    assert!(!is_alive(i32::try_from(pid.as_i64().unwrap()).unwrap()));
    assert_eq!(client.tool("get_state", quiet).unwrap(), before);
    assert!(client.tool("pause_simulation", running).unwrap()["steps_done"].as_u64().is_some());
    daemon.workers();
}

#[test]
fn a_session_that_cannot_be_brought_back_says_so_each_time() {
    let folder = TempDir::new().unwrap();
    let mut daemon = Setup::real(&programs!()).serve_at(folder.path());
    let mut client = daemon.client();
    let here = create(&mut client, "process");
    scene(&mut client, &here);
    daemon.workers();
    client.tool("hibernate_session", here.clone()).unwrap();
    let place = folder.path().join("store/sessions").join(here["session_id"].as_str().unwrap());
    let whole = std::fs::read(place.join("0.checkpoint")).unwrap();
    std::fs::write(place.join("0.checkpoint"), vec![1; whole.len()]).unwrap();
    for tool in ["get_state", "revive_session", "get_state"] {
        let refused = client.tool(tool, here.clone()).unwrap_err();
        assert_eq!(refused["code"], "checkpoint_unusable", "{tool}: {refused}");
        daemon.workers();
    }
    let refused = client.tool("fork_session", here.clone()).unwrap_err();
    assert_eq!(refused["code"], "checkpoint_unusable", "{refused}");
    // Mended by hand, it is revived.
    std::fs::write(place.join("0.checkpoint"), whole).unwrap();
    assert_eq!(client.tool("revive_session", here.clone()).unwrap()["state"], "ready");
    client.tool("get_state", here).unwrap();
    daemon.workers();
}
