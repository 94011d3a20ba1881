//! The engine's compiler alone: what a model costs to compile where no other process does it.
//!
//! `bare_compile MODEL` compiles the model once per line on its standard input, and prints what it
//! took as one line of JSON.

use std::env;
use std::io::{self, BufRead as _, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use mujoco_rs::wrappers::mj_cache::MjCache;
use mujoco_rs::wrappers::mj_model::MjModel;
use serde_json::json;

const USAGE: &str = "usage: bare_compile MODEL";

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("bare_compile: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> anyhow::Result<()> {
    let [path] = args else { anyhow::bail!(USAGE) };
    // Meshes that were processed before would be found in it, which a new process has not.
    MjCache::current().set_capacity(0);
    let mut out = io::stdout().lock();
    writeln!(out, "{}", json!({ "model": path }))?;
    for line in io::stdin().lock().lines() {
        line?;
        let begun = Instant::now();
        let model = MjModel::from_xml(path).with_context(|| format!("compiling {path}"))?;
        let wall_secs = begun.elapsed().as_secs_f64();
        drop(model);
        writeln!(out, "{}", json!({ "wall_secs": wall_secs }))?;
        out.flush()?;
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "it is a program's complaint to its user")]
fn complain(text: &str) {
    eprintln!("{text}");
}
