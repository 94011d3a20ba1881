//! Limits that change while a session lives, and those of all sessions of a tenant together.

mod later;

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::fake::How;
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};
use tempfile::TempDir;

use crate::auth;

const MIB: u64 = 1 << 20;

/// A session with a pendulum.
fn create(client: &mut HttpClient, arguments: Value) -> Value {
    let session = client.tool("create_session", arguments).unwrap()["session_id"].clone();
    let scene = json!({ "session_id": session, "scene": "pendulum" });
    client.tool("create_scene", scene).unwrap();
    session
}

fn limit(client: &mut HttpClient, session: &Value, mut limits: Value) -> Result<Value, Value> {
    limits["session_id"] = session.clone();
    client.tool("set_resource_limits", limits)
}

/// What an answer says of one limit.
fn of<'a>(answer: &'a Value, limit: &str) -> &'a Value {
    let mut limits = answer["limits"].as_array().unwrap().iter();
    limits.find(|it| it["limit"] == limit).unwrap()
}

fn info(client: &mut HttpClient, session: &Value) -> Value {
    client.tool("get_session_info", json!({ "session_id": session })).unwrap()
}

/// What loads a model with 80 MB of numbers that belong to one body.
pub(crate) fn large(session: &Value) -> Value {
    let body = "<mujoco><size nuser_body='10000000'/><worldbody><body name='b'><geom size='1'/>\
                </body></worldbody></mujoco>";
    json!({ "session_id": session, "model_xml": body, "model_id": "large" })
}

fn run(client: &mut HttpClient, session: &Value) {
    let run = json!({ "session_id": session, "duration_secs": 80_000 });
    client.tool("run_simulation", run).unwrap();
}

fn steps(client: &mut HttpClient, session: &Value) -> f64 {
    let models = client.tool("get_loaded_models", json!({ "session_id": session })).unwrap();
    models["models"][0]["steps_total"].as_f64().unwrap()
}

/// Steps of sessions that run, from now until they have taken so many; and how long that took.
fn until(client: &mut HttpClient, sessions: &[&Value], many: f64) -> (f64, Duration) {
    let mut all = || sessions.iter().map(|it| steps(client, it)).sum::<f64>();
    let (begun, before) = (Instant::now(), all());
    let taken = wait_for("they take steps", || Some(all() - before).filter(|it| many <= *it));
    (taken, begun.elapsed())
}

/// Sessions that run take no more than so many steps a second together. However busy the machine
/// is, they are not faster for it.
fn assert_rate(client: &mut HttpClient, sessions: &[&Value], rate: f64) {
    let (taken, within) = until(client, sessions, rate);
    // A tenth of a second may be caught up, and a slice is taken whole.
    let most = rate * (within.as_secs_f64() + 0.25);
    assert!(taken <= most, "{taken} steps in {within:?}, at {rate} a second");
}

/// A pid that is another one by and by.
fn kill_worker(daemon: &mut Daemon, client: &mut HttpClient, session: &Value) {
    let pid = info(client, session)["pid"].clone();
    daemon.workers();
    kill(Pid::from_raw(pid.as_i64().unwrap().try_into().unwrap()), Signal::SIGKILL).unwrap();
    wait_until("it has another worker", || {
        let now = info(client, session);
        now["pid"].is_number() && now["pid"] != pid && now["state"] == "ready"
    });
    daemon.workers();
}

#[test]
fn a_lowered_step_rate_holds_at_once_and_in_every_later_worker() {
    let state = TempDir::new().unwrap();
    let setup = || Setup::real(&programs!());
    let mut daemon = setup().serve_at(state.path());
    let mut client = daemon.client();
    let session = create(&mut client, json!({}));
    run(&mut client, &session);
    // Far faster than what comes.
    until(&mut client, &[&session], 2000.0);
    let answer = limit(&mut client, &session, json!({ "step_rate": 400 })).unwrap();
    let row = of(&answer, "step_rate");
    assert_eq!((&row["old"], &row["new"]), (&Value::Null, &json!(400.0)), "{answer}");
    assert_eq!((&row["enforced_by"], &row["in_force"]), (&json!("worker"), &json!("now")));
    assert_rate(&mut client, &[&session], 400.0);
    kill_worker(&mut daemon, &mut client, &session);
    assert_rate(&mut client, &[&session], 400.0);
    drop(daemon);
    let mut daemon = setup().serve_at(state.path());
    let mut client = daemon.client();
    // Whoever calls wakes it, and what ran goes on.
    assert_rate(&mut client, &[&session], 400.0);
    let answer = limit(&mut client, &session, json!({ "models": 3 })).unwrap();
    assert_eq!(of(&answer, "step_rate")["new"], 400.0);
    assert_eq!(of(&answer, "models")["new"], 3.0);
    client.tool("pause_simulation", json!({ "session_id": session })).unwrap();
    client.tool("hibernate_session", json!({ "session_id": session })).unwrap();
    let answer = limit(&mut client, &session, json!({ "step_rate": 300 })).unwrap();
    let row = of(&answer, "step_rate");
    assert_eq!((&row["enforced_by"], &row["in_force"]), (&Value::Null, &json!("next_process")));
    run(&mut client, &session);
    assert_rate(&mut client, &[&session], 300.0);
    daemon.workers();
}

#[test]
fn a_raised_step_rate_reaches_a_call_that_is_under_way() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let session = create(&mut client, json!({ "limits": { "step_rate": 1 } }));
    // It would take a day, and has half a minute.
    let mut caller = daemon.client();
    let call = json!({ "session_id": session, "steps": 90_000 });
    let stepping = std::thread::spawn(move || caller.tool("step_simulation", call).unwrap());
    let processes = || daemon.client().tool("list_active_processes", json!({})).unwrap();
    wait_until("it is under way", || processes()["processes"][0]["activity"] == "busy");
    limit(&mut client, &session, json!({ "step_rate": 1e9 })).unwrap();
    assert_eq!(stepping.join().unwrap()["steps_done"], 90_000);
    daemon.workers();
}

#[test]
fn a_memory_limit_that_is_set_later_ends_a_hog_and_no_bystander() {
    for groups in ["true", "false"] {
        let setup = Setup::rogue(&programs!(), How::Swells)
            .set("sessions.restart.losses_max", "1000")
            .set("sessions.limits.memory_bytes", "0")
            .set("sessions.limits.threads", "0")
            .set("pool.control_groups", groups);
        let mut daemon = setup.serve();
        let mut client = daemon.client();
        let (hog, bystander) = (create(&mut client, json!({})), create(&mut client, json!({})));
        assert_eq!(info(&mut client, &hog)["limits_enforced_by"], json!({}));
        daemon.workers();
        let answer = limit(&mut client, &hog, json!({ "memory_bytes": 200 * MIB })).unwrap();
        let by = of(&answer, "memory_bytes")["enforced_by"].as_str().unwrap().to_owned();
        assert!(by.starts_with("cgroup_v") || by == "watchdog", "{answer}");
        assert!(groups == "true" || by == "watchdog", "{answer}");
        let call = json!({ "session_id": hog });
        let refused = client.tool("step_simulation", call).unwrap_err();
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("it took more than it may"), "{message}");
        assert!(message.contains("200 MiB"), "{message}");
        assert_eq!(info(&mut client, &bystander)["restarts"], 0);
        daemon.workers();
    }
}

#[test]
fn memory_below_what_is_used_is_refused_with_both_numbers() {
    for groups in ["true", "false"] {
        let mut daemon = Setup::real(&programs!()).set("pool.control_groups", groups).serve();
        let mut client = daemon.client();
        let session = create(&mut client, json!({}));
        client.tool("load_model", large(&session)).unwrap();
        let refused = limit(&mut client, &session, json!({ "memory_bytes": 40 * MIB }));
        let refused = refused.unwrap_err();
        assert_eq!(refused["code"], "limit_below_use", "{refused}");
        let message = refused["message"].as_str().unwrap();
        let numbers =
            message.split(|it: char| !it.is_ascii_digit()).filter_map(|it| it.parse().ok());
        let numbers: Vec<u64> = numbers.filter(|it| MIB < *it).collect();
        assert_eq!(numbers.len(), 2, "{message}");
        assert!(80_000_000 < numbers[0] && numbers[1] == 40 * MIB, "{message}");
        // Nothing has changed, and it goes on.
        assert_eq!(info(&mut client, &session)["limits"]["memory_bytes"], 2048 * MIB);
        client.tool("get_loaded_models", json!({ "session_id": session })).unwrap();
        limit(&mut client, &session, json!({ "memory_bytes": 1000 * MIB })).unwrap();
        assert_eq!(info(&mut client, &session)["restarts"], 0);
        daemon.workers();
    }
}

#[test]
fn fewer_models_than_there_are_let_no_more_in_and_lose_none() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let session = create(&mut client, json!({}));
    let load = |id: &str| json!({ "session_id": session, "scene": "pendulum", "model_id": id });
    client.tool("create_scene", load("second")).unwrap();
    limit(&mut client, &session, json!({ "models": 1 })).unwrap();
    let refused = client.tool("create_scene", load("third")).unwrap_err();
    assert_eq!(refused["code"], "limit_exceeded", "{refused}");
    kill_worker(&mut daemon, &mut client, &session);
    let here = json!({ "session_id": session });
    let models = client.tool("get_loaded_models", here).unwrap();
    assert_eq!(models["models"].as_array().unwrap().len(), 2);
    client.tool("create_scene", load("third")).unwrap_err();
    limit(&mut client, &session, json!({ "models": 3 })).unwrap();
    client.tool("create_scene", load("third")).unwrap();
    daemon.workers();
}

#[test]
fn limits_are_bounded_and_asked_for_by_name() {
    let daemon = Setup::toy(&programs!())
        .set("sessions.limits.memory_bytes", "100000000")
        .set("sessions.limits.cpu_ratio", "0.5")
        .serve();
    let mut client = daemon.client();
    let session = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    for (limits, named) in [
        (json!({}), "give at least one limit"),
        (json!({ "memory_bytes": 1000 }), "`limits.memory_bytes` must be at least"),
        (json!({ "step_rate": 0 }), "`limits.step_rate` must lie between 1"),
        (json!({ "models": 17 }), "`limits.models` must lie between 1 and 16"),
        (json!({ "walls": 4 }), "unknown field `walls`"),
    ] {
        let refused = limit(&mut client, &session, limits).unwrap_err();
        assert_eq!(refused["code"], "invalid_argument", "{refused}");
        assert!(refused["message"].as_str().unwrap().contains(named), "{refused}");
    }
    let more = json!({ "memory_bytes": 500_000_000, "cpu_ratio": 4 });
    let answer = limit(&mut client, &session, more).unwrap();
    assert_eq!(of(&answer, "memory_bytes")["new"], 1e8);
    assert_eq!(of(&answer, "cpu_ratio")["new"], 0.5);
    let shared = json!({ "isolation": "shared" });
    let shared = client.tool("create_session", shared).unwrap()["session_id"].clone();
    let refused = limit(&mut client, &shared, json!({ "cpu_ratio": 0.1 })).unwrap_err();
    assert_eq!(refused["code"], "invalid_argument");
    limit(&mut client, &shared, json!({ "step_rate": 10 })).unwrap();
}

#[test]
fn only_its_owner_and_operators_change_a_sessions_limits() {
    let folder = TempDir::new().unwrap();
    let token = |name: &str, scopes: &[&str]| {
        let mut more = vec!["--tenant", name];
        more.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        auth::add(folder.path(), name, &more)
    };
    let [ann, bob] = ["ann", "bob"].map(|name| token(name, &["sim:use"]));
    let operator = token("operator", &["sim:use", "pool:admin"]);
    let mut daemon = auth::setup(folder.path()).serve();
    let [mut ann, mut bob, mut operator] =
        [ann, bob, operator].map(|token| daemon.client().with_token(&token));
    let session = create(&mut ann, json!({}));
    let refused = limit(&mut bob, &session, json!({ "step_rate": 5 })).unwrap_err();
    assert_eq!(refused["code"], "session_unknown");
    assert_eq!(info(&mut ann, &session)["limits"]["step_rate"], Value::Null);
    limit(&mut operator, &session, json!({ "step_rate": 5 })).unwrap();
    assert_eq!(info(&mut ann, &session)["limits"]["step_rate"], 5.0);
    daemon.workers();
}

#[test]
fn sessions_of_a_tenant_have_together_the_memory_that_its_tenant_has() {
    let folder = TempDir::new().unwrap();
    let [ann, bob] = ["ann", "bob"].map(|name| auth::add(folder.path(), name, &["--tenant", name]));
    let file = folder.path().join("tokens.toml").display().to_string();
    let setup = Setup::rogue(&programs!(), How::Swells)
        .set("auth.mode", "tokens")
        .set("auth.tokens_file", &file)
        .set("sessions.restart.losses_max", "1000")
        .set("sessions.limits.memory_bytes", "0")
        .set("sessions.tenant_limits.memory_bytes", &(300 * MIB).to_string());
    let mut daemon = setup.serve();
    let [mut ann, mut bob] = [ann, bob].map(|token| daemon.client().with_token(&token));
    let hog = create(&mut ann, json!({}));
    let by = info(&mut ann, &hog)["limits_enforced_by"]["tenant_memory_bytes"].clone();
    let other = create(&mut bob, json!({}));
    daemon.workers();
    let refused = ann.tool("step_simulation", json!({ "session_id": hog })).unwrap_err();
    let message = refused["message"].as_str().unwrap();
    if by == "admission" {
        assert!(message.contains("where 300 MiB are allowed"), "{message}");
    } else {
        let all = "the memory of all sessions of its tenant together is limited to 300 MiB";
        assert!(by.as_str().unwrap().starts_with("cgroup_v"), "{by}");
        assert!(message.contains(all), "{message}");
    }
    assert_eq!(info(&mut bob, &other)["restarts"], 0);
    let usage = ann.tool("get_resource_usage", json!({})).unwrap();
    let mut rows = usage["tenant"].as_array().unwrap().iter();
    let memory = rows.find(|row| row["resource"] == "memory that counts, bytes").unwrap();
    assert_eq!(memory["max"].as_f64(), serde_json::Number::from(300 * MIB).as_f64());
    daemon.workers();
}

#[test]
fn without_control_groups_memory_is_given_out_to_those_who_are_awake() {
    let mut daemon = Setup::toy(&programs!())
        .set("pool.control_groups", "false")
        .set("sessions.tenant_limits.memory_bytes", &(300 * MIB).to_string())
        .serve();
    let mut client = daemon.client();
    let of = |mib: u64| json!({ "limits": { "memory_bytes": mib * MIB } });
    let first = client.tool("create_session", of(200)).unwrap();
    assert_eq!(first["limits_enforced_by"]["tenant_memory_bytes"], "admission");
    let first = json!({ "session_id": first["session_id"] });
    let refused = client.tool("create_session", of(150)).unwrap_err();
    assert_eq!(refused["code"], "tenant_memory_exhausted", "{refused}");
    let left = format!("{} bytes are left", 100 * MIB);
    assert!(refused["hint"].as_str().unwrap().contains(&left), "{refused}");
    let second = client.tool("create_session", of(100)).unwrap()["session_id"].clone();
    // One that is replaced has what it had.
    kill_worker(&mut daemon, &mut client, &second);
    assert_eq!(info(&mut client, &second)["restarts"], 1);
    // More than there is, and as much as there is once another one leaves some.
    let more = json!({ "memory_bytes": 150 * MIB });
    let refused = limit(&mut client, &second, more.clone()).unwrap_err();
    assert_eq!(refused["code"], "tenant_memory_exhausted", "{refused}");
    let (less, id) = (json!({ "memory_bytes": 150 * MIB }), first["session_id"].clone());
    limit(&mut client, &id, less).unwrap();
    limit(&mut client, &second, more).unwrap();
    client.tool("create_session", of(100)).unwrap_err();
    daemon.workers();
    // One that sleeps takes nothing.
    client.tool("hibernate_session", first.clone()).unwrap();
    let third = client.tool("create_session", of(150)).unwrap()["session_id"].clone();
    let refused = client.tool("get_loaded_models", first.clone()).unwrap_err();
    assert_eq!(refused["code"], "tenant_memory_exhausted", "{refused}");
    client.tool("close_session", json!({ "session_id": third })).unwrap();
    client.tool("get_loaded_models", first).unwrap();
    daemon.workers();
}

#[test]
fn sessions_that_are_awake_share_the_steps_of_their_tenant() {
    let mut daemon =
        Setup::real(&programs!()).set("sessions.tenant_limits.step_rate", "600").serve();
    let mut client = daemon.client();
    let first = create(&mut client, json!({}));
    let enforced = info(&mut client, &first)["limits_enforced_by"].clone();
    assert_eq!(enforced["tenant_step_rate"], "worker");
    run(&mut client, &first);
    assert_rate(&mut client, &[&first], 600.0);
    let second = create(&mut client, json!({}));
    let third = create(&mut client, json!({ "isolation": "shared" }));
    for session in [&second, &third] {
        run(&mut client, session);
    }
    assert_rate(&mut client, &[&first], 200.0);
    assert_rate(&mut client, &[&first, &second, &third], 600.0);
    daemon.workers();
    for session in [&second, &third] {
        client.tool("close_session", json!({ "session_id": session })).unwrap();
    }
    // What they leave is the first one's again: it takes more than its third.
    wait_until("it has all of it", || {
        let (taken, within) = until(&mut client, &[&first], 150.0);
        400.0 * within.as_secs_f64() < taken
    });
    assert_rate(&mut client, &[&first], 600.0);
    daemon.workers();
}

#[test]
fn sessions_of_a_tenant_have_together_the_processor_time_that_it_has() {
    for groups in ["true", "false"] {
        let mut daemon = Setup::real(&programs!())
            .set("pool.control_groups", groups)
            .set("sessions.tenant_limits.cpu_ratio", "0.4")
            .serve();
        let mut client = daemon.client();
        let sessions = [create(&mut client, json!({})), create(&mut client, json!({}))];
        let pids = sessions.each_ref().map(|session| {
            let info = info(&mut client, session);
            let by = info["limits_enforced_by"]["tenant_cpu_ratio"].as_str().unwrap().to_owned();
            assert!(by == "worker" || groups == "true" && by.starts_with("cgroup_v"), "{by}");
            i32::try_from(info["pid"].as_i64().unwrap()).unwrap()
        });
        daemon.workers();
        let cpu_secs = || pids.iter().map(|pid| cpu_secs(*pid)).sum::<f64>();
        for session in &sessions {
            run(&mut client, session);
        }
        let (begun, before) = (Instant::now(), cpu_secs());
        wait_until("they have computed for a while", || 0.8 < cpu_secs() - before);
        // Without the limit it would be over in that time on one core, and in half of it on two.
        let share = (cpu_secs() - before) / begun.elapsed().as_secs_f64();
        assert!(share < 0.6, "{share} with control groups: {groups}");
        daemon.workers();
    }
}

/// Processor time that a process has used.
pub(crate) fn cpu_secs(pid: i32) -> f64 {
    let stat = procfs::process::Process::new(pid).unwrap().stat().unwrap();
    let ticks = u32::try_from(stat.utime + stat.stime).unwrap();
    f64::from(ticks) / f64::from(u32::try_from(procfs::ticks_per_second()).unwrap())
}
