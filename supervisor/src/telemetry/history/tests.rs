//! Time is what a test says it is.

use super::*;
use crate::durations::Durations;
use crate::telemetry::metric::Id;
use crate::telemetry::series::Summary;
use crate::tenants::Tenant;

const BYTES_MAX: u64 = 64 << 20;

fn open(folder: &tempfile::TempDir) -> (File, File) {
    let path = folder.path().join("metrics.sqlite");
    (File::open(&path, BYTES_MAX, 1000).unwrap(), File::read(&path).unwrap())
}

fn kept(file: &File, subject: &Subject, tier: Tier, range: Range) -> Points {
    file.points(&[(subject.clone(), range)], tier, &|_| true).unwrap().remove(0)
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
    let points = kept(&reader, &session("a"), Tier::Minutes, 0..9000);
    assert_eq!(points.len(), 150);
    for (number, (at, found)) in points.into_iter().enumerate() {
        assert_eq!(at, number as i64 * 60);
        assert_eq!(found, point(number as f32, 1000));
    }
    let some = kept(&reader, &session("a"), Tier::Minutes, 3500..3700);
    assert_eq!(some.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [3540, 3600, 3660]);
    // Two hours are over. Of sessions there are none.
    let hours = kept(&reader, &Subject::Fleet, Tier::Hours, 0..9000);
    assert_eq!(hours.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 3600]);
    let (_, hour) = &hours[0];
    assert_eq!(hour.gauges[0].1, Summary { min: 1.0, max: 2.0, sum: 3600.0, count: 3600 });
    assert_eq!(hour.histograms[0].1.count(), 60);
    assert_eq!(kept(&reader, &session("a"), Tier::Hours, 0..9000), []);
    assert_eq!(kept(&reader, &session("b"), Tier::Minutes, 0..9000), []);
}

#[test]
fn several_subjects_are_read_at_a_time_each_in_its_own_stretch() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, reader) = open(&folder);
    for number in 0..90_i64 {
        let points = vec![(session("a"), point(1.0, 1000)), (session("b"), point(2.0, 1000))];
        file.keep(&minute(number * 60, points)).unwrap();
        file.tidy((number + 1) * 60).unwrap();
    }
    let wanted = [
        (session("b"), 3000..4200),
        (session("none"), 0..9000),
        (session("a"), 0..120),
        (session("a"), 60..60),
    ];
    let found = reader.points(&wanted, Tier::Minutes, &|id| id == Id::Cpu).unwrap();
    let times: Vec<Vec<i64>> =
        found.iter().map(|points| points.iter().map(|(at, _)| at / 60).collect()).collect();
    assert_eq!(times, [(50..70).collect(), vec![], vec![0, 1], vec![]]);
    // What is not wanted is not there, whether it lies in columns or in rows.
    let expected = Point { histograms: Vec::new(), ..point(2.0, 1000) };
    assert!(found[0].iter().all(|(_, point)| *point == expected));
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
    let hours = kept(&reader, &tenant, Tier::Hours, 0..i64::MAX);
    let days = hours.len() as i64 / 6;
    assert!((365..=368).contains(&days), "{days} days of hours are kept");
    assert!(now - 368 * DAY <= hours[0].0);
    let mean = |at: i64| (at - begin).div_euclid(DAY) as f64;
    for (at, hour) in &hours {
        assert_eq!(hour.gauges[0].1.mean(), Some(mean(*at)));
    }
    let minutes = kept(&reader, &tenant, Tier::Minutes, 0..i64::MAX);
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
    assert_eq!(kept(&reader, &Subject::Fleet, Tier::Hours, 0..7200).len(), 1);
    assert_eq!(kept(&reader, &Subject::Fleet, Tier::Minutes, 0..7200).len(), 1);
}

#[test]
fn there_is_a_bound_on_subjects_and_on_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sqlite");
    let bytes_max = 512 << 10;
    let mut file = File::open(&path, bytes_max, 40).unwrap();
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
    let newest = kept(&file, &session("sim_39"), Tier::Minutes, 0..i64::MAX);
    assert_eq!(newest.last().unwrap().0, (2940 + 39) * 60);
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
    assert_eq!(kept(&reader, &session("a"), Tier::Minutes, 0..9000), []);
    assert_eq!(kept(&reader, &session("b"), Tier::Minutes, 0..9000).len(), 70);
    file.keep(&minute(70 * 60, vec![(session("a"), point(1.0, 1000))])).unwrap();
    assert_eq!(kept(&reader, &session("a"), Tier::Minutes, 0..9000).len(), 1);
}

#[test]
fn a_file_of_another_layout_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sqlite");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", 77).unwrap();
    let error = File::open(&path, BYTES_MAX, 10).unwrap_err();
    assert!(matches!(error, Error::Layout(77)), "{error}");
    std::fs::write(&path, "no database at all, and long enough to be looked at").unwrap();
    assert!(File::open(&path, BYTES_MAX, 10).is_err());
}

#[test]
fn the_writer_keeps_what_it_was_given_when_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sqlite");
    let history = History::open(&path, BYTES_MAX, 100).unwrap();
    for number in 0..5 {
        history.keep(minute(number * 60, vec![(Subject::Fleet, point(1.0, 1000))]));
    }
    history.close();
    let kept = history.points(&[(Subject::Fleet, 0..600)], Tier::Minutes, &|_| true).unwrap();
    let kept = kept[0].len() as u64;
    assert_eq!(kept + history.dropped_total(), 5);
    // One that comes too late is lost, and counted.
    let dropped = history.dropped_total();
    history.keep(minute(600, Vec::new()));
    assert_eq!(history.dropped_total(), dropped + 1);
    assert!(matches!(history.forget(|_| true), Err(Error::Closed)));
}
