//! What a checkpoint costs, beside what it is taken of: the worker's own code, without a daemon.
//!
//! `commit_cost MODEL FILE ROUNDS` makes a checkpoint at FILE and takes ROUNDS times one step and
//! one checkpoint, while the file is brought to the disk every second as the daemon does. It prints
//! one line of JSON: how many values the state has, and the median of each in microseconds.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{env, io};

use anyhow::Context as _;
use mujoco_rs::mujoco_c::mjtState;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;
use serde_json::json;
use simward_protocol::checkpoint::{self, Kept};
use simward_worker::Checkpoint;

const USAGE: &str = "usage: commit_cost MODEL FILE ROUNDS";

/// What the daemon keeps.
const INTEGRATION: u32 = mjtState::mjSTATE_INTEGRATION as u32;

/// How often the daemon brings checkpoints to the disk.
const SYNC: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("commit_cost: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> anyhow::Result<()> {
    let [model, path, rounds] = args else { anyhow::bail!(USAGE) };
    let rounds: u64 = rounds.parse().context(USAGE)?;
    let mut data = load(Path::new(model))?;
    let values = data.model().state_size(INTEGRATION);
    let file = empty(path, values).with_context(|| format!("making {path}"))?;
    let synced = file.try_clone()?;
    let mut checkpoint = Checkpoint::create(&file.into(), values).map_err(anyhow::Error::msg)?;
    let (done, wait) = channel();
    let syncing = std::thread::spawn(move || sync(&synced, &wait));
    let (mut steps, mut commits) = (Vec::new(), Vec::new());
    for call in 1..=rounds {
        let begun = Instant::now();
        data.step();
        let stepped = Instant::now();
        checkpoint.keep(call, &Kept::default(), |state| {
            data.read_state_into(INTEGRATION, state);
        });
        commits.push(stepped.elapsed());
        steps.push(stepped - begun);
    }
    drop(done);
    syncing.join().map_err(|_panic| anyhow::anyhow!("the thread that syncs has panicked"))??;
    say(&json!({
        "values": values,
        "file_bytes": checkpoint::file_bytes(values as u64),
        "step_micros": median(steps),
        "commit_micros": median(commits),
    }));
    Ok(())
}

fn load(path: &Path) -> anyhow::Result<MjData<Box<MjModel>>> {
    let model = MjModel::from_xml(path).with_context(|| format!("loading {}", path.display()))?;
    MjData::try_new(Box::new(model)).context("allocating its data")
}

/// An empty file of a checkpoint's length, whose space is taken as the daemon takes it.
fn empty(path: &str, values: usize) -> anyhow::Result<File> {
    let bytes = checkpoint::file_bytes(values as u64).context("the state is too large")?;
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
    Ok(file)
}

/// Brings the file to the disk in rounds until nobody writes to it any more.
fn sync(file: &File, wait: &Receiver<()>) -> io::Result<()> {
    while wait.recv_timeout(SYNC) == Err(RecvTimeoutError::Timeout) {
        file.sync_data()?;
    }
    Ok(())
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e6
}

#[expect(clippy::print_stdout, reason = "it is what the user asked for")]
fn say(report: &serde_json::Value) {
    println!("{report}");
}

#[expect(clippy::print_stderr, reason = "it is a program's complaint to its user")]
fn complain(text: &str) {
    eprintln!("{text}");
}
