//! Files that are sent ahead of a model: `POST /assets`, with the file as the body.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::sync::Semaphore;

use super::Config;
use super::body::announced;
use super::connections::Remote;
use super::door::{Door, Peek};
use crate::auth::Scope;
use crate::code::{Code as _, chain};
use crate::tenants::Tenant;
use crate::uploads::{Error, Uploaded, Uploads};

/// How many files may be on their way at a time.
const ARRIVING_MAX: usize = 16;

/// How long a file may take to arrive, and how long it may stand still.
const ARRIVE_WITHIN: Duration = Duration::from_mins(10);
const STAND_STILL_MAX: Duration = Duration::from_secs(30);

/// The path of the endpoint.
const PATH: &str = "/assets";

#[derive(Debug)]
struct Entry {
    uploads: Uploads,
    hosts: Vec<String>,
    origins: Vec<String>,
    door: Door,
    arriving: Semaphore,
}

pub(super) fn router(uploads: Uploads, config: &Config, door: Door) -> Router {
    let (hosts, origins) = (config.allowed_hosts.clone(), config.allowed_origins.clone());
    let entry = Entry { uploads, hosts, origins, door, arriving: Semaphore::new(ARRIVING_MAX) };
    Router::new().route(PATH, post(take)).with_state(Arc::new(entry))
}

async fn take(State(entry): State<Arc<Entry>>, request: Request) -> Response {
    if !entry.lets_in(request.headers()) {
        return refused(StatusCode::FORBIDDEN, "forbidden", "this host or origin may not upload");
    }
    let remote = request.extensions().get::<Remote>().map(|remote| remote.0);
    let tenant = match entry.door.caller(request.headers()) {
        Ok(principal) if principal.may(Scope::Use) => principal.tenant,
        Ok(principal) => {
            let denied = entry.door.forbids(Scope::Use);
            entry.door.note(&denied, Some(&principal), &Peek::default(), remote);
            return denied;
        }
        Err(denied) => {
            entry.door.note(&denied, None, &Peek::default(), remote);
            return *denied;
        }
    };
    let Ok(_turn) = entry.arriving.try_acquire() else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many files at a time");
    };
    let length = announced(request.headers()).map(|length| length as u64);
    let whole = store(&entry.uploads, &tenant, length, request.into_body());
    match tokio::time::timeout(ARRIVE_WITHIN, whole).await {
        Ok(Ok(uploaded)) => (StatusCode::CREATED, Json(uploaded)).into_response(),
        Ok(Err(failure)) => failure.into_response(),
        Err(_elapsed) => late(),
    }
}

async fn store(
    uploads: &Uploads,
    tenant: &Tenant,
    length: Option<u64>,
    mut body: Body,
) -> Result<Uploaded, Response> {
    let mut arriving = uploads.begin(tenant, length).map_err(|error| not_taken(&error))?;
    loop {
        let frame = tokio::time::timeout(STAND_STILL_MAX, body.frame()).await;
        match frame.map_err(|_elapsed| late())? {
            None => return Ok(arriving.finish()),
            Some(Err(_broken)) => {
                let why = "the file could not be read";
                return Err(refused(StatusCode::BAD_REQUEST, "invalid_argument", why));
            }
            Some(Ok(frame)) => {
                let Ok(piece) = frame.into_data() else { continue };
                // Files are waited for apart from the tasks.
                let written = tokio::task::spawn_blocking(move || {
                    let written = arriving.write(&piece);
                    (arriving, written)
                });
                let Ok((back, written)) = written.await else {
                    let why = "the server has a defect; nothing else is affected";
                    let status = StatusCode::INTERNAL_SERVER_ERROR;
                    return Err(refused(status, "internal_error", why));
                };
                arriving = back;
                written.map_err(|error| not_taken(&error))?;
            }
        }
    }
}

impl Entry {
    /// Whether a request comes from where requests may come from. A page that a browser has from
    /// elsewhere must not fill the disk.
    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).map(HeaderValue::to_str);
        let Some(Ok(host)) = text(header::HOST) else { return false };
        let is_own = |host: &str| {
            is_loopback(host) || self.hosts.iter().any(|allowed| allowed == without_port(host))
        };
        if !is_own(host) {
            return false;
        }
        match text(header::ORIGIN) {
            None => true,
            Some(Err(_)) => false,
            Some(Ok(origin)) => {
                origin.strip_prefix("http://").is_some_and(is_loopback)
                    || self.origins.iter().any(|allowed| allowed == origin)
            }
        }
    }
}

fn is_loopback(host: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].contains(&without_port(host))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn not_taken(error: &Error) -> Response {
    let status = match error {
        Error::TooLong { .. } | Error::Together => StatusCode::PAYLOAD_TOO_LARGE,
        Error::Full { .. } | Error::Many { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::Unknown(_) => StatusCode::NOT_FOUND,
        Error::Io(_) => StatusCode::INSUFFICIENT_STORAGE,
    };
    let mut response = refused(status, error.code(), &chain(error));
    if let Some(after) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, after.as_secs().max(1).into());
    }
    response
}

fn late() -> Response {
    refused(StatusCode::REQUEST_TIMEOUT, "timeout", "the file did not arrive in time")
}

fn refused(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "code": code, "message": message }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_from_elsewhere_are_not_let_in() {
        let entry = Entry {
            uploads: Uploads::new(crate::uploads::Config::default(), None),
            hosts: vec!["sim.example".to_owned()],
            origins: vec!["https://lab.example".to_owned()],
            door: Door::new(crate::auth::Auth::none(), crate::audit::Audit::default()),
            arriving: Semaphore::new(1),
        };
        let lets_in = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            entry.lets_in(&headers)
        };
        assert!(lets_in("127.0.0.1:7700", None) && lets_in("[::1]:7700", None));
        assert!(lets_in("sim.example", Some("https://lab.example")));
        assert!(lets_in("localhost:7700", Some("http://localhost:3000")));
        for (host, origin) in [
            ("evil.example", None),
            ("evil.example:7700", None),
            ("localhost.evil.example", None),
            ("127.0.0.1:7700", Some("https://evil.example")),
            ("127.0.0.1:7700", Some("http://localhost.evil.example")),
            ("127.0.0.1:7700", Some("null")),
        ] {
            assert!(!lets_in(host, origin), "{host} {origin:?}");
        }
        assert!(!entry.lets_in(&HeaderMap::new()));
    }
}
