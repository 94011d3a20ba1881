//! Processes and ports, as an operator sees them.

use std::collections::BTreeSet;
use std::net::TcpListener;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use simward_tests::daemon::{Setup, is_alive};
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};

#[test]
fn every_session_has_its_own_process_and_port() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let sessions: Vec<Value> =
        (0..4).map(|_| client.tool("create_session", json!({})).unwrap()).collect();
    let of = |key: &str| sessions.iter().map(|s| s[key].to_string()).collect::<BTreeSet<_>>();
    assert_eq!((of("pid").len(), of("port").len(), of("session_id").len()), (4, 4, 4));
    for session in &sessions {
        let port = session["port"].as_u64().unwrap();
        assert!((8001..=9000).contains(&port), "{port}");
        let id = session["session_id"].as_str().unwrap();
        assert!(id.starts_with("sim_") && id.len() == 36, "{id}");
    }
    let listed = client.tool("list_active_processes", json!({})).unwrap();
    let listed = listed["processes"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 4);
    let workers: BTreeSet<i64> = daemon.workers().into_iter().map(i64::from).collect();
    for process in &listed {
        assert!(workers.contains(&process["pid"].as_i64().unwrap()));
        assert!(1_000_000 < process["rss_bytes"].as_u64().unwrap());
        assert!(process["pss_bytes"].as_u64().unwrap() <= process["rss_bytes"].as_u64().unwrap());
        assert_eq!(process["state"], "ready");
    }
    let stats = client.tool("get_process_pool_stats", json!({})).unwrap();
    assert_eq!((&stats["workers"], &stats["ports_used"]), (&json!(4), &json!(4)));
}

#[test]
fn killing_one_worker_does_not_disturb_the_others() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let session = client.tool("create_session", json!({})).unwrap();
        let id = session["session_id"].clone();
        client.tool("create_scene", json!({ "session_id": id, "scene": "pendulum" })).unwrap();
        ids.push((id, session["pid"].clone()));
    }
    daemon.workers();
    let (victim, pid) = ids.remove(1);
    kill(Pid::from_raw(i32::try_from(pid.as_i64().unwrap()).unwrap()), Signal::SIGKILL).unwrap();
    let victims = json!({ "session_id": victim });
    let ending = wait_for("the loss is known", || {
        let info = client.tool("get_session_info", victims.clone()).unwrap();
        info["last_ending"].as_str().map(str::to_owned)
    });
    assert!(ending.contains("SIGKILL"), "{ending}");
    for (id, pid) in &ids {
        client.tool("step_simulation", json!({ "session_id": id, "steps": 10 })).unwrap();
        let info = client.tool("get_session_info", json!({ "session_id": id })).unwrap();
        assert_eq!((&info["pid"], &info["restarts"]), (pid, &json!(0)));
    }
    // The victim has a new worker on the same port, and can go on.
    client.tool("step_simulation", victims).unwrap();
}

#[test]
fn an_operator_ends_a_process_by_session_or_by_pid() {
    let mut daemon = Setup::toy(&programs!()).serve();
    let mut client = daemon.client();
    for by in ["session_id", "pid"] {
        let session = client.tool("create_session", json!({})).unwrap();
        let pid = daemon.workers()[0];
        let ended = client.tool("terminate_process", json!({ by: session[by] })).unwrap();
        assert_eq!(ended["sessions_closed"], json!([session["session_id"]]));
        assert!(!is_alive(pid));
        let id = json!({ "session_id": session["session_id"] });
        let refused = client.tool("get_session_info", id).unwrap_err();
        assert_eq!(refused["code"], "session_unknown");
    }
}

#[test]
fn a_port_that_another_program_holds_is_passed_over() {
    // Three neighbours, of which the first two are taken.
    let (range, _held) = wait_for_range(3, 2);
    let daemon = Setup::toy(&programs!()).args(&["--port-range", &range]).serve();
    let mut client = daemon.client();
    let session = client.tool("create_session", json!({})).unwrap();
    let last: u64 = range.split('-').nth(1).unwrap().parse().unwrap();
    assert_eq!(session["port"], last);
}

#[test]
fn ports_run_out_with_a_refusal_and_rest_before_they_come_back() {
    let (range, _) = wait_for_range(2, 0);
    let mut daemon = Setup::toy(&programs!())
        .args(&["--port-range", &range])
        .set("pool.ports.rest_secs", "0.5")
        .serve();
    let mut client = daemon.client();
    let first = client.tool("create_session", json!({})).unwrap();
    client.tool("create_session", json!({})).unwrap();
    daemon.workers();
    let refused = client.tool("create_session", json!({})).unwrap_err();
    assert_eq!(refused["code"], "ports_exhausted");
    assert!(refused["retry_after_ms"].is_u64(), "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("2 are leased"), "{refused}");
    client.tool("close_session", json!({ "session_id": first["session_id"] })).unwrap();
    let resting = client.tool("create_session", json!({})).unwrap_err();
    assert!(resting["message"].as_str().unwrap().contains("1 rest"), "{resting}");
    wait_until("the port has rested", || client.tool("create_session", json!({})).is_ok());
}

#[test]
fn limits_are_refusals_that_name_them() {
    let mut daemon = Setup::toy(&programs!())
        .set("sessions.max", "3")
        .set("sessions.per_tenant_max", "2")
        .serve();
    let mut client = daemon.client();
    for _ in 0..2 {
        client.tool("create_session", json!({})).unwrap();
    }
    daemon.workers();
    let refused = client.tool("create_session", json!({})).unwrap_err();
    assert_eq!(refused["code"], "tenant_sessions_exhausted");
    assert!(refused["message"].as_str().unwrap().contains("sessions.per_tenant_max"));
}

#[test]
fn two_hundred_at_once_all_get_a_port_of_their_own() {
    let mut daemon = Setup::toy(&programs!()).serve();
    let address = daemon.address;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = simward_tests::client::HttpClient::connect(address);
                let create = |_| client.tool("create_session", json!({})).unwrap()["port"].clone();
                (0..25).map(create).map(|port| port.as_u64().unwrap()).collect::<Vec<_>>()
            })
        })
        .collect();
    let ports: Vec<u64> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    assert_eq!(ports.len(), 200);
    assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 200);
    assert_eq!(daemon.workers().len(), 200);
}

/// A range of free ports outside the default one, of which the first `taken` are then held.
fn wait_for_range(count: u16, taken: u16) -> (String, Vec<TcpListener>) {
    simward_tests::wait::wait_for("neighbouring free ports", || {
        let probe = TcpListener::bind("127.0.0.1:0").unwrap();
        let first = probe.local_addr().unwrap().port();
        drop(probe);
        let last = first.checked_add(count - 1)?;
        let held: Option<Vec<_>> =
            (first..=last).map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).collect();
        let mut held = held?;
        held.truncate(taken.into());
        Some((format!("{first}-{last}"), held))
    })
}
