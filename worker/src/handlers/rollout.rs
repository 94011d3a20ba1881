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
        let sequences = call.controls.len() as u64;
        if sequences == 0 {
            let problem = "give at least one sequence of controls; an empty one keeps the controls";
            return Err(Fault::Invalid { field: "controls".into(), problem: problem.into() });
        }
        at_most("steps of one call, all sequences together", call.steps.saturating_mul(sequences))?;
        if call.steps == 0 || Rollout::SAMPLES_MAX < call.samples {
            let problem = format!(
                "`steps` must be at least 1, and `samples` at most {}",
                Rollout::SAMPLES_MAX
            );
            return Err(Fault::Invalid { field: "steps".into(), problem });
        }
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
    fn roll(
        &mut self,
        slot: u32,
        model_id: &str,
        futures: &mut Futures,
        call: &Rollout,
    ) -> Result<u64, Fault> {
        let shared = Arc::clone(&self.shared);
        shared.pulse.expects(call.steps);
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
            self.slot(slot)?.pace.took(Instant::now(), all, took * futures.threads());
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

fn at_most(what: &str, value: u64) -> Result<(), Fault> {
    if value <= Rollout::STEPS_MAX {
        return Ok(());
    }
    Err(Fault::LimitExceeded { what: what.into(), value, max: Rollout::STEPS_MAX })
}
