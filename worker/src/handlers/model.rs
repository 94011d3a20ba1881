//! Models come and go.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use simward_protocol::call::Serve;
use simward_protocol::editing::{ReplaceModel, Replaced};
use simward_protocol::fault::{Fault, cut};
use simward_protocol::model::{
    AdoptState, DescribeModel, ListModels, LoadModel, ModelDescription, ModelSummary, Models,
    RestoreModel, Restored, SaveModel, Saved, UnloadModel, Unloaded,
};
use simward_protocol::real::Real;
use simward_protocol::simulation::Applied;

use crate::world::background::Background;
use crate::world::describe::describe;
use crate::world::mapping::Bytes;
use crate::world::simulation::Simulation;
use crate::world::{Slot, World};

impl Serve<LoadModel> for World {
    fn serve(&mut self, slot: u32, call: LoadModel) -> Result<ModelSummary, Fault> {
        let LoadModel { model_id, bytes } = call;
        let (compiled, checkpoint) = self.files(bytes)?;
        let room = self.slot(slot)?;
        let model_id = model_id.unwrap_or_else(|| free_id(&room.models));
        room.check_place(&model_id)?;
        let mut simulation = Simulation::load(&model_id, &compiled, &checkpoint)?;
        simulation.count_with(&room.meter, &model_id);
        let summary = simulation.summary(&model_id);
        room.models.insert(model_id, simulation);
        Ok(summary)
    }
}

impl Serve<ReplaceModel> for World {
    fn serve(&mut self, slot: u32, call: ReplaceModel) -> Result<Replaced, Fault> {
        let ReplaceModel { model_id, bytes } = call;
        let (compiled, checkpoint) = self.files(bytes)?;
        let (model_id, old) = self.still_model(slot, Some(&model_id))?;
        if old.is_recorded() {
            return Err(Fault::Recorded { model_id });
        }
        let mut new = Simulation::load(&model_id, &compiled, &checkpoint)?;
        let replaced = new.succeed(old, &model_id);
        // From here on the one before is in its own checkpoint only.
        self.finished.remove(&(slot, model_id.clone()));
        let room = self.slot(slot)?;
        // It gives back its row before the new one takes one.
        room.models.remove(&model_id);
        new.count_with(&room.meter, &model_id);
        room.models.insert(model_id, new);
        Ok(replaced)
    }
}

impl Serve<RestoreModel> for World {
    fn serve(&mut self, slot: u32, call: RestoreModel) -> Result<Restored, Fault> {
        let RestoreModel { model_id, bytes, resume } = call;
        let (compiled, checkpoint) = self.files(bytes)?;
        let room = self.slot(slot)?;
        // However many there may be by now: what a session holds it keeps.
        room.check_name(&model_id)?;
        let (mut simulation, run) = Simulation::restore(&model_id, &compiled, &checkpoint)?;
        for waiting in room.waiting.extract_if(.., |waiting| waiting.model_id == model_id) {
            simulation.resume_recording(waiting);
        }
        simulation.count_with(&room.meter, &model_id);
        let time_secs = simulation.time_secs();
        let steps_total = simulation.counts().steps_total;
        room.models.insert(model_id.clone(), simulation);
        let run = run.filter(|run| resume && time_secs < run.until_secs);
        let running = run.is_some();
        if let Some(run) = run {
            self.runs.push(Background::resumed(slot, model_id.clone(), run, time_secs));
            self.shared.pulse.runs(true);
        }
        // At once, and as nobody's call: the next worker must not look at this one's past.
        self.keep(slot, 0);
        Ok(Restored { model_id, time_secs: Real(time_secs), steps_total, running })
    }
}

impl Serve<SaveModel> for World {
    fn serve(&mut self, slot: u32, SaveModel { model_id }: SaveModel) -> Result<Saved, Fault> {
        let file = self.attached.pop().ok_or_else(|| unreadable("no checkpoint came along"))?;
        let (model_id, simulation) = self.model(slot, Some(&model_id))?;
        simulation.save(&model_id, &file)?;
        Ok(Saved { time_secs: Real(simulation.time_secs()) })
    }
}

impl Serve<AdoptState> for World {
    fn serve(&mut self, slot: u32, AdoptState { model_id }: AdoptState) -> Result<Applied, Fault> {
        let file = self.attached.pop().ok_or_else(|| unreadable("no checkpoint came along"))?;
        let (model_id, simulation) = self.still_model(slot, Some(&model_id))?;
        let values_set = simulation.adopt(&model_id, &file)?;
        let time_secs = Real(simulation.time_secs());
        Ok(Applied { model_id, time_secs, values_set, clamped: Vec::new() })
    }
}

impl World {
    /// The compiled model and the checkpoint that came with the call.
    fn files(&mut self, bytes: u64) -> Result<(Bytes, OwnedFd), Fault> {
        let [file, checkpoint] = <[OwnedFd; 2]>::try_from(std::mem::take(&mut self.attached))
            .map_err(|_others| {
                unreadable("the compiled model and its checkpoint did not come along")
            })?;
        let length = usize::try_from(bytes).map_err(unreadable)?;
        // `fstat` is a system call that the jail leaves; the standard library asks in other ways.
        let there = rustix::fs::fstat(&file).map_err(unreadable)?.st_size;
        if bytes == 0 || u64::try_from(there).unwrap_or(0) < bytes {
            return Err(unreadable("the file is shorter than it is said to be"));
        }
        Ok((Bytes::new(&file, length).map_err(unreadable)?, checkpoint))
    }
}

impl Slot {
    /// Whether a model of that id has a place.
    fn check_place(&self, model_id: &str) -> Result<(), Fault> {
        self.check_name(model_id)?;
        if self.models_max as usize <= self.models.len() {
            let (value, max) = (self.models.len() as u64 + 1, u64::from(self.models_max));
            return Err(Fault::LimitExceeded { what: "models of a session".into(), value, max });
        }
        Ok(())
    }

    /// Whether no other model has that id.
    fn check_name(&self, model_id: &str) -> Result<(), Fault> {
        if self.models.contains_key(model_id) {
            return Err(Fault::ModelExists { model_id: model_id.to_owned() });
        }
        Ok(())
    }
}

fn unreadable(error: impl std::fmt::Display) -> Fault {
    Fault::ModelUnreadable { detail: cut(error.to_string()) }
}

/// `model`, or `model_2` and so on where that is taken.
fn free_id(models: &BTreeMap<String, Simulation>) -> String {
    let mut ids = std::iter::once("model".to_owned()).chain((2..).map(|n| format!("model_{n}")));
    ids.find(|id| !models.contains_key(id)).unwrap_or_default()
}

impl Serve<ListModels> for World {
    fn serve(&mut self, slot: u32, ListModels {}: ListModels) -> Result<Models, Fault> {
        let models = self.slot(slot)?.models.iter();
        let models = models.map(|(model_id, simulation)| simulation.summary(model_id)).collect();
        Ok(Models { models })
    }
}

impl Serve<DescribeModel> for World {
    fn serve(&mut self, slot: u32, call: DescribeModel) -> Result<ModelDescription, Fault> {
        let DescribeModel { model_id, items_max } = call;
        let (model_id, simulation) = self.model(slot, model_id.as_deref())?;
        Ok(describe(simulation, &model_id, items_max as usize))
    }
}

impl Serve<UnloadModel> for World {
    fn serve(
        &mut self,
        slot: u32,
        UnloadModel { model_id }: UnloadModel,
    ) -> Result<Unloaded, Fault> {
        let (model_id, _) = self.still_model(slot, model_id.as_deref())?;
        self.finished.remove(&(slot, model_id.clone()));
        let models = &mut self.slot(slot)?.models;
        models.remove(&model_id);
        let models_left = u32::try_from(models.len()).unwrap_or(u32::MAX);
        Ok(Unloaded { model_id, models_left })
    }
}
