//! What holds one process to its limits: its control group where there is one, and otherwise looks
//! at what it uses.
//!
//! What is said to be enforced was read back from the kernel, or is looked at.

use std::collections::BTreeMap;

use super::groups::{Group, Groups, Limits, What};
use super::process::Exit;
use super::watchdog::{self, Exceeded, Watched};

/// The signal by which the kernel ends a group that needs too much memory.
const SIGKILL: i32 = 9;

/// By what each limit is enforced, by its name.
pub type Enforcement = BTreeMap<String, String>;

/// Holds one process to its limits.
#[derive(Debug, Default)]
pub struct Guard {
    limits: Limits,
    group: Option<Group>,
    watched: Option<Watched>,
    /// What no group enforces.
    looked_at: watchdog::Limits,
    /// What the process had too much of.
    exceeded: Option<Exceeded>,
    enforcement: Enforcement,
}

impl Guard {
    /// Holds a process that was just started. Where it cannot be, the report says so.
    pub(super) fn new(groups: &Groups, limits: Limits, pid: i32) -> Self {
        if limits == Limits::default() {
            return Self::default();
        }
        let entered = groups.make(&limits).and_then(|group| group.enter(pid).map(|()| group));
        let group = entered
            .inspect_err(|error| tracing::debug!(pid, %error, "a worker has no control group"))
            .ok();
        let in_force = group.as_ref().map(Group::in_force).unwrap_or_default();
        let by_group = |what: What| in_force.iter().find(|it| it.what == what).map(|it| it.by);
        let mut enforcement = Enforcement::new();
        let (memory, tasks) = (by_group(What::Memory), by_group(What::Tasks));
        let named = [
            ("memory_bytes", limits.memory_bytes.is_some(), memory),
            ("cpu_ratio", limits.cpu_ratio.is_some(), by_group(What::Cpu)),
            ("threads", limits.tasks_max.is_some(), tasks),
        ];
        let looked_at = watchdog::Limits {
            memory_bytes: limits.memory_bytes.filter(|_| memory.is_none()),
            threads_max: limits.tasks_max.filter(|_| tasks.is_none()),
        };
        let looks = looked_at != watchdog::Limits::default();
        let watched = looks.then(|| Watched::open(pid).ok()).flatten();
        for (name, _, by) in named.into_iter().filter(|(_, is_limited, _)| *is_limited) {
            let by = match (by, name) {
                (Some(by), _) => by.to_string(),
                // A worker sees itself to its share of the processor, where nobody else does.
                (None, "cpu_ratio") => "worker".to_owned(),
                (None, _) if watched.is_some() => "watchdog".to_owned(),
                (None, _) => {
                    tracing::warn!(pid, name, "nothing enforces a limit");
                    continue;
                }
            };
            enforcement.insert(name.to_owned(), by);
        }
        Self { limits, group, watched, looked_at, exceeded: None, enforcement }
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
        let mib = |bytes: Option<u64>| bytes.map_or_else(|| "?".into(), |b| (b >> 20).to_string());
        Some(format!(
            "its memory is limited to {} MiB, and it used {} MiB",
            mib(self.limits.memory_bytes),
            mib(group.memory_peak_bytes()),
        ))
    }
}
