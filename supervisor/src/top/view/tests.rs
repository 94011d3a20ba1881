//! What keys do.

use proptest::prelude::*;

use super::*;
use crate::top::sample::{self, FIRST};

fn press(view: &mut View, glance: &Glance, keys: &str) -> Wish {
    let press = |key| view.on_key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE), glance);
    keys.chars().map(press).last().unwrap()
}

fn hit(view: &mut View, glance: &Glance, key: KeyCode) -> Wish {
    view.on_key(KeyEvent::new(key, KeyModifiers::NONE), glance)
}

fn settled(glance: &Glance) -> View {
    let mut view = View::default();
    view.settle(glance);
    view
}

/// The names of sessions, in their order; a dash for one that has none.
fn names(view: &View, glance: &Glance) -> Vec<String> {
    let name = |row: &Row| row.name.clone().unwrap_or_else(|| "-".to_owned());
    let short = |name: String| name.split('\u{1b}').next().unwrap_or_default().to_owned();
    view.rows(glance).into_iter().map(name).map(short).collect()
}

fn selected(view: &View) -> &str {
    view.sessions.selected.as_deref().unwrap()
}

#[test]
fn those_that_use_most_come_first_until_somebody_sorts() {
    let glance = sample::glance();
    let mut view = settled(&glance);
    assert_eq!(names(&view, &glance), ["evil", "humanoid", "ur5e", "-"]);
    press(&mut view, &glance, "r");
    assert_eq!(names(&view, &glance), ["ur5e", "humanoid", "evil", "-"], "unknown stays last");
    press(&mut view, &glance, "r");
    // cpu, then rss.
    press(&mut view, &glance, "s");
    assert_eq!(columns::SESSIONS[view.sessions.sorted_by].head, "rss");
    assert_eq!(names(&view, &glance), ["ur5e", "evil", "humanoid", "-"]);
    // Back beyond the first column is the last.
    press(&mut view, &glance, "SSSSSSS");
    assert_eq!(columns::SESSIONS[view.sessions.sorted_by].head, "idle");
    assert_eq!(names(&view, &glance)[0], "-");
    press(&mut view, &glance, "s");
    assert_eq!(columns::SESSIONS[view.sessions.sorted_by].head, "session");
}

#[test]
fn a_selected_session_stays_selected_wherever_it_goes() {
    let mut glance = sample::glance();
    let mut view = settled(&glance);
    assert_eq!(press(&mut view, &glance, "j"), Wish::Ask, "its trend is to be seen");
    assert_eq!((selected(&view), view.sessions.place()), (FIRST, Some(1)));
    press(&mut view, &glance, "r");
    assert_eq!((selected(&view), view.sessions.place()), (FIRST, Some(1)));
    glance.fleet.sessions[0].cpu_ratio = Some(0.0);
    view.settle(&glance);
    assert_eq!((selected(&view), view.sessions.place()), (FIRST, Some(0)));
    assert_eq!(press(&mut view, &glance, "k"), Wish::Nothing, "it is the first");
    // When it is gone, what is there now is selected.
    glance.fleet.sessions.remove(0);
    view.settle(&glance);
    assert_eq!(view.sessions.place(), Some(0));
    assert_ne!(selected(&view), FIRST);
    glance.fleet.sessions.clear();
    view.settle(&glance);
    assert_eq!((view.sessions.place(), view.sessions.selected.clone()), (None, None));
    assert_eq!(press(&mut view, &glance, "jkG"), Wish::Nothing);
}

#[test]
fn ends_and_pages_stop_where_the_table_does() {
    let glance = sample::glance();
    let mut view = settled(&glance);
    for (key, place) in [
        (KeyCode::End, 3),
        (KeyCode::PageDown, 3),
        (KeyCode::Down, 3),
        (KeyCode::Up, 2),
        (KeyCode::Home, 0),
        (KeyCode::PageUp, 0),
        (KeyCode::PageDown, 3),
    ] {
        hit(&mut view, &glance, key);
        assert_eq!(view.sessions.place(), Some(place), "{key:?}");
    }
}

#[test]
fn a_filter_is_typed_kept_undone_and_forgotten() {
    let glance = sample::glance();
    let mut view = settled(&glance);
    // Letters are not orders while it is typed.
    assert_eq!(press(&mut view, &glance, "/qHUMAN"), Wish::Nothing);
    assert_eq!(names(&view, &glance), Vec::<String>::new());
    for _ in 0..6 {
        hit(&mut view, &glance, KeyCode::Backspace);
    }
    press(&mut view, &glance, "HUMAN");
    hit(&mut view, &glance, KeyCode::Enter);
    assert_eq!((view.mode.clone(), names(&view, &glance)), (Mode::Browse, vec!["humanoid".into()]));
    assert_eq!(selected(&view), FIRST);
    press(&mut view, &glance, "/x");
    assert_eq!(view.filter, "HUMANx");
    hit(&mut view, &glance, KeyCode::Esc);
    assert_eq!(view.filter, "HUMAN");
    hit(&mut view, &glance, KeyCode::Esc);
    assert_eq!(names(&view, &glance).len(), 4);
    // By tenant and by process, too.
    press(&mut view, &glance, "/zeta");
    assert_eq!(names(&view, &glance), ["evil", "-"]);
    let long = "x".repeat(2 * FILTER_CHARS_MAX);
    press(&mut view, &glance, &long);
    assert_eq!(view.filter.chars().count(), FILTER_CHARS_MAX);
}

#[test]
fn tools_have_an_order_of_their_own() {
    let glance = sample::glance();
    let mut view = settled(&glance);
    press(&mut view, &glance, "tr");
    let tools: Vec<_> = view.tool_rows(&glance).into_iter().map(|it| it.tool.as_str()).collect();
    assert_eq!(tools, ["create_session", "step_simulation"]);
    assert_eq!(press(&mut view, &glance, "G"), Wish::Nothing, "no session was selected");
    assert_eq!(view.tools.selected.as_deref(), Some("step_simulation"));
    assert!(!view.sessions.is_reversed);
    press(&mut view, &glance, "t");
    assert_eq!((view.pane, selected(&view)), (Pane::Sessions, selected(&settled(&glance))));
}

#[test]
fn who_pauses_is_not_told_anything_new_until_they_go_on() {
    let glance = sample::glance();
    let mut view = settled(&glance);
    assert_eq!(press(&mut view, &glance, "p"), Wish::Nothing);
    assert!(view.is_paused);
    assert_eq!(press(&mut view, &glance, "j"), Wish::Nothing);
    assert_eq!(press(&mut view, &glance, "p"), Wish::Ask);
    assert!(!view.is_paused);
}

#[test]
fn any_key_ends_the_help_and_nothing_else() {
    let glance = sample::glance();
    let mut view = settled(&glance);
    press(&mut view, &glance, "?");
    assert_eq!(view.mode, Mode::Help);
    assert_eq!(press(&mut view, &glance, "q"), Wish::Nothing);
    assert_eq!(view, settled(&glance));
    assert_eq!(press(&mut view, &glance, "q"), Wish::Quit);
}

#[test]
fn control_c_quits_whatever_is_going_on() {
    let glance = sample::glance();
    for keys in ["r", "/abc", "?", "p", "t"] {
        let mut view = settled(&glance);
        press(&mut view, &glance, keys);
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(view.on_key(key, &glance), Wish::Quit, "{keys}");
    }
}

proptest! {
    /// Whatever is pressed and whatever becomes of the sessions, what is selected is there.
    #[test]
    fn what_is_selected_is_there(keys in "[a-zA-Z/?]{0,40}", gone in 0_usize..5) {
        let mut glance = sample::glance();
        let mut view = settled(&glance);
        for (at, key) in keys.chars().enumerate() {
            if at == 20 {
                glance.fleet.sessions.truncate(gone);
                view.settle(&glance);
            }
            view.on_key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE), &glance);
        }
        let rows = view.rows(&glance);
        let place = view.sessions.place();
        prop_assert_eq!(place.is_none(), rows.is_empty());
        if let Some(place) = place {
            prop_assert_eq!(Some(&rows[place].session_id), view.sessions.selected.as_ref());
        }
    }
}
