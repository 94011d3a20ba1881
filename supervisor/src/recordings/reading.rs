//! Reading a recording's file, a piece at a time.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use simward_protocol::recording::{self, HEAD_BYTES_MAX, Head, ROW_HEAD_WORDS};

use super::{Error, Info, State, is_recording_id, unknown};
use crate::session::{Holdings, KeptRecording, Session};

/// Words that are read at a time, or one row if that has more.
const PIECE_WORDS: usize = 64 << 10;

/// A recording that can be read. What is added to it from now on is not seen.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) kept: KeptRecording,
    pub(super) head: Head,
    file: File,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) step: u64,
    pub(super) time_secs: f64,
    /// The values, by their bits.
    values: &'a [u64],
}

impl Row<'_> {
    pub(super) fn value(&self, column: usize) -> f64 {
        self.values.get(column).copied().map_or(f64::NAN, f64::from_bits)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = f64> {
        self.values.iter().copied().map(f64::from_bits)
    }
}

/// Opens a recording. Every row that is seen then is of a step that is kept.
pub(super) async fn open(session: &Session, id: &str) -> Result<Reading, Error> {
    let known = session.holdings().recording(id).filter(|_| is_recording_id(id));
    let kept = known.ok_or_else(|| unknown(session, id))?;
    if kept.ended.is_none() {
        session.settle_recordings().await?;
    }
    let holdings = Arc::clone(session.holdings());
    blocking(move || Reading::of(&holdings, &kept)).await
}

/// Does something that waits for files, apart from the tasks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(Error::Damaged(panic.to_string())))
}

impl Reading {
    /// Reads the head.
    pub(super) fn of(holdings: &Holdings, kept: &KeptRecording) -> Result<Self, Error> {
        let file = holdings.recording_file(kept.number)?;
        let damaged = |error: std::io::Error| Error::Damaged(error.to_string());
        let file = File::from(file.try_clone().map_err(damaged)?);
        let length = usize::try_from(kept.bytes).unwrap_or(usize::MAX).min(HEAD_BYTES_MAX);
        let mut words = vec![0_u64; length / size_of::<u64>()];
        file.read_exact_at(bytemuck::cast_slice_mut(&mut words), 0).map_err(damaged)?;
        let head = recording::read(&words, kept.bytes / size_of::<u64>() as u64)
            .map_err(|error| Error::Damaged(error.to_string()))?;
        Ok(Self { kept: kept.clone(), head, file })
    }

    /// How it stands.
    pub(super) fn info(&self) -> Info {
        let Head { rows, rows_max, every, .. } = self.head;
        Info {
            recording_id: self.kept.id.clone(),
            model_id: self.kept.model_id.clone(),
            state: State::of(&self.kept, rows == rows_max),
            rows,
            rows_max,
            every,
            columns: self.head.layout.width() as u64,
            bytes: self.kept.bytes,
        }
    }

    /// Hands over row after row.
    pub(super) fn each(
        &self,
        rows: Range<u64>,
        mut take: impl FnMut(Row<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut first = rows.start;
        while first < rows.end {
            let piece = self.piece(first, rows.end)?;
            let taken = (piece.len() / self.head.row_words) as u64;
            for (index, row) in (first..).zip(piece.chunks_exact(self.head.row_words)) {
                take(self.row(index, row)?)?;
            }
            first += taken;
        }
        Ok(())
    }

    /// The words of as many rows as are read at a time.
    pub(super) fn piece(&self, first: u64, end: u64) -> Result<Vec<u64>, Error> {
        let row_words = self.head.row_words;
        let count = (PIECE_WORDS / row_words).max(1) as u64;
        let count = usize::try_from(count.min(end - first)).unwrap_or(1);
        let mut words = vec![0; count * row_words];
        let place = self.head.begin as u64 + first * row_words as u64;
        self.file
            .read_exact_at(bytemuck::cast_slice_mut(&mut words), place * size_of::<u64>() as u64)
            .map_err(|error| Error::Damaged(error.to_string()))?;
        Ok(words)
    }

    /// A row is believed if it is of the step that belongs there.
    pub(super) fn row<'a>(&self, index: u64, words: &'a [u64]) -> Result<Row<'a>, Error> {
        let (head, values) = words.split_at(ROW_HEAD_WORDS);
        let (step, expected) = (head[0], self.head.step_of(index));
        if step != expected {
            let problem = format!("row {index} is of step {step} and should be of {expected}");
            return Err(Error::Damaged(problem));
        }
        Ok(Row { step, time_secs: f64::from_bits(head[1]), values })
    }
}
