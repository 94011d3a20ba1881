//! What the audit and the metrics are told of a call.

use std::time::{Duration, Instant};

use http::request::Parts;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
};
use rmcp::service::RequestContext;

use crate::audit::{Audit, Entry, said};
use crate::auth::Principal;
use crate::metrics::Calls;
use crate::remote::Remote;
use crate::tenants::Tenant;

/// Where a request came from over HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The other end.
    pub remote: Option<Remote>,
    /// How long it was.
    pub bytes: u64,
}

/// The outcomes of calls that go well: done, or a question to the user first.
const OK: &str = "ok";
const ASKED: &str = "input_required";

/// A call that has begun. One that nobody waits for any more is told of as `withdrawn`.
pub(super) struct Trail {
    calls: Calls,
    tenant: Tenant,
    tool: String,
    request_bytes: Option<u64>,
    begun: Instant,
    is_over: bool,
    /// Where there is an audit.
    line: Option<Line>,
}

/// What the audit is told of it beside that.
struct Line {
    audit: Audit,
    entry: Entry,
}

impl Trail {
    /// Looks at a call before it is carried out.
    pub(super) fn begin(
        calls: &Calls,
        audit: &Audit,
        principal: &Principal,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Self {
        calls.begin(&principal.tenant, &request.name);
        Self {
            calls: calls.clone(),
            tenant: principal.tenant.clone(),
            tool: said(&request.name),
            request_bytes: origin(context).map(|origin| origin.bytes),
            begun: Instant::now(),
            is_over: false,
            line: audit.is_on().then(|| Line::begin(audit, principal, request, context)),
        }
    }

    /// Tells of it, now that it is over.
    pub(super) fn end(mut self, answered: &Result<CallToolResponse, ErrorData>) {
        self.is_over = true;
        match answered {
            Ok(CallToolResponse::Complete(result)) => {
                let bytes = result.content.iter().map(length).sum();
                self.tell(outcome(result), Some(bytes));
            }
            Ok(CallToolResponse::InputRequired(_)) => self.tell(ASKED, None),
            Ok(_) => self.tell(OK, None),
            // It did not reach a tool, or not with arguments that it could read.
            Err(_) => self.tell("rejected", None),
        }
    }

    fn tell(&mut self, outcome: &str, result_bytes: Option<u64>) {
        let took = self.begun.elapsed();
        let is_good = [OK, ASKED].contains(&outcome);
        let bytes = (self.request_bytes.unwrap_or(0), result_bytes.unwrap_or(0));
        let error = (!is_good).then_some(outcome);
        self.calls.end((&self.tenant, &self.tool), error, took, bytes);
        let Some(Line { audit, entry }) = self.line.take() else { return };
        audit.note(Entry {
            tool: Some(std::mem::take(&mut self.tool)),
            result_bytes,
            ..entry.over(outcome, took)
        });
    }
}

/// Tells the audit that a resource was read, or could not be, and how long it took.
pub(super) fn note_read(
    audit: &Audit,
    principal: &Principal,
    uri: &str,
    context: &RequestContext<RoleServer>,
    (took, is_good): (Duration, bool),
) {
    if !audit.is_on() {
        return;
    }
    let entry = sent("read", principal, context);
    let resource = Some(said(uri));
    let outcome = if is_good { OK } else { "rejected" };
    audit.note(Entry { resource, ..entry.over(outcome, took) });
}

impl Line {
    fn begin(
        audit: &Audit,
        principal: &Principal,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Self {
        let arguments = request.arguments.as_ref();
        let session_id = arguments.and_then(|arguments| arguments.get("session_id")?.as_str());
        let session_id = session_id.map(said);
        let entry = Entry { session_id, ..sent("call", principal, context) };
        Self { audit: audit.clone(), entry }
    }
}

fn origin(context: &RequestContext<RoleServer>) -> Option<Origin> {
    context.extensions.get::<Parts>()?.extensions.get().copied()
}

/// What can be told of a request before it is carried out: who sends it, and from where.
fn sent(event: &'static str, principal: &Principal, context: &RequestContext<RoleServer>) -> Entry {
    let origin = origin(context);
    // W3C trace context: version, trace, parent, flags.
    let parent = context.meta.get("traceparent").and_then(|parent| parent.as_str());
    let trace_id = parent.and_then(|parent| parent.split('-').nth(1));
    Entry {
        tenant: Some(principal.tenant.to_string()),
        caller: Some(principal.name.to_string()),
        remote: origin.and_then(|origin| origin.remote),
        request_bytes: origin.map(|origin| origin.bytes),
        trace_id: trace_id.map(said),
        ..Entry::now(event, OK)
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if !self.is_over {
            self.tell("withdrawn", None);
        }
    }
}

fn outcome(result: &CallToolResult) -> &str {
    let code = result.structured_content.as_ref().and_then(|content| content["code"].as_str());
    match (result.is_error, code) {
        (Some(true), code) => code.unwrap_or("error"),
        _ => OK,
    }
}

fn length(block: &ContentBlock) -> u64 {
    let text = block.as_text().map_or(0, |text| text.text.len());
    let image = block.as_image().map_or(0, |image| image.data.len());
    (text + image) as u64
}
