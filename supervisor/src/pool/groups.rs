//! Control groups: limits that the kernel itself enforces on a worker and all that it starts.
//!
//! What can be had is found out at start: the second version of control groups where it has been
//! delegated to us, else children of our own groups of the first version, else nothing. Nothing is
//! taken for granted: [`Group::in_force`] names only what was read back from the kernel.
//!
//! This is not the place where somebody decides what a worker may use, nor what happens without
//! control groups.
//!
//! ```text
//! <our own group>/simward-<our pid>/w1      a worker's group
//!                                  /w2
//!                                  /t4f…-3/w4   one under an umbrella: a tenant's
//!                /supervisor                ourselves (second version only)
//! ```

mod folder;
mod kill;
mod limits;
mod umbrella;
mod v1;
mod v2;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;

use self::folder::Folder;
use self::limits::Setting;
pub use self::limits::{By, Enforced, Limits, What};
pub use self::umbrella::Umbrella;

/// Makes groups. A cheap handle; the folder of all groups goes with the last of it and of them.
#[derive(Clone, Debug)]
pub struct Groups {
    site: Arc<Site>,
    why_not: Option<Arc<str>>,
}

/// The folder of all groups, one in each tree.
#[derive(Debug, Default)]
struct Site {
    folders: Vec<Folder>,
    made: AtomicU64,
}

impl Drop for Site {
    fn drop(&mut self) {
        for folder in &self.folders {
            // Groups that are still busy stay for the next start's clean-up, and so does this.
            folder.remove().ok();
        }
    }
}

impl Groups {
    /// Finds out what can be had, and clears away what dead daemons left behind.
    ///
    /// `name` is the first part of the folder's name, such as `simward`. With the second version
    /// this may move the calling process into a child of its own group: limits can be given only
    /// by groups that have no processes themselves.
    pub fn find(name: &str) -> Self {
        match Self::try_find(name) {
            Ok(folders) => {
                // A daemon with our pid may have left busy groups.
                let made = folders.iter().map(Folder::last_number).max().unwrap_or(0).into();
                let site = Site { folders, made };
                Self { site: Arc::new(site), why_not: None }
            }
            Err(error) => Self::none(&format!("{error:#}")),
        }
    }

    /// No control groups, on purpose or for a reason.
    pub fn none(why: &str) -> Self {
        Self { site: Arc::default(), why_not: Some(why.into()) }
    }

    /// Our own groups that count memory, the innermost first: a limit of any of them is one of ours.
    pub(super) fn own_memory() -> (Vec<PathBuf>, By) {
        let Ok(own) = procfs::process::Process::myself() else { return (Vec::new(), By::CgroupV2) };
        let groups = own.cgroups().map(|it| it.0).unwrap_or_default();
        let mounts = own.mountinfo().map(|it| it.0).unwrap_or_default();
        let first = v1::own_groups(&groups, &mounts);
        let first = first.into_iter().find(|(_, whats)| whats.contains(&What::Memory));
        let (path, by) = match (first, v2::own_group(&groups, &mounts)) {
            (Some((path, _)), _) => (path, By::CgroupV1),
            (None, Ok(path)) => (path, By::CgroupV2),
            (None, Err(_)) => return (Vec::new(), By::CgroupV2),
        };
        let counts = |path: &&Path| path.join(by.readings().memory_current).exists();
        (path.ancestors().filter(counts).map(Path::to_owned).collect(), by)
    }

    fn try_find(name: &str) -> anyhow::Result<Vec<Folder>> {
        let own = procfs::process::Process::myself().context("/proc is not there")?;
        let groups = own.cgroups().context("this process's control groups are unknown")?.0;
        let mounts = own.mountinfo().context("this process's mounts are unknown")?.0;
        let site = format!("{name}-{}", std::process::id());
        let second = v2::own_group(&groups, &mounts);
        let second = second.and_then(|own| v2::open(&own, name, &site, std::process::id()));
        let Err(error) = second else { return second.map(|folder| vec![folder]) };
        let first = v1::open(v1::own_groups(&groups, &mounts), name, &site);
        first.map_err(|first| anyhow::anyhow!("cgroup v2: {error:#}; cgroup v1: {first:#}"))
    }

    /// What can be limited here.
    pub fn can(&self) -> Vec<Enforced> {
        let enforced = |folder: &Folder| {
            let by = folder.by;
            folder.whats.clone().into_iter().map(move |what| Enforced { what, by })
        };
        let mut all: Vec<Enforced> = self.site.folders.iter().flat_map(enforced).collect();
        all.sort_unstable();
        all
    }

    /// Why there are no control groups.
    pub fn why_not(&self) -> Option<&str> {
        self.why_not.as_deref()
    }

    /// Makes a group. Costs about 0.4 ms together with its removal, for three trees.
    ///
    /// A single limit that the kernel refuses is logged, and is then not [in
    /// force](Group::in_force); an error means that there is no group.
    pub fn make(&self, limits: &Limits) -> io::Result<Group> {
        if self.site.folders.is_empty() {
            let why = self.why_not().unwrap_or("there are no control groups");
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let name = format!("w{}", self.number());
        let group = Group::below(&self.site.folders, &name, &self.site, None)?;
        group.set_or_warn(limits);
        Ok(group)
    }

    /// A number that no group here has had.
    fn number(&self) -> u64 {
        self.site.made.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A control group. Dropping it removes it, once its processes have ended.
#[derive(Debug)]
pub struct Group {
    folders: Vec<Folder>,
    asked: Mutex<Asked>,
    /// What it is under; dropped after the folders in it.
    umbrella: Option<Arc<Umbrella>>,
    site: Arc<Site>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    limits: Limits,
    entered: Option<i32>,
}

impl Group {
    /// A group below these folders.
    fn below(
        folders: &[Folder],
        name: &str,
        site: &Arc<Site>,
        umbrella: Option<Arc<Umbrella>>,
    ) -> io::Result<Self> {
        let (site, asked) = (Arc::clone(site), Mutex::default());
        let mut group = Self { folders: Vec::new(), asked, umbrella, site };
        for folder in folders {
            // Dropping the group removes those made so far.
            group.folders.push(folder.child(name)?);
        }
        Ok(group)
    }

    fn set_or_warn(&self, limits: &Limits) {
        if let Err(error) = self.set(limits) {
            tracing::warn!(%error, "a limit of a control group was refused");
        }
    }

    /// Changes the limits. All are tried; the error is the first refusal's.
    ///
    /// A memory limit below what is used makes the kernel reclaim, and in the second version kill.
    pub fn set(&self, limits: &Limits) -> io::Result<()> {
        let mut asked = self.asked();
        asked.limits = *limits;
        let mut outcome = Ok(());
        for folder in &self.folders {
            for &what in &folder.whats {
                for Setting { file, value, must } in folder.by.settings(what, limits) {
                    let written = folder.write(file, &value);
                    if must {
                        outcome = outcome.and(written);
                    }
                }
            }
        }
        outcome
    }

    /// Moves a process into the group. Its children will be there too; those that it has already
    /// will not, and memory that it has taken before stays on the former group's account.
    pub fn enter(&self, pid: i32) -> io::Result<()> {
        let mut asked = self.asked();
        asked.entered = Some(pid);
        self.folders.iter().try_for_each(|folder| folder.write(folder::PROCS, &pid.to_string()))
    }

    /// The limits that are in force on the process that entered last, by the kernel's own files.
    pub fn in_force(&self) -> Vec<Enforced> {
        let asked = *self.asked();
        let mut found = Vec::new();
        for folder in self.folders_of(asked.entered) {
            found.extend(folder.in_force(&asked.limits));
        }
        found.sort_unstable();
        found
    }

    /// The folders in which a process is.
    fn folders_of(&self, pid: Option<i32>) -> impl Iterator<Item = &Folder> {
        let has = move |folder: &&Folder| {
            pid.is_some_and(|pid| folder.pids().is_ok_and(|pids| pids.contains(&pid)))
        };
        self.folders.iter().filter(has)
    }

    /// The limits of its umbrella that are in force on that process, too.
    pub fn in_force_above(&self) -> Vec<Enforced> {
        let Some(umbrella) = &self.umbrella else { return Vec::new() };
        let inside = self.folders_of(self.asked().entered).filter_map(|it| it.path.parent());
        let inside: Vec<&Path> = inside.collect();
        umbrella.in_force_in(&inside)
    }

    /// The most memory that was ever used, in bytes.
    pub fn memory_peak_bytes(&self) -> Option<u64> {
        let folder = self.folder(What::Memory)?;
        folder.number(folder.by.readings().memory_peak)
    }

    /// The memory that is used, in bytes.
    pub fn memory_current_bytes(&self) -> Option<u64> {
        let folder = self.folder(What::Memory)?;
        folder.number(folder.by.readings().memory_current)
    }

    /// How many processes the kernel has ended because memory ran out. The second version may count
    /// one twice.
    pub fn oom_kills(&self) -> Option<u64> {
        let folder = self.folder(What::Memory)?;
        let (file, word) = folder.by.readings().oom_kills;
        folder.word(file, word)
    }

    /// How long the group was kept from the processor by its limit, summed over processors.
    pub fn cpu_throttled_secs(&self) -> Option<f64> {
        let folder = self.folder(What::Cpu)?;
        let readings = folder.by.readings();
        let (file, word) = readings.cpu_throttled;
        #[expect(clippy::cast_precision_loss, reason = "a hundred days in nanoseconds are exact")]
        folder.word(file, word).map(|count| count as f64 / readings.cpu_throttled_per_sec)
    }

    /// Ends every process in the group, and waits until they are gone: not for long, but it blocks.
    /// Nothing can be started in the group afterwards.
    pub fn kill(&self) -> io::Result<()> {
        kill::all(&self.folders)
    }

    fn folder(&self, what: What) -> Option<&Folder> {
        self.folders.iter().find(|folder| folder.whats.contains(&what))
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Mostly its processes are gone, and so is the group, at once.
        let mut busy = std::mem::take(&mut self.folders);
        busy.retain(|folder| folder.remove().is_err());
        if busy.is_empty() {
            return;
        }
        let above = (self.umbrella.take(), Arc::clone(&self.site));
        let remove = move || {
            folder::remove_soon(&busy);
            drop(above);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

#[cfg(test)]
mod tests;
