//! MCP servers that others made, to compare ours with: each has one tool, `echo`.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use simward_tests::models::root;

use crate::programs::Programs;
use crate::server::said_address;
use crate::wire::{Wire, request};

/// A server of somebody else. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// One that is written in Python.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    /// Its file in `tests/peers`.
    file: &'static str,
    /// What it is told: how it is set up.
    args: &'static [&'static str],
    /// The folder in `third_party` that has its packages.
    packages: &'static str,
}

/// Those in Python, as they come, and as quick as they can be made.
pub(crate) const SCRIPTS: [Script; 4] = [
    Script { name: "the Python SDK's server", file: "sdk.py", args: &[], packages: "python" },
    Script {
        name: "the Python SDK's server at its quickest",
        file: "sdk.py",
        args: &["quick"],
        packages: "python",
    },
    Script { name: "FastMCP", file: "fastmcp_echo.py", args: &[], packages: "fastmcp" },
    Script {
        name: "FastMCP at its quickest",
        file: "fastmcp_echo.py",
        args: &["quick"],
        packages: "fastmcp",
    },
];

impl Peer {
    /// rmcp as it comes.
    pub(crate) fn bare(programs: &Programs) -> Self {
        Self::start(&mut Command::new(&programs.bare_echo)).expect("the bare server starts")
    }

    /// One that is written in Python; nothing where it is not installed.
    pub(crate) fn python(script: Script) -> Option<Self> {
        let packages = root().join("third_party").join(script.packages);
        if !packages.is_dir() {
            return None;
        }
        let file = root().join("tests/peers").join(script.file);
        let mut command = Command::new("python3");
        command.arg(file).args(script.args).env("PYTHONPATH", packages);
        Self::start(command.stderr(Stdio::null()))
    }

    fn start(command: &mut Command) -> Option<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().ok()?;
        let Some(address) = said_address(&mut child) else {
            child.kill().ok();
            child.wait().ok();
            return None;
        };
        let peer = Self { child, address };
        Wire::connect(address).call(&echo("ready")).expect_success();
        Some(peer)
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A call of the tool that each of them has.
pub(crate) fn echo(text: &str) -> Vec<u8> {
    request("echo", &json!({ "text": text }))
}

/// One whose answer is as long as that.
pub(crate) fn echo_of_length(peer: &Peer, body_bytes: usize) -> Vec<u8> {
    let empty = Wire::connect(peer.address).call(&echo("")).body_bytes();
    echo(&"x".repeat(body_bytes.saturating_sub(empty)))
}
