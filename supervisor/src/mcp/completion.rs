//! Completion: names that an argument may have, for whoever types them.
//!
//! Completing leaves everything as it is: it creates no session and wakes none.

use std::collections::HashMap;
use std::time::Duration;

use rmcp::ErrorData;
use rmcp::model::{ArgumentInfo, CompleteRequestParams, CompleteResult, CompletionInfo, Reference};
use simward_protocol::model::{DescribeModel, ListModels, ModelDescription};

use super::McpServer;
use super::caller::Caller;
use crate::scenes::SCENES;
use crate::session::Session;
use crate::session::lifecycle::State;
use crate::worker::Options;

/// How long the model is asked for names: whoever types does not wait longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many names of each kind are looked through.
const NAMES_MAX: u32 = 1000;

impl McpServer {
    /// The values that an argument of a prompt, or a variable of a template, may be completed to.
    pub(super) async fn completion(
        &self,
        caller: &Caller,
        request: CompleteRequestParams,
    ) -> Result<CompleteResult, ErrorData> {
        let CompleteRequestParams { r#ref: reference, argument, context, .. } = request;
        let ArgumentInfo { name, value, .. } = argument;
        self.check(&reference, &name)?;
        let said = context.and_then(|context| context.arguments).unwrap_or_default();
        let names = self.names(caller, &name, &said).await;
        let (values, total) = fitting(names, &value);
        let has_more = values.len() < total;
        let total = u32::try_from(total).ok();
        let info = CompletionInfo::with_pagination(values, total, has_more);
        let info = info.map_err(|error| ErrorData::internal_error(error, None))?;
        Ok(CompleteResult::new(info))
    }

    /// Whether there is what is to be completed.
    fn check(&self, reference: &Reference, argument: &str) -> Result<(), ErrorData> {
        let known = match reference {
            Reference::Prompt(prompt) => Self::prompt_has(&prompt.name, argument),
            Reference::Resource(template) => {
                let place = format!("{{{argument}}}");
                let mut templates = self.resource_templates().into_iter();
                templates
                    .any(|it| it.uri_template == template.uri && it.uri_template.contains(&place))
            }
            _ => false,
        };
        let message = "there is no prompt or template with such an argument";
        if known { Ok(()) } else { Err(ErrorData::invalid_params(message, None)) }
    }

    async fn names(
        &self,
        caller: &Caller,
        argument: &str,
        said: &HashMap<String, String>,
    ) -> Vec<String> {
        match argument {
            "session_id" => {
                let sessions = self.sessions().list(&caller.tenant);
                sessions.iter().map(|session| session.plan().id.to_string()).collect()
            }
            "scene" | "robot" => SCENES.iter().map(|scene| scene.name.to_owned()).collect(),
            "model_id" => self.model_ids(caller, said).await,
            "joint" | "actuator" | "body" => {
                let Some(there) = self.description(caller, said).await else { return Vec::new() };
                match argument {
                    "joint" => there.joints.into_iter().map(|joint| joint.name).collect(),
                    "actuator" => there.actuators.into_iter().map(|it| it.name).collect(),
                    _ => there.bodies.into_iter().map(|body| body.name).collect(),
                }
            }
            // What is free text, or a number, has no names.
            _ => Vec::new(),
        }
    }

    /// The session that is meant: the one that was said before, or the only one. It must be awake.
    fn meant(&self, caller: &Caller, said: &HashMap<String, String>) -> Option<Session> {
        let own = self.sessions().list(&caller.tenant);
        let meant = match said.get("session_id").filter(|id| !id.is_empty()) {
            Some(id) => own.into_iter().find(|session| *session.plan().id == **id),
            None => <[Session; 1]>::try_from(own).ok().map(|[only]| only),
        };
        meant.filter(|session| session.status().state == State::Ready)
    }

    async fn model_ids(&self, caller: &Caller, said: &HashMap<String, String>) -> Vec<String> {
        let Some(session) = self.meant(caller, said) else { return Vec::new() };
        let ask = session.call(ListModels {}, Options::default());
        match tokio::time::timeout(PATIENCE, ask).await {
            Ok(Ok(models)) => models.models.into_iter().map(|model| model.model_id).collect(),
            _ => Vec::new(),
        }
    }

    /// What the model that is meant consists of; nothing if it cannot be said.
    async fn description(
        &self,
        caller: &Caller,
        said: &HashMap<String, String>,
    ) -> Option<ModelDescription> {
        let session = self.meant(caller, said)?;
        let model_id = said.get("model_id").filter(|id| !id.is_empty()).cloned();
        let call = DescribeModel { model_id, items_max: NAMES_MAX };
        let ask = session.call(call, Options::default());
        tokio::time::timeout(PATIENCE, ask).await.ok()?.ok()
    }
}

/// The names that go on as `typed` does, then those that contain it; as many as may be sent, and
/// how many there are.
fn fitting(names: Vec<String>, typed: &str) -> (Vec<String>, usize) {
    let typed = typed.to_lowercase();
    let rank = |name: &String| {
        let name = name.to_lowercase();
        if name.starts_with(&typed) {
            Some(0)
        } else if name.contains(&typed) {
            Some(1)
        } else {
            None
        }
    };
    let mut fitting: Vec<_> =
        names.into_iter().filter_map(|name| rank(&name).map(|rank| (rank, name))).collect();
    // Those of the same rank stay in the model's order.
    fitting.sort_by_key(|(rank, _)| *rank);
    let total = fitting.len();
    let first = fitting.into_iter().take(CompletionInfo::MAX_VALUES).map(|(_, name)| name);
    (first.collect(), total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_so_comes_before_what_contains_it() {
        let names = ["wrist_roll", "Roll", "pitch", "roll_2"].map(str::to_owned).to_vec();
        let (values, total) = fitting(names, "roll");
        assert_eq!(
            (values, total),
            (["Roll", "roll_2", "wrist_roll"].map(str::to_owned).to_vec(), 3)
        );
    }

    #[test]
    fn no_more_names_are_sent_than_may_be() {
        let names = (0..250).map(|index| format!("joint_{index}")).collect();
        let (values, total) = fitting(names, "");
        assert_eq!((values.len(), total), (CompletionInfo::MAX_VALUES, 250));
    }
}
