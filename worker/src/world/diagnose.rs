//! Why a simulation is unstable: the same future is tried with one thing changed at a time.

use std::time::Instant;

use mujoco_rs::mujoco_c::{mjtDisableBit, mjtIntegrator};
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;
use simward_protocol::diagnose::{Diagnosis, FINDINGS_MAX, Finding, Severity, Trial};
use simward_protocol::fault::Fault;
use simward_protocol::real::Real;

use super::outlook::{Ahead, Horizon};
use super::simulation::{INTEGRATION, Simulation};
use super::suspects::{finding, lightest, suspects};

/// By how much energy may grow that nobody puts in, as a share of what there is.
const GROWTH_MAX: f64 = 0.05;

/// Something that is changed to see whether it is the cause.
struct Change {
    code: &'static str,
    said: String,
    /// What it means if that helps.
    cause: &'static str,
    advice: &'static str,
    make: fn(&mut MjModel),
}

/// Looks for instability, and for what causes it, within `secs` and until `horizon` ends.
pub(crate) fn diagnose(
    simulation: &Simulation,
    model_id: String,
    horizon: Horizon<'_>,
) -> Result<Diagnosis, Fault> {
    let model = simulation.data.model();
    let mut findings = suspects(&simulation.derived()?);
    let ahead = Ahead::look(&mut simulation.copy()?, horizon)?;
    let mut is_cut_short = ahead.is_cut_short;
    let mut trials = Vec::new();
    if ahead.diverges.is_some() {
        for change in changes(model) {
            if horizon.until <= Instant::now() {
                is_cut_short = true;
                break;
            }
            let other = Ahead::look(&mut changed(simulation, &change)?, horizon)?;
            is_cut_short |= other.is_cut_short;
            let is_stable = other.diverges.is_none() && !other.is_cut_short;
            let diverges_after_secs = other.diverges.map(|(secs, _)| Real(secs));
            if is_stable {
                findings.push(cause(&change, &ahead));
            }
            trials.push(Trial { change: change.said, is_stable, diverges_after_secs });
        }
        findings.extend(light(model, &ahead));
    } else {
        findings.extend(growth(simulation, &ahead));
    }
    findings.sort_by_key(|finding| finding.severity);
    findings.truncate(FINDINGS_MAX);
    Ok(Diagnosis {
        model_id,
        from_secs: Real(simulation.time_secs()),
        outlook: ahead.told(model),
        trials,
        findings,
        is_cut_short,
    })
}

fn cause(change: &Change, ahead: &Ahead) -> Finding {
    let after = ahead.diverges.as_ref().map_or(f64::NAN, |(secs, _)| *secs);
    let message = format!("{}: with {} it stays stable", change.cause, change.said);
    finding(change.code, Severity::Cause, message, &[("diverges_after_secs", after)], change.advice)
}

/// A copy with one thing changed, in the same state.
fn changed(simulation: &Simulation, change: &Change) -> Result<MjData<Box<MjModel>>, Fault> {
    let original = simulation.data.model();
    let bytes =
        original.ffi().nbuffer + simulation.data.ffi().nbuffer + simulation.data.ffi().narena;
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let no_memory = || Fault::Unsuitable {
        detail: format!("there is no memory for a copy of the model, which takes {bytes} bytes"),
    };
    // The engine ends the process where it gets no memory: ask first.
    Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_error| no_memory())?;
    let mut model = original.clone();
    (change.make)(&mut model);
    let mut data = MjData::try_new(Box::new(model)).map_err(|_error| no_memory())?;
    // The lengths agree: none of the changes is of a size.
    data.set_state(&simulation.data.state(INTEGRATION), INTEGRATION)
        .map_err(|error| Fault::Unsuitable { detail: error.to_string() })?;
    Ok(data)
}

fn changes(model: &MjModel) -> Vec<Change> {
    let timestep = model.opt().timestep;
    let too_large = "the timestep is too large";
    let mut changes = vec![
        Change {
            code: "timestep",
            said: format!("a timestep of {} s", timestep / 2.0),
            cause: too_large,
            advice: "set it with modify_model: {\"field\": \"timestep\", \"value\": …}",
            make: |model| model.opt_mut().timestep /= 2.0,
        },
        Change {
            code: "timestep",
            said: format!("a timestep of {} s", timestep / 10.0),
            cause: too_large,
            advice: "set it with modify_model: {\"field\": \"timestep\", \"value\": …}",
            make: |model| model.opt_mut().timestep /= 10.0,
        },
    ];
    if model.opt().integrator != mjtIntegrator::mjINT_IMPLICITFAST as i32 {
        changes.push(Change {
            code: "integrator",
            said: "the integrator implicitfast".to_owned(),
            cause: "forces that depend on velocities are too strong for the integrator",
            advice: "load the model with <option integrator=\"implicitfast\"/>",
            make: |model| model.opt_mut().integrator = mjtIntegrator::mjINT_IMPLICITFAST as i32,
        });
    }
    let mut without = |count: i64, code, what: &str, cause, advice, make| {
        if count != 0 {
            let said = format!("no {what}");
            changes.push(Change { code, said, cause, advice, make });
        }
    };
    let ffi = model.ffi();
    without(
        ffi.nactuator,
        "actuation",
        "actuation",
        "what the actuators do makes it unstable",
        "lower gains and controls, or limit forces (forcerange)",
        |model| disable(model, mjtDisableBit::mjDSBL_ACTUATION),
    );
    without(
        ffi.ngeom,
        "contact",
        "contacts",
        "contacts make it unstable",
        "look for overlaps with get_contacts, soften contacts (solref, solimp), or exclude pairs",
        |model| disable(model, mjtDisableBit::mjDSBL_CONTACT),
    );
    without(
        ffi.neq,
        "equality",
        "equality constraints",
        "equality constraints make it unstable",
        "soften them (solref), or start where they hold",
        |model| disable(model, mjtDisableBit::mjDSBL_EQUALITY),
    );
    without(
        ffi.njnt,
        "spring",
        "springs",
        "springs make it unstable",
        "lower the stiffness of joints and tendons, or give joints damping and armature",
        |model| disable(model, mjtDisableBit::mjDSBL_SPRING),
    );
    changes
}

fn disable(model: &mut MjModel, flag: mjtDisableBit) {
    model.opt_mut().disableflags |= flag as i32;
}

/// The lightest degree of freedom, if it is the one that diverges.
fn light(model: &MjModel, ahead: &Ahead) -> Option<Finding> {
    let (name, inertia) = lightest(model)?;
    let (_, dof) = ahead.diverges.as_ref()?;
    (*dof == name).then(|| {
        finding(
            "light_dof",
            Severity::Suspicious,
            format!("`{name}`, which diverges first, is the easiest of all to move"),
            &[("inertia", inertia)],
            "give its joint armature, or its body more mass or inertia",
        )
    })
}

/// Energy that comes from nowhere, in a system that nobody drives.
fn growth(simulation: &Simulation, ahead: &Ahead) -> Option<Finding> {
    let data = &simulation.data;
    let is_driven =
        data.ctrl().iter().chain(data.act()).chain(data.qfrc_applied()).any(|f| *f != 0.0)
            || data.xfrc_applied().as_flattened().iter().any(|force| *force != 0.0)
            || data.model().ffi().nactuator != 0
            || data.model().ffi().nmocap != 0;
    let (begin, most) = ahead.energy;
    let growth = (most - begin) / (begin.abs() + most.abs()).max(1e-9);
    (!is_driven && GROWTH_MAX < growth).then(|| {
        finding(
            "energy_grows",
            Severity::Suspicious,
            "energy grows although nothing drives the system".to_owned(),
            &[("energy_begin_j", begin), ("energy_max_j", most)],
            "take a smaller timestep, or the integrator implicitfast or RK4",
        )
    })
}
