//! Asks the user before sessions are ended that others own, where the client can ask
//! (multi round-trip requests with elicitation, in the newer protocol).
//!
//! What the client brings back is bound to who asked, to the arguments, and to what would be ended:
//! an answer to one question is none to another.

use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, InputRequests, InputRequiredResult, RequestStateCodec,
    SealOptions,
};
use rmcp::service::RequestContext;
use serde_json::{Value, json};

use super::McpServer;
use super::refusal::Refusal;
use super::tools::pool::{TERMINATE, TargetArgs};
use crate::auth::Principal;
use crate::terminate::{Terminated, would_terminate};

/// How long a question waits for its answer.
const ANSWER_WITHIN: Duration = Duration::from_mins(5);

/// The name of the question, and of its one field.
const QUESTION: &str = "confirm";

/// How many sessions a question names; of the others it tells how many there are.
const NAMED_MAX: usize = 5;

/// Makes questions that cannot be answered beforehand. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Questions(Option<RequestStateCodec>);

impl Questions {
    /// With a key of this process's own.
    pub(super) fn new() -> Self {
        let mut key = [0; RequestStateCodec::MIN_KEY_LENGTH];
        let key = getrandom::fill(&mut key).is_ok().then_some(key);
        Self(key.and_then(|key| RequestStateCodec::try_new(key).ok()))
    }
}

impl McpServer {
    /// What the caller gets instead of what it asked for: a question, or that the answer was no.
    /// Nothing if the tool may go on.
    pub(super) fn ask_first(
        &self,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
        principal: &Principal,
    ) -> Option<CallToolResponse> {
        if request.name != TERMINATE || !can_ask(context) {
            return None;
        }
        let arguments = Value::Object(request.arguments.clone().unwrap_or_default());
        let args: TargetArgs = serde_json::from_value(arguments.clone()).ok()?;
        // What is refused anyway, or does nothing, needs no word of anybody.
        let target = if args.dry_run { None } else { args.target().ok() }?;
        let effect = would_terminate(self.sessions(), &target).ok()?;
        let codec = self.inner.questions.0.as_ref()?;
        let about = json!([principal.tenant.to_string(), &*principal.name, arguments, effect]);
        let about = about.to_string();
        let is_ours = |state: &str| codec.open_with(state, about.as_bytes()).is_ok();
        let answer = request.input_responses.as_ref().and_then(|all| all.get(QUESTION));
        match answer {
            Some(answer) if request.request_state.as_deref().is_some_and(is_ours) => {
                (!is_yes(answer)).then(|| Refusal::declined().into_response())
            }
            _ => {
                let options = SealOptions::new().associated_data(about.as_bytes());
                let state = codec.seal_with(b"asked", &options.ttl(ANSWER_WITHIN));
                let asked = question(&effect)?;
                Some(InputRequiredResult::new(Some(asked), Some(state)).into())
            }
        }
    }
}

/// Whether the client of this request can put a form to its user.
fn can_ask(context: &RequestContext<RoleServer>) -> bool {
    let elicitation = context.client_capabilities().and_then(|known| known.elicitation);
    super::is_modern(context)
        && elicitation.is_some_and(|kinds| kinds.form.is_some() || kinds.url.is_none())
}

fn is_yes(answer: &Value) -> bool {
    answer["action"] == "accept" && answer["content"][QUESTION] == true
}

fn question(effect: &Terminated) -> Option<InputRequests> {
    let sessions = &effect.sessions_closed;
    let named = sessions.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    let more = match sessions.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let process = match effect.pid {
        Some(pid) => format!("End process {pid} and close"),
        None => "Close".to_owned(),
    };
    let message = format!("{process} {named}{more}? What they hold is gone for good.");
    let asked = json!({ QUESTION: {
        "method": "elicitation/create",
        "params": {
            "mode": "form",
            "message": message,
            "requestedSchema": {
                "type": "object",
                "properties": { QUESTION: { "type": "boolean", "title": "End it" } },
                "required": [QUESTION],
            },
        },
    } });
    serde_json::from_value(asked).ok()
}
