//! Calls since somebody last looked, by tenant and tool: what series and totals are made of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::durations::Durations;
use crate::tenants::Tenant;

/// Who called which tool.
pub type Pair = (Tenant, Arc<str>);

/// The most pairs between two looks; calls of more are counted as lost.
const PAIRS_MAX: usize = 10_000;

/// Calls of one tool by one tenant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Calls that ended.
    pub calls: u64,
    /// Those of them that were refused or failed.
    pub errors: u64,
    /// Bytes of the requests, where they came over HTTP.
    pub request_bytes: u64,
    /// Bytes of the answers' content.
    pub result_bytes: u64,
    /// How long they took.
    pub durations: Durations,
    /// How long the longest took.
    pub longest: Duration,
}

/// A call that is over.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Whether it went well.
    pub is_good: bool,
    /// How long it took.
    pub after: Duration,
    /// The length of its request, if it is known.
    pub request_bytes: u64,
    /// The length of its answer's content.
    pub result_bytes: u64,
}

impl Tally {
    fn note(&mut self, ended: Ended) {
        self.calls += 1;
        self.errors += u64::from(!ended.is_good);
        self.request_bytes = self.request_bytes.saturating_add(ended.request_bytes);
        self.result_bytes = self.result_bytes.saturating_add(ended.result_bytes);
        self.durations.note(u64::try_from(ended.after.as_nanos()).unwrap_or(u64::MAX));
        self.longest = self.longest.max(ended.after);
    }

    /// Takes in others.
    pub fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.errors = self.errors.saturating_add(other.errors);
        self.request_bytes = self.request_bytes.saturating_add(other.request_bytes);
        self.result_bytes = self.result_bytes.saturating_add(other.result_bytes);
        self.durations.add(&other.durations);
        self.longest = self.longest.max(other.longest);
    }
}

/// The calls.
#[derive(Debug, Default)]
pub struct Recent {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ended: BTreeMap<Pair, Tally>,
    in_flight: BTreeMap<Pair, u64>,
    lost_total: u64,
}

impl Recent {
    /// A call begins.
    pub fn begin(&self, tenant: &Tenant, tool: &Arc<str>) {
        let mut inner = self.lock();
        let known = inner.in_flight.len();
        let pair = (tenant.clone(), Arc::clone(tool));
        match inner.in_flight.get_mut(&pair) {
            Some(count) => *count += 1,
            None if known < PAIRS_MAX => drop(inner.in_flight.insert(pair, 1)),
            None => (),
        }
    }

    /// It is over.
    pub fn end(&self, tenant: &Tenant, tool: &Arc<str>, ended: Ended) {
        let pair = (tenant.clone(), Arc::clone(tool));
        let mut inner = self.lock();
        if let Some(count) = inner.in_flight.get_mut(&pair) {
            *count -= 1;
            if *count == 0 {
                inner.in_flight.remove(&pair);
            }
        }
        let known = inner.ended.len();
        match inner.ended.get_mut(&pair) {
            Some(tally) => tally.note(ended),
            None if known < PAIRS_MAX => inner.ended.entry(pair).or_default().note(ended),
            None => inner.lost_total += 1,
        }
    }

    /// The calls that ended since the last time, which are told of once.
    pub fn take(&self) -> BTreeMap<Pair, Tally> {
        std::mem::take(&mut self.lock().ended)
    }

    /// How many calls are being carried out, by whom.
    pub fn in_flight(&self) -> BTreeMap<Pair, u64> {
        self.lock().in_flight.clone()
    }

    /// Calls of more pairs than there may be between two looks.
    pub fn lost_total(&self) -> u64 {
        self.lock().lost_total
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Ended = Ended {
        is_good: true,
        after: Duration::from_millis(2),
        request_bytes: 10,
        result_bytes: 20,
    };

    #[test]
    fn calls_are_told_of_once_and_by_who_made_them() {
        let (recent, tool): (_, Arc<str>) = (Recent::default(), "get_state".into());
        let tenants = [Tenant::named("acme"), Tenant::named("zeta")];
        for tenant in [&tenants[0], &tenants[0], &tenants[1]] {
            recent.begin(tenant, &tool);
        }
        assert_eq!(recent.in_flight()[&(tenants[0].clone(), Arc::clone(&tool))], 2);
        recent.end(&tenants[0], &tool, GOOD);
        recent.end(&tenants[0], &tool, Ended { is_good: false, ..GOOD });
        assert_eq!(recent.in_flight().len(), 1);
        let told = recent.take();
        let tally = &told[&(tenants[0].clone(), tool)];
        assert_eq!((tally.calls, tally.errors, tally.request_bytes), (2, 1, 20));
        assert_eq!(tally.durations.count(), 2);
        assert!(recent.take().is_empty());
    }

    #[test]
    fn there_is_a_bound_and_what_is_beyond_is_counted() {
        let (recent, tool): (_, Arc<str>) = (Recent::default(), "get_state".into());
        for number in 0..PAIRS_MAX + 5 {
            let tenant = Tenant::named(&number.to_string());
            recent.begin(&tenant, &tool);
            recent.end(&tenant, &tool, GOOD);
        }
        assert_eq!((recent.take().len(), recent.lost_total()), (PAIRS_MAX, 5));
        assert!(recent.in_flight().is_empty());
    }
}
