//! The command line.

use std::process::{Command, Output};

use serde_json::{Value, json};
use simward_tests::authority::Authority;
use simward_tests::daemon::Setup;
use simward_tests::programs;

fn simward(args: &[&str]) -> Output {
    Command::new(programs!().supervisor)
        .args(args)
        .env_remove("SIMWARD_STATE_DIR")
        .output()
        .unwrap()
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

#[test]
fn an_operator_looks_at_the_pool_and_ends_a_process() {
    let mut daemon = Setup::toy(&programs!()).serve();
    let session = daemon.client().tool("create_session", json!({ "name": "mine" })).unwrap();
    daemon.workers();
    let state = daemon.state.path().to_str().unwrap().to_owned();
    let pool = |args: &[&str]| {
        let output = simward(&[&["pool", "--state-dir", &state], args].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let table = pool(&["list"]);
    assert!(table.contains("mine") && table.contains(&session["pid"].to_string()), "{table}");
    let listed: Value = serde_json::from_str(&pool(&["list", "--json"])).unwrap();
    assert_eq!(listed["processes"][0]["session_id"], session["session_id"]);
    assert!(pool(&["stats"]).contains("1 of 8192"));
    let stats: Value = serde_json::from_str(&pool(&["stats", "--json"])).unwrap();
    assert_eq!(stats["workers"], 1);
    let restarted: Value = serde_json::from_str(&pool(&[
        "restart",
        session["session_id"].as_str().unwrap(),
        "--json",
    ]))
    .unwrap();
    assert_eq!(restarted["pid_before"], session["pid"]);
    assert_ne!(restarted["pid"], session["pid"]);
    daemon.workers();
    let killed: Value =
        serde_json::from_str(&pool(&["kill", session["session_id"].as_str().unwrap(), "--json"]))
            .unwrap();
    assert_eq!(killed["sessions_closed"], json!([session["session_id"]]));
    let refused = simward(&["pool", "--state-dir", &state, "kill", "sim_nobody"]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("process_unknown"), "{}", text(&refused.stderr));
}

#[test]
fn without_a_daemon_the_pool_says_so() {
    let state = tempfile::TempDir::new().unwrap();
    let refused = simward(&["pool", "--state-dir", state.path().to_str().unwrap(), "stats"]);
    assert!(!refused.status.success());
    assert!(
        text(&refused.stderr).contains("is `simward serve` running"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn the_configuration_in_force_is_printed() {
    let output =
        simward(&["config", "print", "--set", "sessions.max=7", "--port-range", "8100-8200"]);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(printed.contains("max = 7") && printed.contains("range = \"8100-8200\""), "{printed}");
}

#[test]
fn the_environment_is_heard_and_flags_win_over_it() {
    let print = |args: &[&str]| {
        let output = Command::new(programs!().supervisor)
            .args(["config", "print"])
            .args(args)
            .env("SIMWARD_PORT_RANGE", "8300-8400")
            .output()
            .unwrap();
        text(&output.stdout)
    };
    assert!(print(&[]).contains("8300-8400"));
    assert!(print(&["--port-range", "8500-8600"]).contains("8500-8600"));
}

#[test]
fn a_wrong_key_is_refused_with_the_nearest_one() {
    let refused = simward(&["config", "print", "--set", "pool.hang_aftr_secs=1"]);
    assert!(!refused.status.success());
    let said = text(&refused.stderr);
    assert!(said.contains("did you mean `pool.hang_after_secs`"), "{said}");
}

#[test]
fn the_sample_configuration_is_the_defaults() {
    let sample = simward_tests::models::root().join("deploy/simward.toml");
    let print = |args: &[&str]| {
        let output = simward(&[&["config", "print"], args].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert_eq!(print(&["--config", sample.to_str().unwrap()]), print(&[]));
}

#[test]
fn the_doctor_finds_what_is_there_and_what_is_not() {
    let state = tempfile::TempDir::new().unwrap();
    let worker = programs!().worker;
    let args = ["doctor", "--json", "--state-dir", state.path().to_str().unwrap(), "--worker"];
    let found = |more: &[&str]| {
        let output = simward(&[&args[..], &[worker.to_str().unwrap()], more].concat());
        let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.success(), findings)
    };
    let (works, findings) = found(&[]);
    assert!(works, "{findings}");
    let of = |what: &str| {
        let finding = findings.as_array().unwrap().iter().find(|finding| finding["what"] == what);
        finding.unwrap_or_else(|| panic!("nothing about {what}: {findings}"))["found"].clone()
    };
    assert!(of("worker").as_str().unwrap().contains("MuJoCo 3.17.0"));
    assert!(of("isolation").as_str().unwrap().contains("few_system_calls"));
    assert_eq!(of("pictures"), "OpenGL works");
    assert!(of("limits").as_str().unwrap().contains("memory_bytes: "));
    let (works, findings) = found(&["--set", "pool.require_layers=[\"walls_of_lead\"]"]);
    assert!(!works && findings.to_string().contains("walls_of_lead"), "{findings}");
    let (works, findings) = found(&["--set", "render.program=\"/bin/false\""]);
    assert!(works && findings.to_string().contains("libgl1-mesa-dri"), "{findings}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (works, findings) = found(&["--port-range", &format!("{port}-{port}")]);
    assert!(!works && findings.to_string().contains("no port is free"), "{findings}");
    // What callers would meet.
    let (works, findings) = found(&["--set", &format!("http.listen=127.0.0.1:{port}")]);
    assert!(works && findings.to_string().contains("something listens at"), "{findings}");
    for (set, problem) in [
        ("auth.mode=tokens", "tokens.toml cannot be read"),
        ("auth.mode=oauth", "auth.oauth.issuer"),
        ("http.listen=192.0.2.1:7700", "would own every session"),
        ("http.tls.key_file=/nowhere", "belong together"),
        ("audit.path=/nowhere/audit.jsonl", "/nowhere/audit.jsonl"),
        ("telemetry.spans_path=/nowhere/spans.jsonl", "/nowhere/spans.jsonl"),
    ] {
        let (works, findings) = found(&["--set", set]);
        assert!(!works && findings.to_string().contains(problem), "{set}: {findings}");
    }
    let oauth = ["auth.mode=oauth", "auth.oauth.resource=https://sim.example/mcp"];
    let authority = Authority::start();
    let there = format!("auth.oauth.issuer={}", authority.issuer());
    let look = |issuer: &str| {
        found(&["--set", oauth[0], "--set", oauth[1], "--set", issuer, "--set", "auth.oauth.jwks="])
    };
    let (works, findings) = look(&there);
    assert!(works && findings.to_string().contains("has 1 keys"), "{findings}");
    authority.set_down(true);
    let (works, findings) = look(&there);
    assert!(!works && findings.to_string().contains("500 Internal Server Error"), "{findings}");
}

#[test]
fn every_remedy_of_the_doctor_is_for_a_layer_that_there_is() {
    let layers: Vec<_> = simward_worker::jail::layers().iter().map(|layer| layer.name).collect();
    for (layer, _) in simward_supervisor::doctor::REMEDIES {
        assert!(layers.contains(&layer), "there is no layer {layer}: {layers:?}");
    }
}

#[test]
fn every_command_has_a_manual_page_and_every_shell_completes_it() {
    let folder = tempfile::TempDir::new().unwrap();
    let made = simward(&["generate", folder.path().to_str().unwrap()]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).unwrap();
    let shells = ["simward.bash", "simward.fish", "_simward"].map(|it| format!("completions/{it}"));
    for command in ["serve", "stdio", "config", "pool", "alerts", "token", "doctor", "demo"] {
        let page = read(&format!("man/simward-{command}.1"));
        assert!(page.contains(&format!("simward\\-{command}")), "{page}");
        assert!(shells.iter().all(|shell| read(shell).contains(command)), "{command}");
    }
    assert!(read("man/simward-pool-kill.1").contains(".SH"));
    // Who makes packages finds it in the documentation.
    assert!(shells.iter().all(|shell| !read(shell).contains("generate")));
}
