//! Models come into a session and go: what its worker has loaded, and what the session holds, are
//! the same, whatever ends meanwhile.

use std::sync::Arc;

use simward_protocol::call::Call;
use simward_protocol::checkpoint;
use simward_protocol::model::{LoadModel, ModelSummary, SaveModel, UnloadModel, Unloaded};

use super::crew::LOAD_PATIENCE;
use super::holdings::{Fresh, Holdings};
use super::{Error, Session};
use crate::store::Model;
use crate::worker::Options;

impl Session {
    /// Loads a compiled model. Once that is acknowledged, the model is never lost.
    pub async fn load(
        &self,
        model: Arc<Model>,
        model_id: Option<String>,
    ) -> Result<ModelSummary, Error> {
        let holdings = Arc::clone(&self.inner.holdings);
        self.check_checkpoints(&holdings, &model)?;
        let (from, of) = (Arc::clone(&holdings), Arc::clone(&model));
        let files = holdings.store().run(move |_| Ok((of.file()?, from.fresh(&of)?)));
        let (compiled, Fresh { number, file }) = files.await?;
        let options = Options {
            attached: vec![compiled, file],
            patience: Some(LOAD_PATIENCE),
            ..Options::default()
        };
        let call = LoadModel { model_id, bytes: model.about.bytes };
        let (reply, losses) = match self.call_counted(call, options).await {
            Ok(loaded) => loaded,
            Err(error) => {
                let discard = Arc::clone(&holdings);
                tokio::task::spawn_blocking(move || discard.discard(number));
                return Err(error);
            }
        };
        let (add, model_id) = (Arc::clone(&holdings), reply.model_id.clone());
        let added = holdings.store().run(move |_| add.add(&model_id, model, number)).await;
        if let Err(error) = added {
            // What is not kept is not there.
            let unload = UnloadModel { model_id: Some(reply.model_id) };
            self.call(unload, Options::default()).await.ok();
            tokio::task::spawn_blocking(move || holdings.discard(number));
            return Err(error.into());
        }
        // A worker that was lost meanwhile may have been replaced before the model was held. Then
        // the next one, which never heard of it, is told now.
        if self.status().losses != losses && !self.has_loaded(&reply.model_id).await {
            let (remove, model_id) = (Arc::clone(&holdings), reply.model_id.clone());
            holdings.store().run(move |_| remove.remove(&model_id)).await.ok();
            return Err(self.interrupted());
        }
        Ok(reply)
    }

    /// Removes a model, from the worker and from what is held.
    pub async fn unload(&self, model_id: Option<String>) -> Result<Unloaded, Error> {
        let (reply, losses) =
            self.call_counted(UnloadModel { model_id }, Options::default()).await?;
        let holdings = Arc::clone(&self.inner.holdings);
        let (remove, model_id) = (Arc::clone(&holdings), reply.model_id.clone());
        holdings.store().run(move |_| remove.remove(&model_id)).await?;
        if self.status().losses != losses {
            // The next worker may have brought it back before it was let go.
            let again = UnloadModel { model_id: Some(reply.model_id.clone()) };
            self.call(again, Options::default()).await.ok();
        }
        Ok(reply)
    }

    /// Writes the states of all models into checkpoints of another session, which then holds the
    /// same models.
    pub(crate) async fn copy_to(&self, target: &Arc<Holdings>) -> Result<(), Error> {
        for (model_id, held) in self.inner.holdings.models() {
            let Some(model) = held.model else { continue };
            let (into, of) = (Arc::clone(target), Arc::clone(&model));
            let Fresh { number, file } = target.store().run(move |_| into.fresh(&of)).await?;
            let options = Options { attached: vec![file], ..Options::default() };
            self.call(SaveModel { model_id: model_id.clone() }, options).await?;
            let into = Arc::clone(target);
            target.store().run(move |_| into.add(&model_id, model, number)).await?;
        }
        Ok(())
    }

    fn check_checkpoints(&self, holdings: &Holdings, model: &Model) -> Result<(), Error> {
        let max = self.inner.plan.checkpoint_bytes_max;
        let more = checkpoint::file_bytes(model.about.state_values).unwrap_or(u64::MAX);
        let bytes = holdings.checkpoint_bytes().saturating_add(more);
        if bytes <= max { Ok(()) } else { Err(Error::CheckpointTooLarge { bytes, max }) }
    }

    async fn has_loaded(&self, model_id: &str) -> bool {
        let list = self.call(simward_protocol::model::ListModels {}, Options::default()).await;
        list.is_ok_and(|list| list.models.iter().any(|model| model.model_id == model_id))
    }

    /// Like [`Self::call`]; tells also how many workers the session had lost when it was answered.
    async fn call_counted<C: Call>(
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
