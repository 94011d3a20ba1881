//! Watching a session over its port, without a browser.

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::http::Http;
use simward_tests::viewer::{Moment, Seen, Viewer};
use simward_tests::wait::{wait_for, wait_until};
use simward_tests::{models, programs};

/// A box of 2 kg that floats, and nothing that acts on it.
const FLOATING: &str = r#"<mujoco model="floating">
    <option gravity="0 0 0"/>
    <worldbody><body name="box"><freejoint/><geom type="box" size=".1 .1 .1" mass="2"/></body></worldbody>
</mujoco>"#;

fn serve() -> (Daemon, HttpClient) {
    let daemon = Setup::real(&programs!()).serve();
    let client = daemon.client();
    (daemon, client)
}

fn load(client: &mut HttpClient, model_xml: &str) -> Value {
    client.tool("load_model", json!({ "model_xml": model_xml })).unwrap()
}

pub(crate) fn link(client: &mut HttpClient, control: bool) -> String {
    let viewer = client.tool("get_viewer_url", json!({ "control": control })).unwrap();
    assert_eq!(viewer["control"], control);
    viewer["url"].as_str().unwrap().to_owned()
}

fn floats(state: &Value, part: &str) -> Vec<f32> {
    let numbers = state[part].as_array().unwrap().iter();
    #[expect(clippy::cast_possible_truncation, reason = "what a viewer is sent")]
    numbers.map(|number| number.as_f64().unwrap() as f32).collect()
}

/// What MCP says of the same moment.
pub(crate) fn assert_is_as_told(moment: &Moment, client: &mut HttpClient) {
    let include = json!(["qpos", "ctrl", "xpos", "xquat"]);
    let state = client.tool("get_state", json!({ "include": include })).unwrap();
    assert_eq!(moment.time_secs.to_bits(), state["time_secs"].as_f64().unwrap().to_bits());
    assert_eq!(moment.xpos, floats(&state, "xpos"));
    assert_eq!(moment.xquat, floats(&state, "xquat"));
    assert_eq!(moment.positions, floats(&state, "qpos"));
    assert_eq!(moment.controls, floats(&state, "ctrl"));
}

#[test]
fn a_viewer_sees_the_poses_that_the_simulation_has_to_the_last_bit() {
    let (_daemon, mut client) = serve();
    client.tool("load_model", models::arguments("humanoid")).unwrap();
    client.tool("step_simulation", json!({ "steps": 137 })).unwrap();
    let mut viewer = Viewer::connect(&link(&mut client, false)).unwrap();
    let shape = viewer.next_shape();
    let info = client.tool("get_model_info", json!({})).unwrap();
    let names = |list: &Value| -> Vec<Value> {
        list.as_array().unwrap().iter().map(|entry| entry["name"].clone()).collect()
    };
    assert_eq!(shape["bodies"].as_array().unwrap(), &names(&info["bodies"]));
    assert_eq!(names(&shape["joints"]), names(&info["joints"]));
    assert_eq!(names(&shape["actuators"]), names(&info["actuators"]));
    assert_eq!(shape["geoms"].as_array().unwrap().len(), info["model"]["ngeom"]);

    assert_is_as_told(&viewer.moment(), &mut client);
    client.tool("step_simulation", json!({ "steps": 263 })).unwrap();
    let moment = viewer.moment_when(|moment| moment.steps_total == 400);
    assert_is_as_told(&moment, &mut client);
    client.tool("reset_simulation", json!({})).unwrap();
    let moment = viewer.moment_when(|moment| moment.time_secs == 0.0);
    assert_is_as_told(&moment, &mut client);
}

#[test]
fn a_mesh_comes_whole() {
    let (_daemon, mut client) = serve();
    client.tool("load_model", models::arguments("robotiq_2f85")).unwrap();
    let mut viewer = Viewer::connect(&link(&mut client, false)).unwrap();
    let shape = viewer.next_shape();
    let meshes = shape["meshes"].as_array().unwrap();
    assert!(!meshes.is_empty());
    for geom in shape["geoms"].as_array().unwrap().iter().filter(|geom| geom["type"] == "mesh") {
        let mesh = &meshes[usize::try_from(geom["data"].as_u64().unwrap()).unwrap()];
        let count = |part: &str| mesh[part][1].as_u64().unwrap();
        assert!(0 < count("vertices") && 0 < count("normals"), "{mesh}");
        assert_eq!(count("faces"), count("face_normals"));
        assert_eq!(count("faces") % 3, 0);
    }
}

#[test]
fn being_watched_changes_nothing() {
    let (_daemon, mut client) = serve();
    client.tool("load_model", models::arguments("humanoid")).unwrap();
    let twins = client.tool("fork_session", json!({})).unwrap();
    let twin = &twins["sessions"][0]["session_id"];
    let mut viewer = Viewer::connect(&link(&mut client, false)).unwrap();
    let mut step = |steps: u64| {
        for at in [json!({ "steps": steps }), json!({ "steps": steps, "session_id": twin })] {
            client.tool("step_simulation", at).unwrap();
        }
    };
    for round in 1..=5 {
        step(61);
        viewer.moment_when(|moment| moment.steps_total == 61 * round);
    }
    step(1);
    let include = json!(["qpos", "qvel", "qacc", "sensordata"]);
    let watched = client.tool("get_state", json!({ "include": include })).unwrap();
    let alone =
        client.tool("get_state", json!({ "include": include, "session_id": twin })).unwrap();
    assert_eq!(watched, alone);
}

#[test]
fn only_a_link_that_is_still_good_lets_in() {
    let (_daemon, mut client) = serve();
    let loaded = load(&mut client, FLOATING);
    let url = link(&mut client, false);
    let (page, token) = url.split_once("?token=").unwrap();
    for wrong in ["", "?token=", "?token=0123456789abcdef0123456789abcdef"] {
        assert_eq!(Viewer::connect(&format!("{page}{wrong}")).unwrap_err(), 401, "{wrong}");
    }
    // The session's own token is for its other pages, and the link's for the viewer.
    let info = client.tool("get_session_info", json!({})).unwrap();
    let own = info["endpoint_token"].as_str().unwrap();
    assert_eq!(Viewer::connect(&format!("{page}?token={own}")).unwrap_err(), 401);
    let address = info["endpoint"].as_str().unwrap().strip_prefix("http://").unwrap();
    let get = |target: &str, headers: &[(&str, &str)]| {
        let mut http = Http::connect(address.parse().unwrap()).unwrap();
        http.ask("GET", target, headers, b"").unwrap()
    };
    assert_eq!(get(&format!("/state?token={token}"), &[]).status, 401);
    let stream = format!("/viewer/stream?token={token}");
    let elsewhere = [("origin", "http://evil.example"), ("upgrade", "websocket")];
    assert_eq!(get(&stream, &elsewhere).status, 403);
    assert_eq!(get(&stream, &[("host", "evil.example")]).status, 403);
    assert_eq!(get(&stream, &[]).status, 426);
    let page = get(&format!("/viewer?token={token}"), &[]);
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");

    let mut viewer = Viewer::connect(&url).unwrap();
    let Seen::Tell(hello) = viewer.see() else { panic!("no hello") };
    assert_eq!(hello["session_id"], loaded["session_id"]);
    assert_eq!(hello["may_steer"], false);
    viewer.moment();
    let closed = client.tool("close_viewer", json!({})).unwrap();
    assert_eq!(closed["viewers_closed"], 1);
    assert_eq!(u16::from(viewer.closed().0), 4401);
    assert_eq!(Viewer::connect(&url).unwrap_err(), 401);
    let again = link(&mut client, false);
    assert_ne!(again, url);
    Viewer::connect(&again).unwrap().moment();
}

#[test]
fn who_may_only_look_changes_nothing() {
    let (_daemon, mut client) = serve();
    load(&mut client, FLOATING);
    let mut viewer = Viewer::connect(&link(&mut client, false)).unwrap();
    let asks = [
        json!({ "ask": "run" }),
        json!({ "ask": "pause" }),
        json!({ "ask": "step", "steps": 1 }),
        json!({ "ask": "reset" }),
        json!({ "ask": "pull", "body": 1, "at": [0, 0, 0], "to": [1, 0, 0] }),
    ];
    for ask in asks {
        assert_eq!(viewer.order(&ask).unwrap_err(), "this link is for looking only");
    }
    let state = client.tool("get_state", json!({})).unwrap();
    assert_eq!(state["time_secs"], 0.0);
}

#[test]
fn a_slow_viewer_holds_up_nobody() {
    let (_daemon, mut client) = serve();
    client.tool("load_model", models::arguments("humanoid")).unwrap();
    let url = link(&mut client, false);
    // They take what they are sent without asking, and then nothing.
    let mut slow: Vec<_> = (0..10).map(|_| Viewer::connect(&url).unwrap()).collect();
    let mut quick = Viewer::connect(&url).unwrap();
    client.tool("run_simulation", json!({ "duration_secs": 1000.0 })).unwrap();
    let mut steps = 0;
    for _ in 0..30 {
        let moment = quick.moment_when(|moment| steps < moment.steps_total);
        steps = moment.steps_total;
    }
    let ended = client.tool("pause_simulation", json!({})).unwrap();
    assert!(steps <= ended["steps_done"].as_u64().unwrap());
    client.tool("close_viewer", json!({})).unwrap();
    for viewer in &mut slow {
        let mut moments = 0;
        loop {
            match viewer.see() {
                Seen::Moment(_) => moments += 1,
                Seen::Closed(code, _) => break assert_eq!(u16::from(code), 4401),
                _ => (),
            }
        }
        assert!((1..=2).contains(&moments), "{moments} frames are piled up for a viewer");
    }
}

#[test]
fn there_are_so_many_viewers_and_no_more() {
    let (_daemon, mut client) = serve();
    load(&mut client, FLOATING);
    let url = link(&mut client, false);
    let mut seated: Vec<_> = (0..16).map(|_| Viewer::connect(&url).unwrap()).collect();
    for viewer in &mut seated {
        viewer.moment();
    }
    let (code, why) = Viewer::connect(&url).unwrap().closed();
    assert_eq!((u16::from(code), why.as_str()), (1013, "too many viewers already"));
    drop(seated);
    wait_until(
        "there is room again",
        || matches!(Viewer::connect(&url).unwrap().see(), Seen::Tell(hello) if hello["tell"] == "hello"),
    );
}

#[test]
fn who_may_steer_runs_pauses_steps_and_resets() {
    let (_daemon, mut client) = serve();
    client.tool("create_scene", json!({ "scene": "pendulum" })).unwrap();
    let mut viewer = Viewer::connect(&link(&mut client, true)).unwrap();
    viewer.order(&json!({ "ask": "run" })).unwrap();
    assert_eq!(viewer.order(&json!({ "ask": "run" })).unwrap_err(), "it runs already");
    let moving = viewer.moment_when(|moment| moment.runs && 0.1 < moment.time_secs);
    viewer.order(&json!({ "ask": "pause" })).unwrap();
    let paused = viewer.moment_when(|moment| !moment.runs);
    // The order may arrive before the next step is taken.
    assert!(0 < moving.steps_total && moving.steps_total <= paused.steps_total);
    // The client is told of the end of the run, as of any other that has ended.
    let ended = client.tool("pause_simulation", json!({})).unwrap();
    assert_eq!(ended["steps_done"], paused.steps_total);

    for steps in [1, 3, 100] {
        let before = viewer_steps(&mut client);
        viewer.order(&json!({ "ask": "step", "steps": steps })).unwrap();
        wait_until("the steps are taken", || viewer_steps(&mut client) == before + steps);
        let same =
            viewer.moment_when(|moment| !moment.runs && moment.steps_total == before + steps);
        assert_is_as_told(&same, &mut client);
    }
    assert!(viewer.order(&json!({ "ask": "step", "steps": 0 })).is_err());
    assert!(viewer.order(&json!({ "ask": "step", "steps": 1_000_000 })).is_err());

    // What was acknowledged is not lost with the process.
    viewer.order(&json!({ "ask": "reset" })).unwrap();
    let info = client.tool("get_session_info", json!({})).unwrap();
    let pid = i32::try_from(info["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
    let state = wait_for("a new worker", || client.tool("get_state", json!({})).ok());
    assert_eq!(state["time_secs"], 0.0);
    // The link is as good in the next process.
    let mut viewer = Viewer::connect(&link(&mut client, true)).unwrap();
    assert_eq!(viewer.moment().time_secs, 0.0);
}

fn viewer_steps(client: &mut HttpClient) -> u64 {
    let info = client.tool("get_model_info", json!({})).unwrap();
    info["model"]["steps_total"].as_u64().unwrap()
}

#[test]
fn a_hand_pulls_as_long_as_it_is_there_and_leaves_nothing_behind() {
    let (_daemon, mut client) = serve();
    load(&mut client, FLOATING);
    let mut viewer = Viewer::connect(&link(&mut client, true)).unwrap();
    viewer.order(&json!({ "ask": "run" })).unwrap();
    let pull = json!({ "ask": "pull", "body": 1, "at": [0, 0, 0], "to": [1, 0, 0] });
    // The spring is damped just so that the body comes to rest where the hand is.
    loop {
        viewer.ask(&pull);
        let moment = viewer.moment();
        let [x, y, z] = moment.xpos[3..6] else { unreachable!() };
        assert!(x < 1.01 && y.abs() < 1e-6 && z.abs() < 1e-6, "{x} {y} {z}");
        if 0.9 < x {
            break;
        }
    }
    viewer.ask(&json!({ "ask": "let_go" }));
    viewer.order(&json!({ "ask": "pause" })).unwrap();
    // Nothing acts on it any more: it goes on as it goes.
    let velocity = |client: &mut HttpClient| {
        client.tool("step_simulation", json!({ "steps": 1, "include": ["qvel"] })).unwrap()
    };
    let (one, other) = (velocity(&mut client), velocity(&mut client));
    assert_eq!(one["state"]["qvel"], other["state"]["qvel"]);
    assert!(0.0 < one["state"]["qvel"][0].as_f64().unwrap());
    let nonsense = json!({ "ask": "pull", "body": 1, "at": [0, 0, 0], "to": [1e300, 0, 0] });
    assert_eq!(viewer.order(&nonsense).unwrap_err(), "a number makes no sense");
    viewer.ask(&json!({ "ask": "dance" }));
    loop {
        if let Seen::Tell(tell) = viewer.see() {
            assert_eq!((&tell["tell"], &tell["ask"]), (&json!("refused"), &json!("?")));
            break;
        }
    }
}

#[test]
fn a_viewer_sees_another_model_by_the_same_name() {
    let (_daemon, mut client) = serve();
    let loaded = load(&mut client, FLOATING);
    let url = link(&mut client, false);
    let mut viewer = Viewer::connect(&url).unwrap();
    assert_eq!(viewer.next_shape()["bodies"], json!(["world", "box"]));
    viewer.moment();
    let model_id = &loaded["model_id"];
    client.tool("unload_model", json!({ "model_id": model_id })).unwrap();
    let (code, _) = viewer.closed();
    assert_eq!(u16::from(code), 4404);
    let other = FLOATING.replace("\"box\"><", "\"cube\"><");
    client.tool("load_model", json!({ "model_id": model_id, "model_xml": other })).unwrap();
    let mut viewer = Viewer::connect(&url).unwrap();
    assert_eq!(viewer.next_shape()["bodies"], json!(["world", "cube"]));
    let wrong = json!({ "model_id": "nothing" });
    assert_eq!(client.tool("get_viewer_url", wrong).unwrap_err()["code"], "model_unknown");
}
