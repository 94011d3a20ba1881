//! What a session holds, wherever its worker is: its record, its models and their checkpoints.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use simward_protocol::checkpoint;
use simward_protocol::viewer::AdmitViewers;

use super::snapshots::{SNAPSHOTS_MAX, Taken};
use crate::limits::Limits;
use crate::store::{self, Key, Model, Record, RecordedModel, RecordedSnapshot, Store};
use crate::tenants::Tenant;

/// What a session holds. Its methods wait for files; tasks call them through [`Store::run`].
#[derive(Debug)]
pub(crate) struct Holdings {
    store: Store,
    inner: Mutex<Inner>,
    /// Who may watch.
    viewers: Mutex<AdmitViewers>,
    /// Held by whoever looks what is to be brought back, or changes what that is.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) record: Record,
    models: BTreeMap<String, Held>,
    snapshots: BTreeMap<String, Taken>,
    /// Whether the record is kept: not before the session has come to be.
    pub(super) is_kept: bool,
    /// What is taken for models that are being loaded, by the number of their checkpoints.
    reserved: BTreeMap<u32, u64>,
    /// The same for recordings that are being begun.
    pub(super) reserved_recordings: BTreeMap<u32, u64>,
    /// Nothing comes after the session's end.
    has_ended: bool,
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
        Self::holding(store, record, BTreeMap::new(), BTreeMap::new(), false)
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
        let taken = |(id, recorded): (&String, &RecordedSnapshot)| {
            let model = store.models().get(&tenant, &Key::parse(&recorded.key)?)?;
            Some((id.clone(), Taken::new(model, recorded.checkpoint)))
        };
        let snapshots = record.snapshots.iter().filter_map(taken).collect();
        Self::holding(store, record, models, snapshots, true)
    }

    fn holding(
        store: Store,
        record: Record,
        models: BTreeMap<String, Held>,
        snapshots: BTreeMap<String, Taken>,
        is_kept: bool,
    ) -> Self {
        let inner = Inner {
            record,
            models,
            snapshots,
            is_kept,
            reserved: BTreeMap::new(),
            reserved_recordings: BTreeMap::new(),
            has_ended: false,
        };
        let (inner, viewers) = (Mutex::new(inner), Mutex::default());
        let turn = tokio::sync::Mutex::default();
        Self { store, inner, viewers, turn }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Waits until nobody else looks what is to be brought back, or changes what that is.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Changes who may watch; returns also who may then.
    pub(crate) fn admit<T>(
        &self,
        change: impl FnOnce(&mut AdmitViewers) -> T,
    ) -> (T, AdmitViewers) {
        let mut viewers = self.viewers.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut viewers);
        (changed, viewers.clone())
    }

    /// Who may watch.
    pub(crate) fn admitted(&self) -> AdmitViewers {
        self.admit(|_| ()).1
    }

    /// Keeps the session from now on.
    pub(crate) fn keep(&self) -> Result<(), store::Error> {
        let mut inner = self.lock();
        inner.check_life()?;
        self.store.save(&inner.record)?;
        inner.is_kept = true;
        Ok(())
    }

    /// The models, by id.
    pub(crate) fn models(&self) -> BTreeMap<String, Held> {
        self.lock().models.clone()
    }

    /// Looks at the one model, if there is one and it is not lost.
    pub(crate) fn only_model<T>(&self, look: impl FnOnce(&str, &Arc<Model>) -> T) -> Option<T> {
        let inner = self.lock();
        let mut models = inner.models.iter();
        let (model_id, held) = models.next().filter(|_| inner.models.len() == 1)?;
        held.model.as_ref().map(|model| look(model_id, model))
    }

    /// The ids of the models.
    pub(crate) fn model_ids(&self) -> Vec<String> {
        self.lock().models.keys().cloned().collect()
    }

    /// The model of that id.
    pub(crate) fn model(&self, model_id: &str) -> Option<Held> {
        self.lock().models.get(model_id).cloned()
    }

    /// Who the session is.
    pub(crate) fn record(&self) -> Record {
        self.lock().record.clone()
    }

    /// Makes an empty checkpoint for a model's state, if all of the session's together take no more
    /// than `max` bytes then.
    pub(crate) fn fresh(&self, model: &Model, max: u64) -> Result<Fresh, store::Error> {
        let values = model.about.state_values;
        let (id, number) = {
            let mut inner = self.lock();
            inner.check_life()?;
            let more = checkpoint::file_bytes(values).unwrap_or(u64::MAX);
            let bytes = inner.checkpoint_bytes().saturating_add(more);
            if max < bytes {
                return Err(store::Error::TooLarge { bytes, max });
            }
            let number = inner.record.next_checkpoint;
            inner.record.next_checkpoint = number.wrapping_add(1);
            inner.reserved.insert(number, more);
            (inner.record.id.clone(), number)
        };
        let file = self.store.checkpoint(&id, number, values);
        if file.is_err() {
            self.lock().reserved.remove(&number);
        }
        Ok(Fresh { number, file: file? })
    }

    /// Throws away a checkpoint that no model has.
    pub(crate) fn discard(&self, number: u32) {
        let mut inner = self.lock();
        inner.reserved.remove(&number);
        self.store.checkpoints().remove(&inner.record.id, number);
    }

    /// Undoes, in all models, what a call did whose answer nobody got. Their worker must be gone.
    pub(crate) fn undo(&self, call: u64) -> Result<(), store::Error> {
        let inner = self.lock();
        for held in inner.models.values() {
            if let Some(model) = &held.model {
                let (id, values) = (&inner.record.id, model.about.state_values);
                self.store.checkpoints().undo(id, held.checkpoint, values, call)?;
            }
        }
        Ok(())
    }

    /// Its owner asks for other limits. If that cannot be kept, it is as before.
    pub(crate) fn limit(&self, asked: Limits) -> Result<(), store::Error> {
        let mut inner = self.lock();
        inner.check_life()?;
        let before = std::mem::replace(&mut inner.record.limits, asked);
        let saved = if inner.is_kept { self.store.save(&inner.record) } else { Ok(()) };
        if saved.is_err() {
            inner.record.limits = before;
        }
        saved
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
        inner.check_life()?;
        inner.reserved.remove(&checkpoint);
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

    /// A model has taken the place of the one with the checkpoint `before`, which goes with that one.
    /// If that cannot be kept, the one before is still held.
    pub(crate) fn replace(
        &self,
        model_id: &str,
        before: u32,
        model: Arc<Model>,
        checkpoint: u32,
    ) -> Result<(), store::Error> {
        let mut inner = self.lock();
        inner.check_life()?;
        let recorded = RecordedModel { key: model.key.to_string(), checkpoint };
        let old = inner.record.models.insert(model_id.to_owned(), recorded);
        let saved = if inner.is_kept { self.store.save(&inner.record) } else { Ok(()) };
        if let Err(error) = saved {
            inner.record.models.extend(old.map(|old| (model_id.to_owned(), old)));
            return Err(error);
        }
        inner.reserved.remove(&checkpoint);
        inner.models.insert(model_id.to_owned(), Held { model: Some(model), checkpoint });
        self.store.checkpoints().remove(&inner.record.id, before);
        Ok(())
    }

    /// A model was unloaded. Its checkpoint goes with it. If that cannot be kept, it is still held.
    pub(crate) fn remove(&self, model_id: &str) -> Result<(), store::Error> {
        let mut inner = self.lock();
        inner.check_life()?;
        let Some(held) = inner.models.remove(model_id) else { return Ok(()) };
        let recorded = inner.record.models.remove(model_id);
        let recordings = inner.record.recordings.clone();
        inner.end_recordings(model_id);
        let saved = if inner.is_kept { self.store.save(&inner.record) } else { Ok(()) };
        if let Err(error) = saved {
            inner.models.insert(model_id.to_owned(), held);
            inner.record.models.extend(recorded.map(|recorded| (model_id.to_owned(), recorded)));
            inner.record.recordings = recordings;
            return Err(error);
        }
        self.store.checkpoints().remove(&inner.record.id, held.checkpoint);
        Ok(())
    }

    /// What its checkpoints and snapshots take, in bytes.
    pub(crate) fn checkpoint_bytes(&self) -> u64 {
        self.lock().checkpoint_bytes()
    }

    /// What its recordings take, in bytes.
    pub(crate) fn recording_bytes(&self) -> u64 {
        self.lock().recording_bytes()
    }

    /// How many snapshots there are.
    pub(crate) fn snapshots(&self) -> usize {
        self.lock().record.snapshots.len()
    }

    /// Whether there is a snapshot of that id, though perhaps not its compiled model.
    pub(crate) fn has_snapshot(&self, id: &str) -> bool {
        self.lock().record.snapshots.contains_key(id)
    }

    /// The snapshot of that id, if it can be used.
    pub(crate) fn snapshot(&self, id: &str) -> Option<Taken> {
        self.lock().snapshots.get(id).cloned()
    }

    /// A snapshot was written; tells whether there is room for it. If it cannot be kept, it is not
    /// held.
    pub(crate) fn add_snapshot(
        &self,
        id: &str,
        recorded: RecordedSnapshot,
        model: Arc<Model>,
    ) -> Result<bool, store::Error> {
        let mut inner = self.lock();
        inner.check_life()?;
        if SNAPSHOTS_MAX <= inner.record.snapshots.len() {
            return Ok(false);
        }
        let checkpoint = recorded.checkpoint;
        inner.record.snapshots.insert(id.to_owned(), recorded);
        if inner.is_kept
            && let Err(error) = self.store.save(&inner.record)
        {
            inner.record.snapshots.remove(id);
            return Err(error);
        }
        inner.reserved.remove(&checkpoint);
        inner.snapshots.insert(id.to_owned(), Taken::new(model, checkpoint));
        self.store.checkpoints().seal(&inner.record.id, checkpoint);
        Ok(true)
    }

    /// Forgets a snapshot; tells if there was one. If that cannot be kept, it is still held.
    pub(crate) fn remove_snapshot(&self, id: &str) -> Result<bool, store::Error> {
        let mut inner = self.lock();
        inner.check_life()?;
        let Some(recorded) = inner.record.snapshots.remove(id) else { return Ok(false) };
        let saved = if inner.is_kept { self.store.save(&inner.record) } else { Ok(()) };
        if let Err(error) = saved {
            inner.record.snapshots.insert(id.to_owned(), recorded);
            return Err(error);
        }
        inner.snapshots.remove(id);
        self.store.checkpoints().remove(&inner.record.id, recorded.checkpoint);
        Ok(true)
    }

    /// Opens a checkpoint that nobody writes, to be read.
    pub(crate) fn read(&self, number: u32) -> Result<Arc<OwnedFd>, store::Error> {
        let id = self.lock().record.id.clone();
        self.store.checkpoints().read(&id, number)
    }

    /// No worker writes the checkpoints, and none will soon.
    pub(crate) fn rest(&self) {
        let id = self.lock().record.id.clone();
        self.store.checkpoints().close(&id);
        self.store.recordings().close(&id);
    }

    /// The session is gone.
    pub(crate) fn forget(&self) {
        let mut inner = self.lock();
        inner.has_ended = true;
        self.store.forget(&inner.record.id);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    pub(super) fn check_life(&self) -> Result<(), store::Error> {
        if self.has_ended { Err(store::Error::Ended) } else { Ok(()) }
    }

    /// What the checkpoints take, in bytes, those of models that are being loaded included.
    pub(super) fn checkpoint_bytes(&self) -> u64 {
        let values = |held: &Held| held.model.as_ref().map(|model| model.about.state_values);
        let held = self.models.values().filter_map(values).filter_map(checkpoint::file_bytes);
        let taken = self.snapshots.values().filter_map(Taken::bytes);
        held.chain(taken).chain(self.reserved.values().copied()).fold(0, u64::saturating_add)
    }
}
