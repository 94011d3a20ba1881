//! The numbers of a compiled model that can be changed at run time.
//!
//! A table: its order is what checkpoints know the fields by, so new ones go to its end.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtBias, MjtGain};
use simward_protocol::fault::Fault;
use simward_protocol::modify::Change;

use super::names::{self, Kind};
use super::simulation::TIMESTEP_SECS;
use super::values::{Target, check, in_range};

/// A field that can be changed.
pub(crate) struct Field {
    /// MuJoCo's name of it.
    pub(crate) name: &'static str,
    /// Whose it is; without one it is an option of the whole model.
    kind: Option<Kind>,
    /// What is accepted.
    range: (f64, f64),
    /// Whether the engine derives constants of it.
    pub(crate) derives: bool,
    values: fn(&mut MjModel) -> &mut [f64],
    /// Where the values of an object begin, and how many they are.
    place: fn(&MjModel, usize) -> (usize, usize),
}

/// The largest value of a field that has no bounds of its own.
const LARGE: f64 = 1e9;

const ANY: (f64, f64) = (-LARGE, LARGE);
const NOT_NEGATIVE: (f64, f64) = (0.0, LARGE);
/// What moves has a mass.
const POSITIVE: (f64, f64) = (1e-12, LARGE);

/// Every field, by the number that checkpoints know it by.
pub(crate) static FIELDS: [Field; 20] = [
    option(
        "timestep",
        TIMESTEP_SECS,
        |m| std::slice::from_mut(&mut m.opt_mut().timestep),
        |_, _| (0, 1),
    ),
    option("gravity", ANY, |m| &mut m.opt_mut().gravity, |_, _| (0, 3)),
    option("wind", ANY, |m| &mut m.opt_mut().wind, |_, _| (0, 3)),
    option(
        "density",
        NOT_NEGATIVE,
        |m| std::slice::from_mut(&mut m.opt_mut().density),
        |_, _| (0, 1),
    ),
    option(
        "viscosity",
        NOT_NEGATIVE,
        |m| std::slice::from_mut(&mut m.opt_mut().viscosity),
        |_, _| (0, 1),
    ),
    option(
        "impratio",
        POSITIVE,
        |m| std::slice::from_mut(&mut m.opt_mut().impratio),
        |_, _| (0, 1),
    ),
    of("body_mass", Kind::Body, POSITIVE, MjModel::body_mass_mut, |_, at| (at, 1)).deriving(),
    of("body_inertia", Kind::Body, POSITIVE, |m| flat(m.body_inertia_mut()), |_, at| (3 * at, 3))
        .deriving(),
    of(
        "geom_friction",
        Kind::Geom,
        NOT_NEGATIVE,
        |m| flat(m.geom_friction_mut()),
        |_, at| (3 * at, 3),
    ),
    of("geom_solref", Kind::Geom, ANY, |m| flat(m.geom_solref_mut()), |_, at| (2 * at, 2)),
    of("jnt_stiffness", Kind::Joint, NOT_NEGATIVE, MjModel::jnt_stiffness_mut, |_, at| (at, 1)),
    of("dof_damping", Kind::Joint, NOT_NEGATIVE, MjModel::dof_damping_mut, dofs),
    of("dof_frictionloss", Kind::Joint, NOT_NEGATIVE, MjModel::dof_frictionloss_mut, dofs),
    of("dof_armature", Kind::Joint, NOT_NEGATIVE, MjModel::dof_armature_mut, dofs).deriving(),
    of("jnt_range", Kind::Joint, ANY, |m| flat(m.jnt_range_mut()), |_, at| (2 * at, 2)),
    of("actuator_gainprm", Kind::Actuator, ANY, gains, parameters),
    of("actuator_biasprm", Kind::Actuator, ANY, |m| flat(m.actuator_biasprm_mut()), parameters),
    of("actuator_ctrlrange", Kind::Actuator, ANY, |m| flat(m.actuator_ctrlrange_mut()), controls),
    of(
        "actuator_forcerange",
        Kind::Actuator,
        ANY,
        |m| flat(m.actuator_forcerange_mut()),
        |_, at| (2 * at, 2),
    ),
    of("actuator_gear", Kind::Actuator, ANY, |m| flat(m.actuator_gear_mut()), outputs).deriving(),
];

type Values = fn(&mut MjModel) -> &mut [f64];
type Place = fn(&MjModel, usize) -> (usize, usize);

const fn option(name: &'static str, range: (f64, f64), values: Values, place: Place) -> Field {
    Field { name, kind: None, range, derives: false, values, place }
}

const fn of(
    name: &'static str,
    kind: Kind,
    range: (f64, f64),
    values: Values,
    place: Place,
) -> Field {
    Field { name, kind: Some(kind), range, derives: false, values, place }
}

impl Field {
    const fn deriving(mut self) -> Self {
        self.derives = true;
        self
    }

    /// What the engine's batch calls it.
    pub(crate) fn name_in_batch(&self) -> String {
        if self.kind.is_none() { format!("opt.{}", self.name) } else { self.name.to_owned() }
    }

    /// Whose it is.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// The object that one of its values belongs to, if it belongs to one, and which of the
    /// object's values it is.
    pub(crate) fn owner(&self, model: &MjModel, index: usize) -> Option<(Option<usize>, usize)> {
        let Some(kind) = self.kind else { return Some((None, index)) };
        (0..kind.count(model)).find_map(|object| {
            let (begin, count) = (self.place)(model, object);
            (begin..begin + count).contains(&index).then(|| (Some(object), index - begin))
        })
    }

    /// Where that value of that object is.
    pub(crate) fn place_of(
        &self,
        model: &MjModel,
        object: Option<usize>,
        which: usize,
    ) -> Option<usize> {
        let (begin, count) = (self.place)(model, object.unwrap_or(0));
        (which < count).then_some(begin + which)
    }

    /// What it is called, and whose it is.
    pub(crate) fn tell(&self, model: &MjModel, object: Option<usize>) -> String {
        match (self.kind, object) {
            (Some(kind), Some(object)) => {
                format!("{} of {}", self.name, names::of(model, kind.object(), object))
            }
            _ => self.name.to_owned(),
        }
    }

    /// All its values.
    pub(crate) fn values<'a>(&self, model: &'a mut MjModel) -> &'a mut [f64] {
        (self.values)(model)
    }
}

fn flat<const N: usize>(rows: &mut [[f64; N]]) -> &mut [f64] {
    rows.as_flattened_mut()
}

fn dofs(model: &MjModel, joint: usize) -> (usize, usize) {
    Target::Qvel.of_joint(model, joint)
}

fn parameters(model: &MjModel, actuator: usize) -> (usize, usize) {
    let width = model.actuator_gainprm().first().map_or(0, |row| row.len());
    // The parameters of other kinds mean other things, some of them places.
    let (gain, bias) = (model.actuator_gaintype()[actuator], model.actuator_biastype()[actuator]);
    let is_plain = matches!(gain, MjtGain::mjGAIN_FIXED | MjtGain::mjGAIN_AFFINE)
        && matches!(bias, MjtBias::mjBIAS_NONE | MjtBias::mjBIAS_AFFINE);
    (width * actuator, if is_plain { width } else { 0 })
}

#[expect(unsafe_code, reason = "the bindings cannot tell which gains are numbers")]
fn gains(model: &mut MjModel) -> &mut [f64] {
    // SAFETY: only those of plain actuators are changed, see `parameters`, and theirs are factors.
    flat(unsafe { model.actuator_gainprm_mut() })
}

fn controls(model: &MjModel, actuator: usize) -> (usize, usize) {
    let begin = usize::try_from(model.actuator_ctrladr()[actuator]).unwrap_or(0);
    let count = usize::try_from(model.actuator_ctrlnum()[actuator]).unwrap_or(0);
    (2 * begin, 2 * count)
}

fn outputs(model: &MjModel, actuator: usize) -> (usize, usize) {
    let begin = usize::try_from(model.actuator_outadr()[actuator]).unwrap_or(0);
    let count = usize::try_from(model.actuator_outnum()[actuator]).unwrap_or(0);
    (6 * begin, 6 * count)
}

/// Where a change goes: the field's number, the object's name, and the values' places.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) field: usize,
    pub(crate) name: Option<String>,
    pub(crate) begin: usize,
    pub(crate) count: usize,
}

/// Finds what a change is about: one object, or all of them.
pub(crate) fn spots(model: &MjModel, change: &Change) -> Result<Vec<Spot>, Fault> {
    let number = FIELDS.iter().position(|field| field.name == change.field);
    let number = number.ok_or_else(|| unknown(&change.field))?;
    let field = &FIELDS[number];
    let invalid = |problem: String| Fault::Invalid { field: field.name.into(), problem };
    let spot = |name: Option<String>, object: usize| {
        let (begin, count) = (field.place)(model, object);
        let (begin, count) = match change.component {
            _ if count == 0 && change.name.is_some() => {
                return Err(invalid("this one has none that can be changed".into()));
            }
            None => (begin, count),
            Some(component) if (component as usize) < count => (begin + component as usize, 1),
            Some(component) => {
                return Err(invalid(format!(
                    "it has {count} values, and no component {component}"
                )));
            }
        };
        Ok(Spot { field: number, name, begin, count })
    };
    match (field.kind, &change.name) {
        (None, None) => Ok(vec![spot(None, 0)?]),
        (None, Some(_)) => Err(invalid("it belongs to the whole model and takes no `name`".into())),
        (Some(kind), Some(name)) => {
            let object = names::find(model, kind, name)?;
            Ok(vec![spot(Some(names::of(model, kind.object(), object)), object)?])
        }
        (Some(kind), None) if change.scale.is_some() => (0..kind.count(model))
            .map(|object| spot(Some(names::of(model, kind.object(), object)), object))
            .collect(),
        (Some(kind), None) => Err(invalid(format!("it needs the `name` of a {}", kind.word()))),
    }
}

/// Refuses a value that the field does not take.
pub(crate) fn check_value(field: &Field, value: f64) -> Result<(), Fault> {
    check(field.name, |_| "its value".to_owned(), &[value], f64::MAX)?;
    in_range(field.name, value, field.range)
}

fn unknown(name: &str) -> Fault {
    let mut near: Vec<_> = FIELDS
        .iter()
        .map(|field| (strsim::damerau_levenshtein(field.name, name), field.name.to_owned()))
        .collect();
    near.sort();
    let nearest = near.into_iter().take(3).map(|(_, known)| known).collect();
    let name = name.chars().take(200).collect();
    Fault::NameUnknown { kind: "field that can be changed".into(), name, nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checkpoints hold these numbers.
    #[test]
    fn fields_keep_their_numbers() {
        let names: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
        assert_eq!(
            names,
            [
                "timestep",
                "gravity",
                "wind",
                "density",
                "viscosity",
                "impratio",
                "body_mass",
                "body_inertia",
                "geom_friction",
                "geom_solref",
                "jnt_stiffness",
                "dof_damping",
                "dof_frictionloss",
                "dof_armature",
                "jnt_range",
                "actuator_gainprm",
                "actuator_biasprm",
                "actuator_ctrlrange",
                "actuator_forcerange",
                "actuator_gear",
            ]
        );
    }
}
