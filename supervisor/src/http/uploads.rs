//! Files that are sent ahead of a model: `POST /assets`, with the file as the body.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::{StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::sync::Semaphore;

use super::body::announced;
use super::door::{Peek, Sent};
use super::entrance::{Admitted, Entrance, busy};
use super::quota::Places;
use crate::auth::Scope;
use crate::code::{Code as _, chain};
use crate::tenants::Tenant;
use crate::uploads::{Error, Uploaded, Uploads};

/// How many files may be on their way at a time.
const ARRIVING_MAX: usize = 16;

/// How long a file may take to arrive, and how long it may stand still.
const ARRIVE_WITHIN: Duration = Duration::from_mins(10);
const STAND_STILL_MAX: Duration = Duration::from_secs(30);

/// How many of them may be one tenant's.
const ARRIVING_OF_ONE_MAX: usize = 4;

/// The path of the endpoint.
const PATH: &str = "/assets";

#[derive(Debug)]
struct Entry {
    uploads: Uploads,
    entrance: Entrance,
    arriving: Semaphore,
    places: Places,
}

pub(super) fn router(uploads: Uploads, entrance: Entrance) -> Router {
    let arriving = Semaphore::new(ARRIVING_MAX);
    let places = Places::new(Some(ARRIVING_OF_ONE_MAX), "files at a time than one tenant may send");
    let entry = Entry { uploads, entrance, arriving, places };
    Router::new().route(PATH, post(take)).with_state(Arc::new(entry))
}

async fn take(State(entry): State<Arc<Entry>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Admitted { principal, remote, flight: _flight } = match entry.entrance.admit(&head).await {
        Ok(admitted) => admitted,
        Err(denied) => return *denied,
    };
    let nothing = Peek::default();
    if !principal.may(Scope::Use) {
        return entry.entrance.forbid(Scope::Use, &principal, &nothing, remote);
    }
    let _place = match entry.places.take(&principal.tenant) {
        Ok(place) => place,
        Err(too_much) => {
            let denied = too_much.into_response();
            return entry.entrance.turn_away(denied, &principal, &nothing, remote);
        }
    };
    let Ok(_turn) = entry.arriving.try_acquire() else {
        let denied = busy("too many files at a time");
        return entry.entrance.turn_away(denied, &principal, &nothing, remote);
    };
    let begun = Instant::now();
    let length = announced(&head.headers).map(|length| length as u64);
    let whole = store(&entry.uploads, &principal.tenant, length, body);
    let (answer, bytes) = match tokio::time::timeout(ARRIVE_WITHIN, whole).await {
        Ok(Ok(uploaded)) => {
            let bytes = uploaded.bytes;
            ((StatusCode::CREATED, Json(uploaded)).into_response(), Some(bytes))
        }
        Ok(Err(failure)) => (failure, length),
        Err(_elapsed) => (late(), length),
    };
    let sent = Sent { status: answer.status(), bytes, took: begun.elapsed() };
    entry.entrance.note_upload(&principal, remote, sent);
    answer
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
            None => return arriving.finish().map_err(|error| not_taken(&error)),
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

fn not_taken(error: &Error) -> Response {
    let status = match error {
        Error::TooLong { .. } | Error::Together => StatusCode::PAYLOAD_TOO_LARGE,
        Error::Full { .. } | Error::Many { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::Empty => StatusCode::BAD_REQUEST,
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
