//! One process: told to end, heard to end, reaped.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open,
    pidfd_send_signal, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::output::Output;
use super::registry::Registry;

/// How a process ended, by the kernel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with a code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => f.write_str(signal.as_str()),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

/// A process that we started. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    pidfd: Arc<OwnedFd>,
    ended: AsyncFd<Arc<OwnedFd>>,
    /// Told when the process is stopped by a signal.
    stopped: Arc<Notify>,
    output: Output,
    registry: Arc<Registry>,
    started: Instant,
    exit: Option<Exit>,
}

/// Tells whether a process is still there. As long as it is, nobody else has its id.
#[derive(Clone, Debug)]
pub struct Presence(Arc<OwnedFd>);

impl Presence {
    /// Whether it has not ended yet. What the kernel does not tell is not believed.
    pub fn lasts(&self) -> bool {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let look = || poll(&mut [PollFd::new(&*self.0, PollFlags::IN)], Some(&at_once));
        retry_on_intr(look) == Ok(0)
    }
}

impl Process {
    pub(super) fn new(
        pid: u32,
        stderr: io::PipeReader,
        stopped: Arc<Notify>,
        registry: Arc<Registry>,
    ) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the system gave a pid that cannot be"))?;
        let pidfd = Arc::new(pidfd_open(pid, PidfdFlags::NONBLOCK)?);
        #[expect(
            deprecated,
            reason = "its replacement is unsafe for types that lie about their \
                                       descriptor; the standard library's does not"
        )]
        let ended = AsyncFd::with_interest(Arc::clone(&pidfd), Interest::READABLE)?;
        let output = Output::collect(stderr)?;
        let started = Instant::now();
        Ok(Self { pid, pidfd, ended, stopped, output, registry, started, exit: None })
    }

    /// The process's id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    pub(super) fn pidfd(&self) -> &Arc<OwnedFd> {
        &self.pidfd
    }

    /// What tells others whether it is still there.
    pub fn presence(&self) -> Presence {
        Presence(Arc::clone(&self.pidfd))
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Told when the process is stopped by a signal.
    pub fn stopped(&self) -> Arc<Notify> {
        Arc::clone(&self.stopped)
    }

    /// Waits until the process has ended, and reaps it. Cancel safe.
    pub async fn ended(&mut self) -> Exit {
        loop {
            if let Some(exit) = self.exit {
                return exit;
            }
            // Fails only if the reactor is gone, and then nobody waits here.
            let Ok(mut ready) = self.ended.readable().await else { continue };
            self.exit = reap(self.pid, &self.pidfd);
            match self.exit {
                Some(_) => self.registry.forget(self.pid),
                None => ready.clear_ready(),
            }
        }
    }

    /// The end of what it wrote to its standard error.
    pub async fn last_output(&mut self) -> String {
        self.output.tail().await
    }

    /// Asks it to end: SIGTERM, and SIGCONT so that a stopped process hears it.
    pub fn terminate(&self) {
        pidfd_send_signal(&*self.pidfd, Signal::TERM).ok();
        pidfd_send_signal(&*self.pidfd, Signal::CONT).ok();
    }

    /// Ends it and its process group at once.
    pub fn kill(&self) {
        pidfd_send_signal(&*self.pidfd, Signal::KILL).ok();
        // The group's id cannot have been given to others while its leader is not reaped.
        if self.exit.is_none() {
            kill_process_group(self.pid, Signal::KILL).ok();
        }
    }
}

/// Reaps a process that has ended.
fn reap(pid: Pid, pidfd: &OwnedFd) -> Option<Exit> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let id = || WaitId::PidFd(pidfd.as_fd());
    // Its group first, while the id is still its own.
    let ended = waitid(id(), look | WaitIdOptions::NOWAIT).ok().flatten()?;
    kill_process_group(pid, Signal::KILL).ok();
    waitid(id(), look).ok();
    Some(match (ended.exit_status(), ended.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(-1),
    })
}

/// How long a killed process may take to be gone, before it is left to the next look.
const REAP_WITHIN: Duration = Duration::from_secs(5);

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit.is_some() {
            return;
        }
        self.kill();
        let (pid, pidfd) = (self.pid, Arc::clone(&self.pidfd));
        let registry = Arc::clone(&self.registry);
        let reap = move || {
            let until = Timespec { tv_sec: REAP_WITHIN.as_secs().cast_signed(), tv_nsec: 0 };
            poll(&mut [PollFd::new(&*pidfd, PollFlags::IN)], Some(&until)).ok();
            waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
                .ok();
            registry.forget(pid);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(reap)),
            Err(_) => reap(),
        }
    }
}
