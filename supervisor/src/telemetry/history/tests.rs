//! Time is what a test says it is.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "numbers of a test are small, and exact where they are compared"
)]

use std::collections::BTreeMap;

use super::*;
use crate::durations::Durations;
use crate::telemetry::metric::Id;
use crate::telemetry::series::{Point, Summary};
use crate::tenants::Tenant;

const BOUNDS: Bounds = Bounds {
    bytes_max: 64 << 20,
    cache_bytes_max: 1 << 20,
    subjects_max: 1000,
    subjects_per_tenant_max: 1000,
};

fn open(folder: &tempfile::TempDir) -> (File, File) {
    let path = folder.path().join("metrics.sqlite");
    (File::open(&path, BOUNDS).unwrap(), File::read(&path).unwrap())
}

/// Rows as they were kept.
fn points_of(file: &File, subject: &Subject, tier: Tier, range: Range) -> Vec<(i64, Point)> {
    let mut found = file.columns(&[subject], tier, &range, Wants::ALL).unwrap();
    let columns = found.pop().map(|(_, columns)| columns).unwrap_or_default();
    let mut points = BTreeMap::<i64, Point>::new();
    for (id, column) in columns.gauges() {
        for (at, summary) in column {
            points.entry(*at).or_default().gauges.push((id, *summary));
        }
    }
    for (id, column) in columns.histograms() {
        for (at, durations) in column {
            points.entry(*at).or_default().histograms.push((id, durations.clone()));
        }
    }
    assert_eq!(columns.last_secs(), points.keys().next_back().copied());
    points.into_iter().collect()
}

fn session(name: &str) -> Subject {
    Subject::Session(Tenant::named("acme"), name.into())
}

fn point(value: f32, nanos: u64) -> Point {
    let summary = Summary { min: value, max: value + 1.0, sum: 60.0 * f64::from(value), count: 60 };
    let mut durations = Durations::default();
    durations.note(nanos);
    Point { gauges: vec![(Id::Cpu, summary)], histograms: vec![(Id::StepTime, durations)] }
}

fn minute(begin_secs: i64, points: Vec<(Subject, Point)>) -> Minute {
    Minute { begin_secs, points }
}

#[test]
fn a_minute_is_there_at_once_and_after_its_hour_and_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, reader) = open(&folder);
    for number in 0..150_i64 {
        let value = number as f32;
        let points = vec![(session("a"), point(value, 1000)), (Subject::Fleet, point(1.0, 5000))];
        file.keep(&minute(number * 60, points)).unwrap();
        file.tidy((number + 1) * 60).unwrap();
    }
    let points = points_of(&reader, &session("a"), Tier::Minutes, 0..9000);
    assert_eq!(points.len(), 150);
    for (number, (at, found)) in points.into_iter().enumerate() {
        assert_eq!(at, number as i64 * 60);
        assert_eq!(found, point(number as f32, 1000));
    }
    let some = points_of(&reader, &session("a"), Tier::Minutes, 3500..3700);
    assert_eq!(some.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [3540, 3600, 3660]);
    // Two hours are over. Of sessions there are none.
    let hours = points_of(&reader, &Subject::Fleet, Tier::Hours, 0..9000);
    assert_eq!(hours.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 3600]);
    let (_, hour) = &hours[0];
    assert_eq!(hour.gauges[0].1, Summary { min: 1.0, max: 2.0, sum: 3600.0, count: 3600 });
    assert_eq!(hour.histograms[0].1.count(), 60);
    assert_eq!(points_of(&reader, &session("a"), Tier::Hours, 0..9000), []);
    assert_eq!(points_of(&reader, &session("b"), Tier::Minutes, 0..9000), []);
}

#[test]
fn a_year_goes_by() {
    const DAY: i64 = 86_400;
    let folder = tempfile::tempdir().unwrap();
    let (mut file, reader) = open(&folder);
    let tenant = Subject::Tenant(Tenant::named("acme"));
    let begin = 19_000 * DAY;
    let mut now = begin;
    for day in 0..400 {
        for hour in (0..24).step_by(4) {
            now = begin + day * DAY + hour * 3600;
            let of_day = session(&format!("sim_{day}"));
            let value = day as f32;
            let points = vec![(of_day, point(value, 1000)), (tenant.clone(), point(value, 1000))];
            file.keep(&minute(now, points)).unwrap();
            file.tidy(now + 60).unwrap();
        }
    }
    let hours = points_of(&reader, &tenant, Tier::Hours, 0..i64::MAX);
    let days = hours.len() as i64 / 6;
    // A month goes as a whole.
    assert!((365..=398).contains(&days), "{days} days of hours are kept");
    assert!(now - 398 * DAY <= hours[0].0);
    let mean = |at: i64| (at - begin).div_euclid(DAY) as f64;
    for (at, hour) in &hours {
        assert_eq!(hour.gauges[0].1.mean(), Some(mean(*at)));
    }
    let minutes = points_of(&reader, &tenant, Tier::Minutes, 0..i64::MAX);
    let days = minutes.len() as i64 / 6;
    assert!((7..=8).contains(&days), "{days} days of minutes are kept");
    // Sessions that nothing is left of are forgotten.
    let known = reader.subjects(Scope::Session, &(0..i64::MAX)).unwrap();
    assert!((7..=9).contains(&known.len()), "{} sessions are known", known.len());
    assert!(file.bytes().unwrap() < 2 << 20, "{} bytes", file.bytes().unwrap());
}

#[test]
fn what_waits_when_the_daemon_stops_is_tidied_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, _) = open(&folder);
    file.keep(&minute(60, vec![(Subject::Fleet, point(1.0, 1000))])).unwrap();
    drop(file);
    let (mut file, reader) = open(&folder);
    file.tidy(7200).unwrap();
    assert_eq!(points_of(&reader, &Subject::Fleet, Tier::Hours, 0..7200).len(), 1);
    assert_eq!(points_of(&reader, &Subject::Fleet, Tier::Minutes, 0..7200).len(), 1);
}

#[test]
fn there_is_a_bound_on_subjects_and_on_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sqlite");
    let bytes_max = 512 << 10;
    let mut file = File::open(&path, Bounds { bytes_max, subjects_max: 40, ..BOUNDS }).unwrap();
    for number in 0..3000_i64 {
        let name = format!("sim_{}", number % 60);
        // What does not fit is lost, and what is kept stays readable.
        let kept =
            file.keep(&minute(number * 60, vec![(session(&name), point(number as f32, 1000))]));
        kept.and_then(|()| file.tidy((number + 1) * 60)).ok();
        assert!(file.bytes().unwrap() <= bytes_max);
    }
    let known = file.subjects(Scope::Session, &(0..i64::MAX)).unwrap();
    assert_eq!(known.len(), 40);
    let newest = points_of(&file, &session("sim_39"), Tier::Minutes, 0..i64::MAX);
    assert_eq!(newest.last().unwrap().0, (2940 + 39) * 60);
}

#[test]
fn one_tenant_leaves_room_for_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sqlite");
    let mut file = File::open(&path, Bounds { subjects_per_tenant_max: 3, ..BOUNDS }).unwrap();
    let greedy = (0..9).map(|number| (session(&format!("sim_{number}")), point(1.0, 1000)));
    file.keep(&minute(0, greedy.collect())).unwrap();
    let modest = Subject::Session(Tenant::named("zeta"), "sim_x".into());
    file.keep(&minute(60, vec![(modest.clone(), point(1.0, 1000))])).unwrap();
    assert_eq!(points_of(&file, &modest, Tier::Minutes, 0..600).len(), 1);
    assert_eq!(file.subjects(Scope::Session, &(0..600)).unwrap().len(), 4);
}

#[test]
fn a_file_that_was_allowed_more_becomes_as_small_as_it_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sqlite");
    let mut file = File::open(&path, BOUNDS).unwrap();
    for number in 0..2000_i64 {
        let name = format!("sim_{}", number % 50);
        file.keep(&minute(number * 60, vec![(session(&name), point(number as f32, 1000))]))
            .unwrap();
        file.tidy((number + 1) * 60).unwrap();
    }
    let before = file.bytes().unwrap();
    drop(file);
    let bytes_max = before / 2;
    let mut file = File::open(&path, Bounds { bytes_max, ..BOUNDS }).unwrap();
    assert!(file.bytes().unwrap() <= bytes_max);
    file.keep(&minute(2000 * 60, vec![(session("sim_1"), point(1.0, 1000))])).unwrap();
    assert!(file.bytes().unwrap() <= bytes_max);
}

#[test]
fn what_comes_again_when_the_clock_was_set_back_leaves_the_rest_of_its_hour() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, reader) = open(&folder);
    let keep = |file: &mut File, number: i64, value: f32| {
        file.keep(&minute(number * 60, vec![(Subject::Fleet, point(value, 1000))])).unwrap();
    };
    (0..60).for_each(|number| keep(&mut file, number, 1.0));
    file.tidy(3600).unwrap();
    drop(file);
    let (mut file, _) = open(&folder);
    keep(&mut file, 10, 5.0);
    file.tidy(7200).unwrap();
    let minutes = points_of(&reader, &Subject::Fleet, Tier::Minutes, 0..3600);
    assert_eq!(minutes.len(), 60);
    assert_eq!(minutes[10].1, point(5.0, 1000));
    let hours = points_of(&reader, &Subject::Fleet, Tier::Hours, 0..3600);
    assert_eq!(hours[0].1.gauges[0].1.count, 3600);
}

const DAY: i64 = 86_400;

fn keep_minute(file: &mut File, at: i64, value: f32) {
    file.keep(&minute(at, vec![(Subject::Fleet, point(value, 1000))])).unwrap();
    file.tidy(at + 60).unwrap();
}

/// A file in which the hours of a month lie together, opened anew.
fn after_a_month(folder: &tempfile::TempDir) -> (File, File) {
    let (mut file, _) = open(folder);
    (0..35 * 24).for_each(|hour| keep_minute(&mut file, hour * 3600, 1.0));
    drop(file);
    open(folder)
}

#[test]
fn what_comes_again_of_a_month_that_lies_together_is_the_newer_one() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, reader) = after_a_month(&folder);
    keep_minute(&mut file, 3 * DAY, 5.0);
    file.tidy(36 * DAY).unwrap();
    let hours = points_of(&reader, &Subject::Fleet, Tier::Hours, 0..35 * DAY);
    assert_eq!(hours.len(), 35 * 24);
    for (at, point) in hours {
        let expected = if at == 3 * DAY { 5.0 } else { 1.0 };
        assert_eq!(point.gauges[0].1.mean(), Some(expected), "at {at}");
    }
}

#[test]
fn a_month_that_lies_together_stays_when_its_first_day_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, reader) = after_a_month(&folder);
    (0..30).for_each(|hour| keep_minute(&mut file, hour * 3600, 5.0));
    let hours = points_of(&reader, &Subject::Fleet, Tier::Hours, 0..35 * DAY);
    assert_eq!(hours.len(), 35 * 24 - 1);
    for (at, point) in hours {
        // The last hour that came again is not over.
        let expected = if at < 29 * 3600 { 5.0 } else { 1.0 };
        assert_eq!(point.gauges[0].1.mean(), Some(expected), "at {at}");
    }
}

#[test]
fn an_hour_that_has_no_room_is_lost_and_none_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sqlite");
    let bytes_max = 1 << 20;
    let bounds = Bounds { bytes_max, ..BOUNDS };
    let mut file = File::open(&path, bounds).unwrap();
    let mut dropped = 0;
    for number in 0..200_i64 {
        // In the first two hours there is far too much.
        let many = if number < 120 { 400 } else { 3 };
        let value = |it: i64| ((number * 40_503 + it * 9973) % 65_521) as f32 * 1.37;
        let points = (0..many).map(|it| (session(&format!("sim_{it}")), point(value(it), 1000)));
        let kept = file.keep(&minute(number * 60, points.collect()));
        kept.and_then(|()| file.tidy((number + 1) * 60)).ok();
        dropped += file.take_dropped();
        assert!(file.bytes().unwrap() <= bytes_max);
    }
    assert!(0 < dropped, "there was room for everything");
    let newest = points_of(&file, &session("sim_1"), Tier::Minutes, 121 * 60..200 * 60);
    assert_eq!(newest.len(), 79);
}

#[test]
fn a_damaged_row_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, reader) = open(&folder);
    for number in 0..10 {
        file.keep(&minute(number * 60, vec![(Subject::Fleet, point(1.0, 1000))])).unwrap();
    }
    let other = rusqlite::Connection::open(folder.path().join("metrics.sqlite")).unwrap();
    other.execute("UPDATE frame SET cells = x'ffff' WHERE begin = 120", []).unwrap();
    assert_eq!(points_of(&reader, &Subject::Fleet, Tier::Minutes, 0..600).len(), 9);
    file.tidy(3600).unwrap();
    assert_eq!(points_of(&reader, &Subject::Fleet, Tier::Minutes, 0..600).len(), 9);
}

#[test]
fn what_is_to_be_forgotten_is_forgotten_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, reader) = open(&folder);
    for number in 0..70_i64 {
        let points = vec![(session("a"), point(1.0, 1000)), (session("b"), point(2.0, 1000))];
        file.keep(&minute(number * 60, points)).unwrap();
        file.tidy((number + 1) * 60).unwrap();
    }
    let is_meant = |subject: &Subject| subject.name() == "a";
    assert_eq!(file.forget(&is_meant).unwrap(), 1);
    assert_eq!(points_of(&reader, &session("a"), Tier::Minutes, 0..9000), []);
    assert_eq!(points_of(&reader, &session("b"), Tier::Minutes, 0..9000).len(), 70);
    file.keep(&minute(70 * 60, vec![(session("a"), point(1.0, 1000))])).unwrap();
    assert_eq!(points_of(&reader, &session("a"), Tier::Minutes, 0..9000).len(), 1);
}

#[test]
fn a_file_of_another_layout_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sqlite");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", 77).unwrap();
    let error = File::open(&path, BOUNDS).unwrap_err();
    assert!(matches!(error, Error::Layout(77)), "{error}");
    std::fs::write(&path, "no database at all, and long enough to be looked at").unwrap();
    File::open(&path, BOUNDS).unwrap_err();
}

#[test]
fn the_writer_keeps_what_it_was_given_when_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sqlite");
    let history = History::open(&path, BOUNDS).unwrap();
    for number in 0..5 {
        history.keep(minute(number * 60, vec![(Subject::Fleet, point(1.0, 1000))]));
    }
    history.close();
    let kept = history.columns(&[&Subject::Fleet], Tier::Minutes, 0..600, Wants::ALL).unwrap();
    let kept = kept[0].1.gauge(Id::Cpu).len() as u64;
    assert_eq!(kept + history.dropped_total(), 5);
    // One that comes too late is lost, and counted.
    let dropped = history.dropped_total();
    history.keep(minute(600, Vec::new()));
    assert_eq!(history.dropped_total(), dropped + 1);
    assert!(matches!(history.forget(|_| true), Err(Error::Closed)));
}

#[test]
fn days_are_laid_into_their_month_before_there_are_many() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, reader) = open(&folder);
    let connection = rusqlite::Connection::open(folder.path().join("metrics.sqlite")).unwrap();
    let days = "SELECT count(*) FROM chunk WHERE tier = 1 AND metric = 0";
    let apart = "SELECT count(*) FROM chunk WHERE tier = 1 AND metric != 0";
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let mut most = 0;
    for hour in 0..45 * 24 {
        keep_minute(&mut file, hour * 3600, (hour % 1000) as f32);
        most = most.max(count(days));
    }
    assert_eq!(most, 6);
    // A gauge and a histogram, of two months.
    assert_eq!(count(apart), 4);
    let hours = points_of(&reader, &Subject::Fleet, Tier::Hours, 0..45 * DAY);
    assert_eq!(hours.len(), 45 * 24 - 1);
    for (number, (at, hour)) in hours.into_iter().enumerate() {
        assert_eq!(at, number as i64 * 3600);
        assert_eq!(hour, point((number % 1000) as f32, 1000), "at {at}");
    }
}

#[test]
fn without_least_and_most_the_mean_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, reader) = open(&folder);
    (0..60 * 3).for_each(|number| keep_minute(&mut file, number * 60, number as f32));
    let whole = |wants: Wants<'_>| {
        let range = 0..3 * 3600;
        let mut found = reader.columns(&[&Subject::Fleet], Tier::Minutes, &range, wants).unwrap();
        found.remove(0).1
    };
    let (with, without) = (whole(Wants::ALL), whole(Wants::ALL.with_ends(false)));
    assert_eq!(with.gauge(Id::Cpu).len(), 180);
    let means = |columns: &Columns| -> Vec<_> {
        columns.gauge(Id::Cpu).iter().map(|(at, value)| (*at, value.mean())).collect()
    };
    assert_eq!(means(&with), means(&without));
    assert_eq!(with.histogram(Id::StepTime), without.histogram(Id::StepTime));
}

#[test]
fn a_month_that_is_asked_for_again_is_at_hand_and_never_an_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, reader) = after_a_month(&folder);
    let unpacked = Unpacked::new(1 << 20);
    let reader = reader.with_cache(unpacked.clone());
    let uses = || (unpacked.usage().hits_total, unpacked.usage().misses_total);
    let cpu = |id: Id| id == Id::Cpu;
    let mean = |range: Range, with_ends: bool| {
        let wants = Wants::of(&cpu).with_ends(with_ends);
        let found = reader.columns(&[&Subject::Fleet], Tier::Hours, &range, wants).unwrap();
        let column = found[0].1.gauge(Id::Cpu);
        (column.len(), Summary::of(column.iter().map(|(_, of)| of.mean().unwrap() as f32)).mean())
    };
    assert_eq!(mean(0..30 * DAY, false), (720, Some(1.0)));
    assert_eq!(uses(), (0, 1));
    assert_eq!(mean(0..30 * DAY, false), (720, Some(1.0)));
    assert_eq!(mean(3 * DAY..4 * DAY, false), (24, Some(1.0)));
    assert_eq!(uses(), (2, 1));
    // What was unpacked without the least and the most does not stand for what has them.
    assert_eq!(mean(0..30 * DAY, true), (720, Some(1.0)));
    assert_eq!(uses(), (2, 2));
    let CacheUse { bytes, bytes_max, .. } = unpacked.usage();
    assert!((1..=bytes_max).contains(&bytes), "{bytes}");
    // A week of it comes again, and is laid into it anew.
    for day in 0..8 {
        keep_minute(&mut file, day * DAY, 5.0);
    }
    file.tidy(45 * DAY).unwrap();
    assert_eq!(mean(0..DAY, false).0, 24);
    let (_, of_day) = mean(0..3600, false);
    assert_eq!(of_day, Some(5.0));
    file.forget(&|_| true).unwrap();
    let found = reader.columns(&[&Subject::Fleet], Tier::Hours, &(0..30 * DAY), Wants::ALL);
    assert!(found.unwrap().is_empty());
}

#[test]
fn no_more_is_at_hand_than_may_be() {
    let unpack = || {
        let mut columns = Columns::default();
        (0..720).for_each(|hour| columns.push(hour * 3600, point(1.0, 1000)));
        Ok::<_, Error>(columns)
    };
    for bytes_max in [0, 1 << 20] {
        let unpacked = Unpacked::new(bytes_max);
        (0..200).for_each(|row| drop(unpacked.get((row, true), unpack).unwrap()));
        let CacheUse { bytes, misses_total, .. } = unpacked.usage();
        assert!(bytes <= bytes_max && (bytes != 0) == (bytes_max != 0), "{bytes} of {bytes_max}");
        assert_eq!(misses_total, 200);
        unpacked.clear();
        assert_eq!(unpacked.usage().bytes, 0);
    }
}

#[test]
fn whoever_reads_a_subject_looks_at_no_rows_of_others() {
    let folder = tempfile::tempdir().unwrap();
    drop(after_a_month(&folder));
    let connection = rusqlite::Connection::open(folder.path().join("metrics.sqlite")).unwrap();
    let plan = |sql: &str| -> String {
        let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        explained.query_row([], |row| row.get(3)).unwrap()
    };
    let read = "SELECT id, begin FROM chunk
                WHERE subject = 1 AND tier = 1 AND metric = 2 AND begin >= 3 AND begin < 4";
    assert!(plan(read).contains("chunk_place (subject=? AND tier=? AND metric=? AND begin>"));
    let days = "SELECT begin, gauges FROM chunk
                WHERE subject = 1 AND tier = 0 AND metric = 0 AND begin >= 3 AND begin < 4";
    assert!(plan(days).contains("chunk_place (subject=? AND tier=? AND metric=? AND begin>"));
}
