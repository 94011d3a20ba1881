//! What a worker gives up before it reads its first frame.
//!
//! The order of the layers is the content: each may take away what the next would need, so the
//! broadest come last. A layer that cannot be had on this machine is left out of the report; what
//! the report names is in force.

use std::io;

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetStatus,
};
use rustix::process::{Resource, Rlimit, setrlimit};

/// What a mode may use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// Address space, in bytes.
    pub(crate) memory_bytes: Option<u64>,
    /// Processor time, in seconds.
    pub(crate) cpu_secs: Option<u64>,
}

/// One thing given up.
struct Layer {
    /// How the layer is called in reports.
    name: &'static str,
    /// Gives it up for the rest of the process's life; tells whether it is in force.
    apply: fn(&Limits) -> io::Result<bool>,
}

const LAYERS: &[Layer] = &[
    Layer { name: "no_core_dump", apply: no_core_dump },
    Layer { name: "memory_limit", apply: memory_limit },
    Layer { name: "cpu_limit", apply: cpu_limit },
    Layer { name: "no_new_privileges", apply: no_new_privileges },
    Layer { name: "no_files", apply: no_files },
];

/// Enters every layer that there is, and names those in force.
pub(crate) fn enter(limits: &Limits) -> io::Result<Vec<String>> {
    let mut entered = Vec::with_capacity(LAYERS.len());
    for Layer { name, apply } in LAYERS {
        match apply(limits) {
            Ok(true) => entered.push((*name).to_owned()),
            Ok(false) => (),
            Err(error) => return Err(io::Error::new(error.kind(), format!("{name}: {error}"))),
        }
    }
    Ok(entered)
}

fn no_core_dump(_: &Limits) -> io::Result<bool> {
    limit(Resource::Core, 0)
}

fn memory_limit(limits: &Limits) -> io::Result<bool> {
    limits.memory_bytes.map_or(Ok(false), |bytes| limit(Resource::As, bytes))
}

fn cpu_limit(limits: &Limits) -> io::Result<bool> {
    limits.cpu_secs.map_or(Ok(false), |secs| limit(Resource::Cpu, secs))
}

fn no_new_privileges(_: &Limits) -> io::Result<bool> {
    rustix::thread::set_no_new_privs(true)?;
    Ok(true)
}

/// No file can be opened any more, by Landlock. What is open stays open.
#[expect(clippy::unnecessary_wraps, reason = "every layer has the same form")]
fn no_files(_: &Limits) -> io::Result<bool> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self);
    // A kernel without Landlock leaves the layer out; a partly enforced one denies every access
    // that this kernel's Landlock knows, opening files included.
    Ok(ruleset.is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced))
}

fn limit(resource: Resource, value: u64) -> io::Result<bool> {
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?;
    Ok(true)
}
