//! Tools whose calls are tasks: what the suite wants to see of the extension of that name. Ours are
//! runs, which the suite does not know; here it is seen how the endpoint carries tasks.

use std::fmt;
use std::time::Duration;

use futures::FutureExt as _;
use rmcp::ErrorData;
use rmcp::handler::server::router::tool::ToolRoute;
use rmcp::model::{
    CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, CreateTaskResult,
    InputRequest,
};
use rmcp::task_manager::{TaskContext, TaskExit, TaskFuture, TaskManager, TaskOptions};
use serde_json::{Value, json};

use super::rounds::{Brought, Next, Rounds, State, elicit};
use super::{Call, Fixtures, route, taking, text_argument, tool, tool_of};

/// How often a client should ask.
const POLL_MILLIS: u64 = 100;

/// What goes on.
#[derive(Default)]
pub(super) struct Tasks(pub(super) TaskManager);

impl fmt::Debug for Tasks {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Tasks").finish_non_exhaustive()
    }
}

pub(super) fn routes() -> Vec<ToolRoute<Fixtures>> {
    vec![
        route(tool_of("greet", "Greets, and is no task", taking("name", "string")), |call| {
            let text = format!("Hello, {}!", text_argument(&call, "name"));
            std::future::ready(Ok(done(text).into())).boxed()
        }),
        route(slow_tool(), |call| compute_slowly(call).boxed()),
        route(tool("failing_job", "Refuses, after a while"), |call| {
            let answer = CallToolResult::error(vec![ContentBlock::text("It did not work.")]);
            std::future::ready(as_task(&call, |_| async { Ok(answer) }.boxed())).boxed()
        }),
        route(tool("protocol_error_job", "Fails, after a while"), |call| {
            let error = TaskExit::Error(ErrorData::internal_error("it fell over", None));
            std::future::ready(as_task(&call, |_| async { Err(error) }.boxed())).boxed()
        }),
        route(
            tool_of("confirm_delete", "Asks before it goes on", taking("filename", "string")),
            |call| std::future::ready(as_task(&call, |task| ask_one(task).boxed())).boxed(),
        ),
        route(tool("multi_input", "Asks for two things at once"), |call| {
            std::future::ready(as_task(&call, |task| ask_two(task).boxed())).boxed()
        }),
        route(tool(ASKS_FIRST, "Asks first, and is a task then"), |call| {
            std::future::ready(ask_first(&call)).boxed()
        }),
    ]
}

const ASKS_FIRST: &str = "test_tool_with_task";

/// Answers with a task, which only a client can be told of that knows tasks.
fn as_task(
    call: &Call<'_>,
    work: impl FnOnce(TaskContext) -> TaskFuture,
) -> Result<CallToolResponse, ErrorData> {
    if !knows_tasks(call) {
        let lacking = ClientCapabilities::builder().enable_tasks().build();
        return Err(ErrorData::missing_required_client_capability(lacking));
    }
    let options = TaskOptions::new().with_poll_interval_ms(POLL_MILLIS);
    Ok(CreateTaskResult::new(call.service.own.tasks.0.spawn(options, work)).into())
}

fn knows_tasks(call: &Call<'_>) -> bool {
    let known = call.request_context().client_capabilities();
    known.is_some_and(|known| known.supports_tasks())
}

fn slow_tool() -> rmcp::model::Tool {
    let schema = json!({
        "type": "object",
        "properties": { "seconds": { "type": "number" }, "label": { "type": "string" } },
        "required": ["seconds"],
        "additionalProperties": false,
    });
    tool_of("slow_compute", "Takes as long as it is told", schema)
}

async fn compute_slowly(call: Call<'_>) -> Result<CallToolResponse, ErrorData> {
    let seconds = call.arguments.as_ref().and_then(|arguments| arguments.get("seconds"));
    let time = Duration::from_secs_f64(seconds.and_then(Value::as_f64).unwrap_or_default());
    if !knows_tasks(&call) {
        tokio::time::sleep(time).await;
        return Ok(done("It is done.").into());
    }
    as_task(&call, |task| {
        let work = async move {
            tokio::select! {
                () = tokio::time::sleep(time) => Ok(done("It is done.")),
                () = task.cancelled() => Err(TaskExit::Cancelled),
            }
        };
        work.boxed()
    })
}

async fn ask_one(task: TaskContext) -> Result<CallToolResult, TaskExit> {
    let answer = task.request_input("confirm", question("confirm", "boolean")).await?;
    Ok(done(answer.to_string()))
}

async fn ask_two(task: TaskContext) -> Result<CallToolResult, TaskExit> {
    let name = task.request_input("name", question("name", "string"));
    let confirm = task.request_input("confirm", question("confirm", "boolean"));
    let (name, confirm) = tokio::try_join!(name, confirm)?;
    Ok(done(format!("{name} {confirm}")))
}

fn ask_first(call: &Call<'_>) -> Result<CallToolResponse, ErrorData> {
    let asked = vec![json!({ "user_name": elicit("What is your name?", "name", "string") })];
    let rounds = Rounds { name: ASKS_FIRST, asked, state: State::None };
    let responses = call.input_responses.as_ref();
    let brought = Brought { responses, state: call.request_state.as_deref() };
    match rounds.next(&call.service.own.codec, &brought, call.request_context())? {
        Next::Ask(asked) => Ok(asked.into()),
        Next::Done(answers) => {
            let text = format!("Hello: {}", json!(answers));
            as_task(call, |_| async { Ok(done(text)) }.boxed())
        }
    }
}

fn question(property: &str, kind: &str) -> InputRequest {
    serde_json::from_value(elicit("May it go on?", property, kind)).unwrap()
}

fn done(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}
