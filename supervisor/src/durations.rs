//! Many durations, as counts in the buckets of a worker's meter: they add up, and percentiles of the
//! sum are those of all of them, to an eighth.

use serde::{Deserialize, Serialize};
use simward_protocol::meter::{BUCKETS, bucket, bucket_begin};

/// How many durations fell into each bucket that has any, by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    counts: Vec<(u8, u64)>,
}

impl Durations {
    /// What has come to a histogram since it was last looked at. A count that has shrunk says nothing.
    pub fn between(before: &[u64], now: &[u64]) -> Self {
        let more = before.iter().zip(now).map(|(before, now)| now.saturating_sub(*before));
        let more = (0_u8..).zip(more).take(BUCKETS).filter(|(_, more)| *more != 0);
        Self { counts: more.collect() }
    }

    /// What they take in memory.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.counts.capacity() * size_of::<(u8, u64)>()
    }

    /// Adds one.
    pub fn note(&mut self, nanos: u64) {
        let bucket = u8::try_from(bucket(nanos)).unwrap_or(u8::MAX);
        self.add(&Self { counts: vec![(bucket, 1)] });
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.counts.clone_from(&other.counts);
            return;
        }
        for (bucket, more) in &other.counts {
            match self.counts.binary_search_by_key(bucket, |(bucket, _)| *bucket) {
                Ok(place) => {
                    let count = &mut self.counts[place].1;
                    *count = count.saturating_add(*more);
                }
                Err(place) => self.counts.insert(place, (*bucket, *more)),
            }
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum: u64, (_, count)| sum.saturating_add(*count))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The duration that a share of them does not exceed, in seconds.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank need not be exact beyond 2^53"
    )]
    pub fn percentile(&self, ratio: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((count as f64 * ratio.clamp(0.0, 1.0)).ceil() as u64).clamp(1, count);
        let mut below = 0_u64;
        for (bucket, count) in &self.counts {
            if rank <= below.saturating_add(*count) {
                let within = (rank - below) as f64 / *count as f64;
                return Some(seconds(*bucket, within));
            }
            below = below.saturating_add(*count);
        }
        None
    }

    /// The mean, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        let sum: f64 =
            self.counts.iter().map(|(bucket, count)| seconds(*bucket, 0.5) * *count as f64).sum();
        (count != 0).then(|| sum / count as f64)
    }
}

/// A duration within a bucket: 0 is its beginning, 1 its end.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a minute")]
fn seconds(bucket: u8, within: f64) -> f64 {
    let bucket = usize::from(bucket).min(BUCKETS - 1);
    let (begin, end) = (bucket_begin(bucket) as f64, bucket_begin(bucket + 1) as f64);
    (begin + (end - begin) * within) / 1e9
}

#[cfg(test)]
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "numbers of a test are small, and exact where they are compared"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(nanos: &[u64]) -> Durations {
        let mut durations = Durations::default();
        for nanos in nanos {
            durations.note(*nanos);
        }
        durations
    }

    proptest! {
        #[test]
        fn percentiles_are_right_to_an_eighth(
            mut nanos in prop::collection::vec(64_u64..10_000_000_000, 1..200),
            ratio in 0.0_f64..1.0,
        ) {
            let durations = of(&nanos);
            nanos.sort_unstable();
            let rank = ((nanos.len() as f64 * ratio).ceil() as usize).clamp(1, nanos.len());
            let exact = nanos[rank - 1] as f64 / 1e9;
            let told = durations.percentile(ratio).unwrap();
            prop_assert!((told / exact - 1.0).abs() <= 0.126, "{told} for {exact}");
        }

        #[test]
        fn a_sum_has_the_percentiles_of_all(
            one in prop::collection::vec(64_u64..1_000_000, 1..50),
            two in prop::collection::vec(64_u64..1_000_000, 1..50),
        ) {
            let mut sum = of(&one);
            sum.add(&of(&two));
            let all: Vec<u64> = one.iter().chain(&two).copied().collect();
            prop_assert_eq!(&sum, &of(&all));
            prop_assert_eq!(sum.count(), all.len() as u64);
        }
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(Durations::default().percentile(0.5), None);
        assert_eq!(Durations::default().mean(), None);
    }

    #[test]
    fn counts_that_shrink_say_nothing() {
        let mut now = [0; BUCKETS];
        (now[3], now[5]) = (1, 9);
        let mut before = [0; BUCKETS];
        (before[3], before[5]) = (4, 4);
        assert_eq!(Durations::between(&before, &now).counts, [(5, 5)]);
    }
}
