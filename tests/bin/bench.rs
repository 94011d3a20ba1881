//! The benchmark: the promised numbers, measured on the real programs.
//!
//! `make bench` builds everything in release mode and runs this. It starts its own daemons, takes
//! turns with what it compares them with, and prints one table. A number that is not reached is no
//! failure; only what does not work at all is.

#![deny(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]
#![expect(clippy::disallowed_methods, reason = "a benchmark starts processes and waits for them")]
#![expect(clippy::print_stdout, reason = "its table is what it is for")]
#![expect(clippy::print_stderr, reason = "it says there what it is doing")]

#[path = "bench/bare.rs"]
mod bare;
#[path = "bench/census.rs"]
mod census;
#[path = "bench/conversing.rs"]
mod conversing;
#[path = "bench/crowd.rs"]
mod crowd;
#[path = "bench/disturbing.rs"]
mod disturbing;
#[path = "bench/drawing.rs"]
mod drawing;
#[path = "bench/echoing.rs"]
mod echoing;
#[path = "bench/flooding.rs"]
mod flooding;
#[path = "bench/hanging.rs"]
mod hanging;
#[path = "bench/hibernating.rs"]
mod hibernating;
#[path = "bench/keeping.rs"]
mod keeping;
#[path = "bench/killing.rs"]
mod killing;
#[path = "bench/loading.rs"]
mod loading;
#[path = "bench/machine.rs"]
mod machine;
#[path = "bench/memory.rs"]
mod memory;
#[path = "bench/observing.rs"]
mod observing;
#[path = "bench/options.rs"]
mod options;
#[path = "bench/peers.rs"]
mod peers;
#[path = "bench/pipe.rs"]
mod pipe;
#[path = "bench/process.rs"]
mod process;
#[path = "bench/programs.rs"]
mod programs;
#[path = "bench/profiling.rs"]
mod profiling;
#[path = "bench/prying.rs"]
mod prying;
#[path = "bench/reading.rs"]
mod reading;
#[path = "bench/recovery.rs"]
mod recovery;
#[path = "bench/remembering.rs"]
mod remembering;
#[path = "bench/report.rs"]
mod report;
#[path = "bench/restarting.rs"]
mod restarting;
#[path = "bench/rolling.rs"]
mod rolling;
#[path = "bench/rooms.rs"]
mod rooms;
#[path = "bench/sampling.rs"]
mod sampling;
#[path = "bench/server.rs"]
mod server;
#[path = "bench/shared.rs"]
mod shared;
#[path = "bench/soak.rs"]
mod soak;
#[path = "bench/spanning.rs"]
mod spanning;
#[path = "bench/starting.rs"]
mod starting;
#[path = "bench/stats.rs"]
mod stats;
#[path = "bench/stepping.rs"]
mod stepping;
#[path = "bench/tracks.rs"]
mod tracks;
#[path = "bench/watching.rs"]
mod watching;
#[path = "bench/wire.rs"]
mod wire;

use std::process::ExitCode;

use serde_json::json;

use self::machine::Machine;
use self::options::Options;
use self::programs::Programs;
use self::report::Report;

/// What every measurement is given.
struct Bench {
    options: Options,
    programs: Programs,
}

type Measure = fn(&Bench, &mut Report);

/// The measurements, by the number of the promise that they check.
const PARTS: [(u32, &str, Measure); 27] = [
    (1, "sessions created and closed in sequence", starting::measure),
    (2, "memory", memory::measure),
    (3, "humanoid steps", stepping::humanoid),
    (4, "get_state", reading::measure),
    (5, "pendulum steps", stepping::pendulum),
    (6, "many sessions", crowd::measure),
    (7, "killed workers", killing::measure),
    (8, "sessions that are brought back", recovery::measure),
    (8, "workers that hang", hanging::measure),
    (8, "a daemon that was killed", restarting::measure),
    (9, "checkpoints", keeping::measure),
    (10, "minutes of disturbances", soak::measure),
    (11, "hibernated sessions", hibernating::measure),
    (13, "rollouts", rolling::measure),
    (14, "pictures", drawing::measure),
    (16, "models", loading::measure),
    (17, "viewers", watching::measure),
    (18, "calls over HTTP that do nothing", echoing::measure),
    (19, "the same of others", echoing::among_peers),
    (20, "tenants, one of which floods", flooding::measure),
    (21, "conversations of the older protocol", conversing::measure),
    (22, "refusals of somebody else's handle", prying::measure),
    (23, "spans", spanning::measure),
    (30, "profiles", profiling::measure),
    (31, "a thousand workers that are measured", sampling::measure),
    (32, "steps that are measured", observing::measure),
    (33, "a year of measurements", remembering::measure),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let options = Options::parse(std::env::args().skip(1))?;
    let programs = Programs::find()?;
    let machine = Machine::look();
    println!("{machine}\n{}", programs.versions());
    let bench = Bench { options, programs };
    let mut report = Report::default();
    for (number, name, measure) in PARTS {
        if bench.options.wants(number) {
            eprintln!("{number}: {name} …");
            measure(&bench, &mut report);
        }
    }
    println!("\n{report}\nload afterwards {}", machine::load());
    if let Some(path) = &bench.options.json {
        let facts = json!({
            "machine": machine.to_json(),
            "programs": bench.programs.versions(),
            "quick": bench.options.quick,
            "measured": report.to_json(),
        });
        let written = std::fs::write(path, format!("{facts:#}\n"));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
