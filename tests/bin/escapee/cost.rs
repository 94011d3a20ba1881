//! How long each layer takes.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use simward_worker::jail::{self, Profile};

/// Fresh processes, because a jail can be entered once only.
const PROCESSES: usize = 30;

/// Prints the medians over many processes; in each of these, what one found.
pub(crate) fn print(profile: &Profile) {
    let args: Vec<String> = std::env::args().collect();
    if args.get(3).is_some_and(|arg| arg == "once") {
        println!("{}", once(profile));
        return;
    }
    let mut order = Vec::new();
    let mut found: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..PROCESSES {
        let mut again = Command::new(std::env::current_exe().unwrap());
        let output = again.args(["cost", &args[2], "once"]).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let each: Value = serde_json::from_slice(&output.stdout).unwrap();
        order = each.as_array().unwrap().iter().map(|pair| name(pair).to_owned()).collect();
        for pair in each.as_array().unwrap() {
            found.entry(name(pair).to_owned()).or_default().push(pair[1].as_f64().unwrap());
        }
    }
    for name in order {
        let times = found.get_mut(&name).unwrap();
        times.sort_by(f64::total_cmp);
        println!(
            "{name:20} {:8.1} µs  (from {:.1} to {:.1})",
            times[times.len() / 2],
            times[0],
            times[times.len() - 1],
        );
    }
}

fn name(pair: &Value) -> &str {
    pair[0].as_str().unwrap()
}

fn once(profile: &Profile) -> Value {
    let begin = Instant::now();
    let mut last = begin;
    let mut found = Vec::new();
    let micros = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1e6;
    let layers = jail::enter_watched(profile, |name| {
        let now = Instant::now();
        found.push(json!([name, micros(last, now)]));
        last = Instant::now();
    });
    found.push(json!(["all", micros(begin, Instant::now())]));
    assert!(!layers.unwrap().is_empty(), "there is no layer to measure");
    found.into()
}
