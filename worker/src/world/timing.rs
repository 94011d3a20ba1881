//! The engine's timers, and the clock that they ask.
//!
//! The engine times nothing unless it is given a clock. The clock costs what reading it costs,
//! some twenty times a step, so it is there only while somebody wants to know. The processor's
//! counter is several times cheaper than the system's clock; how fast it counts is measured
//! against the system's clock over the whole of what is timed.

#![expect(unsafe_code, reason = "gives a C library a clock")]

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Instant;

use mujoco_rs::mujoco_c::{mjcb_time, mjtIntegrator};
use simward_protocol::profiling::{Clock, ModelPhases, Phase, PhaseTime, PhaseTimes};
use simward_protocol::real::Real;

use super::Slot;
use super::simulation::Simulation;

/// Whose steps are timed, since when.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    slots: BTreeMap<u32, Moment>,
}

/// A moment by both clocks.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Instant,
    ticks: f64,
}

impl Moment {
    fn now() -> Self {
        Self { at: Instant::now(), ticks: ticks() }
    }
}

impl Timing {
    /// Times the steps of a slot's models from now on, from zero.
    pub(crate) fn begin(&mut self, slot: u32, room: &mut Slot) {
        for simulation in room.models.values_mut() {
            for timer in simulation.data.timer_mut() {
                timer.duration = 0.0;
                timer.number = 0;
            }
        }
        self.slots.insert(slot, Moment::now());
        give_clock(true);
    }

    /// Lets go of the clock, if nobody else wants it.
    pub(crate) fn end(&mut self, slot: u32) {
        self.slots.remove(&slot);
        if self.slots.is_empty() {
            give_clock(false);
        }
    }

    /// What was timed of a slot's models.
    pub(crate) fn look(&self, slot: u32, room: &Slot) -> PhaseTimes {
        let clock = if counts_evenly() { Clock::Counter } else { Clock::System };
        let Some(begun) = self.slots.get(&slot) else {
            return PhaseTimes { timed_secs: None, clock, models: Vec::new() };
        };
        let now = Moment::now();
        let passed_secs = (now.at - begun.at).as_secs_f64();
        let ticks = now.ticks - begun.ticks;
        let secs_per_tick = if 0.0 < ticks { passed_secs / ticks } else { 0.0 };
        let models = room.models.iter();
        let models =
            models.map(|(model_id, simulation)| phases(model_id, simulation, secs_per_tick));
        PhaseTimes { timed_secs: Some(passed_secs), clock, models: models.collect() }
    }
}

fn phases(model_id: &str, simulation: &Simulation, secs_per_tick: f64) -> ModelPhases {
    let timers = Phase::ALL.into_iter().zip(simulation.data.timer());
    let phases = timers.map(|(phase, timer)| PhaseTime {
        phase,
        count: u64::try_from(timer.number).unwrap_or(0),
        secs: Real(timer.duration * secs_per_tick),
    });
    let mut phases: Vec<_> = phases.collect();
    if simulation.data.model().opt().integrator == mjtIntegrator::mjINT_RK4 as i32 {
        count_once(&mut phases);
    }
    ModelPhases { model_id: model_id.to_owned(), phases }
}

/// RK4 evaluates three times while it integrates, and the engine counts that as both. Here it is
/// [`Phase::Forward`]'s alone: what is left for the other is the rest of the step.
fn count_once(phases: &mut [PhaseTime]) {
    let of = |phases: &[PhaseTime], phase| {
        phases.iter().find(|it| it.phase == phase).map_or(0.0, |it| it.secs.0)
    };
    let rest = (of(phases, Phase::Step) - of(phases, Phase::Forward)).max(0.0);
    for advance in phases.iter_mut().filter(|it| it.phase == Phase::Advance) {
        advance.secs = Real(advance.secs.0.min(rest));
    }
}

/// Gives the engine its clock, or takes it away.
fn give_clock(wanted: bool) {
    let clock = wanted.then_some(clock as unsafe extern "C" fn() -> f64);
    // SAFETY: the engine reads the variable while it computes, and only this thread lets it
    // compute; threads that help with that have ended when a call is served. The function lives
    // as long as the program and may be called by any thread.
    unsafe { mjcb_time = clock };
}

extern "C" fn clock() -> f64 {
    ticks()
}

/// The time since this was first asked, in a unit that [`Timing::look`] measures.
#[expect(clippy::cast_precision_loss, reason = "exact for a month of a processor's ticks")]
fn ticks() -> f64 {
    static FIRST: OnceLock<(Instant, u64)> = OnceLock::new();
    let (first, first_count) = *FIRST.get_or_init(|| (Instant::now(), counter()));
    if counts_evenly() {
        // Two processors' counters may differ by a few ticks: before the first is the first.
        counter().saturating_sub(first_count) as f64
    } else {
        first.elapsed().as_nanos() as f64
    }
}

#[cfg(target_arch = "x86_64")]
fn counter() -> u64 {
    // SAFETY: every processor of this architecture has the instruction, and the jail leaves it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    0
}

/// Whether the processor's counter goes on at one speed, whatever the processor does.
#[cfg(target_arch = "x86_64")]
fn counts_evenly() -> bool {
    /// The leaf that tells of it, and its bit.
    const POWER: u32 = 0x8000_0007;
    const INVARIANT: u32 = 1 << 8;
    static EVENLY: OnceLock<bool> = OnceLock::new();
    *EVENLY.get_or_init(|| {
        let last = std::arch::x86_64::__cpuid(0x8000_0000).eax;
        POWER <= last && std::arch::x86_64::__cpuid(POWER).edx & INVARIANT != 0
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn counts_evenly() -> bool {
    false
}
