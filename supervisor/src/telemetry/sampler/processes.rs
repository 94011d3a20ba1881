//! Processor time and memory of workers, for about two microseconds each.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The processes that are looked at.
#[derive(Debug, Default)]
pub(super) struct Processes {
    known: HashMap<i32, Known>,
    /// Which look is under way.
    round: u64,
}

#[derive(Debug)]
struct Known {
    started: Instant,
    statm: File,
    clock: ClockId,
    cpu: Duration,
    look: Look,
    round: u64,
}

/// What was seen of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    /// Its processor use since the last look, where 1 is one core; no number if it is not known.
    pub(super) cpu_ratio: f64,
    /// Its resident memory.
    pub(super) resident_bytes: f64,
}

impl Processes {
    /// Looks at a process of ours, that was started then: a number may come again.
    pub(super) fn look(&mut self, pid: i32, started: Instant, passed_secs: f64) -> Option<Look> {
        let round = self.round;
        let same = |known: &&mut Known| known.started == started;
        let Some(known) = self.known.get_mut(&pid).filter(same) else {
            let known = Known::open(pid, started, (passed_secs, round))?;
            let look = known.look;
            self.known.insert(pid, known);
            return Some(look);
        };
        // Sessions may share it.
        if known.round == round {
            return Some(known.look);
        }
        known.round = round;
        let cpu: Duration = clock_gettime(known.clock).ok()?.into();
        let used = cpu.saturating_sub(known.cpu);
        known.cpu = cpu;
        known.look.cpu_ratio = used.as_secs_f64() / passed_secs;
        // Memory does not change while nothing runs.
        if used != Duration::ZERO {
            known.look.resident_bytes = resident_bytes(&known.statm)?;
        }
        Some(known.look)
    }

    /// Ends the round: forgets the processes that nobody asked for in it.
    pub(super) fn forget_gone(&mut self) {
        let round = self.round;
        self.known.retain(|_, known| known.round == round);
        self.round += 1;
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

impl Known {
    fn open(pid: i32, started: Instant, (passed_secs, round): (f64, u64)) -> Option<Self> {
        let statm = File::open(format!("/proc/{pid}/statm")).ok()?;
        // Processor time of all threads of it, to the nanosecond.
        let clock = clock_getcpuclockid(Pid::from_raw(pid)).ok()?;
        let cpu: Duration = clock_gettime(clock).ok()?.into();
        let lived_secs = started.elapsed().as_secs_f64().max(1e-3);
        // Of one that is older than this stretch it is not known what it used in it.
        let is_new = lived_secs < passed_secs + 1.0;
        let cpu_ratio = if is_new { cpu.as_secs_f64() / lived_secs } else { f64::NAN };
        let look = Look { cpu_ratio, resident_bytes: resident_bytes(&statm)? };
        Some(Self { started, statm, clock, cpu, look, round })
    }
}

fn resident_bytes(statm: &File) -> Option<f64> {
    let mut text = [0; 128];
    let length = statm.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(text.get(..length)?).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "measurements are floating point")]
    let bytes = pages.saturating_mul(procfs::page_size()) as f64;
    Some(bytes)
}

#[cfg(test)]
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "numbers of a test are small, and exact where they are compared"
)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_uses_the_processor() {
        let mut processes = Processes::default();
        let (pid, started) = (i32::try_from(std::process::id()).unwrap(), Instant::now());
        processes.look(pid, started, 1.0).unwrap();
        processes.forget_gone();
        let clock = clock_getcpuclockid(Pid::from_raw(pid)).unwrap();
        let cpu = || Duration::from(clock_gettime(clock).unwrap());
        let begun = cpu();
        while cpu() < begun + Duration::from_millis(10) {
            std::hint::spin_loop();
        }
        let look = processes.look(pid, started, 1.0).unwrap();
        assert!(0.01 <= look.cpu_ratio && look.cpu_ratio < 60.0, "{look:?}");
        assert!(1e6 < look.resident_bytes, "{look:?}");
        // Nobody asks for it: it is forgotten.
        processes.forget_gone();
        assert_eq!(processes.len(), 1);
        processes.forget_gone();
        assert_eq!(processes.len(), 0);
        assert!(processes.look(i32::MAX, started, 1.0).is_none());
    }
}
