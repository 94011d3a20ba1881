//! With real control groups and real processes. A machine that has no control groups must say so.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// A process that tells when it is ready, waits for a word, and does its worst.
struct Hog {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Hog {
    fn start(program: &str, args: &[&str]) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a hog is no worker")]
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut hog = Self { child, stdin, stdout };
        assert_eq!(hog.hear(), "ready");
        hog
    }

    fn python(script: &str) -> Self {
        let ready = "print('ready', flush=True)\nimport os, sys\nsys.stdin.readline()\n";
        Self::start("python3", &["-c", &format!("{ready}{script}")])
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    fn go(&mut self) {
        self.stdin.write_all(b"go\n").unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn signal(&mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        self.child.wait().unwrap().signal()
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Groups with everything; `None` where the machine has none, and then they say so.
fn groups(name: &str) -> Option<Groups> {
    let groups = Groups::find(name);
    let whats: Vec<What> = groups.can().iter().map(|it| it.what).collect();
    if whats == What::ALL {
        assert_eq!(groups.why_not(), None);
        return Some(groups);
    }
    if whats.is_empty() {
        assert!(groups.why_not().is_some_and(|why| !why.is_empty()));
        let error = groups.make(&Limits::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }
    // The hogs of these tests want all three.
    println!("this machine has only {whats:?}: {:?}", groups.why_not());
    None
}

/// The folders of a group, to see that they are gone.
fn paths(group: &Group) -> Vec<PathBuf> {
    group.folders.iter().map(|folder| folder.path.clone()).collect()
}

fn enforced(group: &Group) -> Vec<What> {
    group.in_force().iter().map(|it| it.what).collect()
}

#[test]
fn a_memory_hog_is_killed_at_its_limit() {
    let Some(groups) = groups("simward-test-memory") else { return };
    let limit = 64 << 20;
    let limits = Limits { memory_bytes: Some(limit), ..Limits::default() };
    let group = groups.make(&limits).unwrap();
    let mut hog = Hog::python("hog = b'x' * (256 << 20)\nprint('alive', flush=True)");
    assert_eq!(enforced(&group), []);
    group.enter(hog.pid()).unwrap();
    assert_eq!(enforced(&group), [What::Memory]);
    assert_eq!(group.oom_kills(), Some(0));
    hog.go();
    assert_eq!(hog.hear(), "");
    assert_eq!(hog.signal(), Some(9));
    // The second version ends a group as a whole, and may count the first of it twice.
    let counts = if groups.can()[0].by == By::CgroupV1 { 1..=1 } else { 1..=2 };
    assert!(group.oom_kills().is_some_and(|count| counts.contains(&count)));
    let peak = group.memory_peak_bytes().unwrap();
    assert!((limit * 9 / 10..=limit).contains(&peak), "{peak}");
    assert!(group.memory_current_bytes().unwrap() < limit);
    let paths = paths(&group);
    drop(group);
    drop(groups);
    assert!(!paths.iter().any(|path| path.exists() || path.parent().unwrap().exists()));
}

#[test]
fn a_processor_hog_is_held_at_its_quota() {
    let Some(groups) = groups("simward-test-cpu") else { return };
    let limits = |ratio| Limits { cpu_ratio: Some(ratio), ..Limits::default() };
    let group = groups.make(&limits(0.2)).unwrap();
    let mut hog = Hog::start("sh", &["-c", "echo ready; read go; while :; do :; done"]);
    group.enter(hog.pid()).unwrap();
    assert_eq!(enforced(&group), [What::Cpu]);
    hog.go();
    let ratio = cpu_ratio(&hog, Duration::from_secs(1));
    assert!((0.02..0.4).contains(&ratio), "{ratio}");
    assert!(group.cpu_throttled_secs().is_some_and(|secs| 0.1 < secs));
    group.set(&limits(0.05)).unwrap();
    assert_eq!(enforced(&group), [What::Cpu]);
    let ratio = cpu_ratio(&hog, Duration::from_secs(1));
    assert!(ratio < 0.15, "{ratio}");
}

/// What it takes of a processor.
fn cpu_ratio(hog: &Hog, over: Duration) -> f64 {
    let cpu = || crate::pool::reading::read(hog.pid()).unwrap().cpu;
    let (start, before) = (Instant::now(), cpu());
    #[expect(clippy::disallowed_methods, reason = "what is measured is the use over a time")]
    std::thread::sleep(over);
    cpu().saturating_sub(before).as_secs_f64() / start.elapsed().as_secs_f64()
}

const FORK_BOMB: &str = "
import signal
count, error = 0, 0
while count < 40 and not error:
    try:
        if os.fork() == 0:
            os.setsid()
            signal.pause()
        count += 1
    except OSError as e:
        error = e.errno
print(count, error, flush=True)
sys.stdin.readline()
";

#[test]
fn a_fork_bomb_is_stopped_and_every_child_of_it_is_killed() {
    let Some(groups) = groups("simward-test-tasks") else { return };
    let limits = Limits { tasks_max: Some(8), cpu_ratio: Some(0.5), ..Limits::default() };
    let group = groups.make(&limits).unwrap();
    let mut bomb = Hog::python(FORK_BOMB);
    group.enter(bomb.pid()).unwrap();
    assert_eq!(enforced(&group), [What::Cpu, What::Tasks]);
    bomb.go();
    assert_eq!(bomb.hear(), "7 11");
    assert_eq!(group.folders[0].pids().unwrap().len(), 8);
    group.kill().unwrap();
    assert_eq!(bomb.signal(), Some(9));
    assert!(group.folders[0].pids().unwrap().is_empty());
    group.kill().unwrap();
    let paths = paths(&group);
    drop(group);
    assert!(!paths.iter().any(|path| path.exists()));
}

#[test]
fn a_limit_can_be_raised_lowered_and_taken_away() {
    let Some(groups) = groups("simward-test-set") else { return };
    let group = groups.make(&Limits::default()).unwrap();
    let hog = Hog::python("");
    group.enter(hog.pid()).unwrap();
    assert_eq!(enforced(&group), []);
    for bytes in [100_000_000, 300_000_000, 50_000_000] {
        let (memory_bytes, tasks_max) = (Some(bytes), Some(bytes / 10_000_000));
        let limits = Limits { memory_bytes, cpu_ratio: Some(1.5), tasks_max };
        group.set(&limits).unwrap();
        assert_eq!(enforced(&group), What::ALL);
    }
    // What somebody else changes is not claimed any more.
    let folder = group.folder(What::Tasks).unwrap();
    folder.write("pids.max", "max").unwrap();
    assert_eq!(enforced(&group), [What::Memory, What::Cpu]);
    group.set(&Limits::default()).unwrap();
    assert_eq!(enforced(&group), []);
    let endless = Limits { cpu_ratio: Some(f64::NAN), ..Limits::default() };
    group.set(&endless).unwrap();
    assert!(group.enter(i32::MAX).is_err());
    assert_eq!(group.in_force(), []);
}

#[test]
fn a_busy_group_goes_once_its_last_process_has_ended() {
    let Some(groups) = groups("simward-test-busy") else { return };
    let group = groups.make(&Limits::default()).unwrap();
    let hog = Hog::python("");
    group.enter(hog.pid()).unwrap();
    let paths = paths(&group);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { drop(group) });
    assert!(paths.iter().all(|path| path.exists()));
    drop(hog);
    // Waits for what was left to do in a blocking place.
    drop(runtime);
    assert!(!paths.iter().any(|path| path.exists()));
    drop(groups);
    assert!(!paths.iter().any(|path| path.parent().unwrap().exists()));
}

#[test]
fn what_a_dead_daemon_left_behind_is_cleared_away_and_a_living_ones_is_not() {
    let name = "simward-test-left";
    let Some(first) = groups(name) else { return };
    let parents: Vec<PathBuf> =
        first.site.folders.iter().map(|it| it.path.parent().unwrap().to_owned()).collect();
    drop(first);
    let (dead, living) = (format!("{name}-{}", i32::MAX), format!("{name}-1"));
    for parent in &parents {
        std::fs::create_dir_all(parent.join(&dead).join("w1")).unwrap();
        std::fs::create_dir_all(parent.join(&living).join("w1")).unwrap();
    }
    drop(Groups::find(name));
    for parent in &parents {
        assert!(!parent.join(&dead).exists());
        std::fs::remove_dir(parent.join(&living).join("w1")).unwrap();
        std::fs::remove_dir(parent.join(&living)).unwrap();
    }
}

/// What a session pays; on the machine where this was written 0.2 ms in all.
#[test]
fn groups_are_made_and_removed_quickly() {
    let Some(groups) = groups("simward-test-cost") else { return };
    let (start, count) = (Instant::now(), 100);
    let limits = Limits { memory_bytes: Some(1 << 30), cpu_ratio: Some(1.0), tasks_max: Some(64) };
    for _ in 0..count {
        drop(groups.make(&limits).unwrap());
    }
    let each = start.elapsed() / count;
    println!("a group costs {each:?}");
    assert!(each < Duration::from_millis(50), "{each:?}");
}

/// The second version without controllers, as beside the first: membership and killing are real.
#[test]
fn the_second_version_kills_with_one_word() {
    let own = procfs::process::Process::myself().unwrap();
    let found = v2::own_group(&own.cgroups().unwrap().0, &own.mountinfo().unwrap().0);
    let Ok(own) = found else { return println!("the second version is not mounted") };
    let site = Folder { path: own, by: By::CgroupV2, whats: Vec::new() };
    let Ok(folder) = site.child(&format!("simward-test-kill-{}", std::process::id())) else {
        return println!("the second version gives us no group");
    };
    let (path, site) = (folder.path.clone(), Arc::default());
    let (umbrella, asked) = (None, Mutex::default());
    let group = Group { folders: vec![folder], asked, umbrella, site };
    let mut hog = Hog::python(FORK_BOMB);
    group.enter(hog.pid()).unwrap();
    hog.go();
    assert_eq!(hog.hear(), "40 0");
    group.kill().unwrap();
    assert_eq!(hog.signal(), Some(9));
    assert_eq!(group.in_force(), []);
    drop(group);
    assert!(!path.exists());
}

#[test]
fn two_under_an_umbrella_have_together_what_it_allows() {
    let Some(groups) = groups("simward-test-together") else { return };
    let limits = Limits { memory_bytes: Some(100 << 20), cpu_ratio: Some(0.5), tasks_max: None };
    let umbrella = groups.make_umbrella("ab", &limits).unwrap();
    assert!(umbrella.holds(What::Memory) && umbrella.holds(What::Cpu));
    let own = Limits { memory_bytes: Some(90 << 20), cpu_ratio: Some(0.25), tasks_max: Some(8) };
    let script = "hog = b'x' * (60 << 20)\nprint('alive', flush=True)\nsys.stdin.readline()";
    let mut hogs = [Hog::python(script), Hog::python(script)];
    let under = [umbrella.make(&own).unwrap(), umbrella.make(&own).unwrap()];
    assert_eq!(under[0].in_force_above(), []);
    for (hog, group) in hogs.iter().zip(&under) {
        group.enter(hog.pid()).unwrap();
        assert_eq!(enforced(group), What::ALL);
        let above: Vec<What> = group.in_force_above().iter().map(|it| it.what).collect();
        assert_eq!(above, [What::Memory, What::Cpu]);
    }
    let [first, second] = &mut hogs;
    first.go();
    assert_eq!(first.hear(), "alive");
    assert!((60 << 20) < umbrella.memory_current_bytes().unwrap());
    // Within its own limit, and too much together: one of them goes.
    second.go();
    second.hear();
    let kills = |group: &Group| group.oom_kills().unwrap();
    assert!(0 < kills(&under[0]) + kills(&under[1]));
    for group in &under {
        assert!(group.memory_peak_bytes().unwrap() < 90 << 20);
    }
    let paths: Vec<PathBuf> = under.iter().flat_map(paths).chain(paths(&umbrella.group)).collect();
    drop(hogs);
    drop(under);
    assert!(umbrella.group.folders.iter().all(|folder| folder.path.exists()));
    drop(umbrella);
    assert!(!paths.iter().any(|path| path.exists()));
}

#[test]
fn an_umbrella_goes_with_the_last_that_is_under_it() {
    let Some(groups) = groups("simward-test-last") else { return };
    let limits = Limits { memory_bytes: Some(1 << 30), ..Limits::default() };
    let umbrella = groups.make_umbrella("ab", &limits).unwrap();
    let above = paths(&umbrella.group);
    let group = umbrella.make(&Limits::default()).unwrap();
    drop(umbrella);
    assert!(above.iter().all(|path| path.exists()));
    // What a dead daemon leaves is counted on from.
    let number = groups.site.folders[0].last_number();
    assert_eq!(number, groups.site.made.load(Ordering::Relaxed));
    drop(group);
    assert!(!above.iter().any(|path| path.exists()));
}
