//! Sources of models: what is given back, and what becomes of a model that is edited, by what it
//! does and by what outlives a process.

mod harm;

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::{models, programs};

use crate::clients::Client;

fn daemon() -> (Daemon, HttpClient) {
    let daemon = Setup::real(&programs!()).serve();
    let client = daemon.client();
    (daemon, client)
}

/// The gripper, as something to be attached to a site.
fn gripper() -> Value {
    let mut attach = models::arguments("robotiq_2f85");
    attach["site"] = json!("attachment_site");
    attach["prefix"] = json!("gripper_");
    json!({ "edits": [{ "attach": attach }] })
}

fn edit(client: &mut HttpClient, edits: Value) -> Value {
    client.tool("edit_model", json!({ "edits": edits })).unwrap()
}

fn refused(client: &mut HttpClient, edits: Value) -> Value {
    client.tool("edit_model", json!({ "edits": edits })).unwrap_err()
}

/// Everything of a state that a step depends on or changes.
fn state(client: &mut HttpClient) -> Value {
    let parts = ["qpos", "qvel", "ctrl", "act", "qacc", "mocap_pos", "mocap_quat"];
    client.tool("get_state", json!({ "include": parts })).unwrap()
}

/// Two bodies on hinges, one of which is driven by two actuators; a ball; a body that is moved by
/// hand; and things that have no name.
const ARM: &str = "<mujoco model='arm'><option timestep='0.001'/><worldbody>\
    <body name='upper'><joint name='shoulder' axis='0 1 0' damping='1'/>\
    <geom name='bone' type='capsule' fromto='0 0 0 0 0 -.3' size='.02' mass='1'/>\
    <body name='lower' pos='0 0 -.3'><joint name='elbow' axis='0 1 0' damping='1'/>\
    <geom type='capsule' fromto='0 0 0 0 0 -.3' size='.02' mass='1'/><site name='tip' pos='0 0 -.3'/>\
    </body></body><body name='ball' pos='1 0 0'><freejoint/><geom size='.05'/></body>\
    <body name='hand' mocap='true' pos='0 1 0'><geom size='.01'/></body></worldbody>\
    <actuator><position name='servo' joint='shoulder' kp='20'/>\
    <general name='slow' joint='elbow' dyntype='filter' dynprm='.1' gainprm='2'/></actuator>\
    <sensor><jointpos name='bent' joint='elbow'/></sensor>\
    <keyframe><key name='up' qpos='.5 .25 1 0 0 1 0 0 0'/></keyframe></mujoco>";

fn arm(client: &mut HttpClient) {
    client.tool("load_model", json!({ "model_xml": ARM })).unwrap();
    let control = json!({ "steps": 100, "control": { "servo": 0.4, "slow": -0.3 } });
    client.tool("step_simulation", control).unwrap();
}

#[test]
fn a_gripper_on_an_arm_is_what_the_official_package_makes_of_it() {
    let names = ["ur5e", "attachment_site", "robotiq_2f85", "gripper_"];
    let official = Client::Python.run("attach.py", &names);
    let (arm, gripper) = (models::arguments("ur5e"), gripper());
    let (_daemon, mut client) = daemon();
    client.tool("load_model", arm).unwrap();
    let edited = client.tool("edit_model", gripper).unwrap();
    for (size, value) in official["sizes"].as_object().unwrap() {
        assert_eq!(edited["model"][size], *value, "{size}");
    }
    assert_eq!(edited["carried"]["joints"], 6);
    let added = edited["added"].as_array().unwrap();
    assert!(added.contains(&json!("body gripper_base")), "{edited}");
    assert_eq!(edited["removed"], json!([]));
    // The options of the gripper are not taken over, and it is said which.
    assert!(edited["warnings"][0].as_str().unwrap().contains("impratio"), "{edited}");
    let info = client.tool("get_model_info", json!({})).unwrap();
    for (list, wanted) in [("joints", "joints"), ("actuators", "actuators")] {
        let names: Vec<_> =
            info[list].as_array().unwrap().iter().map(|item| item["name"].clone()).collect();
        assert_eq!(json!(names), official[wanted]);
    }
    // And it moves likewise, to the last bit.
    client.tool("reset_simulation", json!({ "keyframe": "home" })).unwrap();
    client.tool("step_simulation", json!({ "steps": 200 })).unwrap();
    let state = client.tool("get_state", json!({})).unwrap();
    for part in ["qpos", "qvel"] {
        let bits = |value: &Value| format!("{:016x}", value.as_f64().unwrap().to_bits());
        let got: Vec<_> = state[part].as_array().unwrap().iter().map(bits).collect();
        assert_eq!(json!(got), official[part], "{part}");
    }
}

#[test]
fn what_keeps_its_name_keeps_its_state_to_the_last_bit() {
    let (_daemon, mut client) = daemon();
    arm(&mut client);
    let before = state(&mut client);
    let edited = edit(
        &mut client,
        json!([
            { "add": { "xml": "<body name='new' pos='3 0 0'><joint name='slide' type='slide'/>\
                <geom size='.1'/></body>" } },
            { "add": { "xml": "<geom name='more' type='sphere' size='.03' contype='0'/>", "to": "lower" } },
            { "add": { "xml": "<actuator><motor name='push' joint='slide'/></actuator>" } },
            { "remove": { "kind": "actuator", "name": "servo" } },
            { "remove": { "kind": "sensor", "name": "bent" } }
        ]),
    );
    assert_eq!(
        edited["carried"],
        json!({ "joints": 3, "actuators": 1, "mocap_bodies": 1, "modifications": 0 })
    );
    let added = ["body new", "joint slide", "geom more", "actuator push"];
    assert_eq!(edited["added"], json!(added));
    assert_eq!(edited["removed"], json!(["actuator servo", "sensor bent"]));
    assert_eq!(edited["model"]["steps_total"], 100);
    let after = state(&mut client);
    assert_eq!(after["time_secs"], before["time_secs"]);
    let (old, new) = (before["qpos"].as_array().unwrap(), after["qpos"].as_array().unwrap());
    assert_eq!((&new[..9], &new[9]), (&old[..9], &json!(0.0)));
    let (old, new) = (before["qvel"].as_array().unwrap(), after["qvel"].as_array().unwrap());
    assert_eq!((&new[..8], &new[8]), (&old[..8], &json!(0.0)));
    assert_eq!((&after["ctrl"], &after["act"]), (&json!([-0.3, 0.0]), &before["act"]));
    assert_eq!(after["mocap_pos"], before["mocap_pos"]);
    // The keyframe fits.
    client.tool("reset_simulation", json!({ "keyframe": "up" })).unwrap();
    let up = client.tool("get_joint_positions", json!({ "joints": ["elbow", "slide"] })).unwrap();
    assert_eq!(up["positions"], json!({ "elbow": 0.25, "slide": 0.0 }));
}

#[test]
fn a_keyframe_that_was_added_goes_through_what_comes_after() {
    let (_daemon, mut client) = daemon();
    arm(&mut client);
    client
        .tool(
            "edit_model",
            json!({ "edits": [
                { "add": { "xml": "<keyframe><key name='down' qpos='.1 .2 1 0 0 1 0 0 0'/></keyframe>" } },
                { "add": { "xml": "<body name='new' pos='3 0 0'><joint name='slide' type='slide'/>\
                    <geom size='.1'/></body>" } },
                { "remove": { "kind": "actuator", "name": "servo" } },
                { "remove": { "kind": "joint", "name": "shoulder" } }
            ] }),
        )
        .unwrap();
    for (key, elbow) in [("up", 0.25), ("down", 0.2)] {
        client.tool("reset_simulation", json!({ "keyframe": key })).unwrap();
        let joints = json!({ "joints": ["elbow", "slide"] });
        let there = client.tool("get_joint_positions", joints).unwrap();
        assert_eq!(there["positions"], json!({ "elbow": elbow, "slide": 0.0 }), "{key}");
    }
    let mixed = "<keyframe><key name='third'/></keyframe><sensor><clock/></sensor>";
    let refused = client.tool("edit_model", json!({ "edits": [{ "add": { "xml": mixed } }] }));
    assert!(refused.unwrap_err()["message"].as_str().unwrap().contains("go apart"));
}

#[test]
fn an_edit_that_changes_no_motion_changes_no_bit_of_it() {
    let (_daemon, mut client) = daemon();
    let mut run = |disturb: bool| {
        let id = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
        client.tool("load_model", json!({ "session_id": id, "model_xml": ARM })).unwrap();
        let step = json!({ "session_id": id, "steps": 150, "control": [0.4, -0.3] });
        client.tool("step_simulation", step.clone()).unwrap();
        if disturb {
            let site = json!([{ "add": { "xml": "<site name='mark'/>", "to": "lower" } }]);
            client.tool("edit_model", json!({ "session_id": id, "edits": site })).unwrap();
        }
        client.tool("step_simulation", step).unwrap();
        client.tool("get_state", json!({ "session_id": id })).unwrap()
    };
    assert_eq!(run(true), run(false));
}

/// What comes of an edit is compiled from the document that the engine wrote of the model.
#[test]
fn every_published_model_is_the_same_as_one_document() {
    let menagerie = models::menagerie();
    let folders = ["--models-root", menagerie.to_str().unwrap()];
    let daemon = Setup::real(&programs!()).args(&folders).serve();
    let mut client = daemon.client();
    for (name, entry) in models::menagerie_index() {
        let id = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
        let mut run = |is_edited: bool| {
            let load = json!({ "session_id": id, "model_path": format!("{name}/{entry}") });
            client.tool("load_model", load).unwrap();
            if is_edited {
                let site = json!([{ "add": { "xml": "<site name='simward_mark'/>" } }]);
                let call = json!({ "session_id": id, "edits": site });
                let edited = client.tool("edit_model", call).unwrap();
                assert_eq!(edited["added"], json!(["site simward_mark"]), "{name}");
                assert_eq!(edited["removed"], json!([]), "{name}");
            }
            let step = json!({ "session_id": id, "steps": 100 });
            client.tool("step_simulation", step).unwrap();
            let state = client.tool("get_state", json!({ "session_id": id })).unwrap();
            client.tool("unload_model", json!({ "session_id": id })).unwrap();
            state
        };
        assert_eq!(run(true), run(false), "{name}");
        client.tool("close_session", json!({ "session_id": id })).unwrap();
    }
}

#[test]
fn what_was_modified_stays_so_where_it_is_still_there() {
    let (_daemon, mut client) = daemon();
    arm(&mut client);
    let changes = json!([
        { "field": "gravity", "value": [0, 0, -1.5] },
        { "field": "body_mass", "name": "ball", "value": 7 },
        { "field": "dof_damping", "name": "elbow", "value": 0.5 },
        { "field": "actuator_gainprm", "name": "servo", "component": 0, "value": 33 }
    ]);
    client.tool("modify_model", json!({ "changes": changes })).unwrap();
    let edited = edit(
        &mut client,
        json!([
            { "remove": { "kind": "actuator", "name": "servo" } },
            { "add": { "xml": "<body name='first' pos='9 9 9'><freejoint/><geom size='1'/></body>" } }
        ]),
    );
    assert_eq!(edited["carried"]["modifications"], 3);
    assert_eq!(edited["modifications_reset"], json!(["actuator_gainprm of servo"]));
    let look = json!([
        { "field": "gravity", "component": 2, "value": -2 },
        { "field": "body_mass", "name": "ball", "scale": 1 },
        { "field": "dof_damping", "name": "elbow", "scale": 1 }
    ]);
    let changed =
        client.tool("modify_model", json!({ "changes": look })).unwrap()["changed"].clone();
    let before: Vec<_> = changed
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["before"][0].as_f64().unwrap())
        .collect();
    assert_eq!(before, [-1.5, 7.0, 0.5]);
}

/// What an arm that is loaded from here on does.
fn thousand_steps(client: &mut HttpClient, mut load: Value) -> (Value, Value) {
    let id = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    load["session_id"] = id.clone();
    let mut sizes = client.tool("load_model", load).unwrap();
    for part in ["session_id", "is_cached", "warnings", "compiled_bytes", "model_bytes"] {
        sizes.as_object_mut().unwrap().remove(part);
    }
    let controls: Vec<_> = (0..sizes["nu"].as_u64().unwrap())
        .map(|n| f64::from(u32::try_from(n).unwrap()) * 0.1)
        .collect();
    let step = json!({ "session_id": id, "steps": 1000, "control": controls });
    client.tool("step_simulation", step).unwrap();
    let state = client.tool("get_state", json!({ "session_id": id })).unwrap();
    client.tool("close_session", json!({ "session_id": id })).unwrap();
    (sizes, state)
}

#[test]
fn what_is_exported_loads_as_what_it_was() {
    let arguments: Vec<_> =
        ["robotiq_2f85", "shadow_hand", "humanoid"].map(models::arguments).into_iter().collect();
    let (_daemon, mut client) = daemon();
    for load in arguments {
        client.tool("load_model", load.clone()).unwrap();
        let source = client.tool("export_model_xml", json!({})).unwrap();
        assert_eq!((&source["form"], &source["model_id"]), (&json!("source"), &json!("model")));
        assert_eq!(source["model_xml"], load["model_xml"]);
        let assets = load["assets"].as_object().unwrap();
        assert_eq!(source["assets"].as_array().unwrap().len(), assets.len());
        let flat = client.tool("export_model_xml", json!({ "form": "flattened" })).unwrap();
        assert_ne!(flat["model_xml"], load["model_xml"]);
        let listed = flat["assets"].as_array().unwrap().iter();
        let listed: serde_json::Map<String, Value> = listed
            .map(|asset| {
                let path = asset["path"].as_str().unwrap().to_owned();
                let content = assets[&path].clone();
                let length = content.as_str().unwrap().trim_end_matches('=').len() * 3 / 4;
                assert_eq!(asset["bytes"], json!(length), "{path}");
                (path, content)
            })
            .collect();
        let again = json!({ "model_xml": flat["model_xml"], "assets": listed });
        let original = thousand_steps(&mut client, load);
        assert_eq!(thousand_steps(&mut client, again), original);
        client.tool("unload_model", json!({})).unwrap();
    }
}

#[test]
fn what_came_of_an_edit_is_exported_and_edited_again() {
    let (_daemon, mut client) = daemon();
    arm(&mut client);
    let attach = json!({ "model_xml": ARM, "prefix": "x_", "position": [5, 0, 0] });
    let edited = edit(&mut client, json!([{ "attach": attach }]));
    assert_eq!((&edited["model"]["njnt"], &edited["model"]["nkey"]), (&json!(6), &json!(2)));
    let flat = client.tool("export_model_xml", json!({ "form": "flattened" })).unwrap();
    let source = client.tool("export_model_xml", json!({})).unwrap();
    assert_eq!(source["model_xml"], flat["model_xml"], "it is one document already");
    let load = json!({ "model_xml": source["model_xml"], "model_id": "again" });
    let again = client.tool("load_model", load).unwrap();
    assert_eq!(again["is_cached"], true, "it is the same source");
    let gone = json!([{ "remove": { "kind": "body", "name": "x_upper" } }]);
    let call = json!({ "model_id": "model", "edits": gone });
    let edited = client.tool("edit_model", call).unwrap();
    assert_eq!((&edited["model"]["njnt"], &edited["carried"]["joints"]), (&json!(4), &json!(4)));
    let removed = edited["removed"].as_array().unwrap();
    assert!(removed.contains(&json!("actuator x_servo")), "what acted on it went too: {edited}");
    // The other one is as it was.
    let models = client.tool("get_loaded_models", json!({})).unwrap();
    assert_eq!(models["models"][0]["njnt"], 6);
}

#[test]
fn a_urdf_and_a_model_out_of_files_are_edited_too() {
    let menagerie = models::menagerie();
    let folders = ["--menagerie-dir", menagerie.to_str().unwrap()];
    let daemon = Setup::real(&programs!()).args(&folders).serve();
    let mut client = daemon.client();
    let urdf = "<robot name='r'><link name='base'/><link name='tip'><inertial><mass value='2'/>\
        <inertia ixx='1' iyy='1' izz='1' ixy='0' ixz='0' iyz='0'/></inertial></link>\
        <joint name='j' type='revolute'><parent link='base'/><child link='tip'/><axis xyz='0 0 1'/>\
        <limit lower='-1' upper='1' effort='9' velocity='9'/></joint></robot>";
    client.tool("load_model", json!({ "model_xml": urdf })).unwrap();
    let edited = edit(
        &mut client,
        json!([
            { "add": { "xml": "<site name='end' pos='0 0 1'/>", "to": "tip" } },
            { "attach": { "menagerie": "robotiq_2f85", "site": "end", "prefix": "g_" } },
            { "add": { "xml": "<actuator><motor name='turn' joint='j'/></actuator>" } }
        ]),
    );
    assert_eq!((&edited["model"]["nu"], &edited["carried"]["joints"]), (&json!(2), &json!(1)));
    let source = client.tool("export_model_xml", json!({})).unwrap();
    assert!(source["model_xml"].as_str().unwrap().starts_with("<mujoco"), "{source}");
    assert!(!source["assets"].as_array().unwrap().is_empty());
}
