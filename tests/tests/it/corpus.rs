//! Hostile models through a real daemon, one after the other, beside a session that must not
//! notice.
//!
//! A model is a file below `tests/hostile`, in the folder of what must become of it: `loads` (and
//! steps), `worker_lost` (when it is loaded or stepped), `compile_bomb` (whichever limit of the
//! compiler it meets first), or else the code of its refusal. Its assets follow in the same file,
//! each after a line `==== PATH`. What would be large is made here.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use simward_protocol::compile::{ASSETS_MAX, Compile};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::models::{self, root};
use simward_tests::programs;
use simward_tests::targets::source;
use simward_tests::wait::wait_until;

/// A model, and what must become of it.
struct Case {
    outcome: String,
    name: String,
    source: Compile,
}

fn committed() -> Vec<Case> {
    let mut cases = Vec::new();
    for folder in std::fs::read_dir(root().join("tests/hostile")).unwrap() {
        let folder = folder.unwrap().path();
        for file in std::fs::read_dir(&folder).unwrap() {
            let file = file.unwrap().path();
            let [outcome, name] =
                [&folder, &file].map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
            cases.push(Case { outcome, name, source: source(&std::fs::read(&file).unwrap()) });
        }
    }
    cases.sort_by(|one, other| (&one.outcome, &one.name).cmp(&(&other.outcome, &other.name)));
    cases
}

fn made() -> Vec<Case> {
    let nested = |depth: usize| format!("{}{}", "<body>".repeat(depth), "</body>".repeat(depth));
    let mut assets = "<mujoco/>".to_owned();
    for number in 0..=ASSETS_MAX {
        write!(assets, "\n==== {number}.stl\n").unwrap();
    }
    let mut small = "<mujoco><size memory='450K'/><worldbody>".to_owned();
    for number in 0..500 {
        write!(small, "<body pos='{number} 0 0'><freejoint/><geom size='.1'/></body>").unwrap();
    }
    small.push_str("</worldbody></mujoco>");
    let world = |inside: &str| format!("<mujoco><worldbody>{inside}</worldbody></mujoco>");
    let cases = [
        ("model_invalid", "nested 600 deep", world(&nested(600))),
        ("model_invalid", "nested 100000 deep", world(&nested(100_000))),
        ("model_invalid", "many attributes", format!("<mujoco {}/>", "a='1' ".repeat(100_000))),
        (
            "model_invalid",
            "an attribute of a MiB",
            format!("<mujoco a='{}'/>", "x".repeat(1 << 20)),
        ),
        ("loads", "a comment of 4 MiB", format!("<!--{}--><mujoco/>", "x".repeat(4 << 20))),
        ("loads", "a name of a MiB", format!("<mujoco model='{}'/>", "x".repeat(1 << 20))),
        ("loads", "3000 geoms", world(&"<geom size='.1'/>".repeat(3000))),
        ("worker_lost", "a stack that is too small", small),
        ("compile_bomb", "100000 bodies", world(&"<body/>".repeat(100_000))),
        ("limit_exceeded", "too many assets", assets),
    ];
    let case = |(outcome, name, text): (&str, &str, String)| Case {
        outcome: outcome.to_owned(),
        name: name.to_owned(),
        source: source(text.as_bytes()),
    };
    cases.into_iter().map(case).collect()
}

/// A session with a humanoid that falls, and where it must be after every step.
struct Bystander {
    session: Value,
    track: std::vec::IntoIter<Value>,
}

impl Bystander {
    fn open(client: &mut HttpClient, steps: usize) -> Self {
        let mut load = || {
            let session = session(client);
            let mut model = models::arguments("humanoid");
            model["session_id"] = session.clone();
            client.tool("load_model", model).unwrap();
            session
        };
        let (reference, session) = (load(), load());
        let track: Vec<_> = (0..steps).map(|_| step(client, &reference)).collect();
        assert_ne!(track[0], track[steps - 1]);
        close(client, &reference);
        Self { session, track: track.into_iter() }
    }

    fn step(&mut self, client: &mut HttpClient, after: &str) {
        let wanted = self.track.next().unwrap();
        assert_eq!(step(client, &self.session), wanted, "the bystander noticed {after}");
    }
}

fn step(client: &mut HttpClient, session: &Value) -> Value {
    let include = ["qpos", "qvel", "qacc"];
    let call = json!({ "session_id": session, "steps": 5, "include": include });
    client.tool("step_simulation", call).unwrap()["state"].take()
}

fn session(client: &mut HttpClient) -> Value {
    client.tool("create_session", json!({})).unwrap()["session_id"].take()
}

fn close(client: &mut HttpClient, session: &Value) {
    client.tool("close_session", json!({ "session_id": session })).unwrap();
}

/// What becomes of a model: `loads`, or the code of the first refusal, with its words.
fn become_of(client: &mut HttpClient, session: &Value, source: &Compile) -> (String, String) {
    let assets = source.assets.iter();
    let assets: Map<_, _> =
        assets.map(|asset| (asset.path.clone(), STANDARD.encode(&asset.content).into())).collect();
    let load = json!({
        "session_id": session, "model_id": "x", "model_xml": source.model_xml, "assets": assets,
    });
    let step = json!({ "session_id": session, "steps": 10, "include": ["qpos", "xpos"] });
    let unload = json!({ "session_id": session, "model_id": "x" });
    let calls = [("load_model", load), ("step_simulation", step), ("unload_model", unload)];
    for (tool, call) in calls {
        if let Err(refused) = client.tool(tool, call) {
            let text = |key: &str| refused[key].as_str().unwrap().to_owned();
            return (text("code"), text("message"));
        }
    }
    ("loads".to_owned(), String::new())
}

fn is_as_wanted(outcome: &str, wanted: &str) -> bool {
    let bombs = ["compile_timeout", "compile_out_of_memory", "compile_crashed"];
    if wanted == "compile_bomb" { bombs.contains(&outcome) } else { outcome == wanted }
}

fn descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

/// Runs some of the models beside a bystander.
fn run(is_wanted: impl Fn(&Case) -> bool) {
    let mut daemon = Setup::real(&programs!())
        .set("compile.timeout_secs", "2")
        .set("compile.memory_bytes", "1073741824")
        .set("pool.worker_memory_bytes", "536870912")
        .serve();
    let mut client = daemon.client();
    let cases: Vec<Case> = committed().into_iter().chain(made()).filter(is_wanted).collect();
    assert!(10 < cases.len());
    let mut bystander = Bystander::open(&mut client, cases.len() + 1);
    bystander.step(&mut client, "nothing");
    let attacker = session(&mut client);
    wait_until("only the two are there", || daemon.workers().len() == 2);
    let (workers, open) = (daemon.workers(), descriptors(&daemon));
    let mut wrong = Vec::new();
    for Case { outcome: wanted, name, source } in &cases {
        // One that is lost too often is not replaced.
        let own = (wanted == "worker_lost").then(|| session(&mut client));
        let (outcome, words) = become_of(&mut client, own.as_ref().unwrap_or(&attacker), source);
        if let Some(own) = own {
            close(&mut client, &own);
        }
        bystander.step(&mut client, name);
        if !is_as_wanted(&outcome, wanted) {
            wrong.push(format!("{wanted}/{name}: {outcome}: {words}"));
        }
        wait_until(&format!("the processes of {name} are gone"), || daemon.workers() == workers);
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), cases.len());
    wait_until("what was opened is closed", || descriptors(&daemon) <= open);
}

#[test]
fn models_that_are_refused_leave_no_trace() {
    run(|case| !["loads", "compile_bomb", "worker_lost"].contains(&case.outcome.as_str()));
}

#[test]
fn models_that_load_harm_nobody_but_themselves() {
    run(|case| ["loads", "worker_lost"].contains(&case.outcome.as_str()));
}

#[test]
fn models_that_overwhelm_the_compiler_end_it_alone() {
    run(|case| case.outcome == "compile_bomb");
}
