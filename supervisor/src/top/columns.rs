//! The columns of both tables: what they say, how wide they are, and what they are sorted by.

use std::cmp::Ordering;

use super::numbers::{count, percent, rate, sound, time};
use crate::cli::{bytes, seconds};
use crate::telemetry::reports::fleet::Row;
use crate::telemetry::reports::tools::Tool;

/// One column of a table of such things.
pub(super) struct Column<T: 'static> {
    pub(super) head: &'static str,
    pub(super) width: u16,
    /// Where there is not room for all, those with the highest go first; 0 stays.
    pub(super) rank: u8,
    pub(super) cell: fn(&T) -> String,
    pub(super) key: fn(&T) -> Key<'_>,
}

/// By what is sorted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Key<'a> {
    /// By the alphabet, from its beginning.
    Text(&'a str),
    /// By size, from the largest.
    Number(Option<f64>),
}

impl Key<'_> {
    /// Which comes first; what is not known comes last in either order.
    pub(super) fn compare(self, other: Self, is_reversed: bool) -> Ordering {
        let turned = |order: Ordering| if is_reversed { order.reverse() } else { order };
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => turned(one.cmp(other)),
            (Self::Number(one), Self::Number(other)) => match (one, other) {
                (Some(one), Some(other)) => turned(other.total_cmp(&one)),
                (one, other) => one.is_none().cmp(&other.is_none()),
            },
            // A column has one kind.
            (Self::Text(_), Self::Number(_)) | (Self::Number(_), Self::Text(_)) => Ordering::Equal,
        }
    }
}

/// Which columns there is room for. The one that is sorted by is there in any case.
pub(super) fn fitting<T>(columns: &[Column<T>], width: u16, sorted_by: usize) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    // There is a space after each.
    let is_too_wide = |kept: &[usize]| {
        usize::from(width) + 1 < kept.iter().map(|it| usize::from(columns[*it].width) + 1).sum()
    };
    while is_too_wide(&kept) {
        let may_go =
            kept.iter().enumerate().filter(|(_, it)| columns[**it].rank != 0 && **it != sorted_by);
        let Some((place, _)) = may_go.max_by_key(|(_, it)| columns[**it].rank) else { break };
        kept.remove(place);
    }
    kept
}

/// Of the table of sessions.
pub(super) const SESSIONS: [Column<Row>; 14] = [
    Column {
        head: "session",
        width: 13,
        rank: 0,
        cell: |row| handle(&row.session_id),
        key: |row| Key::Text(&row.session_id),
    },
    Column {
        head: "tenant",
        width: 10,
        rank: 9,
        cell: |row| sound(&row.tenant, 10),
        key: |row| Key::Text(&row.tenant),
    },
    Column {
        head: "name",
        width: 12,
        rank: 1,
        cell: |row| or_dash(row.name.as_deref(), |name| sound(name, 12)),
        key: |row| Key::Text(row.name.as_deref().unwrap_or("")),
    },
    Column {
        head: "pid",
        width: 7,
        rank: 5,
        cell: |row| or_dash(row.pid, |pid| pid.to_string()),
        key: |row| Key::Number(row.pid.map(f64::from)),
    },
    Column {
        head: "state",
        width: 10,
        rank: 0,
        cell: |row| sound(&row.state, 10),
        key: |row| Key::Text(&row.state),
    },
    Column {
        head: "cpu",
        width: 6,
        rank: 0,
        cell: |row| or_dash(row.cpu_ratio, percent),
        key: |row| Key::Number(row.cpu_ratio),
    },
    Column {
        head: "rss",
        width: 9,
        rank: 0,
        cell: |row| or_dash(row.resident_bytes, bytes),
        key: |row| Key::Number(row.resident_bytes.map(number)),
    },
    Column {
        head: "steps/s",
        width: 8,
        rank: 0,
        cell: |row| or_dash(row.steps_per_sec, rate),
        key: |row| Key::Number(row.steps_per_sec),
    },
    Column {
        head: "rtf",
        width: 6,
        rank: 6,
        cell: |row| or_dash(row.real_time_factor, rate),
        key: |row| Key::Number(row.real_time_factor),
    },
    Column {
        head: "p50",
        width: 8,
        rank: 7,
        cell: |row| or_dash(row.step_secs.as_ref(), |times| time(times.p50_secs)),
        key: |row| Key::Number(row.step_secs.as_ref().map(|times| times.p50_secs)),
    },
    Column {
        head: "p99",
        width: 8,
        rank: 2,
        cell: |row| or_dash(row.step_secs.as_ref(), |times| time(times.p99_secs)),
        key: |row| Key::Number(row.step_secs.as_ref().map(|times| times.p99_secs)),
    },
    Column {
        head: "contacts",
        width: 9,
        rank: 8,
        cell: |row| or_dash(row.contacts, count),
        key: |row| Key::Number(row.contacts.map(number)),
    },
    Column {
        head: "restarts",
        width: 9,
        rank: 4,
        cell: |row| count(row.restarts),
        key: |row| Key::Number(Some(number(row.restarts))),
    },
    Column {
        head: "idle",
        width: 6,
        rank: 3,
        cell: |row| seconds(row.idle_secs),
        key: |row| Key::Number(Some(row.idle_secs)),
    },
];

/// By what sessions are sorted at first: processor use.
pub(super) const SESSIONS_BY: usize = 5;

/// Of the table of tools.
pub(super) const TOOLS: [Column<Tool>; 9] = [
    Column {
        head: "tool",
        width: 28,
        rank: 0,
        cell: |tool| sound(&tool.tool, 28),
        key: |tool| Key::Text(&tool.tool),
    },
    Column {
        head: "calls",
        width: 7,
        rank: 0,
        cell: |tool| count(tool.calls),
        key: |tool| Key::Number(Some(number(tool.calls))),
    },
    Column {
        head: "errors",
        width: 7,
        rank: 0,
        cell: |tool| count(tool.errors),
        key: |tool| Key::Number(Some(number(tool.errors))),
    },
    Column {
        head: "share",
        width: 6,
        rank: 2,
        cell: |tool| percent(tool.error_ratio),
        key: |tool| Key::Number(Some(tool.error_ratio)),
    },
    Column {
        head: "now",
        width: 5,
        rank: 3,
        cell: |tool| count(tool.in_flight),
        key: |tool| Key::Number(Some(number(tool.in_flight))),
    },
    Column {
        head: "p50",
        width: 8,
        rank: 0,
        cell: |tool| or_dash(tool.call_secs.as_ref(), |times| time(times.p50_secs)),
        key: |tool| Key::Number(tool.call_secs.as_ref().map(|times| times.p50_secs)),
    },
    Column {
        head: "p99",
        width: 8,
        rank: 0,
        cell: |tool| or_dash(tool.call_secs.as_ref(), |times| time(times.p99_secs)),
        key: |tool| Key::Number(tool.call_secs.as_ref().map(|times| times.p99_secs)),
    },
    Column {
        head: "longest",
        width: 9,
        rank: 1,
        cell: |tool| time(tool.max_secs),
        key: |tool| Key::Number(Some(tool.max_secs)),
    },
    Column {
        head: "answers",
        width: 9,
        rank: 4,
        cell: |tool| bytes(tool.result_bytes),
        key: |tool| Key::Number(Some(number(tool.result_bytes))),
    },
];

/// By what tools are sorted at first: calls.
pub(super) const TOOLS_BY: usize = 1;

/// Twelve characters of a handle tell sessions apart and fit on a line.
pub(super) fn handle(session_id: &str) -> String {
    sound(session_id, 13)
}

fn or_dash<T>(value: Option<T>, form: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), form)
}

#[expect(clippy::cast_precision_loss, reason = "it is sorted by")]
fn number(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(width: u16, sorted_by: usize) -> Vec<&'static str> {
        fitting(&SESSIONS, width, sorted_by).into_iter().map(|it| SESSIONS[it].head).collect()
    }

    #[test]
    fn narrow_terminals_show_what_matters_most_and_what_is_sorted_by() {
        assert_eq!(heads(200, SESSIONS_BY).len(), SESSIONS.len());
        let narrow = ["session", "name", "state", "cpu", "rss", "steps/s", "p99", "idle"];
        assert_eq!(heads(80, SESSIONS_BY), narrow);
        let tenant = SESSIONS.iter().position(|column| column.head == "tenant").unwrap();
        assert_eq!(heads(80, tenant)[1], "tenant");
        // What has to stay stays, whatever there is room for.
        assert_eq!(heads(1, SESSIONS_BY), ["session", "state", "cpu", "rss", "steps/s"]);
    }

    #[test]
    fn what_is_not_known_comes_last_in_either_order() {
        let number = |value| Key::Number(value);
        for is_reversed in [false, true] {
            assert_eq!(number(None).compare(number(Some(1.0)), is_reversed), Ordering::Greater);
            assert_eq!(number(None).compare(number(None), is_reversed), Ordering::Equal);
        }
        assert_eq!(number(Some(2.0)).compare(number(Some(1.0)), false), Ordering::Less);
        assert_eq!(Key::Text("a").compare(Key::Text("b"), false), Ordering::Less);
        assert_eq!(Key::Text("a").compare(Key::Text("b"), true), Ordering::Greater);
    }

    #[test]
    fn the_columns_that_are_sorted_by_at_first_are_what_they_are_said_to_be() {
        assert_eq!((SESSIONS[SESSIONS_BY].head, TOOLS[TOOLS_BY].head), ("cpu", "calls"));
    }
}
