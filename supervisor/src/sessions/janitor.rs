//! Closes the sessions that nobody uses, and those that have lived long enough.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Inner, Sessions};
use crate::session::Session;
use crate::session::lifecycle::Closed;

/// How often the janitor looks.
const ROUND: Duration = Duration::from_secs(1);

pub(super) fn start(sessions: &Arc<Inner>) {
    let sessions = Arc::downgrade(sessions);
    tokio::spawn(async move {
        while look(&sessions) {
            tokio::time::sleep(ROUND).await;
        }
    });
}

/// Tells whether there is anything left to look after.
fn look(sessions: &Weak<Inner>) -> bool {
    let Some(inner) = sessions.upgrade() else { return false };
    let sessions = Sessions { inner };
    for session in sessions.all() {
        if let Some(why) = is_stale(&session) {
            tracing::info!(session_id = %session.plan().id, ?why, "closing a stale session");
            // Closing waits for the worker; the round does not.
            tokio::spawn(async move { session.close(why).await });
        }
    }
    sessions.inner.defaults.tidy();
    true
}

fn is_stale(session: &Session) -> Option<Closed> {
    if session.plan().max_age <= session.age() {
        Some(Closed::Aged)
    } else if session.plan().idle_timeout <= session.idle() {
        Some(Closed::Idle)
    } else {
        None
    }
}
