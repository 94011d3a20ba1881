//! What two models have in common: what has the same name, and where its values are in each.

use std::collections::HashMap;

use mujoco_rs::wrappers::mj_model::{MjModel, MjtObjBase};

use super::describe;
use super::names::Kind;
use super::values::Target;

/// Values that belong together: where they begin in the one model, where in the other, how many.
pub(crate) type Range = (usize, usize, usize);

/// Where the values of what two models share are in each of them.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) qpos: Vec<Range>,
    pub(crate) qvel: Vec<Range>,
    pub(crate) ctrl: Vec<Range>,
    pub(crate) act: Vec<Range>,
    /// Rows of mocap bodies.
    pub(crate) mocap: Vec<(usize, usize)>,
    /// Indices of bodies.
    pub(crate) bodies: Vec<(usize, usize)>,
    pub(crate) joints: usize,
    pub(crate) actuators: usize,
}

impl Shared {
    /// What is in both models: joints of the same type, actuators with as many controls, mocap
    /// bodies.
    pub(crate) fn of(old: &MjModel, new: &MjModel) -> Self {
        let mut shared = Self { bodies: pairs(Kind::Body, old, new), ..Self::default() };
        for (from, to) in pairs(Kind::Joint, old, new) {
            if old.jnt_type()[from] != new.jnt_type()[to] {
                continue;
            }
            for (target, ranges) in
                [(Target::Qpos, &mut shared.qpos), (Target::Qvel, &mut shared.qvel)]
            {
                let (begin, count) = target.of_joint(old, from);
                ranges.push((begin, target.of_joint(new, to).0, count));
            }
            shared.joints += 1;
        }
        for (from, to) in pairs(Kind::Actuator, old, new) {
            let values = |model: &MjModel, at: usize| {
                let [ctrl, act] = [
                    (model.actuator_ctrladr()[at], model.actuator_ctrlnum()[at]),
                    (model.actuator_actadr()[at], model.actuator_actnum()[at]),
                ];
                [ctrl, act].map(|(begin, count)| (size(begin), size(count)))
            };
            let [ctrl, act] = values(old, from);
            let [ctrl_to, act_to] = values(new, to);
            if ctrl.1 != ctrl_to.1 {
                continue;
            }
            shared.ctrl.push((ctrl.0, ctrl_to.0, ctrl.1));
            if act.1 == act_to.1 {
                shared.act.push((act.0, act_to.0, act.1));
            }
            shared.actuators += 1;
        }
        let mocap = |model: &MjModel, body: usize| usize::try_from(model.body_mocapid()[body]).ok();
        shared.mocap = shared
            .bodies
            .iter()
            .filter_map(|(from, to)| Some((mocap(old, *from)?, mocap(new, *to)?)))
            .collect();
        shared
    }
}

/// Copies values from the one model's place to the other's.
pub(crate) fn copy(ranges: &[Range], from: &[f64], to: &mut [f64]) {
    for (begin, place, count) in ranges {
        to[*place..place + count].copy_from_slice(&from[*begin..begin + count]);
    }
}

/// Copies rows likewise.
pub(crate) fn copy_rows<T: Copy>(pairs: &[(usize, usize)], from: &[T], to: &mut [T]) {
    for (begin, place) in pairs {
        to[*place] = from[*begin];
    }
}

/// What has the same label in both models: its index in each.
pub(crate) fn pairs(kind: Kind, old: &MjModel, new: &MjModel) -> Vec<(usize, usize)> {
    let there: HashMap<String, usize> =
        labels(kind, new).into_iter().enumerate().map(|(index, label)| (label, index)).collect();
    let old = labels(kind, old).into_iter().enumerate();
    old.filter_map(|(index, label)| Some((index, *there.get(&label)?))).collect()
}

/// What each thing of a kind is known by: its name; or, without one, whose it is, and the how many
/// of those without a name.
fn labels(kind: Kind, model: &MjModel) -> Vec<String> {
    let named = |index: usize| {
        model.id_to_name(kind.object(), index).filter(|name| !name.is_empty()).map(str::to_owned)
    };
    let mut labels: Vec<String> = Vec::with_capacity(kind.count(model));
    let mut unnamed: HashMap<String, usize> = HashMap::new();
    let around = if matches!(kind, Kind::Body) { Vec::new() } else { labels_of_bodies(model) };
    for index in 0..kind.count(model) {
        let label = named(index).unwrap_or_else(|| {
            let owner = match kind {
                // A parent stands before its children.
                Kind::Body => labels.get(size(model.body_parentid()[index])).cloned(),
                Kind::Joint => around.get(size(model.jnt_bodyid()[index])).cloned(),
                Kind::Geom => around.get(size(model.geom_bodyid()[index])).cloned(),
                Kind::Actuator => Some(describe::actuator(model, index).acts_on),
                _ => None,
            }
            .unwrap_or_default();
            let count = unnamed.entry(owner.clone()).or_default();
            *count += 1;
            // No name has such a character.
            format!("{owner}\0{count}")
        });
        labels.push(label);
    }
    labels
}

fn labels_of_bodies(model: &MjModel) -> Vec<String> {
    labels(Kind::Body, model)
}

/// Kinds whose comings and goings are told, by the word for each.
const TOLD: [(&str, MjtObjBase); 10] = [
    ("body", MjtObjBase::mjOBJ_BODY),
    ("joint", MjtObjBase::mjOBJ_JOINT),
    ("geom", MjtObjBase::mjOBJ_GEOM),
    ("site", MjtObjBase::mjOBJ_SITE),
    ("camera", MjtObjBase::mjOBJ_CAMERA),
    ("actuator", MjtObjBase::mjOBJ_ACTUATOR),
    ("tendon", MjtObjBase::mjOBJ_TENDON),
    ("equality", MjtObjBase::mjOBJ_EQUALITY),
    ("sensor", MjtObjBase::mjOBJ_SENSOR),
    ("key", MjtObjBase::mjOBJ_KEY),
];

/// What has a name in `this` model and not in the `other`.
pub(crate) fn only_in(this: &MjModel, other: &MjModel) -> Vec<String> {
    let ffi = this.ffi();
    let mut only = Vec::new();
    for (word, object) in TOLD {
        let count = match object {
            MjtObjBase::mjOBJ_BODY => ffi.nbody,
            MjtObjBase::mjOBJ_JOINT => ffi.njnt,
            MjtObjBase::mjOBJ_GEOM => ffi.ngeom,
            MjtObjBase::mjOBJ_SITE => ffi.nsite,
            MjtObjBase::mjOBJ_CAMERA => ffi.ncam,
            MjtObjBase::mjOBJ_ACTUATOR => ffi.nactuator,
            MjtObjBase::mjOBJ_TENDON => ffi.ntendon,
            MjtObjBase::mjOBJ_EQUALITY => ffi.neq,
            MjtObjBase::mjOBJ_SENSOR => ffi.nsensor,
            _ => ffi.nkey,
        };
        let names = (0..usize::try_from(count).unwrap_or(0))
            .filter_map(|index| this.id_to_name(object, index))
            .filter(|name| !name.is_empty() && other.name_to_id(object, name).is_none());
        only.extend(names.map(|name| format!("{word} {name}")));
    }
    only
}

fn size(value: i32) -> usize {
    usize::try_from(value).unwrap_or(0)
}
