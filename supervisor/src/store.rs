//! What outlives a process: the sessions, their checkpoints, and their compiled models.
//!
//! On disk, below one folder:
//!
//! ```text
//! sessions/sim_…/record          who the session is and what it holds; replaced as a whole
//! sessions/sim_…/N.checkpoint    the state of one of its models; workers write it
//! sessions/sim_…/N.recording     what was recorded of one of them; workers write it too
//! models/TENANT/KEY              a compiled model with its source, named by what that is
//! damaged/                       what could not be read, moved out of the way
//! ```
//!
//! A write into the system's cache outlives every process, so nothing that was acknowledged is lost
//! when one is killed. What is not on the disk yet is lost with the machine's power: a thread sees
//! to it that this is at most what the last interval brought.
//!
//! A store without a folder keeps the same in memory files: workers are replaced as well, but
//! nothing outlives the daemon.
//!
//! Everything here waits for files. Tasks call it through [`Store::run`].

pub(crate) mod checkpoints;
pub(crate) mod document;
mod files;
mod models;
mod record;
mod source;
mod sync;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use simward_protocol::compile::Compile;

use self::checkpoints::Checkpoints;
use self::models::Models;
pub use self::models::{About, CacheUse, Key, Model, about as read_about};
pub use self::record::{
    Record, RecordedModel, RecordedRecording, RecordedSnapshot, RecordingEnd,
    decode as decode_record,
};
pub use self::source::{Kept as KeptSource, Outline};
use self::sync::Unsynced;
use crate::code::Code;
use crate::tenants::Tenant;

/// What is kept, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether `simward serve` keeps sessions in its state folder, so that they outlive it.
    pub durable: bool,
    /// How much is lost at most when the machine loses power, in seconds.
    pub sync_secs: f64,
    /// Compiled models that are kept, in bytes: of all tenants.
    pub models_bytes_max: u64,
    /// The same, of one tenant.
    pub models_per_tenant_bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            durable: true,
            sync_secs: 1.0,
            models_bytes_max: 8 << 30,
            models_per_tenant_bytes_max: 2 << 30,
        }
    }
}

/// Something that could not be kept, or not be found again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk has no space left.
    #[error("{what} could not be kept: the disk that holds the state folder is full")]
    Full {
        /// What.
        what: &'static str,
    },
    /// The system says no.
    #[error("{what} could not be kept")]
    Unkept {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Compiled models take as much as they may.
    #[error(
        "compiled models may take {max} bytes in all, and those that sessions use leave too little \
         of that ({key})"
    )]
    ModelsFull {
        /// The limit.
        max: u64,
        /// Its key in the configuration.
        key: &'static str,
    },
    /// The source of a model is not to be had.
    #[error("the source of this model is not there: {why}")]
    NoSource {
        /// Why.
        why: String,
    },
    /// The session it was for has ended.
    #[error("the session has ended")]
    Ended,
    /// The states of the session's models take too much.
    #[error(
        "the states of a session's models are limited to {max} bytes of checkpoints \
         (sessions.checkpoint_bytes_max), and this call needs {bytes}"
    )]
    TooLarge {
        /// What is needed.
        bytes: u64,
        /// What is allowed.
        max: u64,
    },
    /// A session's recordings take too much.
    #[error("recordings are limited to {max} bytes ({key}), and this call needs {bytes}")]
    RecordingTooLarge {
        /// What is needed.
        bytes: u64,
        /// What is allowed.
        max: u64,
        /// Its key in the configuration.
        key: &'static str,
    },
    /// A session has too many recordings.
    #[error("a session may have {max} recordings (sessions.recordings.max)")]
    RecordingsMany {
        /// What is allowed.
        max: usize,
    },
    /// It is not what was kept.
    #[error("{what} is damaged: {problem}")]
    Damaged {
        /// What.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    fn of(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { what },
            _ => Self::Unkept { what, error },
        }
    }
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Full { .. } | Self::ModelsFull { .. } => "store_full",
            Self::Unkept { .. } => "store_unavailable",
            Self::Damaged { .. } => "checkpoint_unusable",
            Self::NoSource { .. } => "model_source_unavailable",
            Self::Ended => "session_unknown",
            Self::TooLarge { .. }
            | Self::RecordingTooLarge { .. }
            | Self::RecordingsMany { .. } => "limit_exceeded",
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Full { .. } => "the operator must free space there; nothing was changed",
            Self::ModelsFull { .. } => "unload_model or close_session frees what nobody else uses",
            Self::Unkept { .. } => {
                "the operator must look at the state folder; nothing was changed"
            }
            Self::TooLarge { .. } => "unload_model frees some; or load a smaller model",
            Self::RecordingTooLarge { .. } => {
                "ask for fewer rows or channels, or every n-th step; stop_recording with \
                 discard: true frees space"
            }
            Self::RecordingsMany { .. } => "stop_recording with discard: true throws one away",
            Self::NoSource { .. } => "unload_model and load it again",
            Self::Damaged { .. } | Self::Ended => return None,
        };
        Some(text.to_owned())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Full { .. } | Self::Unkept { .. } => Some(Duration::from_secs(10)),
            Self::ModelsFull { .. }
            | Self::Damaged { .. }
            | Self::NoSource { .. }
            | Self::Ended
            | Self::TooLarge { .. }
            | Self::RecordingTooLarge { .. }
            | Self::RecordingsMany { .. } => None,
        }
    }
}

/// A cheap handle to what is kept.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: Option<PathBuf>,
    checkpoints: Checkpoints,
    recordings: Checkpoints,
    models: Models,
    unsynced: Arc<Unsynced>,
}

/// What was found in a folder.
#[derive(Debug, Default)]
pub struct Found {
    /// Sessions.
    pub records: Vec<Record>,
    /// Handles of sessions whose records could not be read.
    pub damaged: BTreeSet<String>,
}

impl Store {
    /// A store in that folder, or without one in memory.
    pub fn open(folder: Option<&Path>, config: &Config) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let unsynced = Arc::new(Unsynced::default());
        if let Some(folder) = folder {
            for part in ["sessions", "models"] {
                let path = folder.join(part);
                files::private_folder(&path)
                    .with_context(|| format!("{} cannot be used", path.display()))?;
            }
            sync::start(&unsynced, Duration::from_secs_f64(config.sync_secs))?;
        }
        let checkpoints =
            Checkpoints::new(folder.map(|folder| folder.join("sessions")), Arc::clone(&unsynced));
        let recordings = Checkpoints::of_recordings(
            folder.map(|folder| folder.join("sessions")),
            Arc::clone(&unsynced),
        );
        let models = Models::new(
            folder.map(|folder| folder.join("models")),
            Arc::clone(&unsynced),
            config.clone(),
        );
        let folder = folder.map(Path::to_owned);
        Ok(Self { inner: Arc::new(Inner { folder, checkpoints, recordings, models, unsynced }) })
    }

    /// Whether what is kept outlives this process.
    pub fn is_durable(&self) -> bool {
        self.inner.folder.is_some()
    }

    /// Does something that waits for files, apart from the tasks.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.unwrap_or_else(|panic| {
            let error = io::Error::other(panic.to_string());
            Err(Error::Unkept { what: "the session", error })
        })
    }

    /// Every session that is kept. What cannot be read is moved out of the way and logged.
    pub fn records(&self) -> Found {
        let mut found = Found::default();
        let Some(folder) = &self.inner.folder else { return found };
        let Ok(entries) = std::fs::read_dir(folder.join("sessions")) else { return found };
        for entry in entries.flatten() {
            let Ok(id) = entry.file_name().into_string() else { continue };
            files::sweep(&entry.path());
            match record::read(&entry.path(), &id) {
                Ok(Some(record)) => found.records.push(record),
                // It was being created, or closed, when everything ended.
                Ok(None) => drop(std::fs::remove_dir_all(entry.path())),
                Err(error) => {
                    tracing::error!(session_id = id, %error, "a session's record is damaged");
                    files::move_aside(&entry.path(), &folder.join("damaged"));
                    found.damaged.insert(id);
                }
            }
        }
        found
    }

    /// Keeps a session's record, in place of the one before.
    pub fn save(&self, record: &Record) -> Result<(), Error> {
        let Some(folder) = &self.inner.folder else { return Ok(()) };
        let path = folder.join("sessions").join(&record.id);
        let file = self.with_space(|| {
            let saved = files::private_folder(&path).and_then(|()| record::write(&path, record));
            saved.map_err(Error::of("the session"))
        })?;
        self.inner.unsynced.add(file);
        Ok(())
    }

    /// Makes an empty checkpoint for a state of so many values.
    pub(crate) fn checkpoint(
        &self,
        id: &str,
        number: u32,
        values: u64,
    ) -> Result<Arc<OwnedFd>, Error> {
        self.with_space(|| self.inner.checkpoints.create(id, number, values))
    }

    /// Makes an empty file for a recording.
    pub(crate) fn recording(
        &self,
        id: &str,
        number: u32,
        bytes: u64,
    ) -> Result<Arc<OwnedFd>, Error> {
        self.with_space(|| self.inner.recordings.create_file(id, number, bytes))
    }

    /// Keeps a compiled model, which the file begins with, and the source that has that key.
    pub fn put_model(
        &self,
        tenant: &Tenant,
        source: (&Key, &Compile),
        file: &Arc<OwnedFd>,
        about: &(u64, u64, Vec<String>),
    ) -> Result<Arc<Model>, Error> {
        self.with_space(|| self.inner.models.put(tenant, source, file, about.clone()))
    }

    /// Does something that takes space. If there is none, compiled models that nobody uses make
    /// room, and it is tried once more.
    fn with_space<T>(&self, work: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        match work() {
            Err(Error::Full { .. }) if self.inner.models.drop_unused() => {
                // A file that waits for its sync takes space although it is removed.
                self.inner.unsynced.settle();
                work()
            }
            done => done,
        }
    }

    /// Forgets a session, and its checkpoints with it.
    pub fn forget(&self, id: &str) {
        self.inner.checkpoints.forget(id);
        self.inner.recordings.forget(id);
        let Some(folder) = &self.inner.folder else { return };
        let path = folder.join("sessions").join(id);
        // The record goes first: a folder without one is nobody's.
        std::fs::remove_file(path.join(record::NAME)).ok();
        if let Err(error) = std::fs::remove_dir_all(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(session_id = id, %error, "a session could not be removed from the disk");
        }
    }

    /// Where states are kept.
    pub(crate) fn checkpoints(&self) -> &Checkpoints {
        &self.inner.checkpoints
    }

    /// Where recordings are kept.
    pub(crate) fn recordings(&self) -> &Checkpoints {
        &self.inner.recordings
    }

    /// Compiled models.
    pub fn models(&self) -> &Models {
        &self.inner.models
    }
}

#[cfg(test)]
mod tests;
