//! Everything that was measured: the last hour in memory, and what is kept of the time before.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::history::{self, History};
use super::series::{Minute, Subject, Table};

/// Everything that was measured.
#[derive(Debug)]
pub struct Measured {
    table: Mutex<Table>,
    history: Option<History>,
}

impl Measured {
    /// Nothing yet in memory.
    pub fn new(table: Table, history: Option<History>) -> Self {
        Self { table: Mutex::new(table), history }
    }

    /// The last hour.
    pub fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is older, if it is kept.
    pub fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    /// Keeps a minute that is over.
    pub(super) fn keep(&self, minute: Minute) {
        if let Some(history) = &self.history {
            history.keep(minute);
        }
    }

    /// Forgets what was measured of some; tells of how many. Waits for the disk.
    pub fn forget(
        &self,
        is_meant: impl Fn(&Subject) -> bool + Send + Clone + 'static,
    ) -> Result<u64, history::Error> {
        let in_memory = self.table().forget(&is_meant) as u64;
        let kept = match &self.history {
            Some(history) => history.forget(is_meant)?,
            None => 0,
        };
        Ok(in_memory.max(kept))
    }
}
