//! Days of hours are laid into the columns of their month, a week at a time, each metric in a row of its
//! own: a year of one is then a dozen short rows and less than a week of days, and read many times
//! quicker.

use rusqlite::{Connection, params};

use super::chunk::Names;
use super::columns::Columns;
use super::file::Error;
use super::rows::{Reading, delete, put_apart};
use super::{Tier, Wants};

/// How long a stretch is of which the columns are laid together.
pub(super) const MONTH_SECS: i64 = 30 * 86_400;

/// Days that lie alone until they are laid into their month. What is there of it is written again each
/// time.
const DAYS_MAX: i64 = 7;

/// Months of subjects that are laid together at a time, so that nobody waits long for the file.
const AT_A_TIME: i64 = 16;

/// Lays days before a moment into their months: some of those of which there are many, or of which the
/// month is over. Tells whether there may be more of them.
pub(super) fn merge(connection: &mut Connection, names: &Names, over: i64) -> Result<bool, Error> {
    let change = connection.transaction()?;
    let some: Vec<(i64, i64)> = {
        let sql = "SELECT subject, begin - begin % ?1 AS month FROM chunk INDEXED BY chunk_day
                   WHERE tier = 1 AND metric = 0 AND begin < ?2
                   GROUP BY subject, month
                   HAVING count(*) >= ?3 OR month <= ?2 - ?1 LIMIT ?4";
        let mut all = change.prepare_cached(sql)?;
        let row = params![MONTH_SECS, over, DAYS_MAX, AT_A_TIME];
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
    let all = (&begins, Wants::ALL);
    let reading = Reading { connection: change, names, unpacked: None };
    reading.chunks((subject, Tier::Hours), &begins, all, &mut whole)?;
    whole.tidy();
    delete(change, subject, &begins)?;
    put_apart(change, (subject, Tier::Hours, month), &whole, names)
}
