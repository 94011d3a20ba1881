//! The session that a call means when it names none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Error, Request, Sessions};
use crate::session::Session;
use crate::session::lifecycle::State;
use crate::tenants::Tenant;

/// What a default session hangs on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Connection {
    /// One connection: standard input, or a session of the older protocol.
    One(Arc<str>),
    /// The tenant: the newer protocol has no connections.
    Any,
}

/// The default session of each connection.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    places: Mutex<HashMap<(Tenant, Connection), Place>>,
}

/// Locked while the session is created, so that two first calls share one session.
type Place = Arc<tokio::sync::Mutex<Option<Session>>>;

impl Defaults {
    pub(super) async fn get(
        &self,
        sessions: &Sessions,
        tenant: &Tenant,
        connection: &Connection,
    ) -> Result<Session, Error> {
        let key = (tenant.clone(), connection.clone());
        let place = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(places.entry(key).or_default())
        };
        let mut place = place.lock().await;
        if let Some(session) = place.as_ref()
            && !matches!(session.status().state, State::Closing(_) | State::Closed(_))
        {
            return Ok(session.clone());
        }
        let request = Request {
            name: Some("default".to_owned()),
            is_default: *connection == Connection::Any,
            ..Request::default()
        };
        let session = sessions.create(tenant, request).await?;
        *place = Some(session.clone());
        Ok(session)
    }

    /// Takes up the default session of a tenant that an earlier daemon has left.
    pub(super) fn adopt(&self, tenant: &Tenant, session: Session) {
        let place = Arc::new(tokio::sync::Mutex::new(Some(session)));
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.insert((tenant.clone(), Connection::Any), place);
    }

    /// Lets go of a connection's default session.
    pub(super) async fn forget(&self, tenant: &Tenant, connection: &Connection) -> Option<Session> {
        let key = (tenant.clone(), connection.clone());
        let place = self.places.lock().unwrap_or_else(PoisonError::into_inner).remove(&key)?;
        place.lock().await.take()
    }

    /// Forgets the places of sessions that are gone.
    pub(super) fn tidy(&self) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever holds a place besides us is about to put a session there.
        places.retain(|_, place| match place.try_lock() {
            Err(_busy) => true,
            Ok(_) if 1 < Arc::strong_count(place) => true,
            Ok(place) => place
                .as_ref()
                .is_some_and(|session| !matches!(session.status().state, State::Closed(_))),
        });
    }
}
