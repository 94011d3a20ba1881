//! A worker cannot get out, and what it says of its layers is true.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use simward_tests::daemon::Setup;
use simward_tests::programs;

/// Lets the escapee try everything, as root or as an ordinary user.
fn attempts(profile: &str, user: Option<u32>) -> Value {
    let victim = |command: &mut Command| {
        command.arg("60").stdin(Stdio::null()).stdout(Stdio::null());
        as_user(command, user).spawn().unwrap()
    };
    let mut sleeper = victim(&mut Command::new("sleep"));
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("simward-test-{}-{profile}-{user:?}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_escapee"));
    command
        .arg(profile)
        .arg(sleeper.id().to_string())
        .arg(tcp.local_addr().unwrap().port().to_string())
        .arg(&name)
        .current_dir("/");
    let output = as_user(&mut command, user).output().unwrap();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {said}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn as_user(command: &mut Command, user: Option<u32>) -> &mut Command {
    match user {
        Some(user) => command.uid(user).gid(user),
        None => command,
    }
}

/// As whom the tests can try: as themselves, and as nobody if they are root.
fn users() -> Vec<Option<u32>> {
    if nix::unistd::geteuid().is_root() { vec![None, Some(65_534)] } else { vec![None] }
}

#[test]
fn without_a_jail_the_ways_out_are_open() {
    let tried = attempts("none", None);
    let tried = tried["attempts"].as_object().unwrap();
    assert!(5 < tried.len());
    for (name, outcome) in tried {
        assert_eq!(outcome, "ESCAPED", "{name}");
    }
}

#[test]
fn no_way_out_is_open() {
    for user in users() {
        for profile in ["simulate", "compile"] {
            let tried = attempts(profile, user);
            let attempts = tried["attempts"].as_object().unwrap();
            assert!(30 < attempts.len());
            let open: Vec<_> =
                attempts.iter().filter(|(_, outcome)| *outcome == "ESCAPED").collect();
            assert!(open.is_empty(), "{profile} as {user:?} with {}: {open:?}", tried["layers"]);
            // There is no such program; the jail must say no before anybody looks.
            let start = attempts["start a program"].as_str().unwrap();
            assert!(start.contains("not permitted"), "{start}");
        }
    }
}

#[test]
fn what_a_worker_claims_is_what_the_kernel_says() {
    let mut daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let session = client.tool("create_session", json!({})).unwrap();
    let other = client.tool("create_session", json!({})).unwrap();
    daemon.workers();
    let claims =
        |layer: &str| session["layers"].as_array().unwrap().iter().any(|claimed| claimed == layer);
    let status = |session: &Value, key: &str| {
        let text = std::fs::read_to_string(format!("/proc/{}/status", session["pid"])).unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{key}:"))).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(claims("no_new_privileges"), status(&session, "NoNewPrivs") == "1");
    assert_eq!(claims("few_system_calls"), status(&session, "Seccomp") == "2");
    if claims("no_capabilities") {
        assert_eq!(status(&session, "CapEff"), "0000000000000000");
        assert_eq!(status(&session, "CapPrm"), "0000000000000000");
    }
    if claims("own_user") {
        assert_ne!(status(&session, "Uid"), status(&other, "Uid"));
        assert_ne!(status(&session, "Uid"), nix::unistd::geteuid().to_string());
    }
    let world = |pid: &Value| std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(claims("own_network"), world(&session["pid"]) != own);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", session["pid"])).unwrap();
    let limit = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert_eq!(claims("no_core_dump"), limit("Max core file size").contains(" 0 "));
    assert_eq!(claims("file_size_limit"), limit("Max file size").contains(" 0 "));
}

#[test]
fn as_root_every_layer_that_a_new_kernel_has_is_there() {
    let tried = attempts("simulate", None);
    let layers: Vec<_> =
        tried["layers"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
    // What no kernel since 5.13 lacks.
    for layer in ["closed_descriptors", "no_core_dump", "no_new_privileges", "few_system_calls"] {
        assert!(layers.contains(&layer), "{layer} is missing in {layers:?}");
    }
}

#[test]
fn a_daemon_refuses_to_start_without_a_layer_that_it_must_have() {
    let wanted = Setup::real(&programs!()).set("pool.require_layers", "[\"few_system_calls\"]");
    drop(wanted.serve());
    let output = Command::new(programs!().supervisor)
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--set",
            "pool.require_layers=[\"walls_of_lead\"]",
        ])
        .arg("--worker")
        .arg(programs!().worker)
        .arg("--state-dir")
        .arg(tempfile::TempDir::new().unwrap().path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("walls_of_lead"), "{said}");
}
