//! Recordings of a session: they begin in its worker, go on in the next one, and stay until the
//! session ends.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use simward_protocol::model::ListModels;
use simward_protocol::recording::{
    self, AttachRecording, Layout, PlanRecording, Selection, StartRecording, StopRecording,
};

use super::holdings::{Holdings, Inner};
use super::usage::Asking;
use super::{Error, Session};
use crate::store::{self, RecordedRecording, RecordingEnd};
use crate::worker::Options;

/// What a session may record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many recordings it may have, those that have ended included.
    pub max: usize,
    /// How long the file of one may be, in bytes.
    pub bytes_max: u64,
    /// The same of all together.
    pub session_bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { max: 16, bytes_max: 64 << 20, session_bytes_max: 256 << 20 }
    }
}

/// Rows that a recording has space for where its owner does not say.
const ROWS_DEFAULT: u64 = 10_000;

/// A recording that has begun.
#[derive(Clone, Debug)]
pub struct Started {
    /// Its id.
    pub id: String,
    /// What its rows consist of.
    pub layout: Layout,
    /// How many rows it has space for.
    pub rows_max: u64,
    /// The length of its file.
    pub bytes: u64,
}

/// A recording that a session has.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) id: String,
    pub(crate) model_id: String,
    pub(crate) number: u32,
    pub(crate) bytes: u64,
    pub(crate) ended: Option<RecordingEnd>,
    selection: Selection,
}

impl Kept {
    fn of((id, recorded): (&String, &RecordedRecording)) -> Self {
        let RecordedRecording { model_id, number, bytes, selection, ended } = recorded.clone();
        Self { id: id.clone(), model_id, number, bytes, ended, selection }
    }

    /// How it is handed to another worker.
    pub(super) fn attach(self) -> AttachRecording {
        let Self { id: recording_id, model_id, selection, .. } = self;
        AttachRecording { model_id, recording_id, selection }
    }
}

/// Whether a text can be the id of a recording.
pub(crate) fn is_recording_id(id: &str) -> bool {
    id.strip_prefix("rec_").is_some_and(|number| number.parse::<u32>().is_ok())
}

impl Session {
    /// Begins a recording. Once that is acknowledged, every step is recorded that is, whatever ends
    /// meanwhile.
    pub async fn start_recording(
        &self,
        model_id: Option<String>,
        selection: Selection,
        rows: Option<u64>,
    ) -> Result<Started, Error> {
        let _awake = Asking::enter(&self.inner.usage);
        let _same = self.inner.changing.read().await;
        let plan = PlanRecording { model_id, selection: selection.clone() };
        let layout = self.call(plan, Options::default()).await?;
        let bytes = self.recording_bytes(&layout, rows)?;
        let model_id = layout.model_id.clone();
        let holdings = Arc::clone(&self.inner.holdings);
        let (from, max) = (Arc::clone(&holdings), self.inner.plan.recordings.clone());
        let fresh = holdings.store().run(move |_| from.fresh_recording(bytes, &max));
        let (number, file) = fresh.await?;
        let id = format!("rec_{number}");
        let start = StartRecording {
            model_id: model_id.clone(),
            recording_id: id.clone(),
            selection: selection.clone(),
        };
        let options = Options { attached: vec![file], ..Options::default() };
        let started = match self.call_counted(start, options).await {
            Ok(started) => started,
            Err(error) => {
                self.discard_recording(number).await;
                return Err(error);
            }
        };
        let (reply, losses) = started;
        let recorded = RecordedRecording { model_id, number, bytes, selection, ended: None };
        let (add, of) = (Arc::clone(&holdings), id.clone());
        let added = holdings.store().run(move |_| add.add_recording(&of, recorded)).await;
        if let Err(error) = added {
            // What is not kept is not there.
            let stop = StopRecording { recording_id: id };
            self.call(stop, Options::default()).await.ok();
            self.discard_recording(number).await;
            return Err(error.into());
        }
        if self.status().losses != losses {
            // The next worker may have never heard of it.
            self.stop_recording(&id, true).await.ok();
            return Err(self.interrupted());
        }
        Ok(Started { id, layout, rows_max: reply.rows_max, bytes })
    }

    /// How long the file of a recording must be.
    fn recording_bytes(&self, layout: &Layout, rows: Option<u64>) -> Result<u64, Error> {
        let max = self.inner.plan.recordings.bytes_max;
        // What a worker says of itself is checked as what anybody says.
        let within = recording::rows_within(layout, max).map_err(|_bad| Error::WrongReply)?;
        let rows = rows.unwrap_or_else(|| ROWS_DEFAULT.min(within));
        let bytes = recording::file_bytes(layout, rows).map_err(|_bad| Error::WrongReply)?;
        if within < rows.max(1) || max < bytes {
            let key = "sessions.recordings.bytes_max";
            return Err(store::Error::RecordingTooLarge { bytes, max, key }.into());
        }
        Ok(bytes)
    }

    /// Ends a recording, and throws it away if `discard`. Tells whether there was one.
    pub async fn stop_recording(&self, id: &str, discard: bool) -> Result<bool, Error> {
        let _awake = Asking::enter(&self.inner.usage);
        let holdings = Arc::clone(&self.inner.holdings);
        let Some(kept) = holdings.recording(id) else { return Ok(false) };
        let is_held = kept.ended.is_none() && holdings.model(&kept.model_id).is_some();
        if is_held {
            let stop = StopRecording { recording_id: id.to_owned() };
            self.call(stop, Options::default()).await?;
        }
        let (end, id) = (Arc::clone(&holdings), id.to_owned());
        holdings.store().run(move |_| end.end_recording(&id, discard)).await?;
        Ok(true)
    }

    /// Returns once every row that was written is of a step that is kept.
    pub(crate) async fn settle_recordings(&self) -> Result<(), Error> {
        // Whatever a call leaves is kept before it is answered.
        self.call(ListModels {}, Options::default()).await.map(drop)
    }

    /// Hands a model's recordings to the worker, before the model itself.
    pub(super) async fn attach_recordings(&self, model_id: &str) {
        let holdings = Arc::clone(&self.inner.holdings);
        let of = holdings.recordings_under_way().into_iter();
        for kept in of.filter(|kept| kept.model_id == model_id) {
            let (from, number) = (Arc::clone(&holdings), kept.number);
            let file = holdings.store().run(move |_| from.recording_file(number)).await;
            let Ok(file) = file else { continue };
            let options = Options { attached: vec![file], ..Options::default() };
            self.call(kept.attach(), options).await.ok();
        }
    }

    async fn discard_recording(&self, number: u32) {
        let holdings = Arc::clone(&self.inner.holdings);
        tokio::task::spawn_blocking(move || holdings.discard_recording(number)).await.ok();
    }
}

impl Holdings {
    /// Every recording, oldest first.
    pub(crate) fn recordings(&self) -> Vec<Kept> {
        let inner = self.lock();
        let mut kept: Vec<_> = inner.record.recordings.iter().map(Kept::of).collect();
        kept.sort_by_key(|kept| kept.number);
        kept
    }

    /// Those that have not ended.
    pub(super) fn recordings_under_way(&self) -> Vec<Kept> {
        let mut kept = self.recordings();
        kept.retain(|kept| kept.ended.is_none());
        kept
    }

    /// The recording of that id.
    pub(crate) fn recording(&self, id: &str) -> Option<Kept> {
        self.lock().record.recordings.get_key_value(id).map(Kept::of)
    }

    /// Opens the file of that number.
    pub(crate) fn recording_file(&self, number: u32) -> Result<Arc<OwnedFd>, store::Error> {
        let id = self.lock().record.id.clone();
        self.store().recordings().open(&id, number)
    }

    /// Makes an empty file for a recording, if there may be one more of that length.
    fn fresh_recording(
        &self,
        bytes: u64,
        limits: &Config,
    ) -> Result<(u32, Arc<OwnedFd>), store::Error> {
        let (id, number) = {
            let mut inner = self.lock();
            inner.check_life()?;
            let count = inner.record.recordings.len() + inner.reserved_recordings.len();
            if limits.max <= count {
                return Err(store::Error::RecordingsMany { max: limits.max });
            }
            let (all, max) =
                (inner.recording_bytes().saturating_add(bytes), limits.session_bytes_max);
            if max < all {
                let key = "sessions.recordings.session_bytes_max";
                return Err(store::Error::RecordingTooLarge { bytes: all, max, key });
            }
            let number = inner.record.next_checkpoint;
            inner.record.next_checkpoint = number.wrapping_add(1);
            inner.reserved_recordings.insert(number, bytes);
            (inner.record.id.clone(), number)
        };
        let file = self.store().recording(&id, number, bytes);
        if file.is_err() {
            self.lock().reserved_recordings.remove(&number);
        }
        Ok((number, file?))
    }

    /// Throws away a file that no recording has.
    fn discard_recording(&self, number: u32) {
        let mut inner = self.lock();
        inner.reserved_recordings.remove(&number);
        self.store().recordings().remove(&inner.record.id, number);
    }

    /// A recording has begun. If that cannot be kept, there is none.
    fn add_recording(&self, id: &str, recorded: RecordedRecording) -> Result<(), store::Error> {
        let mut inner = self.lock();
        inner.check_life()?;
        inner.reserved_recordings.remove(&recorded.number);
        inner.record.recordings.insert(id.to_owned(), recorded);
        let saved = self.save(&inner);
        if saved.is_err() {
            inner.record.recordings.remove(id);
        }
        saved
    }

    /// A recording has ended. If that cannot be kept, it is as it was.
    fn end_recording(&self, id: &str, discard: bool) -> Result<(), store::Error> {
        let mut inner = self.lock();
        inner.check_life()?;
        let Some(before) = inner.record.recordings.get(id).cloned() else { return Ok(()) };
        if discard {
            inner.record.recordings.remove(id);
        } else if let Some(recorded) = inner.record.recordings.get_mut(id) {
            recorded.ended.get_or_insert(RecordingEnd::Stopped);
        }
        if let Err(error) = self.save(&inner) {
            inner.record.recordings.insert(id.to_owned(), before);
            return Err(error);
        }
        if discard {
            self.store().recordings().remove(&inner.record.id, before.number);
        }
        Ok(())
    }

    fn save(&self, inner: &Inner) -> Result<(), store::Error> {
        if inner.is_kept { self.store().save(&inner.record) } else { Ok(()) }
    }
}

impl Inner {
    /// A model goes, and its recordings end with it.
    pub(super) fn end_recordings(&mut self, model_id: &str) {
        let recordings = self.record.recordings.values_mut();
        for recorded in recordings.filter(|recorded| recorded.model_id == model_id) {
            recorded.ended.get_or_insert(RecordingEnd::Unloaded);
        }
    }

    /// What the recordings take, in bytes.
    pub(super) fn recording_bytes(&self) -> u64 {
        let kept = self.record.recordings.values().map(|recorded| recorded.bytes);
        kept.chain(self.reserved_recordings.values().copied()).fold(0, u64::saturating_add)
    }
}
