//! Closes the sessions that nobody uses, and those that have lived long enough; puts to sleep those
//! that nobody uses for a while, and more of them when others need their place.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::{Config, Inner, Sessions};
use crate::pool::headroom::Level;
use crate::session::Session;
use crate::session::lifecycle::{Closed, State};
use crate::tenants::Tenant;

/// How often the janitor looks.
const ROUND: Duration = Duration::from_secs(1);

/// The pause after room was made.
const MAKE_ROOM_PAUSE: Duration = Duration::from_millis(50);

/// How long a session must have been unused to be put to sleep for another one.
const SPARE_AFTER: Duration = Duration::from_millis(500);

/// How many sessions are put to sleep at a time for others.
const SPARED_MAX: usize = 8;

pub(super) fn start(sessions: &Arc<Inner>) {
    let short = Arc::clone(sessions.crew.short());
    let sessions = Arc::downgrade(sessions);
    tokio::spawn(async move {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = rounds.tick() => {
                    if !look(&sessions) {
                        return;
                    }
                }
                () = short.notified() => {
                    make_room(&sessions);
                    // However many wait.
                    tokio::time::sleep(MAKE_ROOM_PAUSE).await;
                }
            }
        }
    });
}

/// Tells whether there is anything left to look after.
fn look(sessions: &Weak<Inner>) -> bool {
    let Some(inner) = sessions.upgrade() else { return false };
    let sessions = Sessions { inner };
    // A few small files; less than half a millisecond.
    if sessions.pool().look_for_room() != Level::Plenty {
        spare(sessions.all()).iter().for_each(Session::may_sleep);
    }
    for session in sessions.all() {
        if let Some(why) = is_stale(&session) {
            tracing::info!(session_id = %session.plan().id, ?why, "closing a stale session");
            // Closing waits for the worker; the round does not.
            tokio::spawn(async move { session.close(why).await });
        } else if is_drowsy(&session, sessions.config()) {
            session.may_sleep();
        }
    }
    sessions.inner.defaults.tidy();
    true
}

/// A session waits for a place: others that nobody uses make room.
fn make_room(sessions: &Weak<Inner>) {
    let Some(inner) = sessions.upgrade() else { return };
    let sessions = Sessions { inner };
    spare(sessions.all()).iter().for_each(Session::may_sleep);
}

fn is_stale(session: &Session) -> Option<Closed> {
    if matches!(session.status().state, State::Closing(_) | State::Closed(_)) {
        None
    } else if session.plan().max_age <= session.age() {
        Some(Closed::Aged)
    } else if session.plan().idle_timeout <= session.idle() {
        Some(Closed::Idle)
    } else {
        None
    }
}

fn is_drowsy(session: &Session, config: &Config) -> bool {
    session.status().state == State::Ready
        && config.hibernate_after_secs <= session.idle().as_secs_f64()
}

/// The sessions that can best be spared.
fn spare(sessions: Vec<Session>) -> Vec<Session> {
    let awake = |session: &Session| session.status().state == State::Ready;
    let awake: Vec<Session> = sessions.into_iter().filter(awake).collect();
    let looks = awake.iter().map(|session| (session.plan().tenant.clone(), session.idle()));
    let chosen = choose(&looks.collect::<Vec<_>>());
    chosen.into_iter().filter_map(|index| awake.get(index).cloned()).collect()
}

/// Which of those that are awake can best be spared: of the tenant that has most of them, the one
/// that was not used for longest. What one tenant does costs that tenant first.
fn choose(awake: &[(Tenant, Duration)]) -> Vec<usize> {
    let mut count = BTreeMap::<&Tenant, usize>::new();
    for (tenant, _) in awake {
        *count.entry(tenant).or_default() += 1;
    }
    let mut idle: Vec<usize> =
        (0..awake.len()).filter(|index| SPARE_AFTER <= awake[*index].1).collect();
    idle.sort_by_key(|index| {
        let (tenant, idle) = &awake[*index];
        (Reverse(count[tenant]), Reverse(*idle))
    });
    idle.truncate(SPARED_MAX);
    idle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_tenant_s_longest_unused_sessions_go_first() {
        let (large, small) = (Tenant::named("large"), Tenant::named("small"));
        let secs = Duration::from_secs;
        let awake = [
            (small, secs(1000)),
            (large.clone(), secs(5)),
            (large.clone(), secs(50)),
            (large, Duration::ZERO),
        ];
        assert_eq!(choose(&awake), [2, 1, 0]);
    }

    #[test]
    fn what_is_in_use_is_not_spared() {
        let tenant = Tenant::local();
        assert!(choose(&[(tenant.clone(), Duration::ZERO), (tenant, SPARE_AFTER / 2)]).is_empty());
        assert!(choose(&[]).is_empty());
    }
}
