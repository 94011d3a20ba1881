//! What it costs simulations to be measured.

use std::time::{Duration, Instant};

use serde_json::json;
use simward_tests::client::HttpClient;

use crate::Bench;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;

const SESSIONS: u32 = 100;

const TURNS: u32 = 15;

/// How long a turn lasts, and how long before it nobody looks.
const TURN: Duration = Duration::from_secs(3);
const SETTLE: Duration = Duration::from_secs(1);

/// In turns, so that what else goes on hits all of them.
const LEVELS: [&str; 3] = ["off", "basic", "detailed"];

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let server = Server::start(&bench.programs);
    let mut client = server.client();
    for _ in 0..SESSIONS {
        let room = Room::open(&mut client);
        room.load_humanoid(&mut client);
        let fast = json!({ "duration_secs": 80_000, "real_time_factor": null });
        room.tool(&mut client, "run_simulation", fast).unwrap();
    }
    let mut rates = LEVELS.map(|_| Samples::default());
    for turn in 0..bench.options.times(TURNS) as usize {
        for place in 0..LEVELS.len() {
            // Who comes first changes.
            let which = (turn + place) % LEVELS.len();
            let level = json!({ "level": LEVELS[which], "all_tenants": true });
            client.tool("enable_performance_tracking", level).unwrap();
            std::thread::sleep(SETTLE);
            let (begun, before) = (Instant::now(), steps(&mut client));
            std::thread::sleep(TURN);
            let more = steps(&mut client) - before;
            rates[which].add(more / begun.elapsed().as_secs_f64());
        }
    }
    let [off, basic, detailed] = rates.map(|rates| rates.median());
    let what = "steps of 100 humanoids that are measured (ratio: to such as are not)";
    let row = Row::new(32, what, basic, "steps/s").ratio(basic / off);
    report.add(row.ratio_at_least(0.99));
    let what = "the same measured in detail (ratio: to such as are not)";
    report.add(Row::new(32, what, detailed, "steps/s").ratio(detailed / off));
}

/// The steps of all sessions so far.
fn steps(client: &mut HttpClient) -> f64 {
    let all = client.tool("list_active_processes", json!({})).unwrap();
    let processes = all["processes"].as_array().unwrap();
    processes.iter().filter_map(|process| process["steps_total"].as_f64()).sum()
}
