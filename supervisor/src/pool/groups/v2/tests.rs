//! With a tree of plain files, for what this machine may not have.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use procfs::process::{MountInfo, MountInfos};
use procfs::{FromBufRead as _, ProcessCGroup, ProcessCGroups};

use super::super::limits::Enforced;
use super::super::{Group, Groups, Limits, Umbrella, v1, v2};
use super::*;

/// A tree of plain files: nothing in it is enforced, and what is written stays as it is.
struct Fake {
    folder: tempfile::TempDir,
}

impl Fake {
    fn new(files: &[(&str, &str)]) -> Self {
        let fake = Self { folder: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            let path = fake.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        fake
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path().join(path)).unwrap()
    }

    fn open(&self) -> anyhow::Result<Folder> {
        v2::open(self.path(), "simward", "simward-77", 77)
    }
}

const DELEGATED: [(&str, &str); 4] = [
    ("cgroup.controllers", "cpuset cpu io memory pids\n"),
    ("cgroup.type", "domain\n"),
    ("cgroup.procs", ""),
    ("supervisor/cgroup.procs", ""),
];

#[test]
fn the_daemon_moves_out_of_the_group_that_was_delegated() {
    let fake = Fake::new(&DELEGATED);
    // A plain file takes no order, but its beginning is overwritten with it.
    let given = "---- memory pids\n";
    std::fs::write(fake.path().join("cgroup.subtree_control"), "cpu memory pids\n").unwrap();
    std::fs::create_dir(fake.path().join("simward-77")).unwrap();
    std::fs::write(fake.path().join("simward-77/cgroup.subtree_control"), given).unwrap();
    let folder = fake.open().unwrap();
    assert_eq!(fake.read("supervisor/cgroup.procs"), "77");
    assert_eq!(folder.whats, [What::Memory, What::Tasks]);
    assert_eq!(folder.path, fake.path().join("simward-77"));
    // Found there by itself later, it does not move again.
    let again = v2::open(&fake.path().join("supervisor"), "simward", "simward-77", 78);
    assert_eq!(again.unwrap().path, folder.path);
    assert_eq!(fake.read("supervisor/cgroup.procs"), "77");
}

#[test]
fn the_daemon_moves_back_where_it_may_not_limit_its_children() {
    let fake = Fake::new(&DELEGATED);
    std::fs::write(fake.path().join("cgroup.subtree_control"), "").unwrap();
    let error = format!("{:#}", fake.open().unwrap_err());
    assert!(error.contains("no limits for children"), "{error}");
    assert_eq!(fake.read("supervisor/cgroup.procs"), "77");
    assert_eq!(fake.read("cgroup.procs"), "77");
    // Nothing is moved where nothing is delegated.
    let bare = Fake::new(&DELEGATED[1..]);
    let error = format!("{:#}", bare.open().unwrap_err());
    assert!(error.contains("delegated"), "{error}");
    assert_eq!(bare.read("supervisor/cgroup.procs"), "");
}

#[test]
fn the_second_versions_files_are_written_and_read() {
    let fake = Fake::new(&[
        ("memory.max", "max\n"),
        ("memory.oom.group", "0\n"),
        ("memory.peak", "4096\n"),
        ("memory.current", "2048\n"),
        ("memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 1\n"),
        ("cpu.max", "max 100000\n"),
        ("cpu.stat", "usage_usec 5\nnr_throttled 1\nthrottled_usec 1500000\n"),
        ("pids.max", "max\n"),
        ("cgroup.procs", "42\n"),
    ]);
    let (path, whats) = (fake.path().to_owned(), What::ALL.to_vec());
    let folders = vec![Folder { path, by: By::CgroupV2, whats }];
    let (asked, umbrella, site) = (Mutex::default(), None, Arc::default());
    let mut group = Group { folders, asked, umbrella, site };
    let limits =
        Limits { memory_bytes: Some(1 << 30), cpu_ratio: Some(0.25), tasks_max: Some(100) };
    group.set(&limits).unwrap();
    assert_eq!(fake.read("memory.max"), "1073741824");
    assert_eq!(fake.read("memory.oom.group"), "1\n");
    assert!(!fake.path().join("memory.swap.max").exists());
    assert!(fake.read("cpu.max").starts_with("25000 100000"));
    assert_eq!(group.in_force(), []);
    group.enter(42).unwrap();
    let by = By::CgroupV2;
    assert_eq!(group.in_force(), What::ALL.map(|what| Enforced { what, by }));
    assert_eq!(group.oom_kills(), Some(2));
    assert_eq!(group.memory_peak_bytes(), Some(4096));
    assert_eq!(group.memory_current_bytes(), Some(2048));
    assert_eq!(group.cpu_throttled_secs(), Some(1.5));
    std::fs::write(fake.path().join("cgroup.procs"), "421\n").unwrap();
    assert_eq!(group.in_force(), []);
    // A tree of plain files is not removed like a group.
    group.folders.clear();
}

#[test]
fn what_goes_under_an_umbrella_of_the_second_version_goes_alone() {
    let files = [
        ("cgroup.subtree_control", "cpu memory pids\n"),
        ("memory.max", "max\n"),
        ("memory.oom.group", "0\n"),
        ("memory.current", "2048\n"),
        ("cpu.max", "max 100000\n"),
    ];
    let fake = Fake::new(&files);
    let (path, whats) = (fake.path().to_owned(), What::ALL.to_vec());
    let folder = || Folder { path: path.clone(), by: By::CgroupV2, whats: whats.clone() };
    let group = |folder| {
        let (asked, umbrella, site) = (Mutex::default(), None, Arc::default());
        Group { folders: vec![folder], asked, umbrella, site }
    };
    let limits = Limits { memory_bytes: Some(1 << 30), cpu_ratio: Some(0.25), tasks_max: None };
    let none = Groups::none("only files");
    let mut umbrella = Umbrella::over(group(folder()), &none, &limits).unwrap();
    assert_eq!(fake.read("memory.max"), "1073741824");
    assert!(fake.read("cpu.max").starts_with("25000 100000"));
    assert!(fake.read("memory.oom.group").starts_with('0'));
    assert!(umbrella.holds(What::Memory) && umbrella.holds(What::Cpu));
    assert!(!umbrella.holds(What::Tasks));
    assert_eq!(umbrella.memory_current_bytes(), Some(2048));
    umbrella.group.folders.clear();
    // Where children may not have every limit, there is none.
    std::fs::write(fake.path().join("cgroup.subtree_control"), "cpu pids\n").unwrap();
    Umbrella::over(group(folder()), &none, &limits).unwrap_err();
}

fn parsed(groups: &str, mounts: &str) -> (Vec<ProcessCGroup>, Vec<MountInfo>) {
    let groups = ProcessCGroups::from_buf_read(groups.as_bytes()).unwrap().0;
    (groups, MountInfos::from_buf_read(mounts.as_bytes()).unwrap().0)
}

#[test]
fn our_own_groups_are_found_through_every_kind_of_mount() {
    let (groups, mounts) = parsed(
        "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc/deep\n3:pids:/other\n0::/user.slice\n",
        "30 1 0:1 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
         31 1 0:2 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
         32 1 0:3 /docker/abc /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
         33 1 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
    );
    let found = v1::own_groups(&groups, &mounts);
    let expected =
        [("/sys/fs/cgroup/cpu,cpuacct", What::Cpu), ("/sys/fs/cgroup/memory/deep", What::Memory)];
    let expected = expected.map(|(path, what)| (PathBuf::from(path), vec![what]));
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    let own = v2::own_group(&groups, &mounts).unwrap();
    assert_eq!(own, Path::new("/sys/fs/cgroup/unified/user.slice"));
    // Seen from a name space of its own, what lies above it begins with dots.
    let (outside, _) = parsed("0::/../other\n", "");
    v2::own_group(&outside, &mounts).unwrap_err();
    v2::own_group(&[], &mounts).unwrap_err();
}
