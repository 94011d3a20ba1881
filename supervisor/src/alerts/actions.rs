//! What is done to a session about which a rule fires, in the ways that there are anyway.
//!
//! Its owner was told before: by the alert, which says when, by `get_session_info`, and by the audit.

use super::rule::{Action, Owner, Rule};
use super::state::Input;
use crate::code::chain;
use crate::session::lifecycle::{Closed, State};
use crate::session::{AwakeError, Session};
use crate::sessions::Sessions;

/// The metric that is looked at once more before anything is done.
const IDLE: &str = "session_idle_secs";

/// Does it. Tells what was done, or why not yet.
pub(super) async fn act(sessions: &Sessions, rule: &Rule, id: &str) -> Result<String, String> {
    let Some(session) = find(sessions, &rule.owner, id) else {
        return Ok("gone already".to_owned());
    };
    // Somebody may have used it since it was looked at.
    let is_idle = || rule.judge(Some(session.idle().as_secs_f64())) == Input::Holds;
    if rule.selection.metric == IDLE && !is_idle() {
        return Err("it is in use again".to_owned());
    }
    match rule.action {
        None | Some(Action::Warn) => Ok("warned".to_owned()),
        Some(Action::Hibernate) => match session.hibernate().await {
            Ok(()) => Ok("hibernated".to_owned()),
            Err(error) => Err(chain(&error)),
        },
        Some(Action::Drain) => {
            unused(&session).await?;
            session.close(reason(rule)).await;
            Ok("drained and closed".to_owned())
        }
        Some(Action::Close) => {
            session.close(reason(rule)).await;
            Ok("closed".to_owned())
        }
    }
}

/// Finding it is no use of it.
fn find(sessions: &Sessions, owner: &Owner, id: &str) -> Option<Session> {
    let is_meant = |session: &Session| {
        let plan = session.plan();
        let is_own = match owner {
            Owner::Fleet => true,
            Owner::Tenant(tenant) => plan.tenant.to_string() == *tenant,
        };
        *plan.id == *id && is_own && !session.is_closed()
    };
    sessions.all().into_iter().find(is_meant)
}

/// Sees to it that nobody uses a session.
async fn unused(session: &Session) -> Result<(), String> {
    is_unused(session.hibernate().await).map_err(|error| chain(&error))
}

/// A session that went to sleep is not used, nor is one that has no worker and gets none. One that
/// waits for its next worker may have work under way, which goes on there.
fn is_unused(slept: Result<(), AwakeError>) -> Result<(), AwakeError> {
    match slept {
        Ok(()) | Err(AwakeError::State(State::Parked | State::Closing(_))) => Ok(()),
        Err(error) => Err(error),
    }
}

fn reason(rule: &Rule) -> Closed {
    match (rule.selection.metric.as_str(), &rule.owner) {
        (IDLE, _) => Closed::Idle,
        ("session_age_secs", _) => Closed::Aged,
        (_, Owner::Tenant(_)) => Closed::ByOwner,
        (_, Owner::Fleet) => Closed::Terminated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_waits_for_its_next_worker_is_in_use() {
        is_unused(Ok(())).unwrap();
        for state in [State::Parked, State::Closing(Closed::Idle)] {
            is_unused(Err(AwakeError::State(state))).unwrap();
        }
        for state in [State::Waiting, State::Starting, State::Ready] {
            is_unused(Err(AwakeError::State(state))).unwrap_err();
        }
        is_unused(Err(AwakeError::Running)).unwrap_err();
    }
}
