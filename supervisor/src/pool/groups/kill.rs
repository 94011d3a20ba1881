//! Ending every process of a group.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::folder::Folder;
use super::limits::{By, What};

/// How long it may take until all are gone.
const WITHIN: Duration = Duration::from_secs(2);

/// How long is waited before the list is looked at again.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Ends every process, and waits until they are gone.
pub(super) fn all(folders: &[Folder]) -> io::Result<()> {
    // Whoever forks faster than we read must not.
    for folder in folders.iter().filter(|folder| folder.whats.contains(&What::Tasks)) {
        folder.write("pids.max", "0").ok();
    }
    let deadline = Instant::now() + WITHIN;
    loop {
        let dying = strike(folders)?;
        if dying.is_empty() {
            return Ok(());
        }
        if deadline < Instant::now() {
            let text = format!("{} processes of a control group do not end", dying.len());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        // The first to end is enough: the rest is on the next list.
        let mut ends: Vec<PollFd<'_>> =
            dying.iter().flatten().map(|it| PollFd::new(it, PollFlags::IN)).collect();
        poll(&mut ends, Some(&LOOK_AGAIN)).ok();
    }
}

/// Kills all that are listed. Returns them; one whose end cannot be waited for is `None`.
fn strike(folders: &[Folder]) -> io::Result<Vec<Option<OwnedFd>>> {
    let held: Vec<(i32, Option<OwnedFd>)> =
        listed(folders)?.into_iter().map(|pid| (pid, hold(pid))).collect();
    for folder in folders.iter().filter(|folder| folder.by == By::CgroupV2) {
        // All at once, also those that are being born; kernels before 5.14 do not know it.
        folder.write("cgroup.kill", "1").ok();
    }
    // A pid that is still listed while it is held is the process that we hold, and no later one of
    // the same number.
    let still = listed(folders)?;
    for (pid, pidfd) in &held {
        if let Some(pidfd) = pidfd
            && still.contains(pid)
        {
            pidfd_send_signal(pidfd, Signal::KILL).ok();
        }
    }
    let gone = |(pid, pidfd): (i32, Option<OwnedFd>)| still.contains(&pid).then_some(pidfd);
    let known: BTreeSet<i32> = held.iter().map(|(pid, _)| *pid).collect();
    let newborn = still.difference(&known).map(|_| None).collect::<Vec<_>>();
    Ok(held.into_iter().filter_map(gone).chain(newborn).collect())
}

fn listed(folders: &[Folder]) -> io::Result<BTreeSet<i32>> {
    let mut all = BTreeSet::new();
    for folder in folders {
        all.extend(folder.pids()?);
    }
    Ok(all)
}

fn hold(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}
