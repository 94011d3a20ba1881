//! Simulations that advance by themselves, between the calls.

use std::time::{Duration, Instant};

use simward_protocol::real::Real;
use simward_protocol::simulation::RunStatus;

use super::World;
use super::simulation::{Simulation, Tally};
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
    pub(crate) tally: Tally,
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
        let (warnings, auto_resets) = simulation.tally().since(&self.tally);
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

impl World {
    /// When there is background work to do.
    pub(crate) fn background_due(&self) -> Due {
        let now = Instant::now();
        let mut soonest = Due::Never;
        for run in &self.runs {
            let Some(simulation) = self.simulation_of(run) else { return Due::Now };
            match (run.due(simulation.time_secs(), now), soonest) {
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
        let Ok((_, simulation)) = self.model(run.slot, Some(&run.model_id)) else { return false };
        let now = Instant::now();
        if run.due(simulation.time_secs(), now) != Due::Now {
            return true;
        }
        let timestep_secs = simulation.data.model().opt().timestep;
        let goal_secs = run.target_secs(now).min(run.until_secs);
        let missing = ((goal_secs - simulation.time_secs()) / timestep_secs).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let missing = missing.clamp(1.0, 1e9) as u64;
        let before_secs = simulation.time_secs();
        let steps = run.slices.next().min(missing);
        let begun = Instant::now();
        run.steps_done += simulation.advance(steps, &shared.pulse, 0);
        run.slices.took(begun.elapsed());
        if simulation.time_secs() < before_secs {
            // The engine started anew from time 0. What was asked for is a stretch of simulated
            // time, which a simulation that keeps falling over never reaches: it ends here.
            return false;
        }
        // Half a step of tolerance: sums of timesteps are not exact.
        simulation.time_secs() + timestep_secs / 2.0 < run.until_secs
    }

    /// Keeps how a background simulation ended: as many as there are models.
    fn finish(&mut self, run: &Background) {
        if let Some(simulation) = self.simulation_of(run) {
            let status = run.status(simulation, false);
            self.finished.insert((run.slot, run.model_id.clone()), status);
        }
    }

    fn simulation_of(&self, run: &Background) -> Option<&Simulation> {
        self.slots.get(&run.slot)?.models.get(&run.model_id)
    }
}
