//! How errors look to a client.

use std::time::Duration;

use rmcp::ErrorData;
use rmcp::handler::server::tool::IntoCallToolResult;
use rmcp::model::{CallToolResponse, CallToolResult};
use serde::Serialize;
use serde_json::{Value, json};

use crate::auth::Scope;
use crate::code::{Code, chain};

/// An error as the client sees it: a tool result with `isError`, whose structured content this is.
///
/// Tools spell out `Result<Json<T>, Refusal>`: the `#[tool]` macro looks for `Json` in the text of
/// the signature, and behind a type alias it would publish no output schema.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct Refusal {
    /// What went wrong, in one word that never changes.
    code: &'static str,
    /// What went wrong, in a sentence.
    message: String,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// When it is worth trying again, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// The code of arguments that do not fit the tool.
const INVALID_ARGUMENT: &str = "invalid_argument";

impl Refusal {
    /// A defect of ours.
    pub(super) fn internal() -> Self {
        let message = "the server has a defect; nothing else is affected".to_owned();
        Self { code: "internal_error", message, hint: None, retry_after_ms: None }
    }

    /// The client withdrew the call.
    pub(super) fn cancelled() -> Self {
        let message = "the call was cancelled; nothing was done".to_owned();
        Self { code: "cancelled", message, hint: None, retry_after_ms: None }
    }

    /// The user was asked, and did not agree.
    pub(super) fn declined() -> Self {
        let message = "the user did not agree; nothing was done".to_owned();
        Self { code: "declined", message, hint: None, retry_after_ms: None }
    }

    /// An argument that is not what it must be.
    pub(super) fn argument(message: String) -> Self {
        Self { code: INVALID_ARGUMENT, message, hint: None, retry_after_ms: None }
    }

    /// The caller may not do that.
    pub(super) fn lacking(scope: Scope) -> Self {
        let message = format!("this needs the scope {scope}");
        Self { code: "insufficient_scope", message, hint: None, retry_after_ms: None }
    }

    /// A result that is longer than it may be.
    pub(super) fn too_large(message: String) -> Self {
        Self { code: "limit_exceeded", message, hint: None, retry_after_ms: None }
    }

    /// Whether there is no such session, or it is not the caller's, or it has no such model.
    pub(super) fn is_of_something_missing(&self) -> bool {
        matches!(self.code, "session_unknown" | "model_unknown" | "no_model" | "profile_unknown")
    }

    pub(super) fn into_response(self) -> CallToolResponse {
        tracing::debug!(code = self.code, message = self.message, "refused a call");
        CallToolResult::structured_error(self.into_value()).into()
    }

    pub(super) fn into_value(self) -> Value {
        serde_json::to_value(&self).unwrap_or_else(|_| json!({ "code": self.code }))
    }
}

impl<E: Code> From<E> for Refusal {
    fn from(error: E) -> Self {
        let millis = |after: Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        Self {
            code: error.code(),
            message: chain(&error),
            hint: error.hint(),
            retry_after_ms: error.retry_after().map(millis),
        }
    }
}

impl IntoCallToolResult for Refusal {
    fn into_call_tool_result(self) -> Result<CallToolResponse, ErrorData> {
        Ok(self.into_response())
    }
}

/// Gives an error that came without structure the form of a refusal: the router itself refuses
/// arguments that do not fit.
pub(super) fn complete(result: &mut CallToolResult) {
    if result.is_error != Some(true) || result.structured_content.is_some() {
        return;
    }
    let text = result.content.iter().find_map(|block| block.as_text());
    let message = text.map_or_else(String::new, |text| text.text.clone());
    if let CallToolResponse::Complete(refusal) = Refusal::argument(message).into_response() {
        result.content = refusal.content;
        result.structured_content = refusal.structured_content;
    }
}
