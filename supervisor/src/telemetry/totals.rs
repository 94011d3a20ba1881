//! Calls since the daemon's start, or since somebody wanted them forgotten.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use crate::metrics::{Pair, Tally};

/// Calls, by tenant and tool.
#[derive(Debug, Default)]
pub struct Totals {
    all: HashMap<Pair, Total>,
    lost: u64,
}

/// Calls of one tool by one tenant.
#[derive(Clone, Debug)]
pub struct Total {
    /// What was counted.
    pub tally: Tally,
    /// Since when: the first of them, or the first after they were forgotten.
    pub since: Instant,
}

/// The most pairs; calls of more are told of in the series alone.
const PAIRS_MAX: usize = 20_000;

impl Totals {
    /// Adds calls.
    pub fn add(&mut self, calls: &BTreeMap<Pair, Tally>) {
        for (pair, tally) in calls {
            let known = self.all.len();
            match self.all.get_mut(pair) {
                Some(total) => total.tally.add(tally),
                None if known < PAIRS_MAX => {
                    let total = Total { tally: tally.clone(), since: Instant::now() };
                    self.all.insert(pair.clone(), total);
                }
                None => self.lost = self.lost.saturating_add(tally.calls),
            }
        }
    }

    /// Everything that was counted.
    pub fn all(&self) -> impl Iterator<Item = (&Pair, &Total)> {
        self.all.iter()
    }

    /// Begins anew for these.
    pub fn forget(&mut self, is_meant: impl Fn(&Pair) -> bool) -> usize {
        let before = self.all.len();
        self.all.retain(|pair, _| !is_meant(pair));
        before - self.all.len()
    }
}
