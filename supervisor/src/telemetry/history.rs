//! What is left of series after an hour: minutes for a week, hours for a year, in one file of `SQLite`'s.
//!
//! A minute of everything is one row, so that it is there whole or not at all. When an hour is
//! over, its minutes become one row for each subject, with a compressed column for each metric, and
//! add up to a row of the hour; hours become columns when their day is over. Sessions come and go
//! and are told of by the minute alone; of tenants, models, tools and the fleet the hours stay.
//!
//! The file is a record of what was, not of what is: if it cannot be written, samples are lost and
//! counted, and nothing else.

mod archive;
mod cache;
mod chunk;
mod columns;
mod file;
mod months;
mod rows;
mod subjects;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

pub use self::archive::Archive;
pub use self::cache::CacheUse;
use self::cache::Unpacked;
pub use self::columns::{Column, Columns};
pub use self::file::Error;
use self::file::File;
use super::metric::{Id, Scope};
use super::series::{Minute, Subject};

/// For how long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// A point a minute, for a week.
    Minutes,
    /// A point an hour, for a year.
    Hours,
}

impl Tier {
    const ALL: [Self; 2] = [Self::Minutes, Self::Hours];

    /// The stretch of time of a point, in seconds.
    pub const fn step_secs(self) -> i64 {
        match self {
            Self::Minutes => 60,
            Self::Hours => 3600,
        }
    }

    /// The stretch of time of a row of columns, in seconds.
    const fn chunk_secs(self) -> i64 {
        match self {
            Self::Minutes => 3600,
            Self::Hours => 86_400,
        }
    }

    /// The longest stretch of which the columns lie together, in seconds.
    const fn reach_secs(self) -> i64 {
        match self {
            Self::Minutes => self.chunk_secs(),
            Self::Hours => months::MONTH_SECS,
        }
    }

    /// For how long its points are kept, in seconds.
    pub const fn keep_secs(self) -> i64 {
        match self {
            Self::Minutes => 7 * 86_400,
            Self::Hours => 366 * 86_400,
        }
    }

    /// Whether points of such subjects are kept.
    fn keeps(self, scope: Scope) -> bool {
        self == Self::Minutes || scope != Scope::Session
    }
}

/// How much may be kept.
#[expect(clippy::struct_field_names, reason = "limits end so")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// Bytes of the file.
    pub bytes_max: u64,
    /// Bytes of memory for what was read of it, to have it again.
    pub cache_bytes_max: u64,
    /// Subjects, in all.
    pub subjects_max: u64,
    /// Subjects of one tenant.
    pub subjects_per_tenant_max: u64,
}

/// A stretch of time, in seconds since 1970: the first that is meant, and the first that is not.
pub type Range = std::ops::Range<i64>;

/// What is wanted: nothing else is even unpacked.
#[derive(Clone, Copy)]
pub struct Wants<'a> {
    is_meant: &'a dyn Fn(Id) -> bool,
    with_ends: bool,
}

impl<'a> Wants<'a> {
    /// Everything of all metrics.
    pub const ALL: Self = Self { is_meant: &|_| true, with_ends: true };

    /// Everything of some metrics.
    pub fn of(is_meant: &'a dyn Fn(Id) -> bool) -> Self {
        Self { is_meant, with_ends: true }
    }

    /// The same; of gauges that lie in columns the least and the most only if they are asked for.
    #[must_use]
    pub fn with_ends(self, with_ends: bool) -> Self {
        Self { with_ends, ..self }
    }

    fn has(self, id: Id) -> bool {
        (self.is_meant)(id)
    }
}

impl std::fmt::Debug for Wants<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wants").field("with_ends", &self.with_ends).finish_non_exhaustive()
    }
}

/// Files that were of no use and are kept aside.
const ASIDE_MAX: u32 = 3;

/// Minutes that may wait to be written.
const QUEUE_MAX: usize = 16;

/// The kept past. Cheap to clone.
#[derive(Clone, Debug)]
pub struct History {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    minutes: Mutex<Option<SyncSender<Order>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    reader: Mutex<File>,
    unpacked: Unpacked,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    dropped: AtomicU64,
}

enum Order {
    Keep(Minute),
    Forget(Box<dyn Fn(&Subject) -> bool + Send>, SyncSender<Result<u64, Error>>),
}

impl History {
    /// Opens the file, or makes it. It never takes more than so many bytes; what is not yet in its
    /// place is in a log beside it, of a few megabytes.
    pub fn open(path: &Path, bounds: Bounds) -> Result<Self, Error> {
        let mut file = File::open(path, bounds)?;
        let unpacked = Unpacked::new(bounds.cache_bytes_max);
        let reader = File::read(path)?.with_cache(unpacked.clone());
        let counts = Arc::new(Counts::default());
        let (minutes, orders) = sync_channel(QUEUE_MAX);
        let (counted, kept) = (Arc::clone(&counts), unpacked.clone());
        let write = move || write(&mut file, &orders, (&counted, &kept));
        let writer = std::thread::Builder::new().name("history".into()).spawn(write);
        let writer = writer.map_err(Error::Thread)?;
        let inner = Inner {
            minutes: Mutex::new(Some(minutes)),
            writer: Mutex::new(Some(writer)),
            reader: Mutex::new(reader),
            unpacked,
            counts,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Opens the file; one that cannot be used is moved aside, and another one begun. Without a past
    /// everything else goes on: that there is none is logged.
    pub fn open_somehow(path: &Path, bounds: Bounds) -> Option<Self> {
        let open = || Self::open(path, bounds);
        let opened = open().or_else(|error| {
            if !error.is_of_content() {
                return Err(error);
            }
            let aside = |number: u32| path.with_added_extension(format!("damaged-{number}"));
            // The last place is used again and again.
            let free = (1..ASIDE_MAX).map(aside).find(|path| !path.exists());
            let aside = free.unwrap_or_else(|| aside(ASIDE_MAX));
            let text = crate::code::chain(&error);
            tracing::error!(error = text, aside = %aside.display(), "the history of metrics begins anew");
            for ending in ["", "-wal", "-shm"] {
                let of = |path: &Path| {
                    let mut name = path.as_os_str().to_owned();
                    name.push(ending);
                    name
                };
                // What is not there need not be moved.
                std::fs::rename(of(path), of(&aside)).ok();
            }
            open()
        });
        let log = |error: &Error| {
            let error = crate::code::chain(error);
            tracing::error!(error, "there is no history of metrics");
        };
        opened.inspect_err(log).ok()
    }

    /// Keeps a minute, soon. It is lost if others wait in its way.
    pub fn keep(&self, minute: Minute) {
        let minutes = self.inner.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = minutes.as_ref().map(|minutes| minutes.try_send(Order::Keep(minute)));
        if !matches!(sent, Some(Ok(()))) {
            self.inner.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Keeps minutes, one after the other, however long that takes.
    pub fn keep_all(&self, minutes: impl IntoIterator<Item = Minute>) -> Result<(), Error> {
        let sender = self.inner.minutes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sender = sender.ok_or(Error::Closed)?;
        let send = |minute| sender.send(Order::Keep(minute));
        minutes.into_iter().try_for_each(send).map_err(|_closed| Error::Closed)
    }

    /// Forgets what there is of some subjects; tells how many. Waits for the disk.
    pub fn forget(
        &self,
        is_meant: impl Fn(&Subject) -> bool + Send + 'static,
    ) -> Result<u64, Error> {
        let (answer, answered) = sync_channel(1);
        let order = Order::Forget(Box::new(is_meant), answer);
        let sent = {
            let minutes = self.inner.minutes.lock().unwrap_or_else(PoisonError::into_inner);
            minutes.as_ref().map(|minutes| minutes.try_send(order))
        };
        match sent {
            Some(Ok(())) => answered.recv().unwrap_or(Err(Error::Closed)),
            Some(Err(TrySendError::Full(_))) => Err(Error::Busy),
            _ => Err(Error::Closed),
        }
    }

    /// What of subjects begins in a stretch of time. Waits for the disk.
    pub fn columns(
        &self,
        subjects: &[&Subject],
        tier: Tier,
        range: Range,
        wants: Wants<'_>,
    ) -> Result<Vec<(Subject, Columns)>, Error> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        self.read().columns(subjects, tier, &range, wants)
    }

    /// Subjects of a scope that were measured in a stretch of time. Waits for the disk.
    pub fn subjects(&self, scope: Scope, range: &Range) -> Result<Vec<Subject>, Error> {
        self.read().subjects(scope, range)
    }

    /// Whether anything was measured in a stretch of time. Waits for the disk.
    pub fn has_any(&self, range: &Range) -> Result<bool, Error> {
        self.read().has_any(range)
    }

    /// What it takes on the disk, in bytes.
    pub fn bytes(&self) -> Result<u64, Error> {
        self.read().bytes()
    }

    /// How the cache of what was read fares.
    pub fn cache(&self) -> CacheUse {
        self.inner.unpacked.usage()
    }

    /// Minutes that could not be kept.
    pub fn dropped_total(&self) -> u64 {
        self.inner.counts.dropped.load(Ordering::Relaxed)
    }

    /// Writes what waits, and nothing more.
    pub fn close(&self) {
        *self.inner.minutes.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the history's writer panicked");
        }
    }

    fn read(&self) -> std::sync::MutexGuard<'_, File> {
        self.inner.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one thread that writes.
fn write(file: &mut File, orders: &Receiver<Order>, (counts, unpacked): (&Counts, &Unpacked)) {
    let mut is_well = true;
    for order in orders {
        let outcome = match order {
            Order::Keep(minute) => {
                let begin_secs = minute.begin_secs;
                let kept = file.keep(&minute);
                if kept.is_err() {
                    counts.dropped.fetch_add(1, Ordering::Relaxed);
                }
                // In any case: if there was no room, this makes some.
                let tidied = file.tidy(begin_secs + 60);
                counts.dropped.fetch_add(file.take_dropped(), Ordering::Relaxed);
                unpacked.tidy();
                kept.and(tidied)
            }
            Order::Forget(is_meant, answer) => {
                let forgotten = file.forget(&*is_meant);
                unpacked.clear();
                // Whoever asked may have gone.
                answer.send(forgotten).ok();
                Ok(())
            }
        };
        match outcome {
            Ok(()) => is_well = true,
            // Once, and not every minute.
            Err(error) if is_well => {
                is_well = false;
                let error = crate::code::chain(&error);
                tracing::error!(error, "the history of metrics cannot be written");
            }
            Err(_) => (),
        }
    }
}

#[cfg(test)]
mod tests;
