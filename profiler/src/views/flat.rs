//! Functions by what they take.

use std::collections::BTreeSet;

use crate::profile::{Function, Profile};

/// The heaviest functions.
#[derive(Clone, Debug, PartialEq)]
pub struct Top {
    /// The heaviest first, by what they take themselves, and then by all.
    pub rows: Vec<Row>,
    /// How many are not told.
    pub left_out: usize,
}

/// What a function takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The function.
    pub function: Function,
    /// Samples in it itself.
    pub self_samples: u64,
    /// Samples in it, or in what it calls. A function that calls itself counts once.
    pub total_samples: u64,
}

/// The `max` heaviest functions.
pub fn top(profile: &Profile, max: usize) -> Top {
    let mut counts = vec![(0_u64, 0_u64); profile.functions.len()];
    for stack in &profile.stacks {
        let distinct: BTreeSet<_> = stack.frames.iter().collect();
        for frame in distinct {
            if let Some((_, total)) = counts.get_mut(*frame as usize) {
                *total += stack.samples;
            }
        }
        let leaf = stack.frames.last().and_then(|leaf| counts.get_mut(*leaf as usize));
        if let Some((own, _)) = leaf {
            *own += stack.samples;
        }
    }
    let row = |(function, (own, total)): (&Function, (u64, u64))| Row {
        function: function.clone(),
        self_samples: own,
        total_samples: total,
    };
    let mut rows: Vec<Row> = profile.functions.iter().zip(counts).map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.self_samples, row.total_samples)));
    let left_out = rows.len().saturating_sub(max);
    rows.truncate(max);
    Top { rows, left_out }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::tests::example;

    #[test]
    fn a_function_that_calls_itself_counts_once() {
        let Top { rows, left_out } = top(&example(), 2);
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.function.name.as_str(), row.self_samples, row.total_samples))
            .collect();
        assert_eq!(told, [("solve; quickly", 60, 60), ("step", 30, 90)]);
        assert_eq!(left_out, 2);
    }

    #[test]
    fn what_functions_take_themselves_is_all_there_is() {
        let own: u64 = top(&example(), 100).rows.iter().map(|row| row.self_samples).sum();
        assert_eq!(own, example().samples);
    }
}
