//! Models come into a session and go: what its worker has loaded, and what the session holds, are
//! the same, whatever ends meanwhile.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use simward_protocol::call::Call;
use simward_protocol::fault::Fault;
use simward_protocol::model::{
    ListModels, LoadModel, ModelSummary, RestoreModel, SaveModel, UnloadModel, Unloaded,
};
use simward_protocol::real::Real;

use super::crew::{Error as StartError, LOAD_PATIENCE, Unrestorable};
use super::holdings::{Fresh, Held};
use super::usage::Asking;
use super::{Error, Session};
use crate::store::checkpoints::scratch;
use crate::store::{self, Model};
use crate::worker::Options;

/// The longest id of a model, in characters.
pub const MODEL_ID_CHARS_MAX: usize = 64;

/// Whether a text can be the id of a model.
pub fn is_model_id(id: &str) -> bool {
    (1..=MODEL_ID_CHARS_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// The model that a call means, as a worker would say: the one it names, or the only one.
pub(super) fn pick(
    mut models: BTreeMap<String, Held>,
    model_id: Option<&str>,
) -> Result<(String, Held), Fault> {
    let known = || models.keys().cloned().collect();
    let model_id = match model_id {
        _ if models.is_empty() => return Err(Fault::NoModel),
        Some(model_id) => model_id.to_owned(),
        None if models.len() == 1 => models.keys().next().cloned().unwrap_or_default(),
        None => return Err(Fault::ModelAmbiguous { known: known() }),
    };
    match models.remove(&model_id) {
        Some(held) => Ok((model_id, held)),
        None => Err(Fault::ModelUnknown { model_id, known: models.into_keys().collect() }),
    }
}

/// A model as it was at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Copied {
    pub(crate) model_id: String,
    pub(crate) model: Arc<Model>,
    /// Its checkpoint, which belongs to nobody.
    pub(crate) state: Arc<OwnedFd>,
    /// The simulated time then, in seconds.
    pub(crate) time_secs: f64,
}

impl Session {
    /// Refuses the name of a model that the session does not hold.
    pub fn must_hold(&self, model_id: &str) -> Result<(), Error> {
        pick(self.inner.holdings.models(), Some(model_id)).map(drop).map_err(Error::Fault)
    }

    /// Loads a compiled model. Once that is acknowledged, the model is never lost.
    pub async fn load(
        &self,
        model: Arc<Model>,
        model_id: Option<String>,
    ) -> Result<ModelSummary, Error> {
        // It does not fall asleep between what the worker does and what is kept of it.
        let _awake = Asking::enter(&self.inner.usage);
        let holdings = Arc::clone(&self.inner.holdings);
        let max = self.inner.plan.checkpoint_bytes_max;
        let (from, of) = (Arc::clone(&holdings), Arc::clone(&model));
        let files = holdings.store().run(move |_| Ok((of.file()?, from.fresh(&of, max)?)));
        let (compiled, Fresh { number, file }) = files.await?;
        let options = Options {
            attached: vec![compiled, file],
            patience: Some(LOAD_PATIENCE),
            ..Options::default()
        };
        let call = LoadModel { model_id: model_id.clone(), bytes: model.about.bytes };
        let loaded = self.call_counted(call, options).await;
        let loaded = match loaded {
            Ok((reply, losses)) => {
                self.check_name(&reply, model_id.as_deref()).map(|()| (reply, losses))
            }
            Err(error) => Err(error),
        };
        let (reply, losses) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                self.discard(number).await;
                return Err(error);
            }
        };
        let (add, id) = (Arc::clone(&holdings), reply.model_id.clone());
        if let Err(error) = holdings.store().run(move |_| add.add(&id, model, number)).await {
            // What is not kept is not there.
            let unload = UnloadModel { model_id: Some(reply.model_id) };
            self.call(unload, Options::default()).await.ok();
            self.discard(number).await;
            return Err(error.into());
        }
        // A worker that was lost meanwhile may have been replaced before the model was held. Then
        // the next one has never heard of it.
        if self.status().losses != losses && self.lacks(&reply.model_id).await {
            let id = reply.model_id;
            let remove = Arc::clone(&holdings);
            holdings.store().run(move |_| remove.remove(&id)).await.ok();
            return Err(self.interrupted());
        }
        Ok(reply)
    }

    /// Removes a model, from the worker and from what is held.
    pub async fn unload(&self, model_id: Option<String>) -> Result<Unloaded, Error> {
        let _awake = Asking::enter(&self.inner.usage);
        let _alone = self.inner.changing.write().await;
        let call = UnloadModel { model_id };
        let (reply, losses) = self.call_counted(call, Options::default()).await?;
        let holdings = Arc::clone(&self.inner.holdings);
        let (remove, id) = (Arc::clone(&holdings), reply.model_id.clone());
        if let Err(error) = holdings.store().run(move |_| remove.remove(&id)).await {
            // Nothing was changed: so the worker has it again.
            self.bring_back(&reply.model_id).await;
            return Err(error.into());
        }
        if self.status().losses != losses {
            // The next worker may have brought it back before it was let go.
            let again = UnloadModel { model_id: Some(reply.model_id.clone()) };
            self.call(again, Options::default()).await.ok();
        }
        Ok(reply)
    }

    /// The states of all models, each as it is at one moment.
    pub(crate) async fn copy(&self) -> Result<Vec<Copied>, Error> {
        let _awake = Asking::enter(&self.inner.usage);
        let _same = self.inner.changing.read().await;
        let mut copies = Vec::new();
        for (model_id, held) in self.inner.holdings.models() {
            copies.push(self.copy_held(model_id, held).await?);
        }
        Ok(copies)
    }

    /// The state of the model that a call means, as it is at one moment.
    pub(crate) async fn copy_one(&self, model_id: Option<&str>) -> Result<Copied, Error> {
        let _awake = Asking::enter(&self.inner.usage);
        let _same = self.inner.changing.read().await;
        let (model_id, held) =
            pick(self.inner.holdings.models(), model_id).map_err(Error::Fault)?;
        self.copy_held(model_id, held).await
    }

    async fn copy_held(&self, model_id: String, held: Held) -> Result<Copied, Error> {
        let Some(model) = held.model else {
            let why = Unrestorable::Gone;
            return Err(Error::NoWorker(Arc::new(StartError::Model { model_id, why })));
        };
        let values = model.about.state_values;
        let state = self.inner.holdings.store().run(move |_| scratch(values)).await?;
        // The worker keeps what it is given: it is never given what becomes another's.
        let options = Options { attached: vec![Arc::clone(&state)], ..Options::default() };
        let saved = self.call(SaveModel { model_id: model_id.clone() }, options).await?;
        let Real(time_secs) = saved.time_secs;
        Ok(Copied { model_id, model, state, time_secs })
    }

    /// The worker names the model; but not as it likes.
    fn check_name(&self, reply: &ModelSummary, asked: Option<&str>) -> Result<(), Error> {
        let id = reply.model_id.as_str();
        let is_asked = asked.is_none_or(|asked| asked == id);
        if is_asked && is_model_id(id) && self.inner.holdings.model(id).is_none() {
            return Ok(());
        }
        tracing::warn!(session_id = %self.inner.plan.id, "a worker named a model as it liked");
        Err(Error::WrongReply)
    }

    pub(super) async fn discard(&self, number: u32) {
        let holdings = Arc::clone(&self.inner.holdings);
        tokio::task::spawn_blocking(move || holdings.discard(number)).await.ok();
    }

    pub(super) async fn bring_back(&self, model_id: &str) {
        let holdings = Arc::clone(&self.inner.holdings);
        let Some(held) = holdings.model(model_id) else { return };
        let Some(model) = held.model else { return };
        let bytes = model.about.bytes;
        let from = Arc::clone(&holdings);
        let files = holdings.store().run(move |_| {
            Ok::<_, store::Error>(vec![model.file()?, from.checkpoint(held.checkpoint)?])
        });
        let Ok(attached) = files.await else { return };
        self.attach_recordings(model_id).await;
        let options = Options { attached, patience: Some(LOAD_PATIENCE), ..Options::default() };
        let call = RestoreModel { model_id: model_id.to_owned(), bytes, resume: false };
        if let Err(error) = self.call(call, options).await {
            tracing::warn!(session_id = %self.inner.plan.id, %error, "a model was not brought back");
        }
    }

    /// Whether the worker says that it has no such model. One that says nothing is about to bring
    /// back what is held.
    async fn lacks(&self, model_id: &str) -> bool {
        let list = self.call(ListModels {}, Options::default()).await;
        list.is_ok_and(|list| list.models.iter().all(|model| model.model_id != model_id))
    }

    /// Like [`Self::call`]; tells also how many workers the session had lost when it was answered.
    pub(super) async fn call_counted<C: Call>(
        &self,
        call: C,
        options: Options,
    ) -> Result<(C::Reply, u64), Error> {
        let withdrawn = options.withdrawn.clone();
        let _withdraw_if_dropped = withdrawn.drop_guard();
        let (reply, losses) = self.ask(call.into(), options).await?;
        Ok((C::reply(reply).ok_or(Error::WrongReply)?, losses))
    }
}
