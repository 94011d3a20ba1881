//! The linear model of one step, by finite differences.

use std::time::{Duration, Instant};

use mujoco_rs::mujoco_c::{mjtEnableBit, mjtIntegrator};
use mujoco_rs::wrappers::mj_model::{MjModel, MjtObjBase};
use nalgebra::DMatrix;
use simward_protocol::analysis::{Linearization, Linearize};
use simward_protocol::fault::Fault;
use simward_protocol::real::{Real, Reals};

use super::places::{dof_name, index};
use super::scratch::Scratch;
use super::simulation::INTEGRATION;
use super::{linear, names, raw};

/// How many eigenvalues are told.
const EIGENVALUES_MAX: usize = 20;

/// Why the engine cannot take differences of a model's steps; it would end the process.
pub(crate) fn unsuited_to_differences(model: &MjModel) -> Option<&'static str> {
    let delayed = |delays: &[f64]| delays.iter().any(|delay| *delay != 0.0);
    if model.opt().integrator == mjtIntegrator::mjINT_RK4 as i32 {
        Some("the engine does not linearise steps of the integrator RK4")
    } else if model.opt().enableflags & mjtEnableBit::mjENBL_SLEEP as i32 != 0 {
        Some("the engine does not linearise a model whose islands may sleep")
    } else if model.opt().enableflags & mjtEnableBit::mjENBL_IPC as i32 != 0 {
        Some("the engine does not linearise a model with the flag ipc")
    } else if model.ffi().nhistory != 0
        || delayed(model.actuator_delay())
        || delayed(model.sensor_delay())
    {
        Some("the engine does not linearise a model with delays")
    } else {
        None
    }
}

/// Linearises one step.
pub(crate) fn linearize(
    data: &mut Scratch<'_>,
    model_id: String,
    eps: f64,
    centered: bool,
) -> Result<Linearization, Fault> {
    let model = data.model_clone();
    if let Some(detail) = unsuited_to_differences(model) {
        return Err(Fault::Unsuitable { detail: detail.into() });
    }
    let (nv, na, nu) = (data.qvel().len(), data.act().len(), data.ctrl().len());
    let states = 2 * nv + na;
    bounded("states (2 nv + na) of a linear model", states as u64, Linearize::STATES_MAX)?;
    bounded("controls of a linear model", nu as u64, Linearize::STATES_MAX)?;
    let steps = (states + nu) * if centered { 2 } else { 1 };
    bounded("milliseconds of one linearisation", expected(data, steps), Linearize::MILLIS_MAX)?;
    let time_secs = Real(data.time());
    let (a, b) = raw::transition(data, eps, centered);
    let matrix = DMatrix::from_row_slice(states, states, &a);
    let mut eigenvalues = linear::eigenvalues(matrix).unwrap_or_default();
    let spectral_radius = eigenvalues.first().map(linear::magnitude);
    eigenvalues.truncate(EIGENVALUES_MAX);
    Ok(Linearization {
        model_id,
        time_secs,
        timestep_secs: Real(model.opt().timestep),
        states: state_names(model, nv, na),
        controls: control_names(model, nu),
        a: rows(&a, states),
        b: rows(&b, nu),
        spectral_radius: spectral_radius.map(Real),
        eigenvalues: eigenvalues.into_iter().map(|(re, im)| (Real(re), Real(im))).collect(),
        stability: linear::stability(spectral_radius),
    })
}

fn bounded(what: &str, value: u64, max: u64) -> Result<(), Fault> {
    if value <= max {
        return Ok(());
    }
    Err(Fault::LimitExceeded { what: what.into(), value, max })
}

/// How many milliseconds so many steps will take, by what one takes.
fn expected(data: &mut Scratch<'_>, steps: usize) -> u64 {
    let kept = data.state(INTEGRATION);
    let begun = Instant::now();
    data.forward();
    let steps = u32::try_from(steps).unwrap_or(u32::MAX);
    let expected = begun.elapsed().checked_mul(steps).unwrap_or(Duration::MAX);
    // The lengths agree because the state came from the same data just now.
    data.set_state(&kept, INTEGRATION).ok();
    u64::try_from(expected.as_millis()).unwrap_or(u64::MAX)
}

fn rows(values: &[f64], width: usize) -> Vec<Reals> {
    if width == 0 {
        return Vec::new();
    }
    values.chunks(width).map(Reals::from).collect()
}

fn state_names(model: &MjModel, nv: usize, na: usize) -> Vec<String> {
    let dofs: Vec<String> = (0..nv).map(|dof| dof_name(model, dof)).collect();
    let positions = dofs.iter().map(|name| format!("position of {name}"));
    let velocities = dofs.iter().map(|name| format!("velocity of {name}"));
    let activations = (0..na).map(|act| format!("activation {act}"));
    positions.chain(velocities).chain(activations).collect()
}

/// The name of each control: its actuator's, with a number where the actuator has several.
fn control_names(model: &MjModel, nu: usize) -> Vec<String> {
    let mut controls = vec![String::new(); nu];
    let begins = model.actuator_ctrladr().iter().zip(model.actuator_ctrlnum());
    for (actuator, (begin, count)) in begins.enumerate() {
        let name = names::of(model, MjtObjBase::mjOBJ_ACTUATOR, actuator);
        for number in 0..index(*count) {
            let name = if *count == 1 { name.clone() } else { format!("{name}:{number}") };
            if let Some(control) = controls.get_mut(index(*begin) + number) {
                *control = name;
            }
        }
    }
    controls
}
