//! Rules, what they find, silences and bounds, across restarts.

use proptest::prelude::*;

use super::*;
use crate::alerts::readings::{Kind, MetricInfo};
use crate::alerts::rule::{Action, Spec};

const METRICS: [MetricInfo; 1] = [MetricInfo {
    name: "load",
    unit: "ratio",
    help: "",
    labels: &["session_id", "tenant"],
    kind: Kind::Gauge,
}];

const BOUNDS: Bounds = Bounds {
    rules_max: 5,
    rules_per_tenant_max: 3,
    active_max: 6,
    active_per_tenant_max: 4,
    history_per_owner_max: 3,
};

fn rule(owner: &str, name: &str) -> Rule {
    let spec = Spec {
        name: Some(name.to_owned()),
        metric: "load".to_owned(),
        value: 0.8,
        for_secs: Some(10.0),
        action: Some(Action::Close),
        grace_secs: Some(5.0),
        ..Spec::default()
    };
    Rule::new(Owner::Tenant(owner.to_owned()), spec, &METRICS).unwrap()
}

fn labels(tenant: &str, session: &str) -> Labels {
    [("tenant", tenant), ("session_id", session)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn reading(tenant: &str, session: &str, value: f64) -> Reading {
    Reading { labels: labels(tenant, session), value: Some(value) }
}

/// The same readings for every rule.
fn look(book: &mut Book, readings: &[Reading], now_secs: f64) -> Vec<Effect> {
    let answers = book.rules().map(|rule| (Arc::clone(rule), readings.to_vec())).collect();
    book.look(answers, now_secs).into_iter().map(|event| event.effect).collect()
}

fn reopen(book: &Book) -> Book {
    let text = serde_json::to_string(&Page::of(book)).unwrap();
    serde_json::from_str::<Page>(&text).unwrap().open(book.bounds)
}

fn resolved(why: Why) -> Effect {
    Effect::Resolved { why, is_told: true }
}

#[test]
fn a_restart_neither_begins_anew_nor_tells_twice_and_what_is_over_meanwhile_is_over() {
    let mut book = Book::new(BOUNDS);
    book.set(rule("ann", "busy"), 0.0).unwrap();
    let busy = [reading("ann", "sim_1", 0.9)];
    assert_eq!(look(&mut book, &busy, 100.0), []);
    let mut book = reopen(&book);
    assert_eq!(look(&mut book, &busy, 110.0), [Effect::Fired], "`for` went on");
    let mut book = reopen(&book);
    assert_eq!(look(&mut book, &busy, 111.0), [], "it was told already");
    let mut book = reopen(&book);
    assert_eq!(look(&mut book, &busy, 115.0), [Effect::Act], "the notice was before the restart");
    let mut book = reopen(&book);
    let calm = [reading("ann", "sim_1", 0.1)];
    assert_eq!(look(&mut book, &calm, 120.0), [resolved(Why::Over)]);
    let book = reopen(&book);
    let past: Vec<_> = book.history().map(|past| (past.fired_at_secs, past.why)).collect();
    assert_eq!(past, [(110.0, Why::Over)]);
    assert_eq!(book.active().count(), 0);
}

#[test]
fn a_subject_that_is_gone_is_over_and_one_that_cannot_be_read_is_not() {
    let mut book = Book::new(BOUNDS);
    book.set(rule("ann", "busy"), 0.0).unwrap();
    let both = [reading("ann", "sim_1", 0.9), reading("ann", "sim_2", 0.9)];
    look(&mut book, &both, 0.0);
    assert_eq!(look(&mut book, &both, 10.0), [Effect::Fired, Effect::Fired]);
    let unread = [Reading { value: None, ..both[0].clone() }];
    assert_eq!(look(&mut book, &unread, 11.0), [resolved(Why::Gone)], "of the other");
    assert_eq!(look(&mut book, &[], 12.0), [resolved(Why::Gone)]);
}

#[test]
fn a_rule_that_asks_something_else_or_is_gone_ends_what_it_has_found() {
    let busy = [reading("ann", "sim_1", 0.9)];
    let mut book = Book::new(BOUNDS);
    let fire = |book: &mut Book, at: f64| {
        look(book, &busy, at);
        assert_eq!(look(book, &busy, at + 10.0), [Effect::Fired]);
    };
    book.set(rule("ann", "busy"), 0.0).unwrap();
    fire(&mut book, 0.0);
    let slower = Rule { cooldown_secs: 77.0, ..rule("ann", "busy") };
    assert_eq!(book.set(slower, 11.0).unwrap(), [], "it asks the same");
    let other = Rule { value: 0.7, ..rule("ann", "busy") };
    let ended = book.set(other, 12.0).unwrap();
    assert_eq!(ended[0].effect, resolved(Why::RuleChanged));
    fire(&mut book, 20.0);
    let owner = Owner::Tenant("ann".to_owned());
    let ended = book.remove(&owner, "busy", 31.0).unwrap();
    assert_eq!(ended[0].effect, resolved(Why::RuleRemoved));
    let unknown = BookError::Unknown("busy".to_owned());
    assert_eq!(book.remove(&owner, "busy", 32.0).unwrap_err(), unknown);
}

#[test]
fn what_was_asked_before_a_rule_changed_means_nothing_after() {
    let mut book = Book::new(BOUNDS);
    book.set(Rule { for_secs: 0.0, ..rule("ann", "busy") }, 0.0).unwrap();
    let answers: Vec<_> =
        book.rules().map(|rule| (Arc::clone(rule), vec![reading("ann", "sim_1", 0.9)])).collect();
    book.set(Rule { value: 0.95, clear_value: 0.95, ..rule("ann", "busy") }, 1.0).unwrap();
    assert_eq!(book.look(answers, 2.0), []);
}

#[test]
fn nobody_s_rule_sees_what_is_somebody_else_s() {
    let mut book = Book::new(BOUNDS);
    book.set(Rule { for_secs: 0.0, ..rule("ann", "busy") }, 0.0).unwrap();
    assert_eq!(look(&mut book, &[reading("bob", "sim_1", 0.9)], 1.0), []);
    let fleet = Rule { owner: Owner::Fleet, for_secs: 0.0, ..rule("ann", "all") };
    book.set(fleet, 1.0).unwrap();
    assert_eq!(look(&mut book, &[reading("bob", "sim_1", 0.9)], 2.0), [Effect::Fired]);
}

#[test]
fn a_silence_keeps_quiet_until_it_ends_and_then_it_is_told() {
    let mut book = Book::new(BOUNDS);
    book.set(Rule { for_secs: 0.0, ..rule("ann", "busy") }, 0.0).unwrap();
    let owner = Owner::Tenant("ann".to_owned());
    let only = [("session_id".to_owned(), "sim_1".to_owned())].into();
    let silence = Silence { owner, rule: Some("busy".into()), labels: only, until_secs: 50.0 };
    book.silence(silence.clone(), 0.0).unwrap();
    let both = [reading("ann", "sim_1", 0.9), reading("ann", "sim_2", 0.9)];
    assert_eq!(look(&mut book, &both, 1.0), [Effect::Fired], "of the other");
    let mut book = reopen(&book);
    assert_eq!(look(&mut book, &both, 51.0), [Effect::Fired, Effect::Act]);
    assert_eq!(book.silences(), []);
    for _ in 0..SILENCES_PER_OWNER_MAX {
        book.silence(Silence { until_secs: 99.0, ..silence.clone() }, 60.0).unwrap();
    }
    let full = book.silence(Silence { until_secs: 99.0, ..silence }, 60.0);
    assert_eq!(full, Err(BookError::SilencesFull));
}

#[test]
fn the_configuration_s_rules_are_its_own() {
    let mut book = Book::new(BOUNDS);
    let fleet = |name: &str| Rule { owner: Owner::Fleet, for_secs: 0.0, ..rule("", name) };
    book.configure(vec![fleet("one"), fleet("two")], 0.0);
    let taken = book.set(fleet("one"), 0.0);
    assert_eq!(taken, Err(BookError::Configured("one".to_owned())));
    book.remove(&Owner::Fleet, "one", 0.0).unwrap_err();
    look(&mut book, &[reading("ann", "sim_1", 0.9)], 1.0);
    let mut book = reopen(&book);
    let ended = book.configure(vec![fleet("two")], 2.0);
    let told: Vec<_> = ended.iter().map(|event| (&*event.rule.name, event.effect)).collect();
    assert_eq!(told, [("one", resolved(Why::RuleRemoved))]);
    assert_eq!(look(&mut book, &[reading("ann", "sim_1", 0.9)], 3.0), [], "of the one that stays");
}

#[test]
fn rules_and_what_they_find_are_bounded_for_each_owner_and_in_all() {
    let mut book = Book::new(BOUNDS);
    for name in ["a", "b", "c"] {
        book.set(Rule { for_secs: 0.0, ..rule("ann", name) }, 0.0).unwrap();
    }
    book.set(rule("ann", "a"), 0.0).unwrap();
    assert!(matches!(book.set(rule("ann", "d"), 0.0), Err(BookError::Full { max: 3, .. })));
    book.set(rule("bob", "a"), 0.0).unwrap();
    book.set(rule("bob", "b"), 0.0).unwrap();
    assert!(matches!(book.set(rule("bob", "c"), 0.0), Err(BookError::Full { max: 5, .. })));
    let many: Vec<_> = (0..3).map(|number| reading("ann", &format!("sim_{number}"), 0.9)).collect();
    look(&mut book, &many, 0.0);
    assert_eq!(book.active().count(), 4, "of nine");
    assert_eq!(book.left_out_total(), 5);
    look(&mut book, &many, 10.0);
    look(&mut book, &[], 11.0);
    assert_eq!((book.active().count(), book.history().count()), (0, 3));
}

#[test]
fn what_could_not_be_done_is_tried_again_and_told() {
    let mut book = Book::new(BOUNDS);
    book.set(Rule { for_secs: 0.0, ..rule("ann", "busy") }, 0.0).unwrap();
    let busy = [reading("ann", "sim_1", 0.9)];
    look(&mut book, &busy, 0.0);
    assert_eq!(look(&mut book, &busy, 5.0), [Effect::Act]);
    let rule = book.rules().next().map(|rule| Rule::clone(rule)).unwrap();
    book.acted(&rule, &busy[0].labels, &Err("it is in use".to_owned()), 5.0);
    assert_eq!(look(&mut book, &busy, 6.0), []);
    assert_eq!(look(&mut book, &busy, 15.0), [Effect::Act]);
    book.acted(&rule, &busy[0].labels, &Ok("closed".to_owned()), 15.0);
    assert_eq!(look(&mut book, &busy, 99.0), []);
    look(&mut book, &[], 100.0);
    assert_eq!(book.history().next().unwrap().done.as_deref(), Some("closed"));
}

#[test]
fn there_is_news_only_where_something_has_changed() {
    let mut book = Book::new(BOUNDS);
    assert!(book.news().is_none());
    book.set(rule("ann", "busy"), 0.0).unwrap();
    assert!(book.news().is_some());
    book.set(rule("ann", "busy"), 1.0).unwrap();
    look(&mut book, &[reading("ann", "sim_1", 0.1)], 2.0);
    assert!(book.news().is_none());
    look(&mut book, &[reading("ann", "sim_1", 0.9)], 3.0);
    assert!(book.news().is_some());
    look(&mut book, &[reading("ann", "sim_1", 0.95)], 4.0);
    assert!(book.news().is_none(), "only the value has changed");
}

proptest! {
    /// Whatever happens, the counts are those of what is there, and a restart changes nothing.
    #[test]
    fn what_is_counted_is_what_is_there(
        rounds in prop::collection::vec(
            (prop::collection::vec((0..2_u8, 0..4_u8, 0.0..1.0_f64), 0..8), 0.0..20.0_f64),
            1..20,
        )
    ) {
        let mut book = Book::new(BOUNDS);
        for (owner, name) in [("ann", "a"), ("ann", "b"), ("bob", "a")] {
            book.set(rule(owner, name), 0.0).unwrap();
        }
        let mut now_secs = 0.0;
        for (readings, later) in rounds {
            now_secs += later;
            let tenant = |number: u8| if number == 0 { "ann" } else { "bob" };
            let readings: Vec<_> = readings
                .into_iter()
                .map(|(who, which, value)| reading(tenant(who), &format!("sim_{which}"), value))
                .collect();
            let mut again = reopen(&book);
            let effects = look(&mut book, &readings, now_secs);
            prop_assert_eq!(look(&mut again, &readings, now_secs), effects);
            prop_assert_eq!(Page::of(&again), Page::of(&book));
            prop_assert_eq!(book.counts.values().sum::<usize>(), book.active().count());
            prop_assert!(book.active().count() <= BOUNDS.active_max);
        }
    }
}
