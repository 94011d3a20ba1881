//! The rows of the file: of everything for a moment, and of a subject for a stretch of time.

use rusqlite::{Connection, params};

use super::cache::Unpacked;
use super::chunk::{self, Cell, Chunk, Clock, Names};
use super::columns::Columns;
use super::file::Error;
use super::{Range, Tier, Wants};
use crate::telemetry::metric::{Id, METRICS};

/// Rows are long, so they are not in the tree that is searched: to compare keys there, all of a row
/// would be read. A row is of one metric, or of all of them: then `metric` is 0. Its number never comes
/// again.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS frame (
  tier INTEGER NOT NULL, begin INTEGER NOT NULL, cells BLOB NOT NULL,
  PRIMARY KEY (tier, begin)
);
CREATE TABLE IF NOT EXISTS chunk (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  subject INTEGER NOT NULL, tier INTEGER NOT NULL, metric INTEGER NOT NULL,
  begin INTEGER NOT NULL, gauges BLOB NOT NULL, histograms BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS chunk_place ON chunk (subject, tier, metric, begin);
CREATE INDEX IF NOT EXISTS chunk_age ON chunk (tier, begin);
CREATE INDEX IF NOT EXISTS chunk_day ON chunk (subject, begin) WHERE tier = 1 AND metric = 0;
";

/// Rows of all metrics have this one's number.
const ALL: u16 = 0;

/// Keeps everything of a moment. What was kept of it before is replaced.
pub(super) fn put_frame(
    change: &Connection,
    tier: Tier,
    begin: i64,
    cells: &[Cell],
) -> Result<(), Error> {
    let bytes = postcard::to_stdvec(cells).map_err(|error| Error::Damaged(error.to_string()))?;
    let sql = "INSERT OR REPLACE INTO frame (tier, begin, cells) VALUES (?1, ?2, ?3)";
    change.prepare_cached(sql)?.execute(params![tier as i64, begin, bytes])?;
    Ok(())
}

/// Looks at rows of everything, one after the other; those that are damaged are passed over.
pub(super) fn each_frame(
    connection: &Connection,
    tier: Tier,
    range: &Range,
    mut look: impl FnMut(i64, Vec<Cell>) -> Result<(), Error>,
) -> Result<(), Error> {
    let sql = "SELECT begin, cells FROM frame
               WHERE tier = ?1 AND begin >= ?2 AND begin < ?3 ORDER BY begin";
    let mut all = connection.prepare_cached(sql)?;
    let mut rows = all.query(params![tier as i64, range.start, range.end])?;
    while let Some(row) = rows.next()? {
        let begin = row.get(0)?;
        match postcard::from_bytes(blob(row, 1)?) {
            Ok(cells) => look(begin, cells)?,
            Err(error) => tracing::warn!(%error, begin, "a part of the history is damaged"),
        }
    }
    Ok(())
}

/// When the rows of everything begin.
pub(super) fn frames_of(connection: &Connection, tier: Tier) -> Result<Vec<i64>, Error> {
    let mut all = connection.prepare("SELECT begin FROM frame WHERE tier = ?1")?;
    let rows = all.query_map([tier as i64], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Keeps all columns of a subject for a stretch of time. What was kept of it before is replaced.
pub(super) fn put_chunk(
    change: &Connection,
    (subject, tier, begin): (i64, Tier, i64),
    columns: &Columns,
    names: &Names,
) -> Result<(), Error> {
    if tier == Tier::Hours {
        delete(change, subject, &(begin..begin + 1))?;
    }
    let of_all = (ALL, Wants::ALL);
    put(change, (subject, tier, begin), of_all, columns, names)
}

/// Deletes the hours of a subject that lie in rows which begin in a stretch of time.
pub(super) fn delete(change: &Connection, subject: i64, begins: &Range) -> Result<(), Error> {
    // Else the rows of everybody of that time would be looked at.
    let sql = "DELETE FROM chunk INDEXED BY chunk_place
               WHERE subject = ?1 AND tier = ?2 AND begin >= ?3 AND begin < ?4";
    let row = params![subject, Tier::Hours as i64, begins.start, begins.end];
    change.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// The same, each column in a row of its own: for a year of one of them, no other is read.
pub(super) fn put_apart(
    change: &Connection,
    place: (i64, Tier, i64),
    columns: &Columns,
    names: &Names,
) -> Result<(), Error> {
    let gauges = columns.gauges().map(|(id, _)| id);
    for id in gauges.chain(columns.histograms().map(|(id, _)| id)) {
        if let Some(number) = names.number(id) {
            put(change, place, (number, Wants::of(&|other| other == id)), columns, names)?;
        }
    }
    Ok(())
}

fn put(
    change: &Connection,
    (subject, tier, begin_secs): (i64, Tier, i64),
    (metric, wants): (u16, Wants<'_>),
    columns: &Columns,
    names: &Names,
) -> Result<(), Error> {
    let clock = Clock { begin_secs, step_secs: tier.step_secs() };
    let Chunk { gauges, histograms } =
        chunk::pack(clock, columns, names, wants).map_err(Error::Damaged)?;
    let sql = "INSERT OR REPLACE INTO chunk (subject, tier, metric, begin, gauges, histograms)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let row = params![subject, tier as i64, metric, begin_secs, gauges, histograms];
    change.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// Where rows are read.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) connection: &'a Connection,
    pub(super) names: &'a Names,
    /// Months that are unpacked; absent where nobody asks twice.
    pub(super) unpacked: Option<&'a Unpacked>,
}

impl Reading<'_> {
    /// Reads what is wanted of a subject out of chunks that begin in a stretch of time; a part that
    /// is damaged is passed over. If the clock was set back, the newer of what came twice comes last.
    pub(super) fn chunks(
        self,
        (subject, tier): (i64, Tier),
        begins: &Range,
        wanted: (&Range, Wants<'_>),
        into: &mut Columns,
    ) -> Result<(), Error> {
        let (range, wants) = wanted;
        let mut with_histograms = false;
        for metric in METRICS.iter().filter(|metric| wants.has(metric.id)) {
            with_histograms |= !metric.id.is_gauge();
            if tier == Tier::Hours
                && let Some(number) = self.names.number(metric.id)
            {
                self.months(subject, (number, metric.id), begins, (range, wants.with_ends), into)?;
            }
        }
        // Days come after the month that they are of: they are newer.
        self.days((subject, tier), begins, (wanted, with_histograms), into)
    }

    /// Rows of one metric.
    fn months(
        self,
        subject: i64,
        (number, id): (u16, Id),
        begins: &Range,
        (range, with_ends): (&Range, bool),
        into: &mut Columns,
    ) -> Result<(), Error> {
        let sql = "SELECT id, begin FROM chunk
                   WHERE subject = ?1 AND tier = ?2 AND metric = ?3 AND begin >= ?4 AND begin < ?5
                   ORDER BY begin";
        // A histogram is all there either way.
        let with_ends = with_ends || !id.is_gauge();
        let mut chunks = self.connection.prepare_cached(sql)?;
        let of = params![subject, Tier::Hours as i64, number, begins.start, begins.end];
        let mut rows = chunks.query(of)?;
        while let Some(row) = rows.next()? {
            let (row, begin_secs) = (row.get(0)?, row.get(1)?);
            let unpack = || self.month(row, begin_secs, id, with_ends);
            match self.unpacked {
                Some(unpacked) => into.take(&*unpacked.get((row, with_ends), unpack)?, range),
                None => into.take(&unpack()?, range),
            }
        }
        Ok(())
    }

    /// All of a row of one metric.
    fn month(self, row: i64, begin_secs: i64, id: Id, with_ends: bool) -> Result<Columns, Error> {
        let clock = Clock { begin_secs, step_secs: Tier::Hours.step_secs() };
        let is_meant = |other| other == id;
        let wanted = (&(i64::MIN..i64::MAX), Wants::of(&is_meant).with_ends(with_ends));
        let mut columns = Columns::default();
        let mut one =
            self.connection.prepare_cached("SELECT gauges, histograms FROM chunk WHERE id = ?1")?;
        let mut rows = one.query([row])?;
        if let Some(row) = rows.next()? {
            self.unpack(clock, wanted, (blob(row, 0)?, Some(blob(row, 1)?)), &mut columns);
        }
        Ok(columns)
    }

    /// Rows of all metrics. What is not asked for is not read from the disk.
    fn days(
        self,
        (subject, tier): (i64, Tier),
        begins: &Range,
        (wanted, with_histograms): ((&Range, Wants<'_>), bool),
        into: &mut Columns,
    ) -> Result<(), Error> {
        let sql = if with_histograms {
            "SELECT begin, gauges, histograms FROM chunk
             WHERE subject = ?1 AND tier = ?2 AND metric = ?3 AND begin >= ?4 AND begin < ?5
             ORDER BY begin"
        } else {
            "SELECT begin, gauges FROM chunk
             WHERE subject = ?1 AND tier = ?2 AND metric = ?3 AND begin >= ?4 AND begin < ?5
             ORDER BY begin"
        };
        let mut chunks = self.connection.prepare_cached(sql)?;
        let mut rows =
            chunks.query(params![subject, tier as i64, ALL, begins.start, begins.end])?;
        while let Some(row) = rows.next()? {
            let clock = Clock { begin_secs: row.get(0)?, step_secs: tier.step_secs() };
            let histograms = if with_histograms { Some(blob(row, 2)?) } else { None };
            self.unpack(clock, wanted, (blob(row, 1)?, histograms), into);
        }
        Ok(())
    }

    fn unpack(
        self,
        clock: Clock,
        wanted: (&Range, Wants<'_>),
        (gauges, histograms): (&[u8], Option<&[u8]>),
        into: &mut Columns,
    ) {
        note(clock, chunk::unpack_gauges(clock, gauges, self.names, wanted, into));
        if let Some(histograms) = histograms {
            note(clock, chunk::unpack_histograms(clock, histograms, self.names, wanted, into));
        }
    }
}

fn note(clock: Clock, read: Result<(), String>) {
    if let Err(error) = read {
        let begin = clock.begin_secs;
        tracing::warn!(error, begin, "a part of the history is damaged");
    }
}

fn blob<'a>(row: &'a rusqlite::Row<'_>, place: usize) -> Result<&'a [u8], rusqlite::Error> {
    row.get_ref(place)?.as_blob().map_err(rusqlite::Error::from)
}
