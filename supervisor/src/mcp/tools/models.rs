//! Models in sessions.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::Deserialize;
use simward_protocol::compile::Asset;
use simward_protocol::model::{DescribeModel, ListModels, ModelDescription, Models, Unloaded};
use simward_protocol::modify::{Change, ModelModified, ModifyModel, Randomize, ScaleRange};

use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;
use crate::models::{self, Loaded, Source, Validation};
use crate::{scenes, sources, uploads};

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct LoadArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model's source: MJCF (`<mujoco>…`) or URDF (`<robot>…`).
    #[serde(default)]
    model_xml: Option<String>,
    /// With `model_xml`: the files that it names (meshes, textures, height fields, included XML),
    /// in base64 by their relative path, such as {"assets/base.obj": "…"}; or by the `asset_…` of
    /// a POST to /assets.
    #[serde(default)]
    assets: BTreeMap<String, String>,
    /// A model's file below the server's model roots, such as `robots/arm.xml`; the files that it
    /// names come with it.
    #[serde(default)]
    model_path: Option<String>,
    /// A model of MuJoCo Menagerie, such as `unitree_go2`, in its scene; see
    /// list_menagerie_models.
    #[serde(default)]
    menagerie: Option<String>,
    /// A built-in scene; see create_scene.
    #[serde(default)]
    scene: Option<String>,
    /// With `scene`: its parameters by name.
    #[serde(default)]
    parameters: BTreeMap<String, f64>,
    /// What to call the model in this session: letters, digits, `_`, `-`, `.`, up to 64 of them.
    /// Without it `model`, `model_2` and so on.
    #[serde(default)]
    model_id: Option<String>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct SceneArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The scene: `pendulum`, `double_pendulum`, `cart_pole`, `planar_arm`, `arm`, `quadruped`,
    /// `humanoid` or `table`.
    scene: String,
    /// The scene's parameters by name, such as {"length_m": 0.5}; what is left out has its
    /// default. A wrong name is refused with the right ones.
    #[serde(default)]
    parameters: BTreeMap<String, f64>,
    /// What to call the model in this session; without it `model`, `model_2` and so on.
    #[serde(default)]
    model_id: Option<String>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ValidateArgs {
    /// The model's source: MJCF or URDF.
    model_xml: String,
    /// The files that the source names, in base64 by their relative path.
    #[serde(default)]
    assets: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct DescribeArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// The most entries of each list (bodies, joints, …); what was cut is counted.
    #[serde(default = "items_max")]
    #[schemars(range(min = 0, max = 10_000))]
    max_items: u32,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct UnloadArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ModifyArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// What to change, up to 512 changes.
    #[serde(default)]
    changes: Vec<Change>,
    /// Bring everything back to what was compiled, before the changes.
    #[serde(default)]
    reset: bool,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RandomizeArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// What to draw.
    ranges: Vec<ScaleRange>,
    /// The seed.
    #[serde(default)]
    seed: u64,
}

/// Where a model comes from, of which only one place is given.
#[derive(Debug, Default)]
pub(super) struct SourceArgs {
    pub(super) model_xml: Option<String>,
    pub(super) assets: BTreeMap<String, String>,
    pub(super) model_path: Option<String>,
    pub(super) menagerie: Option<String>,
    pub(super) scene: Option<String>,
    pub(super) parameters: BTreeMap<String, f64>,
}

/// How many entries of each list a model can read at ease.
pub(super) fn items_max() -> u32 {
    200
}

const ITEMS_MAX: u32 = 10_000;

/// Refuses a list that nobody can want.
pub(super) fn check_items(max_items: u32) -> Result<(), Refusal> {
    if max_items <= ITEMS_MAX {
        return Ok(());
    }
    let message = format!("`max_items` must be at most {ITEMS_MAX}, and is {max_items}");
    Err(Refusal::argument(message))
}

#[tool_router(router = model_tools, vis = "pub(super)")]
impl McpServer {
    /// Compile a model and load it into a session: exactly one of `model_xml`, `model_path`,
    /// `menagerie` and `scene`. Returns its model_id, its sizes (nq, nv, nu, …) and what the
    /// compiler warned of. A model that does not compile is refused with the compiler's whole
    /// error; the session stays as it was.
    #[tool(
        title = "Load a model",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn load_model(
        &self,
        caller: Caller,
        Parameters(args): Parameters<LoadArgs>,
    ) -> Result<Json<Loaded>, Refusal> {
        let LoadArgs { session_id, model_id, model_xml, assets, model_path, menagerie, .. } = args;
        let (scene, parameters) = (args.scene, args.parameters);
        let args = SourceArgs { model_xml, assets, model_path, menagerie, scene, parameters };
        let mut bytes_left = sources::BYTES_MAX;
        let source = self.source(&caller, args, &mut bytes_left).await?;
        self.load(&caller, session_id, source, model_id).await
    }

    /// Load one of the built-in models: `pendulum`, `double_pendulum`, `cart_pole`, `planar_arm`
    /// (three links and a target), `arm` (six joints, a gripper and two objects), `quadruped`,
    /// `humanoid` or `table` (six objects and a pusher). Each has sensors and keyframes; see
    /// get_model_info.
    #[tool(
        title = "Create a built-in scene",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn create_scene(
        &self,
        caller: Caller,
        Parameters(args): Parameters<SceneArgs>,
    ) -> Result<Json<Loaded>, Refusal> {
        let SceneArgs { session_id, scene, parameters, model_id } = args;
        let source = Source::Scene { model_xml: scenes::build(&scene, &parameters)? };
        self.load(&caller, session_id, source, model_id).await
    }

    /// Compile a model without loading it: whether it is valid, and if not the compiler's whole
    /// error. No session is needed or touched.
    #[tool(
        title = "Validate a model",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn validate_model_xml(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ValidateArgs>,
    ) -> Result<Json<Validation>, Refusal> {
        let ValidateArgs { model_xml, assets } = args;
        let mut bytes_left = sources::BYTES_MAX;
        let assets = self.assets(&caller, assets, &mut bytes_left).await?;
        let source = Source::Sent { model_xml, assets };
        let validate = self.models().validate(&caller.tenant, source);
        Ok(Json(caller.unless_withdrawn(validate).await?))
    }

    /// List the models of a session, with sizes and simulated time.
    #[tool(
        title = "List loaded models",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_loaded_models(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ListArgs>,
    ) -> Result<Json<Models>, Refusal> {
        Ok(Json(self.ask(&caller, args.session_id.as_deref(), ListModels {}).await?))
    }

    /// What a model consists of: bodies, joints with ranges and units, actuators with control
    /// ranges, sensors, cameras, sites and keyframes, all by name.
    #[tool(
        title = "Model information",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_model_info(
        &self,
        caller: Caller,
        Parameters(args): Parameters<DescribeArgs>,
    ) -> Result<Json<ModelDescription>, Refusal> {
        let DescribeArgs { session_id, model_id, max_items } = args;
        check_items(max_items)?;
        let call = DescribeModel { model_id, items_max: max_items };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// Change numbers of a compiled model at run time, such as {"field": "body_mass", "name":
    /// "torso", "scale": 1.2} or {"field": "gravity", "value": [0, 0, -1.6]}. Fields: timestep,
    /// gravity, wind, density, viscosity, impratio, body_mass, body_inertia, geom_friction,
    /// geom_solref, jnt_stiffness, jnt_range, dof_damping, dof_frictionloss, dof_armature (the last
    /// three by joint), actuator_gainprm, actuator_biasprm, actuator_ctrlrange,
    /// actuator_forcerange, actuator_gear. All changes are made or none; the state stays.
    #[tool(
        title = "Modify a model",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn modify_model(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ModifyArgs>,
    ) -> Result<Json<ModelModified>, Refusal> {
        let ModifyArgs { session_id, model_id, changes, reset } = args;
        let call = ModifyModel { model_id, reset, changes };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// Draw random factors for a model's numbers, for domain randomisation, such as {"field":
    /// "body_mass", "scale": [0.8, 1.2]}: one for each object, on what was compiled. Everything
    /// else is brought back to what was compiled. The same seed draws the same factors.
    #[tool(
        title = "Randomize a model's dynamics",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn randomize_dynamics(
        &self,
        caller: Caller,
        Parameters(args): Parameters<RandomizeArgs>,
    ) -> Result<Json<ModelModified>, Refusal> {
        let RandomizeArgs { session_id, model_id, ranges, seed } = args;
        let call = Randomize { model_id, ranges, seed };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// Remove a model from a session and free its memory.
    #[tool(
        title = "Unload a model",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn unload_model(
        &self,
        caller: Caller,
        Parameters(args): Parameters<UnloadArgs>,
    ) -> Result<Json<Unloaded>, Refusal> {
        let UnloadArgs { session_id, model_id } = args;
        let session = self.session(&caller, session_id.as_deref()).await?;
        Ok(Json(models::unload(&session, model_id).await?))
    }
}

impl McpServer {
    /// Loads a model into the session that a call means.
    pub(super) async fn load(
        &self,
        caller: &Caller,
        session_id: Option<String>,
        source: Source,
        model_id: Option<String>,
    ) -> Result<Json<Loaded>, Refusal> {
        let session = self.session(caller, session_id.as_deref()).await?;
        let load = self.models().load(&session, source, model_id);
        Ok(Json(caller.unless_withdrawn(load).await?))
    }

    /// The one source that is given.
    pub(super) async fn source(
        &self,
        caller: &Caller,
        args: SourceArgs,
        bytes_left: &mut u64,
    ) -> Result<Source, Refusal> {
        let SourceArgs { model_xml, assets, model_path, menagerie, scene, parameters } = args;
        if !assets.is_empty() && model_xml.is_none() {
            return Err(Refusal::argument("`assets` go with `model_xml`".to_owned()));
        }
        if !parameters.is_empty() && scene.is_none() {
            return Err(Refusal::argument("`parameters` go with `scene`".to_owned()));
        }
        let sources = self.models().sources();
        match (model_xml, model_path, menagerie, scene) {
            (Some(model_xml), None, None, None) => {
                let assets = self.assets(caller, assets, bytes_left).await?;
                Ok(Source::Sent { model_xml, assets })
            }
            (None, Some(path), None, None) => {
                Ok(Source::Placed(sources.run(move |sources| sources.at(&path)).await?))
            }
            (None, None, Some(name), None) => {
                Ok(Source::Placed(sources.run(move |sources| sources.named(&name, None)).await?))
            }
            (None, None, None, Some(scene)) => {
                Ok(Source::Scene { model_xml: scenes::build(&scene, &parameters)? })
            }
            _ => {
                let one = "exactly one of `model_xml`, `model_path`, `menagerie` and `scene`";
                Err(Refusal::argument(format!("{one} must be given")))
            }
        }
    }

    /// The files that come with a call, or were sent ahead. Those are no more than `bytes_left`,
    /// and each tenant waits its turn to have them read, as for models in files: their handles are
    /// short, so a flood of them costs who sends it nothing.
    async fn assets(
        &self,
        caller: &Caller,
        assets: BTreeMap<String, String>,
        bytes_left: &mut u64,
    ) -> Result<Vec<Asset>, Refusal> {
        let (uploads, tenant) = (self.uploads().clone(), caller.tenant.clone());
        let _turn = if assets.values().any(|text| text.starts_with(uploads::PREFIX)) {
            Some(self.models().sources().turn(&tenant).await?)
        } else {
            None
        };
        let mut left = *bytes_left;
        let read = tokio::task::spawn_blocking(move || {
            let decode = |(path, text): (String, String)| {
                let content = if text.starts_with(uploads::PREFIX) {
                    uploads.read(&tenant, &text, &mut left)?
                } else {
                    decode(&path, &text)?
                };
                Ok(Asset { path, content })
            };
            let assets = assets.into_iter().map(decode).collect::<Result<_, Refusal>>()?;
            Ok((assets, left))
        });
        let (assets, left) = read.await.unwrap_or_else(|_panic| Err(Refusal::internal()))?;
        *bytes_left = left;
        Ok(assets)
    }
}

fn decode(path: &str, text: &str) -> Result<Vec<u8>, Refusal> {
    STANDARD.decode(text.as_bytes()).map_err(|error| {
        let path: String = path.chars().take(200).collect();
        Refusal::argument(format!(
            "the asset `{path}` is neither base64 ({error}) nor an uploaded file (`asset_…`)"
        ))
    })
}
