//! One group in one tree: a folder whose files are the kernel's.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::limits::{By, Enforced, Limits, What};

/// The processes of a group. Writing a pid moves the process here.
pub(super) const PROCS: &str = "cgroup.procs";

/// How often it is tried to remove a group that is busy, and how long between.
const REMOVE_TRIES: u32 = 50;
const REMOVE_PAUSE: Duration = Duration::from_millis(20);

/// A group in a tree.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) by: By,
    /// What it can limit.
    pub(super) whats: Vec<What>,
}

impl Folder {
    /// Makes a group below this one.
    pub(super) fn child(&self, name: &str) -> io::Result<Self> {
        let path = self.path.join(name);
        std::fs::create_dir(&path).map_err(|error| about(&path, &error))?;
        Ok(Self { path, by: self.by, whats: self.whats.clone() })
    }

    /// Makes a group below this one, or takes the one that is there.
    pub(super) fn child_or_there(&self, name: &str) -> io::Result<Self> {
        match self.child(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let (path, whats) = (self.path.join(name), self.whats.clone());
                Ok(Self { path, by: self.by, whats })
            }
            made => made,
        }
    }

    /// The last number that a group below this one has, under umbrellas too.
    pub(super) fn last_number(&self) -> u64 {
        let number = |path: &Path| {
            let digits = path.file_name()?.to_str()?.rsplit(|it: char| !it.is_ascii_digit());
            digits.into_iter().next()?.parse().ok()
        };
        let below = folders_in(&self.path).flat_map(|it| folders_in(&it).chain([it.clone()]));
        below.filter_map(|path| number(&path)).max().unwrap_or(0)
    }

    /// The limits that are what was asked for, by the kernel's word.
    pub(super) fn in_force(&self, limits: &Limits) -> Vec<Enforced> {
        let holds = |what: &What| limits.limits(*what) && self.holds(*what, limits);
        let whats = self.whats.iter().copied().filter(holds);
        whats.map(|what| Enforced { what, by: self.by }).collect()
    }

    pub(super) fn write(&self, file: &str, value: &str) -> io::Result<()> {
        write(&self.path.join(file), value)
    }

    pub(super) fn read(&self, file: &str) -> io::Result<String> {
        let path = self.path.join(file);
        std::fs::read_to_string(&path).map_err(|error| about(&path, &error))
    }

    /// A file that is one number.
    pub(super) fn number(&self, file: &str) -> Option<u64> {
        self.read(file).ok()?.trim().parse().ok()
    }

    /// The number behind a word, in a file with a word and a number in each line.
    pub(super) fn word(&self, file: &str, word: &str) -> Option<u64> {
        let text = self.read(file).ok()?;
        let behind = |line: &str| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok();
        text.lines().find_map(behind)
    }

    /// The processes that are in the group.
    pub(super) fn pids(&self) -> io::Result<Vec<i32>> {
        let text = self.read(PROCS)?;
        Ok(text.lines().filter_map(|line| line.trim().parse().ok()).collect())
    }

    /// Whether the kernel says that a limit is what was asked for.
    pub(super) fn holds(&self, what: What, limits: &Limits) -> bool {
        let mut settings = self.by.settings(what, limits).into_iter().filter(|it| it.must);
        settings.all(|it| self.read(it.file).is_ok_and(|text| text.trim() == it.value))
    }

    /// Removes the group; busy if there are processes in it.
    pub(super) fn remove(&self) -> io::Result<()> {
        match std::fs::remove_dir(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Writes to a file that is there already.
pub(super) fn write(path: &Path, value: &str) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path);
    // In one piece: each write is an order.
    let written = file.and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|error| about(path, &error))
}

/// An error that names its file.
fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Removes groups as soon as their processes are gone, and gives up after a second.
pub(super) fn remove_soon(folders: &[Folder]) {
    for folder in folders {
        let mut outcome = folder.remove();
        for _ in 1..REMOVE_TRIES {
            if outcome.is_ok() {
                break;
            }
            #[expect(clippy::disallowed_methods, reason = "nobody tells when a group is empty")]
            std::thread::sleep(REMOVE_PAUSE);
            outcome = folder.remove();
        }
        if let Err(error) = outcome {
            let path = folder.path.display();
            tracing::warn!(%path, %error, "a control group is left to the next start");
        }
    }
}

/// Removes what dead daemons left beside our own folder, and what one with our pid left in it: as
/// far as there are no processes in it.
pub(super) fn clear_away(parent: &Path, name: &str, own_pid: u32) {
    for path in folders_in(parent) {
        let Some(pid) = pid_of(&path, name) else { continue };
        let alive = Path::new("/proc").join(pid.to_string()).exists();
        if alive && pid != own_pid {
            continue;
        }
        for group in folders_in(&path) {
            for below in folders_in(&group) {
                std::fs::remove_dir(below).ok();
            }
            std::fs::remove_dir(group).ok();
        }
        std::fs::remove_dir(&path).ok();
    }
}

/// Whose folder it is: `simward-123` is the daemon's with pid 123.
fn pid_of(path: &Path, name: &str) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix(name)?.strip_prefix('-')?.parse().ok()
}

fn folders_in(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path())
}

/// A path of the kernel's, seen through a mount of part of the tree.
///
/// Absent if it lies outside of what is mounted.
pub(super) fn through_mount(mounted_at: &Path, root: &str, group: &str) -> Option<PathBuf> {
    let inside = Path::new(group).strip_prefix(root).ok()?;
    let plain = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
    inside.components().all(plain).then(|| mounted_at.join(inside))
}
