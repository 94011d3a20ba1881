//! Sessions and workers go when they should, and only then.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::json;
use simward_tests::daemon::{Setup, is_alive};
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};

#[test]
fn a_killed_supervisor_leaves_no_worker() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    for _ in 0..5 {
        client.tool("create_session", json!({})).unwrap();
    }
    let workers = daemon.workers();
    assert_eq!(workers.len(), 5);
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    wait_until("the workers are gone", || workers.iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn a_killed_supervisor_leaves_no_worker_that_is_busy_either() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    client.tool("create_scene", json!({ "scene": "arm" })).unwrap();
    client.tool("run_simulation", json!({ "duration_secs": 80_000 })).unwrap();
    let workers = daemon.workers();
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    wait_until("the worker is gone", || workers.iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn a_stopped_daemon_lets_a_call_finish_and_then_goes() {
    let mut daemon = Setup::real(&programs!()).set("sessions.call_budget_secs", "1").serve();
    let mut client = daemon.client();
    client.tool("create_scene", json!({ "scene": "arm" })).unwrap();
    let mut other = daemon.client();
    let busy = std::thread::spawn(move || {
        other.tool("step_simulation", json!({ "steps": 1_000_000 })).unwrap()
    });
    wait_for("the call is under way", || {
        let list = client.tool("list_active_processes", json!({})).unwrap();
        (list["processes"][0]["activity"] == "busy").then_some(())
    });
    daemon.workers();
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert_eq!(busy.join().unwrap()["stopped_by"], "deadline");
}

#[test]
fn an_unused_session_is_closed_and_a_used_one_is_not() {
    let mut daemon = Setup::toy(&programs!()).serve();
    let mut client = daemon.client();
    let idle = json!({ "idle_timeout_secs": 1 });
    let unused = client.tool("create_session", idle.clone()).unwrap()["session_id"].clone();
    let used = client.tool("create_session", idle).unwrap()["session_id"].clone();
    daemon.workers();
    let model = json!({ "session_id": used, "model_xml": "<mujoco/>" });
    client.tool("load_model", model).unwrap();
    wait_for("the unused session is closed", || {
        client.tool("get_state", json!({ "session_id": used })).unwrap();
        let list = client.tool("list_sessions", json!({})).unwrap();
        let ids: Vec<_> =
            list["sessions"].as_array().unwrap().iter().map(|s| s["session_id"].clone()).collect();
        assert!(ids.contains(&used), "the used session was closed");
        (!ids.contains(&unused)).then_some(())
    });
}

#[test]
fn a_session_that_is_old_enough_is_closed_though_it_is_used() {
    let daemon = Setup::toy(&programs!()).set("sessions.max_age_secs", "1.2").serve();
    let mut client = daemon.client();
    let id = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    let model = json!({ "session_id": id, "model_xml": "<mujoco/>" });
    client.tool("load_model", model).unwrap();
    let refused = wait_for("the session is closed", || {
        client.tool("get_state", json!({ "session_id": id })).err()
    });
    assert_eq!(refused["code"], "session_unknown");
}

#[test]
fn two_daemons_do_not_share_a_state_folder() {
    let daemon = Setup::toy(&programs!()).serve();
    let second = Command::new(programs!().supervisor)
        .args(["serve", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(daemon.state.path())
        .arg("--worker")
        .arg(programs!().toy)
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another daemon uses the state folder"), "{said}");
}

#[test]
fn a_thousand_starts_leak_nothing() {
    let mut daemon = Setup::toy(&programs!())
        .set("pool.ports.lease", "on_demand")
        .set("sessions.restart.losses_max", "100000")
        .serve();
    let mut client = daemon.client();
    let mut round = |count: usize| {
        for _ in 0..count {
            let id = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
            client.tool("close_session", json!({ "session_id": id })).unwrap();
        }
    };
    round(20);
    let pid = i32::try_from(daemon.pid()).unwrap();
    let fds = || procfs::process::Process::new(pid).unwrap().fd_count().unwrap();
    let before = fds();
    round(980);
    wait_until("no process is left, not even a zombie", || daemon.workers().is_empty());
    wait_until("no descriptor is left", || fds() <= before + 4);
}

#[test]
fn clients_that_do_not_finish_a_request_do_not_hold_the_daemon() {
    let mut daemon = Setup::toy(&programs!()).set("http.drain_secs", "0.5").serve();
    daemon.client().tool("create_session", json!({})).unwrap();
    daemon.workers();
    let mut half_a_head = TcpStream::connect(daemon.address).unwrap();
    half_a_head.write_all(b"POST /mcp HTTP/1.1\r\nX: ").unwrap();
    let mut half_a_body = TcpStream::connect(daemon.address).unwrap();
    let head = b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{";
    half_a_body.write_all(head).unwrap();
    daemon.signal(Signal::SIGTERM);
    let mut ended = None;
    wait_until("the daemon has ended", || {
        ended = daemon.has_ended();
        ended.is_some()
    });
    assert!(ended.is_some_and(|status| status.success()));
}

#[test]
fn a_killed_supervisor_leaves_no_compiler() {
    let mut daemon = Setup::real(&programs!()).serve();
    let bomb = "<mujoco><worldbody><replicate count='100000000'><geom size='.1'/></replicate>\
                </worldbody></mujoco>";
    let mut client = daemon.client();
    client.tool("create_session", json!({})).unwrap();
    client.send_tool("load_model", json!({ "model_xml": bomb }));
    wait_until("a model is being compiled", || 2 < daemon.workers().len());
    let processes = daemon.workers();
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    wait_until("all are gone", || processes.iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn the_end_of_a_shared_process_does_not_wait_for_its_work() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let shared = json!({ "isolation": "shared" });
    let busy = client.tool("create_session", shared.clone()).unwrap();
    let other = client.tool("create_session", shared).unwrap();
    let id = busy["session_id"].clone();
    client.tool("create_scene", json!({ "session_id": id, "scene": "arm" })).unwrap();
    let mut stepping = daemon.client();
    stepping.send_tool("step_simulation", json!({ "session_id": id, "steps": 1_000_000 }));
    wait_for("the worker is busy", || {
        let list = client.tool("list_active_processes", json!({})).unwrap();
        (list["processes"][0]["activity"] == "busy").then_some(())
    });
    daemon.workers();
    let begun = std::time::Instant::now();
    client.tool("close_session", json!({ "session_id": other["session_id"] })).unwrap();
    client.tool("terminate_process", json!({ "session_id": id })).unwrap();
    // The call itself would take half a minute.
    assert!(begun.elapsed() < std::time::Duration::from_secs(15), "{:?}", begun.elapsed());
}
