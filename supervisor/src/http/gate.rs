//! What every request passes: who it is from, whether there is room for it, and for how long it
//! counts as in flight.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode, header};
use http_body::{Frame, SizeHint};
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::body::Budget;
use super::connections::Remote;
use super::door::{Door, Peek};
use super::legacy::{LegacySessions, SESSION_HEADER};
use super::quota::{Quotas, Share};
use crate::mcp;

/// The first version of the newer protocol. Versions are dates, so they compare as text.
const MODERN_SINCE: &str = "2026-07-28";

/// The header that names the version.
const VERSION_HEADER: &str = "mcp-protocol-version";

/// Counts what is in flight.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    in_flight: Arc<AtomicUsize>,
    legacy: Arc<LegacySessions>,
    stop: CancellationToken,
    budget: Budget,
    door: Door,
    quotas: Quotas,
}

impl Gate {
    pub(super) fn new(
        legacy: Arc<LegacySessions>,
        stop: CancellationToken,
        budget: Budget,
        door: Door,
        quotas: Quotas,
    ) -> Self {
        Self { in_flight: Arc::default(), legacy, stop, budget, door, quotas }
    }

    /// Calls that are being answered. Streams that only wait for news are none.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

/// Lets a request through, or turns it away.
pub(super) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    if gate.stop.is_cancelled() {
        return turned_away("the daemon is stopping");
    }
    let remote = request.extensions().get::<Remote>().map(|remote| remote.0);
    let principal = match gate.door.caller(request.headers()) {
        Ok(principal) => principal,
        Err(denied) => {
            gate.door.note(&denied, None, &Peek::default(), remote);
            return *denied;
        }
    };
    let session_id = session_of(request.headers());
    // Somebody else's conversation does not exist.
    if let Some(id) = &session_id
        && !gate.legacy.is_of(id, &principal.tenant)
    {
        return (StatusCode::NOT_FOUND, "there is no such session\n").into_response();
    }
    let may_open =
        session_id.is_none() && request.method() == Method::POST && !is_modern(request.headers());
    let counts = request.method() == Method::POST;
    let mut passage = Passage::enter(&gate, session_id, counts);
    let ends = request.method() == Method::DELETE;
    let (head, body) = request.into_parts();
    let (bytes, _memory) = match gate.budget.take(&head.headers, body).await {
        Ok(taken) => taken,
        Err((status, why)) => return (status, format!("{why}\n")).into_response(),
    };
    let peek = Peek::at(&bytes);
    if let Some(lacking) = peek.lacking(&principal) {
        let denied = gate.door.forbids(lacking);
        gate.door.note(&denied, Some(&principal), &peek, remote);
        return denied;
    }
    if peek.calls_a_tool() {
        match gate.quotas.take(&principal.tenant) {
            Ok(share) => passage.share = Some(share),
            Err(too_much) => {
                let denied = too_much.into_response();
                gate.door.note(&denied, Some(&principal), &peek, remote);
                return denied;
            }
        }
    }
    // Nobody's conversation ends for something that does not open another one.
    if may_open && peek.opens() && !gate.legacy.make_room().await {
        return turned_away("there are too many sessions of the older protocol");
    }
    let (tenant, length) = (principal.tenant.clone(), bytes.len() as u64);
    let mut request = Request::from_parts(head, Body::from(bytes));
    request.extensions_mut().insert(principal);
    request.extensions_mut().insert(mcp::Origin { remote, bytes: length });
    let mut response = next.run(request).await;
    if may_open && let Some(id) = session_of(response.headers()) {
        gate.legacy.belongs_to(&id, tenant);
    }
    // rmcp accepts the end of a conversation; clients expect to hear that it is done, which it is.
    if ends && response.status() == StatusCode::ACCEPTED {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    // In flight until the last byte of the answer is out.
    response.map(|body| Body::new(InFlight { body, _passage: passage }))
}

/// An answer's body, which keeps its request in flight. Its length stays known, so that short
/// answers go out in one piece.
struct InFlight {
    body: Body,
    _passage: Passage,
}

impl http_body::Body for InFlight {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn turned_away(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "2")], format!("{why}\n"))
        .into_response()
}

fn session_of(headers: &HeaderMap) -> Option<Arc<str>> {
    headers.get(SESSION_HEADER)?.to_str().ok().map(Arc::from)
}

fn is_modern(headers: &HeaderMap) -> bool {
    let version = headers.get(VERSION_HEADER).and_then(|version| version.to_str().ok());
    version.is_some_and(|version| MODERN_SINCE <= version)
}

/// A request in flight.
struct Passage {
    gate: Gate,
    session_id: Option<Arc<str>>,
    counts: bool,
    /// Of what its tenant may take, where it takes any.
    share: Option<Share>,
}

impl Passage {
    fn enter(gate: &Gate, session_id: Option<Arc<str>>, counts: bool) -> Self {
        if counts {
            gate.in_flight.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(id) = &session_id {
            gate.legacy.used(id, 1);
        }
        Self { gate: gate.clone(), session_id, counts, share: None }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if self.counts {
            self.gate.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(id) = &self.session_id {
            self.gate.legacy.used(id, -1);
        }
    }
}

/// Hands a request to the generation of the protocol that it speaks.
#[derive(Clone)]
pub(super) struct Eras<S> {
    pub(super) modern: StreamableHttpService<S, NeverSessionManager>,
    pub(super) older: StreamableHttpService<S, LegacySessions>,
}

impl<S: ServerHandler> Service<Request> for Eras<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if is_modern(request.headers()) {
            let service = self.modern.clone();
            Box::pin(async move { Ok(service.handle(request).await.map(Body::new)) })
        } else {
            let service = self.older.clone();
            Box::pin(async move { Ok(service.handle(request).await.map(Body::new)) })
        }
    }
}
