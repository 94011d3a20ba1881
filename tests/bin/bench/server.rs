//! A daemon to measure, over HTTP.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use simward_tests::client::HttpClient;
use tempfile::TempDir;

use crate::programs::Programs;
use crate::wire::Wire;

/// A daemon as it comes, with its log in a file. Dropped, it is told to end, and waited for.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    _state: TempDir,
}

impl Server {
    pub(crate) fn start(programs: &Programs) -> Self {
        let state = TempDir::new().unwrap();
        let mut child = command(programs, "serve", &state)
            .args(["--listen", "127.0.0.1:0", "--print-address"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).expect("the daemon prints its address");
        let address = said["listen"].as_str().unwrap().parse().unwrap();
        Self { child, address, _state: state }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
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

/// `simward MODE`, with its log in its state folder.
pub(crate) fn command(programs: &Programs, mode: &str, state: &TempDir) -> Command {
    let mut command = Command::new(&programs.supervisor);
    command.arg(mode).arg("--worker").arg(&programs.worker);
    command.arg("--state-dir").arg(state.path());
    command.stdout(Stdio::piped()).stderr(File::create(state.path().join("log")).unwrap());
    command
}
