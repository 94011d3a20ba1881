//! The processes that are ours, and the two things that only a parent hears: that one of them was
//! stopped, and that one of them left a child behind.
//!
//! A worker that is stopped by a signal neither ends nor complains; the kernel tells its parent. A
//! worker's child that outlives the worker becomes ours, because the supervisor adopts orphans, and
//! is ended.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal,
    set_child_subreaper, waitid,
};
use tokio::sync::Notify;

/// Signals about children come in bursts; one look answers a burst.
const PAUSE: Duration = Duration::from_millis(20);

/// Every process that was started here and is not yet reaped.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// Held across a start, so that a new child is never taken for an orphan.
    ours: Mutex<BTreeMap<i32, Entry>>,
    /// Children that were there before us.
    inherited: BTreeSet<i32>,
}

#[derive(Debug)]
struct Entry {
    pidfd: Arc<OwnedFd>,
    stopped: Arc<Notify>,
}

/// The registry, held still while a process is started.
pub(super) struct Starting<'a>(MutexGuard<'a, BTreeMap<i32, Entry>>);

impl Starting<'_> {
    /// The process has started.
    pub(super) fn started(mut self, pid: Pid, pidfd: &Arc<OwnedFd>, stopped: &Arc<Notify>) {
        let entry = Entry { pidfd: Arc::clone(pidfd), stopped: Arc::clone(stopped) };
        self.0.insert(pid.as_raw_nonzero().get(), entry);
    }
}

impl Registry {
    /// Adopts orphans from now on, and watches.
    pub(super) fn open() -> std::io::Result<Arc<Self>> {
        set_child_subreaper(Some(rustix::process::getpid()))?;
        let registry = Arc::new(Self { ours: Mutex::default(), inherited: children() });
        let mut signals = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child())?;
        let watching = Arc::downgrade(&registry);
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                tokio::time::sleep(PAUSE).await;
                let Some(registry) = watching.upgrade() else { return };
                // Reads /proc and waits for nothing; but it may wait for a start in progress.
                tokio::task::spawn_blocking(move || registry.look()).await.ok();
            }
        });
        Ok(registry)
    }

    /// Holds the registry still for a start.
    pub(super) fn starting(&self) -> Starting<'_> {
        Starting(self.lock())
    }

    /// The process was reaped.
    pub(super) fn forget(&self, pid: Pid) {
        self.lock().remove(&pid.as_raw_nonzero().get());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Entry>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) {
        let ours = self.lock();
        for entry in ours.values() {
            let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
            if let Ok(Some(status)) = waitid(WaitId::PidFd(entry.pidfd.as_fd()), options)
                && status.stopped()
            {
                entry.stopped.notify_one();
            }
        }
        for pid in children() {
            if !ours.contains_key(&pid) && !self.inherited.contains(&pid) {
                end_orphan(pid);
            }
        }
    }
}

/// Kills and reaps a child that nobody here started.
fn end_orphan(pid: i32) {
    let Some(pid) = Pid::from_raw(pid) else { return };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if pidfd_send_signal(&pidfd, Signal::KILL).is_ok() {
        tracing::warn!(pid = pid.as_raw_nonzero(), "ended a process that a worker left behind");
    }
    // If it is not gone yet, its end is told, and it is looked at again.
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    waitid(WaitId::PidFd(pidfd.as_fd()), look).ok();
}

/// The pids of this process's children.
fn children() -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return found };
    for thread in threads.flatten() {
        let text = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    found
}
