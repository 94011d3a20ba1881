//! Every limit against something that wants more: the hog alone pays for it, and its session goes
//! on as it was.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::fake::How;
use simward_tests::programs;
use simward_tests::wait::wait_until;

use crate::limiting;

/// A session with a model, and a bystander that must not notice.
struct Pair {
    daemon: Daemon,
    client: HttpClient,
    hog: Value,
    bystander: Value,
    /// The bystander's process.
    pid: Value,
}

fn with(here: &Value, more: Value) -> Value {
    let mut arguments = here.as_object().unwrap().clone();
    arguments.extend(more.as_object().unwrap().clone());
    arguments.into()
}

impl Pair {
    fn open(setup: Setup, limits: Value) -> Self {
        let mut daemon = setup.serve();
        let mut client = daemon.client();
        let mut create = |limits: Value| {
            let session = client.tool("create_session", json!({ "limits": limits })).unwrap();
            let here = json!({ "session_id": session["session_id"] });
            let scene = with(&here, json!({ "scene": "pendulum" }));
            client.tool("create_scene", scene).unwrap();
            (here, session["pid"].clone())
        };
        let (hog, _) = create(limits);
        let (bystander, pid) = create(json!({}));
        daemon.workers();
        Self { daemon, client, hog, bystander, pid }
    }

    fn info(&mut self) -> Value {
        self.client.tool("get_session_info", self.hog.clone()).unwrap()
    }

    /// The refusal of a step of the hog.
    fn refusal(&mut self) -> Value {
        let refused = self.client.tool("step_simulation", self.hog.clone()).unwrap_err();
        self.daemon.workers();
        refused
    }

    /// The hog's session is as it was before, and the bystander has the process that it had.
    fn check(mut self) {
        let state = self.client.tool("get_state", self.hog.clone()).unwrap();
        assert_eq!(state["time_secs"], 0.0);
        let info = self.client.tool("get_session_info", self.bystander.clone()).unwrap();
        assert_eq!((&info["pid"], &info["restarts"]), (&self.pid, &json!(0)));
        self.client.tool("get_state", self.bystander.clone()).unwrap();
    }
}

fn rogue(how: How) -> Setup {
    Setup::rogue(&programs!(), how).set("sessions.restart.losses_max", "1000")
}

fn assert_lost(refused: &Value, because: &str) {
    assert_eq!(refused["code"], "worker_lost", "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains(because), "{message}");
}

#[test]
fn a_worker_that_takes_too_much_memory_is_ended_alone_by_the_kernel() {
    let mut pair = Pair::open(rogue(How::Swells), json!({ "memory_bytes": 200_000_000 }));
    let by = pair.info()["limits_enforced_by"]["memory_bytes"].clone();
    let refused = pair.refusal();
    assert_lost(&refused, "it took more than it may");
    if by != "watchdog" {
        assert!(by.as_str().unwrap().starts_with("cgroup_v"), "{by}");
        assert_lost(&refused, "its memory is limited to 190 MiB, and it used 190 MiB");
    }
    pair.check();
}

#[test]
fn a_worker_that_takes_too_much_memory_is_ended_alone_by_the_watchdog() {
    let setup = rogue(How::Swells).set("pool.control_groups", "false");
    let mut pair = Pair::open(setup, json!({ "memory_bytes": 200_000_000 }));
    assert_eq!(pair.info()["limits_enforced_by"]["memory_bytes"], "watchdog");
    let refused = pair.refusal();
    assert_lost(&refused, "MiB of resident memory, where 190 MiB are allowed");
    pair.check();
}

#[test]
fn a_real_model_that_needs_more_memory_than_its_session_has_is_refused() {
    let setup = Setup::real(&programs!());
    let mut pair = Pair::open(setup, json!({ "memory_bytes": 60_000_000 }));
    let model = limiting::large(&pair.hog["session_id"]);
    let refused = pair.client.tool("load_model", model).unwrap_err();
    pair.daemon.workers();
    assert_lost(&refused, "it took more than it may");
    let models = pair.client.tool("get_loaded_models", pair.hog.clone()).unwrap();
    assert_eq!(models["models"].as_array().unwrap().len(), 1);
    pair.check();
}

#[test]
fn threads_run_out_by_the_kernel() {
    let mut pair = Pair::open(rogue(How::StartsThreads), json!({}));
    let by = pair.info()["limits_enforced_by"]["threads"].clone();
    let refused = pair.refusal();
    let because = if by == "watchdog" { "threads, where 64 are allowed" } else { "exit code 77" };
    assert_lost(&refused, because);
    pair.check();
}

#[test]
fn a_worker_with_too_many_threads_is_ended_by_the_watchdog() {
    let setup = rogue(How::StartsThreads).set("pool.control_groups", "false");
    let mut pair = Pair::open(setup, json!({}));
    // The step itself ends well; the next look does not find it good.
    pair.client.tool("step_simulation", pair.hog.clone()).ok();
    pair.daemon.workers();
    let mut ending = Value::Null;
    wait_until("the watchdog has seen it", || {
        ending = pair.info()["last_ending"].clone();
        ending.is_string()
    });
    assert!(ending.as_str().unwrap().contains("threads, where 64 are allowed"), "{ending}");
    let info = pair.client.tool("get_session_info", pair.bystander.clone()).unwrap();
    assert_eq!(info["pid"], pair.pid);
    pair.daemon.workers();
}

#[test]
fn a_worker_that_says_more_than_it_is_asked_is_ended() {
    let mut pair = Pair::open(rogue(How::FloodsFrames), json!({}));
    pair.client.tool("step_simulation", pair.hog.clone()).ok();
    let mut ending = Value::Null;
    wait_until("the flood is ended", || {
        ending = pair.info()["last_ending"].clone();
        ending.is_string()
    });
    assert!(ending.as_str().unwrap().contains("it broke the protocol"), "{ending}");
    let info = pair.client.tool("get_session_info", pair.bystander.clone()).unwrap();
    assert_eq!(info["pid"], pair.pid);
    pair.daemon.workers();
}

#[test]
fn a_call_that_does_not_keep_to_its_time_ends_its_worker() {
    let setup = rogue(How::IgnoresBudget).set("sessions.call_budget_secs", "0.2");
    let mut pair = Pair::open(setup, json!({}));
    let call = with(&pair.hog, json!({ "steps": 1_000_000 }));
    let refused = pair.client.tool("step_simulation", call).unwrap_err();
    pair.daemon.workers();
    assert_lost(&refused, "a call took longer than it may");
    pair.check();
}

/// Processor time and steps of a session that runs as fast as it may, per second.
fn run_for(pair: &mut Pair, time: Duration) -> (f64, f64) {
    let pid = i32::try_from(pair.info()["pid"].as_i64().unwrap()).unwrap();
    let cpu_secs = || {
        let process = procfs::process::Process::new(pid).unwrap();
        let stat = process.stat().unwrap();
        let ticks = u32::try_from(stat.utime + stat.stime).unwrap();
        f64::from(ticks) / f64::from(u32::try_from(procfs::ticks_per_second()).unwrap())
    };
    let steps = |pair: &mut Pair| {
        let models = pair.client.tool("get_loaded_models", pair.hog.clone()).unwrap();
        models["models"][0]["steps_total"].as_f64().unwrap()
    };
    let run = with(&pair.hog, json!({ "duration_secs": 80_000 }));
    pair.client.tool("run_simulation", run).unwrap();
    let (begun, cpu_before, steps_before) = (Instant::now(), cpu_secs(), steps(pair));
    wait_until("the time is over", || time < begun.elapsed());
    let (cpu, steps) = (cpu_secs() - cpu_before, steps(pair) - steps_before);
    let secs = begun.elapsed().as_secs_f64();
    pair.client.tool("pause_simulation", pair.hog.clone()).unwrap();
    (cpu / secs, steps / secs)
}

#[test]
fn a_share_of_the_processor_is_kept_by_the_kernel_and_by_the_worker() {
    for groups in ["true", "false"] {
        let setup = Setup::real(&programs!()).set("pool.control_groups", groups);
        let mut pair = Pair::open(setup, json!({ "cpu_ratio": 0.2 }));
        let by = pair.info()["limits_enforced_by"]["cpu_ratio"].clone();
        assert!(groups == "true" || by == "worker", "{by}");
        // Without the limit it would take a whole core, as the bystander shows.
        let (share, _) = run_for(&mut pair, Duration::from_secs(2));
        assert!(share < 0.35, "{share} by {by}");
        std::mem::swap(&mut pair.hog, &mut pair.bystander);
        let (free, _) = run_for(&mut pair, Duration::from_secs(1));
        assert!(1.5 * share < free, "{share} with the limit by {by}, {free} without");
        pair.daemon.workers();
    }
}

#[test]
fn a_step_rate_is_kept_by_calls_and_in_the_background() {
    let mut pair = Pair::open(Setup::real(&programs!()), json!({ "step_rate": 500 }));
    let (_, rate) = run_for(&mut pair, Duration::from_secs(1));
    assert!((300.0..700.0).contains(&rate), "{rate}");
    let call = with(&pair.hog, json!({ "steps": 400 }));
    let begun = Instant::now();
    let stepped = pair.client.tool("step_simulation", call).unwrap();
    assert_eq!(stepped["steps_done"], 400);
    // A tenth of a second may be caught up.
    assert!(Duration::from_millis(600) < begun.elapsed(), "{:?}", begun.elapsed());
    pair.daemon.workers();
}

#[test]
fn models_of_a_session_are_counted() {
    let mut pair = Pair::open(Setup::toy(&programs!()), json!({ "models": 1 }));
    let model = with(&pair.hog, json!({ "model_xml": "<mujoco/>", "model_id": "second" }));
    let refused = pair.client.tool("load_model", model).unwrap_err();
    assert_eq!(refused["code"], "limit_exceeded");
    let model = with(&pair.bystander, json!({ "model_xml": "<mujoco/>", "model_id": "second" }));
    pair.client.tool("load_model", model).unwrap();
    pair.daemon.workers();
}

#[test]
fn limits_that_make_no_sense_are_refused_by_name() {
    let daemon = Setup::toy(&programs!()).serve();
    let mut client = daemon.client();
    for (limits, named) in [
        (json!({ "memory_bytes": 1000 }), "`limits.memory_bytes` must be at least"),
        (json!({ "cpu_ratio": 0 }), "`limits.cpu_ratio` must lie between 0.05"),
        (json!({ "step_rate": -5 }), "`limits.step_rate` must lie between 1"),
        (json!({ "models": 17 }), "`limits.models` must lie between 1 and 16"),
        (json!({ "walls": 4 }), "unknown field `walls`"),
    ] {
        let refused = client.tool("create_session", json!({ "limits": limits })).unwrap_err();
        assert_eq!(refused["code"], "invalid_argument", "{refused}");
        assert!(refused["message"].as_str().unwrap().contains(named), "{refused}");
    }
    let shared = json!({ "isolation": "shared", "limits": { "cpu_ratio": 0.5 } });
    assert_eq!(client.tool("create_session", shared).unwrap_err()["code"], "invalid_argument");
}

#[test]
fn what_the_operator_allows_is_the_most_there_is() {
    let daemon = Setup::toy(&programs!())
        .set("sessions.limits.memory_bytes", "100000000")
        .set("sessions.limits.step_rate", "1000")
        .serve();
    let mut client = daemon.client();
    let asked = json!({ "limits": { "memory_bytes": 500_000_000, "step_rate": 50 } });
    let limits = client.tool("create_session", asked).unwrap()["limits"].clone();
    assert_eq!(
        (&limits["memory_bytes"], &limits["step_rate"]),
        (&json!(100_000_000), &json!(50.0))
    );
}

#[test]
fn a_machine_without_room_refuses_new_work_and_keeps_what_it_has() {
    // Whatever this machine has is too little.
    let daemon = Setup::toy(&programs!())
        .set("pool.headroom.memory_full_ratio", "1")
        .set("pool.headroom.memory_tight_ratio", "1")
        .serve();
    let mut client = daemon.client();
    let mut refused = Value::Null;
    wait_until("there is no room", || match client.tool("create_session", json!({})) {
        Ok(_) => false,
        Err(error) => {
            refused = error;
            true
        }
    });
    assert_eq!(refused["code"], "overloaded", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("of its memory"), "{refused}");
    assert!(refused["retry_after_ms"].as_u64().is_some());
    let stats = client.tool("get_process_pool_stats", json!({})).unwrap();
    assert_eq!(stats["room"], "full");
}

#[test]
fn a_machine_that_is_tight_puts_idle_sessions_to_sleep() {
    let mut daemon = Setup::toy(&programs!()).set("pool.headroom.memory_tight_ratio", "1").serve();
    let mut client = daemon.client();
    let session = client.tool("create_session", json!({})).unwrap();
    let here = json!({ "session_id": session["session_id"] });
    client.tool("load_model", with(&here, json!({ "model_xml": "<mujoco/>" }))).unwrap();
    client.tool("step_simulation", with(&here, json!({ "steps": 7 }))).unwrap();
    wait_until("it sleeps", || daemon.workers().is_empty());
    // Tight is not full: it wakes when it is called.
    let models = client.tool("get_loaded_models", here).unwrap();
    assert_eq!(models["models"][0]["steps_total"], 7);
    daemon.workers();
}
