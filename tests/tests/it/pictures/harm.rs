//! What drawing must not cost, whatever a model says and whatever becomes of a renderer.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup, is_alive};
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};
use tempfile::TempDir;

use super::{PARTS, STAGE, draw, frame, stage, with};

/// The renderers of a daemon.
fn renderers(daemon: &mut Daemon) -> Vec<i32> {
    let is_renderer = |pid: &i32| {
        let line = procfs::process::Process::new(*pid).and_then(|process| process.cmdline());
        line.is_ok_and(|line| line.get(1).is_some_and(|mode| mode == "render"))
    };
    daemon.workers().into_iter().filter(is_renderer).collect()
}

/// The one renderer of a daemon.
fn renderer(daemon: &mut Daemon) -> i32 {
    let [pid] = renderers(daemon)[..] else { panic!("one renderer: {:?}", renderers(daemon)) };
    pid
}

fn worker(client: &mut HttpClient) -> i32 {
    let info = client.tool("get_session_info", json!({})).unwrap();
    i32::try_from(info["pid"].as_i64().unwrap()).unwrap()
}

fn resident_bytes(pid: i32) -> u64 {
    let process = procfs::process::Process::new(pid).unwrap();
    process.status().unwrap().vmrss.unwrap() * 1024
}

fn with_setup(setup: Setup) -> (Daemon, HttpClient) {
    let daemon = setup.serve();
    let mut client = daemon.client();
    client.tool("load_model", json!({ "model_xml": STAGE })).unwrap();
    (daemon, client)
}

#[test]
fn a_worker_s_memory_does_not_know_of_pictures() {
    let (mut daemon, mut client) = stage();
    let pid = worker(&mut client);
    // What any call takes once.
    client.tool("fork_session", json!({})).unwrap();
    let before = resident_bytes(pid);
    for _ in 0..20 {
        frame(&mut client, json!({}));
    }
    draw(&mut client, "record_video", json!({ "duration_secs": 0.5 })).unwrap();
    assert_eq!(worker(&mut client), pid);
    let after = resident_bytes(pid);
    assert!(after.abs_diff(before) < 256 << 10, "{before} and {after} bytes");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    for library in ["libEGL", "libGL", "libLLVM", "swrast", "libstdc++"] {
        assert!(!maps.contains(library), "{library} is in the worker");
    }
    let maps = fs::read_to_string(format!("/proc/{}/maps", renderer(&mut daemon))).unwrap();
    assert!(maps.contains("libEGL"));
}

#[test]
fn a_model_does_not_decide_what_drawing_it_costs() {
    let (mut daemon, mut client) = stage();
    frame(&mut client, json!({ "camera": "front" }));
    let tame = resident_bytes(renderer(&mut daemon));
    let greedy = STAGE.replace(
        "<visual>",
        r#"<visual><global offwidth="100000" offheight="100000"/>
           <quality shadowsize="16384" offsamples="64" numslices="20000" numstacks="20000"
                    numquads="2000"/>"#,
    );
    client.tool("unload_model", json!({})).unwrap();
    client.tool("load_model", json!({ "model_xml": greedy })).unwrap();
    let (about, image) = frame(&mut client, json!({ "camera": "front" }));
    assert_eq!((about["width"].as_u64(), image.width), (Some(640), 640));
    assert!((image.red().0 - 320.0).abs() < 1.0);
    let greedy = resident_bytes(renderer(&mut daemon));
    assert!(greedy < tame + (16 << 20), "{greedy} bytes, and {tame} without greed");
}

#[test]
fn too_many_textures_are_a_refusal_and_no_crash() {
    let (mut daemon, mut client) = stage();
    let mut many = String::new();
    for index in 0..1001 {
        write!(many, r#"<texture name="t{index}" type="2d" builtin="flat" width="1" height="1"/>"#)
            .unwrap();
    }
    let xml = STAGE.replace("<worldbody>", &format!("<asset>{many}</asset><worldbody>"));
    client.tool("unload_model", json!({})).unwrap();
    client.tool("load_model", json!({ "model_xml": xml })).unwrap();
    let refusal = client.tool("render_frame", json!({})).unwrap_err();
    assert_eq!(refusal["code"], "limit_exceeded", "{refusal}");
    assert!(refusal["message"].as_str().unwrap().contains("textures"), "{refusal}");
    wait_until("no renderer is left", || renderers(&mut daemon).is_empty());
    client.tool("step_simulation", json!({})).unwrap();
}

#[test]
fn a_renderer_that_is_killed_takes_nothing_with_it() {
    let (mut daemon, mut client) = stage();
    client.tool("set_state", json!({ "qpos": [0.1], "qvel": [0.5] })).unwrap();
    let (_, image) = frame(&mut client, json!({ "camera": "front" }));
    let state = client.tool("get_state", json!({ "include": PARTS })).unwrap();
    let (simulator, first) = (worker(&mut client), renderer(&mut daemon));
    // While it has nothing to do.
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    wait_until("it is reaped", || !daemon.workers().contains(&first));
    assert!(frame(&mut client, json!({ "camera": "front" })).1.is(&image));
    let second = renderer(&mut daemon);
    assert_ne!(second, first);
    // In the middle of a video.
    let mut other = daemon.client();
    let long = json!({ "duration_secs": 30, "fps": 30, "width": 640, "height": 480 });
    let session = client.tool("get_session_info", json!({})).unwrap()["session_id"].clone();
    let long = with(&json!({ "session_id": session }), long);
    let drawing = std::thread::spawn(move || other.tool("record_video", long).unwrap_err());
    wait_until("it draws", || is_busy(second));
    kill(Pid::from_raw(second), Signal::SIGKILL).unwrap();
    let refusal = drawing.join().unwrap();
    assert_eq!(refusal["code"], "render_crashed", "{refusal}");
    assert!(refusal["message"].as_str().unwrap().contains("SIGKILL"), "{refusal}");
    assert!(refusal["hint"].as_str().unwrap().contains("as it was"), "{refusal}");
    assert_eq!(client.tool("get_state", json!({ "include": PARTS })).unwrap(), state);
    assert_eq!(worker(&mut client), simulator);
    assert!(frame(&mut client, json!({ "camera": "front" })).1.is(&image));
}

/// Whether a process computes: it has taken a tenth of a second since the first look.
fn is_busy(pid: i32) -> bool {
    let ticks = || {
        let stat = procfs::process::Process::new(pid).and_then(|process| process.stat());
        stat.map_or(0, |stat| stat.utime + stat.stime)
    };
    let before = ticks();
    wait_for("the clock goes on", || (before + 10 <= ticks()).then_some(true))
}

#[test]
fn a_renderer_that_takes_too_long_is_ended() {
    let (mut daemon, mut client) =
        with_setup(Setup::real(&programs!()).set("render.timeout_secs", "3"));
    let long = json!({ "duration_secs": 600, "speed": 100, "fps": 60, "quality": "fine",
                       "width": 1024, "height": 768 });
    let state = client.tool("get_state", json!({})).unwrap();
    let refusal = client.tool("record_video", long).unwrap_err();
    assert_eq!(refusal["code"], "render_timeout", "{refusal}");
    assert!(refusal["message"].as_str().unwrap().contains("render.timeout_secs"), "{refusal}");
    wait_until("the renderer is gone", || renderers(&mut daemon).is_empty());
    assert_eq!(client.tool("get_state", json!({})).unwrap(), state);
}

#[test]
fn a_renderer_goes_when_nobody_wants_pictures() {
    let setup = Setup::real(&programs!()).set("render.idle_timeout_secs", "0.3");
    let (mut daemon, mut client) = with_setup(setup);
    for _ in 0..2 {
        frame(&mut client, json!({}));
        wait_until("the renderer is gone", || renderers(&mut daemon).is_empty());
    }
}

#[test]
fn renderers_make_room_for_one_another_and_go_with_their_sessions() {
    let (mut daemon, mut client) =
        with_setup(Setup::real(&programs!()).set("render.concurrent_max", "1"));
    frame(&mut client, json!({}));
    let first = renderer(&mut daemon);
    let session = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    let here = json!({ "session_id": session });
    client.tool("load_model", with(&here, json!({ "model_xml": STAGE }))).unwrap();
    frame(&mut client, here.clone());
    wait_until("the first renderer is gone", || !is_alive(first));
    let second = renderer(&mut daemon);
    // Another model, another renderer.
    let other = STAGE.replace("1 0 0 1", "0 1 0 1");
    let other = json!({ "model_xml": other, "model_id": "green" });
    client.tool("load_model", with(&here, other)).unwrap();
    let (_, image) = frame(&mut client, with(&here, json!({ "model_id": "green" })));
    assert_eq!(image.red().2, 0);
    let third = renderer(&mut daemon);
    assert_ne!(second, third);
    client.tool("close_session", here).unwrap();
    wait_until("the session's renderer is gone", || !is_alive(third));
    // Nobody counts them among the workers.
    let listed = client.tool("list_active_processes", json!({})).unwrap();
    assert_eq!(listed["processes"].as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn who_stops_waiting_ends_the_renderer() {
    let (mut daemon, mut client) = stage();
    frame(&mut client, json!({}));
    let pid = renderer(&mut daemon);
    let mut other = daemon.client();
    let session = client.tool("get_session_info", json!({})).unwrap()["session_id"].clone();
    let long = json!({ "duration_secs": 30, "fps": 30, "session_id": session });
    other.send_tool("record_video", long);
    wait_until("it draws", || is_busy(pid));
    drop(other);
    wait_until("the renderer is gone", || !is_alive(pid));
    frame(&mut client, json!({}));
}

/// A renderer for which a part of the system is hidden.
fn without(folder: &TempDir, environment: &str) -> Setup {
    let renderer = env!("CARGO_BIN_EXE_renderer-under-test");
    let script = folder.path().join("renderer");
    let text = format!("#!/bin/sh\nexec env {environment} '{renderer}' \"$@\"\n");
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    Setup::real(&programs!()).set("render.program", &format!("\"{}\"", script.display()))
}

#[test]
fn without_a_driver_the_refusal_names_the_packages() {
    let folder = TempDir::new().unwrap();
    let (_daemon, mut client) = with_setup(without(&folder, "__EGL_VENDOR_LIBRARY_DIRS=/nowhere"));
    refuses_and_lives(&mut client);
}

fn refuses_and_lives(client: &mut HttpClient) {
    for tool in ["render_frame", "render_depth", "render_strip", "record_video"] {
        let refusal = client.tool(tool, json!({})).unwrap_err();
        assert_eq!(refusal["code"], "graphics_unavailable", "{refusal}");
        let hint = refusal["hint"].as_str().unwrap();
        for package in ["libegl1", "libegl-mesa0", "libgl1-mesa-dri"] {
            assert!(hint.contains(package), "{refusal}");
        }
    }
    client.tool("step_simulation", json!({})).unwrap();
}

#[test]
fn without_a_renderer_the_refusal_says_how_to_build_it() {
    let (_daemon, mut client) =
        with_setup(Setup::real(&programs!()).set("render.program", "\"/nowhere/renderer\""));
    let refusal = client.tool("render_frame", json!({})).unwrap_err();
    assert_eq!(refusal["code"], "graphics_unavailable", "{refusal}");
    assert!(refusal["message"].as_str().unwrap().contains("/nowhere/renderer"));
    assert!(refusal["hint"].as_str().unwrap().contains("simward-renderer"));
    let state: Value = client.tool("get_state", json!({})).unwrap();
    assert_eq!(state["time_secs"], 0.0);
}
