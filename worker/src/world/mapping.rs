//! A file of the supervisor's, mapped into memory.
//!
//! Plain stores into a shared mapping outlive this process without a system call.

use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

/// The words of a file.
#[derive(Debug)]
pub(crate) struct Mapping {
    words: NonNull<u64>,
    length: usize,
}

/// The bytes of a file that is only read.
#[derive(Debug)]
pub(crate) struct Bytes {
    begin: NonNull<u8>,
    length: usize,
}

impl Bytes {
    /// Maps the first `length` bytes of a file, which has as many: nothing is copied.
    #[expect(unsafe_code, reason = "maps a file into memory")]
    pub(crate) fn new(file: &OwnedFd, length: usize) -> Result<Self, String> {
        // At once: it is read whole, and soon.
        let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
        // SAFETY: a new mapping, of a file that is as long as it; this process cannot shorten the
        // file, and if the supervisor's host does, the process ends by a signal.
        let mapped = unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ, flags, file, 0) };
        let begin = NonNull::new(mapped.map_err(|error| error.to_string())?.cast());
        Ok(Self { begin: begin.ok_or("it was mapped to nowhere")?, length })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    #[expect(unsafe_code, reason = "the mapping is reached by a pointer")]
    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is that long and lives as long as `self`; it is private, and what is
        // kept of a compiled model is never written again.
        unsafe { std::slice::from_raw_parts(self.begin.as_ptr(), self.length) }
    }
}

impl Drop for Bytes {
    #[expect(unsafe_code, reason = "unmaps what was mapped")]
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody holds a reference into it any more.
        unsafe { munmap(self.begin.as_ptr().cast(), self.length) }.ok();
    }
}

/// How long the file is, in bytes.
pub(crate) fn length_of(file: &OwnedFd) -> Result<u64, String> {
    let stat = rustix::fs::fstat(file).map_err(|error| error.to_string())?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

impl Mapping {
    /// Maps the first `bytes` of a file, which has as many.
    #[expect(unsafe_code, reason = "maps a file into memory")]
    pub(crate) fn new(file: &OwnedFd, bytes: u64) -> Result<Self, String> {
        let length = usize::try_from(bytes).map_err(|error| error.to_string())?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, of a file that is as long as it; this process cannot shorten the
        // file, and if the supervisor's host does, the process ends by a signal.
        let mapped =
            unsafe { mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, file, 0) };
        let words = NonNull::new(mapped.map_err(|error| error.to_string())?.cast());
        let words = words.ok_or("it was mapped to nowhere")?;
        Ok(Self { words, length })
    }

    #[expect(unsafe_code, reason = "the mapping is reached by a pointer")]
    pub(crate) fn words(&self) -> &[u64] {
        // SAFETY: the mapping is that long, aligned to a page, and lives as long as `self`. No
        // other process writes to it: the supervisor never maps it, and hands it to one worker at a
        // time. Every bit pattern is a valid word.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.length / size_of::<u64>()) }
    }

    #[expect(unsafe_code, reason = "the mapping is reached by a pointer")]
    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        let length = self.length / size_of::<u64>();
        // SAFETY: as for `words`, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_ptr(), length) }
    }

    /// The words, to be written one by one by whoever shares the mapping in this process.
    #[expect(unsafe_code, reason = "the mapping is reached by a pointer")]
    pub(crate) fn cells(&self) -> &[AtomicU64] {
        // SAFETY: as for `words`; an atomic word has the layout of a word, and whoever holds this
        // holds `self`, so that nobody has the words themselves.
        unsafe {
            std::slice::from_raw_parts(self.words.as_ptr().cast(), self.length / size_of::<u64>())
        }
    }

    /// Writes a word after everything that was written before: whoever sees it sees that too.
    #[expect(unsafe_code, reason = "the order of two stores matters to whoever reads the file")]
    pub(crate) fn publish(&mut self, place: usize, word: u64) {
        let place: *mut u64 = &raw mut self.words_mut()[place];
        // SAFETY: the word is aligned and borrowed alone.
        unsafe { AtomicU64::from_ptr(place) }.store(word, Ordering::Release);
    }

    /// Lets go of the memory behind words that are not needed soon. They stay in the file.
    #[expect(unsafe_code, reason = "tells the kernel about a part of the mapping")]
    pub(crate) fn release(&self, words: std::ops::Range<usize>) {
        debug_assert!(words.end * size_of::<u64>() <= self.length, "it lies within the mapping");
        let bytes = words.len() * size_of::<u64>();
        // SAFETY: the range lies within our shared mapping of a file: what is let go of is read
        // again from the file where it is touched.
        unsafe {
            let begin = self.words.as_ptr().add(words.start);
            madvise(begin.cast(), bytes, Advice::LinuxDontNeed)
        }
        .ok();
    }
}

impl Drop for Mapping {
    #[expect(unsafe_code, reason = "unmaps what was mapped")]
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody holds a reference into it any more.
        unsafe { munmap(self.words.as_ptr().cast(), self.length) }.ok();
    }
}
