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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Calls per second, on average; 0 means no limit.
    pub calls_per_sec: f64,
    /// Calls that may come at once, after a rest.
    pub burst: u32,
    /// Calls at a time; 0 means no limit.
    pub calls_at_a_time: u32,
    /// What it may take of single tools, beside that.
    pub tools: Vec<OfTool>,
}

/// What a tenant may take of one tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfTool {
    /// Its name.
    pub name: String,
    /// Calls per second, on average.
    pub calls_per_sec: f64,
    /// Calls that may come at once, after a rest.
    #[serde(default = "one")]
    pub burst: u32,
}

fn one() -> u32 {
    1
}

impl Default for Config {
    fn default() -> Self {
        Self { calls_per_sec: 0.0, burst: 100, calls_at_a_time: 256, tools: Vec::new() }
    }
}

/// Tenants that are remembered; beyond that those who have rested are forgotten.
const TENANTS_MAX: usize = 10_000;

/// In how many calls they are counted once: counting them takes a lock for each part of their table.
const COUNT_EVERY: usize = 1_000;

/// Counts what tenants take. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Quotas {
    rate: Option<Rate>,
    of_tools: Arc<HashMap<String, Rate>>,
    places: Places,
}

/// Which tool a call is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Called<'a> {
    /// That one.
    Tool(&'a str),
    /// It cannot be told, so it may be any.
    Any,
}

/// How fast each tenant may go. Cheap to clone.
#[derive(Clone, Debug)]
struct Rate(Arc<Limiter>);

#[derive(Debug)]
struct Limiter {
    tenants: DefaultKeyedRateLimiter<Tenant>,
    /// How many calls were made.
    calls: AtomicUsize,
}

impl Rate {
    /// Nothing where there is no limit.
    fn new(calls_per_sec: f64, burst: u32) -> Option<Self> {
        let every = Duration::try_from_secs_f64(1.0 / calls_per_sec).ok()?;
        let burst = NonZero::new(burst).unwrap_or(NonZero::<u32>::MIN);
        let quota = Quota::with_period(every)?.allow_burst(burst);
        let tenants = RateLimiter::keyed(quota);
        Some(Self(Arc::new(Limiter { tenants, calls: AtomicUsize::new(0) })))
    }

    fn take(&self, tenant: &Tenant, what: &'static str) -> Result<(), TooMuch> {
        let Limiter { tenants, calls } = &*self.0;
        let calls = calls.fetch_add(1, Ordering::Relaxed);
        if calls.is_multiple_of(COUNT_EVERY) && TENANTS_MAX < tenants.len() {
            tenants.retain_recent();
        }
        tenants.check_key(tenant).map_err(|until| {
            let retry_after = until.wait_time_from(DefaultClock::default().now());
            TooMuch { what, retry_after }
        })
    }
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
    pub(super) fn new(config: &Config) -> Self {
        let of_tool = |it: &OfTool| Some((it.name.clone(), Rate::new(it.calls_per_sec, it.burst)?));
        let most = Some(config.calls_at_a_time as usize).filter(|most| *most != 0);
        let what = "calls at a time than `http.quotas.calls_at_a_time` allows";
        Self {
            rate: Rate::new(config.calls_per_sec, config.burst),
            of_tools: Arc::new(config.tools.iter().filter_map(of_tool).collect()),
            places: Places::new(most, what),
        }
    }

    /// A tenant makes a call.
    pub(super) fn take(&self, tenant: &Tenant, called: Called<'_>) -> Result<Share, TooMuch> {
        let share = self.places.take(tenant)?;
        if let Some(rate) = &self.rate {
            rate.take(tenant, "calls than `http.quotas.calls_per_sec` allows")?;
        }
        let what = "calls of this tool than `http.quotas.tools` allows";
        match called {
            Called::Tool(name) => {
                if let Some(rate) = self.of_tools.get(name) {
                    rate.take(tenant, what)?;
                }
            }
            Called::Any => self.of_tools.values().try_for_each(|rate| rate.take(tenant, what))?,
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

    const SOME: Called<'_> = Called::Tool("get_state");

    #[test]
    fn a_tenant_has_so_many_calls_at_a_time_and_others_have_theirs() {
        let quotas = Quotas::new(&Config { calls_at_a_time: 2, ..Config::default() });
        let (one, other) = (Tenant::named("one"), Tenant::named("other"));
        let held = [quotas.take(&one, SOME).unwrap(), quotas.take(&one, SOME).unwrap()];
        let refused = quotas.take(&one, SOME).unwrap_err();
        assert!(refused.what.contains("http.quotas.calls_at_a_time"));
        quotas.take(&other, SOME).unwrap();
        drop(held);
        quotas.take(&one, SOME).unwrap();
        assert!(quotas.places.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn calls_come_no_faster_than_they_may_but_in_bursts() {
        let config =
            Config { calls_per_sec: 0.01, burst: 3, calls_at_a_time: 0, ..Config::default() };
        let quotas = Quotas::new(&config);
        let (one, other) = (Tenant::named("one"), Tenant::named("other"));
        for _ in 0..3 {
            quotas.take(&one, SOME).unwrap();
        }
        let refused = quotas.take(&one, SOME).unwrap_err();
        assert!(refused.what.contains("http.quotas.calls_per_sec"));
        let secs = refused.retry_after.as_secs_f64();
        assert!((90.0..=100.0).contains(&secs), "{secs}");
        quotas.take(&other, SOME).unwrap();
    }

    #[test]
    fn without_limits_nobody_is_refused() {
        let quotas = Quotas::new(&Config { calls_at_a_time: 0, ..Config::default() });
        let held: Vec<_> =
            (0..1000).map(|_| quotas.take(&Tenant::local(), SOME).unwrap()).collect();
        assert_eq!(held.len(), 1000);
    }

    #[test]
    fn a_tool_may_be_called_less_often_than_others() {
        let tool = OfTool { name: "render_frame".to_owned(), calls_per_sec: 0.01, burst: 2 };
        let quotas = Quotas::new(&Config { tools: vec![tool], ..Config::default() });
        let (one, other) = (Tenant::named("one"), Tenant::named("other"));
        let draw = Called::Tool("render_frame");
        quotas.take(&one, draw).unwrap();
        quotas.take(&one, draw).unwrap();
        assert!(quotas.take(&one, draw).unwrap_err().what.contains("`http.quotas.tools`"));
        // What may be any tool may be that one.
        quotas.take(&one, Called::Any).unwrap_err();
        quotas.take(&one, SOME).unwrap();
        quotas.take(&other, Called::Any).unwrap();
    }
}
