//! What it costs a simulation to be profiled.

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::wait::wait_until;

use crate::Bench;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;

const STEPS: u32 = 40_000;

const TURNS: u32 = 12;

/// Longer than one call takes.
const DURATION_SECS: u32 = 60;

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let sampled = json!({ "kind": "cpu", "frequency_hz": 99 });
    let what = "a humanoid step, CPU of the worker while it is sampled at 99 Hz (ratio: unsampled)";
    compare(bench, report, (what, sampled, Some(1.01)));
    let sampled = json!({ "kind": "cpu", "frequency_hz": 999 });
    let what = "the same at 999 Hz (ratio: unsampled)";
    compare(bench, report, (what, sampled, None));
    let what = "the same while its phases are timed (ratio: untimed)";
    compare(bench, report, (what, json!({ "kind": "phases" }), None));
}

/// Takes turns: each call steps as often, with a profile and without.
fn compare(bench: &Bench, report: &mut Report, what: (&str, Value, Option<f64>)) {
    let (what, mut ask, at_most) = what;
    let (mut alone, mut profiled) = (Samples::default(), Samples::default());
    ask["duration_secs"] = json!(DURATION_SECS);
    for turn in 0..bench.options.times(TURNS) {
        for is_profiled in [turn % 2 == 0, turn % 2 != 0] {
            // A profile ends with its daemon.
            let server = Server::start(&bench.programs);
            let mut client = server.client();
            let room = Room::open(&mut client);
            room.load_humanoid(&mut client);
            room.tool(&mut client, "step_simulation", json!({ "steps": 1000 })).unwrap();
            if is_profiled {
                match room.tool(&mut client, "start_profiling", ask.clone()) {
                    Ok(begun) => wait_until_it_sees(&mut client, &room, &begun["profile_id"]),
                    Err(refused) => {
                        eprintln!("not measured: {}", refused["message"]);
                        return;
                    }
                }
            }
            let before = accounts(&mut client);
            room.tool(&mut client, "step_simulation", json!({ "steps": STEPS })).unwrap();
            let after = accounts(&mut client);
            let micros = (after.0 - before.0) * 1e6 / (after.1 - before.1);
            if is_profiled { profiled.add(micros) } else { alone.add(micros) }
        }
    }
    let (alone, profiled) = (alone.median(), profiled.median());
    let row = Row::new(30, what, profiled, "µs").ratio(profiled / alone);
    report.add(match at_most {
        Some(ratio) => row.ratio_at_most(ratio),
        None => row,
    });
}

fn wait_until_it_sees(client: &mut HttpClient, room: &Room, profile: &Value) {
    wait_until("the profile sees something", || {
        room.tool(client, "step_simulation", json!({ "steps": 1000 })).unwrap();
        let report = client.tool("get_profile_results", json!({ "profile_id": profile })).unwrap();
        report["seen"].as_u64() != Some(0)
    });
}

/// The worker's processor time in seconds, and its steps.
fn accounts(client: &mut HttpClient) -> (f64, f64) {
    let all = client.tool("list_active_processes", json!({})).unwrap();
    let own = &all["processes"][0];
    (own["cpu_secs_total"].as_f64().unwrap(), own["steps_total"].as_f64().unwrap())
}
