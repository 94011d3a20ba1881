//! Bad input is refused by name, and the session lives.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::programs;
use simward_tests::wait::wait_until;

/// A session with a pendulum, which every refusal must leave as it is.
struct Ward {
    daemon: Daemon,
    client: HttpClient,
}

impl Ward {
    fn open(setup: Setup) -> Self {
        let daemon = setup.serve();
        let mut client = daemon.client();
        client.tool("create_scene", json!({ "scene": "pendulum" })).unwrap();
        client.tool("step_simulation", json!({ "steps": 3 })).unwrap();
        Self { daemon, client }
    }

    fn refused(&mut self, tool: &str, arguments: Value) -> Value {
        let before = self.state();
        let refused = self.client.tool(tool, arguments.clone());
        let refused = refused.expect_err(&format!("{tool} {arguments}"));
        let message = refused["message"].as_str().unwrap();
        assert!(!message.is_empty(), "{tool} {arguments}");
        assert_eq!(self.state(), before, "{tool} {arguments} changed something");
        refused
    }

    fn state(&mut self) -> Value {
        let state = self.client.tool("get_state", json!({})).unwrap();
        let info = self.client.tool("get_session_info", json!({})).unwrap();
        json!([state, info["pid"], info["restarts"]])
    }
}

fn ward() -> Ward {
    Ward::open(Setup::real(&programs!()))
}

#[test]
fn models_that_do_not_compile_are_refused_with_the_compilers_words() {
    let mut ward = ward();
    for (xml, word) in [
        ("<mujoco><worldbody>", "Line number=1"),
        ("", "XML"),
        ("not xml", "XML"),
        ("<mujoco><worldbody><geom size='x'/></worldbody></mujoco>", "line 1"),
        ("<mujoco>\n<worldbody>\n<foo/></worldbody></mujoco>", "unrecognized element"),
        ("<mujoco>\n<worldbody>\n<foo/></worldbody></mujoco>", "line 3"),
        ("<mujoco><size memory='100T'/></mujoco>", "memory"),
        ("<mujoco><option timestep='0'/></mujoco>", "`option timestep`"),
        ("<mujoco><option timestep='-1'/></mujoco>", "`option timestep`"),
        ("<mujoco><option timestep='1e300'/></mujoco>", "`option timestep`"),
        ("<mujoco><extension><plugin plugin='no.such'/></extension></mujoco>", "no.such"),
    ] {
        let refused = ward.refused("load_model", json!({ "model_xml": xml, "model_id": "x" }));
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(word), "{xml}: {message}");
    }
}

#[test]
fn files_of_the_host_are_out_of_reach() {
    let mut ward = ward();
    for (xml, word) in [
        ("<mujoco><include file='/etc/passwd'/></mujoco>", "is absolute"),
        ("<mujoco><include file='../../etc/passwd'/></mujoco>", "contains `..`"),
        ("<mujoco><compiler meshdir='/etc'/></mujoco>", "is absolute"),
        ("<mujoco><asset><mesh file='..\\x.stl'/></asset></mujoco>", "contains `..`"),
        ("<mujoco><asset><mesh file='/dev/stdin'/></asset></mujoco>", "is absolute"),
        ("<mujoco><asset><mesh file='proc/self/fd/0'/></asset></mujoco>", "not sent along"),
    ] {
        let refused = ward.refused("load_model", json!({ "model_xml": xml, "model_id": "x" }));
        assert_eq!(refused["code"], "model_invalid");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(word), "{xml}: {message}");
    }
    let assets = json!({ "../x.stl": "" });
    let refused = ward.refused("load_model", json!({ "model_xml": "<mujoco/>", "assets": assets }));
    assert!(refused["message"].as_str().unwrap().contains("contains `..`"));
    let assets = json!({ "x.stl": "not base64!" });
    let refused = ward.refused("load_model", json!({ "model_xml": "<mujoco/>", "assets": assets }));
    assert!(refused["message"].as_str().unwrap().contains("`x.stl` is neither base64"));
}

#[test]
fn bombs_go_off_in_a_process_of_their_own() {
    let setup = Setup::real(&programs!())
        .set("compile.timeout_secs", "3")
        .set("compile.memory_bytes", "1073741824");
    let mut ward = Ward::open(setup);
    wait_until("the compiler is gone", || ward.daemon.workers().len() == 1);
    let workers = ward.daemon.workers();
    let replicate = "<mujoco><worldbody><replicate count='100000000'><geom size='.1'/></replicate>\
                     </worldbody></mujoco>";
    let hfield = "<mujoco><asset><hfield name='h' nrow='46341' ncol='46341' size='1 1 1 1'/></asset>\
                  </mujoco>";
    let mut codes = BTreeSet::new();
    for xml in [replicate, hfield] {
        let refused = ward.refused("load_model", json!({ "model_xml": xml, "model_id": "x" }));
        codes.insert(refused["code"].as_str().unwrap().to_owned());
    }
    for code in &codes {
        assert!(code.starts_with("compile_"), "{codes:?}");
    }
    wait_until("the compilers are gone", || ward.daemon.workers() == workers);
}

#[test]
fn an_engine_error_is_the_workers_last_word_and_the_clients_refusal() {
    let mut ward = ward();
    let xml = "<mujoco><size memory='2M'/><worldbody><replicate count='1500' offset='0 0 .3'>\
               <body><freejoint/><geom size='.1'/></body></replicate></worldbody></mujoco>";
    ward.client.tool("load_model", json!({ "model_xml": xml, "model_id": "x" })).unwrap();
    let refused = ward.client.tool("step_simulation", json!({ "model_id": "x" })).unwrap_err();
    assert_eq!(refused["code"], "worker_lost");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("the physics engine met a fatal error"), "{message}");
    assert!(message.contains("mj_stackAlloc"), "{message}");
}

#[test]
fn numbers_that_are_none_are_refused() {
    let mut ward = ward();
    for (tool, arguments, code) in [
        ("apply_control", json!({ "control": ["NaN"] }), "not_finite"),
        ("apply_control", json!({ "control": { "torque": "Infinity" } }), "name_unknown"),
        ("apply_control", json!({ "control": [1, 2] }), "wrong_length"),
        ("apply_control", json!({ "control": [] }), "wrong_length"),
        ("apply_control", json!({ "control": null }), "invalid_argument"),
        ("apply_control", json!({ "control": "1" }), "invalid_argument"),
        ("apply_control", json!({}), "invalid_argument"),
        ("step_simulation", json!({ "control": ["-Infinity"] }), "not_finite"),
        ("step_simulation", json!({ "steps": 0 }), "out_of_range"),
        ("step_simulation", json!({ "steps": 1_000_000_000 }), "out_of_range"),
        ("step_simulation", json!({ "steps": -1 }), "invalid_argument"),
        ("step_simulation", json!({ "steps": 1.5 }), "invalid_argument"),
        ("step_simulation", json!({ "include": ["nonsense"] }), "invalid_argument"),
        ("set_joint_positions", json!({ "positions": [1e300] }), "out_of_range"),
        ("set_joint_positions", json!({ "positions": { "hinge\u{0}": 1 } }), "name_unknown"),
        ("set_joint_velocities", json!({ "velocities": ["NaN"] }), "not_finite"),
        ("set_state", json!({ "qpos": [0], "qvel": [0, 0] }), "wrong_length"),
        ("run_simulation", json!({ "duration_secs": -1 }), "out_of_range"),
        ("run_simulation", json!({ "duration_secs": 1, "real_time_factor": 0 }), "out_of_range"),
        ("reset_simulation", json!({ "keyframe": "nowhere" }), "name_unknown"),
        ("get_state", json!({ "model_id": "x" }), "model_unknown"),
        ("get_model_info", json!({ "max_items": 100_000 }), "invalid_argument"),
        ("load_model", json!({ "model_xml": "<mujoco/>", "model_id": "a/b" }), "invalid_argument"),
        ("load_model", json!({ "model_xml": "<mujoco/>", "model_id": "model" }), "model_exists"),
        ("create_scene", json!({ "scene": "moon" }), "scene_unknown"),
        (
            "create_scene",
            json!({ "scene": "pendulum", "parameters": { "x": 1 } }),
            "parameter_unknown",
        ),
        ("create_session", json!({ "idle_timeout_secs": 0 }), "invalid_argument"),
        ("create_session", json!({ "name": "" }), "invalid_argument"),
        ("create_session", json!({ "isolation": "none" }), "invalid_argument"),
        ("create_session", json!({ "nmae": "x" }), "invalid_argument"),
        ("terminate_process", json!({}), "invalid_argument"),
        ("terminate_process", json!({ "pid": 1 }), "process_unknown"),
    ] {
        let refused = ward.refused(tool, arguments.clone());
        assert_eq!(refused["code"], code, "{tool} {arguments}: {refused}");
    }
}

#[test]
fn a_refusal_names_what_would_be_right() {
    let mut ward = ward();
    let refused = ward.refused("apply_control", json!({ "control": { "tork": 1 } }));
    assert!(refused["message"].as_str().unwrap().contains("did you mean"), "{refused}");
    let refused = ward.refused("step_simulation", json!({ "stepps": 1 }));
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("`stepps`") && message.contains("`steps`"), "{message}");
    let refused = ward.refused("apply_control", json!({ "control": [1, 2] }));
    assert!(refused["message"].as_str().unwrap().contains("needs 1 values and got 2"), "{refused}");
}

#[test]
fn a_handle_that_is_unknown_gone_or_guessed_is_the_same_refusal() {
    let mut ward = ward();
    let gone = ward.client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    ward.client.tool("close_session", json!({ "session_id": gone })).unwrap();
    let gone = gone.as_str().unwrap().to_owned();
    let handles =
        [gone, "sim_00000000000000000000000000000000".into(), "x".repeat(5000), String::new()];
    for handle in handles {
        for tool in ["get_state", "step_simulation", "get_session_info", "close_session"] {
            let refused = ward.refused(tool, json!({ "session_id": handle }));
            assert_eq!(refused["code"], "session_unknown");
            assert!(refused["message"].as_str().unwrap().len() < 300);
        }
    }
}

#[test]
fn an_unknown_tool_is_a_protocol_error_and_nothing_else_happens() {
    let mut ward = ward();
    let answer = ward.client.tool_raw("no_such_tool", json!({}));
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["error"]["code"], -32602);
    ward.state();
}

#[test]
fn a_model_that_wants_more_memory_than_a_worker_may_have_ends_that_worker_alone() {
    let setup = Setup::real(&programs!()).set("pool.worker_memory_bytes", "1073741824");
    let mut ward = Ward::open(setup);
    let before = ward.state();
    let hog = ward.client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    // Compiling takes the memory only by name, and so succeeds.
    let xml = "<mujoco><size memory='2G'/><worldbody><geom size='1'/></worldbody></mujoco>";
    let model = json!({ "session_id": hog, "model_xml": xml });
    let refused = ward.client.tool("load_model", model).unwrap_err();
    assert_eq!(refused["code"], "worker_lost", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("memory"), "{refused}");
    assert_eq!(ward.state(), before);
    // Below the limit the same session gets what it wants.
    let model = json!({ "session_id": hog, "model_xml": xml.replace("2G", "200M") });
    ward.client.tool("load_model", model).unwrap();
}
