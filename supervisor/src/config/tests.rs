//! What the configuration may be, and what is said of it.

use super::*;
use crate::code::chain;

fn refused(text: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let error = Config::load(Some(file.path()), &[]).unwrap_err();
    chain(&error).replace(&file.path().display().to_string(), "FILE")
}

#[test]
fn nothing_said_means_the_defaults() {
    assert_eq!(Config::load(None, &[]).unwrap(), Config::default());
}

#[test]
fn what_is_printed_reads_back_the_same() {
    let config = Config::default();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config.to_toml()).unwrap();
    assert_eq!(Config::load(Some(file.path()), &[]).unwrap(), config);
}

/// Every key and its default, as the documentation has them.
#[test]
fn the_documentation_names_every_key_and_its_default() {
    fn lay_out(above: &str, table: &toml::Table, keys: &mut Vec<String>) {
        for (name, value) in table {
            let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            match value {
                toml::Value::Table(table) => lay_out(&key, table, keys),
                value => keys.push(format!("`{key}` | `{value}`")),
            }
        }
    }
    let mut keys = Vec::new();
    lay_out("", &Config::default().to_toml().parse().unwrap(), &mut keys);
    let text = include_str!("../../../docs/operations.md");
    let section = text.split("### Every key").nth(1).unwrap();
    let section = section.split("\n### ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut told: Vec<String> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").take(2).collect();
            format!("`{}", cells.join(" | "))
        })
        .collect();
    keys.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, keys);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let error = refused("[sesions]\nmax = 3\n");
    assert_eq!(error, "FILE has the unknown key `sesions`; did you mean `sessions`?");
    let error = refused("[pool.ports]\nrnage = \"1-2\"\n");
    assert!(error.ends_with("`pool.ports.rnage`; did you mean `pool.ports.range`?"), "{error}");
}

#[test]
fn a_value_that_does_not_fit_is_refused() {
    assert!(refused("[sessions]\nmax = \"many\"\n").contains("invalid type"));
    assert!(refused("[pool.ports]\nrange = \"9-1\"\n").contains("not a range of ports"));
    assert!(refused("[pool]\nhang_after_secs = 0\n").contains("`pool.hang_after_secs` must"));
    assert!(refused("[pool").contains("not valid TOML"));
}

#[test]
fn values_that_make_no_sense_together_are_refused() {
    let error = refused("[compile]\nmemory_bytes = 0\n");
    assert!(error.contains("`compile.memory_bytes` must be at least 33554432"), "{error}");
    let error = refused("[sessions.limits]\nmemory_bytes = 1000\n");
    assert!(error.contains("or 0 (no limit)"), "{error}");
    Config::load(None, &["pool.worker_memory_bytes=0".to_owned()]).unwrap();
    let error = refused("[pool.headroom]\nmemory_full_ratio = 0.5\n");
    assert!(error.contains("more than `pool.headroom.memory_tight_ratio`"), "{error}");
    let error = refused("[http.quotas]\ncalls_per_sec = -1\n");
    assert!(error.contains("`http.quotas.calls_per_sec` must be 0 (no limit)"), "{error}");
    let error = refused("[http.quotas]\ncalls_per_sec = 0.001\nburst = 4294967295\n");
    assert!(error.contains("`http.quotas.burst` takes more than"), "{error}");
    let of_tool = |text: &str| refused(&format!("[[http.quotas.tools]]\n{text}"));
    assert!(of_tool("name = \"draw\"\ncalls_per_sec = 1").contains("no tool"));
    assert!(of_tool("name = \"get_state\"\ncalls_per_sec = 0").contains("0.001 and 1e6"));
    let error = refused("[sessions]\nidle_timeout_secs = 1e8\n");
    assert!(error.contains("more than `sessions.idle_timeout_max_secs`"), "{error}");
}

#[test]
fn what_is_told_of_single_calls_is_checked() {
    let error = refused("[telemetry]\nslow_call_secs = -1.0\n");
    assert!(error.contains("`telemetry.slow_call_secs` must be 0 (none)"), "{error}");
    let error = refused("[telemetry]\nspans_files_max = 0\n");
    assert!(error.contains("`telemetry.spans_files_max` must lie between 1"), "{error}");
    Config::parse("[telemetry]\nslow_call_secs = 0\n", "a test", &[]).unwrap();
    let of = |text: &str| Config::parse(&format!("[telemetry.otlp]\n{text}"), "a test", &[]);
    let local = of("endpoint = \"http://127.0.0.1:4318\"");
    if cfg!(feature = "otlp") {
        local.unwrap();
        let error = of("endpoint = \"collector:4317\"").unwrap_err().to_string();
        assert!(error.contains("must be an address"), "{error}");
    } else {
        let error = local.unwrap_err().to_string();
        assert!(error.contains("built with its feature `otlp`"), "{error}");
    }
}

#[test]
fn assignments_win_over_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[sessions]\nmax = 3\n").unwrap();
    let assignments = ["sessions.max=4".to_owned(), "pool.ports.range=9000-9100".to_owned()];
    let config = Config::load(Some(file.path()), &assignments).unwrap();
    assert_eq!(config.sessions.max, 4);
    assert_eq!(config.pool.ports.range.first, 9000);
    let error = Config::load(None, &["sessions.mix=4".to_owned()]).unwrap_err();
    assert!(chain(&error).contains("did you mean `sessions.max`"), "{error}");
}

#[test]
fn an_assignment_is_one_value_of_one_key() {
    let of = |text: &str| Config::load(None, &[text.to_owned()]);
    let config = of("state_dir=1\nlog.format = 'json'").unwrap();
    assert_eq!(config.state_dir, Path::new("1\nlog.format = 'json'"));
    let error = of(&format!("{}=1", vec!["a"; 100_000].join("."))).unwrap_err();
    assert!(matches!(error, Error::Assignment(_)));
}
