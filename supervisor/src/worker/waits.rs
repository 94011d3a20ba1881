//! Waits for what may never come.

use std::time::Instant;

use tokio_util::sync::CancellationToken;

/// Waits until then; for ever, if there is no such time.
pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits until somebody gives up; for ever, if nobody can.
pub(super) async fn cancelled(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}
