//! How much of the endpoint a tenant may take: calls per second, and calls at a time.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// In how many calls they are counted once: counting them takes a lock for each part of their table.
const COUNT_EVERY: usize = 1_000;

/// Counts what tenants take. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Quotas {
    rate: Option<Arc<DefaultKeyedRateLimiter<Tenant>>>,
    places: Places,
    /// How many calls were made.
    calls: Arc<AtomicUsize>,
}

/// A tenant takes too much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TooMuch {
    /// What it takes too much of.
    pub(super) what: &'static str,
    pub(super) retry_after: Duration,
}

impl IntoResponse for TooMuch {
    fn into_response(self) -> Response {
        // Rounded up: who comes when it says is let in.
        let secs = self.retry_after.as_secs_f64().ceil().max(1.0);
        let said = format!("more {}; retry in {secs} s\n", self.what);
        let retry = [(header::RETRY_AFTER, secs.to_string())];
        (StatusCode::TOO_MANY_REQUESTS, retry, said).into_response()
    }
}

impl Quotas {
    pub(super) fn new(config: Config) -> Self {
        let every = Duration::try_from_secs_f64(1.0 / config.calls_per_sec).ok();
        let quota = every.and_then(Quota::with_period);
        let burst = NonZero::new(config.burst).unwrap_or(NonZero::<u32>::MIN);
        let rate = quota.map(|quota| Arc::new(RateLimiter::keyed(quota.allow_burst(burst))));
        let most = Some(config.calls_at_a_time as usize).filter(|most| *most != 0);
        let what = "calls at a time than `http.quotas.calls_at_a_time` allows";
        Self { rate, places: Places::new(most, what), calls: Arc::default() }
    }

    /// A tenant makes a call.
    pub(super) fn take(&self, tenant: &Tenant) -> Result<Share, TooMuch> {
        let share = self.places.take(tenant)?;
        if let Some(rate) = &self.rate {
            let calls = self.calls.fetch_add(1, Ordering::Relaxed);
            if calls.is_multiple_of(COUNT_EVERY) && TENANTS_MAX < rate.len() {
                rate.retain_recent();
            }
            rate.check_key(tenant).map_err(|until| {
                let retry_after = until.wait_time_from(DefaultClock::default().now());
                TooMuch { what: "calls than `http.quotas.calls_per_sec` allows", retry_after }
            })?;
        }
        Ok(share)
    }
}

/// How many of something each tenant has at a time. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Places {
    most: Option<usize>,
    what: &'static str,
    taken: Arc<Mutex<HashMap<Tenant, usize>>>,
}

/// The right to one of them.
#[derive(Debug)]
pub(super) struct Share {
    places: Places,
    tenant: Tenant,
}

impl Places {
    /// So many of that for each tenant; without a number, any.
    pub(super) fn new(most: Option<usize>, what: &'static str) -> Self {
        Self { most, what, taken: Arc::default() }
    }

    /// A tenant takes one.
    pub(super) fn take(&self, tenant: &Tenant) -> Result<Share, TooMuch> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(tenant).copied().unwrap_or(0);
        if self.most.is_some_and(|most| most <= count) {
            return Err(TooMuch { what: self.what, retry_after: Duration::from_secs(1) });
        }
        *taken.entry(tenant.clone()).or_default() += 1;
        Ok(Share { places: self.clone(), tenant: tenant.clone() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
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
        assert!(refused.what.contains("http.quotas.calls_at_a_time"));
        quotas.take(&other).unwrap();
        drop(held);
        quotas.take(&one).unwrap();
        assert!(quotas.places.taken.lock().unwrap().is_empty());
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
        assert!(refused.what.contains("http.quotas.calls_per_sec"));
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
