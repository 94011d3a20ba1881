//! What it costs to measure a thousand workers, and to tell Prometheus of them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::wait::wait_for;

use crate::Bench;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;

const WORKERS: u32 = 1000;

const CLIENTS: usize = 4;

/// Over which the cost is taken.
const WINDOW_SECS: u32 = 30;

/// What rules look at: every kind of subject.
const LOOKED_AT: [&str; 10] = [
    "session_cpu_ratio",
    "session_resident_bytes",
    "session_memory_limit_ratio",
    "session_step_secs",
    "session_idle_secs",
    "tenant_steps_per_sec",
    "model_real_time_factor",
    "tool_call_secs",
    "fleet_errors_per_sec",
    "host_memory_ratio",
];

/// How fast the simulations go: each steps, and all of them together leave the machine some time.
const REAL_TIME_FACTOR: f64 = 0.01;

const SCRAPES: u32 = 200;

/// Series that a page must have to count.
const SERIES_MIN: usize = 8000;

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let rule = |(number, metric): (usize, &&str)| {
        format!(r#"{{ name = "rule_{number}", metric = "{metric}", value = 1e15 }}"#)
    };
    let rules: Vec<_> = LOOKED_AT.iter().cycle().take(20).enumerate().map(rule).collect();
    let settings = [
        format!("alerts.rules=[{}]", rules.join(", ")),
        "metrics.listen=127.0.0.1:0".to_owned(),
        "metrics.sessions=true".to_owned(),
        "metrics.sessions_max=500".to_owned(),
        "pool.ports.range=20000-22999".to_owned(),
        "sessions.awake_max=1100".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let server = Server::start_with(&bench.programs, &settings);
    fill(&server);
    cost(&server, report);
    scrape(bench, &server, report);
}

/// Lets that many workers step.
fn fill(server: &Server) {
    let wanted = AtomicU32::new(WORKERS);
    let one_less = |left: u32| left.checked_sub(1);
    let open = || {
        let mut client = server.client();
        while wanted.try_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
            let room = Room::open(&mut client);
            room.load_pendulum(&mut client);
            let slowly = json!({ "duration_secs": 3600, "real_time_factor": REAL_TIME_FACTOR });
            room.tool(&mut client, "run_simulation", slowly).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(open);
        }
    });
}

/// What the daemon says of itself, over a time in which nobody has called.
fn cost(server: &Server, report: &mut Report) {
    std::thread::sleep(Duration::from_secs(u64::from(WINDOW_SECS) + 5));
    // A connection that nobody used meanwhile would be closed.
    let means = overview(&mut server.client())["means"].clone();
    let percent = |name: &str| means[name].as_f64().unwrap() * 100.0;
    let workers = means["workers"].as_f64().unwrap();
    let interval = means["telemetry_interval_secs"].as_f64().unwrap();
    let rows = [
        Row::new(31, "workers that are measured at a time", workers, "").at_least(WORKERS.into()),
        Row::new(31, "the time between two samples of them", interval, "s").at_most(1.0),
        Row::new(31, "measuring them, CPU", percent("telemetry_cpu_ratio"), "%").at_most(1.0),
        Row::new(
            31,
            "measuring them, 20 rules, and all else of the daemon, CPU",
            percent("supervisor_cpu_ratio"),
            "%",
        ),
    ];
    for row in rows {
        report.add(row);
    }
}

fn overview(client: &mut HttpClient) -> Value {
    let ask = json!({ "all_tenants": true, "window_secs": WINDOW_SECS });
    client.tool("get_performance_metrics", ask).unwrap()
}

fn scrape(bench: &Bench, server: &Server, report: &mut Report) {
    let mut scraper = server.scraper();
    let mut page = || scraper.ask("GET", "/metrics", &[], b"").unwrap();
    let series = |page: &str| page.lines().filter(|line| !line.starts_with('#')).count();
    wait_for("a page that is long enough", || (SERIES_MIN <= series(&page().text())).then_some(()));
    let mut millis = Samples::default();
    for _ in 0..bench.options.times(SCRAPES) {
        let begun = Instant::now();
        let page = page();
        millis.add_millis(begun.elapsed());
        assert!(SERIES_MIN <= series(&page.text()));
    }
    let row = Row::new(31, "a scrape of 8,000 series, p50", millis.median(), "ms");
    report.add(row.at_most(10.0));
    report.add(Row::new(31, "a scrape of 8,000 series, p99", millis.quantile(99), "ms"));
}
