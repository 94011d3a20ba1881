//! What is where: rays, distances, the scene's map.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtGeomBase, MjtObjBase};
use simward_protocol::analysis::{
    Bounds, CastRays, MapScene, MappedBody, MeasureDistance, Nearest, Ray, RayHit, SceneMap, Solid,
};
use simward_protocol::fault::Fault;
use simward_protocol::real::Real;

use super::names::{self, Kind};
use super::observe::reals;
use super::places::{cut, index};
use super::scratch::Scratch;
use crate::pulse::Pulse;

/// Refuses rays that go nowhere, and too many.
pub(crate) fn check_rays(rays: &[Ray]) -> Result<(), Fault> {
    if CastRays::RAYS_MAX < rays.len() {
        let (value, max) = (rays.len() as u64, CastRays::RAYS_MAX as u64);
        return Err(Fault::LimitExceeded { what: "rays of one call".into(), value, max });
    }
    for (number, ray) in rays.iter().enumerate() {
        let at = || format!("ray {number}");
        if !ray.origin.iter().chain(&ray.direction).all(|value| value.is_finite()) {
            return Err(Fault::NotFinite { field: "rays".into(), at: at() });
        }
        let length = length(ray.direction);
        if !(1e-12..1e12).contains(&length) {
            let field = format!("rays: the length of the direction of {}", at());
            return Err(Fault::OutOfRange { field, value: length, min: 1e-12, max: 1e12 });
        }
    }
    Ok(())
}

/// What a ray hits first.
pub(crate) fn cast(
    data: &mut Scratch<'_>,
    ray: &Ray,
    exclude_body: Option<usize>,
    include_static: bool,
) -> Option<RayHit> {
    let long = length(ray.direction);
    let direction = ray.direction.map(|value| value / long);
    let mut normal = [0.0; 3];
    let (geom, distance) =
        data.ray(&ray.origin, &direction, None, include_static, exclude_body, Some(&mut normal));
    let geom = geom?;
    let model = data.model();
    let body = index(model.geom_bodyid()[geom]);
    let position: [f64; 3] =
        std::array::from_fn(|axis| ray.origin[axis] + distance * direction[axis]);
    Some(RayHit {
        geom: names::of(model, MjtObjBase::mjOBJ_GEOM, geom),
        body: names::of(model, MjtObjBase::mjOBJ_BODY, body),
        distance_m: Real(distance),
        position_m: reals(&position),
        normal: reals(&normal),
    })
}

fn length(vector: [f64; 3]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// The geoms that a client means.
pub(crate) fn geoms_of(model: &MjModel, field: &str, solid: &Solid) -> Result<Vec<usize>, Fault> {
    match solid {
        Solid { geom: Some(geom), body: None } => Ok(vec![names::find(model, Kind::Geom, geom)?]),
        Solid { geom: None, body: Some(name) } => {
            let body = names::find(model, Kind::Body, name)?;
            let begin = index(model.body_geomadr()[body]);
            let geoms: Vec<_> = (begin..begin + index(model.body_geomnum()[body])).collect();
            if geoms.is_empty() {
                let detail = format!("`{field}`: the body `{name}` has no geoms of its own");
                return Err(Fault::Argument { detail });
            }
            Ok(geoms)
        }
        _ => Err(Fault::Argument {
            detail: format!("`{field}` needs either a geom or a body: {{\"body\": \"hand\"}}"),
        }),
    }
}

/// The nearest of some geoms to some others, and how many pairs were measured and not.
pub(crate) fn nearest(
    data: &mut Scratch<'_>,
    from: &[usize],
    to: &[usize],
    distance_max: f64,
    pulse: &Pulse,
) -> Result<(Option<Nearest>, u32, u32), Fault> {
    let pairs = from.len() as u64 * to.len() as u64;
    let max = MeasureDistance::PAIRS_MAX;
    if max < pairs {
        return Err(Fault::LimitExceeded { what: "pairs of geoms".into(), value: pairs, max });
    }
    let (mut best, mut measured, mut unmeasured) = (None, 0, 0);
    let mut best_distance = distance_max;
    for one in from.iter().copied() {
        for other in to.iter().copied().filter(|other| *other != one) {
            if pulse.current_is_cancelled() {
                return Err(Fault::Cancelled);
            }
            pulse.rested();
            if !is_measurable(data.model(), one, other) {
                unmeasured += 1;
                continue;
            }
            measured += 1;
            let mut ends = [0.0; 6];
            let distance = data.geom_distance(one, other, best_distance, Some(&mut ends));
            if distance < best_distance {
                best_distance = distance;
                best = Some((one, other, ends));
            }
        }
    }
    let name = |geom| names::of(data.model(), MjtObjBase::mjOBJ_GEOM, geom);
    let nearest = best.map(|(one, other, ends)| Nearest {
        distance_m: Real(best_distance),
        from_geom: name(one),
        to_geom: name(other),
        from_point_m: reals(&ends[..3]),
        to_point_m: reals(&ends[3..]),
    });
    Ok((nearest, measured, unmeasured))
}

/// Whether the engine knows the distance of two geoms: not of two that are planes or height fields.
fn is_measurable(model: &MjModel, one: usize, other: usize) -> bool {
    let is_flat = |geom: usize| {
        matches!(model.geom_type()[geom], MjtGeomBase::mjGEOM_HFIELD | MjtGeomBase::mjGEOM_PLANE)
    };
    !(is_flat(one) && is_flat(other))
}

/// The map of a scene.
pub(crate) fn map(
    data: &Scratch<'_>,
    model_id: String,
    root: usize,
    MapScene { depth_max, items_max, .. }: &MapScene,
) -> SceneMap {
    let model = data.model();
    let parents = model.body_parentid();
    // A body's parent stands before it, so one pass finds the depth of all.
    let mut depths: Vec<Option<u32>> = vec![None; parents.len()];
    let mut found = Vec::new();
    let mut below = 0;
    for body in root..parents.len() {
        let above = (body != 0).then(|| depths[index(parents[body])]).flatten();
        depths[body] = if body == root { Some(0) } else { above.map(|depth| depth + 1) };
        if let Some(depth) = depths[body] {
            below += 1;
            if depth <= *depth_max && found.len() < *items_max as usize {
                found.push((body, depth));
            }
        }
    }
    let items_cut = cut(below, found.len());
    let mut around = Around::default();
    let bodies = found
        .into_iter()
        .map(|(body, depth)| mapped(data, body, depth, body == root, &mut around))
        .collect();
    let time_secs = Real(data.time());
    SceneMap { model_id, time_secs, bounds: around.bounds(), bodies, items_cut }
}

fn mapped(
    data: &Scratch<'_>,
    body: usize,
    depth: u32,
    is_root: bool,
    around: &mut Around,
) -> MappedBody {
    let model = data.model();
    let begin = index(model.body_geomadr()[body]);
    let geoms = begin..begin + index(model.body_geomnum()[body]);
    let mut own = Around::default();
    for geom in geoms.clone() {
        if let Some((low, high)) = geom_box(data, geom) {
            own.add(low);
            own.add(high);
            around.add(low);
            around.add(high);
        }
    }
    let geom = |geom: usize| {
        let kind = format!("{:?}", model.geom_type()[geom]);
        let kind = kind.trim_start_matches("mjGEOM_").to_ascii_lowercase();
        format!("{kind} {}", names::of(model, MjtObjBase::mjOBJ_GEOM, geom))
    };
    let joints = index(model.body_jntadr()[body]);
    let joints = joints..joints + index(model.body_jntnum()[body]);
    let parent = index(model.body_parentid()[body]);
    MappedBody {
        name: names::of(model, MjtObjBase::mjOBJ_BODY, body),
        parent: (!is_root).then(|| names::of(model, MjtObjBase::mjOBJ_BODY, parent)),
        depth,
        position_m: reals(&data.xpos()[body]),
        quaternion: reals(&data.xquat()[body]),
        bounds: own.bounds(),
        geoms: geoms.map(geom).collect(),
        joints: joints.map(|joint| names::of(model, MjtObjBase::mjOBJ_JOINT, joint)).collect(),
    }
}

/// The box around a geom, along the world's axes: its own box, turned. A plane has none.
fn geom_box(data: &Scratch<'_>, geom: usize) -> Option<([f64; 3], [f64; 3])> {
    let model = data.model();
    if model.geom_type()[geom] == MjtGeomBase::mjGEOM_PLANE {
        return None;
    }
    let [x, y, z, half_x, half_y, half_z] = model.geom_aabb()[geom];
    let rotation = &data.geom_xmat()[geom];
    let centre = super::places::turn(rotation, [x, y, z]);
    let reach = super::places::turn(&rotation.map(f64::abs), [half_x, half_y, half_z]);
    let origin = data.geom_xpos()[geom];
    let low = std::array::from_fn(|axis| origin[axis] + centre[axis] - reach[axis]);
    let high = std::array::from_fn(|axis| origin[axis] + centre[axis] + reach[axis]);
    Some((low, high))
}

/// A box that grows.
#[derive(Clone, Copy, Debug, Default)]
struct Around(Option<([f64; 3], [f64; 3])>);

impl Around {
    fn add(&mut self, point: [f64; 3]) {
        let (low, high) = self.0.unwrap_or((point, point));
        let low = std::array::from_fn(|axis| low[axis].min(point[axis]));
        let high = std::array::from_fn(|axis| high[axis].max(point[axis]));
        self.0 = Some((low, high));
    }

    fn bounds(&self) -> Option<Bounds> {
        self.0.map(|(low, high)| Bounds { min_m: reals(&low), max_m: reals(&high) })
    }
}
