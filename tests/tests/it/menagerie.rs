//! Published robots, in the layout of MuJoCo Menagerie, against the official `mujoco` package: each
//! loads, and after 1000 steps it is where the reference is, to the last bit, and was warned of
//! nothing that the reference does not warn of. Then it is drawn, and watched in the viewer.
//!
//! The other half is `tests/clients/python/menagerie.py`, which loads the same files from their
//! paths.

use std::collections::BTreeSet;
use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::viewer::Viewer;
use simward_tests::{models, programs};

use crate::clients::Client;
use crate::viewer::{assert_is_as_told, link};

fn daemon() -> (Daemon, HttpClient) {
    let menagerie = models::menagerie();
    let daemon = Setup::real(&programs!())
        .args(&["--menagerie-dir", menagerie.to_str().unwrap()])
        .args(&["--models-root", menagerie.to_str().unwrap()])
        .serve();
    let client = daemon.client();
    (daemon, client)
}

#[test]
fn menageries_own_models_are_where_the_reference_is() {
    assert!(4 < compare(|name| !["gym", "rbs", "vip"].contains(&name)));
}

#[test]
fn the_models_of_gymnasium_are_where_the_reference_is() {
    assert_eq!(compare(|name| name == "gym"), 12);
}

#[test]
fn the_models_of_gym_aloha_are_where_the_reference_is() {
    assert_eq!(compare(|name| name == "vip"), 2);
}

#[test]
fn the_models_of_robotblockset_are_where_the_reference_is() {
    assert_eq!(compare(|name| name == "rbs"), 9);
}

/// Compares the models whose names begin so; returns how many there were.
fn compare(is_wanted: impl Fn(&str) -> bool) -> usize {
    let index = models::menagerie_index();
    assert!(20 <= index.len());
    let wanted: Vec<_> =
        index.iter().filter(|(name, _)| is_wanted(name.get(..3).unwrap())).collect();
    let mut args = vec![models::menagerie().display().to_string()];
    args.extend(wanted.iter().map(|(name, _)| name.clone()));
    let reference = Client::Python.run("menagerie.py", &args);
    let (_daemon, mut client) = daemon();
    for (index, (name, entry)) in wanted.iter().enumerate() {
        // By their name, by their path and by their file in turns. The `scene.xml` of these is none.
        let has_scene = !name.starts_with("viperx");
        let loaded = match index % 3 {
            0 if has_scene => {
                client.tool("load_model", json!({ "menagerie": name, "model_id": name }))
            }
            1 => {
                let path = format!("{name}/{entry}");
                client.tool("load_model", json!({ "model_path": path, "model_id": name }))
            }
            _ => {
                let scene = json!({ "name": name, "entry": entry, "model_id": name });
                client.tool("create_menagerie_scene", scene)
            }
        };
        let loaded = loaded.unwrap();
        compare_one(&mut client, name, &loaded, &reference[name]);
        // One without a floor has fallen out of the picture.
        client.tool("reset_simulation", json!({ "model_id": name })).unwrap();
        is_drawn(&mut client, name);
        is_watched(&mut client, name, &loaded);
        client.tool("unload_model", json!({ "model_id": name })).unwrap();
    }
    wanted.len()
}

fn compare_one(client: &mut HttpClient, name: &str, loaded: &Value, reference: &Value) {
    for size in ["nq", "nv", "nu"] {
        assert_eq!(loaded[size], reference[size], "{name}: another {size}");
    }
    for warning in loaded["warnings"].as_array().unwrap() {
        let said = reference["said"].as_str().unwrap();
        let warning = warning.as_str().unwrap();
        assert!(said.contains(warning), "{name}: only we are warned: {warning}; not in {said:?}");
    }
    let step = json!({ "model_id": name, "steps": 1000, "include": ["qpos", "qvel"] });
    let stepped = client.tool("step_simulation", step).unwrap();
    assert_eq!(stepped["steps_done"], 1000, "{name}: {stepped}");
    let warned = stepped["warnings"].as_array().unwrap().iter().map(|warning| {
        let code = warning["code"].as_str().unwrap();
        json!(code.replace('_', ""))
    });
    let mut warned: Vec<_> = warned.collect();
    warned.sort_by_key(Value::to_string);
    assert_eq!(json!(warned), reference["warned"], "{name}");
    for part in ["qpos", "qvel"] {
        let got = stepped["state"][part].as_array().unwrap().iter();
        let got: Vec<_> =
            got.map(|value| format!("{:016x}", value.as_f64().unwrap().to_bits())).collect();
        assert_eq!(json!(got), reference[part], "{name}: {part} after 1000 steps");
    }
}

/// There is something to be seen on its picture.
fn is_drawn(client: &mut HttpClient, name: &str) {
    let call = json!({ "model_id": name, "width": 160, "height": 120 });
    let answer = client.tool_raw("render_frame", call);
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["result"]["isError"], false, "{name}: {answer}");
    let picture =
        STANDARD.decode(answer["result"]["content"][1]["data"].as_str().unwrap()).unwrap();
    let mut reader = png::Decoder::new(Cursor::new(picture)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    let colours: BTreeSet<&[u8]> = pixels.chunks_exact(3).collect();
    assert!(8 < colours.len(), "{name}: a picture of {} colours", colours.len());
}

/// Its viewer has every geom of it, and its poses to the last bit.
fn is_watched(client: &mut HttpClient, name: &str, loaded: &Value) {
    let mut viewer = Viewer::connect(&link(client, false)).unwrap();
    let shape = viewer.next_shape();
    assert_eq!(json!(shape["geoms"].as_array().unwrap().len()), loaded["ngeom"], "{name}");
    assert_is_as_told(&viewer.moment(), client);
}

#[test]
fn the_catalogue_says_what_is_here_and_under_which_licence() {
    let (_daemon, mut client) = daemon();
    let listed = client.tool("list_menagerie_models", json!({})).unwrap();
    let listed = listed["models"].as_array().unwrap();
    // 69 of the catalogue, and those that it does not know.
    let catalogued = listed.iter().filter(|model| !model["category"].is_null());
    assert_eq!(catalogued.count(), 69);
    let of = |name: &str| listed.iter().find(|model| model["name"] == name).unwrap();
    let ur5e = of("universal_robots_ur5e");
    assert_eq!(ur5e["licence"], "BSD-3-Clause");
    assert_eq!((&ur5e["category"], &ur5e["is_present"]), (&json!("arm"), &json!(true)));
    assert_eq!(of("unitree_go2")["is_present"], false);
    assert_eq!(of("gym_ant")["category"], Value::Null);
    let present = json!({ "category": "end_effector", "present_only": true });
    let present = client.tool("list_menagerie_models", present).unwrap();
    let names: Vec<_> =
        present["models"].as_array().unwrap().iter().map(|model| &model["name"]).collect();
    assert_eq!(names, [&json!("robotiq_2f85"), &json!("shadow_hand")]);
    let refused = client.tool("list_menagerie_models", json!({ "category": "cars" })).unwrap_err();
    assert!(refused["message"].as_str().unwrap().contains("quadruped"), "{refused}");
}

#[test]
fn a_model_without_a_scene_gets_a_floor() {
    let (_daemon, mut client) = daemon();
    let bare = client.tool("load_model", json!({ "menagerie": "robotiq_2f85" })).unwrap();
    let scene = json!({ "name": "robotiq_2f85", "model_id": "on_floor" });
    let scene = client.tool("create_menagerie_scene", scene).unwrap();
    let ngeom = |loaded: &Value| loaded["ngeom"].as_u64().unwrap();
    assert_eq!(ngeom(&scene), ngeom(&bare) + 1);
    assert_eq!(scene["nq"], bare["nq"]);
    // One that has a scene, is it already.
    let own = client.tool("create_menagerie_scene", json!({ "name": "shadow_hand" })).unwrap();
    let same = client.tool("load_model", json!({ "menagerie": "shadow_hand" })).unwrap();
    assert_eq!(ngeom(&own), ngeom(&same));
    assert_eq!(same["is_cached"], true);
}

/// Its own floor has gone through, and it has fallen, if ours is not there.
#[test]
fn what_is_put_over_a_floor_does_not_fall_through_it() {
    let folder = tempfile::TempDir::new().unwrap();
    let of = |name: &str| folder.path().join(name);
    std::fs::create_dir(of("ball")).unwrap();
    // A class of its own that touches nothing must not be the floor's.
    let ball = "<mujoco><default><geom contype='0' conaffinity='0'/></default><worldbody>\
                <body pos='0 0 1'><freejoint/><geom size='.1' contype='1' conaffinity='1'/></body>\
                </worldbody></mujoco>";
    std::fs::write(of("ball").join("ball & all.xml"), ball).unwrap();
    let menagerie = folder.path().to_str().unwrap();
    let daemon = Setup::real(&programs!()).args(&["--menagerie-dir", menagerie]).serve();
    let mut client = daemon.client();
    client.tool("create_menagerie_scene", json!({ "name": "ball" })).unwrap();
    let step = json!({ "steps": 2000, "include": ["qpos"] });
    let stepped = client.tool("step_simulation", step).unwrap();
    let height = stepped["state"]["qpos"][2].as_f64().unwrap();
    assert!((height - 0.1).abs() < 2e-3, "it lies at {height} m");
}

#[test]
fn a_menagerie_model_is_validated_without_being_loaded() {
    let (_daemon, mut client) = daemon();
    let valid = client.tool("validate_menagerie_model", json!({ "name": "robotiq_2f85" })).unwrap();
    assert_eq!((&valid["valid"], &valid["error"]), (&json!(true), &Value::Null));
    assert!(1_000_000 < valid["compiled_bytes"].as_u64().unwrap());
    assert_eq!(client.tool("list_sessions", json!({})).unwrap()["sessions"], json!([]));
}

#[test]
fn what_is_not_in_the_menagerie_is_refused_by_its_name() {
    let (_daemon, mut client) = daemon();
    let mut refused = |name: &str| {
        let refused = client.tool("load_model", json!({ "menagerie": name })).unwrap_err();
        (refused["code"].as_str().unwrap().to_owned(), refused["message"].to_string())
    };
    let (code, message) = refused("unitre_go2");
    assert_eq!(code, "menagerie_model_unknown");
    assert!(message.contains("did you mean `unitree_go2`"), "{message}");
    assert_eq!(refused("unitree_go2").0, "menagerie_model_absent");
    for name in ["..", ".", "", "gym_ant/..", "/etc", "gym_ant\0", "INDEX.json"] {
        assert_eq!(refused(name).0, "menagerie_model_unknown", "{name:?}");
    }
    for entry in ["../gym_ant/ant.xml", "LICENSE", "assets", "/etc/passwd"] {
        let call = json!({ "name": "gym_ant", "entry": entry });
        let refused = client.tool("create_menagerie_scene", call).unwrap_err();
        assert_eq!(refused["code"], "menagerie_model_unknown", "{entry}");
        assert!(refused["message"].to_string().contains("ant.xml"), "{refused}");
    }
}

#[test]
fn a_server_without_a_menagerie_says_so() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let refused = client.tool("load_model", json!({ "menagerie": "unitree_go2" })).unwrap_err();
    assert_eq!(refused["code"], "model_files_unavailable");
    let listed = client.tool("list_menagerie_models", json!({ "category": "drone" })).unwrap();
    let listed = listed["models"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|model| model["is_present"] == false));
}
