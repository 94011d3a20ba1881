//! What a session holds, wherever its worker is: its record, its models and their checkpoints.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use simward_protocol::checkpoint;

use crate::store::{self, Key, Model, Record, RecordedModel, Store};
use crate::tenants::Tenant;

/// What a session holds. Its methods wait for files; tasks call them through [`Store::run`].
#[derive(Debug)]
pub(crate) struct Holdings {
    store: Store,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    record: Record,
    models: BTreeMap<String, Held>,
    /// Whether the record is kept: not before the session has come to be.
    is_kept: bool,
}

/// A model of a session.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The compiled model; absent if it was lost from the disk.
    pub(crate) model: Option<Arc<Model>>,
    /// The number of its checkpoint.
    pub(crate) checkpoint: u32,
}

/// An empty checkpoint for a model that is about to be loaded.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) number: u32,
    pub(crate) file: Arc<OwnedFd>,
}

impl Holdings {
    /// Of a session that does not hold anything yet, and is not kept yet.
    pub(crate) fn new(store: Store, record: Record) -> Self {
        let inner = Inner { record, models: BTreeMap::new(), is_kept: false };
        Self { store, inner: Mutex::new(inner) }
    }

    /// Of a session whose record was kept.
    pub(crate) fn kept(store: Store, record: Record) -> Self {
        let tenant = Tenant::named(&record.tenant);
        let held = |(id, recorded): (&String, &RecordedModel)| {
            let key = Key::parse(&recorded.key);
            let model = key.and_then(|key| store.models().get(&tenant, &key));
            (id.clone(), Held { model, checkpoint: recorded.checkpoint })
        };
        let models = record.models.iter().map(held).collect();
        Self { store, inner: Mutex::new(Inner { record, models, is_kept: true }) }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Keeps the session from now on.
    pub(crate) fn keep(&self) -> Result<(), store::Error> {
        let mut inner = self.lock();
        self.store.save(&inner.record)?;
        inner.is_kept = true;
        Ok(())
    }

    /// The models, by id.
    pub(crate) fn models(&self) -> BTreeMap<String, Held> {
        self.lock().models.clone()
    }

    /// What the checkpoints take, in bytes.
    pub(crate) fn checkpoint_bytes(&self) -> u64 {
        let values = |held: &Held| held.model.as_ref().map(|model| model.about.state_values);
        let inner = self.lock();
        let sizes = inner.models.values().filter_map(values).filter_map(checkpoint::file_bytes);
        sizes.sum()
    }

    /// Makes an empty checkpoint for a model's state.
    pub(crate) fn fresh(&self, model: &Model) -> Result<Fresh, store::Error> {
        let (id, number) = {
            let mut inner = self.lock();
            let number = inner.record.next_checkpoint;
            inner.record.next_checkpoint = number.wrapping_add(1);
            (inner.record.id.clone(), number)
        };
        let file = self.store.checkpoint(&id, number, model.about.state_values)?;
        Ok(Fresh { number, file })
    }

    /// Throws away a checkpoint that no model has.
    pub(crate) fn discard(&self, number: u32) {
        let id = self.lock().record.id.clone();
        self.store.checkpoints().remove(&id, number);
    }

    /// Opens the checkpoint of that number.
    pub(crate) fn checkpoint(&self, number: u32) -> Result<Arc<OwnedFd>, store::Error> {
        let id = self.lock().record.id.clone();
        self.store.checkpoints().open(&id, number)
    }

    /// A model was loaded. If that cannot be kept, it is not held.
    pub(crate) fn add(
        &self,
        model_id: &str,
        model: Arc<Model>,
        checkpoint: u32,
    ) -> Result<(), store::Error> {
        let mut inner = self.lock();
        let recorded = RecordedModel { key: model.key.to_string(), checkpoint };
        inner.record.models.insert(model_id.to_owned(), recorded);
        if inner.is_kept
            && let Err(error) = self.store.save(&inner.record)
        {
            inner.record.models.remove(model_id);
            return Err(error);
        }
        inner.models.insert(model_id.to_owned(), Held { model: Some(model), checkpoint });
        Ok(())
    }

    /// A model was unloaded. Its checkpoint goes with it.
    pub(crate) fn remove(&self, model_id: &str) -> Result<(), store::Error> {
        let mut inner = self.lock();
        let Some(held) = inner.models.remove(model_id) else { return Ok(()) };
        inner.record.models.remove(model_id);
        let saved = if inner.is_kept { self.store.save(&inner.record) } else { Ok(()) };
        // If the record still names it, its checkpoint must stay: the session would be lost.
        saved?;
        self.store.checkpoints().remove(&inner.record.id, held.checkpoint);
        Ok(())
    }

    /// No worker writes the checkpoints, and none will soon.
    pub(crate) fn rest(&self) {
        let id = self.lock().record.id.clone();
        self.store.checkpoints().close(&id);
    }

    /// The session is gone.
    pub(crate) fn forget(&self) {
        let id = self.lock().record.id.clone();
        self.store.forget(&id);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
