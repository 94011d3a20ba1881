//! Every rogue ends as what it is, within its time, and nobody else notices.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup, is_alive};
use simward_tests::fake::How;
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};

fn daemon(how: How) -> Daemon {
    Setup::rogue(&programs!(), how)
        .set("pool.hang_after_secs", "0.8")
        .set("pool.ready_within_secs", "1.5")
        .set("pool.stop_grace_secs", "0.4")
        .serve()
}

fn create(client: &mut HttpClient) -> String {
    let session = client.tool("create_session", json!({})).unwrap();
    session["session_id"].as_str().unwrap().to_owned()
}

fn create_with_model(client: &mut HttpClient) -> String {
    let id = create(client);
    let model = json!({ "session_id": id, "model_xml": "<mujoco/>" });
    client.tool("load_model", model).unwrap();
    id
}

fn info(client: &mut HttpClient, id: &str) -> Value {
    client.tool("get_session_info", json!({ "session_id": id })).unwrap()
}

/// Steps a session whose worker goes rogue at it; returns the refusal. A second session of the
/// same daemon must not notice.
fn refusal_of_step(how: How) -> Value {
    let mut daemon = daemon(how);
    let mut client = daemon.client();
    let bystander = create_with_model(&mut client);
    let bystander_pid = info(&mut client, &bystander)["pid"].clone();
    let victim = create_with_model(&mut client);
    daemon.workers();

    let begun = Instant::now();
    let refused = client.tool("step_simulation", json!({ "session_id": victim })).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(15), "{how:?} took {:?}", begun.elapsed());

    assert_eq!(info(&mut client, &bystander)["pid"], bystander_pid, "{how:?}");
    client.tool("get_state", json!({ "session_id": bystander })).unwrap();
    // The next worker takes the lost one's place, with the model as it was before the call.
    let state = client.tool("get_state", json!({ "session_id": victim })).unwrap();
    assert_eq!(state["time_secs"], 0.0, "{how:?}");
    assert_eq!(info(&mut client, &victim)["restarts"], 1, "{how:?}");
    refused
}

fn assert_step_is_lost(how: How, because: &str) {
    let refused = refusal_of_step(how);
    assert_eq!(refused["code"], "worker_lost", "{how:?}: {refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains(because), "{how:?}: {message}");
}

#[test]
fn a_worker_that_dies_in_a_call_is_named_with_its_signal() {
    assert_step_is_lost(How::DiesInCall, "a signal ended it (SIGKILL)");
}

#[test]
fn an_exit_with_code_zero_is_an_end_too() {
    assert_step_is_lost(How::ExitsZeroInCall, "it exited unasked (exit code 0)");
}

#[test]
fn last_words_reach_the_client() {
    assert_step_is_lost(
        How::LastWords,
        "the physics engine met a fatal error (exit code 70); its last words",
    );
}

#[test]
fn a_worker_that_computes_for_nothing_is_noticed() {
    assert_step_is_lost(How::Spins, "it was busy without progress");
}

#[test]
fn a_worker_that_waits_for_nothing_is_noticed_though_it_answers_pings() {
    assert_step_is_lost(How::Deadlocks, "it was stuck without progress");
}

#[test]
fn a_worker_that_falls_silent_is_noticed() {
    assert_step_is_lost(How::Mute, "it was stuck without progress");
}

#[test]
fn a_worker_that_answers_too_late_is_not_waited_for() {
    assert_step_is_lost(How::Late, "it was stuck without progress");
}

#[test]
fn a_worker_that_is_stopped_in_a_call_is_noticed() {
    assert_step_is_lost(How::StopsItselfInCall, "a signal stopped it and nothing let it go on");
}

#[test]
fn nonsense_ends_a_worker() {
    for how in [How::Garbage, How::Oversized, How::Truncated, How::WrongId] {
        assert_step_is_lost(how, "it broke the protocol");
    }
}

#[test]
fn a_reply_of_another_kind_is_refused_and_the_session_lives() {
    let mut daemon = daemon(How::WrongKind);
    let mut client = daemon.client();
    let id = create_with_model(&mut client);
    daemon.workers();
    let refused = client.tool("step_simulation", json!({ "session_id": id })).unwrap_err();
    assert_eq!(refused["code"], "internal_error");
    client.tool("get_state", json!({ "session_id": id })).unwrap();
}

#[test]
fn an_answer_that_nobody_asked_for_ends_a_worker() {
    for how in [How::Twice, How::Unasked] {
        let mut daemon = daemon(how);
        let mut client = daemon.client();
        let id = create(&mut client);
        daemon.workers();
        client.tool("load_model", json!({ "session_id": id, "model_xml": "<mujoco/>" })).ok();
        client.tool("step_simulation", json!({ "session_id": id })).ok();
        let ending = wait_for("the worker's end", || {
            info(&mut client, &id)["last_ending"].as_str().map(str::to_owned)
        });
        assert!(ending.starts_with("it broke the protocol"), "{how:?}: {ending}");
    }
}

fn refusal_of_creation(how: How) -> Value {
    let mut daemon = daemon(how);
    let refused = daemon.client().tool("create_session", json!({})).unwrap_err();
    wait_until("nothing is left of a session that did not come to be", || {
        daemon.workers().is_empty()
    });
    let sessions = daemon.client().tool("list_sessions", json!({})).unwrap();
    assert_eq!(sessions["sessions"], json!([]), "{how:?}");
    refused
}

#[test]
fn a_worker_that_does_not_start_is_refused_by_what_went_wrong() {
    for (how, because) in [
        (How::NeverReady, "it did not become ready in time"),
        (How::DiesAtStart, "it exited unasked (exit code 3)"),
        (How::FromTheFuture, "it speaks another version of the protocol"),
        (How::FastExit, "it exited unasked (exit code 0)"),
        (How::DiesAfterReady, "a signal ended it (SIGABRT)"),
    ] {
        let refused = refusal_of_creation(how);
        assert_eq!(refused["code"], "worker_start_failed", "{how:?}: {refused}");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(because), "{how:?}: {message}");
    }
}

#[test]
fn a_slow_start_is_waited_for() {
    let mut daemon = daemon(How::SlowReady);
    create(&mut daemon.client());
    assert_eq!(daemon.workers().len(), 1);
}

#[test]
fn a_worker_that_is_stopped_while_idle_is_replaced() {
    let mut daemon = daemon(How::StopsItselfWhenIdle);
    let mut client = daemon.client();
    let id = create(&mut client);
    let first = daemon.workers();
    let ending = wait_for("the stopped worker's end", || {
        info(&mut client, &id)["last_ending"].as_str().map(str::to_owned)
    });
    assert!(ending.starts_with("a signal stopped it"), "{ending}");
    wait_until("the stopped process is gone", || !is_alive(first[0]));
}

#[test]
fn a_worker_that_ignores_every_request_to_end_is_killed() {
    let mut daemon = daemon(How::IgnoresSigterm);
    let mut client = daemon.client();
    let id = create(&mut client);
    let pid = daemon.workers()[0];
    let begun = Instant::now();
    client.tool("close_session", json!({ "session_id": id })).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(!is_alive(pid));
}

#[test]
fn a_flood_of_output_costs_nobody_anything() {
    let mut daemon = daemon(How::FloodsOutput);
    let mut client = daemon.client();
    let id = create_with_model(&mut client);
    daemon.workers();
    for _ in 0..100 {
        client.tool("step_simulation", json!({ "session_id": id })).unwrap();
    }
    let pid = i32::try_from(daemon.pid()).unwrap();
    let rss = procfs::process::Process::new(pid).unwrap().status().unwrap().vmrss.unwrap();
    assert!(rss < 200 * 1024, "the supervisor keeps the flood: {rss} kB");
}

#[test]
fn a_grandchild_that_a_worker_leaves_behind_is_ended() {
    let mut daemon = daemon(How::LeaksGrandchild);
    let mut client = daemon.client();
    let id = create_with_model(&mut client);
    let worker = daemon.workers()[0];
    let grandchildren = wait_for("the grandchild", || {
        Some(simward_tests::daemon::children(worker)).filter(|found| !found.is_empty())
    });
    let refused = client.tool("step_simulation", json!({ "session_id": id })).unwrap_err();
    assert_eq!(refused["code"], "worker_lost");
    wait_until("the grandchild is gone", || grandchildren.iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn a_session_that_loses_too_many_workers_is_parked() {
    let mut daemon = Setup::rogue(&programs!(), How::DiesInCall)
        .set("sessions.restart.losses_max", "2")
        .set("sessions.restart.back_off_first_secs", "0.01")
        .serve();
    let mut client = daemon.client();
    let id = create_with_model(&mut client);
    let here = json!({ "session_id": id });
    let mut code = || {
        daemon.workers();
        let refused = client.tool("step_simulation", here.clone()).unwrap_err();
        refused["code"].as_str().unwrap().to_owned()
    };
    let codes: Vec<_> = (0..5).map(|_| code()).collect();
    let lost = "worker_lost";
    assert_eq!(codes, [lost, lost, lost, "session_parked", "session_parked"]);
    // Revived, it has what it had, and the same patience.
    assert_eq!(client.tool("revive_session", here.clone()).unwrap()["state"], "ready");
    daemon.workers();
    assert_eq!(client.tool("get_state", here.clone()).unwrap()["time_secs"], 0.0);
    assert_eq!(client.tool("step_simulation", here.clone()).unwrap_err()["code"], lost);
    daemon.workers();
    client.tool("close_session", here).unwrap();
}

#[test]
fn a_compiler_that_hangs_dies_or_lies_leaves_the_session_alone() {
    for (how, code) in [
        (How::CompileHangs, "compile_timeout"),
        (How::CompileDies, "compile_crashed"),
        (How::CompileLies, "internal_error"),
    ] {
        let mut daemon = Setup::rogue(&programs!(), how).set("compile.timeout_secs", "0.7").serve();
        let mut client = daemon.client();
        let id = create(&mut client);
        let workers = daemon.workers();
        let model = json!({ "session_id": id, "model_xml": "<mujoco/>" });
        let refused = client.tool("load_model", model).unwrap_err();
        assert_eq!(refused["code"], code, "{how:?}: {refused}");
        wait_until("only the session's worker is left", || daemon.workers() == workers);
        assert_eq!(info(&mut client, &id)["restarts"], 0);
    }
}

#[test]
fn a_stop_during_the_start_works() {
    let mut daemon = Setup::rogue(&programs!(), How::NeverReady)
        .set("pool.ready_within_secs", "30")
        .set("pool.stop_grace_secs", "0.3")
        .serve();
    let mut client = daemon.client();
    client.send_tool("create_session", json!({}));
    wait_until("the worker is starting", || !daemon.workers().is_empty());
    // The client goes away, and with it whoever wanted the session.
    drop(client);
    wait_until("the half-started worker is gone", || daemon.workers().is_empty());
}

#[test]
fn a_worker_that_hung_up_and_lingers_is_ended_however_it_is_let_go() {
    let mut daemon = daemon(How::Truncated);
    let mut client = daemon.client();
    let id = create_with_model(&mut client);
    let pid = i32::try_from(info(&mut client, &id)["pid"].as_i64().unwrap()).unwrap();
    daemon.workers();
    // The worker hangs up in the step; the session is closed before anybody has drawn conclusions.
    let mut stepping = daemon.client();
    stepping.send_tool("step_simulation", json!({ "session_id": id }));
    client.tool("close_session", json!({ "session_id": id })).unwrap();
    wait_until("the worker is gone", || !is_alive(pid));
}
