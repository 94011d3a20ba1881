//! Who a worker is, and in which world.

use std::io;

use caps::{CapSet, Capability};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, geteuid, getpid, setgroups, setresgid, setresuid};
use rustix::process::{
    DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal,
};

use super::Profile;

/// The first of the users that workers get. Beyond those that administrators and container
/// runtimes give out.
const FIRST_USER: u32 = 1_879_048_192;

/// A network and an IPC world without anything in it. An ordinary user needs a user world around
/// them, which some systems forbid.
pub(super) fn own_network(_: &Profile) -> io::Result<bool> {
    let worlds = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC;
    if unshare(worlds).is_ok() {
        return Ok(true);
    }
    Ok(unshare(CloneFlags::CLONE_NEWUSER | worlds).is_ok())
}

/// A user that nobody else is: process ids of living processes differ, so do these.
pub(super) fn own_user(_: &Profile) -> io::Result<bool> {
    if !geteuid().is_root() {
        return Ok(false);
    }
    let own = FIRST_USER + getpid().as_raw().unsigned_abs();
    let (user, group) = (Uid::from_raw(own), Gid::from_raw(own));
    // In a container that maps few users there is no such user; then root stays root, without
    // capabilities.
    let changed = setgroups(&[])
        .and_then(|()| setresgid(group, group, group))
        .and_then(|()| setresuid(user, user, user));
    match changed {
        Ok(()) => Ok(true),
        Err(_) if geteuid().is_root() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn dies_with_parent(_: &Profile) -> io::Result<bool> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(true)
}

/// Other processes of the same user cannot look into its memory. Left out where the supervisor is
/// that same user: it could not measure the worker any more.
pub(super) fn not_dumpable(_: &Profile) -> io::Result<bool> {
    if geteuid().as_raw() < FIRST_USER {
        return Ok(false);
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(true)
}

pub(super) fn no_capabilities(_: &Profile) -> io::Result<bool> {
    // Fails for an ordinary user, who has none to give and gains none by `no_new_privileges`.
    let each = caps::all().into_iter().map(|each| caps::drop(None, CapSet::Bounding, each));
    each.filter_map(Result::err).for_each(drop);
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(io::Error::other)?;
    }
    let left = caps::has_cap(None, CapSet::Permitted, Capability::CAP_SYS_ADMIN);
    Ok(left.is_ok_and(|left| !left))
}

pub(super) fn no_new_privileges(_: &Profile) -> io::Result<bool> {
    rustix::thread::set_no_new_privs(true)?;
    Ok(true)
}
