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

/// The calls that ended since the last look.
#[derive(Debug, Default)]
pub struct Since {
    /// By who called which tool.
    pub by_pair: BTreeMap<Pair, Tally>,
    /// Those of which it is to be forgotten who made them, by tool.
    pub of_nobody: BTreeMap<Arc<str>, Tally>,
}

/// The calls.
#[derive(Debug, Default)]
pub struct Recent {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ended: Since,
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
        let by_pair = &mut inner.ended.by_pair;
        let known = by_pair.len();
        match by_pair.get_mut(&pair) {
            Some(tally) => tally.note(ended),
            None if known < PAIRS_MAX => by_pair.entry(pair).or_default().note(ended),
            None => inner.lost_total += 1,
        }
    }

    /// The calls that ended since the last time, which are told of once.
    pub fn take(&self) -> Since {
        std::mem::take(&mut self.lock().ended)
    }

    /// Forgets who made these calls; those of some tools are forgotten altogether.
    pub fn forget(
        &self,
        is_meant: impl Fn(&Pair) -> bool,
        is_tool_meant: impl Fn(&Arc<str>) -> bool,
    ) {
        let mut inner = self.lock();
        let Since { by_pair, of_nobody } = &mut inner.ended;
        of_nobody.retain(|tool, _| !is_tool_meant(tool));
        by_pair.retain(|pair, tally| {
            let stays = !is_meant(pair);
            if !stays && !is_tool_meant(&pair.1) {
                of_nobody.entry(Arc::clone(&pair.1)).or_default().add(tally);
            }
            stays
        });
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
        let told = recent.take().by_pair;
        let tally = &told[&(tenants[0].clone(), tool)];
        assert_eq!((tally.calls, tally.errors, tally.request_bytes), (2, 1, 20));
        assert_eq!(tally.durations.count(), 2);
        assert!(recent.take().by_pair.is_empty());
    }

    #[test]
    fn what_a_tenant_forgets_is_still_counted_for_the_tool_and_not_what_the_operator_forgets() {
        let recent = Recent::default();
        let (acme, zeta) = (Tenant::named("acme"), Tenant::named("zeta"));
        let (state, reset): (Arc<str>, Arc<str>) = ("get_state".into(), "reset".into());
        for (tenant, tool) in [(&acme, &state), (&acme, &reset), (&zeta, &state)] {
            recent.begin(tenant, tool);
            recent.end(tenant, tool, GOOD);
        }
        recent.forget(|(tenant, _)| *tenant == acme, |tool| *tool == reset);
        let Since { by_pair, of_nobody } = recent.take();
        assert_eq!(by_pair.keys().collect::<Vec<_>>(), [&(zeta, Arc::clone(&state))]);
        assert_eq!(of_nobody.keys().collect::<Vec<_>>(), [&state]);
        assert_eq!(of_nobody[&state].calls, 1);
    }

    #[test]
    fn there_is_a_bound_and_what_is_beyond_is_counted() {
        let (recent, tool): (_, Arc<str>) = (Recent::default(), "get_state".into());
        for number in 0..PAIRS_MAX + 5 {
            let tenant = Tenant::named(&number.to_string());
            recent.begin(&tenant, &tool);
            recent.end(&tenant, &tool, GOOD);
        }
        assert_eq!((recent.take().by_pair.len(), recent.lost_total()), (PAIRS_MAX, 5));
        assert!(recent.in_flight().is_empty());
    }
}
