//! The second version: one tree, and in it what was delegated to us.
//!
//! A group that limits its children may have no processes of its own. Whoever starts us puts us
//! into the very group that is delegated, so we move on into a child of it first.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use procfs::ProcessCGroup;
use procfs::process::MountInfo;

use super::folder::{Folder, PROCS, clear_away, through_mount, write};
use super::limits::{By, CPU_PERIOD_MICROS, Limits, Readings, Setting, What};

/// Where we live ourselves. The same name as in systemd's `DelegateSubgroup=`, where it is set.
const SUPERVISOR: &str = "supervisor";

/// What groups may give their children.
const SUBTREE: &str = "cgroup.subtree_control";

/// Our own group.
pub(super) fn own_group(groups: &[ProcessCGroup], mounts: &[MountInfo]) -> anyhow::Result<PathBuf> {
    let own = groups.iter().find(|group| group.hierarchy == 0).context("the kernel has none")?;
    let path = |mount: &MountInfo| {
        let path = || through_mount(&mount.mount_point, &mount.root, &own.pathname);
        (mount.fs_type == "cgroup2").then(path).flatten()
    };
    mounts.iter().find_map(path).context("its tree is not mounted")
}

/// Makes the folder of all groups, and moves us out of the way if that is needed.
pub(super) fn open(own: &Path, name: &str, site: &str, pid: u32) -> anyhow::Result<Folder> {
    let base = base_of(own);
    let whats = controllers(&base.join("cgroup.controllers"));
    anyhow::ensure!(!whats.is_empty(), "no controller for memory, cpu or pids is delegated");
    clear_away(&base, name, pid);
    // The root may have processes and limit its children nevertheless.
    let is_root = !base.join("cgroup.type").exists();
    let moved = if is_root || base != own { None } else { Some(Moved::out_of(&base, pid)?) };
    give_children(&base, &whats)?;
    if let Some(moved) = moved {
        moved.stay();
    }
    let parent = Folder { path: base, by: By::CgroupV2, whats };
    let mut folder = parent.child_or_there(site)?;
    match give_children(&folder.path, &folder.whats) {
        Ok(given) => folder.whats = given,
        Err(error) => {
            folder.remove().ok();
            return Err(error);
        }
    }
    Ok(folder)
}

/// The group that was delegated: our own, or its parent if we have moved already.
fn base_of(own: &Path) -> PathBuf {
    let moved = own.file_name().is_some_and(|name| name == SUPERVISOR);
    let base = own.parent().filter(|parent| moved && parent.join(PROCS).exists());
    base.unwrap_or(own).to_owned()
}

fn controllers(file: &Path) -> Vec<What> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let there = |what: &What| text.split_ascii_whitespace().any(|it| it == what.controller());
    What::ALL.into_iter().filter(there).collect()
}

/// Lets the children of a group have limits. Returns which, by the kernel's word.
pub(super) fn give_children(group: &Path, whats: &[What]) -> anyhow::Result<Vec<What>> {
    let subtree = group.join(SUBTREE);
    let mut refused = Vec::new();
    // One by one: one that is refused, such as the processor's where there are real-time
    // processes, does not keep the others away.
    for what in whats.iter().filter(|what| !controllers(&subtree).contains(what)) {
        if let Err(error) = write(&subtree, &format!("+{}", what.controller())) {
            refused.push(error.to_string());
        }
    }
    let mut given = controllers(&subtree);
    given.retain(|what| whats.contains(what));
    anyhow::ensure!(!given.is_empty(), "no limits for children: {}", refused.join(", "));
    Ok(given)
}

/// We have moved into a child; and back again, if it was for nothing.
struct Moved {
    from: PathBuf,
    to: PathBuf,
    pid: String,
}

impl Moved {
    fn out_of(from: &Path, pid: u32) -> anyhow::Result<Self> {
        let to = from.join(SUPERVISOR);
        match std::fs::create_dir(&to) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                let to = to.display();
                return Err(error).with_context(|| format!("{to} cannot be made"));
            }
            _ => {}
        }
        write(&to.join(PROCS), &pid.to_string()).context("this process cannot be moved")?;
        Ok(Self { from: from.to_owned(), to, pid: pid.to_string() })
    }

    fn stay(mut self) {
        self.pid.clear();
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        if !self.pid.is_empty() {
            write(&self.from.join(PROCS), &self.pid).ok();
            std::fs::remove_dir(&self.to).ok();
        }
    }
}

pub(super) fn settings(what: What, limits: &Limits) -> Vec<Setting> {
    let or_max = |value: Option<u64>| value.map_or_else(|| "max".to_owned(), |it| it.to_string());
    match what {
        What::Memory => vec![
            // Half a worker is of no use: all its processes go together.
            Setting::may("memory.oom.group", "1".to_owned()),
            Setting::may("memory.swap.max", "0".to_owned()),
            Setting::must("memory.max", or_max(limits.memory_pages_bytes())),
        ],
        What::Cpu => {
            let quota = limits.cpu_quota_micros();
            let quota = quota.map_or_else(|| "max".to_owned(), |micros| micros.to_string());
            vec![Setting::must("cpu.max", format!("{quota} {CPU_PERIOD_MICROS}"))]
        }
        What::Tasks => vec![Setting::must("pids.max", or_max(limits.tasks_max))],
    }
}

pub(super) static READINGS: Readings = Readings {
    memory_current: "memory.current",
    memory_peak: "memory.peak",
    oom_kills: ("memory.events", "oom_kill"),
    cpu_throttled: ("cpu.stat", "throttled_usec"),
    cpu_throttled_per_sec: 1e6,
};

#[cfg(test)]
mod tests;
