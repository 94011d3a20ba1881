//! What was recorded: told, written in other forms, drawn, compared.
//!
//! The rows are in files that workers write, or wrote. Nothing of them is kept in memory: whoever
//! wants them reads the file, a piece at a time, apart from the tasks.

mod compare;
mod export;
mod plot;
mod reading;

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use simward_protocol::recording::Selection;

pub use self::compare::{Comparison, Difference, compare};
pub use self::export::{Exported, Format, export, read};
pub use self::plot::{Drawing, Picture, Plotted, plot};
use self::reading::{Reading, blocking, open};
use crate::code::Code;
use crate::session::{self, KeptRecording, Session, is_recording_id};
use crate::{store, whole};

/// A column, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its unit; empty where it has none.
    pub unit: String,
}

/// A recording that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Begun {
    /// The session.
    pub session_id: String,
    /// The model.
    pub model_id: String,
    /// The recording's id.
    pub recording_id: String,
    /// Its columns, after `step` and `time_secs`.
    pub columns: Vec<Column>,
    /// How many rows it has space for.
    pub rows_max: u64,
    /// The length of its file.
    pub bytes: u64,
}

/// How a recording stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Info {
    /// Its id.
    pub recording_id: String,
    /// The model that is recorded, or was.
    pub model_id: String,
    /// How it stands.
    pub state: State,
    /// Rows that there are.
    pub rows: u64,
    /// Rows that there is space for.
    pub rows_max: u64,
    /// Every how many steps there is a row.
    pub every: u64,
    /// How many columns it has beside `step` and `time_secs`.
    pub columns: u64,
    /// The length of its file.
    pub bytes: u64,
}

/// Whether rows are still added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Yes.
    Recording,
    /// No: there is no space for more.
    Full,
    /// No: it was stopped.
    Stopped,
    /// No: its model was unloaded.
    Unloaded,
    /// No: its file cannot be read. It can only be thrown away.
    Damaged,
}

/// All recordings of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct List {
    /// The session.
    pub session_id: String,
    /// Its recordings, oldest first.
    pub recordings: Vec<Info>,
}

/// A recording that has ended, or was thrown away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Stopped {
    /// Its id.
    pub recording_id: String,
    /// Rows that it has, or had.
    pub rows: u64,
    /// Whether it is gone.
    pub discarded: bool,
}

/// Something that cannot be done with a recording.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of that id.
    #[error("the session has no recording `{id}`{}", .known.last().map_or_else(String::new, |last| format!("; the last one is `{last}`")))]
    Unknown {
        /// What was asked for.
        id: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// An argument that does not fit.
    #[error("`{field}` {problem}")]
    Argument {
        /// The argument.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A name that the recording does not have.
    #[error("the recording has no column or series named `{name}`; did you mean {nearest}?")]
    ColumnUnknown {
        /// What was asked for.
        name: String,
        /// What is most like it.
        nearest: String,
    },
    /// More than can be handed over at once.
    #[error("the export is longer than {max} bytes, which is the most that is handed over at once")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// Its file is not what was written.
    #[error("the recording is damaged: {0}")]
    Damaged(String),
    /// It cannot be written in that form.
    #[error("the recording could not be written as {format}: {problem}")]
    Unwritable {
        /// The form.
        format: &'static str,
        /// Why not.
        problem: String,
    },
    /// The session cannot be asked.
    #[error(transparent)]
    Session(#[from] session::Error),
    /// The file cannot be had.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "recording_unknown",
            Self::Argument { .. } => "invalid_argument",
            Self::ColumnUnknown { .. } => "name_unknown",
            Self::TooLong { .. } => "limit_exceeded",
            Self::Damaged(_) => "recording_unusable",
            Self::Unwritable { .. } => "internal_error",
            Self::Session(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { .. } => Some("list_recordings lists them".to_owned()),
            Self::TooLong { .. } => Some("ask for fewer rows at a time".to_owned()),
            Self::Session(error) => error.hint(),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Session(error) => error.retry_after(),
            Self::Store(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// Begins a recording.
pub async fn start(
    session: &Session,
    model_id: Option<String>,
    selection: Selection,
    rows: Option<u64>,
) -> Result<Begun, Error> {
    let (starting, stopping) = (session.clone(), session.clone());
    let start = async move { starting.start_recording(model_id, selection, rows).await };
    let undo = |started: session::RecordingStarted| async move {
        stopping.stop_recording(&started.id, true).await.ok();
    };
    let session_id = session.plan().id.to_string();
    let started = whole::or_undone(start, undo).await;
    let gone = || session::Error::Closed { id: session_id.clone() };
    let session::RecordingStarted { id, layout, rows_max, bytes } = started.ok_or_else(gone)??;
    let columns = layout.columns().map(column).collect();
    let model_id = layout.model_id;
    Ok(Begun { session_id, model_id, recording_id: id, columns, rows_max, bytes })
}

/// Ends a recording, and throws it away if `discard`.
pub async fn stop(session: &Session, id: &str, discard: bool) -> Result<Stopped, Error> {
    let rows = match open(session, id).await {
        Ok(reading) => reading.head.rows,
        // What cannot be read can be thrown away.
        Err(Error::Damaged(_) | Error::Store(_)) if discard => 0,
        Err(error) => return Err(error),
    };
    let (own, of) = (session.clone(), id.to_owned());
    let stopping = tokio::spawn(async move { own.stop_recording(&of, discard).await });
    let gone = |_panic| session::Error::Closed { id: session.plan().id.to_string() };
    if !stopping.await.map_err(gone)?? {
        return Err(unknown(session, id));
    }
    let rows = if discard { rows } else { open(session, id).await?.head.rows };
    Ok(Stopped { recording_id: id.to_owned(), rows, discarded: discard })
}

/// Tells of all recordings of a session.
pub async fn list(session: &Session) -> Result<List, Error> {
    let holdings = session.holdings().clone();
    let recordings = blocking(move || {
        let kept = holdings.recordings();
        Ok(kept
            .iter()
            .map(|kept| match Reading::of(&holdings, kept) {
                Ok(reading) => reading.info(),
                Err(_unreadable) => Info::damaged(kept),
            })
            .collect())
    });
    let recordings = recordings.await?;
    Ok(List { session_id: session.plan().id.to_string(), recordings })
}

impl Info {
    /// One whose file cannot be read.
    fn damaged(kept: &KeptRecording) -> Self {
        Self {
            recording_id: kept.id.clone(),
            model_id: kept.model_id.clone(),
            state: State::Damaged,
            rows: 0,
            rows_max: 0,
            every: 0,
            columns: 0,
            bytes: kept.bytes,
        }
    }
}

impl State {
    fn of(kept: &KeptRecording, is_full: bool) -> Self {
        match kept.ended {
            _ if is_full => Self::Full,
            None => Self::Recording,
            Some(store::RecordingEnd::Stopped) => Self::Stopped,
            Some(store::RecordingEnd::Unloaded) => Self::Unloaded,
        }
    }
}

fn column(column: &simward_protocol::recording::Column) -> Column {
    Column { name: column.name.clone(), unit: column.unit.clone() }
}

fn unknown(session: &Session, id: &str) -> Error {
    let known = session.holdings().recordings().into_iter().map(|kept| kept.id).collect();
    Error::Unknown { id: id.chars().take(80).collect(), known }
}

/// The rows that are meant: those that there are, if nothing is said.
fn rows_of(all: u64, first: Option<u64>, count: Option<u64>) -> Result<Range<u64>, Error> {
    let first = first.unwrap_or(0);
    if all < first {
        let problem = format!("is {first}, and there are {all} rows");
        return Err(Error::Argument { field: "first_row", problem });
    }
    let count = count.unwrap_or(u64::MAX).min(all - first);
    Ok(first..first + count)
}
