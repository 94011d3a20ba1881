//! A model's checkpoint, mapped into memory: every change is there before it is answered.
//!
//! Plain stores into a shared mapping outlive this process without a system call, which is why a
//! checkpoint costs a call next to nothing. The layout is the protocol's.

use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use simward_protocol::checkpoint::{self, Counts, Kept, Run};

/// An open checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    words: NonNull<u64>,
    length: usize,
    /// How many values the model's state has.
    values: usize,
    /// The slot that the next change goes to.
    slot: usize,
    sequence: u64,
}

/// What a checkpoint held.
#[derive(Debug)]
pub struct Found {
    /// What was counted.
    pub counts: Counts,
    /// What was under way in the background.
    pub run: Option<Run>,
    /// What was changed of the model.
    pub modified: Vec<[u64; 2]>,
    /// The state's values.
    pub state: Vec<f64>,
}

impl Checkpoint {
    /// Maps an empty checkpoint.
    pub fn create(file: &OwnedFd, values: usize) -> Result<Self, String> {
        Self::map(file, values)
    }

    /// Maps a checkpoint and finds the newest state in it. The next change leaves that state alone
    /// until it is whole itself.
    pub fn reopen(file: &OwnedFd, values: usize) -> Result<(Self, Found), String> {
        let mut checkpoint = Self::map(file, values)?;
        let words = checkpoint.words();
        let newest = checkpoint::newest(words, values, None);
        let newest = newest.map_err(|error| error.to_string())?;
        let state = newest.values.iter().copied().map(f64::from_bits).collect();
        let Kept { counts, run, modified } = newest.kept;
        let found = Found { counts, run, modified: modified.to_vec(), state };
        let slot = 1 - newest.index;
        checkpoint.sequence = checkpoint::next_sequence(words, values);
        checkpoint.slot = slot;
        Ok((checkpoint, found))
    }

    /// Keeps a change that the call of that id has made, or (0) no call. `fill` writes the state.
    pub fn keep(&mut self, call: u64, kept: &Kept<'_>, fill: impl FnOnce(&mut [f64])) {
        let (values, place) = (self.values, (self.sequence, call));
        let slot_words = checkpoint::slot_words(values);
        let begin = self.slot * slot_words;
        let slot = &mut self.words_mut()[begin..begin + slot_words];
        checkpoint::write(slot, place, values, kept, |words| fill(bytemuck::cast_slice_mut(words)));
        self.slot = 1 - self.slot;
        self.sequence += 1;
    }

    #[expect(unsafe_code, reason = "maps a file into memory")]
    fn map(file: &OwnedFd, values: usize) -> Result<Self, String> {
        let expected = checkpoint::file_bytes(values as u64).ok_or("the state is too large")?;
        let stat = rustix::fs::fstat(file).map_err(|error| error.to_string())?;
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        if bytes != expected {
            return Err(format!("it has {bytes} bytes and needs {expected}"));
        }
        let length = usize::try_from(bytes).map_err(|error| error.to_string())?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, of a file that is as long as it; this process cannot shorten the
        // file, and if the supervisor's host does, the process ends by a signal.
        let mapped =
            unsafe { mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, file, 0) };
        let words = NonNull::new(mapped.map_err(|error| error.to_string())?.cast());
        let words = words.ok_or("it was mapped to nowhere")?;
        Ok(Self { words, length, values, slot: 0, sequence: 1 })
    }

    #[expect(unsafe_code, reason = "the mapping is reached by a pointer")]
    fn words(&self) -> &[u64] {
        // SAFETY: the mapping is that long, aligned to a page, and lives as long as `self`. No
        // other process writes to it: the supervisor never maps it, and hands it to one worker at a
        // time. Every bit pattern is a valid word.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.length / size_of::<u64>()) }
    }

    #[expect(unsafe_code, reason = "the mapping is reached by a pointer")]
    fn words_mut(&mut self) -> &mut [u64] {
        let length = self.length / size_of::<u64>();
        // SAFETY: as for `words`, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_ptr(), length) }
    }
}

impl Drop for Checkpoint {
    #[expect(unsafe_code, reason = "unmaps what was mapped")]
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody holds a reference into it any more.
        unsafe { munmap(self.words.as_ptr().cast(), self.length) }.ok();
    }
}
