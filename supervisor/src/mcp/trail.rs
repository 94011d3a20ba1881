//! What the audit, the metrics and the spans are told of a call.

use std::time::Instant;

use http::request::Parts;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    NumberOrString,
};
use rmcp::service::RequestContext;

use crate::audit::{Audit, Entry, said};
use crate::auth::Principal;
use crate::metrics::Calls;
use crate::remote::Remote;
use crate::spans::{Call, RequestId, Span, Spans, Trace, TraceId, Transport, phases};

/// Where a request came from over HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The other end.
    pub remote: Option<Remote>,
    /// How long it was.
    pub bytes: u64,
    /// When all of it was there.
    pub at: Instant,
}

/// The outcomes of calls that go well: done, or a question to the user first.
const OK: &str = "ok";
const ASKED: &str = "input_required";

/// Who is told of calls. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Listeners {
    pub(super) calls: Calls,
    pub(super) audit: Audit,
    pub(super) spans: Spans,
}

/// A call that has begun. One that nobody waits for any more is told of as `withdrawn`.
pub(super) struct Trail {
    listeners: Listeners,
    trace_id: TraceId,
    begun: Instant,
    /// What is told of it, once it is over.
    call: Option<Call>,
}

impl Trail {
    /// Looks at a call before it is carried out.
    pub(super) fn begin(
        listeners: &Listeners,
        principal: &Principal,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Self {
        let origin = origin(context);
        let arguments = request.arguments.as_ref();
        let session_id = arguments.and_then(|arguments| arguments.get("session_id")?.as_str());
        let call = Call {
            trace: trace(context),
            tool: said(&request.name),
            tenant: principal.tenant.clone(),
            caller: principal.name.clone(),
            request_id: match &context.id {
                NumberOrString::Number(number) => RequestId::Number(*number),
                NumberOrString::String(text) => RequestId::Text(said(text)),
            },
            protocol: context.protocol_version().map(|version| said(version.as_str())),
            transport: origin.map_or(Transport::Pipe, |_| Transport::Http),
            remote: origin.and_then(|origin| origin.remote),
            session_id: session_id.map(said),
            request_bytes: origin.map(|origin| origin.bytes),
        };
        listeners.calls.begin(&call.tenant, &call.tool);
        let begun = origin.map_or_else(Instant::now, |origin| origin.at);
        let (listeners, trace_id) = (listeners.clone(), call.trace.id);
        Self { listeners, trace_id, begun, call: Some(call) }
    }

    /// When it began, and the trace that it is part of.
    pub(super) fn begun(&self) -> (Instant, TraceId) {
        (self.begun, self.trace_id)
    }

    /// Tells of it, now that it is over.
    pub(super) fn end(mut self, answered: &Result<CallToolResponse, ErrorData>) {
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

    /// The first time.
    fn tell(&mut self, outcome: &str, result_bytes: Option<u64>) {
        let Some(mut call) = self.call.take() else { return };
        let now = Instant::now();
        let took = now.saturating_duration_since(self.begun);
        let is_error = ![OK, ASKED].contains(&outcome);
        let Listeners { calls, audit, spans } = &self.listeners;
        let bytes = (call.request_bytes.unwrap_or(0), result_bytes.unwrap_or(0));
        calls.end((&call.tenant, &call.tool), is_error.then_some(outcome), took, bytes);
        if audit.is_on() {
            let (tool, session_id) = (Some(call.tool.clone()), call.session_id.clone());
            let entry = Entry { tool, session_id, result_bytes, ..entry(&call) };
            audit.note(entry.over(outcome, took));
        }
        if spans.wants(took) {
            let (phases, session_id) = phases::so_far(now);
            // A default session is not named.
            let session_id = session_id.map(|id| id.to_string());
            call.session_id = session_id.or(call.session_id);
            let span = Span::ends_now(call, took, phases, outcome.to_owned());
            spans.note(Span { is_error, result_bytes, ..span });
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.tell("withdrawn", None);
    }
}

/// What the audit has of a call before it is carried out.
fn entry(call: &Call) -> Entry {
    Entry {
        tenant: Some(call.tenant.to_string()),
        caller: Some(call.caller.to_string()),
        remote: call.remote,
        request_bytes: call.request_bytes,
        trace_id: Some(call.trace.id),
        ..Entry::now("call", OK)
    }
}

/// Tells the audit that a resource was read, or could not be, since `begun`.
pub(super) fn note_read(
    audit: &Audit,
    principal: &Principal,
    uri: &str,
    context: &RequestContext<RoleServer>,
    (begun, is_good): (Instant, bool),
) {
    if !audit.is_on() {
        return;
    }
    let origin = origin(context);
    let entry = Entry {
        tenant: Some(principal.tenant.to_string()),
        caller: Some(principal.name.to_string()),
        remote: origin.and_then(|origin| origin.remote),
        request_bytes: origin.map(|origin| origin.bytes),
        trace_id: Some(trace(context).id),
        resource: Some(said(uri)),
        ..Entry::now("read", OK)
    };
    audit.note(entry.over(if is_good { OK } else { "rejected" }, begun.elapsed()));
}

fn origin(context: &RequestContext<RoleServer>) -> Option<Origin> {
    context.extensions.get::<Parts>().and_then(|parts| parts.extensions.get::<Origin>()).copied()
}

/// The place in the client's trace, if it names one, or in a trace of its own.
fn trace(context: &RequestContext<RoleServer>) -> Trace {
    Trace::below(context.meta.get("traceparent").and_then(|parent| parent.as_str()))
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
