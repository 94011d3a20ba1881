//! A worker cannot get out, and what it says of its layers is true.

mod outside;
mod walls;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simward_tests::daemon::Setup;
use simward_tests::models::root;
use simward_tests::programs;
use simward_worker::jail;

use self::outside::{attempts, users};

const PROFILES: [&str; 3] = ["simulate", "compile", "render"];

/// What a render process may do that the others may not: find files, and make code.
const ALLOWED_IN_RENDER: [&str; 6] = [
    "list the system's libraries",
    "stat a file",
    "map executable memory",
    "map writable and executable memory",
    "make written memory executable",
    "learn who it is",
];

/// What a kernel, or a container around the tests, may refuse to everybody.
const DEPENDS: [&str; 16] = [
    "count events",
    "enter the first process's network",
    "handle page faults",
    "load a bpf program",
    "load a module",
    "load another kernel",
    "open a file by a handle",
    "open a raw packet socket",
    "open a socket of the kernel's ciphers",
    "open a vsock socket",
    "raise a limit",
    "read the kernel's log",
    "set quotas",
    "set up io_uring",
    "take capabilities",
    "use input and output ports",
];

/// What the kernel refuses to an ordinary user.
const PRIVILEGED: [&str; 9] = [
    "enter another process's network",
    "list root's folder",
    "make a device",
    "open a raw internet socket",
    "open the port's network",
    "read the passwords",
    "run a program on its packets",
    "take more priority",
    "watch the whole file system",
];

#[test]
fn without_a_jail_the_ways_out_are_open() {
    let tried = attempts("none", None, &[]);
    assert!(if tried.is_root { 70 } else { 40 } < tried.outcomes.len());
    // Some depend on the kernel's configuration, and some on rights that nobody here has.
    let depends =
        |name: &str| DEPENDS.contains(&name) || (!tried.is_root && PRIVILEGED.contains(&name));
    let closed: Vec<_> =
        tried.outcomes.iter().filter(|each| each.is_refused() && !depends(&each.name)).collect();
    assert!(closed.is_empty(), "{closed:#?}");
    assert!(tried.is_felt);
}

#[test]
fn no_way_out_is_open() {
    for user in users() {
        for profile in PROFILES {
            let tried = attempts(profile, user, &[]);
            let allowed: &[&str] = if profile == "render" { &ALLOWED_IN_RENDER } else { &[] };
            // A limit that a process of an ordinary user does not have, nor claims.
            let threads = tried.claims("thread_limit");
            let (expected, others): (Vec<_>, Vec<_>) = tried
                .outcomes
                .iter()
                .filter(|each| threads || each.name != "start many threads")
                .partition(|each| allowed.contains(&each.name.as_str()));
            assert!(80 < others.len());
            let open: Vec<_> = others.iter().filter(|each| !each.is_refused()).collect();
            assert!(open.is_empty(), "{profile} as {user:?} with {:?}: {open:#?}", tried.layers);
            assert!(!tried.is_felt, "{profile} as {user:?}");
            assert_eq!(expected.len(), allowed.len());
            let shut: Vec<_> = expected.iter().filter(|each| !each.is_escaped()).collect();
            assert!(shut.is_empty(), "{profile} as {user:?} needs {shut:#?}");
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
        // It was root, who may give up even what programs could give it.
        assert_eq!(status(&session, "CapBnd"), "0000000000000000");
    }
    let link = |of: &Value, name: &str| std::fs::read_link(format!("/proc/{of}/{name}"));
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(claims("own_network"), link(&session["pid"], "ns/net").unwrap() != own);
    let roots = ["root", "cwd"].map(|name| link(&session["pid"], name).unwrap());
    assert_eq!(claims("empty_root"), roots[0] != std::path::Path::new("/"));
    if claims("empty_root") {
        assert_eq!(roots[0], roots[1]);
        let inside = std::fs::read_dir(format!("/proc/{}/root/", session["pid"])).unwrap();
        // Where the rest of `/proc` is hidden, it sees the numbers of its own descriptors.
        let names = inside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let named: Vec<_> = names.filter(|name| name.parse::<u32>().is_err()).collect();
        assert!(named.is_empty(), "{roots:?}: {named:?}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", session["pid"])).unwrap();
    let limit = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert_eq!(claims("no_core_dump"), limit("Max core file size").contains(" 1 "));
    assert_eq!(claims("file_size_limit"), limit("Max file size").contains(" 0 "));
    assert_eq!(claims("thread_limit"), limit("Max processes").contains(" 64 "));
}

#[test]
fn a_worker_dies_with_its_parent() {
    // Its socket would tell it as well, so it has none.
    let escapee = env!("CARGO_BIN_EXE_escapee");
    for profile in PROFILES {
        let mut parent = Command::new("sh")
            .args(["-c", &format!("{escapee} linger {profile} </dev/null & wait")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(parent.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "lingers\n", "{profile}");
        let began = Instant::now();
        parent.kill().unwrap();
        parent.wait().unwrap();
        // It would linger for a minute.
        assert_eq!(said.read_line(&mut line).unwrap(), 0);
        assert!(began.elapsed() < Duration::from_secs(30), "{profile} outlived its parent");
    }
}

#[test]
fn every_layer_that_every_kernel_has_is_there() {
    for user in users() {
        for profile in PROFILES {
            let tried = attempts(profile, user, &[]);
            // What no kernel since 5.13 lacks.
            for layer in [
                "closed_descriptors",
                "no_core_dump",
                "descriptor_limit",
                "file_size_limit",
                "no_new_privileges",
                "dies_with_parent",
                "no_capabilities",
                "few_system_calls",
            ] {
                assert!(tried.claims(layer), "{profile} as {user:?} lacks {layer}: {tried:?}");
            }
        }
    }
}

#[test]
fn a_layer_that_is_left_out_is_not_claimed() {
    let all = attempts("simulate", None, &[]);
    for layer in &all.layers {
        let without = attempts("simulate", None, &["--without", layer]);
        assert!(!without.claims(layer), "{layer} is claimed and was left out");
    }
}

#[test]
fn the_documentation_names_every_layer_and_no_other() {
    let text = std::fs::read_to_string(root().join("docs/SECURITY.md")).unwrap();
    let table = text.split("| layer |").nth(1).unwrap().split("\n\n").next().unwrap();
    let documented: Vec<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name))
        .collect();
    let layers: Vec<_> = jail::layers().iter().map(|layer| layer.name).collect();
    assert_eq!(documented, layers);
    assert_eq!(layers.iter().collect::<BTreeSet<_>>().len(), layers.len());
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

#[test]
fn with_every_layer_demanded_that_there_is_all_kinds_of_processes_still_start() {
    let daemon = Setup::real(&programs!()).serve();
    let session = daemon.client().tool("create_session", json!({})).unwrap();
    let layers = session["layers"].to_string();
    drop(daemon);
    let daemon = Setup::real(&programs!()).set("pool.require_layers", &layers).serve();
    let mut client = daemon.client();
    client.tool("create_scene", json!({ "scene": "pendulum" })).unwrap();
    client.tool("render_frame", json!({ "width": 64, "height": 48 })).unwrap();
}
