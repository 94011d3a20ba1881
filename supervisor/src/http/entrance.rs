//! What every request for work passes first: where it comes from, whether work is taken, and whose
//! it is. What has passed is in flight until its answer is out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{Method, StatusCode, header};
use tokio_util::sync::CancellationToken;

use super::door::{Door, Peek, Sent};
use super::origins::Origins;
use crate::auth::{Principal, Scope};
use crate::remote::Remote;

/// Lets requests in. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Entrance {
    origins: Arc<Origins>,
    door: Door,
    stop: CancellationToken,
    in_flight: Arc<AtomicUsize>,
}

/// A request that was let in.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Whose it is.
    pub(super) principal: Principal,
    /// Where it comes from.
    pub(super) remote: Option<Remote>,
    /// To be kept until its answer is out.
    pub(super) flight: Flight,
}

impl Entrance {
    pub(super) fn new(origins: Origins, door: Door, stop: CancellationToken) -> Self {
        Self { origins: Arc::new(origins), door, stop, in_flight: Arc::default() }
    }

    /// Calls that are being answered. Streams that only wait for news are none.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Lets a request in, or says why not.
    pub(super) async fn admit(&self, head: &Parts) -> Result<Admitted, Box<Response>> {
        let remote = head.extensions.get::<Remote>().copied();
        if let Some(why) = self.origins.refuse(head) {
            let denied = (StatusCode::FORBIDDEN, format!("{why}\n")).into_response();
            self.door.note(&denied, None, &Peek::default(), remote);
            return Err(Box::new(denied));
        }
        if self.stop.is_cancelled() {
            return Err(Box::new(busy("the daemon is stopping")));
        }
        // Whoever is asked who it is already counts: it is answered before the daemon stops.
        let flight = Flight::begin(&self.in_flight, head.method == Method::POST);
        let principal = self
            .door
            .caller(&head.headers)
            .await
            .inspect_err(|denied| self.door.note(denied, None, &Peek::default(), remote))?;
        Ok(Admitted { principal, remote, flight })
    }

    /// Turns away somebody who may not do that.
    pub(super) fn forbid(
        &self,
        lacking: Scope,
        principal: &Principal,
        peek: &Peek<'_>,
        remote: Option<Remote>,
    ) -> Response {
        self.turn_away(self.door.forbids(lacking), principal, peek, remote)
    }

    /// Notes that a file was sent ahead.
    pub(super) fn note_upload(&self, principal: &Principal, remote: Option<Remote>, sent: Sent) {
        self.door.note_upload(principal, remote, sent);
    }

    /// Notes that somebody is turned away.
    pub(super) fn turn_away(
        &self,
        denied: Response,
        principal: &Principal,
        peek: &Peek<'_>,
        remote: Option<Remote>,
    ) -> Response {
        self.door.note(&denied, Some(principal), peek, remote);
        denied
    }
}

/// The answer where there is no room at the moment.
pub(super) fn busy(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "2")], format!("{why}\n"))
        .into_response()
}

/// Counts a request as in flight as long as it is there.
#[derive(Debug)]
pub(super) struct Flight(Option<Arc<AtomicUsize>>);

impl Flight {
    fn begin(in_flight: &Arc<AtomicUsize>, counts: bool) -> Self {
        if counts {
            in_flight.fetch_add(1, Ordering::Relaxed);
        }
        Self(counts.then(|| Arc::clone(in_flight)))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(in_flight) = &self.0 {
            in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
