//! The calls, answered for pendulums.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::model::{
    DescribeModel, ListModels, LoadModel, ModelDescription, ModelSummary, Models, RestoreModel,
    Restored, SaveModel, Saved, UnloadModel, Unloaded,
};
use simward_protocol::real::Real;
use simward_protocol::session::{CloseSession, Listen, OpenSession, SessionClosed, SessionOpened};
use simward_protocol::simulation::{
    Applied, Pause, Reset, Run, RunStatus, Step, Stepped, StoppedBy,
};
use simward_protocol::state::{GetState, SetState, State, Values};

use super::keeping::Checkpoint;
use super::pendulum::{Background, Pendulum, single};
use super::process::sleep;
use super::pulse::Pulse;

/// Everything that the simulation thread owns.
pub(crate) struct World {
    pub(crate) pulse: Arc<Pulse>,
    /// What came with the call that is being served.
    pub(crate) attached: Vec<OwnedFd>,
    step_takes: Duration,
    keeps_to_budget: bool,
    slots: BTreeMap<u32, Slot>,
}

/// One session.
struct Slot {
    models_max: u32,
    models: BTreeMap<String, Pendulum>,
    /// Held open and never accepted from: a client can connect and hears nothing.
    port: Option<OwnedFd>,
}

impl Slot {
    fn check_place(&self, model_id: &str) -> Result<(), Fault> {
        if self.models.contains_key(model_id) {
            return Err(Fault::ModelExists { model_id: model_id.to_owned() });
        }
        if self.models_max as usize <= self.models.len() {
            let (value, max) = (self.models.len() as u64 + 1, u64::from(self.models_max));
            return Err(Fault::LimitExceeded { what: "models of a session".into(), value, max });
        }
        Ok(())
    }
}

impl World {
    pub(crate) fn new(pulse: Arc<Pulse>, step_takes: Duration, keeps_to_budget: bool) -> Self {
        Self { pulse, attached: Vec::new(), step_takes, keeps_to_budget, slots: BTreeMap::new() }
    }

    /// How long the background simulations can wait; nothing if there are none.
    pub(crate) fn background_due(&self) -> Option<Duration> {
        let models = self.slots.values().flat_map(|slot| slot.models.values());
        models.filter_map(Pendulum::due).min()
    }

    /// Advances what is due.
    pub(crate) fn advance_background(&mut self) {
        let begun = Instant::now();
        self.pulse.begin(None);
        let models = self.slots.values_mut().flat_map(|slot| slot.models.values_mut());
        for model in models.filter(|model| model.due() == Some(Duration::ZERO)) {
            model.advance_background();
            self.pulse.stepped(1);
        }
        self.pulse.end(begun.elapsed());
        self.tell_runs();
    }

    fn tell_runs(&self) {
        self.pulse.runs(self.background_due().is_some());
    }

    fn slot(&mut self, slot: u32) -> Result<&mut Slot, Fault> {
        self.slots.get_mut(&slot).ok_or(Fault::Slot { slot })
    }

    /// The model that a call means: the one it names, or the only one.
    fn model(
        &mut self,
        slot: u32,
        model_id: Option<String>,
    ) -> Result<(String, &mut Pendulum), Fault> {
        let models = &mut self.slot(slot)?.models;
        let known: Vec<String> = models.keys().cloned().collect();
        let model_id = match (model_id, &known[..]) {
            (_, []) => return Err(Fault::NoModel),
            (Some(model_id), _) => model_id,
            (None, [only]) => only.clone(),
            (None, _) => return Err(Fault::ModelAmbiguous { known }),
        };
        match models.get_mut(&model_id) {
            Some(model) => Ok((model_id, model)),
            None => Err(Fault::ModelUnknown { model_id, known }),
        }
    }

    /// Like [`Self::model`], for a call that needs the model to stand still.
    fn still_model(
        &mut self,
        slot: u32,
        model_id: Option<String>,
    ) -> Result<(String, &mut Pendulum), Fault> {
        let (model_id, model) = self.model(slot, model_id)?;
        if model.run.is_some() { Err(Fault::Running { model_id }) } else { Ok((model_id, model)) }
    }

    /// Keeps the state of a session's models, as the call of that id has left it.
    pub(crate) fn keep(&mut self, slot: u32, call: u64) {
        if let Some(room) = self.slots.get_mut(&slot) {
            room.models.values_mut().for_each(|model| model.keep(call));
        }
    }

    /// Looks whether the compiled model that came along is there and long enough, but not at what
    /// it holds; gives back the checkpoint that came with it.
    fn files(&mut self, bytes: u64) -> Result<File, Fault> {
        let unreadable = |detail: String| Fault::ModelUnreadable { detail };
        let [file, checkpoint] = <[OwnedFd; 2]>::try_from(std::mem::take(&mut self.attached))
            .map_err(|_others| unreadable("two files must come with the call".into()))?;
        let last = bytes.checked_sub(1).ok_or_else(|| unreadable("it is empty".into()))?;
        let read = File::from(file).read_exact_at(&mut [0], last);
        read.map_err(|error| unreadable(error.to_string()))?;
        Ok(checkpoint.into())
    }

    /// Keeps the listening socket that came with the call, if one did.
    fn listen(&mut self, slot: u32) -> Result<SessionOpened, Fault> {
        let Some(port) = self.attached.pop() else {
            return Ok(SessionOpened { listening: false });
        };
        self.slot(slot)?.port = Some(port);
        Ok(SessionOpened { listening: true })
    }
}

impl Serve<OpenSession> for World {
    fn serve(&mut self, slot: u32, call: OpenSession) -> Result<SessionOpened, Fault> {
        if self.slots.contains_key(&slot) {
            return Err(Fault::Slot { slot });
        }
        // The meter, in which it counts nothing.
        drop(self.attached.remove(0));
        let models_max = call.terms.models_max;
        self.slots.insert(slot, Slot { models_max, models: BTreeMap::new(), port: None });
        self.listen(slot)
    }
}

impl Serve<Listen> for World {
    fn serve(&mut self, slot: u32, Listen {}: Listen) -> Result<SessionOpened, Fault> {
        self.listen(slot)
    }
}

impl Serve<CloseSession> for World {
    fn serve(&mut self, slot: u32, CloseSession {}: CloseSession) -> Result<SessionClosed, Fault> {
        let closed = self.slots.remove(&slot).ok_or(Fault::Slot { slot })?;
        drop(closed.port);
        self.tell_runs();
        Ok(SessionClosed { models_freed: count(&closed.models) })
    }
}

impl Serve<LoadModel> for World {
    fn serve(
        &mut self,
        slot: u32,
        LoadModel { model_id, bytes }: LoadModel,
    ) -> Result<ModelSummary, Fault> {
        let checkpoint = Checkpoint::create(self.files(bytes)?);
        let room = self.slot(slot)?;
        let model_id = model_id.unwrap_or_else(|| "model".to_owned());
        room.check_place(&model_id)?;
        let pendulum = Pendulum { checkpoint: Some(checkpoint), ..Pendulum::default() };
        let summary = pendulum.summary(&model_id);
        room.models.insert(model_id, pendulum);
        Ok(summary)
    }
}

impl Serve<RestoreModel> for World {
    fn serve(&mut self, slot: u32, call: RestoreModel) -> Result<Restored, Fault> {
        let RestoreModel { model_id, bytes, resume } = call;
        let file = self.files(bytes)?;
        let unusable = |error: io::Error| Fault::CheckpointUnusable {
            model_id: model_id.clone(),
            detail: error.to_string(),
        };
        let (checkpoint, kept, state) = Checkpoint::reopen(file).map_err(unusable)?;
        let room = self.slot(slot)?;
        if room.models.contains_key(&model_id) {
            return Err(Fault::ModelExists { model_id });
        }
        let pendulum = Pendulum::restored(checkpoint, kept, state, resume);
        let (time_secs, steps_total) = (Real(pendulum.time_secs), pendulum.steps_total);
        let running = pendulum.run.is_some();
        room.models.insert(model_id.clone(), pendulum);
        self.keep(slot, 0);
        self.tell_runs();
        Ok(Restored { model_id, time_secs, steps_total, running })
    }
}

impl Serve<SaveModel> for World {
    fn serve(&mut self, slot: u32, SaveModel { model_id }: SaveModel) -> Result<Saved, Fault> {
        let file = self.attached.pop().map(File::from);
        let (model_id, model) = self.model(slot, Some(model_id))?;
        let detail = "no checkpoint came with the call".to_owned();
        let file = file.ok_or(Fault::CheckpointUnusable { model_id, detail })?;
        model.keep_in(&mut Checkpoint::create(file), 0, None);
        Ok(Saved { time_secs: Real(model.time_secs) })
    }
}

impl Serve<ListModels> for World {
    fn serve(&mut self, slot: u32, ListModels {}: ListModels) -> Result<Models, Fault> {
        let models = self.slot(slot)?.models.iter();
        Ok(Models { models: models.map(|(model_id, model)| model.summary(model_id)).collect() })
    }
}

impl Serve<DescribeModel> for World {
    fn serve(&mut self, slot: u32, call: DescribeModel) -> Result<ModelDescription, Fault> {
        let (model_id, model) = self.model(slot, call.model_id)?;
        Ok(model.description(&model_id, call.items_max))
    }
}

impl Serve<UnloadModel> for World {
    fn serve(
        &mut self,
        slot: u32,
        UnloadModel { model_id }: UnloadModel,
    ) -> Result<Unloaded, Fault> {
        let (model_id, _) = self.still_model(slot, model_id)?;
        let models = &mut self.slot(slot)?.models;
        models.remove(&model_id);
        Ok(Unloaded { model_id, models_left: count(models) })
    }
}

impl Serve<Step> for World {
    fn serve(&mut self, slot: u32, call: Step) -> Result<Stepped, Fault> {
        let Step { model_id, steps, control, include, budget_millis, .. } = call;
        #[expect(clippy::cast_precision_loss, reason = "only for the message")]
        let (value, steps_max) = (steps as f64, Step::STEPS_MAX as f64);
        in_range("steps", value, (1.0, steps_max))?;
        let (pulse, step_takes) = (Arc::clone(&self.pulse), self.step_takes);
        let keeps_to_budget = self.keeps_to_budget;
        let (model_id, model) = self.still_model(slot, model_id)?;
        if let Some(ctrl) = single("control", MOTOR, control)? {
            model.ctrl = ctrl;
        }
        pulse.expects(steps);
        let (begun, budget) = (Instant::now(), Duration::from_millis(budget_millis));
        let mut steps_done = 0;
        let stopped_by = loop {
            if pulse.is_cancelled() {
                break StoppedBy::Cancelled;
            }
            // Slow steps are looked at one by one.
            let slice = if step_takes.is_zero() { 256 } else { 1 }.min(steps - steps_done);
            for _ in 0..slice {
                model.step();
            }
            sleep(step_takes);
            pulse.stepped(slice);
            steps_done += slice;
            if steps_done == steps {
                break StoppedBy::Steps;
            }
            if keeps_to_budget && budget <= begun.elapsed() {
                break StoppedBy::Deadline;
            }
        };
        let time_secs = Real(model.time_secs);
        let state = (!include.is_empty()).then(|| model.state(&model_id, &include));
        let (warnings, auto_resets, table) = (Vec::new(), 0, None);
        Ok(Stepped {
            model_id,
            time_secs,
            steps_done,
            stopped_by,
            warnings,
            auto_resets,
            state,
            table,
        })
    }
}

impl Serve<Run> for World {
    fn serve(&mut self, slot: u32, call: Run) -> Result<RunStatus, Fault> {
        let Run { model_id, duration_secs, real_time_factor, control } = call;
        in_range("duration_secs", duration_secs, (f64::MIN_POSITIVE, Run::DURATION_SECS_MAX))?;
        if let Some(factor) = real_time_factor {
            in_range("real_time_factor", factor, Run::REAL_TIME_FACTOR)?;
        }
        let (model_id, model) = self.still_model(slot, model_id)?;
        if let Some(ctrl) = single("control", MOTOR, control)? {
            model.ctrl = ctrl;
        }
        let run = Background {
            until_secs: model.time_secs + duration_secs,
            real_time_factor,
            begun: (Instant::now(), model.time_secs),
            steps_done: 0,
        };
        model.run = Some(run);
        let status = model.run_status(&model_id, &run, true);
        self.tell_runs();
        Ok(status)
    }
}

impl Serve<Pause> for World {
    fn serve(&mut self, slot: u32, Pause { model_id }: Pause) -> Result<RunStatus, Fault> {
        let (model_id, model) = self.model(slot, model_id)?;
        let run = model.run.take().ok_or(Fault::NotRunning)?;
        let status = model.run_status(&model_id, &run, false);
        self.tell_runs();
        Ok(status)
    }
}

impl Serve<Reset> for World {
    fn serve(&mut self, slot: u32, Reset { model_id, keyframe }: Reset) -> Result<Applied, Fault> {
        let (model_id, model) = self.still_model(slot, model_id)?;
        if let Some(name) = keyframe {
            return Err(Fault::NameUnknown { kind: "keyframe".into(), name, nearest: Vec::new() });
        }
        let (checkpoint, steps_total) = (model.checkpoint.take(), model.steps_total);
        *model = Pendulum { steps_total, checkpoint, ..Pendulum::default() };
        Ok(applied(model_id, model, 0))
    }
}

impl Serve<GetState> for World {
    fn serve(&mut self, slot: u32, call: GetState) -> Result<State, Fault> {
        let (model_id, model) = self.model(slot, call.model_id)?;
        Ok(model.state(&model_id, &call.include))
    }
}

impl Serve<SetState> for World {
    fn serve(&mut self, slot: u32, call: SetState) -> Result<Applied, Fault> {
        let SetState { model_id, time_secs, qpos, qvel, ctrl, act, argument: _ } = call;
        let only_controls =
            time_secs.is_none() && qpos.is_none() && qvel.is_none() && act.is_none();
        let (model_id, model) = if only_controls {
            self.model(slot, model_id)
        } else {
            self.still_model(slot, model_id)
        }?;
        // Everything is checked before anything is changed.
        let time_secs = single("time_secs", HINGE, time_secs.map(|secs| Values::All(vec![secs])))?;
        let qpos = single("qpos", HINGE, qpos)?;
        let qvel = single("qvel", HINGE, qvel)?;
        let ctrl = single("ctrl", MOTOR, ctrl)?;
        if let Some(Values::All(values)) = &act
            && !values.is_empty()
        {
            let got = values.len() as u64;
            return Err(Fault::WrongLength { field: "act".into(), expected: 0, got });
        }
        model.time_secs = time_secs.unwrap_or(model.time_secs);
        model.qpos = qpos.unwrap_or(model.qpos);
        model.qvel = qvel.unwrap_or(model.qvel);
        model.ctrl = ctrl.unwrap_or(model.ctrl);
        let values_set = [qpos, qvel, ctrl].into_iter().flatten().count() as u64;
        Ok(applied(model_id, model, values_set))
    }
}

const HINGE: (&str, &str) = ("joint", "hinge");
const MOTOR: (&str, &str) = ("actuator", "motor");

fn applied(model_id: String, model: &Pendulum, values_set: u64) -> Applied {
    Applied { model_id, time_secs: Real(model.time_secs), values_set, clamped: Vec::new() }
}

fn count(models: &BTreeMap<String, Pendulum>) -> u32 {
    u32::try_from(models.len()).unwrap_or(u32::MAX)
}

fn in_range(field: &str, value: f64, (min, max): (f64, f64)) -> Result<(), Fault> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    if !value.is_finite() {
        return Err(Fault::NotFinite { field: field.into(), at: "it".into() });
    }
    Err(Fault::OutOfRange { field: field.into(), value, min, max })
}
