//! One model and its data.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use mujoco_rs::mujoco_c::{mjtDisableBit, mjtEnableBit, mjtState};
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;
use simward_protocol::checkpoint::{self, Counts, Kept};
use simward_protocol::fault::{Fault, cut};
use simward_protocol::model::ModelSummary;
use simward_protocol::real::{Real, Reals};
use simward_protocol::simulation::Warning;
use simward_protocol::state::{Part, State};

use super::fields::{FIELDS, Spot};
use super::keeping::{Checkpoint, Found};
use super::meter::{Counter, Meter};
use super::modified::{self, Modifications, Wanted};
use super::pull::Pull;
use super::recording::Recordings;
use crate::pulse::Pulse;

/// The bounds of a model's timestep, in seconds. The engine itself takes zero, negative numbers
/// and NaN, and then time stands still, runs backwards or is lost.
pub(crate) const TIMESTEP_SECS: (f64, f64) = (1e-9, 10.0);

/// The largest coordinate or velocity that the engine does not take for a divergence.
pub(crate) const COORDINATE_MAX: f64 = mujoco_rs::mujoco_c::mjMAXVAL;

/// The integration state: what continues bit by bit where it was taken.
pub const INTEGRATION: u32 = mjtState::mjSTATE_INTEGRATION as u32;

/// The engine's warnings, in its order: our code and what it means.
const WARNINGS: [(&str, &str); checkpoint::WARNINGS] = [
    ("inertia", "the inertia matrix is nearly singular"),
    ("contact_full", "more contacts than the model's memory holds; some were dropped"),
    ("constraint_full", "more constraints than the model's memory holds; some were dropped"),
    ("bad_qpos", "a position was NaN, infinite or huge"),
    ("bad_qvel", "a velocity was NaN, infinite or huge"),
    ("bad_qacc", "an acceleration was NaN, infinite or huge: the simulation is unstable"),
    ("bad_ctrl", "a control was NaN, infinite or huge"),
];

/// Where the engine counts what makes it start anew: `bad_qpos`, `bad_qvel`, `bad_qacc`.
pub const DIVERGENCES: std::ops::Range<usize> = 3..6;

/// A model, its data, and what was counted so far.
pub(crate) struct Simulation {
    pub(crate) data: MjData<Box<MjModel>>,
    /// What was changed of its model.
    pub(super) modified: Modifications,
    /// Where its state is kept.
    checkpoint: Checkpoint,
    /// Whether it has changed since it was last kept.
    changed: bool,
    /// What was counted before the engine's counters were last set back, and the steps.
    pub(super) counts: Counts,
    /// What is recorded of its steps.
    pub(super) recordings: Recordings,
    /// Divergences on the engine's counters at the last look.
    diverged: i64,
    /// Which one it is of all that this worker has loaded.
    edition: u32,
    /// A viewer's hand that pulls at it.
    pub(crate) pull: Option<Pull>,
    /// What its steps are counted with.
    counter: Option<Counter>,
}

/// How many models this worker has loaded.
static EDITIONS: AtomicU32 = AtomicU32::new(0);

impl Simulation {
    /// Loads compiled model bytes, which our own compile process made, with an empty checkpoint.
    pub(crate) fn load(model_id: &str, compiled: &[u8], file: &OwnedFd) -> Result<Self, Fault> {
        let data = make(compiled)?;
        let values = data.model().state_size(INTEGRATION);
        let checkpoint = Checkpoint::create(file, values);
        let checkpoint = checkpoint.map_err(|detail| unusable(model_id, detail))?;
        Ok(Self::new(data, Modifications::default(), checkpoint, Counts::default()))
    }

    /// Loads compiled model bytes and brings the model to the state of its checkpoint. Tells what was
    /// under way in the background.
    pub(crate) fn restore(
        model_id: &str,
        compiled: &[u8],
        file: &OwnedFd,
    ) -> Result<(Self, Option<checkpoint::Run>), Fault> {
        let mut data = make(compiled)?;
        let values = data.model().state_size(INTEGRATION);
        let (checkpoint, found) =
            Checkpoint::reopen(file, values).map_err(|detail| unusable(model_id, detail))?;
        let mut modified = Modifications::default();
        modified
            .take_over(&mut data, &found.modified)
            .map_err(|problem| unusable(model_id, problem.to_owned()))?;
        data.set_state(&found.state, INTEGRATION)
            .map_err(|error| unusable(model_id, error.to_string()))?;
        let Found { counts, run, .. } = found;
        Ok((Self::new(data, modified, checkpoint, counts), run))
    }

    fn new(
        data: MjData<Box<MjModel>>,
        modified: Modifications,
        checkpoint: Checkpoint,
        counts: Counts,
    ) -> Self {
        let edition = EDITIONS.fetch_add(1, Ordering::Relaxed);
        Self {
            data,
            modified,
            checkpoint,
            changed: true,
            counts,
            recordings: Recordings::default(),
            diverged: 0,
            edition,
            pull: None,
            counter: None,
        }
    }

    /// Counts its steps from now on.
    pub(crate) fn count_with(&mut self, meter: &Rc<Meter>, model_id: &str) {
        self.counter = Some(Counter::new(meter, model_id, &self.data, &self.counts()));
    }

    /// Whether it has changed since it was last kept.
    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    /// Something outside of it was changed that is kept with it, or its data were.
    pub(crate) fn touch(&mut self) {
        self.changed = true;
    }

    /// Keeps its state, as the call of that id has left it.
    pub(crate) fn keep(&mut self, call: u64, run: Option<checkpoint::Run>) {
        let counts = self.counts();
        let Self { data, modified, checkpoint, .. } = self;
        let kept = Kept { counts, run, modified: modified.words() };
        checkpoint.keep(call, &kept, |state| {
            data.read_state_into(INTEGRATION, state);
        });
        self.changed = false;
    }

    /// Writes its state into an empty checkpoint besides its own; what runs in the background is
    /// left out.
    pub(crate) fn save(&self, model_id: &str, file: &OwnedFd) -> Result<(), Fault> {
        let values = self.data.model().state_size(INTEGRATION);
        let other = Checkpoint::create(file, values);
        let mut other = other.map_err(|detail| unusable(model_id, detail))?;
        let kept = Kept { counts: self.counts(), run: None, modified: self.modified.words() };
        other.keep(0, &kept, |state| {
            self.data.read_state_into(INTEGRATION, state);
        });
        Ok(())
    }

    /// Takes over the state that another checkpoint holds; tells how many values that is.
    pub(crate) fn adopt(&mut self, model_id: &str, file: &OwnedFd) -> Result<u64, Fault> {
        let values = self.data.model().state_size(INTEGRATION);
        let (_, found) =
            Checkpoint::reopen(file, values).map_err(|detail| unusable(model_id, detail))?;
        self.modified
            .take_over(&mut self.data, &found.modified)
            .map_err(|problem| unusable(model_id, problem.to_owned()))?;
        self.data
            .set_state(&found.state, INTEGRATION)
            .map_err(|error| unusable(model_id, error.to_string()))?;
        self.changed = true;
        Ok(values as u64)
    }

    /// Changes numbers of the model that were checked.
    pub(crate) fn modify(&mut self, wanted: &Wanted) -> Result<(), Fault> {
        self.modified.set(&mut self.data, wanted)?;
        self.changed = true;
        Ok(())
    }

    /// How many values of the model differ from what was compiled.
    pub(crate) fn modified_total(&self) -> u32 {
        u32::try_from(self.modified.words().len()).unwrap_or(u32::MAX)
    }

    /// What was compiled, where something else stands now.
    pub(crate) fn compiled_values(&self) -> Wanted {
        self.modified.all_compiled()
    }

    /// A field's value as it was compiled.
    pub(crate) fn compiled_value(&mut self, field: usize, index: usize) -> f64 {
        let now = || FIELDS[field].values(modified::model(&mut self.data))[index];
        self.modified.compiled(field, index).unwrap_or_else(now)
    }

    /// The values at a spot, as they are now.
    pub(crate) fn field_values(&mut self, spot: &Spot) -> &[f64] {
        let values = FIELDS[spot.field].values(modified::model(&mut self.data));
        &values[spot.begin..spot.begin + spot.count]
    }

    pub(crate) fn time_secs(&self) -> f64 {
        self.data.time()
    }

    pub(crate) fn timestep_secs(&self) -> f64 {
        self.data.model().opt().timestep
    }

    /// Which one it is of all that this worker has loaded: its shape stays the same.
    pub(crate) fn edition(&self) -> u32 {
        self.edition
    }

    /// Takes up to `steps` steps, fewer if the current call is withdrawn; tells how many.
    pub(crate) fn advance(&mut self, steps: u64, pulse: &Pulse, done_before: u64) -> u64 {
        let Some(pull) = self.pull else { return self.take_steps(steps, pulse, done_before) };
        if pull.is_over(Instant::now()) {
            self.pull = None;
            return self.take_steps(steps, pulse, done_before);
        }
        let mut taken = 0;
        // The spring's force changes with every step.
        while taken < steps {
            let applied = self.apply(&pull);
            let done = self.take_steps(1, pulse, done_before + taken);
            if let Some(applied) = applied {
                self.let_go(applied);
            }
            taken += done;
            if done == 0 {
                break;
            }
        }
        taken
    }

    fn take_steps(&mut self, steps: u64, pulse: &Pulse, done_before: u64) -> u64 {
        self.changed = true;
        let taken = if self.recordings.is_empty() {
            self.take(steps, pulse, done_before, |_, _| ())
        } else {
            // Out of the way of the steps, and back.
            let mut recordings = std::mem::take(&mut self.recordings);
            let taken = self.take(steps, pulse, done_before, |data, step| {
                recordings.note(data, step);
            });
            self.recordings = recordings;
            taken
        };
        self.counts.steps_total += taken;
        let counts = self.counts();
        if let Some(counter) = &mut self.counter {
            counter.took(taken, &self.data, &counts);
        }
        taken
    }

    /// Takes steps, and notes each with its number. What is noted nowhere costs nothing.
    fn take(
        &mut self,
        steps: u64,
        pulse: &Pulse,
        done_before: u64,
        mut note: impl FnMut(&MjData<Box<MjModel>>, u64),
    ) -> u64 {
        for taken in 0..steps {
            if pulse.current_is_cancelled() {
                return taken;
            }
            let before = self.data.time();
            let begun = self.counter.as_mut().and_then(Counter::before);
            self.data.step();
            if let (Some(begun), Some(counter)) = (begun, &mut self.counter) {
                counter.timed(begun);
            }
            pulse.stepped(done_before + taken + 1);
            // An automatic reset sets the counters back before it counts itself, so that a second
            // one leaves the same count: then time tells.
            let diverged = self.divergences();
            if diverged != self.diverged || (diverged != 0 && self.data.time() <= before) {
                self.note_divergence(diverged);
            }
            note(&self.data, self.counts.steps_total + taken + 1);
        }
        steps
    }

    #[cold]
    fn note_divergence(&mut self, diverged: i64) {
        let flags = self.data.model().opt().disableflags;
        let auto_reset_off = mjtDisableBit::mjDSBL_AUTORESET as i32;
        if flags & auto_reset_off == 0 {
            self.counts.auto_resets += 1;
            // All other counts were lost with the reset; these are what is left of it.
            for (count, now) in self.counts.warnings.iter_mut().zip(self.data.warning()) {
                *count += u64::try_from(now.number).unwrap_or(0);
            }
            self.forget_counts();
            self.diverged = 0;
        } else {
            self.diverged = diverged;
        }
    }

    fn divergences(&self) -> i64 {
        self.data.warning()[DIVERGENCES].iter().map(|warning| i64::from(warning.number)).sum()
    }

    /// Sets the engine's counters back, which have no part in its physics.
    fn forget_counts(&mut self) {
        for warning in self.data.warning_mut() {
            warning.number = 0;
        }
    }

    /// Everything that was counted so far.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = self.counts;
        for (count, now) in counts.warnings.iter_mut().zip(self.data.warning()) {
            *count += u64::try_from(now.number).unwrap_or(0);
        }
        counts
    }

    /// Brings the model back to its initial state, or to a keyframe. What was timed stays so.
    pub(crate) fn reset(&mut self, keyframe: Option<usize>) -> Result<(), Fault> {
        self.counts = self.counts();
        self.diverged = 0;
        self.changed = true;
        let timed = self.data.timer().clone();
        match keyframe {
            None => self.data.reset(),
            Some(index) => self
                .data
                .reset_keyframe(index)
                .map_err(|error| Fault::ModelUnreadable { detail: cut(error.to_string()) })?,
        }
        *self.data.timer_mut() = timed;
        Ok(())
    }

    /// Reads parts of the state.
    ///
    /// What the engine derives (accelerations, forces, sensors, poses of bodies) is derived of the
    /// state as it is now, not of the step before; and deriving it leaves the simulation's future
    /// as it was, to the last bit.
    pub(crate) fn state(&mut self, model_id: String, include: &[Part]) -> State {
        let derived = |part: &Part| {
            use Part::{ActuatorForce, Qacc, Sensordata, Xpos, Xquat};
            matches!(part, Qacc | ActuatorForce | Sensordata | Xpos | Xquat)
        };
        if include.iter().any(derived) {
            self.derive();
        }
        let mut state = State { model_id, time_secs: Real(self.time_secs()), ..State::default() };
        for part in include {
            self.read_part(*part, &mut state);
        }
        state
    }

    fn read_part(&self, part: Part, state: &mut State) {
        let data = &self.data;
        match part {
            Part::Qpos => state.qpos = Some(data.qpos().into()),
            Part::Qvel => state.qvel = Some(data.qvel().into()),
            Part::Ctrl => state.ctrl = Some(data.ctrl().into()),
            Part::Act => state.act = Some(data.act().into()),
            Part::Qacc => state.qacc = Some(data.qacc().into()),
            Part::ActuatorForce => state.actuator_force = Some(data.actuator_force().into()),
            Part::Sensordata => state.sensordata = Some(data.sensordata().into()),
            Part::Xpos => state.xpos = Some(flat(data.xpos())),
            Part::Xquat => state.xquat = Some(flat(data.xquat())),
            Part::MocapPos => state.mocap_pos = Some(flat(data.mocap_pos())),
            Part::MocapQuat => state.mocap_quat = Some(flat(data.mocap_quat())),
        }
    }

    /// Where a body's centre of mass is, in the world, in metres.
    pub(crate) fn centre_of_mass(&mut self, body: usize) -> [f64; 3] {
        self.derive();
        self.data.xipos()[body]
    }

    /// Derives what follows from the state, and puts the state back: `mj_forward` moves the
    /// solver's warm start, on which the bits of the next step depend.
    fn derive(&mut self) {
        let kept = self.data.state(INTEGRATION);
        let counts = self.counts();
        let timed = self.data.timer().clone();
        self.data.forward();
        // The lengths agree because the state came from the same data just now.
        self.data.set_state(&kept, INTEGRATION).ok();
        // Warnings and time of the look itself are not the simulation's.
        *self.data.timer_mut() = timed;
        self.forget_counts();
        self.diverged = 0;
        self.counts = counts;
    }

    /// The model at a glance.
    pub(crate) fn summary(&self, model_id: &str) -> ModelSummary {
        let model = self.data.model();
        let ffi = model.ffi();
        let name = model_name(model);
        ModelSummary {
            model_id: model_id.to_owned(),
            name,
            nq: size(ffi.nq),
            nv: size(ffi.nv),
            nu: size(ffi.nu),
            na: size(ffi.na),
            nbody: size(ffi.nbody),
            njnt: size(ffi.njnt),
            ngeom: size(ffi.ngeom),
            nsite: size(ffi.nsite),
            nsensor: size(ffi.nsensor),
            nsensordata: size(ffi.nsensordata),
            ncam: size(ffi.ncam),
            nkey: size(ffi.nkey),
            nmocap: size(ffi.nmocap),
            timestep_secs: Real(model.opt().timestep),
            time_secs: Real(self.time_secs()),
            steps_total: self.counts.steps_total,
            restores_exactly: model.opt().enableflags & mjtEnableBit::mjENBL_SLEEP as i32 == 0,
            model_bytes: u64::try_from(ffi.nbuffer).unwrap_or(0),
            data_bytes: u64::try_from(self.data.ffi().nbuffer + self.data.ffi().narena)
                .unwrap_or(0),
        }
    }
}

/// The warnings that so many counts stand for.
pub(crate) fn warnings_of(counts: &[u64; checkpoint::WARNINGS]) -> Vec<Warning> {
    let told = WARNINGS.iter().zip(counts).filter(|(_, count)| **count != 0);
    told.map(|((code, message), count)| Warning {
        code: (*code).into(),
        count: *count,
        message: (*message).into(),
    })
    .collect()
}

/// What went wrong between two looks.
pub(crate) fn between(earlier: &Counts, later: &Counts) -> (Vec<Warning>, u64) {
    let counts =
        std::array::from_fn(|kind| later.warnings[kind].saturating_sub(earlier.warnings[kind]));
    let warnings = warnings_of(&counts);
    (warnings, later.auto_resets.saturating_sub(earlier.auto_resets))
}

fn make(compiled: &[u8]) -> Result<MjData<Box<MjModel>>, Fault> {
    let unreadable =
        |error: &dyn std::fmt::Display| Fault::ModelUnreadable { detail: cut(error.to_string()) };
    let model = MjModel::from_buffer(compiled).map_err(|error| unreadable(&error))?;
    check_timestep(model.opt().timestep)?;
    MjData::try_new(Box::new(model)).map_err(|error| unreadable(&error))
}

fn unusable(model_id: &str, detail: String) -> Fault {
    Fault::CheckpointUnusable { model_id: model_id.to_owned(), detail: cut(detail) }
}

/// Refuses a timestep with which time would not go forward.
pub fn check_timestep(value: f64) -> Result<(), Fault> {
    let (min, max) = TIMESTEP_SECS;
    if (min..=max).contains(&value) {
        return Ok(());
    }
    if !value.is_finite() {
        let (field, at) = ("option timestep".into(), format!("{value}"));
        return Err(Fault::NotFinite { field, at });
    }
    Err(Fault::OutOfRange { field: "option timestep".into(), value, min, max })
}

pub(super) fn model_name(model: &MjModel) -> Option<String> {
    // The blob of names begins with the model's own, and ends with a NUL.
    let bytes = model.names().iter().map(|byte| byte.cast_unsigned());
    let name: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
    String::from_utf8(name).ok().filter(|name| !name.is_empty())
}

fn size(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn flat<const N: usize>(rows: &[[f64; N]]) -> Reals {
    Reals(rows.as_flattened().to_vec())
}
