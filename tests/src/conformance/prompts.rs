//! Prompts: plain ones, one with a resource, one with a picture, and one that asks first.

use rmcp::model::{
    ContentBlock, GetPromptRequestParams, GetPromptResponse, GetPromptResult, Prompt,
    PromptArgument, PromptMessage, Reference, RequestStateCodec, ResourceContents, Role,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::json;

use super::content;
use super::rounds::{Brought, Next, Rounds, State, elicit};

/// Their names, and those of their arguments.
const PROMPTS: [(&str, &[&str]); 5] = [
    ("test_simple_prompt", &[]),
    ("test_prompt_with_arguments", &["arg1", "arg2"]),
    ("test_prompt_with_embedded_resource", &["resourceUri"]),
    ("test_prompt_with_image", &[]),
    (ASKS_FIRST, &[]),
];

const ASKS_FIRST: &str = "test_input_required_result_prompt";

pub(super) fn list() -> Vec<Prompt> {
    let prompt = |(name, arguments): &(&str, &[&str])| {
        let arguments = arguments.iter().map(|name| {
            PromptArgument::new(*name).with_description("Goes into the text").with_required(true)
        });
        Prompt::new(*name, Some("A prompt for the conformance suite"), Some(arguments.collect()))
    };
    PROMPTS.iter().map(prompt).collect()
}

/// Whether it is one of these.
pub(super) fn has(reference: &Reference) -> bool {
    matches!(reference, Reference::Prompt(it) if PROMPTS.iter().any(|(name, _)| *name == it.name))
}

/// A prompt, if it is one of these.
pub(super) fn get(
    codec: &RequestStateCodec,
    request: &GetPromptRequestParams,
    context: &RequestContext<RoleServer>,
) -> Option<Result<GetPromptResponse, ErrorData>> {
    let argument = |name: &str| {
        let value = request.arguments.as_ref().and_then(|arguments| arguments.get(name));
        value.and_then(|value| value.as_str()).unwrap_or_default().to_owned()
    };
    let messages = match request.name.as_str() {
        "test_simple_prompt" => vec![text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => vec![text(&format!(
            "Prompt with arguments: arg1='{}', arg2='{}'",
            argument("arg1"),
            argument("arg2")
        ))],
        "test_prompt_with_embedded_resource" => {
            let embedded = "Embedded resource content for testing.";
            let resource = ResourceContents::text(embedded, argument("resourceUri"));
            let resource = ContentBlock::resource(resource.with_mime_type("text/plain"));
            let message = PromptMessage::new(Role::User, resource);
            vec![message, text("Please process the embedded resource above.")]
        }
        "test_prompt_with_image" => {
            let message = PromptMessage::new(Role::User, content::image());
            vec![message, text("Please analyze the image above.")]
        }
        ASKS_FIRST => return Some(ask_first(codec, request, context)),
        _ => return None,
    };
    Some(Ok(GetPromptResult::new(messages).into()))
}

fn ask_first(
    codec: &RequestStateCodec,
    request: &GetPromptRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<GetPromptResponse, ErrorData> {
    let question = elicit("What context should the prompt use?", "context", "string");
    let asked = vec![json!({ "user_context": question })];
    let rounds = Rounds { name: ASKS_FIRST, asked, state: State::None };
    let brought = Brought {
        responses: request.input_responses.as_ref(),
        state: request.request_state.as_deref(),
    };
    Ok(match rounds.next(codec, &brought, context)? {
        Next::Ask(asked) => asked.into(),
        Next::Done(answers) => {
            GetPromptResult::new(vec![text(&format!("Use this: {}", json!(answers)))]).into()
        }
    })
}

fn text(text: &str) -> PromptMessage {
    PromptMessage::new_text(Role::User, text)
}
