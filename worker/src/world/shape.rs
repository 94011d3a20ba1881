//! What a model looks like, for those who look at it: what does not move by itself.
//!
//! `u32` bytes of a description, the description in JSON, zeros up to a multiple of four, and an
//! attachment of `f32` and `i32`, little-endian, to which the description points by numbers of
//! such words. What is not drawn: flexes, skins, tendons, sites and textures.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtGeomBase, MjtJoint, MjtObjBase};
use serde::Serialize;

use super::moment::BODIES_MAX;
use super::names;
use super::simulation::Simulation;

/// The most geometries, joints and actuators that are shown, of each kind.
const PARTS_MAX: usize = 20_000;

/// The longest attachment, in words of four bytes.
const WORDS_MAX: usize = 16 << 20;

/// Where something is in the attachment: the first word, and how many.
type Place = (usize, usize);

#[derive(Serialize)]
struct Description {
    name: Option<String>,
    timestep_secs: f64,
    center: [f64; 3],
    extent: f64,
    /// How many joint positions, controls and forces a moment has.
    counts: [usize; 3],
    bodies: Vec<String>,
    geoms: Vec<Geom>,
    joints: Vec<Joint>,
    actuators: Vec<Actuator>,
    meshes: Vec<Option<Mesh>>,
    hfields: Vec<Option<Hfield>>,
}

#[derive(Serialize)]
struct Geom {
    body: i32,
    #[serde(rename = "type")]
    kind: &'static str,
    size: [f64; 3],
    pos: [f64; 3],
    quat: [f64; 4],
    rgba: [f32; 4],
    group: i32,
    /// Which mesh or height field it is.
    data: i32,
}

#[derive(Serialize)]
struct Joint {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    /// Its first position.
    at: i32,
    range: Option<[f64; 2]>,
}

#[derive(Serialize)]
struct Actuator {
    name: String,
    range: Option<[f64; 2]>,
}

/// Corners, directions, and by triangle the numbers of the ones and of the others.
#[derive(Serialize)]
struct Mesh {
    vertices: Place,
    normals: Place,
    faces: Place,
    face_normals: Place,
}

#[derive(Serialize)]
struct Hfield {
    rows: i32,
    columns: i32,
    size: [f64; 4],
    heights: Place,
}

impl Simulation {
    /// What the model looks like, or why it is not shown.
    pub(crate) fn shape(&self) -> Result<Vec<u8>, String> {
        let model = self.data.model();
        let too_many = |what: &str, count: usize, max: usize| {
            Err(format!("the model has {count} {what}; at most {max} are shown"))
        };
        let (bodies, geoms) = (model.body_mass().len(), model.geom_type().len());
        if BODIES_MAX < bodies {
            return too_many("bodies", bodies, BODIES_MAX);
        }
        if PARTS_MAX < geoms {
            return too_many("geometries", geoms, PARTS_MAX);
        }
        let mut attachment = Attachment { model, bytes: Vec::new(), is_full: false };
        let description = describe(model, &self.data, &mut attachment);
        if attachment.is_full {
            let max = 4 * WORDS_MAX;
            return Err(format!("the model's meshes take more than {max} bytes, the most shown"));
        }
        let description = serde_json::to_vec(&description).map_err(|error| error.to_string())?;
        let length = u32::try_from(description.len()).map_err(|error| error.to_string())?;
        let padding = description.len().next_multiple_of(4) - description.len();
        let total = 4 + description.len() + padding + attachment.bytes.len();
        let mut whole = Vec::with_capacity(total);
        whole.extend_from_slice(&length.to_le_bytes());
        whole.extend_from_slice(&description);
        whole.extend_from_slice(&[0; 4][..padding]);
        whole.extend_from_slice(&attachment.bytes);
        Ok(whole)
    }
}

fn describe(
    model: &MjModel,
    data: &mujoco_rs::wrappers::mj_data::MjData<Box<MjModel>>,
    attachment: &mut Attachment<'_>,
) -> Description {
    let ffi = model.ffi();
    let geoms: Vec<_> = (0..model.geom_type().len()).map(|index| geom(model, index)).collect();
    let named = |object, count: usize| (0..count).map(move |i| names::of(model, object, i));
    let joints = model.jnt_type().len().min(PARTS_MAX);
    let actuators = usize::try_from(ffi.nactuator).unwrap_or(0).min(PARTS_MAX);
    Description {
        name: super::simulation::model_name(model),
        timestep_secs: model.opt().timestep,
        center: ffi.stat.center,
        extent: ffi.stat.extent,
        counts: [data.qpos().len(), data.ctrl().len(), data.actuator_force().len()],
        bodies: named(MjtObjBase::mjOBJ_BODY, model.body_mass().len()).collect(),
        joints: (0..joints).map(|index| joint(model, index)).collect(),
        actuators: (0..actuators).map(|index| actuator(model, index)).collect(),
        meshes: used(&geoms, "mesh", model.mesh_vertadr().len(), |index| attachment.mesh(index)),
        hfields: used(&geoms, "hfield", model.hfield_adr().len(), |index| attachment.hfield(index)),
        geoms,
    }
}

/// Of all things of a kind those that a geometry is made of.
fn used<T>(
    geoms: &[Geom],
    kind: &str,
    count: usize,
    mut take: impl FnMut(usize) -> Option<T>,
) -> Vec<Option<T>> {
    let mut is_used = vec![false; count];
    for geom in geoms.iter().filter(|geom| geom.kind == kind) {
        if let Some(used) = usize::try_from(geom.data).ok().and_then(|at| is_used.get_mut(at)) {
            *used = true;
        }
    }
    let used = is_used.into_iter().enumerate();
    used.map(|(index, is_used)| is_used.then(|| take(index)).flatten()).collect()
}

fn geom(model: &MjModel, index: usize) -> Geom {
    let material = usize::try_from(model.geom_matid()[index]).ok();
    let material = material.and_then(|material| model.mat_rgba().get(material));
    let kind = match model.geom_type()[index] {
        MjtGeomBase::mjGEOM_PLANE => "plane",
        MjtGeomBase::mjGEOM_HFIELD => "hfield",
        MjtGeomBase::mjGEOM_SPHERE => "sphere",
        MjtGeomBase::mjGEOM_CAPSULE => "capsule",
        MjtGeomBase::mjGEOM_ELLIPSOID => "ellipsoid",
        MjtGeomBase::mjGEOM_CYLINDER => "cylinder",
        MjtGeomBase::mjGEOM_BOX => "box",
        // A signed distance field has a mesh to be drawn by.
        _ => "mesh",
    };
    let own = model.geom_rgba()[index];
    Geom {
        body: model.geom_bodyid()[index],
        kind,
        size: model.geom_size()[index],
        pos: model.geom_pos()[index],
        quat: model.geom_quat()[index],
        // As the engine itself has it: a colour of its own that is not the default one wins.
        rgba: material.filter(|_| own == DEFAULT_RGBA).copied().unwrap_or(own),
        group: model.geom_group()[index],
        data: model.geom_dataid()[index],
    }
}

/// The colour of what was given none.
const DEFAULT_RGBA: [f32; 4] = [0.5, 0.5, 0.5, 1.0];

fn joint(model: &MjModel, index: usize) -> Joint {
    let kind = match model.jnt_type()[index] {
        MjtJoint::mjJNT_FREE => "free",
        MjtJoint::mjJNT_BALL => "ball",
        MjtJoint::mjJNT_SLIDE => "slide",
        MjtJoint::mjJNT_HINGE => "hinge",
    };
    Joint {
        name: names::of(model, MjtObjBase::mjOBJ_JOINT, index),
        kind,
        at: model.jnt_qposadr()[index],
        range: model.jnt_limited()[index].then(|| model.jnt_range()[index]),
    }
}

fn actuator(model: &MjModel, index: usize) -> Actuator {
    let control = usize::try_from(model.actuator_ctrladr()[index]).unwrap_or(0);
    let limited = model.actuator_ctrllimited().get(control).copied().unwrap_or(false);
    let range = model.actuator_ctrlrange().get(control).filter(|_| limited);
    Actuator { name: names::of(model, MjtObjBase::mjOBJ_ACTUATOR, index), range: range.copied() }
}

/// What is too long for a description.
struct Attachment<'a> {
    model: &'a MjModel,
    bytes: Vec<u8>,
    is_full: bool,
}

impl Attachment<'_> {
    fn mesh(&mut self, index: usize) -> Option<Mesh> {
        let model = self.model;
        let vertices = part(model.mesh_vert(), model.mesh_vertadr(), model.mesh_vertnum(), index);
        let normals =
            part(model.mesh_normal(), model.mesh_normaladr(), model.mesh_normalnum(), index);
        let faces = part(model.mesh_face(), model.mesh_faceadr(), model.mesh_facenum(), index);
        let face_normals =
            part(model.mesh_facenormal(), model.mesh_faceadr(), model.mesh_facenum(), index);
        Some(Mesh {
            vertices: self.put(vertices?.as_flattened())?,
            normals: self.put(normals?.as_flattened())?,
            faces: self.put(faces?.as_flattened())?,
            face_normals: self.put(face_normals?.as_flattened())?,
        })
    }

    fn hfield(&mut self, index: usize) -> Option<Hfield> {
        let model = self.model;
        let (rows, columns) = (model.hfield_nrow()[index], model.hfield_ncol()[index]);
        let first = usize::try_from(model.hfield_adr()[index]).ok()?;
        let count = usize::try_from(rows).ok()?.checked_mul(usize::try_from(columns).ok()?)?;
        let heights = model.hfield_data().get(first..first.checked_add(count)?)?;
        let heights = self.put(heights)?;
        Some(Hfield { rows, columns, size: model.hfield_size()[index], heights })
    }

    /// Nothing if there is no room for it.
    fn put<T: bytemuck::NoUninit>(&mut self, words: &[T]) -> Option<Place> {
        let first = self.bytes.len() / 4;
        if WORDS_MAX < first + words.len() {
            self.is_full = true;
            return None;
        }
        // Every machine that the engine runs on is little-endian.
        self.bytes.extend_from_slice(bytemuck::cast_slice(words));
        Some((first, words.len()))
    }
}

/// One thing's part of what all of its kind have.
fn part<'a, T>(all: &'a [T], firsts: &[i32], counts: &[i32], index: usize) -> Option<&'a [T]> {
    let first = usize::try_from(*firsts.get(index)?).ok()?;
    let count = usize::try_from(*counts.get(index)?).ok()?;
    all.get(first..first.checked_add(count)?)
}
