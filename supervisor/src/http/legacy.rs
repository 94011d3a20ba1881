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

    /// Makes room for another one of a tenant, if need be at the cost of one that is not in use.
    /// Tells whether there is room.
    pub(super) async fn make_room(&self, tenant: &Tenant) -> bool {
        loop {
            let given_up = {
                let mut uses = self.lock();
                if uses.len() < self.max {
                    return true;
                }
                // Taken away at once: two that come together do not give up the same one.
                dispensable(&uses, tenant).and_then(|id| uses.remove_entry(&id))
            };
            let Some((id, usage)) = given_up else { return false };
            tracing::info!(legacy_session = %id, "closing an unused conversation for another one");
            self.close(&id, usage).await.ok();
        }
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

    /// Closes one that is not known any more.
    async fn close(&self, id: &Arc<str>, Usage { local, tenant, .. }: Usage) -> Result<(), Error> {
        if let Some(tenant) = tenant {
            let connection = Connection::One(Arc::clone(id));
            self.sessions.connection_ended(&tenant, &connection).await;
        }
        local.close_session(id).await
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Usage>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The conversation that is given up for another one of a tenant: one of the tenant that has most, if
/// that is more than this one would have; or else one that was not used for long, of its own or of
/// whoever has as many. So nobody loses one to a tenant that opens one after the other.
fn dispensable(uses: &HashMap<Arc<str>, Usage>, tenant: &Tenant) -> Option<Arc<str>> {
    let mut counts: BTreeMap<&Tenant, usize> = BTreeMap::new();
    for owner in uses.values().filter_map(|usage| usage.tenant.as_ref()) {
        *counts.entry(owner).or_default() += 1;
    }
    let own = counts.get(tenant).copied().unwrap_or(0);
    let richest = counts.iter().max_by_key(|(_, count)| **count).map(|(owner, _)| *owner);
    let has_more = |owner: &Tenant, than: usize| counts.get(owner).is_some_and(|it| than < *it);
    let longest_unused = |since: Duration, counts: &dyn Fn(&Tenant) -> bool| {
        uses.iter()
            .filter(|(_, usage)| usage.in_flight <= 0 && since <= usage.last.elapsed())
            .filter(|(_, usage)| usage.tenant.as_ref().is_some_and(counts))
            .min_by_key(|(_, usage)| usage.last)
            .map(|(id, _)| Arc::clone(id))
    };
    longest_unused(Duration::ZERO, &|owner| Some(owner) == richest && has_more(owner, own + 1))
        .or_else(|| longest_unused(UNUSED_MIN, &|owner| owner == tenant))
        .or_else(|| longest_unused(UNUSED_MIN, &|owner| has_more(owner, own)))
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
        let Some(usage) = known else { return Ok(()) };
        self.close(id, usage).await
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

    /// Conversations of tenants, each with how many seconds ago it was used.
    fn conversations(of: &[(&str, &[u64])]) -> HashMap<Arc<str>, Usage> {
        let mut uses = HashMap::new();
        for (tenant, unused) in of {
            for (number, secs) in unused.iter().enumerate() {
                let last = Instant::now().checked_sub(Duration::from_secs(*secs)).unwrap();
                let tenant = Some(Tenant::named(tenant));
                let usage = Usage { local: Arc::default(), in_flight: 0, last, tenant };
                uses.insert(format!("{}{number}", usage.tenant.as_ref().unwrap()).into(), usage);
            }
        }
        uses
    }

    fn given_up(of: &[(&str, &[u64])], tenant: &str) -> Option<String> {
        dispensable(&conversations(of), &Tenant::named(tenant)).map(|id| id.to_string())
    }

    #[test]
    fn who_has_most_makes_room_for_who_has_less() {
        assert_eq!(given_up(&[("a", &[0, 3, 1, 2])], "b").as_deref(), Some("a1"));
        assert_eq!(given_up(&[("a", &[0, 3, 1, 2]), ("b", &[9, 9])], "b").as_deref(), Some("a1"));
        // With three and three nobody has to go.
        assert_eq!(given_up(&[("a", &[0, 3, 1]), ("b", &[9, 9, 9])], "b"), None);
        // One that was not used for long goes all the same.
        assert_eq!(given_up(&[("a", &[0, 90]), ("b", &[9])], "b").as_deref(), Some("a1"));
        assert_eq!(given_up(&[("a", &[90, 100]), ("b", &[70, 60])], "b").as_deref(), Some("b0"));
        assert_eq!(given_up(&[("a", &[90]), ("b", &[100])], "c").as_deref(), Some("b0"));
    }

    #[test]
    fn nobody_loses_one_to_a_tenant_that_opens_one_after_the_other() {
        let all: &[(&str, &[u64])] = &[("greedy", &[0, 1, 2, 3]), ("modest", &[3000])];
        assert_eq!(given_up(all, "greedy"), None);
        let all: &[(&str, &[u64])] = &[("greedy", &[0, 1, 2, 80]), ("modest", &[3000])];
        assert_eq!(given_up(all, "greedy").as_deref(), Some("greedy3"));
    }

    #[test]
    fn one_in_use_is_not_given_up() {
        let mut uses = conversations(&[("a", &[100, 90])]);
        uses.get_mut("a0").unwrap().in_flight = 1;
        assert_eq!(dispensable(&uses, &Tenant::named("a")).as_deref(), Some("a1"));
        uses.get_mut("a1").unwrap().in_flight = 1;
        assert_eq!(dispensable(&uses, &Tenant::named("b")), None);
    }
}
