//! What in a model often makes a simulation unstable, by its numbers.

use mujoco_rs::mujoco_c::{mjtDisableBit, mjtIntegrator};
use mujoco_rs::wrappers::mj_model::{MjModel, MjtObjBase};
use simward_protocol::diagnose::{Finding, Severity};
use simward_protocol::named::Named;

use super::drive::Motor;
use super::places::{dof_name, index};
use super::scratch::Scratch;
use super::{names, values};

/// A stiffness moves its joint by more than a radian of its own oscillation in a timestep: from 2 on
/// the semi-implicit method diverges.
const PHASE_MAX: f64 = 1.0;

/// A damping takes more than this share of a velocity in a timestep: from 2 on it turns it around.
const DAMPED_MAX: f64 = 1.0;

/// How deep things may be in each other at the beginning, in metres.
const OVERLAP_MAX: f64 = 0.005;

/// How much heavier one body may be than another.
const MASSES_MAX: f64 = 1e5;

/// What is suspicious in a model and its state. The data must be derived.
pub(crate) fn suspects(data: &Scratch<'_>) -> Vec<Finding> {
    let model = data.model();
    let mut found = Vec::new();
    found.extend(servos(model));
    found.extend(springs(model));
    found.extend(overlap(data));
    found.extend(contacts(model));
    found.extend(masses(model));
    found.extend(controls(data));
    found
}

/// A finding with its evidence.
pub(crate) fn finding(
    code: &str,
    severity: Severity,
    message: String,
    evidence: &[(&str, f64)],
    advice: &str,
) -> Finding {
    let evidence = evidence.iter().map(|(name, value)| ((*name).to_owned(), vec![*value]));
    let (code, advice) = (code.to_owned(), advice.to_owned());
    Finding { code, severity, message, evidence: Named(evidence.collect()), advice }
}

/// Whether the integrator takes velocity-dependent forces of actuators implicitly.
fn is_implicit(model: &MjModel) -> bool {
    let implicit = [mjtIntegrator::mjINT_IMPLICIT, mjtIntegrator::mjINT_IMPLICITFAST];
    implicit.iter().any(|kind| *kind as i32 == model.opt().integrator)
}

fn is_disabled(model: &MjModel, flag: mjtDisableBit) -> bool {
    model.opt().disableflags & flag as i32 != 0
}

/// The servos that are too stiff, or too strongly damped, for the timestep: the worst of each.
fn servos(model: &MjModel) -> Vec<Finding> {
    let timestep = model.opt().timestep;
    let (mut stiff, mut damped) = (Worst::default(), Worst::default());
    for joint in 0..model.jnt_type().len() {
        let Some(motor) = Motor::of(model, joint) else { continue };
        let dof = index(model.jnt_dofadr()[joint]);
        let lightness = model.dof_invweight0()[dof];
        let (stiffness, damping) = motor.joint_gains();
        stiff.look(motor.actuator, timestep * (stiffness.max(0.0) * lightness).sqrt(), stiffness);
        damped.look(motor.actuator, timestep * damping.max(0.0) * lightness, damping);
    }
    let mut found = Vec::new();
    if let Some((actuator, phase, stiffness)) = stiff.beyond(PHASE_MAX) {
        let name = names::of(model, MjtObjBase::mjOBJ_ACTUATOR, actuator);
        found.push(finding(
            "servo_too_stiff",
            Severity::Suspicious,
            format!("the servo `{name}` oscillates too fast for the timestep"),
            &[("phase_per_step_rad", phase), ("stiffness", stiffness), ("timestep_secs", timestep)],
            "take a smaller timestep or a smaller kp, or give the joint armature",
        ));
    }
    if let Some((actuator, share, damping)) = damped.beyond(DAMPED_MAX)
        && !is_implicit(model)
    {
        let name = names::of(model, MjtObjBase::mjOBJ_ACTUATOR, actuator);
        found.push(finding(
            "servo_too_damped",
            Severity::Suspicious,
            format!("the servo `{name}` takes more than the whole velocity in a timestep"),
            &[("share_per_step", share), ("damping", damping), ("timestep_secs", timestep)],
            "use the integrator implicitfast, or a smaller timestep or kv",
        ));
    }
    found
}

/// The joint whose own spring is too stiff for the timestep.
fn springs(model: &MjModel) -> Option<Finding> {
    let timestep = model.opt().timestep;
    let mut worst = Worst::default();
    for (joint, stiffness) in model.jnt_stiffness().iter().copied().enumerate() {
        let lightness = model.dof_invweight0()[index(model.jnt_dofadr()[joint])];
        worst.look(joint, timestep * (stiffness.max(0.0) * lightness).sqrt(), stiffness);
    }
    let (joint, phase, stiffness) = worst.beyond(PHASE_MAX)?;
    let name = names::of(model, MjtObjBase::mjOBJ_JOINT, joint);
    Some(finding(
        "joint_too_stiff",
        Severity::Suspicious,
        format!("the spring of the joint `{name}` oscillates too fast for the timestep"),
        &[("phase_per_step_rad", phase), ("stiffness", stiffness), ("timestep_secs", timestep)],
        "take a smaller timestep or a smaller stiffness, or give the joint armature",
    ))
}

/// The deepest contact of the present state.
fn overlap(data: &Scratch<'_>) -> Option<Finding> {
    let model = data.model();
    let deepest = data.contact().iter().min_by(|one, other| one.dist.total_cmp(&other.dist))?;
    let depth = -deepest.dist;
    if depth < OVERLAP_MAX {
        return None;
    }
    let geom = |side: usize| match usize::try_from(deepest.geom[side]) {
        Ok(geom) => names::of(model, MjtObjBase::mjOBJ_GEOM, geom),
        Err(_none) => "a flex".to_owned(),
    };
    Some(finding(
        "overlap_now",
        Severity::Suspicious,
        format!("`{}` and `{}` are in each other already", geom(0), geom(1)),
        &[("depth_m", depth)],
        "move them apart before the first step, or exclude the pair from contact",
    ))
}

/// Contacts that the timestep cannot resolve, where the engine does not soften them by itself.
fn contacts(model: &MjModel) -> Option<Finding> {
    if !is_disabled(model, mjtDisableBit::mjDSBL_REFSAFE) {
        return None;
    }
    let timestep = model.opt().timestep;
    let constants = model.geom_solref().iter().map(|[constant, _]| *constant).enumerate();
    let positive = constants.filter(|(_, constant)| 0.0 < *constant);
    let (geom, constant) = positive.min_by(|(_, one), (_, other)| one.total_cmp(other))?;
    if 2.0 * timestep <= constant {
        return None;
    }
    let name = names::of(model, MjtObjBase::mjOBJ_GEOM, geom);
    Some(finding(
        "contact_too_stiff",
        Severity::Suspicious,
        format!("the contacts of `{name}` are faster than two timesteps, and refsafe is off"),
        &[("time_constant_secs", constant), ("timestep_secs", timestep)],
        "make solref's time constant at least two timesteps, or leave refsafe on",
    ))
}

/// Bodies that are much lighter than others.
fn masses(model: &MjModel) -> Option<Finding> {
    let masses = model.body_mass().iter().copied().enumerate().skip(1);
    let masses = masses.filter(|(_, mass)| 0.0 < *mass);
    let (light, least) = masses.clone().min_by(|(_, one), (_, other)| one.total_cmp(other))?;
    let (heavy, most) = masses.max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    if most < MASSES_MAX * least {
        return None;
    }
    let name = |body| names::of(model, MjtObjBase::mjOBJ_BODY, body);
    Some(finding(
        "masses_far_apart",
        Severity::Note,
        format!("`{}` is very light beside `{}`", name(light), name(heavy)),
        &[("lightest_kg", least), ("heaviest_kg", most)],
        "give light bodies a little more mass or their joints armature",
    ))
}

/// Controls that the engine clamps.
fn controls(data: &Scratch<'_>) -> Option<Finding> {
    let mut clamped = values::clamped(data.model(), data.ctrl());
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let count = clamped.len() as f64;
    clamped.truncate(5);
    (!clamped.is_empty()).then(|| {
        finding(
            "control_clamped",
            Severity::Note,
            format!("controls lie outside their range: {}", clamped.join(", ")),
            &[("actuators", count)],
            "keep controls within ctrlrange; see get_actuator_info",
        )
    })
}

/// The degree of freedom that is the easiest to move, by the engine's constants.
pub(crate) fn lightest(model: &MjModel) -> Option<(String, f64)> {
    let weights = model.dof_invweight0().iter().copied().enumerate();
    let (dof, inverse) = weights.max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    (0.0 < inverse).then(|| (dof_name(model, dof), 1.0 / inverse))
}

/// The worst of many.
#[derive(Clone, Copy, Debug, Default)]
struct Worst(Option<(usize, f64, f64)>);

impl Worst {
    fn look(&mut self, which: usize, badness: f64, value: f64) {
        if self.0.is_none_or(|(_, worst, _)| worst < badness) {
            self.0 = Some((which, badness, value));
        }
    }

    fn beyond(self, max: f64) -> Option<(usize, f64, f64)> {
        self.0.filter(|(_, badness, _)| max < *badness)
    }
}
