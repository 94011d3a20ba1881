//! What monitoring tells, value by value: each is compared with what was caused, or with what the
//! kernel says of the same process.

use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::Current as _;
use serde_json::{Value, json};
use simward_tests::client::HttpClient as Client;
use simward_tests::daemon::Setup;
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};

use crate::limiting::cpu_secs;
use crate::monitoring::{heap_of_boxes, number, run, session_with};

fn pendulum(client: &mut Client) -> String {
    session_with(client, &json!({ "scene": "pendulum" }))
}

/// The one row of a list that is a session's.
fn row(client: &mut Client, tool: &str, list: &str, id: &str) -> Value {
    let told = client.tool(tool, json!({})).unwrap();
    let rows = told[list].as_array().unwrap();
    rows.iter().find(|row| row["session_id"] == *id).unwrap().clone()
}

fn process(client: &mut Client, id: &str) -> Value {
    row(client, "list_active_processes", "processes", id)
}

fn pid_of(process: &Value) -> i32 {
    i32::try_from(process["pid"].as_i64().unwrap()).unwrap()
}

/// The values of the one column that is asked for, if there is one.
fn values(client: &mut Client, query: &Value) -> Vec<f64> {
    let frame = client.tool("get_performance_history", query.clone()).unwrap();
    let values = frame["columns"][0]["values"].as_array().cloned().unwrap_or_default();
    values.iter().filter_map(Value::as_f64).collect()
}

#[test]
fn the_overview_tells_how_many_there_are_what_they_use_and_that_one_was_lost() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let (asleep, busy) = (pendulum(&mut client), pendulum(&mut client));
    client.tool("hibernate_session", json!({ "session_id": asleep })).unwrap();
    run(&mut client, &busy);
    let pid = pid_of(&process(&mut client, &busy));
    let means = |client: &mut Client| {
        let ask = json!({ "all_tenants": true, "window_secs": 1 });
        client.tool("get_performance_metrics", ask).unwrap()["means"].clone()
    };
    let is_counted = |means: &Value| {
        means["sessions"] == 2.0 && means["sessions_awake"] == 1.0 && means["workers"] == 1.0
    };
    wait_until("two sessions, one of them awake", || is_counted(&means(&mut client)));
    // Over some seconds the kernel says the same of the one worker.
    let (begun, before) = (Instant::now(), cpu_secs(pid));
    wait_until("the processor time of the kernel", || {
        let secs = begun.elapsed().as_secs_f64();
        let ask = json!({ "all_tenants": true, "window_secs": 3 });
        let told = client.tool("get_performance_metrics", ask).unwrap();
        let ratio = number(&told["means"]["cpu_ratio"]) * secs / (cpu_secs(pid) - before);
        3.0 < secs && (0.8..1.25).contains(&ratio)
    });
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let lost = json!({
        "metrics": ["losses_per_sec"], "scope": "fleet", "all_tenants": true, "aggregate": "total",
        "duration_secs": 600, "step_secs": 600,
    });
    wait_until("one loss", || values(&mut client, &lost).iter().sum::<f64>() == 1.0);
}

#[test]
fn some_calls_in_one_second_are_a_small_rate_over_many() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let id = pendulum(&mut client);
    for _ in 0..6 {
        client.tool("get_state", json!({ "session_id": id })).unwrap();
    }
    let ask = |aggregate: &str| {
        json!({
            "metrics": ["calls_per_sec"], "scope": "tool", "name": "get_state", "all_tenants": true,
            "aggregate": aggregate, "duration_secs": 600, "step_secs": 600,
        })
    };
    // There may be a border of steps among them.
    let is_small = |mean: &f64| *mean <= 1.0;
    wait_until("six calls, and less than one a second", || {
        let mean = values(&mut client, &ask("mean"));
        let total: f64 = values(&mut client, &ask("total")).iter().sum();
        (5.9..6.1).contains(&total) && mean.iter().all(is_small)
    });
}

#[test]
fn a_process_is_told_of_as_the_kernel_knows_it() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let (busy, idle, asleep) =
        (pendulum(&mut client), pendulum(&mut client), pendulum(&mut client));
    client.tool("hibernate_session", json!({ "session_id": asleep })).unwrap();
    client.tool("step_simulation", json!({ "session_id": idle, "steps": 700 })).unwrap();
    run(&mut client, &busy);
    let idle_row = wait_for("the steps of one that is idle", || {
        let row = process(&mut client, &idle);
        (row["steps_total"] == 700 && row["activity"] == "idle").then_some(row)
    });
    let kernel = procfs::process::Process::new(pid_of(&idle_row)).unwrap();
    assert_eq!(idle_row["threads"], kernel.stat().unwrap().num_threads);
    assert_eq!(idle_row["fds"], kernel.fd_count().unwrap());
    let info = client.tool("get_session_info", json!({ "session_id": idle })).unwrap();
    for what in ["pid", "port", "layers", "limits_enforced_by"] {
        assert_eq!(idle_row[what], info[what], "{what}");
    }
    let asleep = process(&mut client, &asleep);
    assert_eq!((&asleep["activity"], &asleep["pid"]), (&json!("none"), &Value::Null));
    assert_eq!(asleep["state"], "hibernated");
    let busy_row = wait_for("one that is busy all the time", || {
        let before = cpu_secs(pid_of(&process(&mut client, &busy)));
        let row = process(&mut client, &busy);
        let after = cpu_secs(pid_of(&row));
        // The kernel's own figure has steps of 10 ms.
        let told = number(&row["cpu_secs_total"]);
        assert!((before - 0.02..=after + 0.02).contains(&told), "{before} {told} {after}");
        (0.5 < number(&row["busy_ratio"]) && 1000.0 < number(&row["steps_per_sec"])).then_some(row)
    });
    assert_eq!((&busy_row["activity"], &busy_row["restarts"]), (&json!("running"), &json!(0)));
    kill(Pid::from_raw(pid_of(&busy_row)), Signal::SIGKILL).unwrap();
    wait_until("the loss and its reason", || {
        let row = process(&mut client, &busy);
        row["restarts"] == 1 && row["last_ending"].as_str().is_some_and(|it| it.contains("SIGKILL"))
    });
}

#[test]
fn looks_that_follow_each_other_tell_the_same_rates() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let limits = json!({ "limits": { "step_rate": 1000 } });
    let id = client.tool("create_session", limits).unwrap()["session_id"].clone();
    let id = id.as_str().unwrap();
    client.tool("create_scene", json!({ "session_id": id, "scene": "pendulum" })).unwrap();
    run(&mut client, id);
    wait_until("a thousand steps a second", || {
        let told = number(&process(&mut client, id)["steps_per_sec"]);
        (700.0..1300.0).contains(&told)
    });
    // However often it is looked: never as many as a short moment would show.
    for _ in 0..40 {
        let listed = number(&process(&mut client, id)["steps_per_sec"]);
        let pool = client.tool("get_process_pool_stats", json!({})).unwrap();
        let pool = number(&pool["steps_per_sec"]);
        assert!(
            (300.0..2000.0).contains(&listed) && (300.0..2000.0).contains(&pool),
            "{listed} {pool}"
        );
    }
}

#[test]
fn one_that_nobody_uses_is_told_to_be_idle_for_so_long() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let (idle, used) = (pendulum(&mut client), pendulum(&mut client));
    let since = Instant::now();
    let query = json!({ "metrics": ["idle_secs"], "scope": "session", "duration_secs": 2 });
    let last = |client: &mut Client, id: &str| {
        let mut query = query.clone();
        query["name"] = json!(id);
        values(client, &query).last().copied().unwrap_or(f64::NAN)
    };
    wait_until("three seconds without use, in the list and in the series", || {
        client.tool("get_state", json!({ "session_id": used })).unwrap();
        let (before, listed) =
            (since.elapsed().as_secs_f64(), number(&process(&mut client, &idle)["idle_secs"]));
        assert!(before - 0.5 <= listed, "idle for {listed} s after {before} s");
        assert!(listed <= since.elapsed().as_secs_f64() + 0.5, "idle for {listed} s");
        assert!(number(&process(&mut client, &used)["idle_secs"]) < listed.max(1.0));
        let told = last(&mut client, &idle);
        assert!(told.is_nan() || told <= since.elapsed().as_secs_f64() + 0.5, "{told}");
        3.0 < listed && 3.0 < told && last(&mut client, &used) < 2.0
    });
}

#[test]
fn the_pool_adds_up() {
    let daemon = Setup::real(&programs!()).set("pool.ports.rest_secs", "600").serve();
    let mut client = daemon.client();
    let ids: Vec<String> = (0..4).map(|_| pendulum(&mut client)).collect();
    client.tool("hibernate_session", json!({ "session_id": ids[0] })).unwrap();
    client.tool("close_session", json!({ "session_id": ids[1] })).unwrap();
    let lost = pid_of(&process(&mut client, &ids[2]));
    kill(Pid::from_raw(lost), Signal::SIGKILL).unwrap();
    wait_until("the lost worker to be replaced", || {
        let row = process(&mut client, &ids[2]);
        row["restarts"] == 1 && row["state"] == "ready"
    });
    let stats = client.tool("get_process_pool_stats", json!({})).unwrap();
    assert_eq!(stats["sessions_by_state"], json!({ "hibernated": 1, "ready": 2 }), "{stats}");
    for (what, expected) in [
        ("sessions", 3),
        ("sessions_created_total", 4),
        ("workers", 2),
        ("restarts", 1),
        // One that sleeps has given its port back.
        ("ports_used", 2),
        ("ports_resting", 2),
        ("ports_free", 1000 - 4),
        ("starting", 0),
        ("starts_waiting", 0),
    ] {
        assert_eq!(stats[what], expected, "{what}: {stats}");
    }
    assert_eq!(stats["room"], "plenty");
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(stats["host_cores"], cores);
    let memory = procfs::Meminfo::current().unwrap().mem_total;
    assert_eq!(stats["host_memory_bytes"], memory);
    let listed = client.tool("list_active_processes", json!({})).unwrap();
    let pss: u64 = listed["processes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["pss_bytes"].as_u64())
        .sum();
    let ratio = number(&stats["pss_bytes"]) / f64::from(u32::try_from(pss >> 10).unwrap()) / 1024.0;
    assert!((0.9..1.1).contains(&ratio), "{pss}: {stats}");
}

#[test]
fn in_detail_every_step_is_timed_and_a_long_call_is_told_while_it_lasts_and_after() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let limits = json!({ "limits": { "step_rate": 100 } });
    let id = client.tool("create_session", limits).unwrap()["session_id"].clone();
    client.tool("create_scene", json!({ "session_id": id, "scene": "pendulum" })).unwrap();
    let level = json!({ "session_id": id, "level": "detailed" });
    client.tool("enable_performance_tracking", level).unwrap();
    let steps = |steps: u32| json!({ "session_id": id, "steps": steps });
    let total = |client: &mut Client, metric: &str| {
        let ask = json!({
            "metrics": [metric], "scope": "session", "name": id, "aggregate": "total",
            "duration_secs": 600, "step_secs": 600,
        });
        values(client, &ask).iter().sum::<f64>()
    };
    // Once one is timed, the worker knows, and all are.
    let mut taken = 0.0;
    wait_until("a first step to be timed", || {
        client.tool("step_simulation", steps(1)).unwrap();
        taken += 1.0;
        0.0 < total(&mut client, "step_secs")
    });
    wait_until("all of those in the series", || total(&mut client, "steps_per_sec") == taken);
    let before = total(&mut client, "step_secs");
    let mut other = daemon.client();
    let begun = Instant::now();
    other.send_tool("step_simulation", steps(200));
    let tool = |client: &mut Client| {
        let told = client.tool("get_tool_metrics", json!({ "tool": "step_simulation" })).unwrap();
        told["tools"][0].clone()
    };
    wait_until("the call under way", || tool(&mut client)["in_flight"] == 1);
    wait_until("its end", || tool(&mut client)["in_flight"] == 0);
    let secs = begun.elapsed().as_secs_f64();
    let told = wait_for("it to be counted", || {
        let told = tool(&mut client);
        (1.0 < number(&told["max_secs"])).then_some(told)
    });
    let max = number(&told["max_secs"]);
    let all = number(&told["call_secs"]["mean_secs"]) * number(&told["calls"]);
    assert!(max <= secs && 0.9 * max < all, "{told} within {secs} s");
    wait_until("each of its steps to be timed", || {
        total(&mut client, "step_secs") == before + 200.0
    });
}

#[test]
fn a_pause_of_the_measuring_is_no_work_and_no_step_is_timed_in_it() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let id = session_with(&mut client, &json!({ "model_xml": heap_of_boxes(8) }));
    run(&mut client, &id);
    let all = |client: &mut Client, level: &str| {
        let ask = json!({ "level": level, "all_tenants": true });
        client.tool("enable_performance_tracking", ask).unwrap();
    };
    let last_step = |client: &mut Client| {
        let told = client.tool("get_simulation_metrics", json!({ "all_tenants": true })).unwrap();
        told["sessions"][0]["last_step_secs"].clone()
    };
    all(&mut client, "detailed");
    wait_until("steps to be timed", || last_step(&mut client).is_number());
    all(&mut client, "off");
    let paused = Instant::now();
    wait_until("no step to be timed for three seconds", || {
        let before = last_step(&mut client);
        let begun = Instant::now();
        while begun.elapsed().as_secs_f64() < 1.0 {
            if last_step(&mut client) != before {
                return false;
            }
        }
        3.0 < paused.elapsed().as_secs_f64()
    });
    all(&mut client, "basic");
    let query = json!({
        "metrics": ["cpu_ratio"], "scope": "session", "name": id, "aggregate": "max",
        "duration_secs": 60, "step_secs": 1,
    });
    let timed = |client: &mut Client| values(client, &query).len();
    let before = timed(&mut client);
    wait_until("it to be measured again", || before + 3 <= timed(&mut client));
    let told = values(&mut client, &query);
    // A core and a half: the worker has threads of its own beside the simulation.
    assert!(told.iter().all(|ratio| *ratio < 1.5), "{told:?}");
}

#[test]
fn what_is_cleared_does_not_come_back_a_second_later() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let id = pendulum(&mut client);
    for _ in 0..5 {
        client.tool("get_state", json!({ "session_id": id })).unwrap();
    }
    client.tool("clear_performance_data", json!({})).unwrap();
    client.tool("step_simulation", json!({ "session_id": id, "steps": 1 })).unwrap();
    let calls = |client: &mut Client, tool: &str| {
        let told = client.tool("get_tool_metrics", json!({ "tool": tool })).unwrap();
        told["tools"].as_array().unwrap().len()
    };
    wait_until("a later call to be counted", || calls(&mut client, "step_simulation") == 1);
    assert_eq!(calls(&mut client, "get_state"), 0);
}

#[test]
fn a_model_that_only_touches_spends_its_time_on_contacts_and_a_chain_does_not() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let mut share = |model: &Value| {
        let id = session_with(&mut client, model);
        run(&mut client, &id);
        let ask = json!({ "session_id": id, "kind": "phases", "duration_secs": 1 });
        let profile = client.tool("start_profiling", ask).unwrap()["profile_id"].clone();
        let told = wait_for("the profile", || {
            let ask = json!({ "profile_id": profile, "view": "top" });
            let told = client.tool("get_profile_results", ask).unwrap();
            (told["state"] == "done").then_some(told)
        });
        let phases = told["phases"]["models"][0]["phases"].as_array().unwrap().clone();
        let is_contact = |phase: &&Value| {
            let name = phase["phase"].as_str().unwrap();
            ["collision", "constraint", "narrow", "broad"].iter().any(|it| name.contains(it))
        };
        let share: f64 =
            phases.iter().filter(is_contact).map(|phase| number(&phase["self_ratio"])).sum();
        client.tool("close_session", json!({ "session_id": id })).unwrap();
        (share, phases)
    };
    let link = "<body pos='0 0 -.1'><joint type='hinge' axis='0 1 0'/><geom type='sphere' size='.02' \
        contype='0' conaffinity='0'/>";
    let chain = format!(
        "<mujoco><worldbody>{}{}</worldbody></mujoco>",
        link.repeat(40),
        "</body>".repeat(40)
    );
    let (heap, of_heap) = share(&json!({ "model_xml": heap_of_boxes(150) }));
    let (chain, of_chain) = share(&json!({ "model_xml": chain }));
    assert!(0.5 < heap && chain < 0.3, "{heap} {of_heap:?} {chain} {of_chain:?}");
}
