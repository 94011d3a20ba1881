//! What holds one process to its limits: its control group where there is one, and otherwise looks
//! at what it uses.
//!
//! What is said to be enforced was read back from the kernel, or is looked at.

use std::collections::BTreeMap;
use std::io;

use super::accounts::{Full, Member};
use super::groups::{By, Enforced, Group, Groups, Limits, What};
use super::process::Exit;
use super::reading;
use super::watchdog::{self, Exceeded, Watched};

/// The signal by which the kernel ends a group that needs too much memory.
const SIGKILL: i32 = 9;

/// What the kernel counts more than a process has, and less than a limit that it reached.
const SLACK_BYTES: u64 = 1 << 20;

/// By what each limit is enforced, by its name.
pub type Enforcement = BTreeMap<String, String>;

/// Holds one process to its limits.
#[derive(Debug, Default)]
pub struct Guard {
    pid: i32,
    limits: Limits,
    group: Option<Group>,
    watched: Option<Watched>,
    /// What no group enforces.
    looked_at: watchdog::Limits,
    /// What the process had too much of.
    exceeded: Option<Exceeded>,
    enforcement: Enforcement,
    /// Its part in its tenant's account. After the group, which is under the account's.
    member: Option<Member>,
}

/// Limits that cannot be put in force on a process as it is.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It uses more memory already.
    #[error(
        "its process uses {used_bytes} bytes of memory now, and {limit_bytes} would be allowed"
    )]
    InUse {
        /// What it uses.
        used_bytes: u64,
        /// What it should.
        limit_bytes: u64,
    },
    /// Its tenant has not so much left.
    #[error(transparent)]
    Tenant(#[from] Full),
    /// The kernel says no.
    #[error("the kernel refuses the limit")]
    Kernel(#[source] io::Error),
}

impl Guard {
    /// Holds a process that was just started. Where it cannot be, the report says so.
    pub(super) fn new(groups: &Groups, limits: Limits, member: Option<Member>, pid: i32) -> Self {
        // One that may get other limits has a group from its beginning: what it takes before it is
        // in one would be on nobody's account.
        if limits == Limits::default() && member.is_none() {
            return Self::default();
        }
        let own = member.as_ref().map_or(limits, |member| member.within(&limits));
        let umbrella = member.as_ref().and_then(Member::umbrella);
        let made = umbrella.map_or_else(|| groups.make(&own), |umbrella| umbrella.make(&own));
        let entered = made.and_then(|group| group.enter(pid).map(|()| group));
        let group = entered
            .inspect_err(|error| tracing::debug!(pid, %error, "a worker has no control group"))
            .ok();
        let mut guard = Self { pid, limits, group, member, ..Self::default() };
        guard.look_what_is_in_force();
        guard
    }

    /// Other limits from now on; if they cannot be, those before stay.
    pub(crate) fn change(&mut self, limits: Limits) -> Result<(), Unfit> {
        let lowered = limits
            .memory_bytes
            .filter(|bytes| self.limits.memory_bytes.is_none_or(|before| *bytes < before));
        if let Some(limit_bytes) = lowered {
            let used_bytes = self.memory_bytes();
            if limit_bytes < used_bytes {
                return Err(Unfit::InUse { used_bytes, limit_bytes });
            }
        }
        // Whichever of both is in force in the end is claimed until then: what it had is nobody
        // else's before it is given up.
        self.claim(&wider(&self.limits, &limits))?;
        if let Some(group) = &self.group
            && let Err(error) = group.set(&self.within(&limits))
        {
            group.set(&self.within(&self.limits)).ok();
            self.claim(&self.limits)?;
            self.look_what_is_in_force();
            return Err(Unfit::Kernel(error));
        }
        self.claim(&limits)?;
        self.limits = limits;
        self.look_what_is_in_force();
        Ok(())
    }

    /// What the process uses, in bytes, by whoever counts more of it.
    fn memory_bytes(&self) -> u64 {
        let counted = self.group.as_ref().and_then(Group::memory_current_bytes);
        counted.max(reading::resident_bytes(self.pid)).unwrap_or(0)
    }

    /// Claims what it may take by these limits. Less than before is never refused.
    fn claim(&self, limits: &Limits) -> Result<(), Full> {
        self.member.as_ref().map_or(Ok(()), |member| member.claim(limits))
    }

    fn within(&self, limits: &Limits) -> Limits {
        self.member.as_ref().map_or(*limits, |member| member.within(limits))
    }

    /// Finds out by what each limit is enforced, and looks at the process if that is needed.
    fn look_what_is_in_force(&mut self) {
        let own = self.within(&self.limits);
        let in_force = self.group.as_ref().map(Group::in_force).unwrap_or_default();
        let (memory, tasks) = (by(&in_force, What::Memory), by(&in_force, What::Tasks));
        self.looked_at = watchdog::Limits {
            memory_bytes: own.memory_bytes.filter(|_| memory.is_none()),
            threads_max: own.tasks_max.filter(|_| tasks.is_none()),
        };
        let looks = self.looked_at != watchdog::Limits::default();
        self.watched = match self.watched.take() {
            _ if !looks => None,
            None => Watched::open(self.pid).ok(),
            there => there,
        };
        let watchdog = self.watched.as_ref().map(|_| "watchdog".to_owned());
        let named = |by: Option<By>| by.map(|by| by.to_string());
        let memory = named(memory).or_else(|| watchdog.clone());
        let mut enforcers = vec![
            ("memory_bytes", self.limits.memory_bytes.is_some(), memory.clone()),
            // A worker sees itself to its share of the processor, where nobody else does.
            (
                "cpu_ratio",
                self.limits.cpu_ratio.is_some(),
                named(by(&in_force, What::Cpu)).or_else(|| Some("worker".to_owned())),
            ),
            ("threads", self.limits.tasks_max.is_some(), named(tasks).or(watchdog)),
        ];
        if let Some(member) = &self.member {
            let above = self.group.as_ref().map(Group::in_force_above).unwrap_or_default();
            let all = member.allowance();
            // What it may take is given out, and it is held to it.
            let given_out = memory.filter(|_| member.claims()).map(|_| "admission".to_owned());
            let worker = Some("worker".to_owned());
            let (memory, cpu) = (named(by(&above, What::Memory)), named(by(&above, What::Cpu)));
            enforcers.extend([
                ("tenant_memory_bytes", all.memory_bytes().is_some(), memory.or(given_out)),
                ("tenant_cpu_ratio", all.cpu_ratio().is_some(), cpu.or_else(|| worker.clone())),
                ("tenant_step_rate", all.step_rate().is_some(), worker),
            ]);
        }
        self.enforcement = enforcement(self.pid, enforcers);
    }

    /// By what each limit is enforced.
    pub fn enforcement(&self) -> &Enforcement {
        &self.enforcement
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether it must be looked at.
    pub fn needs_looks(&self) -> bool {
        self.watched.is_some()
    }

    /// Looks whether the process has more than it may have: then it must be ended.
    pub fn finds_too_much(&mut self) -> bool {
        if self.exceeded.is_none() {
            let usage = self.watched.as_mut().and_then(|watched| watched.read().ok());
            self.exceeded = usage.and_then(|usage| watchdog::judge(&self.looked_at, &usage));
        }
        self.exceeded.is_some()
    }

    /// The process is gone: others of its tenant may have what it had.
    pub fn release(&mut self) {
        self.member = None;
    }

    /// Which limit ended the process, if one did.
    pub fn verdict(&self, exit: Exit) -> Option<String> {
        if let Some(exceeded) = &self.exceeded {
            return Some(format!("it had {exceeded}"));
        }
        let group = self.group.as_ref()?;
        if exit != Exit::Signal(SIGKILL) || group.oom_kills() == Some(0) {
            return None;
        }
        group.oom_kills()?;
        if let Some(together) = self.tenants_limit(group) {
            return Some(together);
        }
        let mib = |bytes: Option<u64>| bytes.map_or_else(|| "?".into(), |b| (b >> 20).to_string());
        Some(format!(
            "its memory is limited to {} MiB, and it used {} MiB",
            mib(self.limits.memory_bytes),
            mib(group.memory_peak_bytes()),
        ))
    }

    /// The limit of all sessions together, if it was not the process's own that was reached.
    fn tenants_limit(&self, group: &Group) -> Option<String> {
        let all_bytes = self.member.as_ref()?.umbrella()?.limits().memory_bytes?;
        let own_bytes = self.within(&self.limits).memory_bytes;
        let peak_bytes = group.memory_peak_bytes()?;
        if own_bytes.is_some_and(|own| own <= peak_bytes.saturating_add(SLACK_BYTES)) {
            return None;
        }
        let (all, peak) = (all_bytes >> 20, peak_bytes >> 20);
        Some(format!(
            "the memory of all sessions of its tenant together is limited to {all} MiB, and it \
             used {peak} MiB of that"
        ))
    }
}

/// Limits within which there is room for both.
fn wider(one: &Limits, other: &Limits) -> Limits {
    let memory_bytes = one.memory_bytes.zip(other.memory_bytes).map(|(one, other)| one.max(other));
    Limits { memory_bytes, ..*other }
}

fn by(in_force: &[Enforced], what: What) -> Option<By> {
    in_force.iter().find(|it| it.what == what).map(|it| it.by)
}

/// Of limits by name, those that there are, with who enforces them.
fn enforcement(pid: i32, enforcers: Vec<(&str, bool, Option<String>)>) -> Enforcement {
    let limited = enforcers.into_iter().filter(|(_, is_limited, _)| *is_limited);
    let mut enforcement = Enforcement::new();
    for (name, _, by) in limited {
        if let Some(by) = by {
            enforcement.insert(name.to_owned(), by);
        } else {
            tracing::warn!(pid, name, "nothing enforces a limit");
        }
    }
    enforcement
}

#[cfg(test)]
mod tests {
    use super::super::accounts::Accounts;
    use super::*;
    use crate::limits::TenantAllowance;
    use crate::tenants::Tenant;

    #[test]
    fn nobody_has_what_is_given_up_before_the_change_is_in_force() {
        let limits = |bytes| Limits { memory_bytes: bytes, ..Limits::default() };
        let allowance = TenantAllowance { memory_bytes: 100, ..TenantAllowance::default() };
        let account = Accounts::new(Groups::none("not here"), allowance).of(&Tenant::local());
        for before in [Some(80), None] {
            let (before, after) = (limits(before), limits(Some(30)));
            let member = account.admit(&before).unwrap();
            member.claim(&wider(&before, &after)).unwrap();
            // It may still go wrong: then it has what it had.
            account.admit(&limits(Some(50))).unwrap_err();
            member.claim(&before).unwrap();
            member.claim(&after).unwrap();
            account.admit(&limits(Some(50))).unwrap();
            assert_eq!(wider(&after, &before), wider(&before, &after));
        }
    }
}
