//! Finding what a client names.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtObjBase};
use simward_protocol::fault::Fault;

/// How many similar names are suggested, and how many are looked at for that.
const NEAREST_MAX: usize = 3;
const COMPARED_MAX: usize = 20_000;

/// A kind of thing that has names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Joint,
    Actuator,
    Keyframe,
    Body,
    Geom,
    Site,
    Sensor,
    Camera,
}

impl Kind {
    /// What a client calls it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Joint => "joint",
            Self::Actuator => "actuator",
            Self::Keyframe => "keyframe",
            Self::Body => "body",
            Self::Geom => "geom",
            Self::Site => "site",
            Self::Sensor => "sensor",
            Self::Camera => "camera",
        }
    }

    /// What MuJoCo calls it.
    pub(crate) fn object(self) -> MjtObjBase {
        match self {
            Self::Joint => MjtObjBase::mjOBJ_JOINT,
            Self::Actuator => MjtObjBase::mjOBJ_ACTUATOR,
            Self::Keyframe => MjtObjBase::mjOBJ_KEY,
            Self::Body => MjtObjBase::mjOBJ_BODY,
            Self::Geom => MjtObjBase::mjOBJ_GEOM,
            Self::Site => MjtObjBase::mjOBJ_SITE,
            Self::Sensor => MjtObjBase::mjOBJ_SENSOR,
            Self::Camera => MjtObjBase::mjOBJ_CAMERA,
        }
    }

    /// How many of them a model has.
    pub(crate) fn count(self, model: &MjModel) -> usize {
        let ffi = model.ffi();
        usize::try_from(match self {
            Self::Joint => ffi.njnt,
            Self::Actuator => ffi.nactuator,
            Self::Keyframe => ffi.nkey,
            Self::Body => ffi.nbody,
            Self::Geom => ffi.ngeom,
            Self::Site => ffi.nsite,
            Self::Sensor => ffi.nsensor,
            Self::Camera => ffi.ncam,
        })
        .unwrap_or(0)
    }
}

/// The index of what has that name, or is `#` and that index.
pub(crate) fn find(model: &MjModel, kind: Kind, name: &str) -> Result<usize, Fault> {
    let count = kind.count(model);
    // The bindings panic at a NUL, which no name can have.
    if !name.contains('\0')
        && let Some(index) = model.name_to_id(kind.object(), name)
    {
        return Ok(index);
    }
    if let Some(index) = name.strip_prefix('#').and_then(|index| index.parse::<usize>().ok())
        && index < count
    {
        return Ok(index);
    }
    Err(unknown(kind.word(), name, (0..count).map(|index| of(model, kind.object(), index))))
}

/// Nothing of that kind has that name; these are the names that there are.
pub(crate) fn unknown(kind: &str, name: &str, known: impl Iterator<Item = String>) -> Fault {
    // Comparing takes time and memory with its length, which is the client's.
    let name: String = name.chars().take(200).collect();
    let mut near: Vec<(usize, String)> = known
        .take(COMPARED_MAX)
        .map(|known| (strsim::damerau_levenshtein(&known, &name), known))
        .collect();
    near.sort();
    near.truncate(NEAREST_MAX);
    let nearest = near.into_iter().map(|(_, known)| known).collect();
    Fault::NameUnknown { kind: kind.into(), name, nearest }
}

/// The name of what has that index, or `#` and the index where it has none.
pub(crate) fn of(model: &MjModel, object: MjtObjBase, index: usize) -> String {
    match model.id_to_name(object, index) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => format!("#{index}"),
    }
}

/// The indices of what is asked for by name, or of everything, with what a bound leaves out.
pub(crate) fn pick(
    model: &MjModel,
    kind: Kind,
    names: &[String],
    items_max: u32,
) -> Result<(Vec<usize>, u32), Fault> {
    let items_max = items_max as usize;
    let (wanted, count) = if names.is_empty() {
        let count = kind.count(model);
        ((0..count.min(items_max)).collect(), count)
    } else {
        let found = names.iter().take(items_max).map(|name| find(model, kind, name));
        (found.collect::<Result<Vec<_>, _>>()?, names.len())
    };
    Ok((wanted, u32::try_from(count.saturating_sub(items_max)).unwrap_or(u32::MAX)))
}
