//! Edits of a source: each is carried out on what the ones before it left, and what comes of all
//! of them is compiled as a source of its own.

use mujoco_rs::wrappers::mj_editing::{Attach as _, MjSpec, SpecElement, SpecObject as _};
use simward_protocol::compile::{Compiled, ENTRY};
use simward_protocol::editing::{Change, EDITS_MAX, Edit, Edited, NAME_BYTES_MAX, Target};
use simward_protocol::fault::{Fault, cut};

use super::build::{Built, build_in, invalid};
use super::document::{self, Kind};
use super::flatten::{Pool, parse, save};
use super::keys::Keys;
use crate::world::names;

/// The largest distance to which a model is attached, in metres.
const METRES_MAX: f64 = 1e6;

/// How many of the engine's warnings of what was written are looked at.
const WARNINGS_MAX: i32 = 100;

/// Edits a source. Gives the compiled bytes besides.
pub(super) fn edit(call: &Edit) -> Result<(Edited, Vec<u8>), Fault> {
    if !(1..=EDITS_MAX).contains(&call.edits.len()) {
        let (value, max) = (call.edits.len() as u64, EDITS_MAX as u64);
        return Err(Fault::LimitExceeded { what: "edits of one call".into(), value, max });
    }
    let mut pool = Pool::new(std::iter::once(&call.base).chain(&call.others).collect());
    let spec = parse(&pool.flatten(0)?)?;
    let mut draft = Draft { spec, keys: None, is_pending: false, warnings: Vec::new() };
    for (number, change) in call.edits.iter().enumerate() {
        draft.change(&mut pool, change).map_err(|fault| at(number, fault))?;
    }
    draft.restore_keys(&pool)?;
    let source = pool.finish(draft.save(&pool)?)?;
    let vfs = pool.vfs(&source.model_xml)?;
    let Draft { warnings: mut told, .. } = draft;
    let Built { compiled, state_values, warnings } = build_in(ENTRY, &vfs)?;
    // What the engine logs is where these begin.
    let is_new = |warning: &String| !told.iter().any(|told| told.starts_with(warning.as_str()));
    let warnings: Vec<_> = warnings.into_iter().filter(is_new).collect();
    told.extend(warnings);
    let warnings = told;
    let about = Compiled { bytes: compiled.len() as u64, state_values, warnings };
    Ok((Edited { source, compiled: about }, compiled))
}

/// Says which edit it was.
fn at(number: usize, fault: Fault) -> Fault {
    match fault {
        Fault::Invalid { field, problem } => {
            Fault::Invalid { field: format!("edits[{number}].{field}"), problem }
        }
        Fault::ModelInvalid { detail } => invalid(format!("edits[{number}]: {detail}")),
        other => other,
    }
}

/// A model that is being edited.
struct Draft {
    spec: MjSpec,
    /// Its keyframes, while its sizes change.
    keys: Option<Keys>,
    /// Whether the engine still has to fit keyframes to bodies that came or went.
    is_pending: bool,
    /// What the engine warned of so far, such as options that differ in what was attached.
    warnings: Vec<String>,
}

impl Draft {
    fn change(&mut self, pool: &mut Pool<'_>, change: &Change) -> Result<(), Fault> {
        match change {
            Change::Attach { other, to, prefix, position, quaternion } => {
                check_name("attach.prefix", prefix)?;
                check_pose(position, quaternion)?;
                self.restore_keys(pool)?;
                let source = *other as usize + 1;
                let mut document = pool.flatten(source)?;
                if (*position, *quaternion) != ([0.0; 3], [1.0, 0.0, 0.0, 0.0]) {
                    document = document::moved(&document, *position, *quaternion)?;
                }
                self.attach(to, &mut parse(&document)?, prefix)
            }
            Change::Add { xml, to } => self.add(pool, xml, to.as_deref()),
            Change::Remove { kind, name } => {
                check_name("remove.name", name)?;
                // The engine lets keyframes follow what goes with a body, and nothing else.
                if matches!(kind.as_str(), "joint" | "actuator") {
                    self.stash_keys(pool)?;
                } else {
                    self.restore_keys(pool)?;
                    self.is_pending |= kind == "body";
                }
                remove(&mut self.spec, kind, name)
            }
        }
    }

    fn attach(&mut self, to: &Target, child: &mut MjSpec, prefix: &str) -> Result<(), Fault> {
        self.is_pending = true;
        let spec = &mut self.spec;
        let attached = match to {
            Target::World => spec.world_body_mut().attach_by_deep_copy(child, prefix, ""),
            Target::Body(name) => {
                check_name("attach.body", name)?;
                let known = names_of(spec.body_iter());
                let body = spec.body_mut(name);
                let body = body.ok_or_else(|| names::unknown("body", name, known.into_iter()))?;
                body.attach_by_deep_copy(child, prefix, "")
            }
            Target::Site(name) => {
                check_name("attach.site", name)?;
                let known = names_of(spec.site_iter());
                let site = spec.site_mut(name);
                let site = site.ok_or_else(|| names::unknown("site", name, known.into_iter()))?;
                site.attach_by_deep_copy(child, prefix, "")
            }
        };
        attached.map_err(|error| invalid(error.to_string()))
    }

    fn add(&mut self, pool: &Pool<'_>, xml: &str, to: Option<&str>) -> Result<(), Fault> {
        if let Some(to) = to {
            check_name("add.to", to)?;
        }
        let kind = document::check("add.xml", xml)?;
        if kind == Kind::Keyframes {
            // Those that there are go with the new ones through what comes after.
            self.restore_keys(pool)?;
        } else {
            self.stash_keys(pool)?;
        }
        let document = self.save(pool)?;
        let added = match (kind, to) {
            (Kind::Section | Kind::Keyframes, None) => document::append(&document, xml)?,
            (Kind::Section | Kind::Keyframes, Some(_)) => {
                let problem = "a section belongs to the whole model and goes to no body".to_owned();
                return Err(Fault::Invalid { field: "add.to".into(), problem });
            }
            (Kind::Part, to) => {
                let to = to.filter(|to| *to != "world");
                let unknown = || {
                    let known = names_of(self.spec.body_iter());
                    names::unknown("body", to.unwrap_or_default(), known.into_iter())
                };
                document::insert(&document, to, xml)?.ok_or_else(unknown)?
            }
        };
        self.spec = parse(&added)?;
        Ok(())
    }

    /// Writes the model as it is now.
    fn save(&mut self, pool: &Pool<'_>) -> Result<String, Fault> {
        if std::mem::take(&mut self.is_pending) {
            let vfs = pool.vfs("")?;
            self.spec.compile_with_vfs(&vfs).map_err(|error| invalid(error.to_string()))?;
        }
        for number in 0..self.spec.num_warnings().min(WARNINGS_MAX) {
            let warning = self.spec.warning(number).map(|text| cut(text.trim_end().to_owned()));
            let is_new = |warning: &String| !self.warnings.contains(warning);
            self.warnings.extend(warning.filter(is_new));
        }
        save(&mut self.spec)
    }

    fn stash_keys(&mut self, pool: &Pool<'_>) -> Result<(), Fault> {
        if self.keys.is_none() {
            self.keys = Keys::stash(&mut self.spec, &pool.vfs("")?)?;
        }
        Ok(())
    }

    fn restore_keys(&mut self, pool: &Pool<'_>) -> Result<(), Fault> {
        match self.keys.take() {
            Some(keys) => keys.restore(&mut self.spec, &pool.vfs("")?),
            None => Ok(()),
        }
    }
}

/// The kinds of things that can be removed, and how each is found.
macro_rules! kinds {
    ($spec:ident, $kind:ident, $name:ident; $($word:literal: $find:ident, $each:ident;)*) => {
        match $kind {
            $($word => {
                let known = names_of($spec.$each());
                match $spec.$find($name) {
                    None => Err(names::unknown($word, $name, known.into_iter())),
                    // SAFETY: it is deleted once, and no handle outlives the call.
                    Some(found) => unsafe { found.delete() }
                        .map_err(|error| invalid(error.to_string())),
                }
            })*
            other => {
                let problem = format!("there is no `{other}`; there are: {}", [$($word),*].join(", "));
                Err(Fault::Invalid { field: "remove.kind".into(), problem: cut(problem) })
            }
        }
    };
}

#[expect(unsafe_code, reason = "the bindings leave it to us that nobody uses what is deleted")]
fn remove(spec: &mut MjSpec, kind: &str, name: &str) -> Result<(), Fault> {
    kinds! { spec, kind, name;
        "body": body_mut, body_iter;
        "geom": geom_mut, geom_iter;
        "joint": joint_mut, joint_iter;
        "site": site_mut, site_iter;
        "camera": camera_mut, camera_iter;
        "light": light_mut, light_iter;
        "actuator": actuator_mut, actuator_iter;
        "sensor": sensor_mut, sensor_iter;
        "tendon": tendon_mut, tendon_iter;
        "equality": equality_mut, equality_iter;
        "exclude": exclude_mut, exclude_iter;
        "pair": pair_mut, pair_iter;
        "key": key_mut, key_iter;
        "mesh": mesh_mut, mesh_iter;
        "hfield": hfield_mut, hfield_iter;
        "texture": texture_mut, texture_iter;
        "material": material_mut, material_iter;
        "skin": skin_mut, skin_iter;
        "flex": flex_mut, flex_iter;
        "numeric": numeric_mut, numeric_iter;
        "text": text_mut, text_iter;
        "tuple": tuple_mut, tuple_iter;
    }
}

fn names_of<'a, T: SpecElement + 'a>(items: impl Iterator<Item = &'a T>) -> Vec<String> {
    items.map(|item| item.name().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Refuses what cannot be a name, or the beginning of one.
fn check_name(field: &str, name: &str) -> Result<(), Fault> {
    let problem = if NAME_BYTES_MAX < name.len() {
        format!("it has more than {NAME_BYTES_MAX} bytes")
    } else if name.contains(char::is_control) {
        "it contains a control character".to_owned()
    } else {
        return Ok(());
    };
    Err(Fault::Invalid { field: field.into(), problem })
}

fn check_pose(position: &[f64; 3], quaternion: &[f64; 4]) -> Result<(), Fault> {
    let (min, max) = (-METRES_MAX, METRES_MAX);
    let all = position.iter().map(|value| ("attach.position", *value));
    for (field, value) in all.chain(quaternion.iter().map(|value| ("attach.quaternion", *value))) {
        if !value.is_finite() {
            return Err(Fault::NotFinite { field: field.into(), at: value.to_string() });
        }
        if !(min..=max).contains(&value) {
            return Err(Fault::OutOfRange { field: field.into(), value, min, max });
        }
    }
    if quaternion.iter().map(|value| value * value).sum::<f64>() < 1e-12 {
        let problem = "it has no length: w, x, y, z of a rotation".to_owned();
        return Err(Fault::Invalid { field: "attach.quaternion".into(), problem });
    }
    Ok(())
}
