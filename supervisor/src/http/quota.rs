//! How much of the endpoint a tenant may take: calls per second, and calls at a time.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::tenants::Tenant;

/// What a tenant may take. It holds for calls of tools.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Calls per second, on average; 0 means no limit.
    pub calls_per_sec: f64,
    /// Calls that may come at once, after a rest.
    pub burst: u32,
    /// Calls at a time; 0 means no limit.
    pub calls_at_a_time: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { calls_per_sec: 0.0, burst: 100, calls_at_a_time: 256 }
    }
}

/// Tenants that are remembered; beyond that those who have rested are forgotten.
const TENANTS_MAX: usize = 10_000;

/// Counts what tenants take. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Quotas {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    rate: Option<DefaultKeyedRateLimiter<Tenant>>,
    at_a_time: Option<usize>,
    taken: Mutex<HashMap<Tenant, usize>>,
}

/// A tenant takes too much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TooMuch {
    pub(super) key: &'static str,
    pub(super) retry_after: Duration,
}

impl IntoResponse for TooMuch {
    fn into_response(self) -> Response {
        // Rounded up: who comes when it says is let in.
        let secs = self.retry_after.as_secs_f64().ceil().max(1.0);
        let said = format!("more calls than `{}` allows; retry in {secs} s\n", self.key);
        let retry = [(header::RETRY_AFTER, secs.to_string())];
        (StatusCode::TOO_MANY_REQUESTS, retry, said).into_response()
    }
}

/// The right to make one call.
#[derive(Debug)]
pub(super) struct Share {
    quotas: Quotas,
    tenant: Tenant,
}

impl Quotas {
    pub(super) fn new(config: Config) -> Self {
        let every = Duration::try_from_secs_f64(1.0 / config.calls_per_sec).ok();
        let quota = every.and_then(Quota::with_period);
        let burst = NonZero::new(config.burst).unwrap_or(NonZero::<u32>::MIN);
        let rate = quota.map(|quota| RateLimiter::keyed(quota.allow_burst(burst)));
        let at_a_time = Some(config.calls_at_a_time as usize).filter(|most| *most != 0);
        Self { inner: Arc::new(Inner { rate, at_a_time, taken: Mutex::default() }) }
    }

    /// A tenant makes a call.
    pub(super) fn take(&self, tenant: &Tenant) -> Result<Share, TooMuch> {
        let mut taken = self.inner.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(tenant).copied().unwrap_or(0);
        if self.inner.at_a_time.is_some_and(|most| most <= count) {
            let (key, retry_after) = ("http.quotas.calls_at_a_time", Duration::from_secs(1));
            return Err(TooMuch { key, retry_after });
        }
        if let Some(rate) = &self.inner.rate {
            if TENANTS_MAX < rate.len() {
                rate.retain_recent();
            }
            rate.check_key(tenant).map_err(|until| {
                let retry_after = until.wait_time_from(DefaultClock::default().now());
                TooMuch { key: "http.quotas.calls_per_sec", retry_after }
            })?;
        }
        *taken.entry(tenant.clone()).or_default() += 1;
        Ok(Share { quotas: self.clone(), tenant: tenant.clone() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.quotas.inner.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_so_many_calls_at_a_time_and_others_have_theirs() {
        let quotas = Quotas::new(Config { calls_at_a_time: 2, ..Config::default() });
        let (one, other) = (Tenant::named("one"), Tenant::named("other"));
        let held = [quotas.take(&one).unwrap(), quotas.take(&one).unwrap()];
        let refused = quotas.take(&one).unwrap_err();
        assert_eq!(refused.key, "http.quotas.calls_at_a_time");
        quotas.take(&other).unwrap();
        drop(held);
        quotas.take(&one).unwrap();
        assert!(quotas.inner.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn calls_come_no_faster_than_they_may_but_in_bursts() {
        let config = Config { calls_per_sec: 0.01, burst: 3, calls_at_a_time: 0 };
        let quotas = Quotas::new(config);
        let (one, other) = (Tenant::named("one"), Tenant::named("other"));
        for _ in 0..3 {
            quotas.take(&one).unwrap();
        }
        let refused = quotas.take(&one).unwrap_err();
        assert_eq!(refused.key, "http.quotas.calls_per_sec");
        let secs = refused.retry_after.as_secs_f64();
        assert!((90.0..=100.0).contains(&secs), "{secs}");
        quotas.take(&other).unwrap();
    }

    #[test]
    fn without_limits_nobody_is_refused() {
        let quotas = Quotas::new(Config { calls_at_a_time: 0, ..Config::default() });
        let held: Vec<_> = (0..1000).map(|_| quotas.take(&Tenant::local()).unwrap()).collect();
        assert_eq!(held.len(), 1000);
    }
}
