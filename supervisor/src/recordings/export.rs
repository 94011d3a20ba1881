//! Writing a recording in forms that other programs read.
//!
//! Everything streams from the file into a writer; what is in memory is one piece of rows.

mod columnar;
mod text;

use std::io::{self, Write};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::reading::{Reading, blocking, open};
use super::{Column, Error, column, rows_of};
use crate::session::Session;

/// The longest export that comes back with the answer.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// The longest export that is handed over at once, as a resource.
const READ_BYTES_MAX: usize = 16 << 20;

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Format {
    /// Text: a line of names, then a line for each row.
    Csv,
    /// Text: columns with units, and rows; every number exact.
    Json,
    /// `NumPy`'s: one array for each series.
    Npz,
    /// Apache Parquet: one column for each column.
    Parquet,
}

impl Format {
    /// Its name, which is a file's extension as well.
    pub fn word(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Npz => "npz",
            Self::Parquet => "parquet",
        }
    }

    /// The form of that name.
    pub fn named(word: &str) -> Option<Self> {
        [Self::Csv, Self::Json, Self::Npz, Self::Parquet].into_iter().find(|it| it.word() == word)
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Json => "application/json",
            Self::Npz => "application/x-npz",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Whether it is text.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::Json)
    }
}

/// A recording in another form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Exported {
    /// The session.
    pub session_id: String,
    /// The recording.
    pub recording_id: String,
    /// The form.
    pub format: Format,
    /// The rows that it has.
    pub rows: u64,
    /// Its columns, after `step` and `time_secs`.
    pub columns: Vec<Column>,
    /// Where it can be read.
    pub uri: String,
    /// Whether it comes with this answer.
    pub inline: bool,
}

/// Writes a recording in another form. What is short comes back as well.
pub async fn export(
    session: &Session,
    id: &str,
    format: Format,
    (first, count): (Option<u64>, Option<u64>),
) -> Result<(Exported, Option<Vec<u8>>), Error> {
    let reading = open(session, id).await?;
    let rows = rows_of(reading.head.rows, first, count)?;
    let session_id = session.plan().id.to_string();
    let exported = Exported {
        uri: uri(&session_id, id, format, (first, count)),
        session_id,
        recording_id: id.to_owned(),
        format,
        rows: rows.end - rows.start,
        columns: reading.head.layout.columns().map(column).collect(),
        inline: false,
    };
    match blocking(move || write_bounded(&reading, format, rows, INLINE_BYTES_MAX)).await {
        Ok(bytes) => Ok((Exported { inline: true, ..exported }, Some(bytes))),
        Err(Error::TooLong { .. }) => Ok((exported, None)),
        Err(error) => Err(error),
    }
}

/// Where an export can be read.
fn uri(session_id: &str, id: &str, format: Format, rows: (Option<u64>, Option<u64>)) -> String {
    let query: Vec<String> = [("first_row", rows.0), ("rows", rows.1)]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", value?)))
        .collect();
    let sign = if query.is_empty() { "" } else { "?" };
    let format = format.word();
    format!("sim://{session_id}/recordings/{id}.{format}{sign}{}", query.join("&"))
}

/// A recording, whole or some of its rows, in another form.
pub async fn read(
    session: &Session,
    id: &str,
    format: Format,
    (first, count): (Option<u64>, Option<u64>),
) -> Result<Vec<u8>, Error> {
    let reading = open(session, id).await?;
    let rows = rows_of(reading.head.rows, first, count)?;
    blocking(move || write_bounded(&reading, format, rows, READ_BYTES_MAX)).await
}

fn write_bounded(
    reading: &Reading,
    format: Format,
    rows: Range<u64>,
    max: usize,
) -> Result<Vec<u8>, Error> {
    let mut bounded = Bounded { bytes: Vec::new(), max, is_over: false };
    let written = write(reading, format, rows, &mut bounded);
    if bounded.is_over {
        return Err(Error::TooLong { max });
    }
    written.map(|()| bounded.bytes)
}

/// Writes some rows of a recording.
pub(super) fn write(
    reading: &Reading,
    format: Format,
    rows: Range<u64>,
    into: &mut (impl Write + Send),
) -> Result<(), Error> {
    match format {
        Format::Csv => text::csv(reading, rows, into),
        Format::Json => text::json(reading, rows, into),
        Format::Npz => columnar::npz(reading, rows, into),
        Format::Parquet => columnar::parquet(reading, rows, into),
    }
}

/// Bytes up to a limit. One more is an error, at which the writing ends.
struct Bounded {
    bytes: Vec<u8>,
    max: usize,
    is_over: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.max - self.bytes.len() < bytes.len() {
            self.is_over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unwritable<E: std::fmt::Display>(format: Format) -> impl Fn(E) -> Error {
    move |error| Error::Unwritable { format: format.word(), problem: error.to_string() }
}
