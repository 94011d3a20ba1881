//! The subjects that a file tells of, by number; and how many there may be.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::Bounds;
use super::file::Error;
use crate::telemetry::metric::Scope;
use crate::telemetry::series::Subject;

/// How many more subjects there may be.
pub(super) struct Room {
    all: u64,
    per_tenant_max: u64,
    per_tenant: HashMap<String, u64>,
}

impl Room {
    pub(super) fn of(connection: &Connection, bounds: Bounds) -> Result<Self, Error> {
        let sql = "SELECT owner, count(*) FROM subject GROUP BY owner";
        let mut all = connection.prepare_cached(sql)?;
        let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let per_tenant: HashMap<String, u64> = rows.collect::<Result<_, _>>()?;
        let there = per_tenant.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
        let all = bounds.subjects_max.saturating_sub(there);
        Ok(Self { all, per_tenant_max: bounds.subjects_per_tenant_max, per_tenant })
    }

    fn take(&mut self, owner: &str) -> bool {
        let own = self.per_tenant.entry(owner.to_owned()).or_default();
        // What is nobody's has no bound of its own.
        if self.all == 0 || (!owner.is_empty() && self.per_tenant_max <= *own) {
            return false;
        }
        self.all -= 1;
        *own += 1;
        true
    }
}

/// The subject's number; a new one if there is room for one more.
pub(super) fn id_of(
    change: &Connection,
    subject: &Subject,
    at_secs: i64,
    room: &mut Room,
) -> Result<Option<i64>, Error> {
    if let Some(id) = known_id(change, subject)? {
        let sql = "UPDATE subject SET last = max(last, ?2) WHERE id = ?1";
        change.prepare_cached(sql)?.execute(params![id, at_secs])?;
        return Ok(Some(id));
    }
    let owner = owner_of(subject);
    if !room.take(&owner) {
        return Ok(None);
    }
    let sql = "INSERT INTO subject (scope, owner, name, first, last) VALUES (?1, ?2, ?3, ?4, ?4)";
    let row = params![subject.scope().name(), owner, subject.name(), at_secs];
    change.prepare_cached(sql)?.execute(row)?;
    Ok(Some(change.last_insert_rowid()))
}

pub(super) fn known_id(connection: &Connection, subject: &Subject) -> Result<Option<i64>, Error> {
    let sql = "SELECT id FROM subject WHERE scope = ?1 AND owner = ?2 AND name = ?3";
    let row = params![subject.scope().name(), owner_of(subject), subject.name()];
    Ok(connection.prepare_cached(sql)?.query_row(row, |row| row.get(0)).optional()?)
}

fn owner_of(subject: &Subject) -> String {
    subject.owner().map(ToString::to_string).unwrap_or_default()
}

/// The subject in three columns of a row, if there still are such ones.
pub(super) fn subject_in(
    row: &rusqlite::Row<'_>,
    first: usize,
) -> Result<Option<Subject>, rusqlite::Error> {
    let (scope, owner): (String, String) = (row.get(first)?, row.get(first + 1)?);
    let name: String = row.get(first + 2)?;
    let scope = Scope::ALL.into_iter().find(|known| known.name() == scope);
    Ok(scope.and_then(|scope| Subject::of(scope, Some(&owner), &name)))
}
