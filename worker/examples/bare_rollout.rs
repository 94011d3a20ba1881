//! The engine's own batch alone: what many simulations cost where nobody asks for them through a
//! daemon.
//!
//! `bare_rollout MODEL SIMULATIONS STEPS` takes one batch per line on its standard input, in one
//! call of the engine on all processors, and prints what it took as one line of JSON.

use std::env;
use std::io::{self, BufRead as _, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;
use serde_json::json;
use simward_worker::{Batch, INTEGRATION};

const USAGE: &str = "usage: bare_rollout MODEL SIMULATIONS STEPS";

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("bare_rollout: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> anyhow::Result<()> {
    let [path, simulations, steps] = args else { anyhow::bail!(USAGE) };
    let (simulations, steps): (i32, u64) =
        (simulations.parse().context(USAGE)?, steps.parse().context(USAGE)?);
    let model = MjModel::from_xml(path).with_context(|| format!("loading {path}"))?;
    let data = MjData::try_new(Box::new(model)).context("allocating its data")?;
    let state = data.state(INTEGRATION);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = u32::try_from(threads).unwrap_or(1);
    let mut out = io::stdout().lock();
    writeln!(out, "{}", json!({ "model": path, "threads": threads }))?;
    let ids: Vec<i32> = (0..simulations).collect();
    for line in io::stdin().lock().lines() {
        line?;
        let begun = Instant::now();
        let count = usize::try_from(simulations).unwrap_or(0);
        let batch = Batch::new(data.model(), count, threads, &state);
        let mut batch = batch.map_err(anyhow::Error::msg)?;
        batch.step(&ids, steps);
        let wall_secs = begun.elapsed().as_secs_f64();
        let all = f64::from(simulations) * f64::from(u32::try_from(steps)?);
        let per_sec = all / wall_secs;
        writeln!(out, "{}", json!({ "wall_secs": wall_secs, "steps_per_sec": per_sec }))?;
        out.flush()?;
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "it is a program's complaint to its user")]
fn complain(text: &str) {
    eprintln!("{text}");
}
