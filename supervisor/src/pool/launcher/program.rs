//! Programs that are no workers of ours: the operator's, which are told something and end.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio::net::unix::pipe;
use tokio::sync::Notify;

use crate::pool::process::Process;
use crate::pool::registry::Registry;

/// A started program and what it reads.
#[derive(Debug)]
pub struct Program {
    /// The process.
    pub process: Process,
    /// Our end of the pipe that is its standard input.
    pub stdin: pipe::Sender,
}

/// Starts one, in a process group of its own and with no environment but `PATH`.
pub(super) fn start(argv: &[String], registry: &Arc<Registry>) -> io::Result<Program> {
    let [program, args @ ..] = argv else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no program"));
    };
    let (theirs, ours) = io::pipe()?;
    let (heard, said) = io::pipe()?;
    #[expect(clippy::disallowed_methods, reason = "this is where processes start")]
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .process_group(0)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(OwnedFd::from(said));
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    let starting = registry.starting();
    let child = command.spawn()?;
    // The command holds the other end of the pipe.
    drop(command);
    let stopped = Arc::new(Notify::new());
    let process = Process::new(child.id(), heard, Arc::clone(&stopped), Arc::clone(registry))?;
    starting.started(process.pid(), process.pidfd(), &stopped);
    let stdin = pipe::Sender::from_owned_fd(OwnedFd::from(ours))?;
    Ok(Program { process, stdin })
}
