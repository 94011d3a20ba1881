//! Every cell of the table, and what holds whatever happens.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const INPUTS: [Input; 7] = [
    Input::Holds,
    Input::Band,
    Input::Calm,
    Input::NoData,
    Input::Gone,
    Input::Changed,
    Input::Removed,
];

const NO_DATA: [NoData; 3] = [NoData::Ok, NoData::Alert, NoData::KeepLast];

fn terms(no_data: NoData) -> Terms {
    let grace_secs = Some(30.0);
    Terms { for_secs: 60.0, keep_firing_secs: 20.0, cooldown_secs: 600.0, grace_secs, no_data }
}

fn firing() -> Firing {
    Firing {
        since_secs: 940.0,
        fired_at_secs: 1000.0,
        told_at_secs: Some(1000.0),
        calm_since_secs: None,
        act_at_secs: Some(1030.0),
        told_steady_secs: None,
        is_acting: false,
    }
}

fn moment(secs: f64, is_silenced: bool) -> Moment {
    Moment { now: Now::both(secs), is_silenced, is_resting: false }
}

/// Every state that differs in what may follow, looked at when it is 1040.
fn states() -> Vec<(&'static str, State)> {
    let fired = |firing| State::Firing(firing);
    vec![
        ("inactive", State::Inactive),
        ("pending, 10 s", State::Pending { since_secs: 1030.0 }),
        ("pending, 60 s", State::Pending { since_secs: 980.0 }),
        ("firing, untold", fired(Firing { told_at_secs: None, act_at_secs: None, ..firing() })),
        ("firing, told", fired(Firing { act_at_secs: Some(1050.0), ..firing() })),
        ("firing, told long ago", {
            fired(Firing { told_at_secs: Some(440.0), act_at_secs: None, ..firing() })
        }),
        ("firing, act due", fired(firing())),
        ("firing, calm 5 s", fired(Firing { calm_since_secs: Some(1035.0), ..firing() })),
        ("firing, calm 20 s", fired(Firing { calm_since_secs: Some(1020.0), ..firing() })),
    ]
}

fn short(state: State) -> String {
    match state {
        State::Inactive => "inactive".to_owned(),
        State::Pending { since_secs } => format!("pending since {since_secs}"),
        State::Firing(Firing { told_at_secs, calm_since_secs, act_at_secs, .. }) => {
            let or_dash =
                |at: Option<f64>| at.map_or_else(|| "-".to_owned(), |secs| secs.to_string());
            let [told, calm, act] = [told_at_secs, calm_since_secs, act_at_secs].map(or_dash);
            format!("firing told {told} calm {calm} act {act}")
        }
    }
}

fn rows(table: &mut String, through: impl Fn(State) -> State) {
    for (name, state) in states() {
        for is_silenced in [false, true] {
            for input in INPUTS {
                let policies: &[NoData] =
                    if input == Input::NoData { &NO_DATA } else { &[NoData::KeepLast] };
                for no_data in policies {
                    let at = moment(1040.0, is_silenced);
                    let (after, effects) = next(through(state), input, at, &terms(*no_data));
                    let silenced = if is_silenced { "silenced" } else { "" };
                    let policy = if input == Input::NoData {
                        format!("NoData {no_data:?}")
                    } else {
                        format!("{input:?}")
                    };
                    let after = short(after);
                    writeln!(
                        table,
                        "{name:<22} {silenced:<9} {policy:<16} {after:<38} {effects:?}"
                    )
                    .unwrap();
                }
            }
        }
    }
}

/// The policy, as a reviewer wants to see it change: the clock says 1040, `for` is 60 s, it goes on
/// for 20 s, is told again after 600 s and acted on 30 s after it was told.
#[test]
fn every_cell_of_the_table() {
    let mut table = String::new();
    rows(&mut table, |state| state);
    insta::assert_snapshot!(table);
}

#[test]
fn a_clock_that_jumps_forward_is_no_grace() {
    let look = |state, unix_secs, steady_secs| {
        let now = Now { unix_secs, steady_secs };
        let at = Moment { now, is_silenced: false, is_resting: false };
        next(state, Input::Holds, at, &Terms { cooldown_secs: 1e9, ..terms(NoData::KeepLast) })
    };
    let (state, effects) = look(State::Pending { since_secs: 0.0 }, 1000.0, 10.0);
    assert_eq!(effects, [Effect::Fired]);
    let (state, effects) = look(state, 90_000.0, 39.0);
    assert_eq!(effects, [], "a day by one clock, 29 s by the other");
    let (state, effects) = look(state, 90_001.0, 40.0);
    assert_eq!(effects, [Effect::Act]);
    assert_eq!(look(state, 90_002.0, 41.0).1, [], "it is being done");
}

#[test]
fn what_fires_again_soon_after_it_was_told_is_told_once_it_has_rested() {
    let look = |state, secs, is_resting| {
        let at = Moment { is_resting, ..moment(secs, false) };
        next(state, Input::Holds, at, &terms(NoData::KeepLast))
    };
    let (state, effects) = look(State::Pending { since_secs: 0.0 }, 1000.0, true);
    assert!(matches!(state, State::Firing(Firing { told_at_secs: None, act_at_secs: None, .. })));
    assert_eq!(effects, []);
    assert_eq!(look(state, 1001.0, false).1, [Effect::Fired]);
}

/// A restart in between is nothing that the table could tell.
#[test]
fn what_was_written_and_read_again_goes_on_in_every_cell() {
    let (mut before, mut after) = (String::new(), String::new());
    rows(&mut before, |state| state);
    rows(&mut after, |state| {
        serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap()
    });
    assert_eq!(before, after);
}

/// A look at a moment: what it shows, whether it is silenced, and how much later it is.
fn looks() -> impl Strategy<Value = Vec<(Input, bool, f64)>> {
    let look = (prop::sample::select(&INPUTS[..]), any::<bool>(), -5.0..200.0_f64);
    prop::collection::vec(look, 0..60)
}

/// What followed from looks, and when.
fn run(looks: Vec<(Input, bool, f64)>, terms: &Terms) -> Vec<(f64, Effect)> {
    let (mut state, mut now_secs, mut all) = (State::Inactive, 1000.0, Vec::new());
    for (input, is_silenced, later) in looks {
        now_secs += later;
        let (after, effects) = next(state, input, moment(now_secs, is_silenced), terms);
        state = after;
        all.extend(effects.into_iter().map(|effect| (now_secs, effect)));
    }
    all
}

proptest! {
    #[test]
    fn whoever_was_told_that_it_fires_is_told_once_that_it_is_over(
        looks in looks(),
        no_data in prop::sample::select(&NO_DATA[..]),
    ) {
        let mut is_open = false;
        for (_, effect) in run(looks, &terms(no_data)) {
            match effect {
                Effect::Fired => {
                    prop_assert!(!is_open, "told twice");
                    is_open = true;
                }
                Effect::Reminded | Effect::Act => prop_assert!(is_open, "nobody knows of it"),
                Effect::Resolved { is_told, .. } => {
                    prop_assert_eq!(is_told, is_open);
                    is_open = false;
                }
            }
        }
    }

    #[test]
    fn nothing_is_done_before_it_was_told_for_long_enough_and_then_once(
        looks in looks(),
        no_data in prop::sample::select(&NO_DATA[..]),
    ) {
        let mut told: Option<f64> = None;
        for (at, effect) in run(looks, &terms(no_data)) {
            match effect {
                Effect::Fired => told = Some(at),
                Effect::Act => {
                    let told = told.take();
                    prop_assert!(told.is_some_and(|told| 30.0 <= at - told), "{told:?} {at}");
                }
                Effect::Reminded => (),
                Effect::Resolved { .. } => told = None,
            }
        }
    }

    #[test]
    fn it_is_told_no_more_often_than_the_cooldown_says(looks in looks()) {
        let mut last = f64::NEG_INFINITY;
        for (at, effect) in run(looks, &terms(NoData::KeepLast)) {
            match effect {
                Effect::Fired => last = at,
                Effect::Reminded => {
                    prop_assert!(600.0 <= at - last);
                    last = at;
                }
                _ => (),
            }
        }
    }

    #[test]
    fn what_ends_it_ends_it_whatever_was_before(
        looks in looks(),
        end in prop::sample::select(&[Input::Gone, Input::Changed, Input::Removed][..]),
    ) {
        let terms = terms(NoData::Alert);
        let mut state = State::Inactive;
        let mut now_secs = 1000.0;
        for (input, is_silenced, later) in looks {
            now_secs += later;
            state = next(state, input, moment(now_secs, is_silenced), &terms).0;
        }
        let (after, _) = next(state, end, moment(now_secs, false), &terms);
        prop_assert_eq!(after, State::Inactive);
    }
}
