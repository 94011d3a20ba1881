//! The simulated world: the sessions of this worker, their models, and what runs in the background.
//!
//! Only this module and [`compile`](crate::compile) are inside the engine, and only on the
//! simulation thread.

pub(crate) mod attend;
pub(crate) mod background;
pub(crate) mod batch;
pub(crate) mod chain;
mod carrying;
pub(crate) mod channels;
pub(crate) mod condition;
pub(crate) mod describe;
pub(crate) mod diagnose;
pub(crate) mod drive;
pub(crate) mod fields;
pub(crate) mod futures;
pub(crate) mod geometry;
pub(crate) mod keeping;
pub(crate) mod linear;
pub(crate) mod linearize;
pub(crate) mod mapping;
pub(crate) mod meter;
pub(crate) mod modified;
mod moment;
pub(crate) mod names;
pub(crate) mod observe;
pub(crate) mod outlook;
pub(crate) mod pace;
pub(crate) mod path;
pub(crate) mod places;
pub(crate) mod pull;
pub(crate) mod random;
pub(crate) mod raw;
pub(crate) mod reach;
pub(crate) mod recording;
pub(crate) mod scratch;
mod shape;
pub(crate) mod shared;
pub(crate) mod simulation;
pub(crate) mod touching;
pub(crate) mod suspects;
pub(crate) mod timing;
pub(crate) mod trajectory;
pub(crate) mod units;
pub(crate) mod values;
mod viewing;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use simward_protocol::fault::Fault;
use simward_protocol::session::Terms;
use simward_protocol::simulation::RunStatus;

use self::background::Background;
pub(crate) use self::background::Due;
use self::meter::Meter;
use self::pace::Pace;
use self::recording::Waiting;
use self::simulation::Simulation;
use self::timing::Timing;
use crate::control::Job;
use crate::endpoint::{Glance, Port};
use crate::simulate::Shared;

/// Everything that the simulation thread owns.
pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    /// What came with the call that is being served.
    pub(crate) attached: Vec<OwnedFd>,
    /// For the ports, which nudge the simulation thread.
    pub(crate) jobs: SyncSender<Job>,
    pub(crate) slots: BTreeMap<u32, Slot>,
    pub(crate) runs: Vec<Background>,
    /// How those ended that ended by themselves, until somebody asks or starts another one.
    pub(crate) finished: BTreeMap<(u32, String), RunStatus>,
    /// How often it was told of other terms, as far as they are in force.
    heard: u64,
    /// Whose steps are timed.
    pub(crate) timing: Timing,
}

/// One session.
pub(crate) struct Slot {
    pub(crate) session_id: String,
    pub(crate) token: String,
    pub(crate) models_max: u32,
    pub(crate) models: BTreeMap<String, Simulation>,
    /// Recordings that go on once their models are there.
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) pace: Pace,
    pub(crate) meter: Rc<Meter>,
    pub(crate) port: Option<Port>,
}

impl World {
    pub(crate) fn new(shared: Arc<Shared>, jobs: SyncSender<Job>) -> Self {
        let (slots, runs, finished) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        let timing = Timing::default();
        Self { shared, attached: Vec::new(), jobs, slots, runs, finished, heard: 0, timing }
    }

    /// Puts in force what the sessions may use from now on, if that has changed.
    pub(crate) fn heed(&mut self) {
        let Some((heard, terms)) = self.shared.told.since(self.heard) else { return };
        self.heard = heard;
        let now = Instant::now();
        for (slot, Terms { models_max, step_rate, cpu_ratio }) in terms {
            if let Some(room) = self.slots.get_mut(&slot) {
                room.models_max = models_max;
                room.pace.change(step_rate, cpu_ratio, now);
            }
        }
    }

    /// The session in a slot, by the terms of this moment.
    pub(crate) fn slot(&mut self, slot: u32) -> Result<&mut Slot, Fault> {
        self.heed();
        self.slots.get_mut(&slot).ok_or(Fault::Slot { slot })
    }

    /// The model that a call means: the one it names, or the only one.
    pub(crate) fn model(
        &mut self,
        slot: u32,
        model_id: Option<&str>,
    ) -> Result<(String, &mut Simulation), Fault> {
        let models = &mut self.slot(slot)?.models;
        let model_id = match model_id {
            Some(model_id) => model_id.to_owned(),
            None if models.len() == 1 => models.keys().next().cloned().unwrap_or_default(),
            None if models.is_empty() => return Err(Fault::NoModel),
            None => return Err(Fault::ModelAmbiguous { known: models.keys().cloned().collect() }),
        };
        if !models.contains_key(&model_id) {
            if models.is_empty() {
                return Err(Fault::NoModel);
            }
            return Err(Fault::ModelUnknown { model_id, known: models.keys().cloned().collect() });
        }
        let simulation = models.get_mut(&model_id).expect("its key was found just above");
        Ok((model_id, simulation))
    }

    /// Like [`Self::model`], for a call that needs the model to stand still.
    pub(crate) fn still_model(
        &mut self,
        slot: u32,
        model_id: Option<&str>,
    ) -> Result<(String, &mut Simulation), Fault> {
        let (model_id, _) = self.model(slot, model_id)?;
        if self.runs.iter().any(|run| run.is_of(slot, &model_id)) {
            return Err(Fault::Running { model_id });
        }
        self.model(slot, Some(&model_id))
    }

    /// Keeps what has changed in a session since it was last kept, for the call of that id.
    pub(crate) fn keep(&mut self, slot: u32, call: u64) {
        let Some(room) = self.slots.get_mut(&slot) else { return };
        for (model_id, simulation) in &mut room.models {
            if simulation.has_changed() {
                let run = self.runs.iter().find(|run| run.is_of(slot, model_id));
                simulation.keep(call, run.map(Background::kept));
            }
        }
    }

    /// Gives the ports and the viewers what they asked for, if they did.
    pub(crate) fn publish_if_wanted(&mut self) {
        if self.shared.pulse.take_view_wish() {
            self.show();
        }
        if !self.shared.pulse.take_snapshot_wish() {
            return;
        }
        let glance = |(model_id, simulation): (&String, &Simulation)| Glance {
            model_id: model_id.clone(),
            time_secs: simulation.time_secs(),
            qpos: simulation.data.qpos().to_vec(),
        };
        let slots = self.slots.iter();
        let slots = slots.map(|(slot, room)| (*slot, room.models.iter().map(glance).collect()));
        self.shared.board.publish(slots.collect());
    }
}
