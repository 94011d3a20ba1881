//! Simulations that advance by themselves, between the calls.

use std::time::{Duration, Instant};

use simward_protocol::checkpoint::{self, Counts};
use simward_protocol::real::Real;
use simward_protocol::simulation::RunStatus;

use super::World;
use super::simulation::{Simulation, between};
use crate::handlers::step::Slices;

/// One simulation under way.
pub(crate) struct Background {
    pub(crate) slot: u32,
    pub(crate) model_id: String,
    pub(crate) until_secs: f64,
    pub(crate) real_time_factor: Option<f64>,
    /// When it began, by the clock and in simulated time.
    pub(crate) begun: (Instant, f64),
    pub(crate) steps_done: u64,
    pub(crate) before: Counts,
    /// When it was last kept.
    pub(crate) kept_at: Instant,
    pub(crate) slices: Slices,
}

/// When the simulation thread has background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing runs.
    Never,
    /// A step is due.
    Now,
    /// The next step is due then.
    In(Duration),
}

impl Background {
    pub(crate) fn is_of(&self, slot: u32, model_id: &str) -> bool {
        self.slot == slot && self.model_id == model_id
    }

    /// How it stands.
    pub(crate) fn status(&self, simulation: &Simulation, running: bool) -> RunStatus {
        let (warnings, auto_resets) = between(&self.before, &simulation.counts());
        RunStatus {
            model_id: self.model_id.clone(),
            running,
            time_secs: Real(simulation.time_secs()),
            until_secs: Real(self.until_secs),
            steps_done: self.steps_done,
            warnings,
            auto_resets,
        }
    }

    /// What is kept of it.
    pub(crate) fn kept(&self) -> checkpoint::Run {
        let Self { until_secs, real_time_factor, steps_done, before, .. } = *self;
        checkpoint::Run { until_secs, real_time_factor, steps_done, before }
    }

    /// Begins where the simulation is.
    pub(crate) fn begun(
        slot: u32,
        model_id: String,
        simulation: &Simulation,
        duration_secs: f64,
        real_time_factor: Option<f64>,
    ) -> Self {
        let from_secs = simulation.time_secs();
        let until_secs = from_secs + duration_secs;
        let (steps_done, before) = (0, simulation.counts());
        let run = checkpoint::Run { until_secs, real_time_factor, steps_done, before };
        Self::resumed(slot, model_id, run, from_secs)
    }

    /// Goes on with what was kept.
    pub(crate) fn resumed(slot: u32, model_id: String, run: checkpoint::Run, from: f64) -> Self {
        let checkpoint::Run { until_secs, real_time_factor, steps_done, before } = run;
        let (now, slices) = (Instant::now(), Slices::new());
        let (begun, kept_at) = ((now, from), now);
        Self {
            slot,
            model_id,
            until_secs,
            real_time_factor,
            begun,
            steps_done,
            before,
            kept_at,
            slices,
        }
    }

    /// The simulated time that should have been reached by now.
    fn target_secs(&self, now: Instant) -> f64 {
        match self.real_time_factor {
            None => f64::INFINITY,
            Some(factor) => {
                let (begun, from_secs) = self.begun;
                from_secs + now.duration_since(begun).as_secs_f64() * factor
            }
        }
    }

    /// When its next step is due.
    fn due(&self, time_secs: f64, now: Instant) -> Due {
        let ahead_secs = time_secs - self.target_secs(now);
        match self.real_time_factor {
            Some(factor) if 0.0 < ahead_secs => Due::In(
                Duration::try_from_secs_f64(ahead_secs / factor)
                    .unwrap_or(PAUSE_MAX)
                    .min(PAUSE_MAX),
            ),
            _ => Due::Now,
        }
    }
}

/// The longest wait for a paced simulation's next step.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How often a background simulation is kept while nobody asks for it.
const KEEP_EVERY: Duration = Duration::from_millis(10);

impl World {
    /// When there is background work to do.
    pub(crate) fn background_due(&self) -> Due {
        let now = Instant::now();
        let mut soonest = Due::Never;
        for run in &self.runs {
            let Some(simulation) = self.simulation_of(run) else { return Due::Now };
            let pace = self.slots.get(&run.slot).and_then(|room| room.pace.owed(now));
            let due = pace.map_or_else(|| run.due(simulation.time_secs(), now), Due::In);
            match (due, soonest) {
                (Due::Now, _) => return Due::Now,
                (Due::In(pause), Due::In(other)) => soonest = Due::In(pause.min(other)),
                (due, _) => soonest = due,
            }
        }
        soonest
    }

    /// Gives every background simulation that is due one slice.
    pub(crate) fn advance_background(&mut self) {
        let mut runs = std::mem::take(&mut self.runs);
        let begun = Instant::now();
        self.shared.pulse.begin(0);
        runs.retain_mut(|run| {
            let goes_on = self.advance_one(run);
            if !goes_on {
                self.finish(run);
            }
            self.keep_one(run, goes_on);
            goes_on
        });
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.shared.pulse.end(nanos);
        self.runs = runs;
        self.shared.pulse.runs(!self.runs.is_empty());
    }

    /// Tells whether there is more to do.
    fn advance_one(&mut self, run: &mut Background) -> bool {
        let shared = std::sync::Arc::clone(&self.shared);
        let Some(room) = self.slots.get_mut(&run.slot) else { return false };
        let Some(simulation) = room.models.get_mut(&run.model_id) else { return false };
        let pace = &mut room.pace;
        let now = Instant::now();
        if run.due(simulation.time_secs(), now) != Due::Now || pace.owed(now).is_some() {
            return true;
        }
        let timestep_secs = simulation.data.model().opt().timestep;
        let goal_secs = run.target_secs(now).min(run.until_secs);
        let missing = ((goal_secs - simulation.time_secs()) / timestep_secs).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let missing = missing.clamp(1.0, 1e9) as u64;
        let before_secs = simulation.time_secs();
        let steps = run.slices.next().min(missing).min(pace.slice_max());
        let begun = Instant::now();
        let taken = simulation.advance(steps, &shared.pulse, 0);
        run.steps_done += taken;
        let ended = Instant::now();
        run.slices.took(ended - begun);
        pace.took(ended, taken, ended - begun);
        if simulation.time_secs() < before_secs {
            // The engine started anew from time 0. What was asked for is a stretch of simulated
            // time, which a simulation that keeps falling over never reaches: it ends here.
            return false;
        }
        // Half a step of tolerance: sums of timesteps are not exact.
        simulation.time_secs() + timestep_secs / 2.0 < run.until_secs
    }

    /// Keeps its state: every now and then, and in the end.
    fn keep_one(&mut self, run: &mut Background, goes_on: bool) {
        let now = Instant::now();
        if goes_on && now - run.kept_at < KEEP_EVERY {
            return;
        }
        run.kept_at = now;
        let room = self.slots.get_mut(&run.slot);
        let simulation = room.and_then(|room| room.models.get_mut(&run.model_id));
        if let Some(simulation) = simulation.filter(|simulation| simulation.has_changed()) {
            simulation.keep(0, goes_on.then(|| run.kept()));
        }
    }

    /// Keeps how a background simulation ended: as many as there are models.
    pub(crate) fn finish(&mut self, run: &Background) {
        if let Some(simulation) = self.simulation_of(run) {
            let status = run.status(simulation, false);
            self.finished.insert((run.slot, run.model_id.clone()), status);
        }
    }

    fn simulation_of(&self, run: &Background) -> Option<&Simulation> {
        self.slots.get(&run.slot)?.models.get(&run.model_id)
    }
}
