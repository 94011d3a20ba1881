//! A profile: how often which stack was seen.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Different stacks that are kept apart. Those beyond are told as their thread's.
pub const STACKS_MAX: usize = 20_000;

/// Frames of one stack. What is below is cut off, and counted as not unwound.
pub const FRAMES_MAX: usize = 192;

/// Different functions.
pub const FUNCTIONS_MAX: usize = 20_000;

/// Characters of a name.
pub const NAME_CHARS_MAX: usize = 200;

/// What the numbers of a profile count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Samples of processor time.
    #[default]
    Samples,
    /// Bytes of memory.
    Bytes,
}

/// What was seen of a process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The process.
    pub pid: i32,
    /// What `samples` are, everywhere in it.
    pub unit: Unit,
    /// How long it was looked at, in seconds.
    pub duration_secs: f64,
    /// Samples per second of processor time of each thread; 0 of memory.
    pub frequency_hz: u64,
    /// Why it ended.
    pub ended: Ended,
    /// What the stacks consist of.
    pub functions: Vec<Function>,
    /// Different stacks, with how often each was seen.
    pub stacks: Vec<Stack>,
    /// The threads that were seen.
    pub threads: Vec<Thread>,
    /// Samples, all together.
    pub samples: u64,
    /// Samples that the kernel had no space for.
    pub lost: u64,
    /// Samples whose stack could not be followed to its end.
    pub cut: u64,
    /// Samples whose stack is not told, because there were more than [`STACKS_MAX`] others.
    pub merged: u64,
    /// Threads that could not be sampled: there were too many, or no memory for them.
    pub threads_missed: u64,
}

/// Why a profile ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// Its time was over.
    #[default]
    InTime,
    /// The process was over.
    WithTheProcess,
    /// Nobody wanted it any more.
    Withdrawn,
}

/// A function, or what is known of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Function {
    /// Its name; an offset where it has none.
    pub name: String,
    /// The file that it is in.
    pub module: String,
}

/// A stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Which of the threads.
    pub thread: u32,
    /// Which functions, the outermost first.
    pub frames: Vec<u32>,
    /// How often it was seen.
    pub samples: u64,
}

/// A thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Its id.
    pub tid: i32,
    /// Its name.
    pub name: String,
    /// How often it was seen.
    pub samples: u64,
}

impl Profile {
    /// Whether it can be shown: every index means something, and the numbers add up. To be asked
    /// of what another process sent.
    pub fn is_whole(&self) -> bool {
        let (functions, threads) = (self.functions.len(), self.threads.len());
        let fits = |stack: &Stack| {
            (stack.thread as usize) < threads
                && stack.frames.len() <= FRAMES_MAX
                && stack.frames.iter().all(|frame| (*frame as usize) < functions)
        };
        let sum = self.stacks.iter().try_fold(0_u64, |sum, stack| sum.checked_add(stack.samples));
        self.stacks.len() <= STACKS_MAX + threads
            // What is beyond has a name, and so has what stands for stacks of which nothing is known.
            && functions <= FUNCTIONS_MAX + 2
            && self.stacks.iter().all(fits)
            && sum == Some(self.samples)
            && self.duration_secs.is_finite()
    }

    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        let names = |function: &Function| function.name.len() + function.module.len() + 48;
        let functions: usize = self.functions.iter().map(names).sum();
        let stacks: usize = self.stacks.iter().map(|stack| 4 * stack.frames.len() + 40).sum();
        let threads: usize = self.threads.iter().map(|thread| thread.name.len() + 64).sum();
        functions + stacks + threads
    }

    /// The share of samples, from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "shares are floating point")]
    pub fn share(&self, samples: u64) -> f64 {
        if self.samples == 0 { 0.0 } else { samples as f64 / self.samples as f64 }
    }
}

/// Gives each function a number.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    known: HashMap<Function, u32>,
    list: Vec<Function>,
}

impl Functions {
    pub(crate) fn number(&mut self, mut function: Function) -> u32 {
        for text in [&mut function.name, &mut function.module] {
            if let Some((end, _)) = text.char_indices().nth(NAME_CHARS_MAX) {
                text.truncate(end);
            }
        }
        if FUNCTIONS_MAX <= self.list.len() && !self.known.contains_key(&function) {
            function = Function { name: "[others]".into(), module: String::new() };
        }
        if let Some(number) = self.known.get(&function) {
            return *number;
        }
        let number = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.list.push(function.clone());
        self.known.insert(function, number);
        number
    }

    pub(crate) fn into_list(self) -> Vec<Function> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_beyond_the_bound_are_one() {
        let mut functions = Functions::default();
        let one = |n: usize| Function { name: format!("f{n}"), module: "m".into() };
        let numbers: Vec<_> = (0..FUNCTIONS_MAX + 5).map(|n| functions.number(one(n))).collect();
        assert_eq!(functions.number(one(3)), 3);
        assert_eq!(numbers[FUNCTIONS_MAX], numbers[FUNCTIONS_MAX + 4]);
        assert_eq!(functions.into_list().len(), FUNCTIONS_MAX + 1);
    }

    #[test]
    fn what_does_not_add_up_is_not_whole() {
        let function = Function { name: "f".into(), module: "m".into() };
        let stack = Stack { thread: 0, frames: vec![0], samples: 2 };
        let thread = Thread { tid: 1, name: "t".into(), samples: 2 };
        let good = Profile {
            functions: vec![function],
            stacks: vec![stack],
            threads: vec![thread],
            samples: 2,
            ..Profile::default()
        };
        assert!(good.is_whole());
        let spoil = |how: fn(&mut Profile)| {
            let mut bad = good.clone();
            how(&mut bad);
            assert!(!bad.is_whole(), "{bad:?}");
        };
        spoil(|bad| bad.stacks[0].frames = vec![1]);
        spoil(|bad| bad.stacks[0].thread = 1);
        spoil(|bad| bad.samples = 3);
        spoil(|bad| bad.stacks.push(Stack { samples: u64::MAX, ..bad.stacks[0].clone() }));
        spoil(|bad| bad.duration_secs = f64::NAN);
    }
}
