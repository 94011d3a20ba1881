//! Workers without MuJoCo, for tests of the supervisor.
//!
//! A fake worker talks like the real one, on the same two threads, and simulates nothing but a
//! pendulum. Where it may misbehave is named by [`Manners`], whose defaults behave. The binary
//! `toy-worker` is [`Polite`]; the binary `rogue-worker` is told by its first argument what to do
//! wrong, one [`How`] at a time.
//!
//! Reading order: [`Manners`], [`how`] (what can go wrong), [`channel`] (the socket), `simulate`
//! (the two threads), `pulse` (what the one tells of the other), `world` and `pendulum` (the
//! calls), [`process`] (ways to end).

pub mod channel;
pub mod how;
pub mod process;

mod keeping;
mod pendulum;
mod pulse;
mod simulate;
mod unserved;
mod world;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use simward_protocol::compile::{Compile, Compiled, Task};
use simward_protocol::editing::{Edited, Flattened};
use simward_protocol::ending;
use simward_protocol::fault::Fault;
use simward_protocol::handshake::{Hello, VERSION};
use simward_protocol::wire::FromWorker;

use self::channel::Outgoing;
pub use self::how::How;

/// Where a fake worker may misbehave. The defaults behave.
pub trait Manners: Send + Sync {
    /// What the hello claims. Mode `simulate` only.
    fn version(&self) -> u32 {
        VERSION
    }

    /// Comes first, before the hello. Mode `simulate` only.
    fn start(&self) {}

    /// Comes right after the hello. Mode `simulate` only.
    fn greeted(&self) {}

    /// Comes before a call is carried out, on the simulation thread. `call` is its name.
    fn begin(&self, _call: &str, _outgoing: &Outgoing) {}

    /// Sends the answer to a call, on the simulation thread.
    fn answer(&self, _call: &str, answer: FromWorker, outgoing: &Outgoing) -> io::Result<()> {
        outgoing.write(&answer)
    }

    /// Whether a ping is answered.
    fn pongs(&self) -> bool {
        true
    }

    /// How long one step takes.
    fn step_takes(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether a call ends when its time is over.
    fn keeps_to_budget(&self) -> bool {
        true
    }

    /// The supervisor is gone. The process ends when this returns.
    fn hung_up(&self) {}

    /// Compiles a model, in mode `compile`.
    fn compile(&self, call: &Compile, file: Option<OwnedFd>) -> Result<Compiled, Fault> {
        compile(call, file)
    }
}

/// Behaves.
#[derive(Clone, Copy, Debug)]
pub struct Polite;

impl Manners for Polite {}

/// Runs the mode that the next argument names. What follows it is ignored: no limit applies here.
pub fn main(manners: impl Manners + 'static, mut args: impl Iterator<Item = String>) -> ExitCode {
    let outcome = match args.next().as_deref() {
        Some("simulate") => simulate::run(&(Arc::new(manners) as Arc<dyn Manners>)),
        Some("compile") => compile_one(&manners),
        _ => Err(io::Error::other("the mode must be `simulate` or `compile`")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => bad_start(&error),
    }
}

/// Complains as a worker does that cannot start.
#[expect(clippy::print_stderr, reason = "the supervisor keeps it as the last words")]
pub fn bad_start(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("fake worker: {error}");
    ExitCode::from(u8::try_from(ending::BAD_START).unwrap_or(u8::MAX))
}

/// "Compiles" whatever it is given into a single byte.
pub fn compile(call: &Compile, file: Option<OwnedFd>) -> Result<Compiled, Fault> {
    if let (true, Some(file)) = (call.keep, file) {
        let unkept = |error: io::Error| Fault::ModelUnreadable { detail: error.to_string() };
        File::from(file).write_all(b"P").map_err(unkept)?;
    }
    Ok(Compiled { bytes: 1, state_values: keeping::VALUES as u64, warnings: Vec::new() })
}

fn compile_one(manners: &impl Manners) -> io::Result<()> {
    let (mut incoming, outgoing) = channel::open()?;
    outgoing.write(&hello(VERSION))?;
    let Some((task, attached)) = incoming.read::<Task>()? else { return Ok(()) };
    let file = attached.into_iter().next();
    match task {
        Task::Compile(call) => outgoing.write(&manners.compile(&call, file)),
        Task::Flatten(call) => outgoing.write(&Ok::<_, Fault>(as_it_is(&call))),
        Task::Edit(call) => {
            let compiled = manners.compile(&call.base, file);
            outgoing
                .write(&compiled.map(|compiled| Edited { source: as_it_is(&call.base), compiled }))
        }
    }
}

/// The document of a source, whatever was to be changed in it.
fn as_it_is(call: &Compile) -> Flattened {
    Flattened { model_xml: call.model_xml.clone(), assets: Vec::new() }
}

/// No layer of isolation is claimed, because there is none.
fn hello(version: u32) -> Hello {
    Hello { version, engine: "Pendulum 1.0.0".into(), layers: Vec::new() }
}
