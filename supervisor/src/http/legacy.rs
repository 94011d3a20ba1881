//! Sessions of the older protocol: conversations, not simulators.
//!
//! A conversation has at most a default session of ours, which goes with it unless somebody has
//! named it by its handle. rmcp's own time limit ends conversations whose call takes long, so the
//! limit here counts only while nothing is in flight.
//!
//! Whoever comes back to the stream of a call hears what he missed, also after its end.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::Stream;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::session::{
    ServerSseMessage, SessionId, SessionManager,
};
use tokio_util::sync::CancellationToken;

use super::replay::Replay;
use crate::sessions::{Connection, Sessions};
use crate::tenants::Tenant;

/// The header that names the conversation.
pub(super) const SESSION_HEADER: &str = "mcp-session-id";

/// A conversation that was used just now is not given up for another one.
const UNUSED_MIN: Duration = Duration::from_mins(1);

/// How often unused conversations are looked for.
const ROUND: Duration = Duration::from_secs(1);

type Local = LocalSessionManager;
type Error = <Local as SessionManager>::Error;
type Events = Pin<Box<dyn Stream<Item = ServerSseMessage> + Send + Sync>>;

/// The conversations that there are.
#[derive(Debug)]
pub(super) struct LegacySessions {
    replay: Replay,
    sessions: Sessions,
    max: usize,
    uses: Mutex<HashMap<Arc<str>, Usage>>,
}

#[derive(Clone, Debug)]
struct Usage {
    /// A manager of its own, which remembers what was told in it alone.
    local: Arc<Local>,
    in_flight: isize,
    last: Instant,
    /// Whose it is; nobody's while it is being opened.
    tenant: Option<Tenant>,
}

impl LegacySessions {
    /// Not more conversations than `max`, whose last messages are kept within that many bytes.
    pub(super) fn new(sessions: Sessions, max: usize, replay_bytes_max: usize) -> Self {
        let replay = Replay::new(replay_bytes_max);
        Self { replay, sessions, max, uses: Mutex::default() }
    }

    /// Makes room for another one of a tenant, if need be at the cost of the one that was unused for
    /// longest, or else of one of the tenant that has most. Tells whether there is room.
    pub(super) async fn make_room(&self, tenant: &Tenant) -> bool {
        let unused = {
            let uses = self.lock();
            if uses.len() < self.max {
                return true;
            }
            let longest_unused = |counts: &dyn Fn(&Usage) -> bool| {
                uses.iter()
                    .filter(|(_, usage)| usage.in_flight <= 0 && counts(usage))
                    .min_by_key(|(_, usage)| usage.last)
                    .map(|(id, _)| Arc::clone(id))
            };
            longest_unused(&|usage| UNUSED_MIN <= usage.last.elapsed()).or_else(|| {
                let richer = richest_beside(&uses, tenant)?;
                longest_unused(&|usage| usage.tenant.as_ref() == Some(&richer))
            })
        };
        let Some(id) = unused else { return false };
        tracing::info!(legacy_session = %id, "closing the longest unused conversation");
        self.close_session(&id).await.ok();
        true
    }

    /// A request of a conversation begins (1) or ends (-1).
    pub(super) fn used(&self, id: &Arc<str>, change: isize) {
        if let Some(usage) = self.lock().get_mut(id) {
            usage.in_flight += change;
            usage.last = Instant::now();
        }
    }

    /// A conversation was opened by that tenant.
    pub(super) fn belongs_to(&self, id: &Arc<str>, tenant: Tenant) {
        if let Some(usage) = self.lock().get_mut(id) {
            usage.tenant = Some(tenant);
        }
    }

    /// Whether a conversation is that tenant's, or there is none of that name.
    pub(super) fn is_of(&self, id: &str, tenant: &Tenant) -> bool {
        self.lock().get(id).is_none_or(|usage| usage.tenant.as_ref() == Some(tenant))
    }

    /// Ends conversations that nobody uses, until `stop`.
    pub(super) fn reap_idle(self: Arc<Self>, limit: Duration, stop: CancellationToken) {
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(ROUND) => (),
                }
                self.replay.forget_old();
                for id in self.idle(limit) {
                    tracing::info!(legacy_session = %id, "closing an unused conversation");
                    self.close_session(&id).await.ok();
                }
            }
        });
    }

    fn idle(&self, limit: Duration) -> Vec<SessionId> {
        let uses = self.lock();
        let mut idle: Vec<SessionId> = uses
            .iter()
            .filter(|(_, usage)| usage.in_flight <= 0 && limit < usage.last.elapsed())
            .map(|(id, _)| Arc::clone(id))
            .collect();
        idle.sort();
        idle
    }

    fn local(&self, id: &SessionId) -> Result<Arc<Local>, Error> {
        let local = self.lock().get(id).map(|usage| Arc::clone(&usage.local));
        local.ok_or_else(|| Error::SessionNotFound(Arc::clone(id)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Usage>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tenant that has most, if that is more than another one would have with one more.
fn richest_beside(uses: &HashMap<Arc<str>, Usage>, tenant: &Tenant) -> Option<Tenant> {
    let mut counts: BTreeMap<&Tenant, usize> = BTreeMap::new();
    for owner in uses.values().filter_map(|usage| usage.tenant.as_ref()) {
        *counts.entry(owner).or_default() += 1;
    }
    let own = counts.get(tenant).copied().unwrap_or(0);
    let (richest, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (own + 1 < most).then(|| richest.clone())
}

impl SessionManager for LegacySessions {
    type Error = Error;
    type Transport = <Local as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Error> {
        let mut local = Local::default().with_event_store(Arc::new(self.replay.begin()));
        local.session_config.keep_alive = None;
        let created = local.create_session().await?;
        let local = Arc::new(local);
        let usage = Usage { local, in_flight: 0, last: Instant::now(), tenant: None };
        self.lock().insert(Arc::clone(&created.0), usage);
        Ok(created)
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Error> {
        self.local(id)?.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Error> {
        Ok(self.local(id).is_ok())
    }

    /// Called when the client says so, when nobody uses it, and when the daemon stops; it may be
    /// called twice.
    async fn close_session(&self, id: &SessionId) -> Result<(), Error> {
        let known = self.lock().remove(id);
        let Some(Usage { local, tenant, .. }) = known else { return Ok(()) };
        if let Some(tenant) = tenant {
            let connection = Connection::One(Arc::clone(id));
            self.sessions.connection_ended(&tenant, &connection).await;
        }
        local.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Error> {
        let local = self.local(id)?;
        let events: Events = Box::pin(local.create_stream(id, message).await?);
        Ok(events)
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), Error> {
        self.local(id)?.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Error> {
        let local = self.local(id)?;
        let events: Events = Box::pin(local.create_standalone_stream(id).await?);
        Ok(events)
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Error> {
        let local = self.local(id)?;
        let events: Events = Box::pin(local.resume(id, last_event_id).await?);
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_most_makes_room_for_who_has_less() {
        let (one, two) = (Tenant::named("one"), Tenant::named("two"));
        let usage = |tenant: &Tenant| {
            let tenant = Some(tenant.clone());
            Usage { local: Arc::default(), in_flight: 0, last: Instant::now(), tenant }
        };
        let mut uses = HashMap::new();
        for number in 0..4 {
            uses.insert(Arc::from(format!("a{number}")), usage(&one));
        }
        assert_eq!(richest_beside(&uses, &two), Some(one.clone()));
        assert_eq!(richest_beside(&uses, &one), None);
        uses.insert(Arc::from("b0"), usage(&two));
        uses.insert(Arc::from("b1"), usage(&two));
        assert_eq!(richest_beside(&uses, &two), Some(one));
        // With three and three nobody has to go.
        uses.insert(Arc::from("b2"), usage(&two));
        assert_eq!(richest_beside(&uses, &two), None);
    }
}
