//! The files that workers write into: checkpoints of their models' states, and recordings.
//!
//! Such a file belongs to one worker at a time. On disk a lock says so, which the file itself
//! carries: it goes to the worker with the descriptor, and ends with the last process that has it.
//! So a new daemon waits until the workers of one that was killed are gone for good.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, FlockOperation, MemfdFlags, fallocate, flock, memfd_create};
use simward_protocol::checkpoint;

use super::sync::Unsynced;
use super::{Error, files};

/// How long the workers of a daemon that was killed may take to be gone.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// How often a lock is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

const WHAT: &str = "the state of the model";

#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// What the files' names end with.
    extension: &'static str,
    /// What they are, for messages.
    what: &'static str,
    folder: Option<PathBuf>,
    /// Those that are in use; without a folder, all that there are.
    open: Mutex<HashMap<String, HashMap<u32, Arc<OwnedFd>>>>,
    unsynced: Arc<Unsynced>,
}

impl Checkpoints {
    pub(super) fn new(folder: Option<PathBuf>, unsynced: Arc<Unsynced>) -> Self {
        Self { extension: "checkpoint", what: WHAT, folder, open: Mutex::default(), unsynced }
    }

    /// The same for recordings.
    pub(super) fn of_recordings(folder: Option<PathBuf>, unsynced: Arc<Unsynced>) -> Self {
        let (extension, what) = ("recording", "the recording");
        Self { extension, what, folder, open: Mutex::default(), unsynced }
    }

    /// Makes an empty checkpoint for a state of so many values.
    pub(crate) fn create(&self, id: &str, number: u32, values: u64) -> Result<Arc<OwnedFd>, Error> {
        let bytes = checkpoint::file_bytes(values).ok_or_else(|| Error::Damaged {
            what: "the compiled model".to_owned(),
            problem: format!("its state has {values} values"),
        })?;
        self.create_file(id, number, bytes)
    }

    /// Makes an empty file. Its space is taken at once, so that a full disk is an error here and not
    /// the end of a worker.
    pub(crate) fn create_file(
        &self,
        id: &str,
        number: u32,
        bytes: u64,
    ) -> Result<Arc<OwnedFd>, Error> {
        let file = match self.path(id, number) {
            None => memory_file().map_err(Error::of(self.what))?,
            Some(path) => {
                let made = file_of(&path, bytes);
                if made.is_err() {
                    std::fs::remove_file(path).ok();
                }
                made.map_err(Error::of(self.what))?
            }
        };
        if self.folder.is_none() {
            take_space(&file, bytes).map_err(Error::of(self.what))?;
        }
        Ok(self.remember(id, number, file))
    }

    /// Opens a checkpoint that is there, unless it is open; waits for whoever had it before.
    pub(crate) fn open(&self, id: &str, number: u32) -> Result<Arc<OwnedFd>, Error> {
        let known = self.lock().get(id).and_then(|of| of.get(&number)).cloned();
        if let Some(file) = known {
            return Ok(file);
        }
        let damaged = |problem: String| Error::Damaged { what: self.what.to_owned(), problem };
        let Some(path) = self.path(id, number) else {
            return Err(damaged("it is not there".to_owned()));
        };
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path);
        let file = OwnedFd::from(file.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => damaged(error.to_string()),
            _ => Error::of(self.what)(error),
        })?);
        lock_within(&file, LOCK_PATIENCE).map_err(Error::of(self.what))?;
        Ok(self.remember(id, number, file))
    }

    /// Opens one that nobody writes, to be read.
    pub(crate) fn read(&self, id: &str, number: u32) -> Result<Arc<OwnedFd>, Error> {
        let Some(path) = self.path(id, number) else { return self.open(id, number) };
        let file = File::open(path).map_err(|error| Error::Damaged {
            what: WHAT.to_owned(),
            problem: error.to_string(),
        })?;
        Ok(Arc::new(file.into()))
    }

    /// One is written for good.
    pub(crate) fn seal(&self, id: &str, number: u32) {
        if self.folder.is_some()
            && let Some(file) = self.lock().get_mut(id).and_then(|of| of.remove(&number))
        {
            flock(&file, FlockOperation::Unlock).ok();
            self.unsynced.add(file);
        }
    }

    /// Undoes what a call did whose answer nobody got. Its worker must be gone.
    pub(crate) fn undo(&self, id: &str, number: u32, values: u64, call: u64) -> Result<(), Error> {
        let file = File::from(self.open(id, number)?.try_clone().map_err(Error::of(WHAT))?);
        let (Some(bytes), Ok(values)) = (checkpoint::file_bytes(values), usize::try_from(values))
        else {
            return Ok(());
        };
        let mut words = vec![0; usize::try_from(bytes / 8).unwrap_or(0)];
        file.read_exact_at(bytemuck::cast_slice_mut(&mut words), 0).map_err(Error::of(WHAT))?;
        let Some(index) = checkpoint::undo(&words, values, call) else { return Ok(()) };
        let place = index * checkpoint::slot_words(values) * size_of::<u64>();
        file.write_all_at(&[0; 8], place as u64).map_err(Error::of(WHAT))
    }

    /// Removes a checkpoint.
    pub(crate) fn remove(&self, id: &str, number: u32) {
        if let Some(of) = self.lock().get_mut(id) {
            of.remove(&number);
        }
        if let Some(path) = self.path(id, number) {
            std::fs::remove_file(path).ok();
        }
    }

    /// The session's worker is gone, and no other one comes soon.
    pub(crate) fn close(&self, id: &str) {
        // In memory they are all that there is of it.
        if self.folder.is_some() {
            let closed = self.lock().remove(id);
            for file in closed.into_iter().flat_map(HashMap::into_values) {
                // Whoever opens it next must not wait for its sync.
                flock(&file, FlockOperation::Unlock).ok();
                self.unsynced.add(file);
            }
        }
    }

    /// The session is gone.
    pub(super) fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    fn remember(&self, id: &str, number: u32, file: OwnedFd) -> Arc<OwnedFd> {
        let file = Arc::new(file);
        if self.folder.is_some() {
            self.unsynced.watch(&file);
        }
        self.lock().entry(id.to_owned()).or_default().insert(number, Arc::clone(&file));
        file
    }

    fn path(&self, id: &str, number: u32) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(id).join(format!("{number}.{}", self.extension)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashMap<u32, Arc<OwnedFd>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file_of(path: &Path, bytes: u64) -> io::Result<OwnedFd> {
    if let Some(folder) = path.parent() {
        files::private_folder(folder)?;
    }
    let file = OwnedFd::from(files::create(path)?);
    take_space(&file, bytes)?;
    lock_within(&file, Duration::ZERO)?;
    Ok(file)
}

/// A checkpoint that belongs to nobody, for a worker to write a copy into.
pub(crate) fn scratch(values: u64) -> Result<Arc<OwnedFd>, Error> {
    let bytes = checkpoint::file_bytes(values).unwrap_or(0);
    let file = memory_file().map_err(Error::of(WHAT))?;
    take_space(&file, bytes).map_err(Error::of(WHAT))?;
    Ok(Arc::new(file))
}

/// Copies a checkpoint into another one of the same size.
pub(crate) fn copy(from: &OwnedFd, to: &OwnedFd, values: u64) -> Result<(), Error> {
    let bytes = checkpoint::file_bytes(values).unwrap_or(0);
    let copied = (|| {
        let (from, to) = (File::from(from.try_clone()?), File::from(to.try_clone()?));
        let mut chunk = vec![0; 64 << 10];
        let mut place = 0;
        while place < bytes {
            let length = usize::try_from(bytes - place).unwrap_or(usize::MAX).min(chunk.len());
            from.read_exact_at(&mut chunk[..length], place)?;
            to.write_all_at(&chunk[..length], place)?;
            place += length as u64;
        }
        Ok(())
    })();
    copied.map_err(Error::of(WHAT))
}

/// Gives an empty file its length, and takes the space for it: what is mapped must not run out of it.
fn take_space(file: &OwnedFd, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        // Some file systems take space only for what is written.
        Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(file, bytes),
        taken => Ok(taken?),
    }
}

fn write_zeros(file: &OwnedFd, bytes: u64) -> io::Result<()> {
    let file = File::from(file.try_clone()?);
    let zeros = vec![0; 64 << 10];
    let mut place = 0;
    while place < bytes {
        let length = usize::try_from(bytes - place).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(&zeros[..length], place)?;
        place += length as u64;
    }
    Ok(())
}

fn memory_file() -> io::Result<OwnedFd> {
    Ok(memfd_create("simward-checkpoint", MemfdFlags::CLOEXEC)?)
}

fn lock_within(file: &OwnedFd, patience: Duration) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < patience => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a lock has no descriptor to wait on"
                )]
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(io::Error::other("another process still writes it"));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_taken_by_writing_where_it_cannot_be_otherwise() {
        let file = memory_file().unwrap();
        write_zeros(&file, 100_000).unwrap();
        assert_eq!(rustix::fs::fstat(&file).unwrap().st_size, 100_000);
    }
}
