//! The same in plain text, for scripts and logs: every column, one table after the other.

use std::fmt::Write as _;

use super::columns::{Column, SESSIONS, TOOLS};
use super::numbers::{percent, rate, sound};
use super::view::View;
use crate::admin::Glance;
use crate::cli::{bytes, seconds, table};
use crate::telemetry::metric::Id;

/// All of it.
pub(super) fn text(glance: &Glance) -> String {
    let view = View::default();
    let mut text = head(glance);
    text.push('\n');
    text += &form(&SESSIONS, &view.rows(glance));
    if glance.fleet.sessions_cut != 0 {
        // Writing to a string does not fail.
        writeln!(text, "{} sessions more", glance.fleet.sessions_cut).ok();
    }
    text.push('\n');
    text += &form(&TOOLS, &view.tool_rows(glance));
    text.push('\n');
    let alert = |alert: &crate::alerts::report::AlertReport| {
        let about = alert.labels.iter().map(|(key, value)| format!("{key}={}", sound(value, 100)));
        vec![
            sound(&alert.state, 10),
            alert.severity.name().to_owned(),
            sound(&alert.rule, 64),
            alert.value.map_or_else(|| "-".to_owned(), rate),
            alert.since.clone(),
            about.collect::<Vec<_>>().join(" "),
        ]
    };
    let alerts: Vec<_> = glance.alerts.iter().map(alert).collect();
    text += &table(&["alert", "severity", "rule", "value", "since", "about"], &alerts);
    if glance.alerts_cut != 0 {
        writeln!(text, "{} alerts more", glance.alerts_cut).ok();
    }
    text
}

fn head(glance: &Glance) -> String {
    let (overview, pool) = (&glance.fleet.overview, &glance.fleet.pool);
    let mean = |id: Id, form: fn(f64) -> String| {
        overview.means.get(id.metric().name).map_or_else(|| "-".to_owned(), |mean| form(*mean))
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("up", seconds(overview.uptime_secs)),
        row("host cpu", format!("{} of {} cores", mean(Id::HostCpu, percent), pool.host_cores)),
        row(
            "host memory",
            format!("{} of {}", mean(Id::HostMemory, percent), bytes(pool.host_memory_bytes)),
        ),
        row("room", pool.room.clone()),
        row("sessions", format!("{} of {}", pool.sessions, pool.sessions_max)),
        row("awake", format!("{} of {}", pool.awake, pool.awake_max)),
        row("workers", pool.workers.to_string()),
        row("ports", format!("{} used, {} free", pool.ports_used, pool.ports_free)),
        row("steps/s", mean(Id::Steps, rate)),
        row("calls/s", mean(Id::Calls, rate)),
        row("errors/s", mean(Id::Errors, rate)),
    ];
    table(&["simward", &glance.version], &rows)
}

fn form<T>(columns: &[Column<T>], rows: &[&T]) -> String {
    let heads: Vec<_> = columns.iter().map(|column| column.head).collect();
    let line = |row: &&T| columns.iter().map(|column| (column.cell)(row)).collect();
    let lines: Vec<Vec<String>> = rows.iter().map(line).collect();
    table(&heads, &lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::sample;

    #[test]
    fn scripts_read_tables() {
        insta::assert_snapshot!(text(&sample::glance()));
    }
}
