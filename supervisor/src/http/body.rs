//! A request's body, before anybody parses it.
//!
//! JSON can be small on the wire and large in memory: seven million `{}` take 15 MB there and 15 GB
//! here. What makes it large is the number of its values, so these are counted first; a model with
//! its meshes is a few long strings.
//!
//! Memory is taken as a body arrives, not as it is announced, and short ones always have theirs: who
//! sends slowly, or nothing, keeps nobody out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::tenants::Tenant;

/// The most values in one request.
const VALUES_MAX: usize = 2_000_000;

/// How many of the longest requests may be in memory at a time, and how many of them may be one
/// tenant's.
const LONGEST_AT_A_TIME: usize = 4;
const LONGEST_OF_ONE: usize = 2;

/// What every request has without asking. Connections are bounded, and so is this.
const SHORT_BYTES: usize = 64 * 1024;

/// By how much a longer one grows at least.
const STEP_KIB: usize = 256;

/// How long a request may take to arrive.
const ARRIVE_WITHIN: Duration = Duration::from_mins(1);

/// What is left of the memory for requests.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    kib: Arc<Semaphore>,
    /// What each tenant has of it, in KiB.
    taken: Arc<Mutex<HashMap<Tenant, usize>>>,
    bytes_max: usize,
}

/// What a body has of it, to be kept as long as the body is there.
#[derive(Debug)]
pub(super) struct Memory {
    budget: Budget,
    tenant: Tenant,
    permit: Option<OwnedSemaphorePermit>,
}

impl Memory {
    fn kib(&self) -> usize {
        self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let held = self.kib();
        if held != 0 {
            self.budget.give_back(&self.tenant, held);
        }
    }
}

/// Why a body is not taken.
pub(super) type Refused = (StatusCode, String);

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        let kib = (bytes_max / 1024 + 1) * LONGEST_AT_A_TIME;
        let kib = Arc::new(Semaphore::new(kib.min(Semaphore::MAX_PERMITS)));
        Self { kib, taken: Arc::default(), bytes_max }
    }

    /// Takes a tenant's body whole.
    pub(super) async fn take(
        &self,
        headers: &HeaderMap,
        body: Body,
        tenant: &Tenant,
    ) -> Result<(Bytes, Memory), Refused> {
        if announced(headers).is_some_and(|length| self.bytes_max < length) {
            return Err(self.too_long());
        }
        let arrival = tokio::time::timeout(ARRIVE_WITHIN, self.collect(body, tenant)).await;
        let (bytes, memory) = arrival.map_err(|_late| {
            let why = "the request did not arrive within a minute";
            (StatusCode::REQUEST_TIMEOUT, why.to_owned())
        })??;
        if VALUES_MAX < values(&bytes) {
            let why = format!("the request holds more than {VALUES_MAX} values");
            return Err((StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        Ok((bytes, memory))
    }

    async fn collect(&self, mut body: Body, tenant: &Tenant) -> Result<(Bytes, Memory), Refused> {
        let (budget, tenant) = (self.clone(), tenant.clone());
        let mut memory = Memory { budget, tenant, permit: None };
        let (mut first, mut all) = (Bytes::new(), Vec::new());
        while let Some(frame) = body.frame().await {
            let unreadable =
                |_| (StatusCode::BAD_REQUEST, "the request could not be read".to_owned());
            let Ok(piece) = frame.map_err(unreadable)?.into_data() else { continue };
            let length = first.len() + all.len() + piece.len();
            if self.bytes_max < length {
                return Err(self.too_long());
            }
            self.grow(&mut memory, length)?;
            if first.is_empty() && all.is_empty() {
                // Most come in one piece, which is not copied.
                first = piece;
            } else {
                all.extend_from_slice(&std::mem::take(&mut first));
                all.extend_from_slice(&piece);
            }
        }
        Ok((if all.is_empty() { first } else { all.into() }, memory))
    }

    /// Takes memory for that many bytes in all.
    fn grow(&self, memory: &mut Memory, length: usize) -> Result<(), Refused> {
        let needed = length.saturating_sub(SHORT_BYTES).div_ceil(1024);
        let held = memory.kib();
        if needed <= held {
            return Ok(());
        }
        let longest = self.bytes_max / 1024 + 1;
        let more = (needed - held).max(STEP_KIB.min(longest.saturating_sub(held)));
        let mut taken = self.lock();
        let own = taken.get(&memory.tenant).copied().unwrap_or(0) + more;
        if longest * LONGEST_OF_ONE < own {
            let why = "more long requests at a time than one tenant may send";
            return Err((StatusCode::TOO_MANY_REQUESTS, why.to_owned()));
        }
        let permits = u32::try_from(more).unwrap_or(u32::MAX);
        let permit =
            Arc::clone(&self.kib).try_acquire_many_owned(permits).map_err(|_none_left| {
                (StatusCode::SERVICE_UNAVAILABLE, "too many long requests at a time".to_owned())
            })?;
        taken.insert(memory.tenant.clone(), own);
        match &mut memory.permit {
            Some(held) => held.merge(permit),
            None => memory.permit = Some(permit),
        }
        Ok(())
    }

    fn give_back(&self, tenant: &Tenant, kib: usize) {
        let mut taken = self.lock();
        if let Some(own) = taken.get_mut(tenant) {
            *own = own.saturating_sub(kib);
            if *own == 0 {
                taken.remove(tenant);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Tenant, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn too_long(&self) -> Refused {
        let why = format!("the request exceeds http.body_bytes_max, {} bytes", self.bytes_max);
        (StatusCode::PAYLOAD_TOO_LARGE, why)
    }
}

/// How long a request says that its body is.
pub(super) fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// How many values a JSON text can hold at most: one more than separators and brackets outside of
/// strings.
fn values(json: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' | b':' if !in_string => count += 1,
            _ => (),
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_and_the_text_of_strings_is_not() {
        assert_eq!(values(br#"{"a": [1, 2, 3]}"#), 5);
        assert_eq!(values(br#""a, [ { : \" , ""#), 0);
        assert_eq!(values(br#"{"path\\": "x,y"}"#), 2);
    }

    fn of(name: &str) -> Tenant {
        Tenant::named(name)
    }

    #[tokio::test]
    async fn memory_for_requests_runs_out_with_a_refusal_and_short_ones_have_theirs() {
        let budget = Budget::new(1024 * 1024);
        let long = || Body::from(" ".repeat(1024 * 1024));
        let take = async |body: Body, tenant: &str| {
            budget.take(&HeaderMap::new(), body, &of(tenant)).await
        };
        let mut held = Vec::new();
        for tenant in ["one", "one", "two", "two"] {
            drop(take(Body::from("{}"), tenant).await.unwrap());
            held.push(take(long(), tenant).await.unwrap());
        }
        held.push(take(Body::from(" ".repeat(300 * 1024)), "three").await.unwrap());
        let refused = take(long(), "one").await.unwrap_err();
        assert_eq!(refused.0, StatusCode::TOO_MANY_REQUESTS);
        let refused = take(long(), "three").await.unwrap_err();
        assert_eq!(refused.0, StatusCode::SERVICE_UNAVAILABLE);
        take(Body::from(" ".repeat(SHORT_BYTES)), "one").await.unwrap();
        drop(held.remove(0));
        drop(take(long(), "three").await.unwrap());
        held.clear();
        assert_eq!(budget.kib.available_permits(), 1025 * LONGEST_AT_A_TIME);
        assert!(budget.lock().is_empty());
    }

    #[tokio::test]
    async fn what_is_announced_and_does_not_come_takes_nothing() {
        let budget = Budget::new(1024 * 1024);
        let announcing = |bytes: usize| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_LENGTH, bytes.into());
            headers
        };
        let (nothing, long) = (HeaderMap::new(), announcing(1024 * 1024));
        let pending = || Body::from_stream(futures::stream::pending::<std::io::Result<Bytes>>());
        let one = of("one");
        let slow = futures::future::join(
            budget.take(&long, pending(), &one),
            budget.take(&long, pending(), &one),
        );
        let quick = budget.take(&nothing, Body::from("[]"), &one);
        let first = futures::future::select(Box::pin(slow), Box::pin(quick)).await;
        assert!(matches!(first, futures::future::Either::Right((Ok(_), _))));
        assert_eq!(budget.kib.available_permits(), 1025 * LONGEST_AT_A_TIME);
        let too_long = announcing(1024 * 1024 + 1);
        let refused = budget.take(&too_long, pending(), &one).await.unwrap_err();
        assert_eq!(refused.0, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_put_together() {
        let budget = Budget::new(1024 * 1024);
        let pieces = ["[1", ",", "", "2]"].map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
        let body = Body::from_stream(futures::stream::iter(pieces));
        let (bytes, _memory) = budget.take(&HeaderMap::new(), body, &of("one")).await.unwrap();
        assert_eq!(bytes, "[1,2]");
    }
}
