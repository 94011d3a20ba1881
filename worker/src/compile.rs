//! Mode `compile`: one model's source in, compiled bytes out, and the process ends.
//!
//! The compiler can hang, explode or be led to files; none of that may happen in a process that
//! lives. This one has limits on memory and processor time, no files, and a supervisor that kills
//! it when its time is over.

mod build;
pub mod scan;

use std::fs::File;
use std::os::fd::OwnedFd;

use anyhow::Context as _;
use simward_protocol::compile::{Compile, Compiled};
use simward_protocol::fault::Fault;
use simward_protocol::handshake::{Hello, VERSION};

use self::scan::Seen;
use crate::jail::{self, Profile};
use crate::{channel, complain, engine};

/// Compiles one model. The arguments are limits: `--memory-bytes N` and `--cpu-secs N`.
pub(crate) fn run(args: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let profile = Profile::COMPILE.with(args)?;
    let layers = jail::enter(&profile).context("could not enter the jail")?;
    let (mut incoming, outgoing) = channel::open()?;
    // The supervisor keeps the end of what is said here.
    engine::speak(Box::new(|text| complain(&text)));
    let hello = Hello { version: VERSION, engine: engine::name(), layers };
    outgoing.write(&hello).context("could not say hello")?;
    let Some((call, attached)) = incoming.read::<Compile>().context("could not read the model")?
    else {
        return Ok(());
    };
    let outcome = compile(&call, attached.into_iter().next());
    outgoing.write(&outcome).context("could not answer")?;
    Ok(())
}

fn compile(call: &Compile, file: Option<OwnedFd>) -> Result<Compiled, Fault> {
    let seen = scan::check(call)?;
    let build::Built { compiled, state_values, warnings } = build::build(call)?;
    if let Seen::Partly(doubt) = seen {
        return Err(scan::invalid(doubt));
    }
    if let (true, Some(file)) = (call.keep, file) {
        use std::io::Write as _;
        let unreadable = |error: std::io::Error| Fault::ModelUnreadable {
            detail: format!("the compiled model could not be kept: {error}"),
        };
        File::from(file).write_all(&compiled).map_err(unreadable)?;
    }
    Ok(Compiled { bytes: compiled.len() as u64, state_values, warnings })
}
