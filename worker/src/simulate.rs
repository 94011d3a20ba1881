//! Mode `simulate`: two threads around one simulation.
//!
//! The main thread owns the world and is the only one inside the engine. The control thread reads
//! the socket, so that pings, withdrawals and the supervisor's end are noticed at any moment.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};
use std::thread;

use anyhow::Context as _;
use simward_protocol::handshake::{Hello, VERSION};

use crate::endpoint::{Board, Stage};
use crate::jail::Profile;
use crate::pulse::Pulse;
use crate::terms::Told;
use crate::world::World;
use crate::{channel, control, engine, jail, serve};

/// How many questions may wait. The supervisor asks one at a time; the port's threads nudge.
const JOBS_MAX: usize = 16;

/// The control thread reads frames and sets flags.
const CONTROL_STACK_BYTES: usize = 256 * 1024;

/// What the threads share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) pulse: Pulse,
    pub(crate) board: Board,
    pub(crate) stage: Stage,
    pub(crate) told: Told,
    pub(crate) started: OnceLock<std::time::Instant>,
}

/// Serves calls until the supervisor hangs up. The arguments are limits: `--memory-bytes N`.
pub(crate) fn run(args: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let profile = Profile::SIMULATE.with(args)?;
    let layers = jail::enter(&profile).context("could not enter the jail")?;
    let (incoming, outgoing) = channel::open()?;
    engine::speak_to(&outgoing);
    let hello = Hello { version: VERSION, engine: engine::name(), layers };
    outgoing.write(&hello).context("could not say hello")?;
    let shared = Arc::new(Shared::default());
    shared.started.set(std::time::Instant::now()).ok();
    let (jobs, questions) = sync_channel(JOBS_MAX);
    let world = World::new(Arc::clone(&shared), jobs.clone());
    let control = control::Control { incoming, outgoing: outgoing.clone(), jobs, shared };
    thread::Builder::new()
        .name("control".into())
        .stack_size(CONTROL_STACK_BYTES)
        .spawn(move || control.run())
        .context("could not start the control thread")?;
    serve::serve(world, &questions, &outgoing);
    Ok(())
}
