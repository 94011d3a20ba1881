//! Many futures of one state: sequences of controls, tried together.

use std::ffi::c_int;
use std::ops::Range;

use mujoco_rs::mujoco_c::mjtState;
use mujoco_rs::wrappers::mj_model::MjModel;
use simward_protocol::checkpoint::Counts;
use simward_protocol::fault::Fault;
use simward_protocol::real::{Real, Reals};
use simward_protocol::rollout::{Outcome, Rollout};
use simward_protocol::state::{Part, State};

use super::batch::{Batch, Output};
use super::fields::Field;
use super::simulation::{INTEGRATION, Simulation, between};
use super::values::check;
use crate::pulse::Pulse;

/// How many sequences are stepped between two signs of life.
const GROUP: usize = 32;

/// Sequences under way.
pub(crate) struct Futures {
    batch: Batch,
    controls: Vec<Vec<Vec<f64>>>,
    hold_steps: u64,
    parts: Vec<Shown>,
    time: Range<usize>,
    ctrl: Range<usize>,
    /// Those that have not failed.
    alive: Vec<c_int>,
    pub(crate) outcomes: Vec<Outcome>,
}

/// Where a part of the state is found: in the row, or among what the engine derives.
#[derive(Clone)]
struct Shown {
    part: Part,
    place: Place,
}

#[derive(Clone)]
enum Place {
    Row(Range<usize>),
    Derived(Output),
}

impl Futures {
    /// Checks what is asked for and puts every sequence into the model's present state.
    pub(crate) fn new(simulation: &Simulation, call: &Rollout) -> Result<Self, Fault> {
        let model = simulation.data.model();
        let state = simulation.data.state(INTEGRATION);
        let sequences = call.controls.len();
        within("sequences of one call", sequences, Rollout::SEQUENCES_MAX)?;
        within("values of states that are held", sequences * state.len(), Rollout::HELD_MAX)?;
        let mut batch = Batch::new(model, sequences, call.threads, &state)
            .map_err(|detail| Fault::ModelUnreadable { detail })?;
        let parts = call.outputs.iter().map(|part| shown(model, &mut batch, *part));
        let parts: Vec<Shown> = parts.collect::<Result<_, _>>()?;
        let values: usize = parts.iter().map(Shown::width).sum();
        let answer = values * sequences * (1 + call.samples as usize);
        within("values of one answer", answer, Rollout::VALUES_MAX)?;
        let ctrl = component(model, mjtState::mjSTATE_CTRL);
        let mut futures = Self {
            batch,
            controls: call.controls.clone(),
            hold_steps: call.hold_steps.max(1),
            parts,
            time: component(model, mjtState::mjSTATE_TIME),
            ctrl,
            alive: Vec::new(),
            outcomes: vec![Outcome::default(); sequences],
        };
        for sequence in 0..sequences {
            match futures.check_controls(sequence) {
                Ok(()) => futures.alive.extend(c_int::try_from(sequence)),
                Err(fault) => futures.outcomes[sequence].error = Some(fault.to_string()),
            }
        }
        Ok(futures)
    }

    fn check_controls(&self, sequence: usize) -> Result<(), Fault> {
        for (index, control) in self.controls[sequence].iter().enumerate() {
            let field = format!("controls[{sequence}][{index}]");
            if control.len() != self.ctrl.len() {
                let (expected, got) = (self.ctrl.len() as u64, control.len() as u64);
                return Err(Fault::WrongLength { field, expected, got });
            }
            check(&field, |index| format!("value {index}"), control, f64::MAX)?;
        }
        Ok(())
    }

    /// Gives every simulation its own value of a field of the model.
    pub(crate) fn vary(
        &mut self,
        field: &Field,
        index: usize,
        values: impl Iterator<Item = f64>,
    ) -> Result<(), Fault> {
        let name = field.name_in_batch();
        let detail = || format!("the engine cannot vary `{name}`");
        let varied = self.batch.expand(&name).filter(|(_, width)| index < *width);
        let (all, width) = varied.ok_or_else(|| Fault::ModelUnreadable { detail: detail() })?;
        for (row, value) in all.chunks_exact_mut(width).zip(values) {
            row[index] = value;
        }
        Ok(())
    }

    /// Derives the constants that follow from what varies.
    pub(crate) fn derive_constants(&mut self) {
        self.batch.derive_constants(&self.alive);
        self.leave_failed();
    }

    /// On how many processors.
    pub(crate) fn threads(&self) -> u32 {
        self.batch.threads()
    }

    /// How many sequences go on.
    pub(crate) fn alive(&self) -> u64 {
        self.alive.len() as u64
    }

    /// How many steps can be taken in one go after so many.
    pub(crate) fn steps_until_control(&self, done: u64) -> u64 {
        self.hold_steps - done % self.hold_steps
    }

    /// Takes steps in all sequences. Those that fail stay behind.
    pub(crate) fn step(&mut self, done: u64, steps: u64, pulse: &Pulse) {
        if done.is_multiple_of(self.hold_steps) {
            let knot = usize::try_from(done / self.hold_steps).unwrap_or(usize::MAX);
            let width = self.batch.width();
            for sequence in &self.alive {
                let sequence = usize::try_from(*sequence).unwrap_or(0);
                if let Some(control) = self.controls[sequence].get(knot) {
                    let row = &mut self.batch.states_mut()[sequence * width..][..width];
                    row[self.ctrl.clone()].copy_from_slice(control);
                }
            }
        }
        for group in self.alive.chunks(GROUP) {
            self.batch.step(group, steps);
            pulse.stepped_together(steps * group.len() as u64, done + steps);
        }
        self.leave_failed();
    }

    fn leave_failed(&mut self) {
        let Self { batch, alive, outcomes, .. } = self;
        alive.retain(|sequence| {
            let index = usize::try_from(*sequence).unwrap_or(0);
            let error = batch.error(index);
            let goes_on = error.is_none();
            if let Some(error) = error {
                outcomes[index].error = Some(format!("the engine stopped: {error}"));
            }
            goes_on
        });
    }

    /// Looks at all sequences that go on, and leaves their futures as they were.
    pub(crate) fn look(&mut self, model_id: &str, is_end: bool) {
        let rows = self.batch.states().to_vec();
        let is_derived = |part: &Shown| matches!(part.place, Place::Derived(_));
        if self.parts.iter().any(is_derived) {
            self.batch.forward(&self.alive);
            self.leave_failed();
        }
        let width = self.batch.width();
        for sequence in &self.alive {
            let index = usize::try_from(*sequence).unwrap_or(0);
            let row = &rows[index * width..][..width];
            let mut state = State {
                model_id: model_id.to_owned(),
                time_secs: Real(row[self.time.start]),
                ..State::default()
            };
            for shown in &self.parts {
                let values = match &shown.place {
                    Place::Row(span) => &row[span.clone()],
                    Place::Derived(output) => self.batch.read(*output, index),
                };
                *slot_of(&mut state, shown.part) = Some(Reals::from(values));
            }
            let outcome = &mut self.outcomes[index];
            if is_end {
                outcome.state = Some(state);
            } else {
                outcome.samples.push(state);
            }
        }
        self.batch.states_mut().copy_from_slice(&rows);
    }

    /// What came of all sequences.
    pub(crate) fn end(mut self) -> Vec<Outcome> {
        let width = self.batch.width();
        for (index, outcome) in self.outcomes.iter_mut().enumerate() {
            outcome.time_secs = Real(self.batch.states()[index * width + self.time.start]);
            let warnings = self.batch.warnings(index);
            let none = Counts::default();
            (outcome.warnings, _) = between(&none, &Counts { warnings, ..none });
        }
        self.outcomes
    }
}

impl Shown {
    fn width(&self) -> usize {
        match &self.place {
            Place::Row(span) => span.len(),
            Place::Derived(output) => output.width,
        }
    }
}

fn shown(model: &MjModel, batch: &mut Batch, part: Part) -> Result<Shown, Fault> {
    let row = |state: mjtState| Place::Row(component(model, state));
    let mut derived = |name: &str| {
        let detail = format!("the engine has no output `{name}`");
        batch.output(name).map(Place::Derived).ok_or(Fault::ModelUnreadable { detail })
    };
    let place = match part {
        Part::Qpos => row(mjtState::mjSTATE_QPOS),
        Part::Qvel => row(mjtState::mjSTATE_QVEL),
        Part::Ctrl => row(mjtState::mjSTATE_CTRL),
        Part::Act => row(mjtState::mjSTATE_ACT),
        Part::MocapPos => row(mjtState::mjSTATE_MOCAP_POS),
        Part::MocapQuat => row(mjtState::mjSTATE_MOCAP_QUAT),
        Part::Qacc => derived("qacc")?,
        Part::ActuatorForce => derived("actuator_force")?,
        Part::Sensordata => derived("sensordata")?,
        Part::Xpos => derived("xpos")?,
        Part::Xquat => derived("xquat")?,
    };
    Ok(Shown { part, place })
}

fn slot_of(state: &mut State, part: Part) -> &mut Option<Reals> {
    match part {
        Part::Qpos => &mut state.qpos,
        Part::Qvel => &mut state.qvel,
        Part::Ctrl => &mut state.ctrl,
        Part::Act => &mut state.act,
        Part::Qacc => &mut state.qacc,
        Part::ActuatorForce => &mut state.actuator_force,
        Part::Sensordata => &mut state.sensordata,
        Part::Xpos => &mut state.xpos,
        Part::Xquat => &mut state.xquat,
        Part::MocapPos => &mut state.mocap_pos,
        Part::MocapQuat => &mut state.mocap_quat,
    }
}

/// Where a component lies in a row of integration state: components stand in the order of their bits.
fn component(model: &MjModel, state: mjtState) -> Range<usize> {
    let bit = state as u32;
    let begin = model.state_size(INTEGRATION & (bit - 1));
    begin..begin + model.state_size(bit)
}

fn within(what: &str, value: usize, max: usize) -> Result<(), Fault> {
    if value <= max {
        return Ok(());
    }
    Err(Fault::LimitExceeded { what: what.into(), value: value as u64, max: max as u64 })
}
