//! Analysing a model in its state.

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::Deserialize;
use simward_protocol::analysis::{
    CastRays, ComputeJacobian, Distance, Jacobian, Linearization, Linearize, MapScene,
    MeasureDistance, Place, Ray, RayHits, SceneMap, Solid,
};
use simward_protocol::diagnose::{Diagnose, Diagnosis};

use super::models::check_items;
use super::observation::hundred;
use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::long::OrRun;
use crate::mcp::refusal::Refusal;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct JacobianArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// A body, perhaps with a point in its frame, or a site: {"site": "tip"}.
    place: Place,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct LinearizeArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// How far each value is moved, between 1e-10 and 0.01.
    #[serde(default = "small")]
    eps: f64,
    /// Whether it is moved both ways: more exact, twice the time.
    #[serde(default = "yes")]
    centered: bool,
}

fn small() -> f64 {
    1e-6
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RaysArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// Up to 1000 rays in world coordinates; a direction's length does not matter.
    rays: Vec<Ray>,
    /// A body that rays pass through.
    #[serde(default)]
    exclude_body: Option<String>,
    /// Whether what cannot move is hit too.
    #[serde(default = "yes")]
    include_static: bool,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct DistanceArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// A geom, or all geoms of a body: {"body": "hand"}.
    from: Solid,
    /// The other geom or body.
    to: Solid,
    /// What is farther apart is not measured, in metres.
    #[serde(default = "far")]
    distance_max_m: f64,
}

fn far() -> f64 {
    100.0
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct MapArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// The body to begin with; without it the world.
    #[serde(default)]
    root: Option<String>,
    /// How many levels below it.
    #[serde(default = "hundred")]
    max_depth: u32,
    /// The most entries to return.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 10_000))]
    max_items: u32,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct DiagnoseArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// How far to look ahead, in simulated seconds, up to 600.
    #[serde(default = "two")]
    duration_secs: f64,
    /// Return a run_id for get_run at once.
    #[serde(default)]
    as_run: bool,
}

fn two() -> f64 {
    2.0
}

#[tool_router(router = analysis_tools, vis = "pub(super)")]
impl McpServer {
    /// How a place moves (jacp, 3 rows, m) and turns (jacr, 3 rows, rad) with the velocities of the joints
    /// that move it, with singular values, condition number and manipulability.
    #[tool(
        title = "Compute a Jacobian",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn compute_jacobian(
        &self,
        caller: Caller,
        Parameters(args): Parameters<JacobianArgs>,
    ) -> Result<Json<Jacobian>, Refusal> {
        let JacobianArgs { session_id, model_id, place } = args;
        let call = ComputeJacobian { model_id, place };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// The linear model of one timestep around the present state and controls: dx' = A dx + B du, by
    /// finite differences, with A's eigenvalues and whether small deviations die out.
    #[tool(
        title = "Linearize the dynamics",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn linearize_dynamics(
        &self,
        caller: Caller,
        Parameters(args): Parameters<LinearizeArgs>,
    ) -> Result<Json<Linearization>, Refusal> {
        let LinearizeArgs { session_id, model_id, eps, centered } = args;
        let call = Linearize { model_id, eps, centered };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// What each ray hits first: geom, body, distance, point, surface normal; null where it hits nothing.
    #[tool(
        title = "Cast rays",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn cast_rays(
        &self,
        caller: Caller,
        Parameters(args): Parameters<RaysArgs>,
    ) -> Result<Json<RayHits>, Refusal> {
        let RaysArgs { session_id, model_id, rays, exclude_body, include_static } = args;
        let call = CastRays { model_id, rays, exclude_body, include_static };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// The smallest distance between two geoms or bodies, with the nearest points. It is negative where
    /// they overlap.
    #[tool(
        title = "Measure a distance",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn measure_distance(
        &self,
        caller: Caller,
        Parameters(args): Parameters<DistanceArgs>,
    ) -> Result<Json<Distance>, Refusal> {
        let DistanceArgs { session_id, model_id, from, to, distance_max_m } = args;
        let call = MeasureDistance { model_id, from, to, distance_max_m };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// What there is and where: the tree of bodies with world poses, geoms, joints and the axis-aligned
    /// box of each body.
    #[tool(
        title = "Map the scene",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn scene_map(
        &self,
        caller: Caller,
        Parameters(args): Parameters<MapArgs>,
    ) -> Result<Json<SceneMap>, Refusal> {
        let MapArgs { session_id, model_id, root, max_depth, max_items } = args;
        check_items(max_items)?;
        let call = MapScene { model_id, root, depth_max: max_depth, items_max: max_items };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// Look ahead on a copy, with the present controls, for instability, and find its cause: the same
    /// future is tried with a smaller timestep, another integrator, without contacts and so on, and the
    /// model is searched for what is too stiff, too light or overlapping. The simulation stays as it is.
    #[tool(
        title = "Diagnose instability",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn diagnose_instability(
        &self,
        caller: Caller,
        Parameters(args): Parameters<DiagnoseArgs>,
    ) -> Result<Json<OrRun<Diagnosis>>, Refusal> {
        let DiagnoseArgs { session_id, model_id, duration_secs, as_run } = args;
        let call = Diagnose { model_id, duration_secs, budget_millis: self.budget_millis(as_run) };
        let session_id = session_id.as_deref();
        Ok(Json(self.ask_or_run(&caller, "diagnose_instability", session_id, call, as_run).await?))
    }
}
