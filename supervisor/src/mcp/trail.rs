//! What the audit is told of a call.

use std::net::SocketAddr;
use std::time::Instant;

use http::request::Parts;
use rmcp::RoleServer;
use rmcp::model::{CallToolRequestParams, CallToolResult, ContentBlock};
use rmcp::service::RequestContext;

use crate::audit::{Entry, said};
use crate::auth::Principal;

/// Where a request came from over HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The other end of its connection.
    pub remote: Option<SocketAddr>,
    /// How long it was.
    pub bytes: u64,
}

/// A call that has begun.
pub(super) struct Trail {
    begun: Instant,
    tool: String,
    session_id: Option<String>,
    origin: Option<Origin>,
    trace_id: Option<String>,
}

impl Trail {
    /// Looks at a call before it is carried out.
    pub(super) fn begin(
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
            begun: Instant::now(),
            tool: said(&request.name),
            session_id: session_id.map(said),
            origin: parts.and_then(|parts| parts.extensions.get::<Origin>()).copied(),
            trace_id: trace_id.map(said),
        }
    }

    /// What is told of it once it is over.
    pub(super) fn end(self, principal: &Principal, result: &CallToolResult) -> Entry {
        let code = result.structured_content.as_ref().and_then(|content| content["code"].as_str());
        let outcome = match (result.is_error, code) {
            (Some(true), code) => code.unwrap_or("error"),
            _ => "ok",
        };
        Entry {
            tenant: Some(principal.tenant.to_string()),
            caller: Some(principal.name.to_string()),
            remote: self.origin.and_then(|origin| origin.remote),
            tool: Some(self.tool),
            session_id: self.session_id,
            millis: self.begun.elapsed().as_secs_f64() * 1000.0,
            request_bytes: self.origin.map(|origin| origin.bytes),
            result_bytes: Some(result.content.iter().map(length).sum()),
            trace_id: self.trace_id,
            ..Entry::now("call", outcome)
        }
    }
}

fn length(block: &ContentBlock) -> u64 {
    let text = block.as_text().map_or(0, |text| text.text.len());
    let image = block.as_image().map_or(0, |image| image.data.len());
    (text + image) as u64
}
