//! The first version: a tree for each controller, and our own group in each.

use std::collections::BTreeMap;
use std::path::PathBuf;

use procfs::ProcessCGroup;
use procfs::process::MountInfo;

use super::folder::{Folder, clear_away, through_mount};
use super::limits::{By, CPU_PERIOD_MICROS, Limits, Readings, Setting, What};

/// Our own groups: where, and what can be limited there.
pub(super) fn own_groups(
    groups: &[ProcessCGroup],
    mounts: &[MountInfo],
) -> BTreeMap<PathBuf, Vec<What>> {
    let mut found: BTreeMap<PathBuf, Vec<What>> = BTreeMap::new();
    for what in What::ALL {
        let name = what.controller();
        let has = |group: &&ProcessCGroup| group.controllers.iter().any(|it| it == name);
        let Some(group) = groups.iter().find(has) else { continue };
        let path = |mount: &MountInfo| {
            let ours = mount.fs_type == "cgroup" && mount.super_options.contains_key(name);
            let path = || through_mount(&mount.mount_point, &mount.root, &group.pathname);
            ours.then(path).flatten()
        };
        if let Some(path) = mounts.iter().find_map(path) {
            found.entry(path).or_default().push(what);
        }
    }
    found
}

/// Makes the folder of all groups in every tree where that is possible.
pub(super) fn open(
    own: BTreeMap<PathBuf, Vec<What>>,
    name: &str,
    site: &str,
) -> anyhow::Result<Vec<Folder>> {
    anyhow::ensure!(!own.is_empty(), "no tree for memory, cpu or pids is mounted");
    let (mut made, mut refused) = (Vec::new(), Vec::new());
    for (path, whats) in own {
        clear_away(&path, name, std::process::id());
        let parent = Folder { path, by: By::CgroupV1, whats };
        match parent.child_or_there(site) {
            Ok(folder) => made.push(folder),
            Err(error) => refused.push(error.to_string()),
        }
    }
    anyhow::ensure!(!made.is_empty(), "{}", refused.join(", "));
    Ok(made)
}

pub(super) fn settings(what: What, limits: &Limits) -> Vec<Setting> {
    let number = |value: Option<u64>| value.map_or_else(|| "-1".to_owned(), |it| it.to_string());
    match what {
        What::Memory => {
            let bytes = number(limits.memory_pages_bytes());
            vec![
                // Memory never may be above memory and swap together: lowered first, and when that
                // is refused raised last.
                Setting::may("memory.limit_in_bytes", bytes.clone()),
                Setting::may("memory.memsw.limit_in_bytes", bytes.clone()),
                Setting::must("memory.limit_in_bytes", bytes),
            ]
        }
        What::Cpu => {
            let quota = limits.cpu_quota_micros();
            let quota = quota.map_or_else(|| "-1".to_owned(), |micros| micros.to_string());
            vec![
                Setting::must("cpu.cfs_period_us", CPU_PERIOD_MICROS.to_string()),
                Setting::must("cpu.cfs_quota_us", quota),
            ]
        }
        What::Tasks => {
            let max = limits.tasks_max.map_or_else(|| "max".to_owned(), |max| max.to_string());
            vec![Setting::must("pids.max", max)]
        }
    }
}

pub(super) static READINGS: Readings = Readings {
    memory_current: "memory.usage_in_bytes",
    memory_peak: "memory.max_usage_in_bytes",
    // `memory.failcnt` stays at zero when a process is killed.
    oom_kills: ("memory.oom_control", "oom_kill"),
    cpu_throttled: ("cpu.stat", "throttled_time"),
    cpu_throttled_per_sec: 1e9,
};
