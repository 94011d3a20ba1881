//! How a model's state outlives its worker.
//!
//! Every model has a checkpoint: a file of two slots, which the supervisor makes and the worker
//! maps into its memory. After each change, before it answers, the worker writes the older slot.
//! Whatever is killed at whatever moment, one slot is whole; and since the slot from before a call
//! is there until the next call has ended, a call whose answer was lost can be undone.
//!
//! A slot is a run of 64-bit words in the machine's own order:
//!
//! | words | what |
//! |---|---|
//! | 0 | [`MAGIC`], which names this layout |
//! | 1 | the sequence number: the larger one is newer |
//! | 2 | the call that made the change, by its id in its worker; 0 for none |
//! | 3 | how many values the state has |
//! | 4 | the CRC-32 of words 1 to 3 and of all that follows, in the lower half |
//! | 5 | how many fields of the compiled model were changed |
//! | 6… | what was counted, the simulation in the background, the state's values, changed fields |
//!
//! A changed field is two words: which one ([`Modified::place`]), and its value.
//!
//! This module reads and writes slots; it never opens, maps or syncs a file.

/// The first word of a slot.
pub const MAGIC: u64 = u64::from_le_bytes(*b"SIMWARD2");

/// Words before the counters.
const HEADER_WORDS: usize = 6;
/// The word with the checksum; what follows it is covered.
const SUM_WORD: usize = 4;
/// Steps, automatic resets, and the engine's warnings by kind.
const COUNT_WORDS: usize = 2 + WARNINGS;
/// Whether there is one, its end, its pace, its steps, and the counts at its beginning.
const RUN_WORDS: usize = 4 + COUNT_WORDS;
/// Words before the state's values.
const FIXED_WORDS: usize = HEADER_WORDS + COUNT_WORDS + RUN_WORDS;

/// The most fields of a compiled model that can differ from what was compiled.
pub const MODIFIED_MAX: usize = 512;

/// How many kinds of warnings the engine counts.
pub const WARNINGS: usize = 7;

/// Slots begin on pages of their own.
const PAGE_WORDS: usize = 512;

/// The most values of a state that has a checkpoint: 512 MiB of them.
pub const VALUES_MAX: u64 = 64 << 20;

/// The words of one slot.
pub fn slot_words(values: usize) -> usize {
    let used = (FIXED_WORDS + 2 * MODIFIED_MAX).saturating_add(values);
    used.checked_next_multiple_of(PAGE_WORDS).unwrap_or(usize::MAX)
}

/// The length of a checkpoint, or nothing if the state is too large to have one.
pub fn file_bytes(values: u64) -> Option<u64> {
    let values = usize::try_from(values).ok().filter(|_| values <= VALUES_MAX)?;
    u64::try_from(2 * slot_words(values) * size_of::<u64>()).ok()
}

/// What was counted of a model since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Steps taken.
    pub steps_total: u64,
    /// How often the engine found the simulation unstable and started it anew.
    pub auto_resets: u64,
    /// The engine's warnings, by kind.
    pub warnings: [u64; WARNINGS],
}

/// A simulation in the background, as far as it had come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// The simulated time at which it ends.
    pub until_secs: f64,
    /// Simulated seconds per second; nothing means as fast as possible.
    pub real_time_factor: Option<f64>,
    /// Steps so far.
    pub steps_done: u64,
    /// What was counted before it began.
    pub before: Counts,
}

/// A value of a compiled model that was changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Modified {
    /// The field, by the worker's own number of it.
    pub field: u16,
    /// Which of its values.
    pub index: u32,
    /// What it is now.
    pub value: f64,
}

impl Modified {
    /// Field and index in one word.
    pub fn place(&self) -> u64 {
        u64::from(self.field) << 32 | u64::from(self.index)
    }

    /// As two words.
    pub fn words(&self) -> [u64; 2] {
        [self.place(), self.value.to_bits()]
    }

    /// Out of two words; nothing if the field's number cannot be one.
    pub fn of_words([place, bits]: [u64; 2]) -> Option<Self> {
        let field = u16::try_from(place >> 32).ok()?;
        let index = u32::try_from(place & u64::from(u32::MAX)).ok()?;
        Some(Self { field, index, value: f64::from_bits(bits) })
    }
}

/// What a checkpoint holds beside the state's values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Kept<'a> {
    /// What was counted.
    pub counts: Counts,
    /// What was under way in the background.
    pub run: Option<Run>,
    /// What was changed of the compiled model, as words; at most [`MODIFIED_MAX`] of them count.
    pub modified: &'a [[u64; 2]],
}

/// A slot that was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slot<'a> {
    /// Its place: 0 or 1.
    pub index: usize,
    /// Its sequence number.
    pub sequence: u64,
    /// What it holds.
    pub kept: Kept<'a>,
    /// The state's values, by their bits.
    pub values: &'a [u64],
}

/// A checkpoint that nothing can be restored from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file has another length than a checkpoint of such a state.
    #[error("it has {got} words and needs {expected}")]
    Length {
        /// What it has.
        got: usize,
        /// What it needs.
        expected: usize,
    },
    /// Neither slot is whole.
    #[error("neither of its slots is whole")]
    Damaged,
}

/// Writes a slot. `fill` puts the state's values, by their bits, into the words it is given.
///
/// # Panics
///
/// Panics if the slot is shorter than [`slot_words`].
pub fn write(
    slot: &mut [u64],
    (sequence, call): (u64, u64),
    values: usize,
    kept: &Kept<'_>,
    fill: impl FnOnce(&mut [u64]),
) {
    slot[0] = MAGIC;
    slot[1] = sequence;
    slot[2] = call;
    slot[3] = values as u64;
    let modified = &kept.modified[..kept.modified.len().min(MODIFIED_MAX)];
    slot[5] = modified.len() as u64;
    put_counts(&mut slot[HEADER_WORDS..], &kept.counts);
    let run = &mut slot[HEADER_WORDS + COUNT_WORDS..FIXED_WORDS];
    run.fill(0);
    if let Some(Run { until_secs, real_time_factor, steps_done, before }) = &kept.run {
        run[0] = 1;
        run[1] = until_secs.to_bits();
        run[2] = real_time_factor.unwrap_or(0.0).to_bits();
        run[3] = *steps_done;
        put_counts(&mut run[4..], before);
    }
    fill(&mut slot[FIXED_WORDS..FIXED_WORDS + values]);
    let words = modified.as_flattened();
    let used = FIXED_WORDS + values + words.len();
    slot[FIXED_WORDS + values..used].copy_from_slice(words);
    slot[SUM_WORD] = checksum(&slot[..used]);
}

/// Finds the newest state in a whole checkpoint, leaving out what the call `unanswered` did.
pub fn newest(words: &[u64], values: usize, unanswered: Option<u64>) -> Result<Slot<'_>, Error> {
    let expected = slot_words(values).saturating_mul(2);
    if words.len() != expected {
        return Err(Error::Length { got: words.len(), expected });
    }
    let slots = words.chunks_exact(expected / 2).enumerate();
    let whole = slots.filter_map(|(index, slot)| read(index, slot, values));
    let wanted = whole.filter(|(_, call)| *call == 0 || Some(*call) != unanswered);
    wanted.map(|(slot, _)| slot).max_by_key(|slot| slot.sequence).ok_or(Error::Damaged)
}

/// The place of the slot that must be voided so that what the call did is undone: its first word is
/// to be set to anything but [`MAGIC`]. Nothing, if the call did nothing, or if there is nothing to
/// go back to.
pub fn undo(words: &[u64], values: usize, call: u64) -> Option<usize> {
    let (with, without) = (newest(words, values, None), newest(words, values, Some(call)));
    let (with, without) = (with.ok()?, without.ok()?);
    (with.index != without.index).then_some(with.index)
}

/// The sequence number that is newer than both slots, whole or not.
pub fn next_sequence(words: &[u64], values: usize) -> u64 {
    let slots = words.chunks_exact(slot_words(values)).enumerate();
    let sequences = slots.filter_map(|(index, slot)| read(index, slot, values));
    sequences.map(|(slot, _)| slot.sequence).max().unwrap_or(0).wrapping_add(1)
}

/// A slot and its call, if it is whole.
fn read(index: usize, slot: &[u64], values: usize) -> Option<(Slot<'_>, u64)> {
    let fixed = FIXED_WORDS.checked_add(values)?;
    let [magic, sequence, call, length, sum, modified] = *slot.first_chunk()?;
    let modified = usize::try_from(modified).ok().filter(|count| *count <= MODIFIED_MAX)?;
    let used = slot.get(..fixed.checked_add(2 * modified)?)?;
    if magic != MAGIC || length != values as u64 || sum != checksum(used) {
        return None;
    }
    let counts = get_counts(&used[HEADER_WORDS..]);
    let run = &used[HEADER_WORDS + COUNT_WORDS..FIXED_WORDS];
    let run = (run[0] == 1).then(|| {
        let factor = f64::from_bits(run[2]);
        Run {
            until_secs: f64::from_bits(run[1]),
            real_time_factor: (factor != 0.0).then_some(factor),
            steps_done: run[3],
            before: get_counts(&run[4..]),
        }
    });
    let (values, modified) = used[FIXED_WORDS..].split_at(values);
    let kept = Kept { counts, run, modified: modified.as_chunks().0 };
    Some((Slot { index, sequence, kept, values }, call))
}

fn put_counts(words: &mut [u64], counts: &Counts) {
    words[0] = counts.steps_total;
    words[1] = counts.auto_resets;
    words[2..COUNT_WORDS].copy_from_slice(&counts.warnings);
}

fn get_counts(words: &[u64]) -> Counts {
    let mut warnings = [0; WARNINGS];
    warnings.copy_from_slice(&words[2..COUNT_WORDS]);
    Counts { steps_total: words[0], auto_resets: words[1], warnings }
}

fn checksum(used: &[u64]) -> u64 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(bytemuck::cast_slice(&used[1..SUM_WORD]));
    sum.update(bytemuck::cast_slice(&used[SUM_WORD + 1..]));
    sum.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALUES: usize = 3;

    fn empty() -> Vec<u64> {
        vec![0; 2 * slot_words(VALUES)]
    }

    /// Writes a change the way a worker does: into the slot that is not the newest.
    fn change(words: &mut [u64], call: u64, value: u64) {
        let older = newest(words, VALUES, None).map_or(0, |slot| 1 - slot.index);
        let sequence = next_sequence(words, VALUES);
        let slot = words.chunks_exact_mut(slot_words(VALUES)).nth(older).unwrap();
        let counts = Counts { steps_total: value, ..Counts::default() };
        let kept = Kept { counts, ..Kept::default() };
        write(slot, (sequence, call), VALUES, &kept, |values| values.fill(value));
    }

    fn state(words: &[u64], unanswered: Option<u64>) -> Option<u64> {
        newest(words, VALUES, unanswered).ok().map(|slot| slot.values[0])
    }

    #[test]
    fn an_empty_file_holds_nothing() {
        assert_eq!(newest(&empty(), VALUES, None), Err(Error::Damaged));
        assert_eq!(
            newest(&[0; 7], VALUES, None),
            Err(Error::Length { got: 7, expected: 2 * slot_words(VALUES) })
        );
    }

    #[test]
    fn the_newest_change_counts_unless_its_call_was_not_answered() {
        let mut words = empty();
        for call in 1..10 {
            change(&mut words, call, call * 100);
            assert_eq!(state(&words, None), Some(call * 100));
        }
        assert_eq!(state(&words, Some(9)), Some(800));
        assert_eq!(state(&words, Some(7)), Some(900));
    }

    #[test]
    fn a_call_is_undone_by_voiding_what_it_wrote() {
        let mut words = empty();
        change(&mut words, 1, 100);
        assert_eq!(undo(&words, VALUES, 1), None, "there is nothing to go back to");
        change(&mut words, 2, 200);
        assert_eq!(undo(&words, VALUES, 1), None);
        let index = undo(&words, VALUES, 2).unwrap();
        words[index * slot_words(VALUES)] = 0;
        assert_eq!(state(&words, None), Some(100));
        change(&mut words, 3, 300);
        assert_eq!(state(&words, None), Some(300));
    }

    #[test]
    fn what_nobody_called_for_is_never_undone() {
        let mut words = empty();
        change(&mut words, 0, 1);
        assert_eq!(state(&words, Some(0)), Some(1));
    }

    #[test]
    fn a_background_simulation_comes_back_as_it_was() {
        let before = Counts { steps_total: 1, auto_resets: 2, warnings: [1, 2, 3, 4, 5, 6, 7] };
        let run = Run { until_secs: 1.5, real_time_factor: Some(0.5), steps_done: 9, before };
        let modified = [Modified { field: 3, index: 9, value: -0.5 }.words(); 3];
        let kept = Kept { counts: before, run: Some(run), modified: &modified };
        let mut words = empty();
        let (slot, _) = words.split_at_mut(slot_words(VALUES));
        write(slot, (1, 1), VALUES, &kept, |_| ());
        assert_eq!(newest(&words, VALUES, None).unwrap().kept, kept);
        let [one, ..] = modified;
        let value = Modified { field: 3, index: 9, value: -0.5 };
        assert_eq!(Modified::of_words(one), Some(value));
        assert_eq!(Modified::of_words([u64::MAX, 0]), None);
    }

    #[test]
    fn a_state_that_is_too_large_has_no_checkpoint() {
        assert_eq!(file_bytes(VALUES_MAX + 1), None);
        assert_eq!(file_bytes(0), Some(24_576));
        assert_eq!(file_bytes(233), Some(24_576));
    }

    proptest! {
        /// Killed at any word of a write, and the state from before is there.
        #[test]
        fn a_torn_write_leaves_the_state_from_before(
            changes in 1_u64..6, torn_at in 0_usize..FIXED_WORDS + VALUES, seed: u64
        ) {
            let mut words = empty();
            for call in 1..=changes {
                change(&mut words, call, call);
            }
            let before = words.clone();
            change(&mut words, changes + 1, seed | 1 << 63);
            let index = newest(&words, VALUES, None).unwrap().index;
            let begin = index * slot_words(VALUES);
            let end = begin + slot_words(VALUES);
            words[begin + torn_at..end].copy_from_slice(&before[begin + torn_at..end]);
            let found = state(&words, None);
            // All of it, or nothing of it.
            prop_assert!(found == Some(changes) || found == Some(seed | 1 << 63), "{found:?}");
        }

        #[test]
        fn a_flipped_bit_is_noticed(word in 1_usize..FIXED_WORDS + VALUES, bit in 0_u32..64) {
            let mut words = empty();
            change(&mut words, 1, 77);
            // The upper half of the sum's word is not covered by itself.
            words[word] ^= 1 << bit;
            prop_assert_eq!(newest(&words, VALUES, None), Err(Error::Damaged));
        }

        #[test]
        fn hostile_words_do_no_harm(
            mut words in prop::collection::vec(any::<u64>(), 2 * slot_words(VALUES)),
            values in prop_oneof![0_usize..PAGE_WORDS, Just(usize::MAX), Just(usize::MAX / 2)],
            unanswered: Option<u64>
        ) {
            words[0] = MAGIC;
            words[3] = values as u64;
            newest(&words, values, unanswered).ok();
            next_sequence(&words, values);
        }
    }
}
