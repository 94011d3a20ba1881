//! What cannot be reached by name any more, by Landlock. What is open stays open.
//!
//! Each layer is a ruleset of its own, demanded whole: so the report says what this kernel has.

use std::io;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetStatus, Scope,
};

use super::Profile;

/// No file can be opened.
pub(super) fn no_files(_: &Profile) -> io::Result<bool> {
    // What every Landlock knows, opening files for reading and writing included, is demanded;
    // what later ones know besides is taken where it is.
    let demanded = demanding().handle_access(AccessFs::from_all(ABI::V1));
    let whole = demanded.map(|ruleset| ruleset.set_compatibility(CompatLevel::BestEffort));
    let whole = whole.and_then(|ruleset| ruleset.handle_access(AccessFs::from_all(ABI::V5)));
    Ok(is_entered(whole.and_then(Ruleset::create)))
}

/// No TCP port can be bound or connected to. Linux 6.7.
pub(super) fn no_tcp(_: &Profile) -> io::Result<bool> {
    let ruleset = demanding().handle_access(AccessNet::from_all(ABI::V4));
    Ok(is_entered(ruleset.and_then(Ruleset::create)))
}

/// No signal reaches a process outside, and no abstract socket outside is reached. Linux 6.12.
pub(super) fn no_outside_signals(_: &Profile) -> io::Result<bool> {
    let ruleset = demanding().scope(Scope::from_all(ABI::V6));
    Ok(is_entered(ruleset.and_then(Ruleset::create)))
}

fn demanding() -> Ruleset {
    Ruleset::default().set_compatibility(CompatLevel::HardRequirement)
}

/// An error means that this kernel lacks it.
fn is_entered(ruleset: Result<RulesetCreated, landlock::RulesetError>) -> bool {
    ruleset
        .and_then(RulesetCreated::restrict_self)
        .is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}
