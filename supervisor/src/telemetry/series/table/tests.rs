//! Seconds are what a test says they are.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "numbers of a test are small, and exact where they are compared"
)]

use super::*;
use crate::durations::Durations;
use crate::telemetry::metric::Id;
use crate::telemetry::series::Summary;

fn sample(cpu: f64, nanos: u64) -> Sample {
    let mut sample = Sample::default();
    sample.set(Id::Cpu, cpu);
    let mut durations = Durations::default();
    durations.note(nanos);
    sample.observe(Id::StepTime, &durations);
    sample
}

fn session(name: &str) -> Subject {
    Subject::Session(Tenant::named("acme"), name.into())
}

#[test]
fn a_minute_is_told_of_when_it_is_over() {
    let mut table = Table::new(10, 10);
    for second in 0..60 {
        let told =
            table.note(Places::until(120 + second, 1), vec![(session("a"), sample(1.0, 1000))]);
        assert_eq!(told, []);
    }
    let told = table.note(Places::until(180, 1), vec![(session("a"), sample(3.0, 1000))]);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].begin_secs, 120);
    let (subject, point) = &told[0].points[0];
    assert_eq!(*subject, session("a"));
    assert_eq!(point.gauges[0].1, Summary { min: 1.0, max: 1.0, sum: 60.0, count: 60 });
    assert_eq!(point.histograms[0].1.count(), 60);
    let track = table.track(&session("a")).unwrap();
    assert_eq!(track.ring(Id::Cpu).unwrap().newest_first().next(), Some(3.0));
    let laps: Vec<u64> = track.laps(Id::StepTime).map(Durations::count).collect();
    assert_eq!(laps, [1, 10, 10, 10, 10, 10, 10]);
}

#[test]
fn seconds_go_on_when_the_clock_is_set_back() {
    let mut table = Table::new(10, 10);
    assert_eq!(table.places(1000, 1.0), Places::until(1000, 1));
    table.note(Places::until(1000, 1), vec![(session("a"), sample(1.0, 1000))]);
    assert_eq!(table.places(400, 1.0), Places::until(1001, 1));
    assert_eq!(table.places(2000, 1000.0), Places::until(2000, 60));
}

#[test]
fn no_second_is_left_out_and_none_is_invented() {
    let mut table = Table::new(10, 10);
    table.note(Places::until(1000, 1), vec![]);
    // Late by a little, and by much; in the same second again; and a clock that was set ahead.
    assert_eq!(table.places(1001, 1.003), Places::until(1001, 1));
    assert_eq!(table.places(1002, 1.7), Places::until(1002, 2));
    assert_eq!(table.places(1000, 0.4), Places::until(1001, 1));
    assert_eq!(table.places(4600, 1.0), Places::until(4600, 1));
}

#[test]
fn there_is_never_more_than_there_may_be() {
    let mut table = Table::new(2, 2);
    let samples = |names: &[&str]| {
        names.iter().map(|name| (session(name), sample(1.0, 1000))).collect::<Vec<_>>()
    };
    table.note(Places::until(1000, 1), samples(&["a", "b", "c"]));
    assert_eq!((table.tracks().count(), table.turned_away_total()), (2, 1));
    // What was not measured for an hour makes room.
    let mut at = 1000;
    while at < 1000 + 2 * FORGET_AFTER_SECS {
        at += 30;
        table.note(Places::until(at, 1), samples(&["a"]));
    }
    assert_eq!(table.tracks().count(), 1);
    table.note(Places::until(at + 1, 1), samples(&["a", "d"]));
    assert!(table.track(&session("d")).is_some());
}

#[test]
fn one_tenant_leaves_room_for_the_others() {
    let mut table = Table::new(10, 3);
    let of = |tenant: &str, name: &str| Subject::Session(Tenant::named(tenant), name.into());
    let many = (0..9).map(|number| (of("greedy", &number.to_string()), sample(1.0, 1000)));
    table.note(Places::until(1000, 1), many.collect());
    table.note(Places::until(1001, 1), vec![(of("modest", "a"), sample(1.0, 1000))]);
    assert!(table.track(&of("modest", "a")).is_some());
    assert_eq!((table.tracks().count(), table.turned_away_total()), (4, 6));
}

#[test]
fn a_sample_of_several_seconds_stands_for_each_of_them() {
    let mut table = Table::new(10, 10);
    table.note(Places::until(1000, 1), vec![(session("a"), sample(1.0, 1000))]);
    table.note(Places::until(1016, 16), vec![(session("a"), sample(2.0, 1000))]);
    let track = table.track(&session("a")).unwrap();
    let summary = track.ring(Id::Cpu).unwrap().summary(0, 59);
    assert_eq!((summary.count, summary.sum), (17, 33.0));
    let durations: u64 = track.laps(Id::StepTime).map(Durations::count).sum();
    assert_eq!(durations, 2);
}

#[test]
fn what_is_forgotten_is_still_there_to_be_measured() {
    let mut table = Table::new(10, 10);
    table.note(Places::until(1000, 1), vec![(session("a"), sample(1.0, 1000))]);
    assert_eq!(table.forget(|subject| subject.name() == "a"), 1);
    let track = table.track(&session("a")).unwrap();
    assert_eq!((track.last_secs(), track.ring(Id::Cpu).unwrap().len()), (1000, 0));
    assert_eq!(track.laps(Id::StepTime).map(Durations::count).sum::<u64>(), 0);
}

#[test]
fn a_long_gap_is_no_work() {
    let mut table = Table::new(2, 2);
    table.note(Places::until(1000, 1), vec![(session("a"), sample(1.0, 1000))]);
    let told = table.note(Places::until(1_000_000_000, 1), vec![(session("a"), sample(1.0, 1000))]);
    assert!(told.len() <= 61);
    assert_eq!(table.track(&session("a")).unwrap().ring(Id::Cpu).unwrap().len() % 60, 41);
}

#[test]
fn points_add_up() {
    let mut table = Table::new(2, 2);
    table.note(Places::until(59, 1), vec![(session("a"), sample(1.0, 1000))]);
    let mut one =
        table.note(Places::until(119, 1), vec![(session("a"), sample(3.0, 2000))]).remove(0);
    let two = table.note(Places::until(120, 1), vec![]).remove(0);
    one.points[0].1.add(&two.points[0].1);
    let (_, point) = &one.points[0];
    assert_eq!(point.gauges[0].1, Summary { min: 1.0, max: 3.0, sum: 4.0, count: 2 });
    assert_eq!(point.histograms[0].1.count(), 2);
}
