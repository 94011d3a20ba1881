//! A fleet that nobody runs: what tests look at.

use std::collections::BTreeMap;

use crate::admin::Glance;
use crate::admin::glance::Trend;
use crate::alerts::report::AlertReport;
use crate::alerts::rule::Severity;
use crate::telemetry::levels::Level;
use crate::telemetry::reports::Times;
use crate::telemetry::reports::fleet::{Fleet, Pool, Row};
use crate::telemetry::reports::overview::{Measuring, Overview};
use crate::telemetry::reports::tools::Tool;

/// The handle of the session whose trend is told.
pub(super) const FIRST: &str = "sim_a2964bd1000000000000000000000001";

/// Four sessions of two tenants, two tools, two alerts.
pub(super) fn glance() -> Glance {
    let sessions = vec![
        row(FIRST, "acme", "humanoid", 23_315, 0.98),
        row("sim_c4bcf2ac000000000000000000000002", "acme", "ur5e", 23_326, 0.031),
        row("sim_f9818147000000000000000000000003", "zeta", "evil\u{1b}[2J", 23_321, 1.02),
        Row {
            session_id: "sim_00aa11bb000000000000000000000004".to_owned(),
            tenant: "zeta".to_owned(),
            state: "hibernated".to_owned(),
            restarts: 1,
            idle_secs: 4000.0,
            ..Row::default()
        },
    ];
    Glance {
        version: "0.1.0".to_owned(),
        at: "2027-01-01T12:34:56Z".to_owned(),
        fleet: Fleet {
            overview: overview(),
            pool: Pool {
                sessions: 4,
                sessions_max: 8192,
                awake: 3,
                awake_max: 512,
                workers: 3,
                starting: 0,
                starts_waiting: 0,
                ports_used: 3,
                ports_free: 997,
                room: "plenty".to_owned(),
                host_cores: 2,
                host_memory_bytes: 24_106 << 20,
            },
            sessions,
            sessions_cut: 0,
            tools: vec![tool("step_simulation", 120_000, 3), tool("create_session", 4, 0)],
        },
        alerts: vec![
            alert("firing", Severity::Critical, "cpu_hog", "sim_f9818147000000000000000000000003"),
            alert("pending", Severity::Warning, "memory", FIRST),
        ],
        alerts_cut: 0,
        trend: trend(FIRST),
    }
}

/// The last minutes of a session, of which there are 100 s.
fn trend(session_id: &str) -> Trend {
    let values = |value: fn(f64) -> f64| {
        (0..120_u8).map(|at| (20 <= at).then(|| value(f64::from(at)))).collect()
    };
    Trend {
        session_id: Some(session_id.to_owned()),
        from_secs: 1_798_806_776,
        steps_per_sec: values(|at| at * 100.0),
        cpu_ratio: values(|at| (at % 40.0) / 40.0),
    }
}

fn row(id: &str, tenant: &str, name: &str, pid: u32, cpu_ratio: f64) -> Row {
    Row {
        session_id: id.to_owned(),
        name: Some(name.to_owned()),
        tenant: tenant.to_owned(),
        pid: Some(pid),
        state: "ready".to_owned(),
        cpu_ratio: Some(cpu_ratio),
        resident_bytes: Some(u64::from(pid) << 10),
        steps_per_sec: Some(f64::from(pid) / 2.0),
        real_time_factor: Some(12.34),
        step_secs: Some(times(43e-6)),
        contacts: Some(8),
        restarts: 0,
        idle_secs: 3.0,
    }
}

fn times(p50_secs: f64) -> Times {
    let (p95_secs, p99_secs) = (p50_secs * 2.0, p50_secs * 4.0);
    Times { mean_secs: p50_secs, p50_secs, p95_secs, p99_secs }
}

fn tool(name: &str, calls: u64, errors: u64) -> Tool {
    Tool {
        tool: name.to_owned(),
        calls,
        errors,
        error_ratio: 0.01,
        in_flight: errors,
        request_bytes: 1000,
        result_bytes: 3 << 20,
        call_secs: Some(times(1.2e-3)),
        max_secs: 0.7,
        counted_secs: 8000.0,
    }
}

fn alert(state: &str, severity: Severity, rule: &str, session_id: &str) -> AlertReport {
    let labels = [("session_id", session_id), ("tenant", "zeta")];
    AlertReport {
        rule: rule.to_owned(),
        owner: "fleet".to_owned(),
        state: state.to_owned(),
        severity,
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        condition: "avg of session_cpu_ratio over 60 s > 0.8".to_owned(),
        value: Some(1.02),
        since: "2027-01-01T12:30:00Z".to_owned(),
        fired_at: None,
        action: None,
        acts_at: None,
        done: None,
        runbook: String::new(),
    }
}

fn overview() -> Overview {
    let means = [
        ("host_cpu_ratio", 0.34),
        ("host_memory_ratio", 0.17),
        ("host_load", 0.74),
        ("telemetry_cpu_ratio", 0.0011),
        ("supervisor_resident_bytes", 38e6),
        ("steps_per_sec", 35_000.0),
        ("calls_per_sec", 12.3),
        ("errors_per_sec", 0.4),
    ];
    Overview {
        uptime_secs: 8000.0,
        window_secs: 10,
        means: means
            .map(|(name, mean)| (name.to_owned(), mean))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        step_secs: Some(times(43e-6)),
        call_secs: Some(times(1.2e-3)),
        level: Level::Basic,
        measuring: Some(Measuring {
            memory_bytes: 1 << 20,
            history_bytes: None,
            history_cache: None,
            minutes_dropped_total: 0,
            samples_dropped_total: 0,
            calls_dropped_total: 0,
        }),
    }
}
