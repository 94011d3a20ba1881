//! Who did something lately: whoever does nothing any more does so at a rate of 0, which is not the
//! same as not being known.

use std::collections::HashMap;
use std::hash::Hash;

/// Who did something, and how long ago.
#[derive(Debug)]
pub(super) struct Lately<K> {
    quiet_secs: HashMap<K, f64>,
}

/// After so long nothing is told of them any more.
const KNOWN_SECS: f64 = 3600.0;

/// So many are known; the series have room for no more.
const KNOWN_MAX: usize = 20_000;

impl<K> Default for Lately<K> {
    fn default() -> Self {
        Self { quiet_secs: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash> Lately<K> {
    /// So much time has passed, in which these did something.
    pub(super) fn look<'a>(&mut self, passed_secs: f64, active: impl Iterator<Item = &'a K>)
    where
        K: 'a,
    {
        self.quiet_secs.values_mut().for_each(|secs| *secs += passed_secs);
        for who in active {
            let known = self.quiet_secs.len();
            match self.quiet_secs.get_mut(who) {
                Some(secs) => *secs = 0.0,
                None if known < KNOWN_MAX => drop(self.quiet_secs.insert(who.clone(), 0.0)),
                None => (),
            }
        }
        self.quiet_secs.retain(|_, secs| *secs < KNOWN_SECS);
    }

    /// All who did something lately.
    pub(super) fn all(&self) -> impl Iterator<Item = &K> {
        self.quiet_secs.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_did_something_is_known_for_an_hour() {
        let mut lately = Lately::default();
        lately.look(1.0, [1, 2].iter());
        lately.look(3000.0, [2].iter());
        let known = |lately: &Lately<i32>| {
            let mut all: Vec<_> = lately.all().copied().collect();
            all.sort_unstable();
            all
        };
        assert_eq!(known(&lately), [1, 2]);
        lately.look(600.0, std::iter::empty());
        assert_eq!(known(&lately), [2]);
        lately.look(3000.0, std::iter::empty());
        assert!(known(&lately).is_empty());
    }
}
