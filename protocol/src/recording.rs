//! Recordings: values of every n-th step, as a table.
//!
//! A recording is a file that the supervisor makes, of a size that never changes, and the worker
//! maps into its memory: a row costs a step plain stores and no system call, and it outlives the
//! process. The row's step number tells where it belongs, so that rows of steps that were undone
//! are found and taken again.
//!
//! The file is a run of 64-bit words in the machine's own order:
//!
//! | words | what |
//! |---|---|
//! | 0 | [`MAGIC`], which names this layout |
//! | 1 | the bytes of the description |
//! | 2 | the words of a row |
//! | 3 | the rows that there is space for |
//! | 4 | every how many steps there is a row |
//! | 5 | the steps that the model had taken when it began |
//! | 6 | the CRC-32 of words 1 to 5 and of the description |
//! | 7 | the rows that there are; written after the row itself |
//! | 8… | the description, a [`Layout`] |
//! | from the next page on | the rows: the step, the simulated time, the values |
//!
//! This module reads and writes heads; it never opens, maps or syncs a file.

use serde::{Deserialize, Serialize};

use crate::real::Reals;

/// The first word of a recording.
pub const MAGIC: u64 = u64::from_le_bytes(*b"SIMWREC1");

/// Words before the description.
const FIXED_WORDS: usize = 8;
/// The place of the checksum.
const SUM: usize = 6;
/// The place of the number of rows.
pub const ROWS: usize = 7;
/// Rows begin on a page of their own.
const PAGE_WORDS: usize = 512;
/// Words of a row before its values: the step and the time.
pub const ROW_HEAD_WORDS: usize = 2;

/// The most columns of a recording, beside step and time.
pub const COLUMNS_MAX: usize = 1024;
/// The most channels that one call may name.
pub const CHANNELS_MAX: usize = 256;
/// The longest description.
pub const LAYOUT_BYTES_MAX: usize = 512 << 10;
/// The longest head: the fixed words and the description, to the end of its page.
pub const HEAD_BYTES_MAX: usize = LAYOUT_BYTES_MAX + 2 * PAGE_WORDS * size_of::<u64>();
/// The most steps between two rows.
pub const EVERY_MAX: u64 = 1_000_000;
/// The most values of a table that comes back with a call, times included.
pub const TABLE_VALUES_MAX: u64 = 20_000;

/// Something that is recorded: a whole vector, or what belongs to one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// All positions.
    Qpos,
    /// All velocities.
    Qvel,
    /// All controls.
    Ctrl,
    /// All actuator activations.
    Act,
    /// All accelerations.
    Qacc,
    /// The forces of all actuators.
    ActuatorForce,
    /// The outputs of all sensors.
    Sensordata,
    /// World positions of all bodies.
    Xpos,
    /// World orientations of all bodies.
    Xquat,
    /// Potential and kinetic energy, where the model computes them.
    Energy,
    /// Positions and velocities of one joint.
    Joint(String),
    /// Control and force of one actuator.
    Actuator(String),
    /// The outputs of one sensor.
    Sensor(String),
    /// World position and orientation of one body.
    Body(String),
}

/// One column of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name: `qpos.elbow`, `xpos.hand[2]`.
    pub name: String,
    /// Its unit; empty where it has none, or where only the model's author knows it.
    pub unit: String,
}

/// Columns that belong together: one vector, or one part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Its name: `qpos`, `qpos.elbow`.
    pub name: String,
    /// Its columns, in MuJoCo's order.
    pub columns: Vec<Column>,
}

/// What a recording's rows consist of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The model.
    pub model_id: String,
    /// The values, after step and time.
    pub series: Vec<Series>,
}

impl Layout {
    /// Its columns, beside step and time.
    pub fn columns(&self) -> impl Iterator<Item = &Column> {
        self.series.iter().flat_map(|series| &series.columns)
    }

    /// How many they are.
    pub fn width(&self) -> usize {
        self.series.iter().map(|series| series.columns.len()).sum()
    }
}

/// What to record, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// What to record.
    pub channels: Vec<Channel>,
    /// Every how many steps, from 1 to [`EVERY_MAX`].
    pub every: u64,
}

/// Asks what a recording would consist of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecording {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// What to record.
    pub selection: Selection,
}

/// Begins a recording, into the empty file that travels with the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRecording {
    /// The model's id.
    pub model_id: String,
    /// The recording's id.
    pub recording_id: String,
    /// What to record.
    pub selection: Selection,
}

/// The answer to [`StartRecording`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingStarted {
    /// How many rows there is space for.
    pub rows_max: u64,
}

/// Hands over a recording that an earlier worker began. It goes on once its model is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachRecording {
    /// The model's id.
    pub model_id: String,
    /// The recording's id.
    pub recording_id: String,
    /// What is recorded.
    pub selection: Selection,
}

/// The answer to [`AttachRecording`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingAttached {}

/// Ends a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRecording {
    /// The recording's id.
    pub recording_id: String,
}

/// The answer to [`StopRecording`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingStopped {
    /// Whether the worker still recorded it.
    pub was_recording: bool,
}

/// Rows that come back with a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Table {
    /// The names of the columns: `time_secs`, then what was asked for.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Reals>,
}

/// What a recording's file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What its rows consist of.
    pub layout: Layout,
    /// Every how many steps there is a row.
    pub every: u64,
    /// The steps that the model had taken when it began.
    pub first_step: u64,
    /// How many rows there is space for.
    pub rows_max: u64,
    /// How many there are.
    pub rows: u64,
    /// Where they begin, in words.
    pub begin: usize,
    /// How many words each of them has.
    pub row_words: usize,
}

impl Head {
    /// The step that a row is of.
    pub fn step_of(&self, row: u64) -> u64 {
        self.first_step.saturating_add(row.saturating_add(1).saturating_mul(self.every))
    }

    /// How many rows there are of a model that has taken that many steps, were there space for all.
    pub fn rows_at(&self, step: u64) -> u64 {
        step.saturating_sub(self.first_step) / self.every.max(1)
    }
}

/// A file that is no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The description is too long.
    #[error("its description is longer than {LAYOUT_BYTES_MAX} bytes")]
    LayoutTooLong,
    /// There is no space for a row.
    #[error("it has no space for a row")]
    TooSmall,
    /// Its head is not whole.
    #[error("its head is not whole")]
    Damaged,
}

/// Where the rows begin, in words.
fn begin_of(layout_bytes: usize) -> usize {
    (FIXED_WORDS + layout_bytes.div_ceil(size_of::<u64>())).next_multiple_of(PAGE_WORDS)
}

fn encode(layout: &Layout) -> Result<Vec<u8>, Error> {
    let bytes = postcard::to_stdvec(layout).map_err(|_bad| Error::LayoutTooLong)?;
    if LAYOUT_BYTES_MAX < bytes.len() || COLUMNS_MAX < layout.width() {
        return Err(Error::LayoutTooLong);
    }
    Ok(bytes)
}

/// The length of a file with space for so many rows.
pub fn file_bytes(layout: &Layout, rows: u64) -> Result<u64, Error> {
    let begin = begin_of(encode(layout)?.len()) as u64;
    let row_words = (ROW_HEAD_WORDS + layout.width()) as u64;
    let words = rows.max(1).saturating_mul(row_words).saturating_add(begin);
    // Whole pages, of which the last one is used as well.
    Ok(words.saturating_mul(8).div_ceil(4096).saturating_mul(4096))
}

/// How many rows fit into that many bytes: none, if not even one does.
pub fn rows_within(layout: &Layout, bytes: u64) -> Result<u64, Error> {
    let begin = begin_of(encode(layout)?.len()) as u64;
    let row_words = (ROW_HEAD_WORDS + layout.width()) as u64;
    // A file has whole pages.
    let bytes = bytes / 4096 * 4096;
    Ok((bytes / 8).saturating_sub(begin) / row_words)
}

/// Makes a recording out of an empty file's words.
pub fn begin(
    words: &mut [u64],
    layout: Layout,
    every: u64,
    first_step: u64,
) -> Result<Head, Error> {
    let bytes = encode(&layout)?;
    let (begin, row_words) = (begin_of(bytes.len()), ROW_HEAD_WORDS + layout.width());
    let rows_max = (words.len().saturating_sub(begin) / row_words) as u64;
    if rows_max == 0 {
        return Err(Error::TooSmall);
    }
    words[..FIXED_WORDS].copy_from_slice(&[
        MAGIC,
        bytes.len() as u64,
        row_words as u64,
        rows_max,
        every,
        first_step,
        0,
        0,
    ]);
    let place: &mut [u8] = bytemuck::cast_slice_mut(&mut words[FIXED_WORDS..begin]);
    place[..bytes.len()].copy_from_slice(&bytes);
    words[SUM] = checksum(&words[..begin], bytes.len());
    Ok(Head { layout, every, first_step, rows_max, rows: 0, begin, row_words })
}

/// Reads a recording's head out of its first words, of a file that has `length` words in all.
pub fn read(words: &[u64], length: u64) -> Result<Head, Error> {
    let fixed: &[u64; FIXED_WORDS] = words.first_chunk().ok_or(Error::Damaged)?;
    let [magic, layout_bytes, row_words, rows_max, every, first_step, sum, rows] = *fixed;
    let layout_bytes = usize::try_from(layout_bytes).unwrap_or(usize::MAX);
    if magic != MAGIC || LAYOUT_BYTES_MAX < layout_bytes || every == 0 {
        return Err(Error::Damaged);
    }
    let begin = begin_of(layout_bytes);
    let head = words.get(..begin).ok_or(Error::Damaged)?;
    if checksum(head, layout_bytes) != sum {
        return Err(Error::Damaged);
    }
    let bytes: &[u8] = bytemuck::cast_slice(&head[FIXED_WORDS..]);
    let layout: Layout =
        postcard::from_bytes(&bytes[..layout_bytes]).map_err(|_bad| Error::Damaged)?;
    let expected = ROW_HEAD_WORDS + layout.width();
    let space = length.saturating_sub(begin as u64) / expected as u64;
    if COLUMNS_MAX < layout.width() || row_words != expected as u64 || space < rows_max {
        return Err(Error::Damaged);
    }
    let rows = rows.min(rows_max);
    Ok(Head { layout, every, first_step, rows_max, rows, begin, row_words: expected })
}

fn checksum(head: &[u64], layout_bytes: usize) -> u64 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(bytemuck::cast_slice(&head[1..SUM]));
    let bytes: &[u8] = bytemuck::cast_slice(&head[FIXED_WORDS..]);
    sum.update(&bytes[..layout_bytes.min(bytes.len())]);
    sum.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout(columns: usize) -> Layout {
        let column = |index| Column { name: format!("qpos[{index}]"), unit: "rad".into() };
        let columns = (0..columns).map(column).collect();
        Layout { model_id: "arm".into(), series: vec![Series { name: "qpos".into(), columns }] }
    }

    fn file(columns: usize, rows: u64) -> Vec<u64> {
        let bytes = file_bytes(&layout(columns), rows).unwrap();
        vec![0; usize::try_from(bytes / 8).unwrap()]
    }

    #[test]
    fn a_head_reads_back_as_it_was() {
        let mut words = file(3, 100);
        let begun = begin(&mut words, layout(3), 5, 1000).unwrap();
        assert!(100 <= begun.rows_max && begun.rows_max < 300, "{}", begun.rows_max);
        assert_eq!(rows_within(&layout(3), words.len() as u64 * 8).unwrap(), begun.rows_max);
        words[ROWS] = 7;
        let read = read(&words, words.len() as u64).unwrap();
        assert_eq!(read, Head { rows: 7, ..begun });
        assert_eq!((read.step_of(0), read.rows_at(1004), read.rows_at(1005)), (1005, 0, 1));
        assert_eq!(read.rows_at(3), 0);
    }

    #[test]
    fn more_rows_than_there_are_are_not_believed() {
        let mut words = file(1, 1);
        let begun = begin(&mut words, layout(1), 1, 0).unwrap();
        words[ROWS] = u64::MAX;
        assert_eq!(read(&words, words.len() as u64).unwrap().rows, begun.rows_max);
        assert_eq!(read(&words, words.len() as u64 - 512), Err(Error::Damaged));
    }

    #[test]
    fn too_many_columns_are_refused() {
        assert_eq!(file_bytes(&layout(COLUMNS_MAX + 1), 1), Err(Error::LayoutTooLong));
        assert_eq!(begin(&mut [0; 8], layout(1), 1, 0), Err(Error::TooSmall));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_of_the_head_is_noticed(word in 0_usize..20, bit in 0_u32..64) {
            let mut words = file(3, 10);
            let begun = begin(&mut words, layout(3), 1, 0).unwrap();
            words[word] ^= 1 << bit;
            match read(&words, words.len() as u64) {
                // The number of rows is not covered, and neither is what nobody reads.
                Ok(head) => prop_assert_eq!(Head { rows: 0, ..head }, begun),
                Err(error) => prop_assert_eq!(error, Error::Damaged),
            }
        }

        #[test]
        fn hostile_words_do_no_harm(
            mut words in prop::collection::vec(any::<u64>(), 0..600), length: u64, bytes in 0_u64..5000
        ) {
            if 2 < words.len() {
                words[0] = MAGIC;
                words[1] = bytes;
            }
            read(&words, length).ok();
        }
    }
}
