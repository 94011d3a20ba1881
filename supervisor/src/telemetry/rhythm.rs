//! How often samples are taken: every second, or less often if that would cost too much.

use std::time::Duration;

/// The time between two samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rhythm {
    interval: Duration,
    /// Processor time of a sample, on average over the last few.
    cost_secs: f64,
    /// How much of a core samples may take.
    ratio_max: f64,
}

/// The shortest and the longest interval.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_secs(16);

/// How much the last sample counts in the average.
const WEIGHT: f64 = 0.2;

impl Rhythm {
    pub(crate) fn new(ratio_max: f64) -> Self {
        Self { interval: INTERVAL_MIN, cost_secs: 0.0, ratio_max }
    }

    /// The time between two samples.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// A sample has taken so much processor time.
    pub(crate) fn took(&mut self, cost_secs: f64) {
        self.cost_secs += WEIGHT * (cost_secs - self.cost_secs);
        let ratio = |interval: Duration| self.cost_secs / interval.as_secs_f64();
        if self.ratio_max < ratio(self.interval) {
            self.interval = (self.interval * 2).min(INTERVAL_MAX);
        } else if ratio(self.interval / 2) < self.ratio_max / 2.0 {
            self.interval = (self.interval / 2).max(INTERVAL_MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_that_cost_too_much_are_taken_less_often_and_later_as_before() {
        let mut rhythm = Rhythm::new(0.01);
        let mut interval_after = |cost_secs: f64| {
            (0..100).for_each(|_| rhythm.took(cost_secs));
            rhythm.interval().as_secs()
        };
        assert_eq!(interval_after(0.005), 1);
        assert_eq!(interval_after(0.030), 4);
        assert_eq!(interval_after(0.030), 4);
        assert_eq!(interval_after(9.0), 16);
        assert_eq!(interval_after(0.001), 1);
    }
}
