//! Rules, what they find, silences and bounds, across restarts.

use proptest::prelude::*;

use super::*;
use crate::alerts::readings::{Kind, MetricInfo, Reading};
use crate::alerts::rule::{Action, Severity, Spec};

const METRICS: [MetricInfo; 1] = [MetricInfo {
    name: "load",
    unit: "ratio",
    help: "",
    labels: &["session_id", "tenant"],
    kind: Kind::Gauge,
}];

const BOUNDS: Bounds = Bounds {
    rules_max: 7,
    rules_per_tenant_max: 3,
    active_max: 8,
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
    events(book, readings, now_secs).into_iter().map(|event| event.effect).collect()
}

fn events(book: &mut Book, readings: &[Reading], now_secs: f64) -> Vec<Event> {
    book.begin_round(now_secs);
    let rules: Vec<_> = book.rules().cloned().collect();
    rules.iter().flat_map(|rule| book.look(rule, readings, Now::both(now_secs))).collect()
}

/// As it would be written down.
fn written(book: &Book) -> String {
    serde_json::to_string(&Page::of(book)).unwrap()
}

fn reopen(book: &Book) -> Book {
    serde_json::from_str::<Page>(&written(book)).unwrap().open(book.bounds)
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
    assert_eq!(look(&mut book, &busy, 116.0), [], "it is being done");
    let mut book = reopen(&book);
    let acts = events(&mut book, &busy, 117.0);
    assert_eq!(acts[0].effect, Effect::Act, "the restart came before it was done");
    book.acted(&acts[0], &Ok("closed".to_owned()), 117.0);
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
    let before = book.rules().next().cloned().unwrap();
    book.set(Rule { value: 0.95, clear_value: 0.95, ..rule("ann", "busy") }, 1.0).unwrap();
    assert_eq!(book.look(&before, &[reading("ann", "sim_1", 0.9)], Now::both(2.0)), []);
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
    assert_eq!(book.left_out_total(), 5, "they are the same");
    look(&mut book, &[], 11.0);
    assert_eq!((book.active().count(), book.history().count()), (0, 3));
}

#[test]
fn a_part_is_the_operators_and_the_last_of_it_for_what_is_critical() {
    let mut book = Book::new(BOUNDS);
    for (owner, name) in [("ann", "a"), ("bob", "a"), ("cy", "a")] {
        book.set(Rule { for_secs: 0.0, ..rule(owner, name) }, 0.0).unwrap();
    }
    let sessions = |tenant: &str| {
        (0..5).map(|number| reading(tenant, &format!("sim_{number}"), 0.9)).collect::<Vec<_>>()
    };
    let all = [sessions("ann"), sessions("bob"), sessions("cy")].concat();
    look(&mut book, &all, 1.0);
    assert_eq!(book.active().count(), 6, "of eight");
    let fleet =
        |name, severity| Rule { owner: Owner::Fleet, for_secs: 0.0, severity, ..rule("", name) };
    book.set(fleet("warns", Severity::Warning), 2.0).unwrap();
    look(&mut book, &all, 2.0);
    assert_eq!(book.active().count(), 7);
    book.set(fleet("cries", Severity::Critical), 3.0).unwrap();
    look(&mut book, &all, 3.0);
    assert_eq!(book.active().count(), 8);
}

#[test]
fn the_operators_rules_find_no_more_of_one_tenant_than_one_of_its_own_could() {
    let mut book = Book::new(BOUNDS);
    book.set(Rule { owner: Owner::Fleet, for_secs: 0.0, ..rule("", "all") }, 0.0).unwrap();
    let mut all: Vec<_> =
        (0..9).map(|number| reading("ann", &format!("sim_{number}"), 0.9)).collect();
    all.push(reading("bob", "sim_1", 0.9));
    look(&mut book, &all, 1.0);
    let about =
        |tenant: &str| book.active().filter(|(_, labels, _)| labels["tenant"] == tenant).count();
    assert_eq!((about("ann"), about("bob")), (4, 1));
    assert_eq!(book.left_out_total(), 5);
}

#[test]
fn what_could_not_be_done_is_tried_again_and_told() {
    let mut book = Book::new(BOUNDS);
    book.set(Rule { for_secs: 0.0, ..rule("ann", "busy") }, 0.0).unwrap();
    let busy = [reading("ann", "sim_1", 0.9)];
    look(&mut book, &busy, 0.0);
    let act = events(&mut book, &busy, 5.0).remove(0);
    assert_eq!(act.effect, Effect::Act);
    book.acted(&act, &Err("it is in use".to_owned()), 5.0);
    assert_eq!(look(&mut book, &busy, 6.0), []);
    let act = events(&mut book, &busy, 15.0).remove(0);
    assert_eq!(act.effect, Effect::Act);
    book.acted(&act, &Ok("closed".to_owned()), 15.0);
    assert_eq!(look(&mut book, &busy, 99.0), []);
    look(&mut book, &[], 100.0);
    assert_eq!(book.history().next().unwrap().done.as_deref(), Some("closed"));
}

#[test]
fn nothing_is_done_any_more_once_it_is_fine_or_silenced_or_nobody_wants_it() {
    let busy = [reading("ann", "sim_1", 0.9)];
    let owner = Owner::Tenant("ann".to_owned());
    let due = || {
        let mut book = Book::new(BOUNDS);
        let kept = Rule { for_secs: 0.0, keep_firing_secs: 50.0, ..rule("ann", "busy") };
        book.set(kept, 0.0).unwrap();
        look(&mut book, &busy, 0.0);
        let act = events(&mut book, &busy, 5.0).remove(0);
        assert!(book.is_still_due(&act, 5.5));
        (book, act)
    };
    let (mut book, act) = due();
    look(&mut book, &[reading("ann", "sim_1", 0.1)], 6.0);
    assert!(!book.is_still_due(&act, 6.5), "it is fine");
    assert_eq!(look(&mut book, &busy, 7.0), [Effect::Act], "it is not");
    let (mut book, act) = due();
    look(&mut book, &[Reading { value: None, ..busy[0].clone() }], 6.0);
    assert!(!book.is_still_due(&act, 6.5), "nobody has seen it");
    let (mut book, act) = due();
    let silence =
        Silence { owner: owner.clone(), rule: None, labels: Labels::new(), until_secs: 9.0 };
    book.silence(silence, 6.0).unwrap();
    assert!(!book.is_still_due(&act, 6.5), "it is silenced");
    assert_eq!(look(&mut book, &busy, 10.0), [Effect::Act], "it is not any more");
    let (mut book, act) = due();
    book.remove(&owner, "busy", 6.0).unwrap();
    assert!(!book.is_still_due(&act, 6.5), "there is no such rule");
    let (mut book, act) = due();
    book.set(Rule { action: Some(Action::Hibernate), ..rule("ann", "busy") }, 6.0).unwrap();
    assert!(!book.is_still_due(&act, 6.5), "it does something else");
}

#[test]
fn what_is_not_used_after_a_restart_is_not_gone_yet() {
    let tool = |value| Reading {
        labels: [("tool".to_owned(), "render".to_owned())].into(),
        value: Some(value),
    };
    let fire = || {
        let mut book = Book::new(BOUNDS);
        let cooldown_secs = 604_800.0;
        let fleet = Rule { owner: Owner::Fleet, for_secs: 0.0, cooldown_secs, ..rule("", "fails") };
        book.set(fleet, 0.0).unwrap();
        assert_eq!(look(&mut book, &[tool(0.9)], 1.0), [Effect::Fired]);
        reopen(&book)
    };
    let mut book = fire();
    assert_eq!(look(&mut book, &[], 100.0), [], "nobody has called it yet");
    assert_eq!(look(&mut book, &[tool(0.1)], 200.0), [resolved(Why::Over)]);
    let mut book = fire();
    look(&mut book, &[], 100.0);
    look(&mut book, &[tool(0.9)], 200.0);
    assert_eq!(look(&mut book, &[], 201.0), [resolved(Why::Gone)], "it was there");
    let mut book = fire();
    look(&mut book, &[], 100.0);
    assert_eq!(look(&mut book, &[], 99.0 + KEPT_SECS), []);
    assert_eq!(look(&mut book, &[], 100.0 + KEPT_SECS), [resolved(Why::Gone)]);
}

#[test]
fn what_fires_again_within_its_cooldown_is_there_and_is_told_after_it() {
    let mut book = Book::new(BOUNDS);
    let warns = Rule { for_secs: 0.0, cooldown_secs: 60.0, action: None, ..rule("ann", "busy") };
    book.set(warns, 0.0).unwrap();
    let [busy, calm] = [0.9, 0.1].map(|value| [reading("ann", "sim_1", value)]);
    assert_eq!(look(&mut book, &busy, 1.0), [Effect::Fired]);
    assert_eq!(look(&mut book, &calm, 2.0), [resolved(Why::Over)]);
    for second in 0..20 {
        let at_secs = 3.0 + 2.0 * f64::from(second);
        book = reopen(&book);
        assert_eq!(look(&mut book, &busy, at_secs), [], "it was told");
        assert_eq!(book.active().count(), 1);
        let untold = Effect::Resolved { why: Why::Over, is_told: false };
        assert_eq!(look(&mut book, &calm, at_secs + 1.0), [untold]);
    }
    assert_eq!(look(&mut book, &busy, 60.0), []);
    assert_eq!(look(&mut book, &busy, 61.0), [Effect::Fired]);
    // What is going to be done must be told before, and does not wait for so long.
    let mut book = Book::new(BOUNDS);
    book.set(Rule { for_secs: 0.0, ..rule("ann", "busy") }, 0.0).unwrap();
    look(&mut book, &busy, 1.0);
    look(&mut book, &calm, 2.0);
    assert_eq!(look(&mut book, &busy, 10.0), []);
    assert_eq!(look(&mut book, &busy, 11.0), [Effect::Fired]);
}

#[test]
fn what_nobody_is_told_of_is_written_down_seldom() {
    let mut book = Book::new(BOUNDS);
    let write = |book: &mut Book, at_secs: f64| {
        let is_news = book.is_news(at_secs);
        if is_news {
            book.was_written(book.version(), at_secs);
        }
        is_news
    };
    assert!(!write(&mut book, 10.0));
    book.set(rule("ann", "busy"), 10.0).unwrap();
    assert!(write(&mut book, 10.0), "somebody has asked for it");
    book.set(rule("ann", "busy"), 11.0).unwrap();
    look(&mut book, &[reading("ann", "sim_1", 0.1)], 12.0);
    assert!(!write(&mut book, 99.0), "nothing has changed");
    book.was_written(book.version(), 100.0);
    let mut times = Vec::new();
    for second in 0..10 {
        let value = if second % 2 == 0 { 0.9 } else { 0.1 };
        let at_secs = 101.0 + f64::from(second);
        look(&mut book, &[reading("ann", "sim_1", value)], at_secs);
        if write(&mut book, at_secs) {
            times.push(second);
        }
    }
    assert_eq!(times, [4, 9], "it was never told");
    look(&mut book, &[reading("ann", "sim_1", 0.9)], 120.0);
    write(&mut book, 120.0);
    assert_eq!(look(&mut book, &[reading("ann", "sim_1", 0.95)], 130.0), [Effect::Fired]);
    assert!(write(&mut book, 120.0), "it was told");
    look(&mut book, &[reading("ann", "sim_1", 0.99)], 131.0);
    assert!(!write(&mut book, 999.0), "only the value has changed");
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
            let mut effects = Vec::new();
            for event in events(&mut book, &readings, now_secs) {
                effects.push(event.effect);
                if event.effect == Effect::Act {
                    book.acted(&event, &Ok("closed".to_owned()), now_secs);
                }
            }
            let mut same = Vec::new();
            for event in events(&mut again, &readings, now_secs) {
                same.push(event.effect);
                if event.effect == Effect::Act {
                    again.acted(&event, &Ok("closed".to_owned()), now_secs);
                }
            }
            prop_assert_eq!(same, effects);
            prop_assert_eq!(written(&again), written(&book));
            prop_assert_eq!(book.counts.all(), book.active().count());
            prop_assert!(book.active().count() <= BOUNDS.active_max);
        }
    }
}
