//! Tools that ask the client something while they run, as servers do in the older protocol.

use futures::FutureExt as _;
use rmcp::ErrorData;
use rmcp::handler::server::router::tool::ToolRoute;
use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock, ServerRequest};
use serde_json::{Value, json};

use super::running::gone;
use super::{Call, Fixtures, route, said, taking, text_argument, tool, tool_of};

pub(super) fn routes() -> Vec<ToolRoute<Fixtures>> {
    vec![
        route(
            tool_of("test_sampling", "Asks the client's model", taking("prompt", "string")),
            |call| sample(call).boxed(),
        ),
        route(tool_of("test_elicitation", "Asks the user", taking("message", "string")), |call| {
            let message = text_argument(&call, "message");
            elicit(call, message, who()).boxed()
        }),
        route(tool("test_elicitation_sep1034_defaults", "Asks with defaults"), |call| {
            elicit(call, "Is this right?".to_owned(), defaults()).boxed()
        }),
        route(tool("test_elicitation_sep1330_enums", "Asks for choices"), |call| {
            elicit(call, "Which of these?".to_owned(), choices()).boxed()
        }),
    ]
}

async fn sample(call: Call<'_>) -> Result<CallToolResponse, ErrorData> {
    let text = text_argument(&call, "prompt");
    let message = json!({ "role": "user", "content": { "type": "text", "text": text } });
    let params = json!({ "messages": [message], "maxTokens": 100 });
    Ok(match ask(&call, "sampling/createMessage", params).await? {
        Ok(answer) => {
            said(format!("LLM response: {}", answer["content"]["text"].as_str().unwrap_or("none")))
        }
        Err(refusal) => refusal,
    })
}

async fn elicit(
    call: Call<'_>,
    message: String,
    schema: Value,
) -> Result<CallToolResponse, ErrorData> {
    let params = json!({ "mode": "form", "message": message, "requestedSchema": schema });
    Ok(match ask(&call, "elicitation/create", params).await? {
        Ok(answer) => said(format!(
            "User response: action={}, content={}",
            answer["action"].as_str().unwrap_or("none"),
            answer["content"]
        )),
        Err(refusal) => refusal,
    })
}

/// Asks the client, and returns its answer; or what to tell a client that cannot be asked.
async fn ask(
    call: &Call<'_>,
    method: &str,
    params: Value,
) -> Result<Result<Value, CallToolResponse>, ErrorData> {
    let context = call.request_context();
    let capability = method.split('/').next().unwrap();
    let capabilities = json!(context.client_capabilities());
    if capabilities.get(capability).is_none() {
        let text = format!("this tool is for clients with {capability}");
        return Ok(Err(CallToolResult::error(vec![ContentBlock::text(text)]).into()));
    }
    let request = json!({ "method": method, "params": params });
    let request: ServerRequest = serde_json::from_value(request).unwrap();
    let answer = context.peer.send_request(request).await.map_err(gone)?;
    Ok(Ok(json!(answer)))
}

fn who() -> Value {
    json!({
        "type": "object",
        "properties": {
            "username": { "type": "string", "description": "User's response" },
            "email": { "type": "string", "description": "User's email address" },
        },
        "required": ["username", "email"],
    })
}

/// A default for every primitive type.
fn defaults() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "default": "John Doe" },
            "age": { "type": "integer", "default": 30 },
            "score": { "type": "number", "default": 95.5 },
            "status": {
                "type": "string",
                "enum": ["active", "inactive", "pending"],
                "default": "active",
            },
            "verified": { "type": "boolean", "default": true },
        },
    })
}

/// All forms of a choice.
fn choices() -> Value {
    let titled = |titles: [&str; 3]| -> Vec<Value> {
        let values = ["value1", "value2", "value3"].into_iter().zip(titles);
        values.map(|(value, title)| json!({ "const": value, "title": title })).collect()
    };
    let options = ["option1", "option2", "option3"];
    let one = titled(["First Option", "Second Option", "Third Option"]);
    let many = titled(["First Choice", "Second Choice", "Third Choice"]);
    json!({
        "type": "object",
        "properties": {
            "untitledSingle": { "type": "string", "enum": options },
            "titledSingle": { "type": "string", "oneOf": one },
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": { "type": "array", "items": { "type": "string", "enum": options } },
            "titledMulti": { "type": "array", "items": { "anyOf": many } },
        },
    })
}
