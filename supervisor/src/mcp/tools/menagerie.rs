//! Robots of MuJoCo Menagerie, out of the folder that the operator configured.

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::{Deserialize, Serialize};

use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;
use crate::models::{Loaded, Source, Validation};
use crate::sources::menagerie::{Listed, categories};

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListArgs {
    /// Only models of this category: `arm`, `humanoid`, `end_effector`, `quadruped`,
    /// `mobile_manipulator`, `biomechanical`, `drone`, `biped`, `dual_arm`, `mobile_base`, `misc`.
    #[serde(default)]
    category: Option<String>,
    /// Only models that are on this server.
    #[serde(default)]
    present_only: bool,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct Menagerie {
    /// The models, by name.
    models: Vec<Listed>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ValidateArgs {
    /// The model, such as `unitree_go2`.
    name: String,
    /// A file of the model's folder, such as `scene_mjx.xml`; without it the model's scene.
    #[serde(default)]
    entry: Option<String>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct SceneArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, such as `unitree_go2`.
    name: String,
    /// A file of the model's folder, loaded as it is; without it the model's scene, or the model
    /// over a floor if it has none.
    #[serde(default)]
    entry: Option<String>,
    /// What to call the model in this session; without it `model`, `model_2` and so on.
    #[serde(default)]
    model_id: Option<String>,
}

#[tool_router(router = menagerie_tools, vis = "pub(super)")]
impl McpServer {
    /// The robots of MuJoCo Menagerie by name, with category and licence, and which of them are on
    /// this server (`is_present`): only those can be loaded.
    #[tool(
        title = "List Menagerie models",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn list_menagerie_models(
        &self,
        Parameters(args): Parameters<ListArgs>,
    ) -> Result<Json<Menagerie>, Refusal> {
        let ListArgs { category, present_only } = args;
        if let Some(category) = category.as_deref().filter(|one| !categories().contains(one)) {
            let category: String = category.chars().take(100).collect();
            let known = categories().join(", ");
            let message = format!("there is no category `{category}`; there are {known}");
            return Err(Refusal::argument(message));
        }
        let sources = self.models().sources();
        let list = sources.run(move |it| it.menagerie(category.as_deref(), present_only));
        Ok(Json(Menagerie { models: list.await? }))
    }

    /// Compile a model of MuJoCo Menagerie without loading it: whether it is valid, and if not the
    /// compiler's whole error. No session is needed or touched.
    #[tool(
        title = "Validate a Menagerie model",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn validate_menagerie_model(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ValidateArgs>,
    ) -> Result<Json<Validation>, Refusal> {
        let ValidateArgs { name, entry } = args;
        let sources = self.models().sources();
        let place = sources.run(move |it| it.named(&name, entry.as_deref())).await?;
        let validate = self.models().validate(&caller.tenant, Source::Placed(place));
        Ok(Json(caller.unless_withdrawn(validate).await?))
    }

    /// Load a model of MuJoCo Menagerie into a session in a scene with a floor: its own, or one of
    /// ours if it has none. Returns what load_model returns.
    #[tool(
        title = "Create a Menagerie scene",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn create_menagerie_scene(
        &self,
        caller: Caller,
        Parameters(args): Parameters<SceneArgs>,
    ) -> Result<Json<Loaded>, Refusal> {
        let SceneArgs { session_id, name, entry, model_id } = args;
        let sources = self.models().sources();
        let place = sources.run(move |it| it.scene(&name, entry.as_deref())).await?;
        self.load(&caller, session_id, Source::Placed(place), model_id).await
    }
}
