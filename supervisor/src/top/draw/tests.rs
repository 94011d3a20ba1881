//! What is seen, cell by cell.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use super::*;
use crate::telemetry::reports::fleet::Row;
use crate::top::sample;

/// The cells of a terminal of that size, after these keys.
fn drawn(
    size: (u16, u16),
    glance: &Glance,
    (keys, trouble, palette): (&str, Option<&str>, Palette),
) -> TestBackend {
    let mut view = View::default();
    view.settle(glance);
    for key in keys.chars() {
        view.on_key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE), glance);
    }
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    let seen = Seen { view: &view, glance, trouble, palette };
    terminal.draw(|frame| draw(frame, &seen, &mut Offsets::default())).unwrap();
    terminal.backend().clone()
}

fn plainly(size: (u16, u16), keys: &str) -> TestBackend {
    drawn(size, &sample::glance(), (keys, None, Palette::plain()))
}

#[test]
fn a_wide_terminal_shows_every_column() {
    // The second line is the session whose trend was asked for.
    insta::assert_snapshot!(plainly((140, 30), "j"));
}

#[test]
fn the_smallest_terminal_shows_what_matters() {
    insta::assert_snapshot!(plainly((80, 24), "j"));
}

#[test]
fn tools_are_seen_in_the_place_of_sessions() {
    insta::assert_snapshot!(plainly((100, 24), "t"));
}

#[test]
fn help_covers_the_table() {
    insta::assert_snapshot!(plainly((80, 24), "?"));
}

#[test]
fn a_filter_is_seen_while_it_is_typed() {
    insta::assert_snapshot!(plainly((80, 24), "/human"));
}

#[test]
fn a_daemon_that_does_not_answer_leaves_what_it_said_last() {
    let trouble = Some("no daemon answers at /run/x.sock");
    insta::assert_snapshot!(drawn((80, 24), &sample::glance(), ("jp", trouble, Palette::plain())));
}

#[test]
fn nothing_at_all_is_seen_as_nothing() {
    let mut glance = sample::glance();
    glance.fleet.sessions.clear();
    glance.fleet.tools.clear();
    glance.fleet.overview.means.clear();
    glance.fleet.overview.step_secs = None;
    glance.fleet.overview.call_secs = None;
    glance.alerts.clear();
    glance.trend.session_id = None;
    glance.trend.steps_per_sec.clear();
    glance.trend.cpu_ratio.clear();
    insta::assert_snapshot!(drawn((80, 24), &glance, ("p", None, Palette::plain())));
}

#[test]
fn a_terminal_that_is_too_small_is_told_so() {
    for size in [(79, 24), (80, 23), (20, 5), (1, 1)] {
        let text = plainly(size, "").to_string();
        assert!(!text.contains("sessions"), "{text}");
    }
    insta::assert_snapshot!(plainly((60, 20), ""));
}

#[test]
fn every_size_that_is_large_enough_can_be_drawn() {
    let mut glance = sample::glance();
    let row = glance.fleet.sessions[0].clone();
    let many = |number| Row { session_id: format!("sim_{number:032x}"), ..row.clone() };
    glance.fleet.sessions.extend((0..100).map(many));
    for width in (80..240).step_by(23) {
        for height in (24..70).step_by(11) {
            for keys in ["", "G", "t", "?"] {
                let backend = drawn((width, height), &glance, (keys, None, Palette::coloured()));
                assert!(backend.to_string().contains("alerts: 1 firing"), "{width}×{height}");
            }
        }
    }
    let last = drawn((80, 24), &glance, ("G", None, Palette::plain())).to_string();
    assert!(last.contains("hibernated"), "the last of the order is seen: {last}");
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let colours = |palette| {
        let backend = drawn((140, 30), &sample::glance(), ("j", None, palette));
        let cells = &backend.buffer().content;
        cells.iter().filter(|cell| (cell.fg, cell.bg) != (Color::Reset, Color::Reset)).count()
    };
    assert_eq!(colours(Palette::plain()), 0);
    assert_ne!(colours(Palette::coloured()), 0);
}
