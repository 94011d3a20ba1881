//! What the audit is told of a call.

use std::time::Instant;

use http::request::Parts;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
};
use rmcp::service::RequestContext;

use crate::audit::{Audit, Entry, said};
use crate::auth::Principal;
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
    audit: Audit,
    principal: Principal,
    is_over: bool,
    begun: Instant,
    tool: String,
    session_id: Option<String>,
    origin: Option<Origin>,
    trace_id: Option<String>,
}

impl Trail {
    /// Looks at a call before it is carried out.
    pub(super) fn begin(
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
            is_over: false,
            begun: Instant::now(),
            tool: said(&request.name),
            session_id: session_id.map(said),
            origin: parts.and_then(|parts| parts.extensions.get::<Origin>()).copied(),
            trace_id: trace_id.map(said),
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
            Ok(_) => self.tell("ok", None),
            // It did not reach a tool, or not with arguments that it could read.
            Err(_) => self.tell("rejected", None),
        }
    }

    fn tell(&mut self, outcome: &str, result_bytes: Option<u64>) {
        self.audit.note(Entry {
            tenant: Some(self.principal.tenant.to_string()),
            caller: Some(self.principal.name.to_string()),
            remote: self.origin.and_then(|origin| origin.remote),
            tool: Some(std::mem::take(&mut self.tool)),
            session_id: self.session_id.take(),
            millis: self.begun.elapsed().as_secs_f64() * 1000.0,
            request_bytes: self.origin.map(|origin| origin.bytes),
            result_bytes,
            trace_id: self.trace_id.take(),
            ..Entry::now("call", outcome)
        });
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
        _ => "ok",
    }
}

fn length(block: &ContentBlock) -> u64 {
    let text = block.as_text().map_or(0, |text| text.text.len());
    let image = block.as_image().map_or(0, |image| image.data.len());
    (text + image) as u64
}
