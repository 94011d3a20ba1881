//! The engine alone: what `mj_step` costs where nobody asks for it through a daemon.
//!
//! `bare_loop MODEL STEPS BATCHES` takes STEPS steps BATCHES times, and prints what each batch took
//! as one line of JSON. With `-` for BATCHES it takes one batch per line on its standard input, so
//! that a benchmark can take turns with it.

use std::env;
use std::io::{self, BufRead as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;
use serde_json::json;

const USAGE: &str = "usage: bare_loop MODEL STEPS BATCHES, with - for a batch per line of input";

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("bare_loop: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> anyhow::Result<()> {
    let [model, steps, batches] = args else { anyhow::bail!(USAGE) };
    let steps = steps.parse().context(USAGE)?;
    let mut data = load(Path::new(model))?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", json!({ "model": model, "nv": data.model().ffi().nv }))?;
    if batches == "-" {
        for line in io::stdin().lock().lines() {
            line?;
            batch(&mut data, steps, &mut out)?;
        }
    } else {
        for _ in 0..batches.parse::<u64>().context(USAGE)? {
            batch(&mut data, steps, &mut out)?;
        }
    }
    Ok(())
}

fn load(path: &Path) -> anyhow::Result<MjData<Box<MjModel>>> {
    let model = MjModel::from_xml(path).with_context(|| format!("loading {}", path.display()))?;
    MjData::try_new(Box::new(model)).context("allocating its data")
}

fn batch(
    data: &mut MjData<Box<MjModel>>,
    steps: u64,
    out: &mut impl io::Write,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    for _ in 0..steps {
        data.step();
    }
    let wall_secs = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "nobody takes 2^53 steps")]
    let per_sec = steps as f64 / wall_secs;
    let report = json!({ "steps": steps, "wall_secs": wall_secs, "steps_per_sec": per_sec });
    writeln!(out, "{report}")?;
    Ok(out.flush()?)
}

#[expect(clippy::print_stderr, reason = "it is a program's complaint to its user")]
fn complain(text: &str) {
    eprintln!("{text}");
}
