//! Mode `compile`: one model's source in, compiled bytes out, and the process ends. Before it
//! compiles a source it edits it, if that is wanted; or it only writes it as one document.
//!
//! The compiler can hang, explode or be led to files; none of that may happen in a process that
//! lives. This one has limits on memory and processor time, no files, and a supervisor that kills
//! it when its time is over.

mod build;
mod document;
mod edit;
mod flatten;
mod keys;
pub mod scan;

use std::fs::File;
use std::os::fd::OwnedFd;

use anyhow::Context as _;
use simward_protocol::compile::{Compile, Compiled, Task};
use simward_protocol::editing::{Edit, Edited, Flattened};
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
    let Some((task, attached)) = incoming.read::<Task>().context("could not read the model")?
    else {
        return Ok(());
    };
    let file = attached.into_iter().next();
    let answered = match task {
        Task::Compile(call) => outgoing.write(&compile(&call, file)),
        Task::Flatten(call) => outgoing.write(&flatten(&call)),
        Task::Edit(call) => outgoing.write(&edit(&call, file)),
    };
    answered.context("could not answer")
}

fn compile(call: &Compile, file: Option<OwnedFd>) -> Result<Compiled, Fault> {
    let seen = scan::check(call)?;
    let build::Built { compiled, state_values, warnings } = build::build(call)?;
    if let Seen::Partly(doubt) = seen {
        return Err(scan::invalid(doubt));
    }
    keep(call.keep, &compiled, file)?;
    Ok(Compiled { bytes: compiled.len() as u64, state_values, warnings })
}

fn flatten(call: &Compile) -> Result<Flattened, Fault> {
    let mut pool = flatten::Pool::new(vec![call]);
    let document = pool.flatten(0)?;
    pool.finish(document)
}

fn edit(call: &Edit, file: Option<OwnedFd>) -> Result<Edited, Fault> {
    let (edited, compiled) = edit::edit(call)?;
    keep(call.base.keep, &compiled, file)?;
    Ok(edited)
}

fn keep(is_wanted: bool, compiled: &[u8], file: Option<OwnedFd>) -> Result<(), Fault> {
    if let (true, Some(file)) = (is_wanted, file) {
        use std::io::Write as _;
        let unreadable = |error: std::io::Error| Fault::ModelUnreadable {
            detail: format!("the compiled model could not be kept: {error}"),
        };
        File::from(file).write_all(compiled).map_err(unreadable)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
