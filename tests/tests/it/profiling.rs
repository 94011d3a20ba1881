//! Profiles: a planted hot spot is found, phases add up, nothing of the simulation changes, and
//! whoever may not is told what is missing.

mod heap;
mod planted;

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde_json::{Value, json};
use simward_profiler::Missing;
use simward_profiler::talk::News;
use simward_protocol::wire;
use simward_tests::client::{HttpClient, Refused};
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::fake::How;
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};
use tempfile::TempDir;

use crate::auth;

fn daemon() -> (Daemon, HttpClient) {
    let daemon = Setup::real(&programs!()).serve();
    let client = daemon.client();
    (daemon, client)
}

/// A humanoid that is simulated in the background for longer than any test takes.
fn busy(client: &mut HttpClient) -> String {
    let session = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    let scene = json!({ "session_id": session, "scene": "humanoid" });
    client.tool("create_scene", scene).unwrap();
    let run = json!({ "session_id": session, "duration_secs": 80_000 });
    client.tool("run_simulation", run).unwrap();
    session.as_str().unwrap().to_owned()
}

fn start(client: &mut HttpClient, arguments: Value) -> Result<String, Refused> {
    let begun = client.tool("start_profiling", arguments)?;
    Ok(begun["profile_id"].as_str().unwrap().to_owned())
}

/// Starts a `cpu` profile. Where that is not allowed the refusal must say what to change.
fn start_cpu(client: &mut HttpClient, arguments: Value) -> Option<String> {
    match start(client, arguments) {
        Ok(id) => Some(id),
        Err(refused) => {
            assert_eq!(refused["code"], "profiling_not_permitted", "{refused:?}");
            let hint = refused["hint"].as_str().unwrap();
            assert!(names_a_knob(hint), "{hint}");
            None
        }
    }
}

fn names_a_knob(hint: &str) -> bool {
    let knobs = ["sysctl kernel.perf_event", "SystemCallFilter=", "CAP_PERFMON", "CONFIG_PERF"];
    knobs.iter().any(|knob| hint.contains(knob))
}

fn look(client: &mut HttpClient, id: &str, view: &str) -> Value {
    let arguments = json!({ "profile_id": id, "view": view, "max_items": 500 });
    client.tool("get_profile_results", arguments).unwrap()
}

fn ended(client: &mut HttpClient, id: &str, view: &str) -> Value {
    wait_for("the profile ends", || {
        Some(look(client, id, view)).filter(|report| report["state"] != "running")
    })
}

/// Waits until a profile has seen something.
fn sees(client: &mut HttpClient, id: &str) {
    wait_for("the profile sees something", || {
        (look(client, id, "top")["seen"].as_u64().unwrap() > 0).then_some(())
    });
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_busy_simulation_is_found_in_its_step_function_in_every_view() {
    let (_daemon, mut client) = daemon();
    let session = busy(&mut client);
    let ask = json!({ "session_id": session, "duration_secs": 2, "frequency_hz": 499 });
    let Some(id) = start_cpu(&mut client, ask) else { return };
    let top = ended(&mut client, &id, "top");
    assert_eq!((&top["state"], &top["session_id"]), (&json!("done"), &json!(session)));
    assert!(50.0 < number(&top["seen"]), "{top}");
    let rows = top["cpu"]["functions"].as_array().unwrap();
    let step = rows.iter().find(|row| row["name"] == "mj_step").unwrap();
    assert!(0.95 <= number(&step["total_ratio"]), "{step} of {}", top["cpu"]);
    let cut = number(&top["cpu"]["stacks_cut"]);
    assert!(cut <= 0.05 * number(&top["seen"]), "{cut} stacks were cut");
    let tree = look(&mut client, &id, "tree");
    let nodes = tree["cpu"]["tree"].as_array().unwrap();
    assert!(nodes.iter().any(|node| node["name"] == "mj_step"), "{tree}");
    assert!(nodes.iter().all(|node| 0.05 <= number(&node["total_ratio"])));
    for (view, within) in
        [("folded", ";mj_step;"), ("flamegraph", "<svg"), ("speedscope", "speedscope.app")]
    {
        let told = look(&mut client, &id, view);
        let uri = told["cpu"]["uri"].as_str().unwrap();
        let read = client.ask("resources/read", Some(uri), json!({ "uri": uri }));
        let text = read["result"]["contents"][0]["text"].as_str().unwrap();
        assert!(text.contains(within) && text.contains("mj_step"), "{view}");
    }
    let uri = look(&mut client, &id, "pprof")["cpu"]["uri"].as_str().unwrap().to_owned();
    let read = client.ask("resources/read", Some(&uri), json!({ "uri": uri }));
    assert!(read["result"]["contents"][0]["blob"].is_string(), "{read}");
}

#[test]
fn phases_add_up_to_the_step_and_name_the_heaviest() {
    let (_daemon, mut client) = daemon();
    let session = busy(&mut client);
    let ask = json!({ "session_id": session, "kind": "phases", "duration_secs": 1.5 });
    let id = start(&mut client, ask).unwrap();
    let report = ended(&mut client, &id, "top");
    assert_eq!(report["state"], "done", "{report}");
    let model = &report["phases"]["models"][0];
    let (steps, micros) = (number(&model["steps"]), number(&model["step_micros"]));
    assert!(10.0 < steps, "{model}");
    let within = steps * micros / 1e6 / number(&report["phases"]["timed_secs"]);
    assert!(0.05 < within && within < 1.05, "steps take {within} of the time");
    let phases = model["phases"].as_array().unwrap();
    let own: f64 = phases.iter().map(|phase| number(&phase["self_ratio"])).sum();
    assert!((own - 1.0).abs() < 0.02, "{own}: {model}");
    let heaviest = |one: &&Value, other: &&Value| {
        number(&one["self_ratio"]).total_cmp(&number(&other["self_ratio"]))
    };
    let heaviest = phases.iter().max_by(heaviest).unwrap();
    assert_eq!(model["heaviest_phase"], heaviest["phase"]);
    assert!(0.1 < number(&heaviest["self_ratio"]), "{model}");
}

#[test]
fn a_profiled_simulation_comes_to_the_same_states_to_the_last_bit() {
    let (_daemon, mut client) = daemon();
    let mut session = || {
        let id = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
        client.tool("create_scene", json!({ "session_id": id, "scene": "humanoid" })).unwrap();
        id
    };
    let (profiled, alone) = (session(), session());
    let step = |client: &mut HttpClient, session: &Value| {
        let include = ["qpos", "qvel", "qacc", "ctrl"];
        let ask = json!({ "session_id": session, "steps": 40, "include": include });
        client.tool("step_simulation", ask).unwrap()["state"].clone()
    };
    for kind in ["phases", "cpu"] {
        let ask = json!({ "session_id": profiled, "kind": kind, "duration_secs": 2 });
        let id = match kind {
            "cpu" => start_cpu(&mut client, ask),
            _ => start(&mut client, ask).ok(),
        };
        let Some(id) = id else { continue };
        loop {
            let (one, other) = (step(&mut client, &profiled), step(&mut client, &alone));
            assert_eq!(one, other, "{kind}");
            if look(&mut client, &id, "top")["state"] != "running" {
                break;
            }
        }
        let report = look(&mut client, &id, "top");
        assert!(0.0 < number(&report["seen"]), "{report}");
        assert_eq!(step(&mut client, &profiled), step(&mut client, &alone), "{kind}");
    }
}

#[test]
fn what_rk4_evaluates_is_counted_once() {
    let (_daemon, mut client) = daemon();
    let session = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    let scene = json!({ "session_id": session, "scene": "planar_arm" });
    client.tool("create_scene", scene).unwrap();
    let run = json!({ "session_id": session, "duration_secs": 80_000 });
    client.tool("run_simulation", run).unwrap();
    let ask = json!({ "session_id": session, "kind": "phases", "duration_secs": 1 });
    let id = start(&mut client, ask).unwrap();
    let report = ended(&mut client, &id, "top");
    let model = &report["phases"]["models"][0];
    assert!(10.0 < number(&model["steps"]), "{model}");
    let phases = model["phases"].as_array().unwrap();
    let own: f64 = phases.iter().map(|phase| number(&phase["self_ratio"])).sum();
    assert!((own - 1.0).abs() < 0.02, "{own}: {model}");
    let of = |name: &str| phases.iter().find(|phase| phase["phase"] == name).unwrap();
    assert!(number(&of("advance")["ratio"]) < number(&of("forward")["ratio"]), "{model}");
}

#[test]
fn steps_before_a_reset_are_told_as_well() {
    let (_daemon, mut client) = daemon();
    let session = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    let scene = json!({ "session_id": session, "scene": "pendulum" });
    client.tool("create_scene", scene).unwrap();
    let ask = json!({ "session_id": session, "kind": "phases", "duration_secs": 2 });
    let id = start(&mut client, ask).unwrap();
    let (mut taken, mut counted) = (0, 0);
    while look(&mut client, &id, "top")["state"] == "running" {
        // Whatever was taken before that look.
        counted = taken;
        let step = json!({ "session_id": session, "steps": 40 });
        client.tool("step_simulation", step).unwrap();
        client.tool("reset_simulation", json!({ "session_id": session })).unwrap();
        taken += 40;
    }
    let report = look(&mut client, &id, "top");
    let steps = number(&report["phases"]["models"][0]["steps"]);
    // The first steps may have been taken before the worker heard of it.
    assert!(80 < counted && f64::from(counted - 40) <= steps, "{counted} steps: {report}");
}

#[test]
fn memory_is_told_exactly_of_models_and_at_both_ends_of_the_process() {
    let (_daemon, mut client) = daemon();
    let session = busy(&mut client);
    let ask = json!({ "session_id": session, "kind": "memory", "duration_secs": 1 });
    let id = start(&mut client, ask).unwrap();
    let memory = ended(&mut client, &id, "top")["memory"].clone();
    let model = &memory["models"][0];
    for sizes in ["model_bytes", "saved_bytes", "data_bytes", "arena_used_max_bytes"] {
        assert!(1000.0 < number(&model[sizes]), "{sizes}: {model}");
    }
    assert!(number(&model["arena_used_max_bytes"]) <= number(&model["arena_bytes"]));
    let amounts = memory["process"].as_array().unwrap();
    let of = |what: &str| amounts.iter().find(|amount| amount["what"] == what).unwrap();
    assert!(number(&of("pss")["begin_bytes"]) <= number(&of("rss")["begin_bytes"]));
    let grown = number(&of("rss")["end_bytes"]) - number(&of("rss")["begin_bytes"]);
    assert_eq!(number(&of("rss")["grown_bytes"]), grown);
    let allocator = memory["allocator"].as_array().unwrap();
    let of = |what: &str| allocator.iter().find(|amount| amount["what"] == what).unwrap();
    let (allocated, mapped) = (&of("allocated")["end_bytes"], &of("mapped")["end_bytes"]);
    assert!(number(&model["data_bytes"]) < number(allocated), "{memory}");
    assert!(number(allocated) <= number(mapped), "{memory}");
    // The arena's address space is no memory.
    assert!(number(&model["arena_bytes"]) > number(&model["arena_used_max_bytes"]));
}

#[test]
fn the_daemon_can_be_profiled_and_takes_no_steps() {
    let (_daemon, mut client) = daemon();
    let ask = json!({ "target": "supervisor", "kind": "phases" });
    assert_eq!(start(&mut client, ask).unwrap_err()["code"], "invalid_argument");
    let ask = json!({ "target": "supervisor", "duration_secs": 1, "frequency_hz": 999 });
    let Some(id) = start_cpu(&mut client, ask) else { return };
    let report = ended(&mut client, &id, "folded");
    assert_eq!(report["state"], "done", "{report}");
    assert_eq!(report["cpu"]["threads_missed"], 0);
}

#[test]
fn a_worker_that_dies_leaves_what_was_seen_of_it() {
    let (_daemon, mut client) = daemon();
    let mut profiles = Vec::new();
    for kind in ["cpu", "phases"] {
        let session = busy(&mut client);
        let ask = json!({ "session_id": session, "kind": kind, "duration_secs": 60 });
        let id = match kind {
            "cpu" => start_cpu(&mut client, ask),
            _ => start(&mut client, ask).ok(),
        };
        profiles.extend(id.map(|id| (session, id)));
    }
    for (session, id) in &profiles {
        sees(&mut client, id);
        let all = client.tool("list_active_processes", json!({})).unwrap();
        let mut all = all["processes"].as_array().unwrap().iter();
        let own = all.find(|process| process["session_id"] == **session).unwrap();
        let pid = i32::try_from(own["pid"].as_i64().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let report = ended(&mut client, id, "top");
        assert_eq!(report["state"], "partial", "{report}");
        assert!(report["partial_because"].is_string(), "{report}");
        assert!(number(&report["seen"]) > 0.0);
    }
}

#[test]
fn no_profile_wakes_a_session() {
    let (_daemon, mut client) = daemon();
    for (kind, duration_secs) in [("memory", 4), ("phases", 60)] {
        let session = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
        let ask = json!({ "session_id": session, "kind": kind, "duration_secs": duration_secs });
        let id = start(&mut client, ask).unwrap();
        wait_until("the session falls asleep", || {
            client.tool("hibernate_session", json!({ "session_id": session })).is_ok()
        });
        let report = wait_for("the profile ends", || {
            let look = client.tool("get_profile_results", json!({ "profile_id": id }));
            Some(look).filter(|look| look.as_ref().map_or(true, |it| it["state"] != "running"))
        });
        match report {
            Ok(report) => assert_eq!(report["state"], "partial", "{report}"),
            // It slept before anything was seen of it.
            Err(refused) => assert_eq!(refused["code"], "worker_lost", "{refused}"),
        }
        let info = client.tool("get_session_info", json!({ "session_id": session })).unwrap();
        assert_eq!(info["state"], "hibernated", "{kind}");
    }
}

#[test]
fn of_models_that_a_worker_boasts_of_nothing_is_kept() {
    let daemon = Setup::rogue(&programs!(), How::BoastsOfModels).serve();
    let mut client = daemon.client();
    let session = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    for kind in ["phases", "memory"] {
        let ask = json!({ "session_id": session, "kind": kind, "duration_secs": 1 });
        let id = start(&mut client, ask).unwrap();
        let report = ended(&mut client, &id, "top");
        assert_eq!((&report["state"], &report[kind]["models"]), (&json!("done"), &json!([])));
    }
}

#[test]
fn however_a_profile_of_phases_ends_the_timers_are_told_to() {
    let daemon = Setup::rogue(&programs!(), How::RefusesLook).serve();
    let mut client = daemon.client();
    let session = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    let ask = json!({ "session_id": session, "kind": "phases", "duration_secs": 60 });
    let id = start(&mut client, ask).unwrap();
    let report = ended(&mut client, &id, "top");
    assert_eq!(report["state"], "partial", "{report}");
    let info = wait_for("it was asked once more", || {
        let info = client.tool("get_session_info", json!({ "session_id": session })).unwrap();
        info["last_ending"].is_string().then_some(info)
    });
    assert!(info.to_string().contains("the timers are off"), "{info}");
}

/// A profiler that ends what it shall sample before it begins: whoever has the id then is another
/// process.
const ENDS_ITS_TARGET: &str = r#"#!/bin/sh
kill -9 "$3"
while kill -0 "$3" 2>/dev/null; do :; done
printf '\001\000\000\000\000' >&0
read -r _
"#;

#[test]
fn whoever_has_a_workers_id_after_it_is_not_profiled_for_it() {
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("profiler");
    std::fs::write(&program, ENDS_ITS_TARGET).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = format!("{:?}", program.display().to_string());
    let daemon = Setup::toy(&programs!()).set("profiling.program", &program).serve();
    let refused = start(&mut daemon.client(), json!({})).unwrap_err();
    assert_eq!(refused["code"], "worker_lost", "{refused}");
}

#[test]
fn nobody_profiles_what_is_not_his_unless_he_runs_the_machine() {
    let folder = TempDir::new().unwrap();
    let (ann, bob) = (auth::add(folder.path(), "ann", &[]), auth::add(folder.path(), "bob", &[]));
    let scopes = ["--scope", "sim:use", "--scope", "pool:admin"];
    let operator = auth::add(folder.path(), "operator", &scopes);
    let daemon = auth::setup(folder.path()).serve();
    let client = |token: &str| daemon.client().with_token(token);
    let session = client(&ann).tool("create_session", json!({})).unwrap()["session_id"].clone();
    let ask = json!({ "session_id": session, "kind": "memory", "duration_secs": 1 });
    let foreign = start(&mut client(&bob), ask.clone()).unwrap_err();
    assert_eq!(foreign["code"], "session_unknown");
    let daemons = start(&mut client(&bob), json!({ "target": "supervisor", "kind": "memory" }));
    assert_eq!(daemons.unwrap_err()["code"], "insufficient_scope");
    let own = start(&mut client(&ann), ask.clone()).unwrap();
    let named = json!({ "profile_id": own });
    let foreign = client(&bob).tool("get_profile_results", named).unwrap_err();
    assert_eq!(foreign["code"], "profile_unknown");
    let never = json!({ "profile_id": "prof_0" });
    let never = client(&bob).tool("get_profile_results", never).unwrap_err();
    let told = |refused: &Refused| refused["message"].as_str().unwrap().to_owned();
    assert_eq!(told(&foreign).replace(&own, "ID"), told(&never).replace("prof_0", "ID"));
    let uri = format!("sim://profiles/{own}.svg");
    let read = client(&bob).ask("resources/read", Some(&uri), json!({ "uri": uri }));
    assert!(read["error"].is_object(), "{read}");
    assert_eq!(ended(&mut client(&ann), &own, "top")["state"], "done");
    let of_operator = start(&mut client(&operator), ask).unwrap();
    assert_eq!(ended(&mut client(&operator), &of_operator, "top")["state"], "done");
    // It belongs to who began it.
    let named = json!({ "profile_id": of_operator });
    let foreign = client(&ann).tool("get_profile_results", named).unwrap_err();
    assert_eq!(foreign["code"], "profile_unknown");
}

#[test]
fn there_are_no_more_profiles_than_there_may_be() {
    let setup = Setup::real(&programs!()).set("profiling.running_per_tenant_max", "1");
    let daemon = setup.set("profiling.running_max", "1").serve();
    let mut client = daemon.client();
    let sessions: Vec<_> = (0..2)
        .map(|_| client.tool("create_session", json!({})).unwrap()["session_id"].clone())
        .collect();
    let ask = |session: &Value| json!({ "session_id": session, "kind": "memory" });
    start(&mut client, ask(&sessions[0])).unwrap();
    let again = start(&mut client, ask(&sessions[0])).unwrap_err();
    assert_eq!(again["code"], "profile_running");
    let other = start(&mut client, ask(&sessions[1])).unwrap_err();
    assert_eq!(other["code"], "tenant_profiles_exhausted");
    for (key, value) in [
        ("duration_secs", json!(301)),
        ("duration_secs", json!(0)),
        ("frequency_hz", json!(1000)),
        ("frequency_hz", json!(0)),
        ("kind", json!("threads")),
    ] {
        let mut ask = json!({ "session_id": sessions[1] });
        ask[key] = value;
        assert_eq!(start(&mut client, ask).unwrap_err()["code"], "invalid_argument", "{key}");
    }
    for (key, value) in [("max_items", json!(0)), ("hot_path_ratio", json!(1.5))] {
        let mut ask = json!({ "profile_id": "prof_0" });
        ask[key] = value;
        let refused = client.tool("get_profile_results", ask).unwrap_err();
        assert_eq!(refused["code"], "invalid_argument", "{key}");
    }
}

#[test]
fn a_daemon_without_its_profiler_says_so() {
    let setup = Setup::real(&programs!()).set("profiling.program", "\"/nowhere/profiler\"");
    let daemon = setup.serve();
    let refused = start(&mut daemon.client(), json!({})).unwrap_err();
    assert_eq!(refused["code"], "profiler_not_installed");
    // Its place is free again.
    let refused = start(&mut daemon.client(), json!({})).unwrap_err();
    assert_eq!(refused["code"], "profiler_not_installed");
}

/// The profiler as a user who may not look into the first process of the machine.
#[test]
fn whoever_may_not_look_into_a_process_is_told_what_is_missing() {
    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("profiler");
    std::fs::copy(env!("CARGO_BIN_EXE_profiler-under-test"), &program).unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new(program);
    command
        .args(["sample", "--pid", "1", "--duration-millis", "0", "--frequency-hz", "99"])
        .stdin(Stdio::from(OwnedFd::from(theirs)));
    if Uid::effective().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut said = Vec::new();
    ours.read_to_end(&mut said).unwrap();
    child.wait().unwrap();
    let news: News = wire::decode(&said[wire::HEADER_BYTES..]).unwrap();
    let News::NotPermitted(missing) = news else { panic!("{news:?}") };
    assert!(names_a_knob(missing.remedy()), "{missing:?}");
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    let paranoid = paranoid.ok().and_then(|text| text.trim().parse::<i64>().ok());
    if paranoid.is_some_and(|paranoid| 2 < paranoid) {
        assert!(matches!(missing, Missing::Paranoid { .. } | Missing::Filter), "{missing:?}");
    }
}

#[test]
fn the_doctor_tells_beforehand_whether_workers_can_be_profiled() {
    let state = TempDir::new().unwrap();
    let programs = programs!();
    let output = Command::new(&programs.supervisor)
        .args(["doctor", "--json", "--state-dir"])
        .arg(state.path())
        .arg("--worker")
        .arg(&programs.worker)
        .output()
        .unwrap();
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut findings = findings.as_array().unwrap().iter();
    let found = findings.find(|finding| finding["what"] == "profiling").unwrap();
    match found["verdict"].as_str().unwrap() {
        "good" => assert!(found.get("remedy").is_none(), "{found}"),
        _ => assert!(names_a_knob(found["remedy"].as_str().unwrap()), "{found}"),
    }
}
