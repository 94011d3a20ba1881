//! Advancing the simulation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::real::Real;
use simward_protocol::simulation::{Step, Stepped, StoppedBy};

use crate::world::World;
use crate::world::attend::Attend;
use crate::world::condition::Watch;
use crate::world::simulation::between;
use crate::world::values::{self, Target};

/// How many steps to take between two looks at the clock.
///
/// Begins small and grows to what takes about [`Slices::AIM`], so that a small model pays for few
/// looks and a large one still answers soon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slices {
    steps: u64,
    aim: Duration,
}

impl Slices {
    const FIRST: u64 = 8;
    const AIM: Duration = Duration::from_millis(5);
    const MAX: u64 = 1 << 16;

    pub(crate) fn new() -> Self {
        Self { steps: Self::FIRST, aim: Self::AIM }
    }

    /// For slices that take about that long, of steps that may be costly.
    pub(crate) fn aiming_at(aim: Duration) -> Self {
        Self { steps: 1, aim }
    }

    /// The next slice's length, in steps.
    pub(crate) fn next(self) -> u64 {
        self.steps
    }

    /// The slice took that long.
    pub(crate) fn took(&mut self, elapsed: Duration) {
        if elapsed < self.aim / 2 {
            self.steps = (self.steps * 4).min(Self::MAX);
        } else if self.aim < elapsed {
            self.steps = (self.steps / 2).max(1);
        }
    }
}

impl Serve<Step> for World {
    fn serve(&mut self, slot: u32, call: Step) -> Result<Stepped, Fault> {
        let Step {
            model_id,
            steps,
            duration_secs,
            control,
            stop_when,
            include,
            record,
            budget_millis,
        } = call;
        let (model_id, simulation) = self.still_model(slot, model_id.as_deref())?;
        let steps = match duration_secs {
            None => steps,
            Some(secs) => steps_of(secs, simulation.data.model().opt().timestep)?,
        };
        if !(1..=Step::STEPS_MAX).contains(&steps) {
            return Err(steps_out_of_range(steps));
        }
        let model = simulation.data.model();
        let mut watch = stop_when.map(|condition| Watch::new(model, &condition)).transpose()?;
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
        let watch = watch.as_mut().map(|watch| watch as &mut dyn Attend);
        let stepped = self.step(slot, &model_id, steps, watch, budget);
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
    pub(super) fn step(
        &mut self,
        slot: u32,
        model_id: &str,
        steps: u64,
        mut attendant: Option<&mut dyn Attend>,
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
            let (taken, ended) = match &mut attendant {
                None => (simulation.advance(wanted, &shared.pulse, done), None),
                Some(attendant) => {
                    simulation.advance_attended(wanted, *attendant, &shared.pulse, done)
                }
            };
            done += taken;
            let now = Instant::now();
            room.pace.took(now, taken, now - slice_begun);
            if let Some(stopped_by) = ended {
                return Ok((done, stopped_by));
            }
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
    pub(crate) fn rest(
        &mut self,
        slot: u32,
        deadline: Instant,
    ) -> Result<Option<StoppedBy>, Fault> {
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

/// The steps of a stretch of simulated time, to the nearest one.
pub(super) fn steps_of(duration_secs: f64, timestep_secs: f64) -> Result<u64, Fault> {
    #[expect(clippy::cast_precision_loss, reason = "a million is exact")]
    let max = Step::STEPS_MAX as f64 * timestep_secs;
    values::in_range("duration_secs", duration_secs, (timestep_secs / 2.0, max))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in its range")]
    let steps = (duration_secs / timestep_secs).round() as u64;
    Ok(steps.max(1))
}

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
