//! How fast a session's simulations may go: a bucket that steps and processor time are taken from.

use std::time::{Duration, Instant};

/// What may be caught up after a rest.
const BURST: Duration = Duration::from_millis(100);

/// A slice's share of a second, so that a limited simulation moves evenly.
const SLICE_SECS: f64 = 0.02;

/// The limits of a session, and what it owes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Steps per second.
    step_rate: Option<f64>,
    /// Processor time over elapsed time.
    cpu_ratio: Option<f64>,
    /// When the session has paid for what it did.
    paid_at: Instant,
}

impl Pace {
    /// Limits that make no sense are none.
    pub(crate) fn new(step_rate: Option<f64>, cpu_ratio: Option<f64>, now: Instant) -> Self {
        let positive = |limit: Option<f64>| limit.filter(|limit| 0.0 < *limit && limit.is_finite());
        Self { step_rate: positive(step_rate), cpu_ratio: positive(cpu_ratio), paid_at: now }
    }

    /// Other limits from now on. What is owed is what it would be by these, if that is less.
    pub(crate) fn change(&mut self, step_rate: Option<f64>, cpu_ratio: Option<f64>, now: Instant) {
        let next = Self::new(step_rate, cpu_ratio, now);
        let part = |before: Option<f64>, after: Option<f64>| match (before, after) {
            (Some(before), Some(after)) => before / after,
            _ => 0.0,
        };
        let steps = part(self.step_rate, next.step_rate);
        let time = part(self.cpu_ratio, next.cpu_ratio);
        let owed = self.owed(now).unwrap_or_default().mul_f64(steps.max(time).min(1.0));
        let paid_at = if owed.is_zero() { self.paid_at.min(now) } else { now + owed };
        *self = Self { paid_at, ..next };
    }

    /// The most steps of one slice.
    pub(crate) fn slice_max(&self) -> u64 {
        let steps = self.step_rate.map_or(f64::MAX, |rate| rate * SLICE_SECS);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let steps = steps as u64;
        steps.max(1)
    }

    /// So many steps were taken, in so much time.
    pub(crate) fn took(&mut self, now: Instant, steps: u64, busy: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a slice has few steps")]
        let for_steps = self.step_rate.map_or(0.0, |rate| steps as f64 / rate);
        let for_time = self.cpu_ratio.map_or(0.0, |ratio| busy.as_secs_f64() / ratio);
        let cost = Duration::try_from_secs_f64(for_steps.max(for_time)).unwrap_or(Duration::MAX);
        // The slice itself took its time: the bill runs from its beginning.
        let begun = now.checked_sub(busy).unwrap_or(now);
        let oldest = begun.checked_sub(BURST).unwrap_or(begun);
        let from = self.paid_at.max(oldest);
        self.paid_at = from.checked_add(cost).unwrap_or(from);
    }

    /// How long the session has to rest.
    pub(crate) fn owed(&self, now: Instant) -> Option<Duration> {
        let owed = self.paid_at.saturating_duration_since(now);
        (!owed.is_zero()).then_some(owed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps as fast as it may for ten seconds of a virtual clock.
    fn steps_in_ten_secs(mut pace: Pace, begun: Instant, step_takes: Duration) -> (u64, Duration) {
        let (mut now, mut steps, mut busy) = (begun, 0, Duration::ZERO);
        while now < begun + Duration::from_secs(10) {
            if let Some(owed) = pace.owed(now) {
                now += owed;
                continue;
            }
            let slice = pace.slice_max().min(100);
            let took = step_takes * u32::try_from(slice).unwrap();
            now += took;
            pace.took(now, slice, took);
            (steps, busy) = (steps + slice, busy + took);
        }
        (steps, busy)
    }

    #[test]
    fn a_step_rate_is_kept() {
        let begun = Instant::now();
        for rate in [1.0, 50.0, 1000.0] {
            let pace = Pace::new(Some(rate), None, begun);
            let (steps, _) = steps_in_ten_secs(pace, begun, Duration::from_micros(20));
            #[expect(clippy::cast_precision_loss, reason = "few steps")]
            let reached = steps as f64 / (10.0 * rate);
            assert!((0.9..1.15).contains(&reached), "{rate}: {reached}");
        }
    }

    #[test]
    fn a_share_of_the_processor_is_kept() {
        let begun = Instant::now();
        let pace = Pace::new(None, Some(0.2), begun);
        let (_, busy) = steps_in_ten_secs(pace, begun, Duration::from_micros(50));
        assert!((1.8..2.2).contains(&busy.as_secs_f64()), "{busy:?}");
    }

    #[test]
    fn a_changed_rate_is_kept_from_then_on_and_a_raise_shortens_what_is_owed() {
        let begun = Instant::now();
        let mut pace = Pace::new(Some(0.01), None, begun);
        pace.took(begun, 1, Duration::ZERO);
        let before = pace.owed(begun).unwrap();
        assert!(Duration::from_secs(99) < before, "{before:?}");
        pace.change(Some(1.0), None, begun);
        let after = pace.owed(begun).unwrap();
        assert!(after <= Duration::from_secs(1), "{after:?}");
        let (steps, _) = steps_in_ten_secs(pace, begun, Duration::from_micros(20));
        assert!((9..=11).contains(&steps), "{steps}");
        // Lowering does not make what was done before dearer.
        pace.change(Some(0.01), None, begun);
        assert_eq!(pace.owed(begun), Some(after));
        pace.change(None, None, begun);
        assert_eq!(pace.owed(begun), None);
    }

    #[test]
    fn more_than_one_core_bounds_those_who_compute_on_several() {
        let begun = Instant::now();
        let mut pace = Pace::new(None, Some(2.0), begun);
        let second = Duration::from_secs(1);
        pace.took(begun + second, 1000, second);
        assert_eq!(pace.owed(begun + second), None);
        pace.took(begun + 2 * second, 1000, 4 * second);
        assert!(pace.owed(begun + 2 * second).is_some());
    }

    #[test]
    fn without_limits_nothing_is_owed() {
        let begun = Instant::now();
        let mut pace = Pace::new(None, Some(f64::NAN), begun);
        pace.took(begun, 1 << 40, Duration::ZERO);
        assert_eq!(pace.owed(begun), None);
        assert!(1 << 30 < pace.slice_max());
    }
}
