//! The last hour of one value, second by second.
//!
//! A minute in which nothing changed takes the room of one value: most minutes of most sessions.

use std::collections::VecDeque;

/// Seconds in a block.
pub const BLOCK_SECS: usize = 60;

/// Blocks that are kept whole.
const BLOCKS_MAX: usize = 60;

/// A minute.
#[derive(Clone, Debug, PartialEq)]
enum Block {
    Same(f32),
    Each(Box<[f32; BLOCK_SECS]>),
}

/// What is left of many values: enough for their mean, and for that of several such.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// The least.
    pub min: f32,
    /// The most.
    pub max: f32,
    /// All of them together.
    pub sum: f64,
    /// How many there are.
    pub count: u32,
}

impl Summary {
    /// Of these; of nothing if there are none.
    pub fn of(values: impl IntoIterator<Item = f32>) -> Self {
        let mut summary = Self::default();
        for value in values {
            if value.is_finite() {
                let sum = f64::from(value);
                summary.add(Self { min: value, max: value, sum, count: 1 });
            }
        }
        summary
    }

    /// Of the same value, so many times.
    fn same(value: f32, times: usize) -> Self {
        if !value.is_finite() {
            return Self::default();
        }
        let count = u32::try_from(times).unwrap_or(u32::MAX);
        Self { min: value, max: value, sum: f64::from(value) * f64::from(count), count }
    }

    /// Of the values of both.
    pub fn add(&mut self, other: Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = other;
            return;
        }
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        self.count = self.count.saturating_add(other.count);
    }

    /// The mean, if there are any.
    pub fn mean(&self) -> Option<f64> {
        (self.count != 0).then(|| self.sum / f64::from(self.count))
    }
}

/// The last hour of a value. Seconds without one are NaN.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    closed: VecDeque<Block>,
    open: Vec<f32>,
}

impl Ring {
    /// Adds the value of that second of the current minute. Seconds that were left out have none.
    pub fn push(&mut self, second: usize, value: f32) {
        let second = second.min(BLOCK_SECS - 1);
        if self.open.len() <= second {
            self.open.resize(second, f32::NAN);
            self.open.push(value);
        }
    }

    /// The minute is over: what it was.
    pub fn close(&mut self) -> Summary {
        self.open.resize(BLOCK_SECS, f32::NAN);
        let summary = Summary::of(self.open.iter().copied());
        let first = self.open[0];
        let same = self.open.iter().all(|value| value.to_bits() == first.to_bits());
        let block = <Box<[f32; BLOCK_SECS]>>::try_from(self.open.as_slice().to_vec());
        self.closed.push_back(match block {
            Ok(each) if !same => Block::Each(each),
            _ => Block::Same(first),
        });
        self.open.clear();
        if BLOCKS_MAX < self.closed.len() {
            self.closed.pop_front();
        }
        summary
    }

    /// How many seconds there are: whole minutes, and those of the current one.
    pub fn len(&self) -> usize {
        self.closed.len() * BLOCK_SECS + self.open.len()
    }

    /// How many seconds of the current minute there are.
    pub fn open_len(&self) -> usize {
        self.open.len()
    }

    /// How many whole minutes there are.
    pub fn minutes(&self) -> usize {
        self.closed.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values from the newest to the oldest.
    pub fn newest_first(&self) -> impl Iterator<Item = f32> {
        let closed = self.closed.iter().rev().flat_map(|block| {
            (0..BLOCK_SECS).rev().map(move |second| match block {
                Block::Same(value) => *value,
                Block::Each(values) => values[second],
            })
        });
        self.open.iter().rev().copied().chain(closed)
    }

    /// What is left of the values of the seconds from `first` back to `last`, both counted from the
    /// newest, which is 0.
    pub fn summary(&self, first: usize, last: usize) -> Summary {
        let mut summary = Summary::default();
        let mut back = 0;
        let open = self.open.iter().rev().copied().enumerate();
        let inside = |place: &usize| (first..=last).contains(place);
        summary.add(Summary::of(open.filter(|(place, _)| inside(place)).map(|(_, value)| value)));
        back += self.open.len();
        for block in self.closed.iter().rev() {
            if last < back {
                break;
            }
            let (begin, end) = (first.max(back), last.min(back + BLOCK_SECS - 1));
            if begin <= end {
                summary.add(match block {
                    Block::Same(value) => Summary::same(*value, end - begin + 1),
                    // The newest second of a block stands last in it.
                    Block::Each(values) => {
                        let newest = back + BLOCK_SECS - 1;
                        Summary::of(values[newest - end..=newest - begin].iter().copied())
                    }
                });
            }
            back += BLOCK_SECS;
        }
        summary
    }

    /// What it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let each = self.closed.iter().filter(|block| matches!(block, Block::Each(_))).count();
        size_of::<Self>()
            + self.closed.capacity() * size_of::<Block>()
            + (each * BLOCK_SECS + self.open.capacity()) * size_of::<f32>()
    }
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

    proptest! {
        #[test]
        fn an_hour_is_kept_second_by_second(seconds in 1_usize..10_000, changing: bool) {
            let mut ring = Ring::default();
            let value = |second: usize| if changing { second as f32 } else { 7.0 };
            for second in 0..seconds {
                ring.push(second % BLOCK_SECS, value(second));
                if second % BLOCK_SECS == BLOCK_SECS - 1 {
                    let summary = ring.close();
                    prop_assert_eq!(summary.count, 60);
                    prop_assert_eq!(summary.max, value(second));
                }
            }
            let kept: Vec<f32> = ring.newest_first().collect();
            let at_least = seconds.min(BLOCKS_MAX * BLOCK_SECS);
            prop_assert!(at_least <= kept.len() && kept.len() < 3660 && kept.len() == ring.len());
            for (back, kept) in kept.iter().enumerate() {
                prop_assert_eq!(*kept, value(seconds - 1 - back));
            }
        }
    }

    proptest! {
        #[test]
        fn a_summary_is_that_of_the_values(
            seconds in 1_usize..4000, first in 0_usize..200, span in 0_usize..3800, step in 1_usize..200,
        ) {
            let mut ring = Ring::default();
            for second in 0..seconds {
                // Some minutes change and some do not.
                ring.push(second % BLOCK_SECS, (second / step) as f32);
                if second % BLOCK_SECS == BLOCK_SECS - 1 {
                    ring.close();
                }
            }
            let last = first + span;
            let values = ring.newest_first().enumerate();
            let meant = values.filter(|(place, _)| (first..=last).contains(place));
            let expected = Summary::of(meant.map(|(_, value)| value));
            prop_assert_eq!(ring.summary(first, last), expected);
        }
    }

    #[test]
    fn what_does_not_change_takes_no_room() {
        let (mut still, mut moving) = (Ring::default(), Ring::default());
        for second in 0..3600 {
            still.push(second % BLOCK_SECS, 1.0);
            moving.push(second % BLOCK_SECS, second as f32);
            if second % BLOCK_SECS == BLOCK_SECS - 1 {
                still.close();
                moving.close();
            }
        }
        assert!(still.bytes() < 2500, "{}", still.bytes());
        assert!(moving.bytes() < 17_500, "{}", moving.bytes());
    }

    #[test]
    fn seconds_that_were_left_out_have_no_value() {
        let mut ring = Ring::default();
        ring.push(1, 5.0);
        ring.push(3, 7.0);
        // A second that has a value keeps it.
        ring.push(2, 9.0);
        let kept: Vec<f32> = ring.newest_first().collect();
        assert!(kept[3].is_nan() && kept[1].is_nan(), "{kept:?}");
        let summary = ring.close();
        assert_eq!((summary.count, summary.min, summary.mean()), (2, 5.0, Some(6.0)));
    }
}
