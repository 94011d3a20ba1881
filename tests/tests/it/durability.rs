//! What was acknowledged outlives the daemon, however that ends; and what is damaged on the disk
//! costs what it belonged to, and nothing else.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use simward_tests::client::{HttpClient, MODERN};
use simward_tests::daemon::{Daemon, Setup, is_alive};
use simward_tests::http::Http;
use simward_tests::wait::wait_until;
use simward_tests::{models, programs};
use tempfile::TempDir;

/// Starts a daemon on a state folder that outlives it.
fn serve(folder: &Path) -> Daemon {
    Setup::real(&programs!()).serve_at(folder)
}

fn create(client: &mut HttpClient, scene: &str) -> Value {
    let session = client.tool("create_session", json!({ "name": scene })).unwrap();
    let here = json!({ "session_id": session["session_id"] });
    client.tool("create_scene", with(&here, json!({ "scene": scene }))).unwrap();
    here
}

fn with(here: &Value, more: Value) -> Value {
    let mut arguments = here.as_object().unwrap().clone();
    arguments.extend(more.as_object().unwrap().clone());
    arguments.into()
}

fn state(client: &mut HttpClient, here: &Value) -> Value {
    client.tool("get_state", with(here, json!({ "include": ["qpos", "qvel", "ctrl"] }))).unwrap()
}

fn end(mut daemon: Daemon, signal: Signal) {
    let workers = daemon.workers();
    daemon.signal(signal);
    daemon.wait();
    wait_until("no process is left", || workers.iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn sessions_outlive_the_daemon_with_everything_they_are() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let folder = TempDir::new().unwrap();
        let daemon = serve(folder.path());
        let mut client = daemon.client();
        let here = create(&mut client, "arm");
        let mut humanoid = models::arguments("humanoid");
        humanoid["session_id"] = here["session_id"].clone();
        humanoid["model_id"] = "robot".into();
        client.tool("load_model", humanoid).unwrap();
        let limits = json!({ "name": "limited", "limits": { "step_rate": 5000, "models": 2 } });
        let limited = client.tool("create_session", limits).unwrap();
        let default = client.tool("create_scene", json!({ "scene": "pendulum" })).unwrap();
        let arm = with(&here, json!({ "model_id": "model" }));
        let robot = with(&here, json!({ "model_id": "robot" }));
        client.tool("step_simulation", with(&arm, json!({ "steps": 77 }))).unwrap();
        client.tool("step_simulation", with(&robot, json!({ "steps": 55 }))).unwrap();
        client.tool("step_simulation", json!({ "steps": 33 })).unwrap();
        let look = |client: &mut HttpClient| {
            let default = client.tool("get_state", json!({})).unwrap();
            [state(client, &arm), state(client, &robot), default]
        };
        let (before, info) = (look(&mut client), sessions(&mut client));
        end(daemon, signal);

        let mut daemon = serve(folder.path());
        let mut client = daemon.client();
        assert!(daemon.workers().is_empty(), "they sleep until somebody calls");
        assert_eq!(sessions(&mut client), info, "{signal}");
        assert_eq!(look(&mut client), before, "{signal}");
        assert_eq!(
            client.tool("get_session_info", json!({})).unwrap()["session_id"],
            default["session_id"]
        );
        let here = json!({ "session_id": limited["session_id"] });
        let again = client.tool("get_session_info", here).unwrap();
        assert_eq!(again["limits"], limited["limits"]);
        daemon.workers();
    }
}

/// Who the sessions are, without what changes by itself.
fn sessions(client: &mut HttpClient) -> Vec<Value> {
    let list = client.tool("list_sessions", json!({})).unwrap();
    let keep = ["session_id", "name", "isolation", "limits", "models_max", "idle_timeout_secs"];
    let of = |session: &Value| keep.iter().map(|key| session[key].clone()).collect();
    list["sessions"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn a_closed_session_does_not_come_back() {
    let folder = TempDir::new().unwrap();
    let daemon = serve(folder.path());
    let mut client = daemon.client();
    let here = create(&mut client, "pendulum");
    client.tool("close_session", here.clone()).unwrap();
    end(daemon, Signal::SIGKILL);
    let daemon = serve(folder.path());
    let refused = daemon.client().tool("get_state", here).unwrap_err();
    assert_eq!(refused["code"], "session_unknown");
    let left = std::fs::read_dir(folder.path().join("store/sessions")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn what_is_damaged_costs_its_session_and_no_other() {
    let folder = TempDir::new().unwrap();
    let daemon = serve(folder.path());
    let mut client = daemon.client();
    let mut session = |steps: u64| {
        let here = create(&mut client, "pendulum");
        client.tool("step_simulation", with(&here, json!({ "steps": steps }))).unwrap();
        (here.clone(), state(&mut client, &here))
    };
    let ((record, _), (checkpoint, _), (cut, _), (whole, before)) =
        (session(1), session(2), session(3), session(4));
    end(daemon, Signal::SIGKILL);
    let place = |here: &Value| {
        folder.path().join("store/sessions").join(here["session_id"].as_str().unwrap())
    };
    std::fs::write(place(&record).join("record"), "simward session 1 00000000\n{}").unwrap();
    std::fs::write(place(&checkpoint).join("0.checkpoint"), vec![0xff; 8192]).unwrap();
    std::fs::write(place(&cut).join("0.checkpoint"), vec![0; 100]).unwrap();

    let mut daemon = serve(folder.path());
    let mut client = daemon.client();
    assert_eq!(state(&mut client, &whole), before);
    let refused = client.tool("get_state", record).unwrap_err();
    assert_eq!(refused["code"], "session_damaged", "{refused}");
    for here in [&checkpoint, &cut] {
        let refused = client.tool("get_state", here.clone()).unwrap_err();
        assert_eq!(refused["code"], "checkpoint_unusable", "{refused}");
        let again = client.tool("get_state", here.clone()).unwrap_err();
        assert_eq!(again["code"], "checkpoint_unusable", "{again}");
        daemon.workers();
        client.tool("close_session", here.clone()).unwrap();
    }
    assert_eq!(state(&mut client, &whole), before);
}

#[test]
fn a_damaged_compiled_model_is_not_loaded() {
    let folder = TempDir::new().unwrap();
    let daemon = serve(folder.path());
    let mut client = daemon.client();
    let here = create(&mut client, "pendulum");
    end(daemon, Signal::SIGKILL);
    for tenant in std::fs::read_dir(folder.path().join("store/models")).unwrap() {
        for model in std::fs::read_dir(tenant.unwrap().path()).unwrap() {
            let path = model.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[1000] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }
    }
    let mut daemon = serve(folder.path());
    let mut client = daemon.client();
    let refused = client.tool("get_state", here).unwrap_err();
    assert_eq!(refused["code"], "checkpoint_unusable", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("checksum"), "{refused}");
    // Loaded anew, it is compiled anew.
    let other = create(&mut client, "pendulum");
    client.tool("step_simulation", other).unwrap();
    daemon.workers();
}

#[test]
fn a_folder_that_cannot_be_written_is_a_refusal_and_no_end() {
    let folder = TempDir::new().unwrap();
    let mut daemon = serve(folder.path());
    let mut client = daemon.client();
    let here = create(&mut client, "pendulum");
    client.tool("step_simulation", here.clone()).unwrap();
    daemon.workers();
    // Root writes into every folder; into something that is none, nobody does.
    let sessions = folder.path().join("store/sessions");
    let aside = folder.path().join("aside");
    std::fs::rename(&sessions, &aside).unwrap();
    std::fs::write(&sessions, "no folder").unwrap();
    let refused = client.tool("create_session", json!({})).unwrap_err();
    assert_eq!(refused["code"], "store_unavailable", "{refused}");
    let scene = with(&here, json!({ "scene": "pendulum", "model_id": "second" }));
    let refused = client.tool("create_scene", scene.clone()).unwrap_err();
    assert_eq!(refused["code"], "store_unavailable", "{refused}");
    let models = client.tool("get_loaded_models", here.clone()).unwrap();
    assert_eq!(models["models"].as_array().unwrap().len(), 1, "nothing was changed");
    client.tool("step_simulation", here).unwrap();
    std::fs::remove_file(&sessions).unwrap();
    std::fs::rename(aside, sessions).unwrap();
    client.tool("create_scene", scene).unwrap();
    daemon.workers();
}

/// Whether this user can have a small disk: a mount that nobody else sees.
fn can_mount() -> bool {
    let tried =
        Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    tried.is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk_is_a_refusal_and_no_end() {
    if !can_mount() {
        // The refusal itself is in the store's own tests.
        return;
    }
    let (folder, scripts) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let script = scripts.path().join("on-a-small-disk");
    let text = format!(
        "#!/bin/sh\nexec unshare -m sh -c 'mount -t tmpfs -o size=2m none {} && exec \"$@\"' sh {} \"$@\"\n",
        folder.path().display(),
        programs!().supervisor.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    // What is measured would take its part of the disk.
    let setup = Setup::real(&programs!()).set("monitoring.history", "false");
    let mut daemon = setup.through(&script).serve_at(folder.path());
    let mut client = daemon.client();
    let here = create(&mut client, "pendulum");
    let steps = with(&here, json!({ "steps": 10 }));
    client.tool("step_simulation", steps.clone()).unwrap();
    // Models that differ, a third of a megabyte each, until no other one fits.
    let model = |number: u32| {
        let xml = format!(
            "<mujoco><size nuser_body='{}'/><worldbody><body><geom size='1'/></body></worldbody></mujoco>",
            20_000 + number
        );
        with(&here, json!({ "model_xml": xml, "model_id": format!("m{number}") }))
    };
    let (full, refused) = (1..16)
        .find_map(|number| Some((number, client.tool("load_model", model(number)).err()?)))
        .expect("the disk is full at last");
    assert_eq!(refused["code"], "store_full", "{refused}");
    let loaded = client.tool("get_loaded_models", here.clone()).unwrap();
    assert_eq!(loaded["models"].as_array().unwrap().len(), usize::try_from(full).unwrap());
    client.tool("step_simulation", with(&steps, json!({ "model_id": "model" }))).unwrap();
    // What is given up makes room.
    client.tool("unload_model", with(&here, json!({ "model_id": "m1" }))).unwrap();
    client.tool("load_model", model(full)).unwrap();
    daemon.workers();
}

/// A session that a client steps on and on.
struct Actor {
    here: Value,
    /// Steps whose acknowledgement has come.
    acknowledged: AtomicU64,
    /// Steps of a call whose answer has not come.
    in_doubt: AtomicU64,
}

impl Actor {
    fn new(here: Value) -> Self {
        Self { here, acknowledged: AtomicU64::new(0), in_doubt: AtomicU64::new(0) }
    }

    /// The session has taken so many steps: those that were acknowledged, or with them those of
    /// the one call that was never answered.
    fn agree(&self, steps: u64) {
        let in_doubt = self.in_doubt.swap(0, SeqCst);
        let least = self.acknowledged.swap(steps, SeqCst);
        assert!(
            steps == least || steps == least + in_doubt,
            "{steps} steps, {least} acknowledged, {in_doubt} in doubt"
        );
    }

    /// Steps until the daemon is gone, and keeps count of what it acknowledged.
    fn act(&self, daemon: std::net::SocketAddr) {
        let Ok(mut http) = Http::connect(daemon) else { return };
        let Some(models) = try_tool(&mut http, "get_loaded_models", &self.here) else { return };
        self.agree(models["structuredContent"]["models"][0]["steps_total"].as_u64().unwrap());
        loop {
            let steps = 1 + self.acknowledged.load(SeqCst) % 5;
            self.in_doubt.store(steps, SeqCst);
            let call = with(&self.here, json!({ "steps": steps }));
            let Some(answer) = try_tool(&mut http, "step_simulation", &call) else { return };
            assert_eq!(answer["isError"], false, "{answer}");
            self.acknowledged.fetch_add(steps, SeqCst);
            self.in_doubt.store(0, SeqCst);
        }
    }
}

/// How often the daemon is killed.
const KILLS: u64 = 100;
const ACTORS: usize = 4;

/// Positions and velocities by step, of a simulation that nobody disturbs.
fn reference(client: &mut HttpClient, steps: u64) -> Vec<Value> {
    let here = create(client, "double_pendulum");
    client.tool("set_joint_positions", with(&here, json!({ "positions": [1.5, -0.5] }))).unwrap();
    let mut states = vec![state(client, &here)["qpos"].clone()];
    for _ in 0..steps {
        let step = with(&here, json!({ "include": ["qpos"] }));
        let stepped = client.tool("step_simulation", step).unwrap();
        states.push(stepped["state"]["qpos"].clone());
    }
    client.tool("close_session", here).unwrap();
    states
}

/// Calls a tool; nothing if the daemon is gone before it answers.
fn try_tool(http: &mut Http, name: &str, arguments: &Value) -> Option<Value> {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "tests", "version": "0" },
    });
    let params = json!({ "name": name, "arguments": arguments, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "tools/call"),
        ("mcp-name", name),
    ];
    let answer = http.ask("POST", "/mcp", &headers, body.to_string().as_bytes()).ok()?;
    let answer: Value = serde_json::from_slice(&answer.body).ok()?;
    Some(answer["result"].clone())
}

#[test]
fn a_daemon_that_is_killed_a_hundred_times_loses_no_acknowledged_step() {
    let folder = TempDir::new().unwrap();
    let daemon = serve(folder.path());
    let mut client = daemon.client();
    let actors: Vec<_> = (0..ACTORS)
        .map(|_| {
            let here = create(&mut client, "double_pendulum");
            let bent = with(&here, json!({ "positions": [1.5, -0.5] }));
            client.tool("set_joint_positions", bent).unwrap();
            Arc::new(Actor::new(here))
        })
        .collect();
    end(daemon, Signal::SIGTERM);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for kill in 0..KILLS {
        let mut daemon = serve(folder.path());
        let address = daemon.address;
        let acting: Vec<_> = actors
            .iter()
            .map(|actor| {
                let actor = Arc::clone(actor);
                std::thread::spawn(move || actor.act(address))
            })
            .collect();
        // At a moment that differs each time, with calls under way.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(kill);
        let actor = &actors[usize::try_from(seed >> 40).unwrap() % ACTORS];
        let goal = actor.acknowledged.load(SeqCst) + seed % 12;
        wait_until("steps were acknowledged", || goal < actor.acknowledged.load(SeqCst));
        spin(Duration::from_micros((seed >> 20) % 3000));
        let workers = daemon.workers();
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        for thread in acting {
            thread.join().unwrap();
        }
        wait_until("no process is left", || workers.iter().all(|pid| !is_alive(*pid)));
        if kill % 25 == 24 {
            check(folder.path(), &actors);
        }
    }
}

fn spin(time: Duration) {
    let begun = std::time::Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Looks where every session is, to the last bit.
fn check(folder: &Path, actors: &[Arc<Actor>]) {
    let daemon = serve(folder);
    let mut client = daemon.client();
    for actor in actors {
        let models = client.tool("get_loaded_models", actor.here.clone()).unwrap();
        actor.agree(models["models"][0]["steps_total"].as_u64().unwrap());
    }
    let furthest = actors.iter().map(|actor| actor.acknowledged.load(SeqCst)).max();
    let expected = reference(&mut client, furthest.unwrap());
    for actor in actors {
        let qpos = state(&mut client, &actor.here)["qpos"].clone();
        let steps = actor.acknowledged.load(SeqCst);
        assert_eq!(qpos, expected[usize::try_from(steps).unwrap()], "at step {steps}");
    }
    end(daemon, Signal::SIGTERM);
}
