//! Four lines: the daemon, the machine, what there is, what happens.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::symbols::line;
use ratatui::text::{Line, Span};
use ratatui::widgets::LineGauge;

use super::{Palette, Seen};
use crate::cli::{bytes, seconds};
use crate::telemetry::metric::Id;
use crate::telemetry::reports::Times;
use crate::telemetry::reports::overview::Overview;
use crate::top::numbers::{percent, rate, sound, time};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, seen: &Seen<'_>) {
    let [first, machine, pool, flow] = Layout::vertical([Constraint::Length(1); 4]).areas(area);
    draw_daemon(frame, first, seen);
    draw_machine(frame, machine, seen);
    frame.render_widget(of_pool(seen), pool);
    frame.render_widget(of_flow(seen), flow);
}

fn draw_daemon(frame: &mut Frame<'_>, area: Rect, seen: &Seen<'_>) {
    let Seen { view, glance, trouble, palette } = *seen;
    let overview = &glance.fleet.overview;
    let level = format!("{:?}", overview.level).to_lowercase();
    let cost = mean(overview, Id::TelemetryCpu).map_or_else(
        || format!("measuring {level}"),
        |ratio| format!("measuring {level} {:.1} %", ratio * 100.0),
    );
    let own = mean(overview, Id::SupervisorMemory).map_or_else(String::new, |own| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
        let own = bytes(own as u64);
        format!("  daemon {own}")
    });
    let name = format!("simward {}", sound(&glance.version, 20));
    let rest = format!("  up {}  {cost}{own}", seconds(overview.uptime_secs));
    let left = Line::from_iter([Span::styled(name, Palette::STRONG), Span::raw(rest)]);
    let right = match (trouble, view.is_paused) {
        (Some(_), _) => Span::styled(format!("STALE {}", clock(&glance.at)), palette.bad()),
        (None, true) => Span::styled(format!("PAUSED {}", clock(&glance.at)), palette.warn()),
        (None, false) => Span::raw(clock(&glance.at)),
    };
    let width = u16::try_from(right.width()).unwrap_or(0);
    let [place, corner] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(width)]).spacing(1).areas(area);
    frame.render_widget(left, place);
    frame.render_widget(right, corner);
}

fn draw_machine(frame: &mut Frame<'_>, area: Rect, seen: &Seen<'_>) {
    let Seen { glance, palette, .. } = *seen;
    let (overview, pool) = (&glance.fleet.overview, &glance.fleet.pool);
    let load = mean(overview, Id::HostLoad).map_or_else(|| "-".to_owned(), rate);
    let rest = format!("load {load}  room {}", sound(&pool.room, 10));
    let width = u16::try_from(rest.chars().count()).unwrap_or(0);
    let parts = [Constraint::Fill(1), Constraint::Fill(1), Constraint::Length(width)];
    let [cpu, memory, place] = Layout::horizontal(parts).spacing(2).areas(area);
    let cores = format!("of {} cores", pool.host_cores);
    let of_memory = format!("of {}", bytes(pool.host_memory_bytes));
    gauge(frame, cpu, ("cpu", mean(overview, Id::HostCpu), &cores), palette);
    gauge(frame, memory, ("mem", mean(overview, Id::HostMemory), &of_memory), palette);
    frame.render_widget(Span::raw(rest), place);
}

fn gauge(
    frame: &mut Frame<'_>,
    area: Rect,
    (what, ratio, of): (&str, Option<f64>, &str),
    palette: Palette,
) {
    let share = ratio.map_or_else(|| "-".to_owned(), percent);
    let ratio = ratio.filter(|ratio| ratio.is_finite()).unwrap_or(0.0).clamp(0.0, 1.0);
    let style = match ratio {
        ..0.7 => palette.good(),
        0.7..0.9 => palette.warn(),
        _ => palette.bad(),
    };
    let gauge = LineGauge::default()
        .label(format!("{what} {share:>5} {of}"))
        .ratio(ratio)
        .filled_symbol(line::THICK.horizontal)
        .unfilled_symbol(line::NORMAL.horizontal)
        .filled_style(style)
        .unfilled_style(Palette::FAINT);
    frame.render_widget(gauge, area);
}

fn of_pool(seen: &Seen<'_>) -> Line<'static> {
    let pool = &seen.glance.fleet.pool;
    Line::raw(format!(
        "sessions {}/{}  awake {}/{}  workers {}  ports {}/{}  starting {}, {} wait",
        pool.sessions,
        pool.sessions_max,
        pool.awake,
        pool.awake_max,
        pool.workers,
        pool.ports_used,
        pool.ports_used + pool.ports_free,
        pool.starting,
        pool.starts_waiting,
    ))
}

fn of_flow(seen: &Seen<'_>) -> Line<'static> {
    let Seen { glance, palette, .. } = *seen;
    let overview = &glance.fleet.overview;
    let told = |id| mean(overview, id).map_or_else(|| "-".to_owned(), rate);
    let errors = mean(overview, Id::Errors);
    let p99 = |times: &Option<_>| {
        times.as_ref().map_or_else(|| "-".to_owned(), |times: &Times| time(times.p99_secs))
    };
    let style = if errors.is_some_and(|rate| 0.0 < rate) { palette.warn() } else { Palette::FAINT };
    let (steps, calls) = (told(Id::Steps), told(Id::Calls));
    let (step, call) = (p99(&overview.step_secs), p99(&overview.call_secs));
    Line::from_iter([
        Span::raw(format!("steps/s {steps}  calls/s {calls}  ")),
        Span::styled(format!("errors/s {}", told(Id::Errors)), style),
        Span::raw(format!("  step p99 {step}  call p99 {call}")),
    ])
}

fn mean(overview: &Overview, id: Id) -> Option<f64> {
    overview.means.get(id.metric().name).copied()
}

/// The time of a moment of a day, such as `12:34:56Z`.
fn clock(at: &str) -> String {
    let (_, time) = at.split_once('T').unwrap_or(("", at));
    sound(time, 12)
}
