//! A model's checkpoint, mapped into memory: every change is there before it is answered.
//!
//! Plain stores into a shared mapping outlive this process without a system call, which is why a
//! checkpoint costs a call next to nothing. The layout is the protocol's.

use std::os::fd::OwnedFd;

use simward_protocol::checkpoint::{self, Counts, Kept, Run};

use super::mapping::{self, Mapping};

/// An open checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    mapping: Mapping,
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
        let words = checkpoint.mapping.words();
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
        let slot = &mut self.mapping.words_mut()[begin..begin + slot_words];
        checkpoint::write(slot, place, values, kept, |words| fill(bytemuck::cast_slice_mut(words)));
        self.slot = 1 - self.slot;
        self.sequence += 1;
    }

    fn map(file: &OwnedFd, values: usize) -> Result<Self, String> {
        let expected = checkpoint::file_bytes(values as u64).ok_or("the state is too large")?;
        let bytes = mapping::length_of(file)?;
        if bytes != expected {
            return Err(format!("it has {bytes} bytes and needs {expected}"));
        }
        let mapping = Mapping::new(file, bytes)?;
        Ok(Self { mapping, values, slot: 0, sequence: 1 })
    }
}
