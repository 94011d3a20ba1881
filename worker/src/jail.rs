//! What a worker gives up before it reads its first frame.
//!
//! The order of the layers is the content: each may take away what the next would need, so the
//! broadest come last. A layer that cannot be had on this machine is left out of the report; what
//! the report names is in force: the kernel was asked, after the layer was entered and once more
//! before the last one.
//!
//! Started by root, a worker leaves root behind: it gets namespaces and a user of its own. Started
//! by an ordinary user, it gets the namespaces where the kernel lets it.

#![expect(clippy::unnecessary_wraps, reason = "every layer has the same form")]

mod profile;
mod limits;
mod surroundings;
mod paths;
mod identity;
mod code;
mod syscalls;

use std::io;

pub use self::profile::Profile;

/// One thing given up.
#[derive(Debug)]
pub struct Layer {
    /// How the layer is called in reports.
    pub name: &'static str,
    /// What is out of reach once it is in force.
    pub takes: &'static str,
    /// Gives it up for the rest of the process's life; tells whether this machine has the layer.
    apply: fn(&Profile) -> io::Result<bool>,
    /// Asks the kernel whether the layer is in force. Every layer but the last leaves it the means.
    verify: fn(&Profile) -> bool,
}

const LAYERS: &[Layer] = &[
    // Nothing that was inherited by accident.
    Layer {
        name: "closed_descriptors",
        takes: "descriptors that were inherited by accident",
        apply: limits::close_descriptors,
        verify: limits::are_closed,
    },
    Layer {
        name: "no_core_dump",
        takes: "core dumps, to files and to programs",
        apply: limits::no_core_dump,
        verify: limits::dumps_no_core,
    },
    Layer {
        name: "memory_limit",
        takes: "address space beyond the limit",
        apply: limits::memory,
        verify: limits::has_little_memory,
    },
    Layer {
        name: "cpu_limit",
        takes: "processor time beyond the limit",
        apply: limits::cpu,
        verify: limits::has_little_cpu,
    },
    Layer {
        name: "descriptor_limit",
        takes: "descriptors beyond the limit",
        apply: limits::descriptors,
        verify: limits::has_few_descriptors,
    },
    Layer {
        name: "file_size_limit",
        takes: "files beyond the limit, also memory files and those that are open",
        apply: limits::file_size,
        verify: limits::has_short_files,
    },
    // Needs the rights that the next ones give away.
    Layer {
        name: "own_network",
        takes: "the host's network, and its System V and POSIX queues and shared memory",
        apply: surroundings::own_network,
        verify: surroundings::has_own_network,
    },
    // Without it an ordinary user may not use Landlock or seccomp.
    Layer {
        name: "no_new_privileges",
        takes: "rights gained by starting programs",
        apply: identity::no_new_privileges,
        verify: identity::gets_no_new_privileges,
    },
    // While the process still has the supervisor's user, whom nothing else would refuse: so the
    // question right after shows that the layer does.
    Layer {
        name: "no_files",
        takes: "opening, making, listing and removing any file",
        apply: paths::no_files,
        verify: paths::has_no_files,
    },
    Layer {
        name: "few_files",
        takes: "writing any file, and reading any but the system's libraries",
        apply: paths::few_files,
        verify: paths::has_no_files,
    },
    Layer {
        name: "no_tcp",
        takes: "binding and connecting TCP ports",
        apply: paths::no_tcp,
        verify: paths::has_no_tcp,
    },
    Layer {
        name: "no_outside_signals",
        takes: "signals to processes outside, and abstract sockets outside",
        apply: paths::no_outside_signals,
        verify: paths::sends_no_outside_signals,
    },
    Layer {
        name: "empty_root",
        takes: "the names of all files: the root folder is empty",
        apply: surroundings::empty_root,
        verify: surroundings::has_empty_root,
    },
    Layer {
        name: "own_user",
        takes: "the supervisor's user: no other process has this one",
        apply: identity::own_user,
        verify: identity::has_own_user,
    },
    // Counts by user.
    Layer {
        name: "thread_limit",
        takes: "threads and processes beyond the limit",
        apply: limits::threads,
        verify: limits::has_few_threads,
    },
    // After the change of user, which would forget it.
    Layer {
        name: "dies_with_parent",
        takes: "outliving the supervisor",
        apply: identity::dies_with_parent,
        verify: identity::would_die_with_parent,
    },
    Layer {
        name: "not_dumpable",
        takes: "being looked into by other processes of its user",
        apply: identity::not_dumpable,
        verify: identity::is_not_dumpable,
    },
    Layer {
        name: "no_capabilities",
        takes: "every capability",
        apply: identity::no_capabilities,
        verify: identity::has_no_capabilities,
    },
    Layer {
        name: "no_writable_code",
        takes: "making memory executable that was not from the start",
        apply: code::no_writable,
        verify: code::is_not_writable,
    },
    // Takes away even what the layers before it used.
    Layer {
        name: "few_system_calls",
        takes: "all system calls but some fifty, and the dangerous arguments of these",
        apply: syscalls::few,
        verify: syscalls::are_few,
    },
];

/// The layers that there are, in the order in which they are entered. A profile may lack some.
pub fn layers() -> &'static [Layer] {
    LAYERS
}

/// Enters every layer that there is, and names those in force.
///
/// # Errors
///
/// Fails if a layer that this machine has could not be entered: then nothing may be run.
pub fn enter(profile: &Profile) -> io::Result<Vec<String>> {
    enter_watched(profile, |_| ())
}

/// Like [`enter`], and names each layer when it is over, so that it can be measured.
///
/// # Errors
///
/// As [`enter`].
pub fn enter_watched(
    profile: &Profile,
    mut after: impl FnMut(&'static str),
) -> io::Result<Vec<String>> {
    let mut entered: Vec<&Layer> = Vec::with_capacity(LAYERS.len());
    let last = LAYERS.len() - 1;
    for (index, layer) in LAYERS.iter().enumerate() {
        if index == last {
            // One layer may undo another: a change of user, for one, forgets the parent.
            entered.retain(|layer| (layer.verify)(profile));
            after("verified again");
        }
        if !profile.without.contains(&layer.name) && is_entered(layer, profile)? {
            entered.push(layer);
        }
        after(layer.name);
    }
    Ok(entered.into_iter().map(|layer| layer.name.to_owned()).collect())
}

fn is_entered(Layer { name, apply, verify, .. }: &Layer, profile: &Profile) -> io::Result<bool> {
    match apply(profile) {
        Ok(has) => Ok(has && verify(profile)),
        Err(error) => Err(io::Error::new(error.kind(), format!("{name}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Layers that a test process has never entered, wherever it runs.
    const ABSENT: [&str; 13] = [
        "closed_descriptors",
        "no_core_dump",
        "memory_limit",
        "cpu_limit",
        "descriptor_limit",
        "file_size_limit",
        "no_files",
        "few_files",
        "no_tcp",
        "empty_root",
        "own_user",
        "not_dumpable",
        "few_system_calls",
    ];

    #[test]
    fn what_was_not_entered_is_not_verified() {
        let profile =
            Profile { memory_bytes: Some(1 << 40), cpu_secs: Some(1 << 20), ..Profile::SIMULATE };
        let _open = std::fs::File::open("/").unwrap();
        for name in ABSENT {
            let layer = layers().iter().find(|layer| layer.name == name).unwrap();
            assert!(!(layer.verify)(&profile), "{name}");
        }
    }
}
