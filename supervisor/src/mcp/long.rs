//! Calls that may become runs: the client gets a handle at once, and asks for the result later.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};
use simward_protocol::call::Call;

use super::McpServer;
use super::caller::Caller;
use super::refusal::Refusal;
use crate::runs::{About, Job};
use crate::worker::Options;

/// A result, or the run that will have it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum OrRun<T> {
    /// The result.
    Now(T),
    /// It comes later.
    Later {
        /// The run, for `get_run`.
        run_id: String,
    },
}

impl<T: JsonSchema> JsonSchema for OrRun<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator);
        // Either of the two is there.
        schema.remove("required");
        if let Some(Value::Object(fields)) = schema.get_mut("properties") {
            let text = "The run, if `as_run` was asked for; then nothing else is there.";
            fields.insert("run_id".to_owned(), json!({ "type": "string", "description": text }));
        }
        schema
    }
}

impl McpServer {
    /// Asks the worker of the session that a call means: now or, if `as_run`, in a run.
    pub(super) async fn ask_or_run<C>(
        &self,
        caller: &Caller,
        tool: &'static str,
        session_id: Option<&str>,
        call: C,
        as_run: bool,
    ) -> Result<OrRun<C::Reply>, Refusal>
    where
        C: Call + Send + 'static,
        C::Reply: Serialize + Send + 'static,
    {
        if !as_run {
            return Ok(OrRun::Now(self.ask(caller, session_id, call).await?));
        }
        let session = self.session(caller, session_id).await?;
        // It outlives the connection that began it.
        session.address();
        let about = About { tool, session_id: Some(session.plan().id.to_string()) };
        // Its worker is given twice what it may compute.
        let within = Some(self.runs().budget() * 2);
        self.run(caller, about, move |job| async move {
            let Job { progress, withdrawn } = job;
            let progress = Some(progress);
            // The call withdraws its own token when it ends, which is not the run's end.
            let withdrawn = withdrawn.child_token();
            let options = Options { within, progress, withdrawn, ..Options::default() };
            Ok(session.call(call, options).await?)
        })
    }

    /// How long a call may compute, in milliseconds.
    pub(super) fn budget_millis(&self, as_run: bool) -> u64 {
        let call = || Duration::from_secs_f64(self.sessions().config().call_budget_secs);
        let budget = if as_run { self.runs().budget() } else { call() };
        u64::try_from(budget.as_millis()).unwrap_or(u64::MAX)
    }

    /// Begins a run.
    pub(super) fn run<T, R, F>(
        &self,
        caller: &Caller,
        about: About,
        work: impl FnOnce(Job) -> F,
    ) -> Result<OrRun<R>, Refusal>
    where
        T: Serialize,
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let run = self.runs().start(&caller.tenant, about, |job| {
            let work = AssertUnwindSafe(work(job)).catch_unwind();
            async {
                let done = work.await.unwrap_or_else(|_panic| {
                    tracing::error!("a run panicked");
                    Err(Refusal::internal())
                });
                let done = done.and_then(|result| {
                    serde_json::to_value(result).map_err(|_not_json| Refusal::internal())
                });
                done.map_err(Refusal::into_value)
            }
        })?;
        Ok(OrRun::Later { run_id: run.id().to_owned() })
    }
}
