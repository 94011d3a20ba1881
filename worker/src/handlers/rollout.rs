//! Many futures of one state at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::real::Real;
use simward_protocol::rollout::{RolledOut, Rollout};

use super::step::Slices;
use crate::world::World;
use crate::world::futures::Futures;

/// How long one slice takes: long enough that starting the threads costs next to nothing, short
/// enough that a withdrawal is noticed.
const SLICE: Duration = Duration::from_millis(50);

impl Serve<Rollout> for World {
    fn serve(&mut self, slot: u32, call: Rollout) -> Result<RolledOut, Fault> {
        rollout_is_bounded(&call)?;
        let (model_id, simulation) = self.model(slot, call.model_id.as_deref())?;
        let from_secs = Real(simulation.time_secs());
        let mut futures = Futures::new(simulation, &call)?;
        let threads = futures.threads();
        let steps_done = self.roll(slot, &model_id, &mut futures, &call)?;
        futures.look(&model_id, true);
        let rollouts = futures.end();
        let is_cut_short = steps_done < call.steps;
        Ok(RolledOut { model_id, from_secs, steps_done, is_cut_short, threads, rollouts })
    }
}

impl World {
    /// Steps all sequences in slices; tells how far they came.
    pub(super) fn roll(
        &mut self,
        slot: u32,
        model_id: &str,
        futures: &mut Futures,
        call: &Rollout,
    ) -> Result<u64, Fault> {
        let shared = Arc::clone(&self.shared);
        shared.pulse.expects(call.steps);
        let timestep_secs = self.model(slot, Some(model_id))?.1.timestep_secs();
        let (begun, budget) = (Instant::now(), Duration::from_millis(call.budget_millis));
        let mut slices = Slices::aiming_at(SLICE);
        let (mut done, mut sampled) = (0, 0);
        while done < call.steps && futures.alive() != 0 {
            let is_over = budget <= begun.elapsed() || shared.pulse.current_is_cancelled();
            if is_over || self.rest(slot, begun + budget)?.is_some() {
                break;
            }
            // Samples lie between beginning and end, at equal distances.
            let next_sample = match u64::from(call.samples) {
                samples if sampled < samples => (sampled + 1) * call.steps / (samples + 1),
                _ => call.steps,
            };
            let steps = slices
                .next()
                .min(futures.steps_until_control(done))
                .min(next_sample.saturating_sub(done).max(1))
                .min(call.steps - done);
            let slice_begun = Instant::now();
            futures.step(done, steps, &shared.pulse);
            done += steps;
            let took = slice_begun.elapsed();
            slices.took(took);
            let all = steps * futures.alive();
            let room = self.slot(slot)?;
            room.pace.took(Instant::now(), all, took * futures.threads());
            room.meter.stepped_apart(all, timestep_secs);
            while sampled < u64::from(call.samples)
                && (sampled + 1) * call.steps / (u64::from(call.samples) + 1) <= done
            {
                futures.look(model_id, false);
                sampled += 1;
            }
            self.publish_if_wanted();
        }
        Ok(done)
    }
}

/// Refuses what nobody can wait for.
pub(super) fn rollout_is_bounded(call: &Rollout) -> Result<(), Fault> {
    let sequences = call.controls.len() as u64;
    if sequences == 0 {
        let problem = "give at least one sequence of controls; an empty one keeps the controls";
        return Err(Fault::Invalid { field: "controls".into(), problem: problem.into() });
    }
    if call.steps == 0 || Rollout::SAMPLES_MAX < call.samples {
        let samples_max = Rollout::SAMPLES_MAX;
        let problem = format!("it must be at least 1, and `samples` at most {samples_max}");
        return Err(Fault::Invalid { field: "steps".into(), problem });
    }
    let (value, max) = (call.steps.saturating_mul(sequences), Rollout::STEPS_MAX);
    if value <= max {
        return Ok(());
    }
    let what = "steps of one call, all its simulations together".to_owned();
    Err(Fault::LimitExceeded { what, value, max })
}
