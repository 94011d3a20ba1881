//! A pendulum's checkpoint, written with plain writes: a second implementation of what the real
//! worker does with a mapping.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use simward_protocol::checkpoint::{self, Kept, Slot};

/// Time, position, velocity and control.
pub(crate) const VALUES: usize = 4;

/// An open checkpoint.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    file: File,
    slot: usize,
    sequence: u64,
}

impl Checkpoint {
    /// An empty one.
    pub(crate) fn create(file: File) -> Self {
        Self { file, slot: 0, sequence: 1 }
    }

    /// One that holds a state already.
    pub(crate) fn reopen(file: File) -> io::Result<(Self, Kept<'static>, [f64; VALUES])> {
        let mut words = vec![0; 2 * checkpoint::slot_words(VALUES)];
        file.read_exact_at(bytemuck::cast_slice_mut(&mut words), 0)?;
        let newest = checkpoint::newest(&words, VALUES, None).map_err(io::Error::other)?;
        let Slot { index, kept, values, .. } = newest;
        let mut state = [0.0; VALUES];
        state.iter_mut().zip(values).for_each(|(value, bits)| *value = f64::from_bits(*bits));
        // A pendulum's model is never changed.
        let kept = Kept { counts: kept.counts, run: kept.run, ..Kept::default() };
        let sequence = checkpoint::next_sequence(&words, VALUES);
        Ok((Self { file, slot: 1 - index, sequence }, kept, state))
    }

    pub(crate) fn keep(
        &mut self,
        call: u64,
        kept: &Kept<'_>,
        state: [f64; VALUES],
    ) -> io::Result<()> {
        let mut slot = vec![0; checkpoint::slot_words(VALUES)];
        checkpoint::write(&mut slot, (self.sequence, call), VALUES, kept, |words| {
            words.iter_mut().zip(state).for_each(|(word, value)| *word = value.to_bits());
        });
        let bytes: &[u8] = bytemuck::cast_slice(&slot);
        self.file.write_all_at(bytes, (self.slot * bytes.len()) as u64)?;
        self.slot = 1 - self.slot;
        self.sequence += 1;
        Ok(())
    }
}
