//! Everything that was measured: the last hour in memory, and what is kept of the time before.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::history::{self, History};
use super::levels::{Level, Levels};
use super::query::Sight;
use super::series::{Minute, Subject, Table};

/// Everything that was measured.
#[derive(Debug)]
pub struct Measured {
    table: Mutex<Table>,
    levels: Mutex<Levels>,
    history: Option<History>,
}

impl Measured {
    /// Nothing yet in memory.
    pub fn new(table: Table, levels: Levels, history: Option<History>) -> Self {
        Self { table: Mutex::new(table), levels: Mutex::new(levels), history }
    }

    /// How closely is looked at whom.
    pub fn levels(&self) -> MutexGuard<'_, Levels> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What of it may be shown to whoever sees so much: not what its owner does not want to see.
    pub(super) fn shown_to<'a>(&self, sight: &'a Sight) -> impl Fn(&Subject) -> bool + use<'a> {
        let levels = matches!(sight, Sight::Of(_)).then(|| self.levels().clone());
        move |subject| {
            let level = match (subject, &levels) {
                (_, None) => return true,
                (Subject::Session(tenant, id), Some(levels)) => levels.of(tenant, id),
                (Subject::Tenant(tenant) | Subject::Model(tenant, _), Some(levels)) => {
                    levels.of_tenant(tenant)
                }
                (Subject::Fleet | Subject::Tool(_), Some(_)) => return sight.sees(subject),
            };
            sight.sees(subject) && level != Level::Off
        }
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
