//! How long it takes to be told what was measured, with a year behind.

use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use simward_supervisor::durations::Durations;
use simward_supervisor::telemetry::history::{Archive, Bounds, History};
use simward_supervisor::telemetry::metric::Scope;
use simward_supervisor::telemetry::series::{Minute, Point, Subject, Summary};
use simward_supervisor::tenants::Tenant;
use simward_tests::client::HttpClient;
use tempfile::TempDir;

use crate::Bench;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Subjects that are there all the time.
const TENANTS: i64 = 20;
const MODELS: i64 = 50;
const TOOLS: i64 = 50;

/// Sessions at a time, and for how long each of them is there.
const SESSIONS: i64 = 12;
const LIVES_HOURS: i64 = 4;

/// Sessions that are there when it is asked.
const ALIVE: u32 = 50;

/// How often everything is asked.
const ROUNDS: u32 = 100;

const BOUNDS: Bounds = Bounds {
    bytes_max: 1 << 30,
    cache_bytes_max: 0,
    subjects_max: 100_000,
    subjects_per_tenant_max: 100_000,
};

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let state = TempDir::new().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    live_a_year(state.path(), i64::try_from(now).unwrap());
    let bytes = std::fs::metadata(Archive::path(state.path())).unwrap().len();
    let mb = f64::from(u32::try_from(bytes >> 10).unwrap()) / 1024.0;
    report.add(Row::new(
        33,
        "a year of 121 subjects and a week of 504 sessions, on the disk",
        mb,
        "MB",
    ));
    // Nothing that was asked before helps.
    let without = ["monitoring.history_cache_bytes_max=0"];
    let server = Server::start_over(&bench.programs, &without, state);
    let mut client = server.client();
    let rooms: Vec<Room> = (0..ALIVE).map(|_| Room::open(&mut client)).collect();
    for room in &rooms {
        room.load_pendulum(&mut client);
        room.tool(&mut client, "step_simulation", json!({ "steps": 100 })).unwrap();
    }
    let rounds = bench.options.times(ROUNDS);
    for (what, tool, arguments) in questions(&rooms[0]) {
        let mut millis = Samples::default();
        for _ in 0..rounds {
            let begun = Instant::now();
            let answer = client.tool(tool, arguments.clone()).unwrap();
            millis.add_millis(begun.elapsed());
            check(tool, &arguments, &answer);
        }
        let row = |what: &str, value| Row::new(33, what, value, "ms");
        if what.starts_with("a month") {
            report.add(row(&format!("{what}, p50"), millis.median()).at_most(20.0));
        }
        report.add(row(&format!("{what}, p99"), millis.quantile(99)).at_most(100.0));
    }
    forget(&mut client, &rooms, report);
    ask_again(bench, server, report);
}

/// The heaviest question, by a daemon that keeps what it has unpacked.
fn ask_again(bench: &Bench, mut server: Server, report: &mut Report) {
    server.kill_and_start_plain(&bench.programs);
    let mut client = server.client();
    let arguments = json!({
        "metrics": ["steps_per_sec"], "scope": "model", "all_tenants": true,
        "duration_secs": 365 * DAY - HOUR,
    });
    let mut millis = Samples::default();
    for round in 0..=bench.options.times(ROUNDS) {
        let begun = Instant::now();
        let answer = client.tool("get_performance_history", arguments.clone()).unwrap();
        if round != 0 {
            millis.add_millis(begun.elapsed());
        }
        check("get_performance_history", &arguments, &answer);
    }
    let what = "a year of every model's steps, asked for again, p99";
    report.add(Row::new(33, what, millis.quantile(99), "ms"));
}

/// What is asked, and how it is called.
fn questions(room: &Room) -> Vec<(&'static str, &'static str, Value)> {
    const HISTORY: &str = "get_performance_history";
    let past = |metrics: &[&str], scope: &str, days: i64| {
        let duration_secs = days * DAY - HOUR;
        json!({ "metrics": metrics, "scope": scope, "duration_secs": duration_secs, "all_tenants": true })
    };
    let hour = json!({ "all_tenants": true, "window_secs": HOUR });
    let level = json!({ "level": "basic", "session_id": room.id });
    let mut of_one = past(&["call_secs"], "tool", 30);
    of_one["name"] = json!("tool_7");
    of_one["aggregate"] = json!("p99");
    vec![
        ("a month of a tool's times", HISTORY, of_one),
        (
            "a month of the fleet's processor and memory",
            HISTORY,
            past(&["cpu_ratio", "resident_bytes"], "fleet", 30),
        ),
        ("a year of the fleet's steps", HISTORY, past(&["steps_per_sec"], "fleet", 365)),
        ("a year of every model's steps", HISTORY, past(&["steps_per_sec"], "model", 365)),
        ("a week of every session's processor", HISTORY, past(&["cpu_ratio"], "session", 7)),
        ("get_performance_metrics", "get_performance_metrics", hour.clone()),
        ("get_simulation_metrics", "get_simulation_metrics", hour),
        ("get_tool_metrics", "get_tool_metrics", json!({ "all_tenants": true })),
        ("get_memory_usage", "get_memory_usage", json!({ "all_tenants": true })),
        ("enable_performance_tracking", "enable_performance_tracking", level),
    ]
}

/// What was measured is told, and not nothing.
fn check(tool: &str, arguments: &Value, answer: &Value) {
    if tool == "get_performance_history" {
        let columns = answer["columns"].as_array().unwrap();
        let is_full = |column: &Value| 0.0 < column["coverage_ratio"].as_f64().unwrap();
        assert!(!columns.is_empty() && columns.iter().all(is_full), "{arguments}: {answer}");
    }
}

/// What is forgotten is rewritten where it lies.
fn forget(client: &mut HttpClient, rooms: &[Room], report: &mut Report) {
    let mut millis = Samples::default();
    for room in rooms {
        let begun = Instant::now();
        room.tool(client, "clear_performance_data", json!({})).unwrap();
        millis.add_millis(begun.elapsed());
    }
    let row = Row::new(33, "clear_performance_data of a session, p99", millis.quantile(99), "ms");
    report.add(row.at_most(100.0));
}

/// Writes a history as if a daemon had run for a year: minutes of its last week, and one minute of
/// each hour before, which is what becomes of an hour.
fn live_a_year(state: &Path, now_secs: i64) {
    let history = History::open(&Archive::path(state), BOUNDS).unwrap();
    let now = now_secs - now_secs.rem_euclid(60);
    let (year, week) = (now - 365 * DAY, now - 7 * DAY);
    let hours = (year..week).step_by(3600);
    let minutes = (week..now).step_by(60);
    history.keep_all(hours.map(|at| minute(at, false))).unwrap();
    history.keep_all(minutes.map(|at| minute(at, true))).unwrap();
    history.close();
    assert_eq!(history.dropped_total(), 0);
}

fn minute(begin_secs: i64, with_sessions: bool) -> Minute {
    let tenant = |number: i64| Tenant::named(&format!("tenant_{}", number % TENANTS));
    let mut subjects = vec![Subject::Fleet];
    subjects.extend((0..TENANTS).map(|number| Subject::Tenant(tenant(number))));
    let model = |number| Subject::Model(tenant(number), format!("model_{number}").into());
    subjects.extend((0..MODELS).map(model));
    subjects.extend((0..TOOLS).map(|number| Subject::Tool(format!("tool_{number}").into())));
    if with_sessions {
        let shift = begin_secs / (LIVES_HOURS * HOUR);
        let name = |number| format!("sim_{shift}_{number}");
        let session = |number| Subject::Session(tenant(number), name(number).into());
        subjects.extend((0..SESSIONS).map(session));
    }
    let points = (0_u32..).zip(subjects).map(|(place, subject)| {
        let point = point(subject.scope(), begin_secs / 60, place);
        (subject, point)
    });
    Minute { begin_secs, points: points.collect() }
}

/// Values that go up and down, and jitter.
fn point(scope: Scope, minute: i64, place: u32) -> Point {
    let noise =
        u32::try_from((minute * 2_654_435_761 + i64::from(place) * 40_503).rem_euclid(1 << 16))
            .unwrap();
    let noise = f32::from(u16::try_from(noise).unwrap_or(u16::MAX)) / 65_536.0;
    let gauge = |number: usize| {
        let base = f32::from(u8::try_from(number).unwrap_or(u8::MAX)) + 1.0;
        let mean = base * (1.0 + noise);
        Summary { min: mean * 0.9, max: mean * 1.2, sum: f64::from(mean) * 60.0, count: 60 }
    };
    let gauges = scope.gauges().enumerate().map(|(number, metric)| (metric.id, gauge(number)));
    let histograms = scope.histograms().map(|metric| {
        let mut durations = Durations::default();
        for bucket in 0..20_u64 {
            durations.note((50_000 << (bucket % 8)) | (bucket * 1000));
        }
        (metric.id, durations)
    });
    Point { gauges: gauges.collect(), histograms: histograms.collect() }
}
