//! Memory and processor time of real workers that are limited while they live, by the kernel and
//! without it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};

use super::{MIB, cpu_secs, create, info, kill_worker, large, limit, of, run, until};

/// What an ending says that memory has brought.
const TOO_MUCH: &str = "it took more than it may";

/// A daemon with control groups, where there are some, or without.
fn serve(groups: bool) -> Daemon {
    Setup::real(&programs!()).set("pool.control_groups", &groups.to_string()).serve()
}

/// What sees to a limit from now on.
fn enforced_now(row: &Value) -> &str {
    assert_eq!(row["in_force"], "now", "{row}");
    row["enforced_by"].as_str().unwrap()
}

/// The share of a core that a session's process takes, for that long.
fn share(client: &mut HttpClient, session: &Value, time: Duration) -> f64 {
    let pid = i32::try_from(info(client, session)["pid"].as_i64().unwrap()).unwrap();
    let (begun, before) = (Instant::now(), cpu_secs(pid));
    wait_until("the time is over", || time < begun.elapsed());
    (cpu_secs(pid) - before) / begun.elapsed().as_secs_f64()
}

/// A share that is far more than a tenth, and is had on a busy machine, too.
const MORE_THAN_A_TENTH: f64 = 0.2;

/// A session runs, and takes about a tenth of a core for it, or less where the machine is busy.
fn assert_a_tenth(client: &mut HttpClient, session: &Value) {
    until(client, &[session], 100.0);
    let share = share(client, session, Duration::from_secs(2));
    assert!(share < MORE_THAN_A_TENTH, "{share}");
}

/// It takes more than that, as soon as the machine lets it.
fn wait_for_more(client: &mut HttpClient, session: &Value) {
    let little = Duration::from_millis(500);
    wait_until("it takes what it may", || MORE_THAN_A_TENTH < share(client, session, little));
}

/// A session runs without a limit, with one that is set, with another worker, and with more again.
fn check_processor(groups: bool) {
    let mut daemon = serve(groups);
    let mut client = daemon.client();
    let session = create(&mut client, json!({}));
    daemon.workers();
    run(&mut client, &session);
    wait_for_more(&mut client, &session);
    let answer = limit(&mut client, &session, json!({ "cpu_ratio": 0.1 })).unwrap();
    let row = of(&answer, "cpu_ratio");
    assert_eq!((&row["old"], &row["new"]), (&Value::Null, &json!(0.1)), "{answer}");
    let by = enforced_now(row);
    assert!(by == "worker" || groups && by.starts_with("cgroup_v"), "{answer}");
    assert_a_tenth(&mut client, &session);
    kill_worker(&mut daemon, &mut client, &session);
    assert_eq!(info(&mut client, &session)["limits_enforced_by"]["cpu_ratio"], by);
    assert_a_tenth(&mut client, &session);
    let answer = limit(&mut client, &session, json!({ "cpu_ratio": 1 })).unwrap();
    let row = of(&answer, "cpu_ratio");
    assert_eq!((&row["old"], &row["new"]), (&json!(0.1), &json!(1.0)), "{answer}");
    assert_eq!(enforced_now(row), by);
    wait_for_more(&mut client, &session);
}

#[test]
fn a_share_of_the_processor_that_is_set_later_holds_at_once_and_in_the_next_worker() {
    check_processor(true);
}

#[test]
fn without_control_groups_such_a_share_holds_as_well() {
    check_processor(false);
}

#[test]
fn a_model_that_needs_more_memory_than_was_left_later_is_loaded_once_there_is_more_again() {
    for groups in [true, false] {
        let mut daemon = serve(groups);
        let mut client = daemon.client();
        let [session, bystander] = [0; 2].map(|_| create(&mut client, json!({})));
        daemon.workers();
        let before = info(&mut client, &bystander);
        let answer = limit(&mut client, &session, json!({ "memory_bytes": 60 * MIB })).unwrap();
        let row = of(&answer, "memory_bytes");
        assert_eq!(row["new"].as_f64(), serde_json::Number::from(60 * MIB).as_f64(), "{answer}");
        let by = enforced_now(row);
        assert!(by == "watchdog" || groups && by.starts_with("cgroup_v"), "{answer}");
        // The watchdog may see it only after the answer.
        let loaded = client.tool("load_model", large(&session));
        if let Err(refused) = &loaded {
            assert_eq!(refused["code"], "worker_lost", "{refused}");
            assert!(refused["message"].as_str().unwrap().contains(TOO_MUCH), "{refused}");
        } else {
            assert_eq!(by, "watchdog");
        }
        let ending = wait_for("its end is known", || {
            info(&mut client, &session)["last_ending"].as_str().map(str::to_owned)
        });
        assert!(ending.contains(TOO_MUCH) && ending.contains("60 MiB"), "{ending} by {by}");
        limit(&mut client, &session, json!({ "memory_bytes": 1000 * MIB })).unwrap();
        if loaded.is_err() {
            client.tool("load_model", large(&session)).unwrap();
        }
        let here = json!({ "session_id": session });
        let models = client.tool("get_loaded_models", here).unwrap();
        assert_eq!(models["models"].as_array().unwrap().len(), 2, "{models}");
        let after = info(&mut client, &bystander);
        assert_eq!((&after["restarts"], &after["pid"]), (&json!(0), &before["pid"]));
        daemon.workers();
    }
}
