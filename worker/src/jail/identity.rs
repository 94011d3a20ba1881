//! Who a worker is, and what that allows.

use std::io;

use caps::{CapSet, Capability};
use nix::unistd::{
    Gid, Uid, geteuid, getgroups, getpid, getppid, getresgid, getresuid, setgroups, setresgid,
    setresuid,
};
use rustix::process::{
    DumpableBehavior, Signal, dumpable_behavior, parent_process_death_signal,
    set_dumpable_behavior, set_parent_process_death_signal,
};

use super::Profile;

/// The first of the users that workers get. Beyond those that administrators and container
/// runtimes give out.
const FIRST_USER: u32 = 1_879_048_192;

/// A user that nobody else is: process ids of living processes differ, so do these.
pub(super) fn own_user(_: &Profile) -> io::Result<bool> {
    if !geteuid().is_root() {
        return Ok(false);
    }
    let own = own_id();
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

pub(super) fn has_own_user(_: &Profile) -> bool {
    let (user, group) = (Uid::from_raw(own_id()), Gid::from_raw(own_id()));
    let users = getresuid()
        .is_ok_and(|ids| [ids.real, ids.effective, ids.saved].iter().all(|id| *id == user));
    let groups = getresgid()
        .is_ok_and(|ids| [ids.real, ids.effective, ids.saved].iter().all(|id| *id == group));
    users && groups && getgroups().is_ok_and(|others| others.is_empty())
}

fn own_id() -> u32 {
    FIRST_USER + getpid().as_raw().unsigned_abs()
}

/// The kernel ends it when the thread that started it ends.
///
/// A parent that ended before would never be noticed, so it is compared. One that ended even before
/// the first look has been replaced by whoever adopts orphans, and looks alive: then the socket
/// says so, because its other end was the parent's and reading from it ends.
pub(super) fn dies_with_parent(_: &Profile) -> io::Result<bool> {
    let parent = getppid();
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() == parent {
        return Ok(true);
    }
    Err(io::Error::other("the parent has ended"))
}

pub(super) fn would_die_with_parent(_: &Profile) -> bool {
    parent_process_death_signal().is_ok_and(|signal| signal == Some(Signal::KILL))
}

/// Other processes of the same user cannot look into its memory. Left out where the supervisor is
/// that same user: it could not measure the worker any more.
pub(super) fn not_dumpable(profile: &Profile) -> io::Result<bool> {
    if !has_own_user(profile) {
        return Ok(false);
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(true)
}

pub(super) fn is_not_dumpable(_: &Profile) -> bool {
    dumpable_behavior().is_ok_and(|behaviour| behaviour == DumpableBehavior::NotDumpable)
}

/// After the change of user, which takes most of them, but not in every container.
pub(super) fn no_capabilities(_: &Profile) -> io::Result<bool> {
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(io::Error::other)?;
    }
    Ok(true)
}

pub(super) fn has_no_capabilities(_: &Profile) -> bool {
    let sets = rustix::thread::capabilities(None);
    let none = sets.is_ok_and(|sets| {
        sets.effective.is_empty() && sets.permitted.is_empty() && sets.inheritable.is_empty()
    });
    let ambient = caps::has_cap(None, CapSet::Ambient, Capability::CAP_SYS_ADMIN);
    none && ambient.is_ok_and(|has| !has)
}

/// Neither by a program's owner nor by its capabilities.
pub(super) fn no_new_privileges(_: &Profile) -> io::Result<bool> {
    // What programs could give at most. While the process may still say so: an ordinary user
    // without a user world of its own may not, and then it is the flag alone that holds.
    let each = caps::all().into_iter().map(|each| caps::drop(None, CapSet::Bounding, each));
    each.filter_map(Result::err).for_each(drop);
    rustix::thread::set_no_new_privs(true)?;
    Ok(true)
}

pub(super) fn gets_no_new_privileges(_: &Profile) -> bool {
    rustix::thread::no_new_privs().unwrap_or(false)
}
