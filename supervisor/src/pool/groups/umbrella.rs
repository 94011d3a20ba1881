//! A group over groups: what several processes may use together, beside what each of them may.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::folder::Folder;
use super::limits::{By, Enforced, Limits, What};
use super::{Group, Groups, v2};

/// A group that has no processes, but groups. It goes with the last of them and of its handles.
#[derive(Debug)]
pub struct Umbrella {
    pub(super) group: Group,
    groups: Groups,
    limits: Limits,
}

impl Groups {
    /// Makes an umbrella; an error means that there is none. Each has a name of its own, so that
    /// one that is being removed is in nobody's way.
    pub fn make_umbrella(&self, name: &str, limits: &Limits) -> io::Result<Arc<Umbrella>> {
        if self.site.folders.is_empty() {
            let why = self.why_not().unwrap_or("there are no control groups");
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let name = format!("t{name}-{}", self.number());
        let group = Group::below(&self.site.folders, &name, &self.site, None)?;
        Ok(Arc::new(Umbrella::over(group, self, limits)?))
    }
}

impl Umbrella {
    pub(super) fn over(group: Group, groups: &Groups, limits: &Limits) -> io::Result<Self> {
        group.folders.iter().try_for_each(prepare)?;
        group.set_or_warn(limits);
        for folder in group.folders.iter().filter(|it| it.by == By::CgroupV2) {
            // The end of one makes room for the others: they do not go together, as all of one do.
            folder.write("memory.oom.group", "0").ok();
        }
        Ok(Self { group, groups: groups.clone(), limits: *limits })
    }

    /// Makes a group under it. What one may use is at most what all may together: the first version
    /// refuses a larger share of the processor.
    pub fn make(self: &Arc<Self>, limits: &Limits) -> io::Result<Group> {
        let name = format!("w{}", self.groups.number());
        let (folders, site) = (&self.group.folders, &self.groups.site);
        let group = Group::below(folders, &name, site, Some(Arc::clone(self)))?;
        group.set_or_warn(limits);
        Ok(group)
    }

    /// What it allows all that are under it together.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The memory that all use together, in bytes.
    pub fn memory_current_bytes(&self) -> Option<u64> {
        self.group.memory_current_bytes()
    }

    /// Whether the kernel says that it holds all that are under it to such a limit.
    pub fn holds(&self, what: What) -> bool {
        let limits = &self.limits;
        limits.limits(what) && self.group.folder(what).is_some_and(|it| it.holds(what, limits))
    }

    /// The limits that are in force on groups in those folders, by the kernel's own files.
    pub(super) fn in_force_in(&self, inside: &[&Path]) -> Vec<Enforced> {
        let folders = self.group.folders.iter().filter(|it| inside.contains(&&*it.path));
        let mut found: Vec<Enforced> = folders.flat_map(|it| it.in_force(&self.limits)).collect();
        found.sort_unstable();
        found
    }
}

/// Sees to it that the children are counted and may have limits as if they were not under it.
fn prepare(folder: &Folder) -> io::Result<()> {
    let missing = |what: &str| io::Error::other(format!("{}: {what}", folder.path.display()));
    match folder.by {
        By::CgroupV1 => {
            // Kernels before 5.11 may leave the children's memory uncounted.
            if folder.whats.contains(&What::Memory) && folder.number(HIERARCHY) == Some(0) {
                folder.write(HIERARCHY, "1")?;
            }
        }
        By::CgroupV2 => {
            let given = v2::give_children(&folder.path, &folder.whats)
                .map_err(|error| io::Error::other(format!("{error:#}")))?;
            if given != folder.whats {
                return Err(missing("its children may not have every limit"));
            }
        }
    }
    Ok(())
}

/// Whether a group counts its children's memory, in the first version.
const HIERARCHY: &str = "memory.use_hierarchy";
