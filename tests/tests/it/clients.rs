//! The official clients, in both generations of the protocol and over both transports.
//!
//! What they do and check stands in `tests/clients/`: every tool is called, every answer is
//! validated by the client against the tool's output schema, and the client has nothing to
//! complain of. Here they are given a daemon, and nothing of it may be left.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use simward_tests::client::{LEGACY, MODERN};
use simward_tests::daemon::{Setup, is_alive};
use simward_tests::wait::wait_until;
use simward_tests::{models, programs};
use tempfile::TempDir;

#[test]
fn the_python_client_has_a_first_session_over_http_in_the_newer_protocol() {
    over_http(Client::Python, MODERN);
}

#[test]
fn the_python_client_has_a_first_session_over_http_in_the_older_protocol() {
    over_http(Client::Python, LEGACY);
}

#[test]
fn the_python_client_has_a_first_session_over_stdio_in_the_newer_protocol() {
    over_stdio(Client::Python, MODERN);
}

#[test]
fn the_python_client_has_a_first_session_over_stdio_in_the_older_protocol() {
    over_stdio(Client::Python, LEGACY);
}

#[test]
fn the_node_client_has_a_first_session_over_http_in_the_newer_protocol() {
    over_http(Client::Node, MODERN);
}

#[test]
fn the_node_client_has_a_first_session_over_http_in_the_older_protocol() {
    over_http(Client::Node, LEGACY);
}

#[test]
fn the_node_client_has_a_first_session_over_stdio_in_the_newer_protocol() {
    over_stdio(Client::Node, MODERN);
}

#[test]
fn the_node_client_has_a_first_session_over_stdio_in_the_older_protocol() {
    over_stdio(Client::Node, LEGACY);
}

/// Who runs a script.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    Python,
    Node,
}

/// How long a script may take. It ends itself earlier, and says where it was.
const LIMIT: Duration = Duration::from_mins(3);

impl Client {
    /// Runs a script of `tests/clients/`, and returns the JSON that it prints.
    pub(crate) fn run<A: AsRef<OsStr>>(self, script: &str, args: &[A]) -> Value {
        let root = models::root();
        let (program, folder) = match self {
            Self::Python => ("python3", "tests/clients/python"),
            Self::Node => ("node", "tests/clients/node"),
        };
        let mut command = Command::new(program);
        // The engine leaves a file with its warnings where it is started.
        let elsewhere = TempDir::new().unwrap();
        command
            .current_dir(elsewhere.path())
            .arg(root.join(folder).join(script))
            .args(args)
            .env("PYTHONPATH", root.join("third_party/python"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let output = output_of(command);
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {}\n{said}{complained}", output.status);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{script}: {error}: {said}"))
    }
}

/// Runs a command to its end, which must come in time.
pub(crate) fn output_of(mut command: Command) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; `make setup-tests` tells more"));
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(child.wait_with_output()).ok());
    let Ok(output) = told.recv_timeout(LIMIT) else {
        kill(pid, Signal::SIGKILL).ok();
        panic!("{command:?} did not end within {LIMIT:?}");
    };
    output.unwrap()
}

fn over_http(client: Client, version: &str) {
    let menagerie = models::menagerie();
    let folder = ["--menagerie-dir", menagerie.to_str().unwrap()];
    let daemon = Setup::real(&programs!()).args(&folder).serve();
    let url = format!("http://{}/mcp", daemon.address);
    first_session(client, version, "http", &[url.as_ref()]);
}

fn over_stdio(client: Client, version: &str) {
    let programs = programs!();
    let state = TempDir::new().unwrap();
    let menagerie = models::menagerie();
    let folders = [state.path().as_ref(), menagerie.as_ref()];
    let args = [programs.supervisor.as_ref(), programs.worker.as_ref(), folders[0], folders[1]];
    first_session(client, version, "stdio", &args);
}

fn first_session(client: Client, version: &str, transport: &str, rest: &[&OsStr]) {
    let era = if version == MODERN { "modern" } else { "legacy" };
    let script = match client {
        Client::Python => "first_session.py",
        Client::Node => "first_session.mjs",
    };
    let mut args: Vec<&OsStr> = vec![era.as_ref(), transport.as_ref()];
    args.extend(rest);
    let summary = client.run(script, &args);
    assert_eq!(summary["protocol"], json!(version), "{summary}");
    assert_eq!(summary["transport"], json!(transport), "{summary}");
    let workers = summary["workers"].as_array().unwrap();
    let workers: Vec<_> = workers.iter().map(|pid| pid.as_i64().unwrap()).collect();
    assert!(2 <= workers.len(), "{summary}");
    wait_until("the workers of closed sessions are gone", || {
        workers.iter().all(|pid| !is_alive(i32::try_from(*pid).unwrap()))
    });
}
