//! One model takes another one's place in a session, with its state: the session has the one or
//! the other at every moment, whatever ends meanwhile.

use std::sync::Arc;

use simward_protocol::editing::{ReplaceModel, Replaced};
use simward_protocol::model::UnloadModel;

use super::crew::{Error as StartError, LOAD_PATIENCE, Unrestorable};
use super::holdings::Fresh;
use super::models::pick;
use super::usage::Asking;
use super::{Error, Session};
use crate::store::Model;
use crate::worker::Options;

/// A model that was edited, and what it was before.
#[derive(Clone, Debug)]
pub struct Edition {
    /// Its id, which stays.
    pub model_id: String,
    /// What it was.
    pub before: Arc<Model>,
    /// What it becomes.
    pub after: Arc<Model>,
    /// What the compiler warned of.
    pub warnings: Vec<String>,
}

impl Session {
    /// The compiled model that a call means: the one it names, or the only one.
    pub fn held_model(&self, model_id: Option<&str>) -> Result<(String, Arc<Model>), Error> {
        let (model_id, held) =
            pick(self.inner.holdings.models(), model_id).map_err(Error::Fault)?;
        let Some(model) = held.model else {
            let why = Unrestorable::Gone;
            return Err(Error::NoWorker(Arc::new(StartError::Model { model_id, why })));
        };
        Ok((model_id, model))
    }

    /// Puts an edited model in the place of what it was. Once that is acknowledged, the edited one
    /// comes back whatever ends; until then, the one before.
    pub async fn replace(&self, edition: Edition) -> Result<Replaced, Error> {
        let _awake = Asking::enter(&self.inner.usage);
        let _alone = self.inner.changing.write().await;
        let Edition { model_id, before, after, .. } = edition;
        let holdings = Arc::clone(&self.inner.holdings);
        let (_, held) = pick(holdings.models(), Some(&model_id)).map_err(Error::Fault)?;
        if held.model.is_none_or(|model| model.key != before.key) {
            return Err(Error::ModelChanged { model_id });
        }
        let max = self.inner.plan.checkpoint_bytes_max;
        let (from, of) = (Arc::clone(&holdings), Arc::clone(&after));
        let files = holdings.store().run(move |_| Ok((of.file()?, from.fresh(&of, max)?)));
        let (compiled, Fresh { number, file }) = files.await?;
        let attached = vec![compiled, file];
        let options = Options { attached, patience: Some(LOAD_PATIENCE), ..Options::default() };
        let call = ReplaceModel { model_id: model_id.clone(), bytes: after.about.bytes };
        let (reply, losses) = match self.call_counted(call, options).await {
            Ok(answered) => answered,
            Err(error) => {
                self.discard(number).await;
                return Err(error);
            }
        };
        // Nothing is brought back between the look at the losses and the change of the record.
        let turn = holdings.turn().await;
        if self.status().losses != losses {
            drop(turn);
            // What the next worker brings back, or has brought, is the model as it was.
            self.discard(number).await;
            return Err(self.interrupted());
        }
        let (into, id) = (Arc::clone(&holdings), model_id.clone());
        let replace = move |_: &_| into.replace(&id, held.checkpoint, after, number);
        let replaced = holdings.store().run(replace).await;
        drop(turn);
        if let Err(error) = replaced {
            // What is not kept is not there: so the worker has again what was there before.
            let unload = UnloadModel { model_id: Some(model_id.clone()) };
            self.call(unload, Options::default()).await.ok();
            self.bring_back(&model_id).await;
            self.discard(number).await;
            return Err(error.into());
        }
        // Its own name for it, whatever the worker says.
        let model = simward_protocol::model::ModelSummary { model_id, ..reply.model };
        Ok(bounded(Replaced { model, ..reply }))
    }
}

/// No longer than a worker's answer may be.
fn bounded(mut replaced: Replaced) -> Replaced {
    let lists = [&mut replaced.added, &mut replaced.removed, &mut replaced.modifications_reset];
    for list in lists {
        list.truncate(Replaced::ITEMS_MAX);
    }
    replaced
}
