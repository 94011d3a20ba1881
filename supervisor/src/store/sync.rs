//! Bringing to the disk what is in the system's cache.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::fs::{fdatasync, fsync};

/// How many files may wait for their first sync; one more is synced by whoever brings it.
const WAITING_MAX: usize = 1024;

/// What is not on the disk yet.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Files that were just written.
    fresh: Mutex<VecDeque<Arc<dyn AsFdSend>>>,
    /// Files that workers write to.
    watched: Mutex<Vec<Weak<OwnedFd>>>,
}

/// A descriptor that another thread may sync.
pub(super) trait AsFdSend: AsFd + Send + Sync + std::fmt::Debug {}

impl<T: AsFd + Send + Sync + std::fmt::Debug> AsFdSend for T {}

impl Unsynced {
    /// A file was written, and is complete.
    pub(super) fn add<T: AsFdSend + 'static>(&self, file: T) {
        let mut fresh = lock(&self.fresh);
        if WAITING_MAX <= fresh.len() {
            drop(fresh);
            report(fsync(file.as_fd()).map_err(Into::into));
            return;
        }
        fresh.push_back(Arc::new(file));
    }

    /// A worker writes to a file for as long as it is open.
    pub(super) fn watch(&self, file: &Arc<OwnedFd>) {
        lock(&self.watched).push(Arc::downgrade(file));
    }

    /// Brings to the disk what was written, and lets go of it.
    pub(super) fn settle(&self) {
        loop {
            let Some(file) = lock(&self.fresh).pop_front() else { return };
            report(fsync(file.as_fd()).map_err(Into::into));
        }
    }

    fn round(&self) {
        self.settle();
        let watched: Vec<_> = {
            let mut watched = lock(&self.watched);
            watched.retain(|file| file.strong_count() != 0);
            watched.iter().filter_map(Weak::upgrade).collect()
        };
        // One that has not changed costs a system call and no more.
        for file in watched {
            report(fdatasync(&*file).map_err(Into::into));
        }
    }
}

fn report(synced: io::Result<()>) {
    if let Err(error) = synced {
        tracing::error!(%error, "what is kept could not be brought to the disk");
    }
}

/// Syncs in rounds, for as long as anybody holds `unsynced`.
pub(super) fn start(unsynced: &Arc<Unsynced>, every: Duration) -> io::Result<()> {
    let unsynced = Arc::downgrade(unsynced);
    std::thread::Builder::new().name("sync".into()).spawn(move || {
        loop {
            let begun = Instant::now();
            let Some(unsynced) = unsynced.upgrade() else { return };
            unsynced.round();
            drop(unsynced);
            #[expect(clippy::disallowed_methods, reason = "a round has its time")]
            std::thread::sleep(every.saturating_sub(begun.elapsed()));
        }
    })?;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
