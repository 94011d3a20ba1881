//! Who calls whom, as far as it matters.

use std::collections::BTreeMap;

use super::thread_name;
use crate::profile::Profile;

/// A call tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// In the order in which one reads: each before what it calls, the heaviest first.
    pub nodes: Vec<Node>,
    /// How many are not told, because they are below the threshold or too many.
    pub left_out: usize,
}

/// A function, where it was called from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// How deep, from 0.
    pub depth: usize,
    /// The function's name; at depth 0 the thread's.
    pub name: String,
    /// The file that it is in; empty for a thread.
    pub module: String,
    /// Samples in it itself.
    pub self_samples: u64,
    /// Samples in it, or in what it calls.
    pub total_samples: u64,
}

#[derive(Default)]
struct Branch {
    own: u64,
    total: u64,
    below: BTreeMap<u32, Self>,
}

/// The call tree, without what takes less than `ratio` of all samples: at most `max` nodes.
pub fn tree(profile: &Profile, ratio: f64, max: usize) -> Tree {
    let mut threads: BTreeMap<&str, Branch> = BTreeMap::new();
    for stack in &profile.stacks {
        let mut at = threads.entry(thread_name(profile, stack)).or_default();
        at.total += stack.samples;
        for frame in &stack.frames {
            at = at.below.entry(*frame).or_default();
            at.total += stack.samples;
        }
        at.own += stack.samples;
    }
    let mut out = Tree { nodes: Vec::new(), left_out: 0 };
    let mut threads: Vec<_> = threads.iter().collect();
    threads.sort_by_key(|(_, branch)| std::cmp::Reverse(branch.total));
    // Not by recursion: how deep a stack is, is its program's choice.
    let mut waiting: Vec<(usize, Option<u32>, &str, &Branch)> =
        threads.into_iter().rev().map(|(name, branch)| (0, None, *name, branch)).collect();
    while let Some((depth, frame, name, branch)) = waiting.pop() {
        if profile.share(branch.total) < ratio || max <= out.nodes.len() {
            out.left_out += size(branch);
            continue;
        }
        let function = frame.and_then(|frame| profile.functions.get(frame as usize));
        out.nodes.push(Node {
            depth,
            name: function.map_or(name, |function| &function.name).to_owned(),
            module: function.map_or_else(String::new, |function| function.module.clone()),
            self_samples: branch.own,
            total_samples: branch.total,
        });
        let mut below: Vec<_> = branch.below.iter().collect();
        below.sort_by_key(|(_, branch)| branch.total);
        waiting
            .extend(below.into_iter().map(|(frame, below)| (depth + 1, Some(*frame), "", below)));
    }
    out
}

fn size(branch: &Branch) -> usize {
    let mut count = 0;
    let mut waiting = vec![branch];
    while let Some(branch) = waiting.pop() {
        count += 1;
        waiting.extend(branch.below.values());
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::tests::example;

    fn lines(tree: &Tree) -> Vec<String> {
        let line = |node: &Node| {
            let Node { depth, name, self_samples, total_samples, .. } = node;
            format!("{}{name} {self_samples}/{total_samples}", " ".repeat(*depth))
        };
        tree.nodes.iter().map(line).collect()
    }

    #[test]
    fn the_tree_has_what_is_heavy_in_reading_order() {
        let whole = tree(&example(), 0.0, 100);
        let wanted = [
            "sim 0/90",
            " main 0/90",
            "  step 10/90",
            "   step 20/80",
            "    solve; quickly 60/60",
            "control 0/10",
            " wait 10/10",
        ];
        assert_eq!(lines(&whole), wanted);
        let hot = tree(&example(), 0.85, 100);
        assert_eq!(lines(&hot), wanted[..3]);
        assert_eq!(hot.left_out, 4);
        assert_eq!(tree(&example(), 0.0, 1).left_out, 6);
    }
}
