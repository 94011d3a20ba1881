//! What every message passes: whose conversation it belongs to, what its sender may do, and whether
//! there is room for it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

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
use tower_service::Service;

use super::body::Budget;
use super::door::Peek;
use super::entrance::{Admitted, Entrance, Flight, busy};
use super::legacy::{LegacySessions, SESSION_HEADER};
use super::quota::{Places, Quotas, Share};
use crate::mcp;

/// The first version of the newer protocol. Versions are dates, so they compare as text.
const MODERN_SINCE: &str = "2026-07-28";

/// The header that names the version.
const VERSION_HEADER: &str = "mcp-protocol-version";

/// What messages pass.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) entrance: Entrance,
    pub(super) legacy: Arc<LegacySessions>,
    pub(super) budget: Budget,
    pub(super) quotas: Quotas,
    /// Streams that wait for news, which take a connection each for as long as they like.
    pub(super) streams: Places,
}

/// How many of them a tenant may have at a time.
pub(super) const STREAMS_OF_ONE_MAX: usize = 256;

/// Lets a request through, or turns it away.
pub(super) async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let Admitted { principal, remote, flight } = match gate.entrance.admit(&head).await {
        Ok(admitted) => admitted,
        Err(denied) => return *denied,
    };
    let session_id = session_of(&head.headers);
    // Somebody else's conversation does not exist.
    if let Some(id) = &session_id
        && !gate.legacy.is_of(id, &principal.tenant)
    {
        let denied = (StatusCode::NOT_FOUND, "there is no such session\n").into_response();
        return gate.entrance.turn_away(denied, &principal, &Peek::default(), remote);
    }
    let may_open = session_id.is_none() && head.method == Method::POST && !is_modern(&head.headers);
    let mut passage = Passage::enter(&gate, session_id, flight);
    let ends = head.method == Method::DELETE;
    let taken = gate.budget.take(&head.headers, body, &principal.tenant).await;
    let (bytes, _memory) = match taken {
        Ok(taken) => taken,
        Err((status, why)) => {
            let mut denied = (status, format!("{why}\n")).into_response();
            // Only what is for want of room may be taken later.
            if [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status) {
                denied.headers_mut().insert(header::RETRY_AFTER, 2.into());
            }
            return gate.entrance.turn_away(denied, &principal, &Peek::default(), remote);
        }
    };
    let at = Instant::now();
    let peek = Peek::at(&bytes);
    if head.method == Method::GET || peek.listens() {
        match gate.streams.take(&principal.tenant) {
            Ok(stream) => passage.stream = Some(stream),
            Err(too_much) => {
                let denied = too_much.into_response();
                return gate.entrance.turn_away(denied, &principal, &peek, remote);
            }
        }
    }
    if let Some(lacking) = peek.lacking(&principal) {
        return gate.entrance.forbid(lacking, &principal, &peek, remote);
    }
    if let Some(called) = peek.called() {
        match gate.quotas.take(&principal.tenant, called) {
            Ok(share) => passage.share = Some(share),
            Err(too_much) => {
                let denied = too_much.into_response();
                return gate.entrance.turn_away(denied, &principal, &peek, remote);
            }
        }
    }
    // Nobody's conversation ends for something that does not open another one.
    if may_open && peek.opens() && !gate.legacy.make_room(&principal.tenant).await {
        let denied = busy("there are too many sessions of the older protocol");
        return gate.entrance.turn_away(denied, &principal, &peek, remote);
    }
    let (tenant, length) = (principal.tenant.clone(), bytes.len() as u64);
    let mut request = Request::from_parts(head, Body::from(bytes));
    request.extensions_mut().insert(principal);
    request.extensions_mut().insert(mcp::Origin { remote, bytes: length, at });
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

fn session_of(headers: &HeaderMap) -> Option<Arc<str>> {
    headers.get(SESSION_HEADER)?.to_str().ok().map(Arc::from)
}

fn is_modern(headers: &HeaderMap) -> bool {
    let version = headers.get(VERSION_HEADER).and_then(|version| version.to_str().ok());
    version.is_some_and(|version| MODERN_SINCE <= version)
}

/// A message in flight.
struct Passage {
    legacy: Arc<LegacySessions>,
    session_id: Option<Arc<str>>,
    /// Of what its tenant may take, where it takes any.
    share: Option<Share>,
    stream: Option<Share>,
    _flight: Flight,
}

impl Passage {
    fn enter(gate: &Gate, session_id: Option<Arc<str>>, flight: Flight) -> Self {
        if let Some(id) = &session_id {
            gate.legacy.used(id, 1);
        }
        let legacy = Arc::clone(&gate.legacy);
        Self { legacy, session_id, share: None, stream: None, _flight: flight }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if let Some(id) = &self.session_id {
            self.legacy.used(id, -1);
        }
    }
}

/// Hands a request to the generation of the protocol that it speaks. It is cloned for each request,
/// and what it holds is not cheap to clone.
pub(super) struct Eras<S> {
    pub(super) modern: Arc<StreamableHttpService<S, NeverSessionManager>>,
    pub(super) older: Arc<StreamableHttpService<S, LegacySessions>>,
}

impl<S> Clone for Eras<S> {
    fn clone(&self) -> Self {
        Self { modern: Arc::clone(&self.modern), older: Arc::clone(&self.older) }
    }
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
            let service = Arc::clone(&self.modern);
            Box::pin(async move { Ok(service.handle(request).await.map(Body::new)) })
        } else {
            let service = Arc::clone(&self.older);
            Box::pin(async move { Ok(service.handle(request).await.map(Body::new)) })
        }
    }
}
