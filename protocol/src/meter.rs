//! What a worker counts of a session's steps, in a file that it shares with the supervisor.
//!
//! The supervisor makes the file and hands it over with
//! [`OpenSession`](crate::session::OpenSession); the worker maps it and stores into it, which costs a
//! step nothing, and the supervisor reads it whenever it likes, also while the worker is busy,
//! hangs or has just died. Every word is written by itself: what is read of a worker at work may
//! be of two moments that are a slice of steps apart.
//!
//! The file is a head, a histogram of how long steps take, and a row for each model.

/// The file's length, in words of eight bytes in the machine's own order.
pub const WORDS: usize = 1024;

/// The file's length, in bytes.
pub const BYTES: usize = WORDS * size_of::<u64>();

/// The words of the head.
pub const HEAD_WORDS: usize = 16;

/// The words of a row.
pub const ROW_WORDS: usize = 16;

/// How many models have rows; those beyond are counted in the head alone.
pub const ROWS: usize = (WORDS - HEAD_WORDS - BUCKETS) / ROW_WORDS;

/// How many buckets the histogram has.
pub const BUCKETS: usize = 240;

/// What is counted of all models together: the head, and the histogram. Rows begin after it.
const COUNTS_WORDS: usize = HEAD_WORDS + BUCKETS;

/// Words of the head.
pub mod head {
    /// Steps.
    pub const STEPS_TOTAL: usize = 0;
    /// Nanoseconds that they took, as far as they were timed and each timed one stands for others.
    pub const STEP_NANOS_TOTAL: usize = 1;
    /// Seconds that were simulated, as the bits of an `f64`.
    pub const SIMULATED_SECS_TOTAL: usize = 2;
    /// How long the last timed step took, in nanoseconds.
    pub const LAST_STEP_NANOS: usize = 3;
    /// When steps were last taken, in milliseconds since 1970.
    pub const STEPPED_AT_MILLIS: usize = 4;
    /// Contacts after the last step.
    pub const CONTACTS: usize = 5;
    /// The most contacts after a slice of steps.
    pub const CONTACTS_MAX: usize = 6;
    /// Iterations of the constraint solver in the last step of every slice.
    pub const SOLVER_ITERATIONS_TOTAL: usize = 7;
    /// Slices of steps.
    pub const SLICES_TOTAL: usize = 8;
    /// Rows of the constraint Jacobian after the last step.
    pub const CONSTRAINTS: usize = 9;
    /// Warnings of the engine.
    pub const WARNINGS_TOTAL: usize = 10;
    /// Times that the engine started a diverged simulation anew.
    pub const AUTO_RESETS_TOTAL: usize = 11;
    /// The most that a model has used of its arena, in bytes.
    pub const ARENA_USED_MAX_BYTES: usize = 12;
    /// Written by the supervisor: which steps are to be timed, as [`Timing`](super::Timing).
    pub const TIMING: usize = 13;
}

/// Words of a row.
pub mod row {
    /// Which model, by [`key`](super::key); 0 if the row is free.
    pub const KEY: usize = 0;
    /// Its compiled model, in bytes.
    pub const MODEL_BYTES: usize = 1;
    /// Its data, without the arena, in bytes.
    pub const DATA_BYTES: usize = 2;
    /// The arena that its data reserve, in bytes.
    pub const ARENA_BYTES: usize = 3;
    /// The most that it has used of it, in bytes.
    pub const ARENA_USED_MAX_BYTES: usize = 4;
    /// Steps.
    pub const STEPS_TOTAL: usize = 5;
    /// Nanoseconds that they took.
    pub const STEP_NANOS_TOTAL: usize = 6;
    /// Seconds that were simulated, as the bits of an `f64`.
    pub const SIMULATED_SECS_TOTAL: usize = 7;
    /// How long the last timed step took, in nanoseconds.
    pub const LAST_STEP_NANOS: usize = 8;
    /// When steps were last taken, in milliseconds since 1970.
    pub const STEPPED_AT_MILLIS: usize = 9;
    /// Contacts after the last step.
    pub const CONTACTS: usize = 10;
    /// Warnings of the engine.
    pub const WARNINGS_TOTAL: usize = 11;
}

/// Where the row of that number begins.
pub const fn row_begin(index: usize) -> usize {
    COUNTS_WORDS + index * ROW_WORDS
}

/// What a model's row is found by: the first bytes of a hash of its name, never 0.
pub fn key(model_id: &str) -> u64 {
    // FNV-1a: short names, and no secret.
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    model_id.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, mix).max(1)
}

/// Octaves of a histogram begin with 2^6 nanoseconds.
const FIRST_OCTAVE: u32 = 6;

/// Every octave has 2^3 buckets of the same width: a bucket is an eighth of its lower end wide at
/// most.
const SPLIT: u32 = 3;

/// The bucket of a duration. The first has everything below 72 ns, the last everything from 64 s on.
pub const fn bucket(nanos: u64) -> usize {
    if nanos < 1 << FIRST_OCTAVE {
        return 0;
    }
    let octave = nanos.ilog2();
    let part = (nanos >> (octave - SPLIT)) & ((1 << SPLIT) - 1);
    let index = (((octave - FIRST_OCTAVE) as usize) << SPLIT) + part as usize;
    if index < BUCKETS { index } else { BUCKETS - 1 }
}

/// The least duration of a bucket, in nanoseconds.
#[expect(clippy::cast_possible_truncation, reason = "there are few buckets")]
pub const fn bucket_begin(index: usize) -> u64 {
    let octave = FIRST_OCTAVE + (index >> SPLIT) as u32;
    let part = (index & ((1 << SPLIT) - 1)) as u64;
    ((1 << SPLIT) + part) << (octave - SPLIT)
}

/// Which steps are to be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// As many as cost next to nothing; each stands for some others.
    Some,
    /// Every step, whatever that costs.
    Every,
    /// No step.
    None,
}

impl Timing {
    /// As it is written.
    pub const fn word(self) -> u64 {
        match self {
            Self::Some => 0,
            Self::Every => 1,
            Self::None => 2,
        }
    }

    /// As it is read.
    pub const fn of(word: u64) -> Self {
        match word {
            1 => Self::Every,
            2 => Self::None,
            _ => Self::Some,
        }
    }
}

/// What was read of the head. A worker may claim anything: what cannot be is made possible.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Head {
    /// Steps.
    pub steps_total: u64,
    /// Nanoseconds that they took.
    pub step_nanos_total: u64,
    /// Seconds that were simulated.
    pub simulated_secs_total: f64,
    /// How long the last timed step took, in nanoseconds.
    pub last_step_nanos: u64,
    /// When steps were last taken, in milliseconds since 1970; 0 if never.
    pub stepped_at_millis: u64,
    /// Contacts after the last step.
    pub contacts: u64,
    /// The most contacts after a slice of steps.
    pub contacts_max: u64,
    /// Iterations of the constraint solver in the last step of every slice.
    pub solver_iterations_total: u64,
    /// Slices of steps.
    pub slices_total: u64,
    /// Rows of the constraint Jacobian after the last step.
    pub constraints: u64,
    /// Warnings of the engine.
    pub warnings_total: u64,
    /// Times that the engine started a diverged simulation anew.
    pub auto_resets_total: u64,
    /// The most that a model has used of its arena, in bytes.
    pub arena_used_max_bytes: u64,
}

/// What was read of a model's row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row {
    /// Its compiled model, in bytes.
    pub model_bytes: u64,
    /// Its data, without the arena, in bytes.
    pub data_bytes: u64,
    /// The arena that its data reserve, in bytes.
    pub arena_bytes: u64,
    /// The most that it has used of it, in bytes.
    pub arena_used_max_bytes: u64,
    /// Steps.
    pub steps_total: u64,
    /// Nanoseconds that they took.
    pub step_nanos_total: u64,
    /// Seconds that were simulated.
    pub simulated_secs_total: f64,
    /// How long the last timed step took, in nanoseconds.
    pub last_step_nanos: u64,
    /// When steps were last taken, in milliseconds since 1970; 0 if never.
    pub stepped_at_millis: u64,
    /// Contacts after the last step.
    pub contacts: u64,
    /// Warnings of the engine.
    pub warnings_total: u64,
}

impl Head {
    /// Reads a file's head.
    pub fn read(words: &[u64; HEAD_WORDS]) -> Self {
        Self {
            steps_total: words[head::STEPS_TOTAL],
            step_nanos_total: words[head::STEP_NANOS_TOTAL],
            simulated_secs_total: secs(words[head::SIMULATED_SECS_TOTAL]),
            last_step_nanos: words[head::LAST_STEP_NANOS],
            stepped_at_millis: words[head::STEPPED_AT_MILLIS],
            contacts: words[head::CONTACTS],
            contacts_max: words[head::CONTACTS_MAX],
            solver_iterations_total: words[head::SOLVER_ITERATIONS_TOTAL],
            slices_total: words[head::SLICES_TOTAL],
            constraints: words[head::CONSTRAINTS],
            warnings_total: words[head::WARNINGS_TOTAL],
            auto_resets_total: words[head::AUTO_RESETS_TOTAL],
            arena_used_max_bytes: words[head::ARENA_USED_MAX_BYTES],
        }
    }
}

impl Row {
    /// Finds a model's row in a whole file.
    pub fn find(words: &[u64; WORDS], model_id: &str) -> Option<Self> {
        let key = key(model_id);
        let mut rows = words[COUNTS_WORDS..].chunks_exact(ROW_WORDS);
        let words = rows.find(|words| words[row::KEY] == key)?;
        Some(Self {
            model_bytes: words[row::MODEL_BYTES],
            data_bytes: words[row::DATA_BYTES],
            arena_bytes: words[row::ARENA_BYTES],
            arena_used_max_bytes: words[row::ARENA_USED_MAX_BYTES],
            steps_total: words[row::STEPS_TOTAL],
            step_nanos_total: words[row::STEP_NANOS_TOTAL],
            simulated_secs_total: secs(words[row::SIMULATED_SECS_TOTAL]),
            last_step_nanos: words[row::LAST_STEP_NANOS],
            stepped_at_millis: words[row::STEPPED_AT_MILLIS],
            contacts: words[row::CONTACTS],
            warnings_total: words[row::WARNINGS_TOTAL],
        })
    }
}

/// The head and the histogram, one after the other.
#[derive(Clone, Debug)]
pub struct Counts {
    words: [u64; COUNTS_WORDS],
}

impl Counts {
    /// What is read by `read` into the place for it.
    pub fn read<E>(read: impl FnOnce(&mut [u64]) -> Result<(), E>) -> Result<Self, E> {
        let mut words = [0; COUNTS_WORDS];
        read(&mut words)?;
        Ok(Self { words })
    }

    /// The head.
    pub fn head(&self) -> Head {
        let mut words = [0; HEAD_WORDS];
        words.copy_from_slice(&self.words[..HEAD_WORDS]);
        Head::read(&words)
    }

    /// The histogram.
    pub fn histogram(&self) -> &[u64] {
        &self.words[HEAD_WORDS..]
    }
}

/// The histogram of a whole file.
pub fn histogram(words: &[u64; WORDS]) -> &[u64] {
    &words[HEAD_WORDS..COUNTS_WORDS]
}

/// Seconds that may be.
fn secs(bits: u64) -> f64 {
    let secs = f64::from_bits(bits);
    if secs.is_finite() { secs.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket_begin(0), 64);
        for index in 1..BUCKETS {
            let begin = bucket_begin(index);
            assert_eq!((bucket(begin - 1), bucket(begin)), (index - 1, index));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn a_bucket_says_how_long_something_took_to_an_eighth(nanos in 64_u64..60_000_000_000) {
            let begin = bucket_begin(bucket(nanos));
            prop_assert!(begin <= nanos && nanos - begin <= begin / 8);
        }

        #[test]
        fn whatever_a_worker_writes_can_be_read(bits: u64, model in ".{0,8}") {
            let mut words = [bits; WORDS];
            words[row_begin(7) + row::KEY] = key(&model);
            let head = Head::read(words.first_chunk().unwrap());
            prop_assert!(head.simulated_secs_total.is_finite());
            prop_assert!(Row::find(&words, &model).is_some());
        }
    }

    #[test]
    fn a_model_without_a_row_has_none() {
        assert_eq!(Row::find(&[0; WORDS], "model"), None);
    }

    #[test]
    fn everything_has_its_place() {
        const { assert!(16 < ROWS && row_begin(ROWS) <= WORDS) };
    }
}
