//! What cannot be reached by name any more, by Landlock. What is open stays open.
//!
//! Each layer is a ruleset of its own, demanded whole: so the report says what this kernel has.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::TcpListener;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};
use nix::sys::signal::kill;
use nix::unistd::getppid;

use super::Profile;

/// No file can be opened.
pub(super) fn no_files(profile: &Profile) -> io::Result<bool> {
    Ok(profile.readable.is_empty() && has_version(profile, 1) && is_entered(files(profile)))
}

/// No file can be opened but those that the profile names.
pub(super) fn few_files(profile: &Profile) -> io::Result<bool> {
    if profile.readable.is_empty() || !has_version(profile, 1) {
        return Ok(false);
    }
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let used = read | AccessFs::WriteFile | AccessFs::IoctlDev;
    let ruleset = files(profile)
        .map(|ruleset| ruleset.set_compatibility(CompatLevel::BestEffort))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(profile.readable, read)))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(profile.devices, used)));
    Ok(is_entered(ruleset))
}

/// The root folder, which everybody could list, cannot be listed.
pub(super) fn has_no_files(_: &Profile) -> bool {
    File::open("/").is_err()
}

/// No TCP port can be bound or connected to. Linux 6.7.
pub(super) fn no_tcp(profile: &Profile) -> io::Result<bool> {
    let ruleset = demanding().handle_access(AccessNet::from_all(ABI::V4));
    Ok(has_version(profile, 4) && is_entered(ruleset.and_then(Ruleset::create)))
}

pub(super) fn has_no_tcp(_: &Profile) -> bool {
    TcpListener::bind("0.0.0.0:0").is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// No signal reaches a process outside, and no abstract socket outside is reached. Linux 6.12.
pub(super) fn no_outside_signals(profile: &Profile) -> io::Result<bool> {
    let ruleset = demanding().scope(Scope::from_all(ABI::V6));
    Ok(has_version(profile, 6) && is_entered(ruleset.and_then(Ruleset::create)))
}

/// The parent, who could be sent one before, cannot be sent a signal. A parent that cannot be seen,
/// beyond a namespace, tells nothing.
pub(super) fn sends_no_outside_signals(_: &Profile) -> bool {
    kill(getppid(), None) == Err(nix::errno::Errno::EPERM)
}

fn has_version(profile: &Profile, version: i32) -> bool {
    version <= profile.landlock
}

/// Governs all there is to do with files.
fn files(profile: &Profile) -> Result<RulesetCreated, RulesetError> {
    // What every Landlock knows, opening files for reading and writing included, is demanded;
    // what later ones know besides is taken where it is.
    let latest = AccessFs::from_all(ABI::from(profile.landlock.min(ABI::V5 as i32)));
    let demanded = demanding().handle_access(AccessFs::from_all(ABI::V1))?;
    demanded.set_compatibility(CompatLevel::BestEffort).handle_access(latest)?.create()
}

fn demanding() -> Ruleset {
    Ruleset::default().set_compatibility(CompatLevel::HardRequirement)
}

/// An error means that this kernel lacks it.
fn is_entered(ruleset: Result<RulesetCreated, RulesetError>) -> bool {
    ruleset
        .and_then(RulesetCreated::restrict_self)
        .is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}
