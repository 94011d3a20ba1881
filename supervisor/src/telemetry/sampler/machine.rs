//! The machine, and the daemon's own process.

use nix::time::{ClockId, clock_gettime};
use procfs::process::Process;
use procfs::{Current as _, CurrentSI as _, KernelStats, LoadAverage, Meminfo};

use super::gpus::Gpus;
use crate::telemetry::metric::Id;
use crate::telemetry::series::Sample;

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// Ticks in which a processor was busy, and all.
    ticks: Option<(u64, u64)>,
    own_secs: Option<f64>,
    thread_secs: Option<f64>,
    looks: u64,
    fds: Option<f64>,
    gpus: Gpus,
}

/// Counting descriptors takes longer the more there are: every so many looks.
const FDS_EVERY: u64 = 10;

impl Machine {
    /// Nothing is looked at for a while: what is used until then is of no second.
    pub(super) fn rest(&mut self) {
        (self.ticks, self.own_secs, self.thread_secs) = (None, None, None);
    }

    pub(super) fn look(&mut self, fleet: &mut Sample, passed_secs: f64) {
        if let Ok(stats) = KernelStats::current() {
            let of = stats.total;
            let idle = of.idle + of.iowait.unwrap_or(0);
            let busy = of.user + of.nice + of.system + of.irq.unwrap_or(0);
            let busy = busy + of.softirq.unwrap_or(0) + of.steal.unwrap_or(0);
            if let Some((busy_before, all_before)) = self.ticks.replace((busy, busy + idle)) {
                let all = (busy + idle).saturating_sub(all_before);
                let busy = busy.saturating_sub(busy_before);
                if all != 0 {
                    fleet.set(Id::HostCpu, ratio(busy, all));
                }
            }
        }
        if let Ok(memory) = Meminfo::current()
            && let Some(available) = memory.mem_available
        {
            let used = memory.mem_total.saturating_sub(available);
            fleet.set(Id::HostMemory, ratio(used, memory.mem_total.max(1)));
        }
        if let Ok(load) = LoadAverage::current() {
            fleet.set(Id::HostLoad, f64::from(load.one));
        }
        self.gpus.look(fleet);
        self.own(fleet, passed_secs);
    }

    fn own(&mut self, fleet: &mut Sample, passed_secs: f64) {
        let own = secs_of(ClockId::CLOCK_PROCESS_CPUTIME_ID);
        let thread = secs_of(ClockId::CLOCK_THREAD_CPUTIME_ID);
        for (id, now, before) in [
            (Id::SupervisorCpu, own, &mut self.own_secs),
            (Id::TelemetryCpu, thread, &mut self.thread_secs),
        ] {
            if let (Some(now), Some(before)) = (now, std::mem::replace(before, now)) {
                fleet.set(id, (now - before).max(0.0) / passed_secs);
            }
        }
        let Ok(process) = Process::myself() else { return };
        if let Ok(memory) = process.statm() {
            #[expect(clippy::cast_precision_loss, reason = "measurements are floating point")]
            let bytes = memory.resident.saturating_mul(procfs::page_size()) as f64;
            fleet.set(Id::SupervisorMemory, bytes);
        }
        if self.looks.is_multiple_of(FDS_EVERY) {
            #[expect(clippy::cast_precision_loss, reason = "measurements are floating point")]
            let fds = process.fd_count().ok().map(|fds| fds as f64);
            self.fds = fds;
        }
        self.looks += 1;
        if let Some(fds) = self.fds {
            fleet.set(Id::SupervisorFds, fds);
        }
    }
}

/// Processor time on a clock of ours, in seconds.
pub(super) fn secs_of(clock: ClockId) -> Option<f64> {
    let time = clock_gettime(clock).ok()?;
    Some(std::time::Duration::from(time).as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "measurements are floating point")]
fn ratio(part: u64, all: u64) -> f64 {
    part as f64 / all as f64
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
    fn a_machine_has_ratios_from_nothing_to_all() {
        let (mut machine, mut fleet) = (Machine::default(), Sample::default());
        machine.look(&mut fleet, 1.0);
        machine.look(&mut fleet, 1.0);
        for id in [Id::HostMemory, Id::HostLoad, Id::SupervisorCpu, Id::TelemetryCpu] {
            assert!(fleet.get(id).is_some_and(|value| 0.0 <= value), "{id:?}");
        }
        assert!(fleet.get(Id::HostCpu).is_none_or(|value| (0.0..=1.0).contains(&value)));
        assert!(fleet.get(Id::HostMemory).is_some_and(|value| value <= 1.0));
        assert!(fleet.get(Id::SupervisorFds).is_some_and(|value| 2.0 < value));
    }
}
