//! What is missing where the kernel does not let us sample: by name, with what would mend it.

use std::io;
use std::path::Path;

use perf_event::Builder;
use perf_event::events::Software;
use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// The kernel lets nobody sample without a capability.
    Paranoid {
        /// `kernel.perf_event_paranoid`.
        value: i64,
    },
    /// A filter of system calls is in the way: of a unit, or of a container.
    Filter,
    /// The kernel was built without.
    Kernel,
    /// The process is somebody else's, or lets nobody look into it.
    Access,
    /// There is no memory for samples: `kernel.perf_event_mlock_kb` and the limit on locked memory.
    LockedMemory,
}

/// The most that `kernel.perf_event_paranoid` may be for an ordinary user to sample programs of
/// its own.
const PARANOID_MAX: i64 = 2;

const PARANOID_FILE: &str = "/proc/sys/kernel/perf_event_paranoid";

impl Missing {
    /// What it is.
    pub fn problem(&self) -> String {
        match self {
            Self::Paranoid { value } => {
                format!("kernel.perf_event_paranoid is {value}, and this user has no CAP_PERFMON")
            }
            Self::Filter => "a filter of system calls forbids perf_event_open".to_owned(),
            Self::Kernel => "this kernel has no perf_event_open (CONFIG_PERF_EVENTS)".to_owned(),
            Self::Access => "the process belongs to another user, or may not be looked into, and \
                             this user lacks CAP_PERFMON or CAP_SYS_PTRACE"
                .to_owned(),
            Self::LockedMemory => {
                "there is no locked memory for samples (kernel.perf_event_mlock_kb)".to_owned()
            }
        }
    }

    /// What an operator can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Paranoid { .. } => {
                "sysctl kernel.perf_event_paranoid=2; or CAP_PERFMON: in the unit \
                 AmbientCapabilities=CAP_PERFMON and CapabilityBoundingSet=CAP_PERFMON, for a \
                 container --cap-add PERFMON"
            }
            Self::Filter => {
                "in the unit SystemCallFilter=perf_event_open; for a container --cap-add PERFMON, \
                 or a seccomp profile that allows perf_event_open"
            }
            Self::Kernel => "a kernel with CONFIG_PERF_EVENTS",
            Self::Access => {
                "in the unit AmbientCapabilities=CAP_PERFMON CAP_SYS_PTRACE and the same in \
                 CapabilityBoundingSet=; for a container --cap-add PERFMON --cap-add SYS_PTRACE"
            }
            Self::LockedMemory => {
                "sysctl kernel.perf_event_mlock_kb=2048; or in the unit LimitMEMLOCK=64M"
            }
        }
    }

    /// Finds out why a process could not be opened for sampling. Nothing means that permission is
    /// not what is missing.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        match error.raw_os_error()? {
            ENOSYS if Path::new(PARANOID_FILE).exists() => Some(Self::Filter),
            ENOSYS => Some(Self::Kernel),
            EPERM | EACCES => Some(Self::cause()),
            _ => None,
        }
    }

    /// What refuses, by what would be refused without it.
    fn cause() -> Self {
        let sets = rustix::thread::capabilities(None).ok();
        let may = sets.is_some_and(|sets| {
            sets.effective.intersects(CapabilitySet::PERFMON | CapabilitySet::SYS_ADMIN)
        });
        let value = std::fs::read_to_string(PARANOID_FILE).ok();
        let value = value.and_then(|text| text.trim().parse().ok());
        match value {
            None => return Self::Kernel,
            Some(value) if PARANOID_MAX < value && !may => return Self::Paranoid { value },
            Some(_) => (),
        }
        // Nothing but a filter keeps a process from sampling itself now.
        let mut own = Builder::new(Software::CPU_CLOCK);
        match own.observe_self().exclude_kernel(true).exclude_hv(true).build() {
            Ok(_) => Self::Access,
            Err(_) => Self::Filter,
        }
    }
}

const EPERM: i32 = rustix::io::Errno::PERM.raw_os_error();
const EACCES: i32 = rustix::io::Errno::ACCESS.raw_os_error();
const ENOSYS: i32 = rustix::io::Errno::NOSYS.raw_os_error();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thing_that_can_be_missing_names_what_to_set() {
        let all = [
            (Missing::Paranoid { value: 4 }, "kernel.perf_event_paranoid=2"),
            (Missing::Filter, "SystemCallFilter=perf_event_open"),
            (Missing::Kernel, "CONFIG_PERF_EVENTS"),
            (Missing::Access, "CAP_SYS_PTRACE"),
            (Missing::LockedMemory, "kernel.perf_event_mlock_kb"),
        ];
        for (missing, knob) in all {
            assert!(missing.remedy().contains(knob), "{missing:?}");
            assert!(!missing.problem().is_empty());
        }
    }

    #[test]
    fn what_is_no_matter_of_permission_is_not_taken_for_one() {
        let gone = io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error());
        assert_eq!(Missing::of(&gone), None);
    }
}
