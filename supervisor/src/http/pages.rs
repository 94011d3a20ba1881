//! Pages for load balancers: is the daemon there, and does it take work.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};

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
