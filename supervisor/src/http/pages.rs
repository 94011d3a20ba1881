//! Pages that need no token: for load balancers, is the daemon there, and does it take work; and for
//! clients, where tokens are given.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::auth::oauth::{Metadata, WELL_KNOWN};
use crate::sessions::Sessions;

pub(super) fn router(sessions: Sessions) -> Router {
    Router::new().route("/healthz", get(health)).route("/readyz", get(ready)).with_state(sessions)
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

async fn ready(State(sessions): State<Sessions>) -> (StatusCode, Json<Value>) {
    let count = sessions.all().len();
    let max = sessions.config().max;
    let (status, word) = if sessions.is_stopping() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping")
    } else if max <= count {
        (StatusCode::SERVICE_UNAVAILABLE, "full")
    } else {
        (StatusCode::OK, "ready")
    };
    (status, Json(json!({ "status": word, "sessions": count, "sessions_max": max })))
}

/// Where tokens are given (RFC 9728): at the well-known place, and there under the path as well.
pub(super) fn metadata(metadata: &Metadata) -> Router {
    let document = metadata.document.clone();
    let page = get(async move || {
        // Clients that are pages of a browser read it, too.
        ([(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")], Json(document))
    });
    let router = Router::new().route(WELL_KNOWN, page.clone());
    if metadata.path.is_empty() {
        return router;
    }
    router.route(&format!("{WELL_KNOWN}{}", metadata.path), page)
}
