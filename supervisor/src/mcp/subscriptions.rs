//! Subscriptions to resources: a client is told when one has changed, and reads it again.
//!
//! In the newer protocol a subscription is a request that stays open; in the older one it hangs on
//! the conversation. Either way somebody looks, a few times in a second, whether what is
//! subscribed to is as it was: changes come from many places, and a client wants to hear of many
//! of them once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::model::{ResourceUpdatedNotificationParam, SubscriptionFilter};
use rmcp::service::{RequestContext, SubscriptionContext, SubscriptionSink};
use rmcp::{ErrorData, Peer, RoleServer};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::McpServer;
use super::caller::Caller;
use super::resources::Address;
use crate::auth::Principal;
use crate::sessions::Connection;
use crate::tenants::Tenant;

/// How often subscribed resources are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How long a client may take to accept the news that a resource has changed.
const NEWS_PATIENCE: Duration = Duration::from_millis(100);

/// How many resources a tenant may be subscribed to, over all its connections.
const SUBSCRIPTIONS_PER_TENANT_MAX: usize = 256;

/// The longest address that is subscribed to, in bytes. None that there is is as long.
const URI_BYTES_MAX: usize = 256;

/// The subscriptions that there are.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// How many resources each tenant is subscribed to.
    counts: BTreeMap<Tenant, usize>,
    /// What ends those of the older protocol.
    legacy: BTreeMap<(Tenant, Arc<str>, String), CancellationToken>,
}

impl Subscriptions {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to be subscribed to some resources.
struct Seats {
    server: McpServer,
    tenant: Tenant,
    count: usize,
}

impl Seats {
    fn take(server: &McpServer, tenant: &Tenant, count: usize) -> Result<Self, ErrorData> {
        let mut table = server.inner.subscriptions.table();
        let taken = table.counts.entry(tenant.clone()).or_default();
        if SUBSCRIPTIONS_PER_TENANT_MAX < *taken + count {
            let message = format!(
                "you may be subscribed to {SUBSCRIPTIONS_PER_TENANT_MAX} resources, and are to \
                 {taken} already"
            );
            return Err(ErrorData::invalid_request(message, None));
        }
        *taken += count;
        Ok(Self { server: server.clone(), tenant: tenant.clone(), count })
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        let mut table = self.server.inner.subscriptions.table();
        if let Some(taken) = table.counts.get_mut(&self.tenant) {
            *taken -= self.count;
            if *taken == 0 {
                table.counts.remove(&self.tenant);
            }
        }
    }
}

/// A resource that somebody is subscribed to, and how it last was.
struct Watched {
    uri: String,
    address: Address,
    mark: Option<u64>,
}

impl McpServer {
    /// What of a wish for news can be granted: news of resources that there may be.
    pub(super) fn grant(&self, wish: &SubscriptionFilter) -> SubscriptionFilter {
        let wished = wish.resource_subscriptions.iter().flatten();
        let known = wished.filter(|uri| self.can_watch(uri)).take(SUBSCRIPTIONS_PER_TENANT_MAX);
        SubscriptionFilter::builder().resource_subscriptions(known.cloned()).build()
    }

    fn can_watch(&self, uri: &str) -> bool {
        uri.len() <= URI_BYTES_MAX && self.address(uri).is_some()
    }

    /// Tells of changes as long as the client listens and the daemon runs.
    pub(super) async fn tell_listener(
        &self,
        context: &SubscriptionContext,
    ) -> Result<(), ErrorData> {
        let Caller { tenant, principal, .. } = Caller::of(context.request_context())?;
        let uris = context.accepted().resource_subscriptions.clone().unwrap_or_default();
        // Listening to nothing takes a seat, too.
        let _seats = Seats::take(self, &tenant, uris.len().max(1))?;
        let watched = uris.into_iter().filter_map(|uri| self.watch(&principal, uri)).collect();
        let ear = Ear::Listener(context.sink().clone());
        let telling = async {
            self.tell_of_changes(&principal, watched, &ear).await;
            // Whether it goes on listening to nothing is the client's affair.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = telling => (),
            () = context.cancelled() => (),
            () = self.inner.stop.cancelled() => (),
        }
        Ok(())
    }

    /// Subscribes a conversation of the older protocol to a resource.
    pub(super) fn subscribe_conversation(
        &self,
        uri: String,
        context: &RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let Caller { tenant, principal, connection, .. } = Caller::of(context)?;
        let conversation = conversation(connection)?;
        let exists = || self.watch(&principal, uri.clone())?.mark;
        if !self.can_watch(&uri) || exists().is_none() {
            return Err(super::resources::not_found(&uri));
        }
        let seat = Seats::take(self, &tenant, 1)?;
        let ended = CancellationToken::new();
        let key = (tenant, conversation, uri.clone());
        if let Some(before) =
            self.inner.subscriptions.table().legacy.insert(key.clone(), ended.clone())
        {
            before.cancel();
        }
        let watched = self.watch(&principal, uri).into_iter().collect();
        let (server, peer) = (self.clone(), context.peer.clone());
        tokio::spawn(async move {
            let _seat = seat;
            let ear = Ear::Conversation(peer.clone());
            tokio::select! {
                () = server.tell_of_changes(&principal, watched, &ear) => (),
                () = hung_up(&peer) => (),
                () = ended.cancelled() => return,
                () = server.inner.stop.cancelled() => (),
            }
            server.inner.subscriptions.table().legacy.remove(&key);
        });
        Ok(())
    }

    /// Ends what [`Self::subscribe_conversation`] began.
    pub(super) fn unsubscribe_conversation(
        &self,
        uri: String,
        context: &RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let Caller { tenant, connection, .. } = Caller::of(context)?;
        let key = (tenant, conversation(connection)?, uri);
        if let Some(ended) = self.inner.subscriptions.table().legacy.remove(&key) {
            ended.cancel();
        }
        Ok(())
    }

    fn watch(&self, principal: &Principal, uri: String) -> Option<Watched> {
        let address = self.address(&uri).filter(|address| principal.may(address.scope()))?;
        let mark = self.mark(principal, &address);
        Some(Watched { uri, address, mark })
    }

    /// Tells of changes until nobody hears, or nothing is left to change. That a
    /// resource is gone is its last change.
    async fn tell_of_changes(&self, principal: &Principal, mut watched: Vec<Watched>, ear: &Ear) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        watched.retain(|watched| watched.mark.is_some());
        while !watched.is_empty() {
            look.tick().await;
            for watched in &mut watched {
                let mark = self.mark(principal, &watched.address);
                if mark == watched.mark {
                    continue;
                }
                match ear.tell(&watched.uri).await {
                    Heard::Yes => watched.mark = mark,
                    // It is told at the next look.
                    Heard::NotNow => (),
                    Heard::Never => return,
                }
            }
            watched.retain(|watched| watched.mark.is_some());
        }
    }
}

fn conversation(connection: Connection) -> Result<Arc<str>, ErrorData> {
    match connection {
        Connection::One(id) => Ok(id),
        Connection::Any => {
            let message = "there is no conversation that a subscription could belong to";
            Err(ErrorData::invalid_request(message, None))
        }
    }
}

/// Who hears of changes.
enum Ear {
    Listener(SubscriptionSink),
    Conversation(Peer<RoleServer>),
}

/// Whether news was heard.
enum Heard {
    Yes,
    /// Whoever listens does not read now.
    NotNow,
    /// Nobody listens any more.
    Never,
}

impl Ear {
    /// Tells of a change.
    async fn tell(&self, uri: &str) -> Heard {
        match self {
            Self::Listener(sink) => match sink.notify_resource_updated(uri).await {
                Ok(()) => Heard::Yes,
                Err(_) => Heard::Never,
            },
            Self::Conversation(peer) => {
                let news = ResourceUpdatedNotificationParam::new(uri);
                let news = peer.notify_resource_updated(news);
                match tokio::time::timeout(NEWS_PATIENCE, news).await {
                    _ if peer.is_transport_closed() => Heard::Never,
                    Ok(Ok(())) => Heard::Yes,
                    Ok(Err(_)) | Err(_) => Heard::NotNow,
                }
            }
        }
    }
}

/// Waits until a conversation is over.
async fn hung_up(peer: &Peer<RoleServer>) {
    let mut look = tokio::time::interval(LOOK);
    while !peer.is_transport_closed() {
        look.tick().await;
    }
}
