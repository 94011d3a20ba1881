//! A daemon for one test: its own state folder, its own ports, and nothing left when it ends.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::{HttpClient, StdioClient};
use crate::fake::How;
use crate::wait::wait_until;

/// The programs under test.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `simward`.
    pub supervisor: PathBuf,
    /// `simward-worker`.
    pub worker: PathBuf,
    /// A well-behaved worker without a simulator.
    pub toy: PathBuf,
    /// A worker that misbehaves.
    pub rogue: PathBuf,
}

/// The programs under test, as cargo names them to an integration test.
#[macro_export]
macro_rules! programs {
    () => {
        $crate::daemon::Programs {
            supervisor: env!("CARGO_BIN_EXE_supervisor-under-test").into(),
            worker: env!("CARGO_BIN_EXE_worker-under-test").into(),
            toy: env!("CARGO_BIN_EXE_toy-worker").into(),
            rogue: env!("CARGO_BIN_EXE_rogue-worker").into(),
        }
    };
}

/// How a daemon is started.
#[derive(Clone, Debug)]
pub struct Setup {
    supervisor: PathBuf,
    listen: String,
    args: Vec<String>,
}

impl Setup {
    /// With real workers.
    pub fn real(programs: &Programs) -> Self {
        Self::with(programs, &programs.worker)
    }

    /// With workers that have no simulator.
    pub fn toy(programs: &Programs) -> Self {
        Self::with(programs, &programs.toy)
    }

    /// With workers that misbehave.
    pub fn rogue(programs: &Programs, how: How) -> Self {
        Self::with(programs, &programs.rogue)
            .set("pool.worker_args", &format!("[\"{}\"]", how.name()))
    }

    fn with(programs: &Programs, worker: &Path) -> Self {
        let args = vec!["--worker".to_owned(), worker.display().to_string()];
        let listen = "127.0.0.1:0".to_owned();
        Self { supervisor: programs.supervisor.clone(), listen, args }
    }

    /// With a key of the configuration set.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.args.extend(["--set".to_owned(), format!("{key}={value}")]);
        self
    }

    /// With further arguments.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Serving at that address, instead of a port of 127.0.0.1 that the system picks.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// Started by that program, which is given the daemon's arguments.
    #[must_use]
    pub fn through(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.supervisor);
        self
    }

    /// Starts a daemon that serves HTTP.
    pub fn serve(self) -> Daemon {
        let state = TempDir::new().unwrap();
        self.serve_in(state)
    }

    /// Starts a daemon that serves HTTP, with a state folder that outlives it.
    pub fn serve_at(self, state: &Path) -> Daemon {
        self.serve_of(state, TempDir::new().unwrap())
    }

    /// Starts a daemon that serves HTTP, with that state folder.
    pub fn serve_in(self, state: TempDir) -> Daemon {
        let folder = state.path().to_owned();
        self.serve_of(&folder, state)
    }

    fn serve_of(self, folder: &Path, state: TempDir) -> Daemon {
        let (child, said) = self.start(folder);
        let address = |key: &str| said[key].as_str().and_then(|address| address.parse().ok());
        let (listen, metrics) = (address("listen").unwrap(), address("metrics"));
        Daemon { child, address: listen, metrics, state, seen: BTreeSet::new() }
    }

    fn start(&self, state: &Path) -> (Child, Value) {
        let mut child = Command::new(&self.supervisor)
            .args(["serve", "--listen", &self.listen, "--print-address"])
            .arg("--state-dir")
            .arg(state)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).expect("the daemon prints its address");
        (child, said)
    }

    /// Starts a daemon on standard input, and shakes hands with it.
    pub fn stdio(self, state: &TempDir) -> StdioClient {
        let child = Command::new(&self.supervisor)
            .arg("stdio")
            .arg("--state-dir")
            .arg(state.path())
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        StdioClient::connect(child)
    }
}

/// A daemon that serves HTTP. When it is dropped it is told to end, and nothing of it may be left.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it tells its metrics, if it does.
    pub metrics: Option<SocketAddr>,
    /// Its state folder.
    pub state: TempDir,
    seen: BTreeSet<i32>,
}

impl Daemon {
    /// A client of it.
    pub fn client(&self) -> HttpClient {
        HttpClient::connect(self.address)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its processes.
    pub fn workers(&mut self) -> Vec<i32> {
        let own = i32::try_from(self.child.id()).unwrap();
        let found = children(own);
        self.seen.extend(&found);
        found
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.workers();
        if self.child.try_wait().unwrap().is_none() {
            self.signal(Signal::SIGTERM);
            self.child.wait().unwrap();
        }
        if std::thread::panicking() {
            return;
        }
        let seen = std::mem::take(&mut self.seen);
        wait_until("every worker is gone with its daemon", || {
            seen.iter().all(|pid| !is_alive(*pid))
        });
    }
}

/// Whether a process is there, zombies left out.
pub fn is_alive(pid: i32) -> bool {
    let stat = procfs::process::Process::new(pid).and_then(|process| process.stat());
    stat.is_ok_and(|stat| stat.state != 'Z')
}

/// A process's children, zombies included.
pub fn children(pid: i32) -> Vec<i32> {
    let Ok(process) = procfs::process::Process::new(pid) else { return Vec::new() };
    let Ok(tasks) = process.tasks() else { return Vec::new() };
    let children = tasks.flatten().filter_map(|task| task.children().ok());
    children.flatten().map(|pid| i32::try_from(pid).unwrap()).collect()
}
