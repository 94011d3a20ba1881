//! Months that were unpacked, for whoever asks again: a dashboard asks every few seconds.
//!
//! A row of the file is never changed and its number never comes again, so nothing here can be old:
//! what was written anew, or forgotten, has another number, or none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use super::columns::Columns;

/// How long what nobody asks for is kept.
const IDLE: Duration = Duration::from_mins(5);

/// Which row, and whether with the least and the most.
pub(super) type Key = (i64, bool);

/// Rows that were unpacked. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Unpacked {
    rows: Cache<Key, Arc<Columns>>,
    bytes_max: u64,
    uses: Arc<(AtomicU64, AtomicU64)>,
}

/// How a cache fares.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct CacheUse {
    /// What was there when it was asked for, since the server's start.
    pub hits_total: u64,
    /// What was not.
    pub misses_total: u64,
    /// What it takes in memory, about.
    pub bytes: u64,
    /// What it may take.
    pub bytes_max: u64,
}

impl Unpacked {
    /// None yet, and never more than so many bytes.
    pub(super) fn new(bytes_max: u64) -> Self {
        let weight =
            |_: &Key, columns: &Arc<Columns>| u32::try_from(columns.bytes()).unwrap_or(u32::MAX);
        let rows = Cache::builder().max_capacity(bytes_max).weigher(weight).time_to_idle(IDLE);
        Self { rows: rows.build(), bytes_max, uses: Arc::default() }
    }

    /// What is kept of a row, or what `unpack` makes of it.
    pub(super) fn get<E>(
        &self,
        key: Key,
        unpack: impl FnOnce() -> Result<Columns, E>,
    ) -> Result<Arc<Columns>, E> {
        let (hits, misses) = &*self.uses;
        if let Some(columns) = self.rows.get(&key) {
            hits.fetch_add(1, Ordering::Relaxed);
            return Ok(columns);
        }
        misses.fetch_add(1, Ordering::Relaxed);
        let mut columns = unpack()?;
        columns.shrink();
        let columns = Arc::new(columns);
        self.rows.insert(key, Arc::clone(&columns));
        Ok(columns)
    }

    /// Lets go of what nobody has asked for for long: that happens when the cache is used, and now.
    pub(super) fn tidy(&self) {
        self.rows.run_pending_tasks();
    }

    /// Lets go of everything.
    pub(super) fn clear(&self) {
        self.rows.invalidate_all();
    }

    /// How it fares.
    pub(super) fn usage(&self) -> CacheUse {
        self.tidy();
        let (hits, misses) = &*self.uses;
        CacheUse {
            hits_total: hits.load(Ordering::Relaxed),
            misses_total: misses.load(Ordering::Relaxed),
            bytes: self.rows.weighted_size(),
            bytes_max: self.bytes_max,
        }
    }
}
