//! The joints that move a place, and moving them within their ranges.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtJoint, MjtObjBase};
use simward_protocol::fault::Fault;

use super::names::{self, Kind};
use super::places::{Spot, index};
use super::random::Random;
use super::values::joint_widths;

/// How near to the end of its range a joint is at it.
const AT_LIMIT: f64 = 1e-9;

/// How far a joint without a range is moved by chance: radians, or metres around where it is.
const UNLIMITED: f64 = std::f64::consts::PI;

/// A joint of the chain.
#[derive(Clone, Copy, Debug)]
struct Link {
    joint: usize,
    kind: MjtJoint,
    position: usize,
    range: Option<[f64; 2]>,
}

/// Joints that may be moved, in the model's order.
#[derive(Debug)]
pub(crate) struct Chain {
    links: Vec<Link>,
    /// Their degrees of freedom, and the link that each is of.
    dofs: Vec<(usize, usize)>,
}

impl Chain {
    /// The joints between a place and the world, but free ones; or some of them, by name.
    pub(crate) fn of(model: &MjModel, spot: Spot, joints: &[String]) -> Result<Self, Fault> {
        let reach = joints_above(model, spot.body(model));
        let mut chosen = Vec::new();
        for name in joints {
            let joint = names::find(model, Kind::Joint, name)?;
            if !reach.contains(&joint) {
                let problem = format!("`{name}` does not move the place");
                return Err(Fault::Invalid { field: "joints".into(), problem });
            }
            chosen.push(joint);
        }
        if joints.is_empty() {
            let is_free = |joint: &usize| model.jnt_type()[*joint] == MjtJoint::mjJNT_FREE;
            chosen = reach.into_iter().filter(|joint| !is_free(joint)).collect();
        }
        chosen.sort_unstable();
        chosen.dedup();
        if chosen.is_empty() {
            let problem = "no joint moves it (a free joint moves only if it is named in `joints`)";
            return Err(Fault::Invalid { field: "place".into(), problem: problem.into() });
        }
        Ok(Self::new(model, &chosen))
    }

    fn new(model: &MjModel, joints: &[usize]) -> Self {
        let (mut links, mut dofs) = (Vec::new(), Vec::new());
        for joint in joints.iter().copied() {
            let kind = model.jnt_type()[joint];
            let begin = index(model.jnt_dofadr()[joint]);
            let (_, width) = joint_widths(kind);
            dofs.extend((begin..begin + width).map(|dof| (dof, links.len())));
            let range = model.jnt_limited()[joint].then(|| model.jnt_range()[joint]);
            let position = index(model.jnt_qposadr()[joint]);
            links.push(Link { joint, kind, position, range });
        }
        Self { links, dofs }
    }

    /// The degrees of freedom.
    pub(crate) fn dofs(&self) -> impl Iterator<Item = usize> {
        self.dofs.iter().map(|(dof, _)| *dof)
    }

    pub(crate) fn dofs_total(&self) -> usize {
        self.dofs.len()
    }

    /// Whether a step of that sign leads a degree of freedom out of its range.
    pub(crate) fn is_blocked(&self, number: usize, qpos: &[f64], step: f64) -> bool {
        let link = &self.links[self.dofs[number].1];
        let Some([low, high]) = link.range.filter(|_| is_single(link.kind)) else { return false };
        let position = qpos[link.position];
        (position <= low + AT_LIMIT && step < 0.0) || (high - AT_LIMIT <= position && 0.0 < step)
    }

    /// Brings positions back into their ranges.
    pub(crate) fn clamp(&self, qpos: &mut [f64]) {
        for link in &self.links {
            let Some([low, high]) = link.range else { continue };
            if is_single(link.kind) {
                let value = &mut qpos[link.position];
                *value = value.max(low).min(high.max(low));
            } else if link.kind == MjtJoint::mjJNT_BALL {
                clamp_angle(&mut qpos[link.position..link.position + 4], high);
            }
        }
    }

    /// Positions by chance, within the ranges.
    pub(crate) fn scatter(&self, qpos: &mut [f64], random: &mut Random) {
        for link in &self.links {
            let place = link.position;
            match link.kind {
                MjtJoint::mjJNT_HINGE | MjtJoint::mjJNT_SLIDE => {
                    let around = [qpos[place] - UNLIMITED, qpos[place] + UNLIMITED];
                    let [low, high] = link.range.unwrap_or(around);
                    qpos[place] = random.between(low, high.max(low));
                }
                MjtJoint::mjJNT_BALL => scatter_quaternion(&mut qpos[place..place + 4], random),
                MjtJoint::mjJNT_FREE => {
                    for value in &mut qpos[place..place + 3] {
                        *value += random.between(-1.0, 1.0);
                    }
                    scatter_quaternion(&mut qpos[place + 3..place + 7], random);
                }
            }
        }
        self.clamp(qpos);
    }

    /// The positions of its joints, by name.
    pub(crate) fn positions(&self, model: &MjModel, qpos: &[f64]) -> Vec<(String, Vec<f64>)> {
        let one = |link: &Link| {
            let (width, _) = joint_widths(link.kind);
            (link.name(model), qpos[link.position..link.position + width].to_vec())
        };
        self.links.iter().map(one).collect()
    }

    /// The joints that are at the end of their range.
    pub(crate) fn at_limits(&self, model: &MjModel, qpos: &[f64]) -> Vec<String> {
        let at_limit = |link: &&Link| {
            let Some([low, high]) = link.range.filter(|_| is_single(link.kind)) else {
                return false;
            };
            let position = qpos[link.position];
            position <= low + AT_LIMIT || high - AT_LIMIT <= position
        };
        self.links.iter().filter(at_limit).map(|link| link.name(model)).collect()
    }

    /// Which bodies its joints move.
    pub(crate) fn moved_bodies(&self, model: &MjModel) -> Vec<bool> {
        moved_bodies(model, self.links.iter().map(|link| link.joint))
    }
}

impl Link {
    fn name(&self, model: &MjModel) -> String {
        names::of(model, MjtObjBase::mjOBJ_JOINT, self.joint)
    }
}

/// Which bodies some joints move.
pub(crate) fn moved_bodies(model: &MjModel, joints: impl Iterator<Item = usize>) -> Vec<bool> {
    let parents = model.body_parentid();
    let mut moved = vec![false; parents.len()];
    joints.for_each(|joint| moved[index(model.jnt_bodyid()[joint])] = true);
    // A body's parent stands before it.
    for body in 1..moved.len() {
        moved[body] |= moved[index(parents[body])];
    }
    moved
}

/// The joints between a body and the world.
fn joints_above(model: &MjModel, mut body: usize) -> Vec<usize> {
    let mut joints = Vec::new();
    while body != 0 {
        let begin = index(model.body_jntadr()[body]);
        joints.extend(begin..begin + index(model.body_jntnum()[body]));
        body = index(model.body_parentid()[body]);
    }
    joints
}

fn is_single(kind: MjtJoint) -> bool {
    matches!(kind, MjtJoint::mjJNT_HINGE | MjtJoint::mjJNT_SLIDE)
}

/// Turns a rotation back until its angle is no larger than that.
fn clamp_angle(quaternion: &mut [f64], angle_max: f64) {
    let [w, x, y, z] = quaternion else { return };
    let axis = x.hypot(*y).hypot(*z);
    let angle = 2.0 * axis.atan2(w.abs());
    if angle <= angle_max || axis == 0.0 {
        return;
    }
    let (sin, cos) = (angle_max / 2.0).sin_cos();
    let scale = sin / axis * w.signum();
    (*w, *x, *y, *z) = (cos, *x * scale, *y * scale, *z * scale);
}

/// A rotation by chance, all equally likely (Shoemake 1992).
fn scatter_quaternion(quaternion: &mut [f64], random: &mut Random) {
    let share = random.between(0.0, 1.0);
    let turn = std::f64::consts::TAU;
    let (one, other) = (random.between(0.0, turn), random.between(0.0, turn));
    let (near, far) = ((1.0 - share).sqrt(), share.sqrt());
    quaternion.copy_from_slice(&[
        far * other.cos(),
        near * one.sin(),
        near * one.cos(),
        far * other.sin(),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_turned_back_to_its_largest_angle() {
        let mut half = [0.0, 0.0, 0.0, 1.0];
        clamp_angle(&mut half, 1.0);
        assert!((half[0] - 0.5_f64.cos()).abs() < 1e-15 && (half[3] - 0.5_f64.sin()).abs() < 1e-15);
        let mut other_sign = [-0.1, 0.0, 0.0, 0.995];
        clamp_angle(&mut other_sign, 1.0);
        assert!((other_sign[3] + 0.5_f64.sin()).abs() < 1e-12, "{other_sign:?}");
        let mut small = [0.9999, 0.0, 0.01, 0.0];
        clamp_angle(&mut small, 1.0);
        assert_eq!(small.map(f64::to_bits), [0.9999, 0.0, 0.01, 0.0].map(f64::to_bits));
    }

    #[test]
    fn a_rotation_by_chance_is_one() {
        let mut random = Random::new(3);
        for _ in 0..100 {
            let mut quaternion = [0.0; 4];
            scatter_quaternion(&mut quaternion, &mut random);
            let norm: f64 = quaternion.iter().map(|value| value * value).sum();
            assert!((norm - 1.0).abs() < 1e-12);
        }
    }
}
