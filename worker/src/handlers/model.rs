//! Models come and go.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use simward_protocol::call::Serve;
use simward_protocol::fault::{Fault, cut};
use simward_protocol::model::{
    DescribeModel, ListModels, LoadModel, ModelDescription, ModelSummary, Models, UnloadModel,
    Unloaded,
};

use crate::world::World;
use crate::world::describe::describe;
use crate::world::simulation::Simulation;

impl Serve<LoadModel> for World {
    fn serve(&mut self, slot: u32, call: LoadModel) -> Result<ModelSummary, Fault> {
        let LoadModel { model_id, bytes } = call;
        let file = self.attached.take().map(File::from);
        let room = self.slot(slot)?;
        let model_id = model_id.unwrap_or_else(|| free_id(&room.models));
        if room.models.contains_key(&model_id) {
            return Err(Fault::ModelExists { model_id });
        }
        if room.models_max as usize <= room.models.len() {
            let (value, max) = (room.models.len() as u64 + 1, u64::from(room.models_max));
            return Err(Fault::LimitExceeded { what: "models of a session".into(), value, max });
        }
        let unreadable = |detail: String| Fault::ModelUnreadable { detail: cut(detail) };
        let file = file.ok_or_else(|| unreadable("no memory file came with the call".into()))?;
        let length = usize::try_from(bytes).map_err(|error| unreadable(error.to_string()))?;
        let mut compiled = vec![0; length];
        file.read_exact_at(&mut compiled, 0).map_err(|error| unreadable(error.to_string()))?;
        let simulation = Simulation::load(&compiled)?;
        let summary = simulation.summary(&model_id);
        room.models.insert(model_id, simulation);
        Ok(summary)
    }
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
