//! Edits that fail, are interrupted or come at a bad time: the session has the model that it had,
//! or the edited one, and nothing in between.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};
use tempfile::TempDir;

use super::{ARM, arm, daemon, edit, refused, state};

/// An edit that changes the size of everything.
fn grow() -> Value {
    json!([
        { "add": { "xml": "<body name='new'><joint name='slide' type='slide'/><geom size='.1'/></body>",
            "to": "lower" } },
        { "add": { "xml": "<actuator><motor name='push' joint='slide'/></actuator>" } }
    ])
}

fn pid(client: &mut HttpClient) -> Option<Pid> {
    let info = client.tool("get_session_info", json!({})).unwrap();
    Some(Pid::from_raw(i32::try_from(info["pid"].as_i64()?).unwrap()))
}

fn kill_worker(client: &mut HttpClient) {
    let victim = wait_for("the session has a worker", || pid(client));
    kill(victim, Signal::SIGKILL).unwrap();
    wait_until("its end is known", || pid(client) != Some(victim));
}

fn step(client: &mut HttpClient) {
    client.tool("step_simulation", json!({ "steps": 50 })).unwrap();
}

#[test]
fn an_edited_model_comes_back_when_its_worker_is_killed() {
    let (_daemon, mut client) = daemon();
    arm(&mut client);
    edit(&mut client, grow());
    let edited = state(&mut client);
    kill_worker(&mut client);
    assert_eq!(state(&mut client), edited);
    step(&mut client);
    let stepped = state(&mut client);
    kill_worker(&mut client);
    assert_eq!(state(&mut client), stepped);
    // And in copies, and after sleep.
    client.tool("hibernate_session", json!({})).unwrap();
    assert_eq!(state(&mut client), stepped);
    let fork = client.tool("fork_session", json!({})).unwrap();
    let copy = &fork["sessions"][0]["session_id"];
    let edits = json!([{ "remove": { "kind": "joint", "name": "slide" } },
        { "remove": { "kind": "actuator", "name": "push" } }]);
    let call = json!({ "session_id": copy, "edits": edits });
    assert_eq!(client.tool("edit_model", call).unwrap()["model"]["njnt"], 3);
    let source = client.tool("export_model_xml", json!({ "session_id": copy })).unwrap();
    assert!(!source["model_xml"].as_str().unwrap().contains("slide"));
    assert_eq!(state(&mut client), stepped);
}

fn serve(folder: &Path) -> Daemon {
    Setup::real(&programs!()).serve_at(folder)
}

#[test]
fn an_edited_model_and_its_source_outlive_the_daemon() {
    let folder = TempDir::new().unwrap();
    let mut daemon = serve(folder.path());
    let mut client = daemon.client();
    arm(&mut client);
    edit(&mut client, grow());
    step(&mut client);
    let before = state(&mut client);
    let source = client.tool("export_model_xml", json!({})).unwrap();
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    let daemon = serve(folder.path());
    let mut client = daemon.client();
    // The session sleeps, and its source is there nevertheless.
    assert_eq!(client.tool("export_model_xml", json!({})).unwrap(), source);
    assert_eq!(state(&mut client), before);
    edit(&mut client, json!([{ "remove": { "kind": "body", "name": "new" } }]));
    assert_eq!(state(&mut client)["qpos"].as_array().unwrap().len(), 9);
    // Nothing is left of the states of the models before.
    let id = source["session_id"].as_str().unwrap();
    let files = std::fs::read_dir(folder.path().join("store/sessions").join(id)).unwrap();
    let checkpoints = files.filter(|file| {
        let path = file.as_ref().unwrap().path();
        path.extension().is_some_and(|extension| extension == "checkpoint")
    });
    assert_eq!(checkpoints.count(), 1);
}

/// Workers die at moments that differ, before, in and after the replacement.
#[test]
fn a_worker_that_dies_during_an_edit_leaves_one_of_the_two() {
    let setup = Setup::real(&programs!()).set("sessions.restart.losses_max", "1000");
    let daemon = setup.set("sessions.restart.back_off_max_secs", "0.01").serve();
    let mut client = daemon.client();
    arm(&mut client);
    let old = state(&mut client);
    for round in 0..12_u32 {
        let mut other = daemon.client();
        other.send_tool("edit_model", json!({ "edits": grow() }));
        let victim = wait_for("the session has a worker", || pid(&mut client));
        let begun = std::time::Instant::now();
        while begun.elapsed().as_micros() < u128::from(round) * 8_000 {
            std::hint::spin_loop();
        }
        kill(victim, Signal::SIGKILL).unwrap();
        wait_until("its end is known", || pid(&mut client) != Some(victim));
        let now = wait_for("the session is back", || {
            let parts = json!({ "include": ["qpos", "qvel", "ctrl", "act", "qacc", "mocap_pos", "mocap_quat"] });
            client.tool("get_state", parts).ok()
        });
        // The edit may still be on its way; what is there now, or comes, is one of the two.
        let length = now["qpos"].as_array().unwrap().len();
        assert!(length == 9 || length == 10, "{now}");
        if length == 9 {
            assert_eq!(now, old);
        }
        wait_until("it can be edited, or was", || {
            client.tool("edit_model", json!({ "edits": grow() })).is_ok()
                || state(&mut client)["qpos"].as_array().unwrap().len() == 10
        });
        let back = json!([{ "remove": { "kind": "body", "name": "new" } }]);
        wait_until("it is as it was", || {
            client.tool("edit_model", json!({ "edits": back })).ok();
            let now = state(&mut client);
            now["qpos"].as_array().unwrap().len() == 9
        });
        assert_eq!(state(&mut client)["qpos"], old["qpos"]);
    }
}

#[test]
fn an_edit_that_fails_changes_nothing() {
    let (_daemon, mut client) = daemon();
    arm(&mut client);
    let before = state(&mut client);
    let good = json!({ "add": { "xml": "<site name='x'/>", "to": "lower" } });
    for (bad, code, words) in [
        (json!({ "remove": { "kind": "joint", "name": "elbo" } }), "name_unknown", "`elbow`"),
        (json!({ "remove": { "kind": "hinge", "name": "x" } }), "invalid_argument", "edits[1]"),
        (json!({ "remove": { "kind": "joint", "name": "elbow" } }), "model_invalid", "elbow"),
        (json!({ "add": { "xml": "<site/>", "to": "lowr" } }), "name_unknown", "`lower`"),
        (json!({ "add": { "xml": "<geom/></body>" } }), "invalid_argument", "edits[1].add.xml"),
        (json!({ "add": { "xml": "<geom sise='1'/>" } }), "model_invalid", "sise"),
        (
            json!({ "add": { "xml": "<include file='/etc/passwd'/>" } }),
            "invalid_argument",
            "absolute",
        ),
        (json!({ "add": { "xml": "<geom type='mesh' mesh='none'/>" } }), "model_invalid", "none"),
        (json!({ "attach": { "model_xml": ARM } }), "model_invalid", "repeated"),
        (json!({ "attach": { "model_xml": "<mujoco" } }), "model_invalid", "XML"),
        (json!({ "attach": { "model_xml": ARM, "site": "tipp" } }), "name_unknown", "`tip`"),
        (
            json!({ "attach": { "model_xml": ARM, "quaternion": [0, 0, 0, 0] } }),
            "invalid_argument",
            "no length",
        ),
        (json!({ "attach": { "prefix": "x" } }), "invalid_argument", "exactly one"),
        (
            json!({ "attach": { "menagerie": "x", "site": "tip", "body": "y" } }),
            "invalid_argument",
            "both",
        ),
        (json!({}), "invalid_argument", "exactly one of `attach`"),
        (
            json!({ "add": { "xml": "<site/>" }, "remove": { "kind": "a", "name": "b" } }),
            "invalid_argument",
            "edits[1]",
        ),
    ] {
        let refused = refused(&mut client, json!([good, bad]));
        assert_eq!(refused["code"], code, "{bad}: {refused}");
        assert!(refused["message"].as_str().unwrap().contains(words), "{bad}: {refused}");
    }
    let many: Vec<_> = (0..65).map(|_| good.clone()).collect();
    assert_eq!(refused(&mut client, json!(many))["code"], "limit_exceeded");
    assert_eq!(refused(&mut client, json!([]))["code"], "limit_exceeded");
    assert_eq!(state(&mut client), before);
    let source = client.tool("export_model_xml", json!({})).unwrap();
    assert_eq!(source["model_xml"], ARM);
}

/// The checkpoint is there and the worker has the edited model, but the record cannot be written.
#[test]
fn an_edit_that_cannot_be_kept_is_none() {
    let folder = TempDir::new().unwrap();
    let mut daemon = serve(folder.path());
    let mut client = daemon.client();
    arm(&mut client);
    let before = state(&mut client);
    let info = client.tool("get_session_info", json!({})).unwrap();
    let session = folder.path().join("store/sessions").join(info["session_id"].as_str().unwrap());
    let (record, aside) = (session.join("record"), session.join("aside"));
    std::fs::rename(&record, &aside).unwrap();
    std::fs::create_dir_all(record.join("in the way")).unwrap();
    let refusal = refused(&mut client, grow());
    assert_eq!(refusal["code"], "store_unavailable", "{refusal}");
    assert_eq!(state(&mut client), before);
    std::fs::remove_dir_all(&record).unwrap();
    std::fs::rename(&aside, &record).unwrap();
    step(&mut client);
    let stepped = state(&mut client);
    kill_worker(&mut client);
    assert_eq!(state(&mut client), stepped);
    edit(&mut client, grow());
    daemon.workers();
}

#[test]
fn of_two_edits_at_a_time_none_is_lost_unseen() {
    let (daemon, mut client) = daemon();
    arm(&mut client);
    let id = client.tool("get_session_info", json!({})).unwrap()["session_id"].clone();
    let edits: Vec<_> = (0..4)
        .map(|number| {
            let (mut client, id) = (daemon.client(), id.clone());
            std::thread::spawn(move || {
                let name = format!("mark_{number}");
                let site = json!([{ "add": { "xml": format!("<site name='{name}'/>") } }]);
                let edit = client.tool("edit_model", json!({ "session_id": id, "edits": site }));
                edit.map(|_| name)
            })
        })
        .collect();
    let outcomes = edits.into_iter().map(|edit| edit.join().unwrap());
    let (done, refused): (Vec<_>, Vec<_>) = outcomes.partition(Result::is_ok);
    assert!(!done.is_empty());
    let refused = refused.into_iter().map(Result::unwrap_err);
    refused.for_each(|refused| assert_eq!(refused["code"], "model_changed", "{refused}"));
    let info = client.tool("get_model_info", json!({ "session_id": id })).unwrap();
    let sites = info["sites"].as_array().unwrap();
    assert_eq!(sites.len(), 1 + done.len());
    for name in done {
        assert!(sites.contains(&json!(name.unwrap())));
    }
}

#[test]
fn a_client_that_hangs_up_leaves_one_of_the_two() {
    let (daemon, mut client) = daemon();
    arm(&mut client);
    let id = client.tool("get_session_info", json!({})).unwrap()["session_id"].clone();
    let old = state(&mut client);
    for round in 0..8_u32 {
        let mut other = daemon.client();
        other.send_tool("edit_model", json!({ "session_id": id, "edits": grow() }));
        let begun = std::time::Instant::now();
        while begun.elapsed().as_micros() < u128::from(round) * 6_000 {
            std::hint::spin_loop();
        }
        drop(other);
        // Whatever became of it, the next edit meets a whole model.
        let back = json!([{ "remove": { "kind": "body", "name": "new" } }]);
        wait_until("it can be edited", || {
            client.tool("edit_model", json!({ "edits": grow() })).is_ok()
                || state(&mut client)["qpos"].as_array().unwrap().len() == 10
        });
        wait_until("it is as it was", || {
            client.tool("edit_model", json!({ "edits": back })).ok();
            state(&mut client)["qpos"].as_array().unwrap().len() == 9
        });
        assert_eq!(state(&mut client), old);
    }
}

#[test]
fn a_model_that_is_busy_is_not_edited() {
    let (_daemon, mut client) = daemon();
    arm(&mut client);
    let run = json!({ "duration_secs": 10000, "real_time_factor": 1 });
    client.tool("run_simulation", run).unwrap();
    let refusal = refused(&mut client, grow());
    assert_eq!(refusal["code"], "simulation_running", "{refusal}");
    client.tool("pause_simulation", json!({})).unwrap();
    let recording = client.tool("start_recording", json!({ "channels": ["qpos"] })).unwrap();
    let refusal = refused(&mut client, grow());
    assert_eq!(refusal["code"], "model_recorded", "{refusal}");
    step(&mut client);
    let stop = json!({ "recording_id": recording["recording_id"] });
    client.tool("stop_recording", stop).unwrap();
    edit(&mut client, grow());
    // What was recorded of the model before is still there.
    let export = json!({ "recording_id": recording["recording_id"], "format": "csv" });
    client.tool("export_recording", export).unwrap();
    step(&mut client);
}

#[test]
fn a_snapshot_of_the_model_before_does_not_fit_any_more() {
    let (_daemon, mut client) = daemon();
    arm(&mut client);
    let taken = client.tool("get_snapshot", json!({})).unwrap();
    let restore = json!({ "snapshot_id": taken["snapshot_id"] });
    edit(&mut client, grow());
    let refusal = client.tool("restore_snapshot", restore).unwrap_err();
    assert_eq!(refusal["code"], "snapshot_of_another_model");
}

#[test]
fn nobody_gets_what_is_not_his() {
    let (_daemon, mut client) = daemon();
    arm(&mut client);
    let theirs = "sim_00000000000000000000000000000000";
    for (tool, more) in
        [("export_model_xml", json!({})), ("edit_model", json!({ "edits": grow() }))]
    {
        let mut call = more;
        call["session_id"] = json!(theirs);
        assert_eq!(client.tool(tool, call).unwrap_err()["code"], "session_unknown", "{tool}");
    }
    let other = client.tool("export_model_xml", json!({ "model_id": "other" })).unwrap_err();
    assert_eq!(other["code"], "model_unknown");
    let own = client.tool("get_session_info", json!({})).unwrap()["session_id"].clone();
    for uri in [
        format!("sim://{theirs}/model/model.xml"),
        format!("sim://{}/model/other.xml", own.as_str().unwrap()),
    ] {
        let answer = client.ask("resources/read", Some(&uri), json!({ "uri": uri }));
        assert!(answer["error"]["code"].is_i64(), "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("there is no resource"));
    }
}

#[test]
fn the_resource_of_a_model_is_its_source() {
    let (_daemon, mut client) = daemon();
    arm(&mut client);
    let own = client.tool("get_session_info", json!({})).unwrap()["session_id"].clone();
    let uri = format!("sim://{}/model/model.xml", own.as_str().unwrap());
    let read = |client: &mut HttpClient| {
        let answer = client.ask("resources/read", Some(&uri), json!({ "uri": uri }));
        let contents = answer["result"]["contents"][0].clone();
        assert_eq!(
            (&contents["mimeType"], &contents["uri"]),
            (&json!("application/xml"), &json!(uri))
        );
        contents["text"].clone()
    };
    assert_eq!(read(&mut client), json!(ARM));
    edit(&mut client, grow());
    let source = client.tool("export_model_xml", json!({})).unwrap();
    assert_eq!(read(&mut client), source["model_xml"]);
    let load = json!({ "model_xml": read(&mut client), "model_id": "again" });
    assert_eq!(client.tool("load_model", load).unwrap()["njnt"], 4);
    let listed = client.ask("resources/templates/list", None, json!({}));
    let templates = listed["result"]["resourceTemplates"].as_array().unwrap().iter();
    let templates: Vec<_> = templates.map(|it| it["uriTemplate"].clone()).collect();
    assert!(templates.contains(&json!("sim://{session_id}/model/{model_id}.xml")), "{templates:?}");
}

#[test]
fn a_source_that_is_too_long_for_a_reply_is_refused() {
    let (_daemon, mut client) = daemon();
    let comment = "x".repeat(1 << 20);
    let long = format!("<mujoco><!--{comment}--><worldbody><geom size='1'/></worldbody></mujoco>");
    client.tool("load_model", json!({ "model_xml": &long })).unwrap();
    let refusal = client.tool("export_model_xml", json!({})).unwrap_err();
    assert_eq!(refusal["code"], "limit_exceeded", "{refusal}");
    assert!(refusal["hint"].as_str().unwrap().contains("/model/model.xml"), "{refusal}");
    // As a resource, it may be longer.
    let own = client.tool("get_session_info", json!({})).unwrap()["session_id"].clone();
    let uri = format!("sim://{}/model/model.xml", own.as_str().unwrap());
    let answer = client.ask("resources/read", Some(&uri), json!({ "uri": uri }));
    assert_eq!(answer["result"]["contents"][0]["text"], json!(long));
}
