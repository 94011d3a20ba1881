//! The tasks extension: a run, in the words of clients that know of tasks.
//!
//! A client that declares the extension gets a task where others get a `run_id`; both are the same
//! thing, under the same handle, and only its owner's.

use std::time::{Duration, SystemTime};

use rmcp::ErrorData;
use rmcp::model::{
    CallToolResult, CreateTaskResult, DetailedTask, GetTaskResult, JsonObject, Task, TaskPayload,
    TaskStatus,
};
use serde_json::Value;

use super::McpServer;
use crate::runs::{End, Run};
use crate::tenants::Tenant;

/// How often a client should ask.
const POLL_MILLIS: u64 = 500;

impl McpServer {
    /// The task that a tool's answer stands for, if it is nothing but a run.
    pub(super) fn as_task(
        &self,
        tenant: &Tenant,
        answer: &CallToolResult,
    ) -> Option<CreateTaskResult> {
        let fields = answer.structured_content.as_ref()?.as_object()?;
        let id = fields.get("run_id").filter(|_| fields.len() == 1)?.as_str()?;
        let run = self.runs().get(tenant, id).ok()?;
        Some(CreateTaskResult::new(self.describe_task(&run)))
    }

    /// How a task stands.
    pub(super) fn task(&self, tenant: &Tenant, id: &str) -> Result<GetTaskResult, ErrorData> {
        let run = self.task_run(tenant, id)?;
        let payload = match run.outcome() {
            None => TaskPayload::Working,
            Some(outcome) if outcome.end == End::Cancelled => TaskPayload::Cancelled,
            // A refusal is a result: tasks fail only where JSON-RPC does.
            Some(outcome) => TaskPayload::Completed { result: result_of(&outcome.answer) },
        };
        Ok(GetTaskResult::new(DetailedTask::new(self.describe_task(&run), payload)))
    }

    /// The run behind a task.
    pub(super) fn task_run(&self, tenant: &Tenant, id: &str) -> Result<Run, ErrorData> {
        self.runs()
            .get(tenant, id)
            .map_err(|error| ErrorData::invalid_params(error.to_string(), None))
    }

    fn describe_task(&self, run: &Run) -> Task {
        let (done, total) = *run.progress().borrow();
        let updated = run.begun() + run.elapsed();
        let mut task = Task::new(run.id(), TaskStatus::Working, date(run.begun()), date(updated))
            .with_ttl_ms(millis(run.elapsed() + self.runs().keep()))
            .with_poll_interval_ms(POLL_MILLIS);
        if total != 0 {
            task = task.with_status_message(format!("{done} of {total}"));
        }
        task
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What `tools/call` would have answered.
fn result_of(answer: &Result<Value, Value>) -> JsonObject {
    let result = match answer.clone() {
        Ok(result) => CallToolResult::structured(result),
        Err(refusal) => CallToolResult::structured_error(refusal),
    };
    match serde_json::to_value(result) {
        Ok(Value::Object(result)) => result,
        _ => JsonObject::new(),
    }
}

/// A date in the form of ISO 8601, in UTC.
fn date(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_too_late| String::new(), |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let of = |secs: u64| date(UNIX_EPOCH + Duration::from_secs(secs));
        assert_eq!(of(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(of(951_827_696), "2000-02-29T12:34:56.000Z");
        assert_eq!(of(1_798_761_599), "2026-12-31T23:59:59.000Z");
    }
}
