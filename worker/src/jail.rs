//! What a worker gives up before it reads its first frame.
//!
//! The order of the layers is the content: each may take away what the next would need, so the
//! broadest come last. A layer that cannot be had on this machine is left out of the report; what
//! the report names is in force.
//!
//! Started by root, a worker leaves root behind: it gets namespaces and a user of its own. Started
//! by an ordinary user, it gets the namespaces where the kernel lets it.

#![expect(clippy::unnecessary_wraps, reason = "every layer has the same form")]

mod identity;
mod limits;
mod paths;
mod syscalls;

use std::io;

pub use self::limits::Profile;

/// One thing given up.
struct Layer {
    /// How the layer is called in reports.
    name: &'static str,
    /// Gives it up for the rest of the process's life; tells whether it is in force.
    apply: fn(&Profile) -> io::Result<bool>,
}

const LAYERS: &[Layer] = &[
    // Nothing that was inherited by accident.
    Layer { name: "closed_descriptors", apply: limits::close_descriptors },
    Layer { name: "no_core_dump", apply: limits::no_core_dump },
    Layer { name: "memory_limit", apply: limits::memory },
    Layer { name: "cpu_limit", apply: limits::cpu },
    Layer { name: "descriptor_limit", apply: limits::descriptors },
    Layer { name: "file_size_limit", apply: limits::file_size },
    // Needs the rights that the next ones give away.
    Layer { name: "own_network", apply: identity::own_network },
    Layer { name: "own_user", apply: identity::own_user },
    // After the change of user, which would forget it.
    Layer { name: "dies_with_parent", apply: identity::dies_with_parent },
    Layer { name: "not_dumpable", apply: identity::not_dumpable },
    Layer { name: "no_capabilities", apply: identity::no_capabilities },
    // Without it an ordinary user may set neither of the last ones.
    Layer { name: "no_new_privileges", apply: identity::no_new_privileges },
    Layer { name: "no_files", apply: paths::no_files },
    Layer { name: "no_tcp", apply: paths::no_tcp },
    Layer { name: "no_outside_signals", apply: paths::no_outside_signals },
    // Takes away even what the layers before it used.
    Layer { name: "few_system_calls", apply: syscalls::few },
];

/// Enters every layer that there is, and names those in force.
///
/// # Errors
///
/// Fails if a layer that this machine has could not be entered: then nothing may be run.
pub fn enter(profile: &Profile) -> io::Result<Vec<String>> {
    let mut entered = Vec::with_capacity(LAYERS.len());
    for Layer { name, apply } in LAYERS {
        match apply(profile) {
            Ok(true) => entered.push((*name).to_owned()),
            Ok(false) => (),
            Err(error) => return Err(io::Error::new(error.kind(), format!("{name}: {error}"))),
        }
    }
    Ok(entered)
}
