//! The file itself.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, params};

use super::cache::Unpacked;
use super::chunk::{Cell, Names};
use super::columns::Columns;
use super::rows::{self, Reading, each_frame, frames_of, put_chunk, put_frame};
use super::subjects::{Room, id_of, known_id, subject_in};
use super::{Bounds, Range, Tier, Wants, months};
use crate::code::Code;
use crate::telemetry::metric::{METRICS, Scope};
use crate::telemetry::series::{Minute, Subject};

/// The layout's number. A file of another one is moved aside, and not changed.
const LAYOUT: i64 = 3;

/// Rows are long, and read as a whole.
const PAGE_BYTES: u32 = 16 << 10;

/// Rows that are deleted at a time, so that nobody waits long for the file.
const BATCH_ROWS: usize = 500;

/// What the log beside the file may take when nothing is in it, in bytes.
const LOG_BYTES_MAX: i64 = 4 << 20;

/// How long one of the two waits for the other.
const PATIENCE: Duration = Duration::from_secs(2);

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS metric (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS subject (
  id INTEGER PRIMARY KEY,
  scope TEXT NOT NULL,
  owner TEXT NOT NULL,
  name TEXT NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  UNIQUE (scope, owner, name)
);
";

/// Something about the file that does not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What `SQLite` says.
    #[error("the history of metrics cannot be used")]
    Sqlite(#[from] rusqlite::Error),
    /// It was written by another version.
    #[error(
        "the history of metrics has layout {0}, and this version writes {LAYOUT}: move the file away"
    )]
    Layout(i64),
    /// What is in it makes no sense.
    #[error("the history of metrics is damaged: {0}")]
    Damaged(String),
    /// No thread could be started for it.
    #[error("no thread could be started for the history of metrics")]
    Thread(#[source] std::io::Error),
    /// Too much waits to be written.
    #[error("the history of metrics is busy")]
    Busy,
    /// The daemon stops.
    #[error("the history of metrics is closed")]
    Closed,
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Busy | Self::Closed => "history_busy",
            _ => "history_unreadable",
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::Busy).then_some(Duration::from_secs(1))
    }
}

impl Error {
    /// Whether the file is there and readable, and what is in it is of no use.
    pub(super) fn is_of_content(&self) -> bool {
        match self {
            Self::Layout(_) | Self::Damaged(_) => true,
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
            ),
            Self::Thread(_) | Self::Busy | Self::Closed => false,
        }
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct File {
    connection: Connection,
    names: Names,
    bounds: Bounds,
    /// Until when everything is tidy, by tier.
    tidy_until: [i64; 2],
    /// Until when days are laid into their months.
    merged_until: i64,
    /// Rows of everything that were given up for want of room.
    dropped_total: u64,
    /// What is kept of what was read.
    unpacked: Option<Unpacked>,
}

impl File {
    /// Opens it to be written.
    pub(super) fn open(path: &Path, bounds: Bounds) -> Result<Self, Error> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A minute may be lost with the machine; the file is whole all the same.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
        let layout = layout(&connection)?;
        if ![0, LAYOUT].contains(&layout) {
            return Err(Error::Layout(layout));
        }
        connection.execute_batch(TABLES)?;
        connection.execute_batch(rows::TABLES)?;
        connection.pragma_update(None, "user_version", LAYOUT)?;
        for metric in METRICS {
            let sql = "INSERT OR IGNORE INTO metric (name) VALUES (?1)";
            connection.execute(sql, [metric.name])?;
        }
        let mut file = Self::new(connection, bounds)?;
        file.shrink()?;
        Ok(file)
    }

    /// Makes the file as small as it may be, which it is not if it could be larger before.
    fn shrink(&mut self) -> Result<(), Error> {
        if self.bounds.bytes_max < self.bytes()? {
            self.make_room()?;
            self.connection.execute_batch("VACUUM")?;
        }
        let page = self.pragma("page_size")?;
        let pages = self.bounds.bytes_max / page.max(1);
        Ok(self.connection.pragma_update(None, "max_page_count", pages)?)
    }

    /// Opens it to be read, after it was opened to be written.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(PATIENCE)?;
        Self::new(connection, Bounds::default())
    }

    /// An open one, in which everything is still to be tidied.
    fn new(connection: Connection, bounds: Bounds) -> Result<Self, Error> {
        let names = names(&connection)?;
        let (tidy_until, merged_until, dropped_total) = ([0; 2], 0, 0);
        let unpacked = None;
        Ok(Self { connection, names, bounds, tidy_until, merged_until, dropped_total, unpacked })
    }

    /// Rows of everything that were given up for want of room, since the last time it was asked.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped_total)
    }

    /// Keeps what is read, to have it again.
    pub(super) fn with_cache(self, unpacked: Unpacked) -> Self {
        Self { unpacked: Some(unpacked), ..self }
    }

    /// Whether it is as this version writes it.
    pub(super) fn check_layout(&self) -> Result<(), Error> {
        match layout(&self.connection)? {
            LAYOUT => Ok(()),
            other => Err(Error::Layout(other)),
        }
    }

    /// Keeps a minute. What was kept of it before is replaced.
    pub(super) fn keep(&mut self, minute: &Minute) -> Result<(), Error> {
        let (names, bounds) = (&self.names, self.bounds);
        let change = self.connection.transaction()?;
        let mut room = Room::of(&change, bounds)?;
        let mut cells = Vec::with_capacity(minute.points.len());
        for (subject, point) in &minute.points {
            if let Some(id) = id_of(&change, subject, minute.begin_secs, &mut room)? {
                cells.push(Cell::new(id, point, names));
            }
        }
        put_frame(&change, Tier::Minutes, minute.begin_secs, &cells)?;
        change.commit()?;
        Ok(())
    }

    /// Lays what is over into columns, and deletes what is too old.
    pub(super) fn tidy(&mut self, now_secs: i64) -> Result<(), Error> {
        for tier in Tier::ALL {
            let over = now_secs - now_secs.rem_euclid(tier.chunk_secs());
            let done = &mut self.tidy_until[tier as usize];
            if over <= *done {
                continue;
            }
            *done = over;
            while self.pack_or_drop_first(tier, over)? {}
            self.delete_old(tier, now_secs)?;
        }
        let over = now_secs - now_secs.rem_euclid(Tier::Hours.chunk_secs());
        if self.merged_until < over && !months::merge(&mut self.connection, &self.names, over)? {
            self.merged_until = over;
        }
        self.make_room()
    }

    /// Lays the first stretch of rows that is over into columns. One for which there is no room is
    /// given up, since it would be in the way of all that come after; tells whether there was one.
    fn pack_or_drop_first(&mut self, tier: Tier, over: i64) -> Result<bool, Error> {
        match self.pack_first(tier, over) {
            Err(Error::Sqlite(error)) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                self.drop_frames(tier, over)
            }
            packed => packed,
        }
    }

    /// Gives up the first stretch of rows before a moment; tells whether there was one.
    fn drop_frames(&mut self, tier: Tier, before: i64) -> Result<bool, Error> {
        let sql = "DELETE FROM frame WHERE tier = ?1 AND begin < ?2 AND begin / ?3 =
                   (SELECT min(begin) / ?3 FROM frame WHERE tier = ?1)";
        let row = params![tier as i64, before, tier.chunk_secs()];
        let gone = self.connection.execute(sql, row)?;
        self.dropped_total += gone as u64;
        Ok(gone != 0)
    }

    /// Lays the first stretch of rows that is over into columns; tells whether there was one.
    fn pack_first(&mut self, tier: Tier, over: i64) -> Result<bool, Error> {
        let names = &self.names;
        let change = self.connection.transaction()?;
        let sql = "SELECT min(begin) FROM frame WHERE tier = ?1 AND begin < ?2";
        let first: Option<i64> =
            change.query_row(sql, params![tier as i64, over], |row| row.get(0))?;
        let Some(first) = first else { return Ok(false) };
        let begin = first - first.rem_euclid(tier.chunk_secs());
        let range = begin..begin + tier.chunk_secs();
        let mut all: BTreeMap<i64, Columns> = BTreeMap::new();
        each_frame(&change, tier, &range, |at, cells| {
            for cell in cells {
                all.entry(cell.subject).or_default().push(at, cell.point(names, Wants::ALL));
            }
            Ok(())
        })?;
        for (subject, columns) in &mut all {
            // A part of it may lie in columns already, if the clock was set back.
            let mut whole = Columns::default();
            let begins = begin..begin + 1;
            // Of a month that lies together, all of it.
            let reach = begin..begin + tier.reach_secs();
            let all = (&reach, Wants::ALL);
            let reading = Reading { connection: &change, names, unpacked: None };
            reading.chunks((*subject, tier), &begins, all, &mut whole)?;
            whole.append(std::mem::take(columns));
            whole.tidy();
            put_chunk(&change, (*subject, tier, begin), &whole, names)?;
            *columns = whole;
        }
        if tier == Tier::Minutes {
            let mut cells = sums(&change, &all, names)?;
            let told: HashSet<i64> = cells.iter().map(|cell| cell.subject).collect();
            each_frame(&change, Tier::Hours, &(begin..begin + 1), |_, before| {
                cells.extend(before.into_iter().filter(|cell| !told.contains(&cell.subject)));
                Ok(())
            })?;
            put_frame(&change, Tier::Hours, begin, &cells)?;
        }
        let sql = "DELETE FROM frame WHERE tier = ?1 AND begin >= ?2 AND begin < ?3";
        change.execute(sql, params![tier as i64, range.start, range.end])?;
        change.commit()?;
        Ok(true)
    }

    fn delete_old(&mut self, tier: Tier, now_secs: i64) -> Result<(), Error> {
        // By the beginning of the longest stretch that may reach into what is kept.
        let first = now_secs - tier.keep_secs() - tier.reach_secs();
        while self.delete_before(tier, first)? == BATCH_ROWS {}
        if tier == Tier::Hours {
            let sql = "DELETE FROM subject WHERE last < ?1
                       AND NOT EXISTS (SELECT 1 FROM chunk WHERE subject = subject.id)";
            self.connection.execute(sql, [now_secs - Tier::Minutes.keep_secs()])?;
        }
        Ok(())
    }

    fn delete_before(&mut self, tier: Tier, first: i64) -> Result<usize, Error> {
        let sql = "DELETE FROM chunk WHERE id IN
                   (SELECT id FROM chunk WHERE tier = ?1 AND begin < ?2
                    ORDER BY begin LIMIT ?3)";
        Ok(self.connection.execute(sql, params![tier as i64, first, BATCH_ROWS])?)
    }

    /// Deletes the oldest while there is little room left.
    fn make_room(&mut self) -> Result<(), Error> {
        for tier in Tier::ALL {
            while self.bounds.bytes_max / 10 * 9 < self.bytes_in_use()? {
                if self.delete_before(tier, i64::MAX)? == 0 && !self.drop_frames(tier, i64::MAX)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Forgets all of some subjects; tells of how many.
    pub(super) fn forget(&mut self, is_meant: &dyn Fn(&Subject) -> bool) -> Result<u64, Error> {
        let change = self.connection.transaction()?;
        let meant: BTreeSet<i64> = {
            let mut all = change.prepare("SELECT id, scope, owner, name FROM subject")?;
            let rows = all.query_map([], |row| Ok((row.get(0)?, subject_in(row, 1)?)))?;
            let rows: Vec<(i64, Option<Subject>)> = rows.collect::<Result<_, _>>()?;
            let is_meant = |(_, of): &(i64, Option<Subject>)| of.as_ref().is_some_and(is_meant);
            rows.into_iter().filter(is_meant).map(|(id, _)| id).collect()
        };
        for id in &meant {
            change.execute("DELETE FROM chunk WHERE subject = ?1", [id])?;
            change.execute("DELETE FROM subject WHERE id = ?1", [id])?;
        }
        for tier in Tier::ALL {
            for at in frames_of(&change, tier)? {
                each_frame(&change, tier, &(at..at + 1), |at, mut cells| {
                    let before = cells.len();
                    cells.retain(|cell| !meant.contains(&cell.subject));
                    if cells.len() != before {
                        put_frame(&change, tier, at, &cells)?;
                    }
                    Ok(())
                })?;
            }
        }
        change.commit()?;
        Ok(meant.len() as u64)
    }

    /// What of subjects begins in a stretch of time, as far as it is wanted. What is damaged is left
    /// out.
    pub(super) fn columns(
        &self,
        subjects: &[&Subject],
        tier: Tier,
        range: &Range,
        wants: Wants<'_>,
    ) -> Result<Vec<(Subject, Columns)>, Error> {
        // Nothing moves from one kind of row to the other meanwhile.
        let _one_view = self.connection.unchecked_transaction()?;
        let mut all: HashMap<i64, (Subject, Columns)> = HashMap::new();
        let begins = range.start.saturating_sub(tier.reach_secs())..range.end;
        let reading = Reading {
            connection: &self.connection,
            names: &self.names,
            unpacked: self.unpacked.as_ref(),
        };
        for subject in subjects {
            let Some(id) = known_id(&self.connection, subject)? else { continue };
            let mut columns = Columns::default();
            let wanted = (range, wants);
            reading.chunks((id, tier), &begins, wanted, &mut columns)?;
            all.insert(id, ((*subject).clone(), columns));
        }
        each_frame(&self.connection, tier, range, |at, cells| {
            for cell in cells {
                if let Some((_, columns)) = all.get_mut(&cell.subject) {
                    columns.push(at, cell.point(&self.names, wants));
                }
            }
            Ok(())
        })?;
        let mut all: Vec<(Subject, Columns)> = all.into_values().collect();
        for (_, columns) in &mut all {
            columns.tidy();
        }
        Ok(all)
    }

    /// Subjects of a scope that were measured in a stretch of time.
    pub(super) fn subjects(&self, scope: Scope, range: &Range) -> Result<Vec<Subject>, Error> {
        let sql = "SELECT scope, owner, name FROM subject
                   WHERE scope = ?1 AND first < ?2 AND last >= ?3 ORDER BY owner, name";
        let mut all = self.connection.prepare_cached(sql)?;
        let rows =
            all.query_map(params![scope.name(), range.end, range.start], |row| subject_in(row, 0))?;
        let rows: Vec<Option<Subject>> = rows.collect::<Result<_, _>>()?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// Whether any subject was measured in a stretch of time.
    pub(super) fn has_any(&self, range: &Range) -> Result<bool, Error> {
        let sql = "SELECT EXISTS (SELECT 1 FROM subject WHERE first < ?1 AND last >= ?2)";
        let mut any = self.connection.prepare_cached(sql)?;
        Ok(any.query_row(params![range.end, range.start], |row| row.get(0))?)
    }

    /// What the file takes, in bytes.
    pub(super) fn bytes(&self) -> Result<u64, Error> {
        Ok(self.pages("page_count")?)
    }

    fn bytes_in_use(&self) -> Result<u64, Error> {
        Ok(self.pages("page_count")?.saturating_sub(self.pages("freelist_count")?))
    }

    fn pages(&self, pragma: &str) -> Result<u64, rusqlite::Error> {
        Ok(self.pragma(pragma)?.saturating_mul(self.pragma("page_size")?))
    }

    fn pragma(&self, name: &str) -> Result<u64, rusqlite::Error> {
        self.connection.pragma_query_value(None, name, |row| row.get(0))
    }
}

/// What hours are made of: every subject's minutes together, as far as hours are kept of it.
fn sums(
    change: &Transaction<'_>,
    all: &BTreeMap<i64, Columns>,
    names: &Names,
) -> Result<Vec<Cell>, Error> {
    let mut cells = Vec::new();
    let mut scope_of = change.prepare("SELECT scope, owner, name FROM subject WHERE id = ?1")?;
    for (id, columns) in all {
        let subject = scope_of.query_row([id], |row| subject_in(row, 0)).optional()?.flatten();
        if !subject.is_some_and(|subject| Tier::Hours.keeps(subject.scope())) {
            continue;
        }
        cells.push(Cell::new(*id, &columns.sum(), names));
    }
    Ok(cells)
}

fn layout(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn names(connection: &Connection) -> Result<Names, Error> {
    let mut all = connection.prepare("SELECT number, name FROM metric")?;
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Names::new(rows.collect::<Result<_, _>>()?))
}
