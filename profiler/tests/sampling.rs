//! Samples a process that has nothing but one hot function: this test itself, in a child.

#![expect(clippy::disallowed_methods, reason = "the child is the one that is sampled")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::hint::black_box;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, mkfifoat};
use simward_profiler::profile::Ended;
use simward_profiler::views::top;
use simward_profiler::{Error, Plan, Sampler};

/// What says that this process is the child.
const HOT: &str = "SIMWARD_PROFILER_HOT";

/// No longer than a test may take.
const AT_MOST: Duration = Duration::from_mins(1);

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn planted_hot_spot(rounds: u64) -> u64 {
    (0..rounds).fold(1, |sum, n| black_box(sum ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

#[test]
fn the_child_is_hot() {
    if std::env::var_os(HOT).is_none() {
        return;
    }
    let until = Instant::now() + AT_MOST;
    while Instant::now() < until {
        black_box(planted_hot_spot(1_000_000));
    }
}

struct Hot(Child);

impl Hot {
    fn start() -> Self {
        Self::start_as(&std::env::current_exe().unwrap())
    }

    fn start_as(program: &Path) -> Self {
        let child = Command::new(program)
            .args(["--exact", "the_child_is_hot", "--test-threads=2"])
            .env(HOT, "1")
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn plan(&self, millis: u64) -> Plan {
        let pid = i32::try_from(self.0.id()).unwrap();
        Plan { pid, duration: Duration::from_millis(millis), frequency_hz: 499 }
    }
}

impl Drop for Hot {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Opened, or a refusal that says what to set: both are right, each where it belongs.
fn opened(plan: Plan) -> Option<Sampler> {
    match Sampler::open(plan) {
        Ok(sampler) => Some(sampler),
        Err(Error::NotPermitted(missing)) => {
            let said = missing.remedy();
            assert!(said.contains("perf_event") || said.contains("PERF"), "{said}");
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn a_planted_hot_spot_is_found() {
    let hot = Hot::start();
    // The thread of the test is there once the child is.
    let Some(mut sampler) = opened(hot.plan(1500)) else { return };
    let mut told = 0;
    sampler
        .run(None, |_, samples| {
            told = samples;
            Ok(())
        })
        .unwrap();
    let profile = sampler.finish();
    assert!(profile.is_whole() && profile.ended == Ended::InTime, "{profile:?}");
    assert!(told <= profile.samples && 20 < profile.samples, "{profile:?}");
    let rows = top(&profile, usize::MAX).rows;
    let spot = rows.iter().find(|row| row.function.name == "planted_hot_spot");
    let spot = spot.unwrap_or_else(|| panic!("{:?}", &profile));
    assert!(0.9 < profile.share(spot.total_samples), "{rows:?}");
    assert!(profile.share(profile.cut) < 0.05, "{} of {}", profile.cut, profile.samples);
}

#[test]
fn a_process_that_ends_ends_its_profile() {
    let mut hot = Hot::start();
    let Some(mut sampler) = opened(hot.plan(60_000)) else { return };
    let child = &mut hot.0;
    sampler
        .run(None, |_, _| {
            child.kill()?;
            Ok(())
        })
        .unwrap();
    let profile = sampler.finish();
    assert_eq!(profile.ended, Ended::WithTheProcess);
    assert!(profile.is_whole());
}

#[test]
fn who_hangs_up_gets_what_there_is() {
    let hot = Hot::start();
    let Some(mut sampler) = opened(hot.plan(60_000)) else { return };
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut theirs = Some(theirs);
    sampler
        .run(Some(ours.as_fd()), |_, _| {
            drop(theirs.take());
            Ok(())
        })
        .unwrap();
    assert_eq!(sampler.finish().ended, Ended::Withdrawn);
}

#[test]
fn a_process_that_is_not_there_is_told() {
    let plan = Plan { pid: i32::MAX, duration: Duration::ZERO, frequency_hz: 99 };
    assert!(matches!(Sampler::open(plan), Err(Error::Gone)));
}

/// A copy of this test's program, which runs, and is then no longer where it was.
#[test]
fn what_takes_a_programs_place_is_neither_waited_for_nor_taken_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("hot");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let hot = Hot::start_as(&program);
    std::fs::remove_file(&program).unwrap();
    // So the kernel calls a program that is gone; whoever opens a queue waits for ever.
    let gone = folder.path().join("hot (deleted)");
    mkfifoat(CWD, &gone, Mode::from_raw_mode(0o600)).unwrap();
    let Some(mut sampler) = opened(hot.plan(1500)) else { return };
    sampler.run(None, |_, _| Ok(())).unwrap();
    let profile = sampler.finish();
    assert!(profile.is_whole() && 0 < profile.samples, "{profile:?}");
    let mut names = profile.functions.iter().map(|function| &function.name);
    assert!(names.all(|name| name != "planted_hot_spot"), "{profile:?}");
}

#[test]
fn a_program_keeps_its_names_when_its_path_means_another_one_later() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("hot");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let hot = Hot::start_as(&program);
    let Some(mut sampler) = opened(hot.plan(1500)) else { return };
    let other = folder.path().join("other");
    std::fs::write(&other, "no program").unwrap();
    std::fs::rename(&other, &program).unwrap();
    sampler.run(None, |_, _| Ok(())).unwrap();
    let rows = top(&sampler.finish(), usize::MAX).rows;
    assert!(rows.iter().any(|row| row.function.name == "planted_hot_spot"), "{rows:?}");
}
