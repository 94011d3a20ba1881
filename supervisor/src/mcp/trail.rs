//! What the audit and the metrics are told of a call.

use std::time::Instant;

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

/// Where a request came from over HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The other end.
    pub remote: Option<Remote>,
    /// How long it was.
    pub bytes: u64,
}

/// A call that has begun. One that nobody waits for any more is told of as `withdrawn`.
pub(super) struct Trail {
    calls: Calls,
    tool: String,
    begun: Instant,
    is_over: bool,
    /// Where there is an audit.
    line: Option<Line>,
}

/// What the audit is told of it beside that.
struct Line {
    audit: Audit,
    principal: Principal,
    session_id: Option<String>,
    origin: Option<Origin>,
    trace_id: Option<String>,
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
        calls.begin();
        Self {
            calls: calls.clone(),
            tool: said(&request.name),
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
                self.tell(error(result), Some(bytes));
            }
            Ok(_) => self.tell(None, None),
            // It did not reach a tool, or not with arguments that it could read.
            Err(_) => self.tell(Some("rejected"), None),
        }
    }

    fn tell(&mut self, error: Option<&str>, result_bytes: Option<u64>) {
        let took = self.begun.elapsed();
        self.calls.end(&self.tool, error, took);
        let Some(line) = self.line.take() else { return };
        line.audit.note(Entry {
            tenant: Some(line.principal.tenant.to_string()),
            caller: Some(line.principal.name.to_string()),
            remote: line.origin.and_then(|origin| origin.remote),
            tool: Some(std::mem::take(&mut self.tool)),
            session_id: line.session_id,
            millis: took.as_secs_f64() * 1000.0,
            request_bytes: line.origin.map(|origin| origin.bytes),
            result_bytes,
            trace_id: line.trace_id,
            ..Entry::now("call", error.unwrap_or("ok"))
        });
    }
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
        let parts = context.extensions.get::<Parts>();
        // W3C trace context: version, trace, parent, flags.
        let parent = context.meta.get("traceparent").and_then(|parent| parent.as_str());
        let trace_id = parent.and_then(|parent| parent.split('-').nth(1));
        Self {
            audit: audit.clone(),
            principal: principal.clone(),
            session_id: session_id.map(said),
            origin: parts.and_then(|parts| parts.extensions.get::<Origin>()).copied(),
            trace_id: trace_id.map(said),
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if !self.is_over {
            self.tell(Some("withdrawn"), None);
        }
    }
}

/// Why a tool did not do what it was asked to.
fn error(result: &CallToolResult) -> Option<&str> {
    let code = result.structured_content.as_ref().and_then(|content| content["code"].as_str());
    (result.is_error == Some(true)).then(|| code.unwrap_or("error"))
}

fn length(block: &ContentBlock) -> u64 {
    let text = block.as_text().map_or(0, |text| text.text.len());
    let image = block.as_image().map_or(0, |image| image.data.len());
    (text + image) as u64
}
