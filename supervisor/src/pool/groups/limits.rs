//! What is limited, and what is written where for it: the policy of control groups.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::{v1, v2};

/// What a group can limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Memory, without swap where the kernel counts it.
    Memory,
    /// Processor time.
    Cpu,
    /// Processes and threads.
    Tasks,
}

impl What {
    pub(super) const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Tasks];

    /// The kernel's name for who limits it.
    pub(super) fn controller(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Tasks => "pids",
        }
    }
}

/// Which version of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The first, with a tree for each controller.
    CgroupV1,
    /// The second, with one tree.
    CgroupV2,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CgroupV1 => "cgroup_v1",
            Self::CgroupV2 => "cgroup_v2",
        })
    }
}

/// A limit, and by what it is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Enforced {
    /// The limited.
    pub what: What,
    /// The enforcer.
    pub by: By,
}

/// What a group may use. Absent means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Memory, in bytes; counted in whole pages.
    pub memory_bytes: Option<u64>,
    /// Processors, as a number: 0.5 is half of one, 2 is two. At least 0.01.
    pub cpu_ratio: Option<f64>,
    /// Processes and threads.
    pub tasks_max: Option<u64>,
}

impl Limits {
    pub(super) fn limits(&self, what: What) -> bool {
        match what {
            What::Memory => self.memory_bytes.is_some(),
            What::Cpu => self.cpu_ratio.is_some(),
            What::Tasks => self.tasks_max.is_some(),
        }
    }

    /// Memory in whole pages, as the kernel counts it.
    pub(super) fn memory_pages_bytes(&self) -> Option<u64> {
        let page = procfs::page_size();
        self.memory_bytes.map(|bytes| bytes.max(page) / page * page)
    }

    /// Processor time within each [`CPU_PERIOD_MICROS`].
    pub(super) fn cpu_quota_micros(&self) -> Option<u128> {
        // Less than a thousand is refused by the kernel; so much more means nothing.
        let secs = |ratio: f64| ratio.min(10_000.0) * 0.1;
        let quota = |ratio| Duration::try_from_secs_f64(secs(ratio)).unwrap_or_default();
        self.cpu_ratio.map(|ratio| quota(ratio).as_micros().max(1000))
    }
}

/// The kernel's own default.
pub(super) const CPU_PERIOD_MICROS: u32 = 100_000;

/// One write that makes a limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) file: &'static str,
    pub(super) value: String,
    /// Whether the limit is this very value, and must be read back; or a help to it that may fail.
    pub(super) must: bool,
}

impl Setting {
    pub(super) fn must(file: &'static str, value: String) -> Self {
        Self { file, value, must: true }
    }

    pub(super) fn may(file: &'static str, value: String) -> Self {
        Self { file, value, must: false }
    }
}

/// Where a version keeps what it has counted.
pub(super) struct Readings {
    pub(super) memory_current: &'static str,
    pub(super) memory_peak: &'static str,
    /// The file and the word in it.
    pub(super) oom_kills: (&'static str, &'static str),
    /// The file and the word in it.
    pub(super) cpu_throttled: (&'static str, &'static str),
    pub(super) cpu_throttled_per_sec: f64,
}

impl By {
    pub(super) fn settings(self, what: What, limits: &Limits) -> Vec<Setting> {
        match self {
            Self::CgroupV1 => v1::settings(what, limits),
            Self::CgroupV2 => v2::settings(what, limits),
        }
    }

    pub(super) fn readings(self) -> &'static Readings {
        match self {
            Self::CgroupV1 => &v1::READINGS,
            Self::CgroupV2 => &v2::READINGS,
        }
    }
}
