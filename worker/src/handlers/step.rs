//! Advancing the simulation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::real::Real;
use simward_protocol::simulation::{Step, Stepped, StoppedBy};

use crate::world::World;
use crate::world::simulation::between;
use crate::world::values::{self, Target};

/// How many steps to take between two looks at the clock.
///
/// Begins small and grows to what takes about [`Slices::AIM`], so that a small model pays for few
/// looks and a large one still answers soon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slices(u64);

impl Slices {
    const FIRST: u64 = 8;
    const AIM: Duration = Duration::from_millis(5);
    const MAX: u64 = 1 << 16;

    pub(crate) fn new() -> Self {
        Self(Self::FIRST)
    }

    /// The next slice's length, in steps.
    pub(crate) fn next(self) -> u64 {
        self.0
    }

    /// The slice took that long.
    pub(crate) fn took(&mut self, elapsed: Duration) {
        if elapsed < Self::AIM / 2 {
            self.0 = (self.0 * 4).min(Self::MAX);
        } else if Self::AIM < elapsed {
            self.0 = (self.0 / 2).max(1);
        }
    }
}

impl Serve<Step> for World {
    fn serve(&mut self, slot: u32, call: Step) -> Result<Stepped, Fault> {
        let Step { model_id, steps, control, include, record, budget_millis } = call;
        if !(1..=Step::STEPS_MAX).contains(&steps) {
            return Err(steps_out_of_range(steps));
        }
        let (model_id, simulation) = self.still_model(slot, model_id.as_deref())?;
        let placed = match control {
            Some(control) => {
                let model = simulation.data.model();
                Some(values::place(model, Target::Ctrl, "control", control, f64::MAX)?)
            }
            None => None,
        };
        if let Some(selection) = record {
            simulation.begin_table(&selection, steps)?;
        }
        if let Some(placed) = placed {
            values::put(&placed, simulation.data.ctrl_mut());
            simulation.touch();
        }
        let before = simulation.counts();
        let budget = Duration::from_millis(budget_millis);
        let stepped = self.step(slot, &model_id, steps, budget);
        let (_, simulation) = self.model(slot, Some(&model_id))?;
        let table = simulation.end_table();
        let (steps_done, stopped_by) = stepped?;
        let (warnings, auto_resets) = between(&before, &simulation.counts());
        let time_secs = Real(simulation.time_secs());
        let state = (!include.is_empty()).then(|| simulation.state(model_id.clone(), &include));
        Ok(Stepped {
            model_id,
            time_secs,
            steps_done,
            stopped_by,
            warnings,
            auto_resets,
            state,
            table,
        })
    }
}

impl World {
    /// Steps in slices; between them, others get what they wait for.
    fn step(
        &mut self,
        slot: u32,
        model_id: &str,
        steps: u64,
        budget: Duration,
    ) -> Result<(u64, StoppedBy), Fault> {
        let shared = Arc::clone(&self.shared);
        shared.pulse.expects(steps);
        let begun = Instant::now();
        let mut slices = Slices::new();
        let mut done = 0;
        loop {
            if let Some(stopped_by) = self.rest(slot, begun + budget)? {
                return Ok((done, stopped_by));
            }
            let slice_begun = Instant::now();
            let room = self.slot(slot)?;
            let wanted = slices.next().min(steps - done).min(room.pace.slice_max());
            let Some(simulation) = room.models.get_mut(model_id) else {
                return Err(Fault::NoModel);
            };
            let taken = simulation.advance(wanted, &shared.pulse, done);
            done += taken;
            let now = Instant::now();
            room.pace.took(now, taken, now - slice_begun);
            if taken < wanted {
                return Ok((done, StoppedBy::Cancelled));
            }
            if done == steps {
                return Ok((done, StoppedBy::Steps));
            }
            if budget <= now - begun {
                return Ok((done, StoppedBy::Deadline));
            }
            slices.took(now - slice_begun);
            self.publish_if_wanted();
        }
    }

    /// Rests as long as the session owes for what it did; tells if the call ends meanwhile.
    fn rest(&mut self, slot: u32, deadline: Instant) -> Result<Option<StoppedBy>, Fault> {
        loop {
            let now = Instant::now();
            let Some(owed) = self.slot(slot)?.pace.owed(now) else { return Ok(None) };
            let pulse = &self.shared.pulse;
            if pulse.current_is_cancelled() {
                return Ok(Some(StoppedBy::Cancelled));
            }
            if deadline <= now {
                return Ok(Some(StoppedBy::Deadline));
            }
            pulse.rested();
            #[expect(clippy::disallowed_methods, reason = "a limit is kept by resting")]
            std::thread::sleep(owed.min(REST_MAX));
            self.publish_if_wanted();
        }
    }
}

/// The longest rest between two looks for a withdrawal.
const REST_MAX: Duration = Duration::from_millis(20);

#[expect(clippy::cast_precision_loss, reason = "only for the message")]
fn steps_out_of_range(steps: u64) -> Fault {
    let max = Step::STEPS_MAX as f64;
    Fault::OutOfRange { field: "steps".into(), value: steps as f64, min: 1.0, max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_grow_for_small_models_and_shrink_for_large_ones() {
        let mut slices = Slices::new();
        for _ in 0..20 {
            slices.took(Duration::from_micros(10));
        }
        assert_eq!(slices.next(), Slices::MAX);
        for _ in 0..40 {
            slices.took(Duration::from_millis(100));
        }
        assert_eq!(slices.next(), 1);
    }
}
