//! Days of hours are laid together into longer columns once their month is over: a year of a subject
//! is then a dozen rows, and read many times quicker.

use rusqlite::{Connection, params};

use super::chunk::Names;
use super::columns::Columns;
use super::file::Error;
use super::rows::{put_chunk, read_chunks};
use super::{Tier, Wants, everything};

/// How long a stretch is of which the columns are laid together.
pub(super) const MONTH_SECS: i64 = 30 * 86_400;

/// Months of subjects that are laid together at a time, so that nobody waits long for the file.
const AT_A_TIME: i64 = 16;

/// Lays together some of what still lies in days and is of months that are over; tells whether there
/// may be more of it.
pub(super) fn merge(connection: &mut Connection, names: &Names, over: i64) -> Result<bool, Error> {
    let change = connection.transaction()?;
    let some: Vec<(i64, i64)> = {
        let sql = "SELECT subject, begin - begin % ?1 AS month FROM chunk
                   WHERE tier = ?2 AND begin < ?3
                   GROUP BY subject, month HAVING count(*) > 1 LIMIT ?4";
        let mut all = change.prepare_cached(sql)?;
        let row = params![MONTH_SECS, Tier::Hours as i64, over, AT_A_TIME];
        let rows = all.query_map(row, |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<Result<_, _>>()?
    };
    for (subject, month) in &some {
        merge_one(&change, names, *subject, *month)?;
    }
    change.commit()?;
    Ok(!some.is_empty())
}

fn merge_one(change: &Connection, names: &Names, subject: i64, month: i64) -> Result<(), Error> {
    let begins = month..month + MONTH_SECS;
    let mut whole = Columns::default();
    let all = (&begins, &everything as Wants<'_>);
    read_chunks(change, (subject, Tier::Hours), &begins, names, all, &mut whole)?;
    whole.tidy();
    let sql = "DELETE FROM chunk
               WHERE subject = ?1 AND tier = ?2 AND begin >= ?3 AND begin < ?4";
    let of_month = params![subject, Tier::Hours as i64, begins.start, begins.end];
    change.prepare_cached(sql)?.execute(of_month)?;
    put_chunk(change, (subject, Tier::Hours, month), &whole, names)
}
