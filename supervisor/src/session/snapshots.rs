//! Snapshots: states of a session's models that are kept for later.
//!
//! A snapshot is a checkpoint that no worker writes. It stays with its session, and any of the
//! tenant's sessions can bring the same compiled model to it, bit by bit.

use std::sync::Arc;

use simward_protocol::checkpoint;
use simward_protocol::model::AdoptState;
use simward_protocol::simulation::Applied;

use super::holdings::Fresh;
use super::models::pick;
use super::{Copied, Error, Session};
use crate::store::checkpoints::{copy, scratch};
use crate::store::{self, Model, RecordedSnapshot};
use crate::worker::Options;

/// The most snapshots of one session.
pub const SNAPSHOTS_MAX: usize = 64;

/// A snapshot that was taken.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The model that it is of.
    pub model_id: String,
    /// The simulated time that it holds, in seconds.
    pub time_secs: f64,
}

/// A snapshot's state, apart from its session.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    model: Arc<Model>,
    checkpoint: u32,
}

impl Taken {
    pub(super) fn new(model: Arc<Model>, checkpoint: u32) -> Self {
        Self { model, checkpoint }
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> Option<u64> {
        checkpoint::file_bytes(self.model.about.state_values)
    }
}

impl Session {
    /// Keeps the state of a model under that id.
    pub async fn take_snapshot(
        &self,
        id: String,
        model_id: Option<&str>,
    ) -> Result<Snapshot, Error> {
        let holdings = Arc::clone(self.holdings());
        if SNAPSHOTS_MAX <= holdings.snapshots() {
            return Err(Error::SnapshotsFull { max: SNAPSHOTS_MAX });
        }
        let Copied { model_id, model, state, time_secs } = self.copy_one(model_id).await?;
        let max = self.plan().checkpoint_bytes_max;
        let recorded = |checkpoint| RecordedSnapshot {
            model_id: model_id.clone(),
            key: model.key.to_string(),
            checkpoint,
            time_secs,
        };
        let snapshot = Snapshot { model_id: model_id.clone(), time_secs };
        let values = model.about.state_values;
        let (into, of) = (Arc::clone(&holdings), Arc::clone(&model));
        let Fresh { number, file } = holdings.store().run(move |_| into.fresh(&of, max)).await?;
        let recorded = recorded(number);
        let (into, of) = (Arc::clone(&holdings), Arc::clone(&model));
        let kept = holdings.store().run(move |_| {
            copy(&state, &file, values)?;
            into.add_snapshot(&id, recorded, of)
        });
        match kept.await {
            Ok(true) => return Ok(snapshot),
            // Others came first.
            Ok(false) => self.discard(number).await,
            Err(error) => {
                self.discard(number).await;
                return Err(error.into());
            }
        }
        Err(Error::SnapshotsFull { max: SNAPSHOTS_MAX })
    }

    /// Brings a model to the state of a snapshot, which may be another session's.
    pub async fn restore_snapshot(
        &self,
        from: &Self,
        id: &str,
        model_id: Option<&str>,
    ) -> Result<Applied, Error> {
        let Taken { model, checkpoint } = from.holdings().snapshot(id).ok_or_else(|| {
            let told = id.chars().take(80).collect();
            let is_there = from.holdings().has_snapshot(id);
            if is_there { Error::SnapshotLost(told) } else { Error::SnapshotUnknown(told) }
        })?;
        let _same = self.inner.changing.read().await;
        let (model_id, held) = pick(self.holdings().models(), model_id).map_err(Error::Fault)?;
        if held.model.is_none_or(|held| held.key != model.key) {
            return Err(Error::SnapshotOfAnother { model_id });
        }
        let values = model.about.state_values;
        let holdings = Arc::clone(from.holdings());
        // The worker keeps what it is given: it is never given what is to be kept.
        let state = from.holdings().store().run(move |_| {
            let (file, state) = (holdings.read(checkpoint)?, scratch(values)?);
            copy(&file, &state, values)?;
            Ok::<_, store::Error>(state)
        });
        let options = Options { attached: vec![state.await?], ..Options::default() };
        self.call(AdoptState { model_id }, options).await
    }

    /// Forgets a snapshot.
    pub async fn delete_snapshot(&self, id: &str) -> Result<(), Error> {
        let (holdings, name) = (Arc::clone(self.holdings()), id.to_owned());
        let removed = self.holdings().store().run(move |_| holdings.remove_snapshot(&name));
        if removed.await? {
            Ok(())
        } else {
            Err(Error::SnapshotUnknown(id.chars().take(80).collect()))
        }
    }
}
