//! When a lost worker is replaced, and when no more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How often a session's worker is replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many workers a session may lose within the window; one more parks it.
    pub losses_max: usize,
    /// The window, in seconds.
    pub window_secs: f64,
    /// The pause before the second replacement within a window, in seconds; the first comes at
    /// once. It doubles with each one.
    pub back_off_first_secs: f64,
    /// The longest pause, in seconds.
    pub back_off_max_secs: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { losses_max: 5, window_secs: 60.0, back_off_first_secs: 0.1, back_off_max_secs: 5.0 }
    }
}

/// What to do about a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Start another one after that time.
    Restart(Duration),
    /// Start no other.
    Park,
}

/// Remembers losses: the policy, without a clock.
#[derive(Debug)]
pub(super) struct Restarts {
    config: Config,
    losses: VecDeque<Instant>,
}

impl Restarts {
    pub(super) fn new(config: Config) -> Self {
        Self { config, losses: VecDeque::new() }
    }

    /// A worker was lost, or did not start.
    pub(super) fn decide(&mut self, now: Instant) -> Decision {
        let window = Duration::from_secs_f64(self.config.window_secs);
        self.losses.push_back(now);
        while self.losses.front().is_some_and(|loss| window < now.saturating_duration_since(*loss))
        {
            self.losses.pop_front();
        }
        let count = self.losses.len();
        if self.config.losses_max < count {
            return Decision::Park;
        }
        if count == 1 {
            return Decision::Restart(Duration::ZERO);
        }
        let doublings = i32::try_from(count - 2).unwrap_or(i32::MAX).min(30);
        let secs = self.config.back_off_first_secs * 2_f64.powi(doublings);
        Decision::Restart(Duration::from_secs_f64(secs.min(self.config.back_off_max_secs)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_come_slower_and_then_no_more() {
        let mut restarts = Restarts::new(Config::default());
        let now = Instant::now();
        let pauses: Vec<_> = (0..6).map(|_| restarts.decide(now)).collect();
        let after = |millis| Decision::Restart(Duration::from_millis(millis));
        let expected = [after(0), after(100), after(200), after(400), after(800), Decision::Park];
        assert_eq!(pauses, expected);
    }

    #[test]
    fn old_losses_are_forgiven() {
        let mut restarts = Restarts::new(Config::default());
        let begun = Instant::now();
        for minute in 0..100 {
            let now = begun + Duration::from_secs(61) * minute;
            assert_eq!(restarts.decide(now), Decision::Restart(Duration::ZERO));
        }
    }
}
