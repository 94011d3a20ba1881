//! What the simulation thread does for those who look at it.

use std::sync::Arc;
use std::time::Instant;

use super::World;
use super::background::Background;
use crate::endpoint::{Deed, Key, Order, Wanted};

/// How much simulated time a viewer runs a model for, in seconds.
const RUN_SECS: f64 = 3600.0;

/// The most steps that a viewer takes at a time.
const STEPS_MAX: u32 = 1000;

impl World {
    /// Shows the viewers what they want to see.
    pub(super) fn show(&mut self) {
        let begun = Instant::now();
        let shared = Arc::clone(&self.shared);
        let stage = &shared.stage;
        let wishes = stage.take_wishes(begun);
        if wishes.is_empty() {
            return;
        }
        for (key, wanted) in wishes {
            self.show_one(&key, wanted);
        }
        let now = Instant::now();
        stage.took(now, now - begun);
    }

    fn show_one(&mut self, key: &Key, wanted: Wanted) {
        let Self { shared, slots, runs, .. } = self;
        let (slot, model_id) = key;
        let simulation = slots.get_mut(slot).and_then(|room| room.models.get_mut(model_id));
        let Some(simulation) = simulation else { return shared.stage.put(key, None) };
        if let Some(pull) = wanted.pull {
            simulation.pull = Some(pull);
        }
        if !wanted.shape.is_empty() {
            let edition = simulation.edition();
            let shape = simulation.shape().map(|bytes| (edition, bytes.into()));
            let shape = Arc::new(shape);
            for taker in wanted.shape {
                // It may have left.
                taker.try_send(Arc::clone(&shape)).ok();
            }
        }
        if wanted.frame {
            let is_running = runs.iter().any(|run| run.is_of(*slot, model_id));
            let moment = simulation.moment(is_running);
            shared.stage.put(key, Some((simulation.edition(), moment)));
        }
    }

    /// Does what viewers have asked for, between two calls.
    pub(crate) fn obey_viewers(&mut self) {
        if !self.shared.pulse.take_order() {
            return;
        }
        for Order { key: (slot, model_id), deed, answer } in self.shared.stage.take_orders() {
            let outcome = self.obey(slot, &model_id, deed);
            // Kept before it is answered, like a call.
            self.keep(slot, 0);
            // The viewer may have left.
            answer.try_send(outcome).ok();
        }
    }

    fn obey(&mut self, slot: u32, model_id: &str, deed: Deed) -> Result<(), String> {
        let simulation = self.slots.get(&slot).and_then(|room| room.models.get(model_id));
        let simulation = simulation.ok_or("the model is not there any more")?;
        let is_running = self.runs.iter().any(|run| run.is_of(slot, model_id));
        let run = |duration_secs: f64, real_time_factor| {
            Background::begun(
                slot,
                model_id.to_owned(),
                simulation,
                duration_secs,
                real_time_factor,
            )
        };
        match deed {
            Deed::Run | Deed::Step(_) if is_running => Err("it runs already".into()),
            Deed::Run => {
                let run = run(RUN_SECS, Some(1.0));
                self.begin(run);
                Ok(())
            }
            // A run that ends after so many steps: it keeps to the session's limits.
            Deed::Step(steps) if (1..=STEPS_MAX).contains(&steps) => {
                // A quarter of a step less, so that no error of rounding adds one.
                let run = run((f64::from(steps) - 0.25) * simulation.timestep_secs(), None);
                self.begin(run);
                Ok(())
            }
            Deed::Step(_) => Err(format!("steps must be between 1 and {STEPS_MAX}")),
            Deed::Pause if !is_running => Err("it does not run".into()),
            Deed::Pause => {
                self.end(slot, model_id);
                Ok(())
            }
            Deed::Reset => {
                self.end(slot, model_id);
                let room = self.slots.get_mut(&slot);
                let simulation = room.and_then(|room| room.models.get_mut(model_id));
                let simulation = simulation.ok_or("the model is not there any more")?;
                simulation.reset(None).map_err(|fault| fault.to_string())
            }
        }
    }
}
