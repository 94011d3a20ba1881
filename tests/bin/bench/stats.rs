//! What many measurements of the same thing say.

use std::time::Duration;

/// Measurements of the same thing.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn add_millis(&mut self, time: Duration) {
        self.add(time.as_secs_f64() * 1e3);
    }

    pub(crate) fn add_micros(&mut self, time: Duration) {
        self.add(time.as_secs_f64() * 1e6);
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn count(&self) -> f64 {
        self.0.iter().map(|_| 1.0).sum()
    }

    pub(crate) fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    pub(crate) fn max(&self) -> f64 {
        self.quantile(100)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(50)
    }

    /// The value that `percent` of the measurements do not exceed.
    pub(crate) fn quantile(&self, percent: usize) -> f64 {
        assert!(!self.0.is_empty(), "nothing was measured");
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted[rank.max(1) - 1]
    }
}
