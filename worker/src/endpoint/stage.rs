//! What viewers of a model see: its shape once, and its poses as long as they look.
//!
//! The simulation thread puts up a frame when one is wanted, and at most so often, however many
//! look at it. It never waits for a viewer: who is slow misses frames.

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq as _;
use tungstenite::Bytes;

use super::nudge;
use crate::control::Job;
use crate::pulse::Pulse;
use crate::world::pull::Pull;

/// The time between two frames: at most 60 in a second.
pub(crate) const PERIOD: Duration = Duration::from_micros(16_667);

/// How many viewers a worker has at a time, over all its ports.
const VIEWERS_MAX: usize = 16;

/// What is made for viewers may take one of so many parts of the simulation thread's time.
const PARTS: u32 = 50;

/// The longest time for which nothing is made for viewers, whatever the last took.
const REST_MAX: Duration = Duration::from_secs(1);

/// How long a viewer waits for a frame before it looks after its other business.
const FRAME_PATIENCE: Duration = Duration::from_millis(50);

/// A model of a slot.
pub(crate) type Key = (u32, String);

/// What a viewer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Look.
    Look,
    /// Look, run, pause, step, reset and pull.
    Steer,
}

/// The poses of a model at a moment, as they are sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    /// Which one it is of all that were made.
    pub(crate) number: u64,
    /// Which model it is of: no two that were loaded have the same.
    pub(crate) edition: u32,
    pub(crate) bytes: Bytes,
}

/// What a model looks like, as it is sent, or why it cannot be shown.
pub(crate) type Shape = Arc<Result<(u32, Bytes), String>>;

/// What a viewer gets to see.
#[derive(Debug)]
pub(crate) enum Sight {
    /// The newest frame.
    Frame(Frame),
    /// Nothing new.
    Nothing,
    /// The model is not there.
    Gone,
}

/// What a viewer wants to be done to a model.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) key: Key,
    pub(crate) deed: Deed,
    /// Has room for the one answer.
    pub(crate) answer: SyncSender<Result<(), String>>,
}

/// What can be done to a model by who looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Runs it in the background, in real time.
    Run,
    /// Ends what runs in the background.
    Pause,
    /// Takes so many steps.
    Step(u32),
    /// Brings it to its initial state, paused.
    Reset,
}

/// What is wanted of a model.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) frame: bool,
    /// Those who wait for its shape; each has room for it.
    pub(crate) shape: Vec<SyncSender<Shape>>,
    /// A hand that pulls.
    pub(crate) pull: Option<Pull>,
}

/// Shared by the simulation thread and the viewers' threads.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    /// The tokens for looking and for steering, by slot.
    admitted: BTreeMap<u32, (Option<String>, Option<String>)>,
    /// The models that somebody looks at.
    scenes: BTreeMap<Key, Scene>,
    /// One of each viewer at most.
    orders: Vec<Order>,
    frames: u64,
    /// Before this nothing is made for viewers.
    rests_until: Option<Instant>,
}

#[derive(Debug, Default)]
struct Scene {
    viewers: usize,
    wanted: Wanted,
    /// Grows whenever the simulation thread has looked.
    looks: u64,
    is_gone: bool,
    frame: Option<(Frame, Instant)>,
}

impl Stage {
    /// Lets in who comes with one of these tokens, for looking and for steering. Tells how many
    /// watched the slot.
    pub(crate) fn admit(&self, slot: u32, look: Option<String>, steer: Option<String>) -> usize {
        let mut inner = self.lock();
        inner.admitted.insert(slot, (look, steer));
        let scenes = inner.scenes.iter();
        scenes.filter(|((of, _), _)| *of == slot).map(|(_, scene)| scene.viewers).sum()
    }

    /// Lets nobody in to a slot that is no more.
    pub(crate) fn shut(&self, slot: u32) {
        self.lock().admitted.remove(&slot);
    }

    /// What the bearer of a token may do in a slot.
    pub(crate) fn right(&self, slot: u32, token: &str) -> Option<Right> {
        let inner = self.lock();
        let (look, steer) = inner.admitted.get(&slot)?;
        let fits = |known: &Option<String>| {
            let known = known.as_ref().map(String::as_bytes);
            known.is_some_and(|known| known.ct_eq(token.as_bytes()).into())
        };
        match (fits(look), fits(steer)) {
            (_, true) => Some(Right::Steer),
            (true, false) => Some(Right::Look),
            (false, false) => None,
        }
    }

    /// Gives a viewer a seat, if there is one left.
    pub(crate) fn enter(&self, key: Key) -> Option<Seat<'_>> {
        let mut inner = self.lock();
        if VIEWERS_MAX <= inner.scenes.values().map(|scene| scene.viewers).sum() {
            return None;
        }
        inner.scenes.entry(key.clone()).or_default().viewers += 1;
        Some(Seat { stage: self, key })
    }

    /// What the simulation thread is to show now.
    pub(crate) fn take_wishes(&self, now: Instant) -> Vec<(Key, Wanted)> {
        let mut inner = self.lock();
        let rests = inner.rests_until.is_some_and(|until| now < until);
        let mut wishes = Vec::new();
        for (key, scene) in &mut inner.scenes {
            let wanted = if rests {
                // A hand that pulls is not put off.
                Wanted { pull: scene.wanted.pull.take(), ..Wanted::default() }
            } else {
                std::mem::take(&mut scene.wanted)
            };
            if wanted.frame || !wanted.shape.is_empty() || wanted.pull.is_some() {
                wishes.push((key.clone(), wanted));
            }
        }
        wishes
    }

    /// What the simulation thread is to do now.
    pub(crate) fn take_orders(&self) -> Vec<Order> {
        std::mem::take(&mut self.lock().orders)
    }

    /// Puts up the frame of a model, or that it is not there.
    pub(crate) fn put(&self, key: &Key, frame: Option<(u32, Vec<u8>)>) {
        let mut inner = self.lock();
        inner.frames += 1;
        let number = inner.frames;
        // Those who wanted it may have left.
        if let Some(scene) = inner.scenes.get_mut(key) {
            scene.looks += 1;
            scene.is_gone = frame.is_none();
            scene.frame = frame.map(|(edition, bytes)| {
                (Frame { number, edition, bytes: bytes.into() }, Instant::now())
            });
        }
        self.changed.notify_all();
    }

    /// So much time went into what the viewers wanted.
    pub(crate) fn took(&self, now: Instant, busy: Duration) {
        self.lock().rests_until = now.checked_add((busy * PARTS).min(REST_MAX));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A viewer's place before a model.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    stage: &'a Stage,
    key: Key,
}

impl Seat<'_> {
    /// The newest frame, if it is newer than the one of that number. Waits for it a little.
    pub(crate) fn look(&self, seen: u64, pulse: &Pulse, jobs: &SyncSender<Job>) -> Sight {
        let mut inner = self.stage.lock();
        let newer = |scene: &Scene| {
            let newest = scene.frame.as_ref().filter(|(frame, _)| seen < frame.number);
            newest.cloned()
        };
        let now = Instant::now();
        let Some(scene) = inner.scenes.get_mut(&self.key) else { return Sight::Gone };
        if let Some((frame, at)) = newer(scene)
            && now.saturating_duration_since(at) < PERIOD
        {
            return Sight::Frame(frame);
        }
        scene.wanted.frame = true;
        let before = scene.looks;
        pulse.want_view();
        nudge(pulse, jobs);
        let waits = |inner: &mut Inner| {
            inner.scenes.get(&self.key).is_some_and(|scene| scene.looks == before)
        };
        let waited = self.stage.changed.wait_timeout_while(inner, FRAME_PATIENCE, waits);
        let (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match inner.scenes.get(&self.key) {
            Some(scene) if !scene.is_gone => {
                newer(scene).map_or(Sight::Nothing, |(frame, _)| Sight::Frame(frame))
            }
            _ => Sight::Gone,
        }
    }

    /// Asks for the model's shape.
    pub(crate) fn want_shape(&self, taker: SyncSender<Shape>) {
        self.want(|wanted| wanted.shape.push(taker));
    }

    /// Pulls at the model, or goes on pulling.
    pub(crate) fn pull(&self, pull: Pull, pulse: &Pulse, jobs: &SyncSender<Job>) {
        self.want(|wanted| wanted.pull = Some(pull));
        remind(pulse, jobs);
    }

    /// Has something done, with the answer to come.
    pub(crate) fn order(
        &self,
        deed: Deed,
        answer: SyncSender<Result<(), String>>,
        pulse: &Pulse,
        jobs: &SyncSender<Job>,
    ) {
        self.stage.lock().orders.push(Order { key: self.key.clone(), deed, answer });
        pulse.give_order();
        nudge(pulse, jobs);
    }

    fn want(&self, want: impl FnOnce(&mut Wanted)) {
        if let Some(scene) = self.stage.lock().scenes.get_mut(&self.key) {
            want(&mut scene.wanted);
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut inner = self.stage.lock();
        if let Some(scene) = inner.scenes.get_mut(&self.key) {
            scene.viewers -= 1;
            if scene.viewers == 0 {
                inner.scenes.remove(&self.key);
            }
        }
    }
}

/// Reminds the simulation thread of what was asked for.
pub(crate) fn remind(pulse: &Pulse, jobs: &SyncSender<Job>) {
    pulse.want_view();
    nudge(pulse, jobs);
}
