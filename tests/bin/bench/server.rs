//! A daemon to measure, over HTTP.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use simward_tests::client::HttpClient;
use simward_tests::http::Http;
use tempfile::TempDir;

use crate::programs::Programs;
use crate::wire::Wire;

/// A daemon as it comes, with its log in a file. Dropped, it is told to end, and waited for.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    /// Where Prometheus reads, if it is to.
    metrics: Option<SocketAddr>,
    settings: Vec<String>,
    state: TempDir,
}

impl Server {
    pub(crate) fn start(programs: &Programs) -> Self {
        Self::start_with(programs, &[])
    }

    /// Starts it with keys of the configuration set, each as `KEY=VALUE`.
    pub(crate) fn start_with(programs: &Programs, settings: &[&str]) -> Self {
        Self::start_over(programs, settings, TempDir::new().unwrap())
    }

    /// The same over what it has kept, or what it is to believe that it has.
    pub(crate) fn start_over(programs: &Programs, settings: &[&str], state: TempDir) -> Self {
        let settings: Vec<_> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let (child, address, metrics) = launch(programs, &state, &settings);
        Self { child, address, metrics, settings, state }
    }

    /// Kills it, and starts it again over what it has kept. It listens elsewhere then.
    pub(crate) fn kill_and_start(&mut self, programs: &Programs) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self.address, self.metrics) = launch(programs, &self.state, &self.settings);
    }

    /// The same, with nothing set.
    pub(crate) fn kill_and_start_plain(&mut self, programs: &Programs) {
        self.settings.clear();
        self.kill_and_start(programs);
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client that reads what Prometheus would.
    pub(crate) fn scraper(&self) -> Http {
        Http::connect(self.metrics.expect("`metrics.listen` is set")).unwrap()
    }

    /// Where it keeps what outlives it.
    pub(crate) fn state(&self) -> &Path {
        self.state.path()
    }

    /// A client that reads what it is told.
    pub(crate) fn client(&self) -> HttpClient {
        HttpClient::connect(self.address)
    }

    /// A client that is quick.
    pub(crate) fn wire(&self) -> Wire {
        Wire::connect(self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }
}

/// Starts a daemon; returns once it listens.
fn launch(
    programs: &Programs,
    state: &TempDir,
    settings: &[String],
) -> (Child, SocketAddr, Option<SocketAddr>) {
    let mut child = command(programs, "serve", state)
        .args(["--listen", "127.0.0.1:0", "--print-address"])
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let said = said(&mut child).expect("the daemon prints its address");
    let of = |name: &str| said[name].as_str()?.parse().ok();
    (child, of("listen").expect("the daemon listens"), of("metrics"))
}

/// Where a server listens that says so in its first line; nothing if it says no such thing.
pub(crate) fn said_address(child: &mut Child) -> Option<SocketAddr> {
    said(child)?["listen"].as_str()?.parse().ok()
}

fn said(child: &mut Child) -> Option<Value> {
    let mut line = String::new();
    BufReader::new(child.stdout.take()?).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

/// `simward MODE`, with its log in its state folder.
pub(crate) fn command(programs: &Programs, mode: &str, state: &TempDir) -> Command {
    let mut command = Command::new(&programs.supervisor);
    command.arg(mode).arg("--worker").arg(&programs.worker);
    command.arg("--state-dir").arg(state.path());
    let log = File::options().create(true).append(true).open(state.path().join("log"));
    command.stdout(Stdio::piped()).stderr(log.unwrap());
    command
}
