//! Simulations in the background.

use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::simulation::{Pause, Run, RunStatus};

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
        let run = Background::begun(slot, model_id, simulation, duration_secs, real_time_factor);
        let status = run.status(simulation, true);
        self.begin(run);
        Ok(status)
    }
}

impl Serve<Pause> for World {
    fn serve(&mut self, slot: u32, Pause { model_id }: Pause) -> Result<RunStatus, Fault> {
        let (model_id, _) = self.model(slot, model_id.as_deref())?;
        self.end(slot, &model_id);
        // It may have ended by itself: then this is where that is told.
        self.finished.remove(&(slot, model_id)).ok_or(Fault::NotRunning)
    }
}

impl World {
    /// Begins a run.
    pub(crate) fn begin(&mut self, run: Background) {
        let room = self.slots.get_mut(&run.slot);
        if let Some(simulation) = room.and_then(|room| room.models.get_mut(&run.model_id)) {
            simulation.touch();
        }
        self.finished.remove(&(run.slot, run.model_id.clone()));
        self.runs.push(run);
        self.shared.pulse.runs(true);
    }

    /// Ends the run of a model, if there is one, and keeps how it ended.
    pub(crate) fn end(&mut self, slot: u32, model_id: &str) {
        let Some(index) = self.runs.iter().position(|run| run.is_of(slot, model_id)) else {
            return;
        };
        let run = self.runs.remove(index);
        self.shared.pulse.runs(!self.runs.is_empty());
        let room = self.slots.get_mut(&slot);
        if let Some(simulation) = room.and_then(|room| room.models.get_mut(model_id)) {
            simulation.touch();
        }
        self.finish(&run);
    }
}
