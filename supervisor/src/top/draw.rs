//! What is seen: the head with the machine and the daemon, a table, trends, alerts, a line of keys.

mod head;
mod palette;
mod table;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Sparkline, Wrap};

pub(super) use self::palette::Palette;
pub(super) use self::table::Offsets;
use super::columns::handle;
use super::numbers::{percent, rate, sound};
use super::view::{Mode, Pane, View};
use crate::admin::Glance;
use crate::alerts::report::AlertReport;
use crate::alerts::rule::Severity;

/// All that there is to see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) view: &'a View,
    pub(super) glance: &'a Glance,
    /// Why the daemon does not answer, if it does not.
    pub(super) trouble: Option<&'a str>,
    pub(super) palette: Palette,
}

/// The smallest terminal.
const SIZE_MIN: (u16, u16) = (80, 24);

const HELP: &str = "\
q, Ctrl-C    quit
j k ↓ ↑      select another line; PgUp, PgDn, Home, End
s S          sort by the next column, or the one before
r            the other way around
/            only lines with a text; Enter keeps it, Esc undoes it
Esc          all lines again
t            tools instead of sessions, and back
p            pause, and go on
?            this

cpu: 100 % is one core. rss: memory, what processes share counts for each.
rtf: simulated seconds in a second. p50, p99: the time of a step, or of a
call. Rates and times of steps are over the last 10 s; tools, since the
daemon was started or was told to forget.";

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, seen: &Seen<'_>, offsets: &mut Offsets) {
    let area = frame.area();
    let (width, height) = SIZE_MIN;
    if area.width < width || area.height < height {
        let (own_width, own_height) = (area.width, area.height);
        let text =
            format!("{width}×{height} is needed, and this is {own_width}×{own_height}; q quits");
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
        return;
    }
    let alerts = u16::try_from(seen.glance.alerts.len()).unwrap_or(u16::MAX);
    let rows = [
        Constraint::Length(4),
        Constraint::Min(8),
        Constraint::Length(4),
        // A fifth of the height is enough for alerts.
        Constraint::Length(1 + alerts.clamp(1, area.height / 5)),
        Constraint::Length(1),
    ];
    let [head, table, trends, alerts, foot] = Layout::vertical(rows).areas(area);
    head::draw(frame, head, seen);
    match seen.view.pane {
        Pane::Sessions => table::sessions(frame, table, seen, offsets),
        Pane::Tools => table::tools(frame, table, seen, offsets),
    }
    draw_trends(frame, trends, seen);
    draw_alerts(frame, alerts, seen);
    draw_foot(frame, foot, seen);
    if seen.view.mode == Mode::Help {
        draw_help(frame, table, seen.palette);
    }
}

/// A title over what is below it.
fn titled<'a>(title: impl Into<Line<'a>>) -> Block<'a> {
    Block::new().borders(Borders::TOP).border_style(Palette::FAINT).title(title)
}

fn draw_trends(frame: &mut Frame<'_>, area: Rect, seen: &Seen<'_>) {
    let halves = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(1);
    let [left, right] = halves.areas(area);
    let trend = &seen.glance.trend;
    draw_trend(
        frame,
        left,
        seen,
        &Drawn { what: "steps/s", values: &trend.steps_per_sec, full: 0.0, form: rate },
    );
    // One core is a bar of full height, unless more are used.
    draw_trend(
        frame,
        right,
        seen,
        &Drawn { what: "cpu", values: &trend.cpu_ratio, full: 1.0, form: percent },
    );
}

/// One half of a trend.
struct Drawn<'a> {
    what: &'a str,
    values: &'a [Option<f64>],
    /// What a bar of full height means at least.
    full: f64,
    form: fn(f64) -> String,
}

fn draw_trend(frame: &mut Frame<'_>, area: Rect, seen: &Seen<'_>, drawn: &Drawn<'_>) {
    let Drawn { what, values, full, form } = *drawn;
    let Seen { view, glance, palette, .. } = *seen;
    let trend = &glance.trend;
    let of = trend.session_id.as_deref().map_or_else(|| "of all".to_owned(), handle);
    if trend.session_id != view.sessions.selected {
        let title = format!("{what} {of}: not asked for");
        let title = if view.is_paused { title } else { format!("{what}: …") };
        frame.render_widget(titled(title), area);
        return;
    }
    let shown = &values[values.len().saturating_sub(usize::from(area.width))..];
    let most = values.iter().flatten().fold(0.0_f64, |most, value| most.max(*value));
    let title = match values.iter().rev().find_map(|value| *value) {
        Some(last) => format!("{what} {of}: {}, max {}", form(last), form(most)),
        None => format!("{what} {of}: not measured"),
    };
    let bars = shown.iter().map(|value| value.map(|value| part(value, most.max(full))));
    let line = Sparkline::default()
        .block(titled(title))
        .data(bars)
        .max(PARTS)
        .style(palette.accent())
        .absent_value_symbol(" ");
    frame.render_widget(line, area);
}

/// Heights that a bar may have.
const PARTS: u64 = 1000;

/// How high a bar is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
fn part(value: f64, most: f64) -> u64 {
    let share = if most == 0.0 { 0.0 } else { value / most };
    (share.clamp(0.0, 1.0) * 1000.0) as u64
}

fn draw_alerts(frame: &mut Frame<'_>, area: Rect, seen: &Seen<'_>) {
    let Seen { glance, palette, .. } = *seen;
    let firing = glance.alerts.iter().filter(|alert| alert.state == "firing").count();
    let pending = glance.alerts.len() - firing;
    let more = match glance.alerts_cut {
        0 => String::new(),
        cut => format!(", {cut} more"),
    };
    let block = titled(format!("alerts: {firing} firing, {pending} pending{more}"));
    let mut lines: Vec<_> = glance.alerts.iter().map(|alert| alert_line(alert, palette)).collect();
    if lines.is_empty() {
        lines.push(Line::styled("none", Palette::FAINT));
    }
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn alert_line(alert: &AlertReport, palette: Palette) -> Line<'static> {
    let style = match (alert.state.as_str(), alert.severity) {
        ("firing", Severity::Critical) => palette.bad(),
        ("firing", _) => palette.warn(),
        _ => Palette::FAINT,
    };
    let value = alert.value.map_or_else(|| "-".to_owned(), rate);
    let about = alert.labels.iter().map(|(key, value)| {
        let value = if key == "session_id" { handle(value) } else { sound(value, 40) };
        format!("{key}={value}")
    });
    let about: Vec<_> = about.collect();
    let head = format!("{:<8}{:<10}", sound(&alert.state, 7), alert.severity.name());
    let (rule, about) = (sound(&alert.rule, 40), about.join(" "));
    Line::from_iter([Span::styled(head, style), Span::raw(format!("{rule} {value} {about}"))])
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, seen: &Seen<'_>) {
    let Seen { view, trouble, palette, .. } = *seen;
    let line = match (&view.mode, trouble) {
        (Mode::Filter { .. }, _) => Line::raw(format!("/{}▏", view.filter)),
        (_, Some(trouble)) => {
            let text = format!("no answer, asking again: {}", sound(trouble, 300));
            Line::styled(text, palette.bad())
        }
        _ => Line::styled(
            "q quit  jk select  s sort  r reverse  / filter  t tools  p pause  ? help",
            Palette::FAINT,
        ),
    };
    frame.render_widget(line, area);
}

fn draw_help(frame: &mut Frame<'_>, area: Rect, palette: Palette) {
    // It may take the place of the table, but not of what is above and below it.
    let lines = u16::try_from(HELP.lines().count()).unwrap_or(u16::MAX);
    let bounds = frame.area();
    let height = (lines + 2).min(bounds.bottom().saturating_sub(area.y));
    let area = Rect { height, width: area.width.min(80), ..area };
    let block = Block::bordered().border_style(palette.accent()).title("help: any key ends it");
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(HELP).block(block), area);
}

#[cfg(test)]
mod tests;
