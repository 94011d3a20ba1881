//! Tools and a prompt that need something of the client first, as servers do in the newer
//! protocol: they answer with what they want to know, and are called again with it.

use futures::FutureExt as _;
use rmcp::handler::server::router::tool::ToolRoute;
use rmcp::model::{
    ClientCapabilities, InputRequests, InputRequiredResult, InputResponses, RequestStateCodec,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Map, Value, json};

use super::{Fixtures, route, said, tool};

/// Something that is done in rounds.
#[derive(Debug)]
pub(super) struct Rounds {
    pub(super) name: &'static str,
    /// What is asked in each of them: requests by their names.
    pub(super) asked: Vec<Value>,
    pub(super) state: State,
}

/// Whether the client keeps a state from one round to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    None,
    Sealed,
}

/// What comes next.
pub(super) enum Next {
    Ask(InputRequiredResult),
    /// Everything was answered; these are the last answers.
    Done(InputResponses),
}

/// What a client has brought along.
#[derive(Debug)]
pub(super) struct Brought<'a> {
    pub(super) responses: Option<&'a InputResponses>,
    pub(super) state: Option<&'a str>,
}

pub(super) fn routes() -> Vec<ToolRoute<Fixtures>> {
    tools().into_iter().map(of_rounds).collect()
}

fn of_rounds(rounds: Rounds) -> ToolRoute<Fixtures> {
    let tool = tool(rounds.name, "Wants to know something first");
    route(tool, move |call| {
        let responses = call.input_responses.as_ref();
        let brought = Brought { responses, state: call.request_state.as_deref() };
        let next = rounds.next(&call.service.own.codec, &brought, call.request_context());
        let answer = next.map(|next| match next {
            Next::Ask(asked) => asked.into(),
            Next::Done(answers) if rounds.state == State::Sealed => {
                said(format!("state-ok: {}", json!(answers)))
            }
            Next::Done(answers) => said(format!("Hello: {}", json!(answers))),
        });
        std::future::ready(answer).boxed()
    })
}

fn tools() -> Vec<Rounds> {
    let name = || elicit("What is your name?", "name", "string");
    let confirm = || elicit("Please confirm", "ok", "boolean");
    let roots = || json!({ "method": "roots/list" });
    let plain = |name, asked| Rounds { name, asked: vec![asked], state: State::None };
    let sealed = |name, asked| Rounds { name, asked, state: State::Sealed };
    vec![
        plain("test_input_required_result_elicitation", json!({ "user_name": name() })),
        plain(
            "test_input_required_result_sampling",
            json!({ "capital_question": sample("What is the capital of France?", 100) }),
        ),
        plain("test_input_required_result_list_roots", json!({ "client_roots": roots() })),
        plain(
            "test_input_required_result_capabilities",
            json!({ "user_name": name(), "greeting": sample("Generate a greeting", 50) }),
        ),
        plain("test_streaming_elicitation", json!({ "user_name": name() })),
        plain("test_missing_capability", json!({ "greeting": sample("Generate a greeting", 50) })),
        sealed("test_input_required_result_request_state", vec![json!({ "confirm": confirm() })]),
        sealed("test_input_required_result_tampered_state", vec![json!({ "confirm": confirm() })]),
        sealed(
            "test_input_required_result_multiple_inputs",
            vec![json!({
                "user_name": name(),
                "greeting": sample("Generate a greeting", 50),
                "client_roots": roots(),
            })],
        ),
        sealed(
            "test_input_required_result_multi_round",
            vec![
                json!({ "step1": elicit("Step 1: What is your name?", "name", "string") }),
                json!({ "step2": elicit("Step 2: What is your favorite color?", "color", "string") }),
            ],
        ),
    ]
}

/// A question to the user for one thing.
pub(super) fn elicit(message: &str, property: &str, kind: &str) -> Value {
    let schema = json!({
        "type": "object",
        "properties": { property: { "type": kind } },
        "required": [property],
    });
    let params = json!({ "mode": "form", "message": message, "requestedSchema": schema });
    json!({ "method": "elicitation/create", "params": params })
}

/// A question to the client's model.
fn sample(text: &str, tokens_max: u32) -> Value {
    let message = json!({ "role": "user", "content": { "type": "text", "text": text } });
    let params = json!({ "messages": [message], "maxTokens": tokens_max });
    json!({ "method": "sampling/createMessage", "params": params })
}

impl Rounds {
    /// What comes next, after what the client has brought along.
    pub(super) fn next(
        &self,
        codec: &RequestStateCodec,
        brought: &Brought<'_>,
        context: &RequestContext<RoleServer>,
    ) -> Result<Next, ErrorData> {
        let round = self.round(codec, brought.state)?;
        let asked = askable(&self.asked[round], context)?;
        let known =
            brought.responses.filter(|_| self.state == State::None || brought.state.is_some());
        let answers: InputResponses = known
            .into_iter()
            .flatten()
            .filter(|(name, answer)| asked.contains_key(*name) && answer.is_object())
            .map(|(name, answer)| (name.clone(), answer.clone()))
            .collect();
        if answers.len() < asked.len() {
            return Ok(Next::Ask(self.ask(codec, round, asked)));
        }
        match self.asked.get(round + 1) {
            None => Ok(Next::Done(answers)),
            Some(next) => Ok(Next::Ask(self.ask(codec, round + 1, askable(next, context)?))),
        }
    }

    /// The round that a state is from, which must be one of ours.
    fn round(&self, codec: &RequestStateCodec, state: Option<&str>) -> Result<usize, ErrorData> {
        let Some(state) = state.filter(|_| self.state == State::Sealed) else { return Ok(0) };
        let opened = codec.open_with(state, self.name.as_bytes());
        let round = opened.ok().and_then(|bytes| bytes.first().map(|round| usize::from(*round)));
        round.filter(|round| *round < self.asked.len()).ok_or_else(|| {
            ErrorData::invalid_params("requestState is not what this server gave out", None)
        })
    }

    fn ask(
        &self,
        codec: &RequestStateCodec,
        round: usize,
        asked: InputRequests,
    ) -> InputRequiredResult {
        let state = (self.state == State::Sealed).then(|| {
            let options = rmcp::model::SealOptions::new().associated_data(self.name.as_bytes());
            codec.seal_with(&[u8::try_from(round).unwrap()], &options)
        });
        InputRequiredResult::new(Some(asked), state)
    }
}

/// What of some questions the client can be asked; an error if that is nothing.
fn askable(
    asked: &Value,
    context: &RequestContext<RoleServer>,
) -> Result<InputRequests, ErrorData> {
    let declared = json!(context.client_capabilities());
    let mut asked = asked.as_object().unwrap().clone();
    let mut lacking = Map::new();
    asked.retain(|_, request| {
        let capability = request["method"].as_str().unwrap().split('/').next().unwrap();
        let can = declared.get(capability).is_some();
        if !can {
            lacking.insert(capability.to_owned(), json!({}));
        }
        can
    });
    if asked.is_empty() {
        let lacking: ClientCapabilities = serde_json::from_value(lacking.into()).unwrap();
        return Err(ErrorData::missing_required_client_capability(lacking));
    }
    Ok(serde_json::from_value(asked.into()).unwrap())
}
