//! A session's meter: a file in memory into which its worker counts, and which is read here.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::{Errno, pread, pwrite};
use simward_protocol::meter::{BYTES, Counts, HEAD_WORDS, Head, Timing, WORDS, head};

/// The meter of a session in one worker. With the next worker it has another one, that begins at 0.
#[derive(Clone, Debug)]
pub struct Meter {
    file: Arc<OwnedFd>,
}

impl Meter {
    /// An empty one.
    pub(super) fn new() -> io::Result<Self> {
        let file = memfd_create("simward-meter", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, BYTES as u64)?;
        // A worker can neither shorten it under us nor fill memory with it.
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(Self { file: Arc::new(file) })
    }

    /// What a worker is given of it.
    pub(super) fn file(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.file)
    }

    /// Whether this is the same one.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }

    /// Which steps the worker shall time from now on.
    pub fn want(&self, timing: Timing) {
        let word = timing.word().to_ne_bytes();
        let place = head::TIMING * size_of::<u64>();
        if let Err(error) = pwrite(&*self.file, &word, place as u64) {
            tracing::warn!(%error, "a meter could not be written");
        }
    }

    /// The head alone.
    pub fn head(&self) -> Option<Head> {
        let mut words = [0; HEAD_WORDS];
        self.read(&mut words)?;
        Some(Head::read(&words))
    }

    /// What is read every second: the head and the histogram.
    pub fn counts(&self) -> Option<Counts> {
        Counts::read(|words| self.read(words).ok_or(())).ok()
    }

    /// All of it.
    pub fn words(&self) -> Option<Box<[u64; WORDS]>> {
        let mut words = Box::new([0; WORDS]);
        self.read(&mut words[..])?;
        Some(words)
    }

    /// One system call, of about a microsecond.
    fn read(&self, words: &mut [u64]) -> Option<()> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(words);
        loop {
            match pread(&*self.file, &mut *bytes, 0) {
                Ok(read) => return (read == bytes.len()).then_some(()),
                Err(Errno::INTR) => (),
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_writes_is_read() {
        let meter = Meter::new().unwrap();
        assert_eq!(meter.head(), Some(Head::default()));
        pwrite(&*meter.file, &7_u64.to_ne_bytes(), 0).unwrap();
        assert_eq!(meter.head().unwrap().steps_total, 7);
        assert_eq!(meter.words().unwrap()[0], 7);
        assert!(ftruncate(&*meter.file, 0).is_err(), "a worker could take its memory away");
    }
}
