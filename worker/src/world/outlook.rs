//! Looking ahead on a copy: whether a simulation stays stable, and what happens on the way.

use std::time::Instant;

use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::traits::ModelType;
use mujoco_rs::wrappers::mj_model::{MjModel, MjtJoint};
use simward_protocol::checkpoint::WARNINGS;
use simward_protocol::diagnose::Outlook;
use simward_protocol::fault::Fault;
use simward_protocol::real::Real;

use super::places::{dof_name, index};
use super::raw;
use super::simulation::{DIVERGENCES, warnings_of};
use super::values::joint_widths;
use crate::pulse::Pulse;

/// Looks at energy and contacts on the way.
const LOOKS: u64 = 200;

/// The engine's warning of a bad position, of which it tells the index in `qpos`.
const BAD_QPOS: usize = DIVERGENCES.start;

/// How far to look, and until when.
#[derive(Clone, Copy)]
pub(crate) struct Horizon<'a> {
    pub(crate) secs: f64,
    pub(crate) until: Instant,
    pub(crate) pulse: &'a Pulse,
}

/// What lies ahead.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    pub(crate) secs: f64,
    /// When it diverges, and in which degree of freedom.
    pub(crate) diverges: Option<(f64, String)>,
    pub(crate) is_cut_short: bool,
    warnings: [u64; WARNINGS],
    fastest: Option<(usize, f64)>,
    deepest: f64,
    pub(crate) energy: (f64, f64),
}

impl Ahead {
    /// Steps the copy ahead.
    pub(crate) fn look<M: ModelType>(
        data: &mut MjData<M>,
        horizon: Horizon<'_>,
    ) -> Result<Self, Fault> {
        let timestep = data.model().opt().timestep;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let steps = (horizon.secs / timestep).ceil().max(1.0) as u64;
        let every = (steps / LOOKS).max(1);
        for warning in data.warning_mut() {
            warning.number = 0;
        }
        let mut ahead = Self::default();
        let energy = energy(data);
        ahead.energy = (energy, energy);
        for step in 1..=steps {
            if horizon.pulse.current_is_cancelled() {
                return Err(Fault::Cancelled);
            }
            if horizon.until <= Instant::now() {
                ahead.is_cut_short = true;
                break;
            }
            data.step();
            horizon.pulse.rested();
            ahead.secs += timestep;
            if let Some((kind, place)) = divergence(data) {
                ahead.warnings[kind] += 1;
                ahead.diverges = Some((ahead.secs, place));
                break;
            }
            ahead.note(data, step % every == 0);
        }
        Ok(ahead)
    }

    fn note<M: ModelType>(&mut self, data: &mut MjData<M>, look: bool) {
        self.warnings = counts(data);
        for contact in data.contact() {
            self.deepest = self.deepest.max(-contact.dist);
        }
        for (dof, velocity) in data.qvel().iter().enumerate() {
            if self.fastest.is_none_or(|(_, fastest)| fastest < velocity.abs()) {
                self.fastest = Some((dof, velocity.abs()));
            }
        }
        if look {
            self.energy.1 = self.energy.1.max(energy(data));
        }
    }

    /// As it is told.
    pub(crate) fn told(&self, model: &MjModel) -> Outlook {
        Outlook {
            seconds: Real(self.secs),
            is_stable: self.diverges.is_none(),
            diverges_after_secs: self.diverges.as_ref().map(|(secs, _)| Real(*secs)),
            dof: self.diverges.as_ref().map(|(_, dof)| dof.clone()),
            warnings: warnings_of(&self.warnings),
            fastest_dof: self.fastest.map(|(dof, _)| dof_name(model, dof)),
            fastest_velocity: Real(self.fastest.map_or(0.0, |(_, velocity)| velocity)),
            deepest_contact_m: Real(self.deepest),
            energy_begin_j: Real(self.energy.0),
            energy_max_j: Real(self.energy.1),
        }
    }
}

fn counts<M: ModelType>(data: &MjData<M>) -> [u64; WARNINGS] {
    let warnings = data.warning();
    std::array::from_fn(|kind| u64::try_from(warnings[kind].number).unwrap_or(0))
}

/// Which kind of number became too large, and of which degree of freedom.
fn divergence<M: ModelType>(data: &MjData<M>) -> Option<(usize, String)> {
    let kind = DIVERGENCES.clone().find(|kind| data.warning()[*kind].number != 0)?;
    let (model, place) = (data.model(), index(data.warning()[kind].lastinfo));
    let dof = if kind == BAD_QPOS { dof_of_position(model, place) } else { Some(place) };
    let dof = dof.filter(|dof| *dof < data.qvel().len());
    Some((kind, dof.map_or_else(|| format!("#{place}"), |dof| dof_name(model, dof))))
}

/// A degree of freedom of the joint that a position is of.
fn dof_of_position(model: &MjModel, position: usize) -> Option<usize> {
    let joints = model.jnt_qposadr().iter().zip(model.jnt_type()).enumerate();
    let is_of = |(_, (begin, kind)): &(usize, (&i32, &MjtJoint))| {
        let begin = index(**begin);
        (begin..begin + joint_widths(**kind).0).contains(&position)
    };
    joints.into_iter().find(is_of).map(|(joint, _)| index(model.jnt_dofadr()[joint]))
}

/// Kinetic and potential energy of the state as it is; the next step derives anew what this does.
fn energy<M: ModelType>(data: &mut MjData<M>) -> f64 {
    raw::inertia(data);
    data.energy_pos();
    data.energy_vel();
    data.energy().iter().sum()
}
