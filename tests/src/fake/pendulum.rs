//! The one model that there is: a hinge, a motor, and gravity.

use std::time::{Duration, Instant};

use simward_protocol::checkpoint::{self, Counts, Kept};
use simward_protocol::fault::Fault;
use simward_protocol::model::{Actuator, Body, Joint, ModelDescription, ModelSummary};
use simward_protocol::real::{Real, Reals};
use simward_protocol::simulation::RunStatus;
use simward_protocol::state::{Part, State, Values};

use super::keeping::{Checkpoint, VALUES};

/// Simulated seconds that one step advances.
const TIMESTEP_SECS: f64 = 0.002;

/// The longest wait for a paced simulation's next step.
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Pendulum {
    pub(crate) time_secs: f64,
    pub(crate) qpos: f64,
    pub(crate) qvel: f64,
    pub(crate) ctrl: f64,
    pub(crate) qacc: f64,
    pub(crate) run: Option<Background>,
    pub(crate) steps_total: u64,
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// A simulation that advances by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Background {
    pub(crate) until_secs: f64,
    pub(crate) real_time_factor: Option<f64>,
    /// When it began, by the clock and in simulated time.
    pub(crate) begun: (Instant, f64),
    pub(crate) steps_done: u64,
}

impl Pendulum {
    pub(crate) fn step(&mut self) {
        self.qacc = self.ctrl - self.qpos.sin();
        self.qvel += TIMESTEP_SECS * self.qacc;
        self.qpos += TIMESTEP_SECS * self.qvel;
        self.time_secs += TIMESTEP_SECS;
        self.steps_total += 1;
    }

    /// As a checkpoint says it was.
    pub(crate) fn restored(
        checkpoint: Checkpoint,
        kept: Kept<'_>,
        [time_secs, qpos, qvel, ctrl]: [f64; VALUES],
        resume: bool,
    ) -> Self {
        let run = kept.run.filter(|_| resume).map(|run| Background {
            until_secs: run.until_secs,
            real_time_factor: run.real_time_factor,
            begun: (Instant::now(), time_secs),
            steps_done: run.steps_done,
        });
        let steps_total = kept.counts.steps_total;
        let checkpoint = Some(checkpoint);
        Self { time_secs, qpos, qvel, ctrl, qacc: 0.0, run, steps_total, checkpoint }
    }

    /// Keeps its state, as the call of that id has left it.
    pub(crate) fn keep(&mut self, call: u64) {
        let run = self.run.map(|run| checkpoint::Run {
            until_secs: run.until_secs,
            real_time_factor: run.real_time_factor,
            steps_done: run.steps_done,
            before: Counts::default(),
        });
        if let Some(mut checkpoint) = self.checkpoint.take() {
            self.keep_in(&mut checkpoint, call, run);
            self.checkpoint = Some(checkpoint);
        }
    }

    /// Keeps its state in that checkpoint.
    pub(crate) fn keep_in(&self, into: &mut Checkpoint, call: u64, run: Option<checkpoint::Run>) {
        let counts = Counts { steps_total: self.steps_total, ..Counts::default() };
        let state = [self.time_secs, self.qpos, self.qvel, self.ctrl];
        into.keep(call, &Kept { counts, run, ..Kept::default() }, state)
            .expect("a checkpoint can be written");
    }

    /// How long the background simulation, if there is one, can wait.
    pub(crate) fn due(&self) -> Option<Duration> {
        let run = self.run?;
        let Some(factor) = run.real_time_factor else { return Some(Duration::ZERO) };
        let (begun, from_secs) = run.begun;
        let ahead_secs = self.time_secs - from_secs - begun.elapsed().as_secs_f64() * factor;
        let wait = Duration::try_from_secs_f64((ahead_secs / factor).max(0.0));
        Some(wait.unwrap_or(PAUSE_MAX).min(PAUSE_MAX))
    }

    /// Takes one step in the background.
    pub(crate) fn advance_background(&mut self) {
        self.step();
        let time_secs = self.time_secs;
        self.run = self.run.take().and_then(|run| {
            // Half a step of tolerance: sums of timesteps are not exact.
            let unfinished = time_secs + TIMESTEP_SECS / 2.0 < run.until_secs;
            unfinished.then_some(Background { steps_done: run.steps_done + 1, ..run })
        });
    }

    pub(crate) fn run_status(&self, model_id: &str, run: &Background, running: bool) -> RunStatus {
        RunStatus {
            model_id: model_id.into(),
            running,
            time_secs: Real(self.time_secs),
            until_secs: Real(run.until_secs),
            steps_done: run.steps_done,
            warnings: Vec::new(),
            auto_resets: 0,
        }
    }

    pub(crate) fn summary(&self, model_id: &str) -> ModelSummary {
        ModelSummary {
            model_id: model_id.into(),
            name: Some("pendulum".into()),
            nq: 1,
            nv: 1,
            nu: 1,
            na: 0,
            nbody: 2,
            njnt: 1,
            ngeom: 1,
            nsite: 0,
            nsensor: 0,
            nsensordata: 0,
            ncam: 0,
            nkey: 0,
            nmocap: 0,
            timestep_secs: Real(TIMESTEP_SECS),
            time_secs: Real(self.time_secs),
            steps_total: self.steps_total,
            restores_exactly: true,
            model_bytes: 1,
            data_bytes: size_of::<Self>() as u64,
        }
    }

    pub(crate) fn description(&self, model_id: &str, items_max: u32) -> ModelDescription {
        let body = |name: &str, parent: &str, mass: f64| Body {
            name: name.into(),
            parent: parent.into(),
            mass_kg: Real(mass),
        };
        let mut bodies = vec![body("world", "world", 0.0), body("bob", "world", 1.0)];
        let mut joints = vec![Joint {
            name: "hinge".into(),
            kind: "hinge".into(),
            body: "bob".into(),
            qpos_index: 0,
            qpos_count: 1,
            qvel_index: 0,
            qvel_count: 1,
            range: None,
            unit: "rad".into(),
        }];
        let mut actuators = vec![Actuator {
            name: "motor".into(),
            acts_on: "joint hinge".into(),
            ctrl_range: None,
            force_range: None,
        }];
        let items_max = items_max as usize;
        let items_cut = cut(&mut bodies, items_max)
            + cut(&mut joints, items_max)
            + cut(&mut actuators, items_max);
        ModelDescription {
            model: self.summary(model_id),
            gravity: Reals(vec![0.0, 0.0, -1.0]),
            integrator: "euler".into(),
            total_mass_kg: Real(1.0),
            bodies,
            joints,
            actuators,
            sensors: Vec::new(),
            cameras: Vec::new(),
            sites: Vec::new(),
            keyframes: Vec::new(),
            items_cut,
        }
    }

    pub(crate) fn state(&self, model_id: &str, include: &[Part]) -> State {
        let time_secs = Real(self.time_secs);
        let mut state = State { model_id: model_id.into(), time_secs, ..State::default() };
        let (sin, cos) = self.qpos.sin_cos();
        let (half_sin, half_cos) = (self.qpos / 2.0).sin_cos();
        for part in include {
            let (field, values) = match part {
                Part::Qpos => (&mut state.qpos, vec![self.qpos]),
                Part::Qvel => (&mut state.qvel, vec![self.qvel]),
                Part::Ctrl => (&mut state.ctrl, vec![self.ctrl]),
                Part::Act => (&mut state.act, vec![]),
                Part::Qacc => (&mut state.qacc, vec![self.qacc]),
                Part::ActuatorForce => (&mut state.actuator_force, vec![self.ctrl]),
                Part::Sensordata => (&mut state.sensordata, vec![]),
                Part::Xpos => (&mut state.xpos, vec![0.0, 0.0, 0.0, sin, 0.0, -cos]),
                Part::Xquat => {
                    (&mut state.xquat, vec![1.0, 0.0, 0.0, 0.0, half_cos, 0.0, -half_sin, 0.0])
                }
                Part::MocapPos => (&mut state.mocap_pos, vec![]),
                Part::MocapQuat => (&mut state.mocap_quat, vec![]),
            };
            *field = Some(Reals(values));
        }
        state
    }
}

/// Reads a vector of one value, whole or by the name of what the value belongs to.
pub(crate) fn single(
    field: &str,
    (kind, name): (&str, &str),
    values: Option<Values>,
) -> Result<Option<f64>, Fault> {
    let values = match values {
        None => return Ok(None),
        Some(Values::All(values)) => values,
        Some(Values::Named(named)) => {
            if let Some((unknown, _)) = named.iter().find(|(given, _)| given != name) {
                let nearest = vec![name.into()];
                return Err(Fault::NameUnknown {
                    kind: kind.into(),
                    name: unknown.clone(),
                    nearest,
                });
            }
            let Some((_, values)) = named.into_iter().next_back() else { return Ok(None) };
            values
        }
    };
    let [value] = values[..] else {
        let got = values.len() as u64;
        return Err(Fault::WrongLength { field: field.into(), expected: 1, got });
    };
    if value.is_finite() {
        Ok(Some(value))
    } else {
        Err(Fault::NotFinite { field: field.into(), at: "value 0".into() })
    }
}

/// Shortens a list; tells by how much.
fn cut<T>(items: &mut Vec<T>, max: usize) -> u32 {
    let before = items.len();
    items.truncate(max);
    u32::try_from(before - items.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_read_whole_or_by_name() {
        let read = |values| single("control", ("actuator", "motor"), Some(values));
        assert_eq!(read(Values::All(vec![2.0])), Ok(Some(2.0)));
        assert_eq!(read(Values::Named(vec![("motor".into(), vec![3.0])])), Ok(Some(3.0)));
        assert_eq!(read(Values::Named(Vec::new())), Ok(None));
        let code = |values| read(values).unwrap_err().code();
        assert_eq!(code(Values::All(vec![])), "wrong_length");
        assert_eq!(code(Values::All(vec![f64::NAN])), "not_finite");
        assert_eq!(code(Values::Named(vec![("mtor".into(), vec![1.0])])), "name_unknown");
    }

    #[test]
    fn a_background_simulation_ends_by_itself() {
        let begun = (Instant::now(), 0.0);
        let run = Background { until_secs: 0.01, real_time_factor: None, begun, steps_done: 0 };
        let mut pendulum = Pendulum { run: Some(run), ..Pendulum::default() };
        let steps = std::iter::from_fn(|| pendulum.due().map(|_| pendulum.advance_background()));
        assert_eq!(steps.take(100).count(), 5);
    }
}
