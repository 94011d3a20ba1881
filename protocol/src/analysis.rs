//! Analysing a model in its state: Jacobians, linear models, rays, distances, the scene.

use serde::{Deserialize, Serialize};

use crate::real::{Real, Reals};

/// A place of the model: a body, or a site.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Place {
    /// A body's name.
    #[serde(default)]
    pub body: Option<String>,
    /// A site's name.
    #[serde(default)]
    pub site: Option<String>,
    /// With a body: a point in its frame, in metres, instead of the frame's origin.
    #[serde(default)]
    pub point: Option<[f64; 3]>,
}

/// Asks how a place moves with the joints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComputeJacobian {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// The place.
    pub place: Place,
}

impl ComputeJacobian {
    /// The most degrees of freedom of a model whose Jacobian can be asked for.
    pub const DOFS_MAX: usize = 2000;
}

/// The answer to [`ComputeJacobian`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Jacobian {
    /// The model.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// The place in world coordinates, in metres.
    pub position_m: Reals,
    /// The degrees of freedom that move it, by joint (`root:3` is the fourth of a joint with
    /// several): the columns. All others are 0.
    pub dofs: Vec<String>,
    /// Their indices in `qvel`.
    pub dof_indices: Vec<u32>,
    /// Three rows (x, y, z): metres per second of the place for each unit of velocity.
    pub jacp: Vec<Reals>,
    /// Three rows: radians per second of its turning for each unit of velocity.
    pub jacr: Vec<Reals>,
    /// How well the place can be moved.
    pub translation: Conditioning,
    /// How well it can be turned.
    pub rotation: Conditioning,
    /// How well both can be done at once, metres and radians taken as one.
    pub both: Conditioning,
}

/// How well a matrix can be inverted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Conditioning {
    /// Largest first.
    pub singular_values: Reals,
    /// How many of them are not 0: the independent directions.
    pub rank: u32,
    /// The largest over the smallest.
    pub condition_number: Real,
    /// Yoshikawa's measure: the product of the singular values.
    pub manipulability: Real,
}

/// Asks for the linear model of one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Linearize {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// How far each value is moved.
    pub eps: f64,
    /// Whether it is moved both ways, which is more exact and takes twice the time.
    pub centered: bool,
}

impl Linearize {
    /// The bounds of `eps`.
    pub const EPS: (f64, f64) = (1e-10, 1e-2);
    /// The most states (2 nv + na), and the most controls.
    pub const STATES_MAX: u64 = 300;
    /// The longest time that it may take, in milliseconds: the engine cannot be interrupted in it.
    pub const MILLIS_MAX: u64 = 500;
}

/// The answer to [`Linearize`]: `dx' = A dx + B du` for one timestep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Linearization {
    /// The model.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// The step that is linearised, in seconds.
    pub timestep_secs: Real,
    /// What the states are: positions, then velocities, then activations.
    pub states: Vec<String>,
    /// What the controls are.
    pub controls: Vec<String>,
    /// A, by rows.
    pub a: Vec<Reals>,
    /// B, by rows.
    pub b: Vec<Reals>,
    /// The largest magnitude of A's eigenvalues; none if they were not found.
    pub spectral_radius: Option<Real>,
    /// The eigenvalues of largest magnitude: real and imaginary part.
    pub eigenvalues: Vec<(Real, Real)>,
    /// Whether a small deviation dies out.
    pub stability: Stability,
}

/// Whether a small deviation dies out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Stability {
    /// It dies out.
    Stable,
    /// It stays, up to what finite differences can tell.
    Marginal,
    /// It grows.
    Unstable,
    /// The eigenvalues were not found.
    Unknown,
}

/// A ray.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ray {
    /// Where it begins, in world coordinates, in metres.
    pub origin: [f64; 3],
    /// Where it goes; its length does not matter.
    pub direction: [f64; 3],
}

/// Asks what rays hit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CastRays {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// The rays, at most [`CastRays::RAYS_MAX`].
    pub rays: Vec<Ray>,
    /// A body whose geoms are not hit.
    pub exclude_body: Option<String>,
    /// Whether what cannot move is hit too.
    pub include_static: bool,
}

impl CastRays {
    /// The most rays of one call.
    pub const RAYS_MAX: usize = 1000;
}

/// The answer to [`CastRays`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RayHits {
    /// The model.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// What each ray hits first; nothing where it hits nothing.
    pub hits: Vec<Option<RayHit>>,
}

/// What a ray hits first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RayHit {
    /// The geom.
    pub geom: String,
    /// Its body.
    pub body: String,
    /// How far it is, in metres.
    pub distance_m: Real,
    /// Where it is hit, in world coordinates, in metres.
    pub position_m: Reals,
    /// The surface's direction there, a unit vector.
    pub normal: Reals,
}

/// One geom, or all geoms of one body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Solid {
    /// A geom's name.
    #[serde(default)]
    pub geom: Option<String>,
    /// A body's name.
    #[serde(default)]
    pub body: Option<String>,
}

/// Asks how far two things are apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasureDistance {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// The one.
    pub from: Solid,
    /// The other.
    pub to: Solid,
    /// What is farther apart is not measured, in metres.
    pub distance_max_m: f64,
}

impl MeasureDistance {
    /// The bounds of `distance_max_m`.
    pub const DISTANCE_MAX_M: (f64, f64) = (0.0, 1e6);
    /// The most pairs of geoms of one call.
    pub const PAIRS_MAX: u64 = 10_000;
}

/// The answer to [`MeasureDistance`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Distance {
    /// The model.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// Between the nearest geoms; none if all are farther apart than the call wanted to know.
    pub nearest: Option<Nearest>,
    /// How many pairs of geoms were measured.
    pub pairs_measured: u32,
    /// How many were not, because the engine has no distance for two planes or height fields.
    pub pairs_unmeasured: u32,
}

/// Two nearest geoms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Nearest {
    /// How far they are apart, in metres; negative is how deep they are in each other.
    pub distance_m: Real,
    /// The one's geom.
    pub from_geom: String,
    /// The other's geom.
    pub to_geom: String,
    /// The nearest point of the one, in world coordinates, in metres.
    pub from_point_m: Reals,
    /// The nearest point of the other.
    pub to_point_m: Reals,
}

/// Asks what there is and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapScene {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// The body to begin with, instead of the world.
    pub root: Option<String>,
    /// How many levels below it.
    pub depth_max: u32,
    /// The most bodies of the answer.
    pub items_max: u32,
}

/// The answer to [`MapScene`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SceneMap {
    /// The model.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// The box around all that is listed, what has no end left out.
    pub bounds: Option<Bounds>,
    /// The bodies; a body's parent stands before it.
    pub bodies: Vec<MappedBody>,
    /// How many were left out, because of `max_items` or the depth.
    pub items_cut: u32,
}

/// A body of the map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MappedBody {
    /// Its name, or `#` and its index where it has none.
    pub name: String,
    /// Its parent; none for the world.
    pub parent: Option<String>,
    /// Levels below the root.
    pub depth: u32,
    /// The origin of its frame in world coordinates, in metres.
    pub position_m: Reals,
    /// Its orientation: w, x, y, z.
    pub quaternion: Reals,
    /// The axis-aligned box around its own geoms, planes left out.
    pub bounds: Option<Bounds>,
    /// Its geoms: kind and name.
    pub geoms: Vec<String>,
    /// The joints that move it against its parent.
    pub joints: Vec<String>,
}

/// A box along the world's axes, in metres.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Bounds {
    /// The corner of the smallest coordinates.
    pub min_m: Reals,
    /// The corner of the largest.
    pub max_m: Reals,
}
