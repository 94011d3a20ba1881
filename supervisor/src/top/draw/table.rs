//! The table of sessions, and that of tools.

use std::collections::BTreeSet;

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::widgets::{Cell, Row as Cells, Table, TableState};

use super::{Palette, Seen, titled};
use crate::telemetry::reports::fleet::Row;
use crate::top::columns::{Column, SESSIONS, TOOLS, fitting};
use crate::top::numbers::sound;
use crate::top::view::{List, View};

/// Which lines are the first that are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::top) struct Offsets {
    sessions: usize,
    tools: usize,
}

pub(super) fn sessions(frame: &mut Frame<'_>, area: Rect, seen: &Seen<'_>, offsets: &mut Offsets) {
    let Seen { view, glance, palette, .. } = *seen;
    let rows = view.rows(glance);
    let fires: BTreeSet<&str> = glance
        .alerts
        .iter()
        .filter(|alert| alert.state == "firing")
        .filter_map(|alert| alert.labels.get("session_id").map(String::as_str))
        .collect();
    let style = |row: &Row| match row.state.as_str() {
        _ if fires.contains(row.session_id.as_str()) => palette.bad(),
        "ready" | "starting" => Style::new(),
        "restarting" | "parked" => palette.warn(),
        _ => Palette::FAINT,
    };
    let cut = match glance.fleet.sessions_cut {
        0 => String::new(),
        cut => format!(", {cut} more that were used longer ago"),
    };
    let title = format!("sessions: {}{cut}{}", rows.len(), filtered(view));
    show(
        frame,
        area,
        (&SESSIONS, &view.sessions, &mut offsets.sessions),
        Lines { rows, style, title },
    );
}

pub(super) fn tools(frame: &mut Frame<'_>, area: Rect, seen: &Seen<'_>, offsets: &mut Offsets) {
    let Seen { view, glance, .. } = *seen;
    let rows = view.tool_rows(glance);
    let title = format!("tools: {}{}", rows.len(), filtered(view));
    let style = |_: &_| Style::new();
    show(frame, area, (&TOOLS, &view.tools, &mut offsets.tools), Lines { rows, style, title });
}

/// What is in a table.
struct Lines<'a, T, S> {
    rows: Vec<&'a T>,
    style: S,
    title: String,
}

fn show<T, S: Fn(&T) -> Style>(
    frame: &mut Frame<'_>,
    area: Rect,
    (columns, list, offset): (&[Column<T>], &List, &mut usize),
    lines: Lines<'_, T, S>,
) {
    let kept = fitting(columns, area.width, list.sorted_by);
    let head = kept.iter().map(|it| {
        let mark = match (*it == list.sorted_by, list.is_reversed) {
            (false, _) => "",
            (true, false) => "▾",
            (true, true) => "▴",
        };
        Cell::from(format!("{}{mark}", columns[*it].head))
    });
    let head = Cells::new(head).style(Palette::STRONG);
    let height = usize::from(area.height).saturating_sub(2);
    let place = list.place();
    // Only what is seen is written out, however many there are.
    *offset = scrolled(*offset, place.unwrap_or(0), lines.rows.len(), height);
    let rows = lines.rows.iter().skip(*offset).take(height).map(|row| {
        let cells = kept.iter().map(|it| Cell::from((columns[*it].cell)(row)));
        Cells::new(cells).style((lines.style)(row))
    });
    let widths = kept.iter().map(|it| Constraint::Length(columns[*it].width));
    let table = Table::new(rows, widths)
        .header(head)
        .block(titled(lines.title))
        .row_highlight_style(Palette::SELECTED);
    let mut state = TableState::new().with_selected(place.map(|place| place - *offset));
    frame.render_stateful_widget(table, area, &mut state);
}

/// The first line that is seen, so that the selected one is, and no place is empty that need not be.
fn scrolled(offset: usize, place: usize, count: usize, height: usize) -> usize {
    let least = (place + 1).saturating_sub(height);
    offset.max(least).min(place).min(count.saturating_sub(height))
}

fn filtered(view: &View) -> String {
    if view.filter.is_empty() {
        return String::new();
    }
    format!(" with \"{}\"", sound(&view.filter, 40))
}

#[cfg(test)]
mod tests {
    use super::scrolled;

    #[test]
    fn the_selected_line_is_seen_and_no_place_is_empty() {
        for (offset, place, count, height, wanted) in [
            (0, 0, 0, 10, 0),
            (0, 9, 30, 10, 0),
            (0, 10, 30, 10, 1),
            (15, 3, 30, 10, 3),
            (25, 29, 30, 10, 20),
            (20, 4, 5, 10, 0),
        ] {
            assert_eq!(scrolled(offset, place, count, height), wanted, "{offset} {place}");
        }
    }
}
