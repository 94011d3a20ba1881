//! Simulations in the background.

use std::time::Instant;

use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::simulation::{Pause, Run, RunStatus};

use super::step::Slices;
use crate::world::World;
use crate::world::background::Background;
use crate::world::values::{self, Target};

impl Serve<Run> for World {
    fn serve(&mut self, slot: u32, call: Run) -> Result<RunStatus, Fault> {
        let Run { model_id, duration_secs, real_time_factor, control } = call;
        values::in_range(
            "duration_secs",
            duration_secs,
            (f64::MIN_POSITIVE, Run::DURATION_SECS_MAX),
        )?;
        if let Some(factor) = real_time_factor {
            values::in_range("real_time_factor", factor, Run::REAL_TIME_FACTOR)?;
        }
        let (model_id, simulation) = self.still_model(slot, model_id.as_deref())?;
        if let Some(control) = control {
            let model = simulation.data.model();
            let placed = values::place(model, Target::Ctrl, "control", control, f64::MAX)?;
            values::put(&placed, simulation.data.ctrl_mut());
        }
        let from_secs = simulation.time_secs();
        let run = Background {
            slot,
            model_id,
            until_secs: from_secs + duration_secs,
            real_time_factor,
            begun: (Instant::now(), from_secs),
            steps_done: 0,
            before: simulation.counts(),
            kept_at: Instant::now(),
            slices: Slices::new(),
        };
        simulation.touch();
        let status = run.status(simulation, true);
        self.finished.remove(&(run.slot, run.model_id.clone()));
        self.runs.push(run);
        self.shared.pulse.runs(true);
        Ok(status)
    }
}

impl Serve<Pause> for World {
    fn serve(&mut self, slot: u32, Pause { model_id }: Pause) -> Result<RunStatus, Fault> {
        let (model_id, _) = self.model(slot, model_id.as_deref())?;
        let Some(index) = self.runs.iter().position(|run| run.is_of(slot, &model_id)) else {
            // It may have ended by itself: then this is where that is told.
            return self.finished.remove(&(slot, model_id)).ok_or(Fault::NotRunning);
        };
        let run = self.runs.remove(index);
        self.shared.pulse.runs(!self.runs.is_empty());
        let (_, simulation) = self.model(slot, Some(&model_id))?;
        simulation.touch();
        Ok(run.status(simulation, false))
    }
}
