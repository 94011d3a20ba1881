//! One simulation in one process.
//!
//! A worker is given a socket as its standard input. In mode `simulate` it serves the calls of one
//! session (or, shared, of several sessions of one tenant) until the socket closes; in mode
//! `compile` it turns one model's source into compiled bytes and ends.
//!
//! Reading order: `channel` (the socket), `jail` (what is given up), `simulate` (the two
//! threads), `control`, `serve`, `world` and `handlers` (the calls), `endpoint` (the
//! session's port), `compile`, `engine` (MuJoCo's own voice), `exit`.

#![deny(unsafe_code)]

mod channel;
mod compile;
mod control;
mod endpoint;
mod engine;
mod exit;
mod handlers;
pub mod jail;
mod pulse;
mod serve;
mod simulate;
mod terms;
mod world;

use std::process::ExitCode;

use simward_protocol::ending;

/// For the measurement of what a checkpoint costs, and for nothing else.
#[doc(hidden)]
pub use self::world::keeping::Checkpoint;
/// For the measurement of what a rollout costs, and for nothing else.
#[doc(hidden)]
pub use self::world::{batch::Batch, simulation::INTEGRATION};

/// For the renderer, which is another program of the same kind.
#[doc(hidden)]
pub mod kin {
    use mujoco_rs::wrappers::mj_model::MjModel;
    use simward_protocol::fault::Fault;

    pub use crate::channel::{Incoming, Outgoing, open};
    pub use crate::complain;
    pub use crate::engine::{name, speak};
    pub use crate::exit::now as exit_now;
    pub use crate::world::keeping::{Checkpoint, Found};
    pub use crate::world::modified::Modifications;
    pub use crate::world::simulation::{DIVERGENCES, INTEGRATION, check_timestep};

    /// The index of the camera of that name.
    pub fn camera(model: &MjModel, name: &str) -> Result<usize, Fault> {
        crate::world::names::find(model, crate::world::names::Kind::Camera, name)
    }
}

/// For the fuzz targets.
#[doc(hidden)]
pub use crate::compile::scan;

/// Runs the mode that the first argument names.
pub fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let outcome = match args.next().as_deref() {
        Some("simulate") => simulate::run(args),
        Some("compile") => compile::run(args),
        Some("--version") => return version(),
        _ => Err(anyhow::anyhow!("the first argument must be `simulate` or `compile`")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("simward-worker: {error:#}"));
            exit::now(ending::BAD_START)
        }
    }
}

#[expect(clippy::print_stdout, reason = "it is what the user asked for")]
fn version() -> ExitCode {
    println!("simward-worker {} ({})", env!("CARGO_PKG_VERSION"), engine::name());
    ExitCode::SUCCESS
}

/// Says something to standard error.
#[expect(clippy::print_stderr, reason = "the supervisor keeps it as the last words")]
pub fn complain(text: &str) {
    eprintln!("{text}");
}
