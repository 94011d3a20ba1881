//! How a profile is shown.

mod flat;
mod folded;
mod pprof;
mod speedscope;
mod tree;

pub use self::flat::{Row, Top, top};
pub use self::folded::{flamegraph, folded};
pub use self::pprof::pprof;
pub use self::speedscope::speedscope;
pub use self::tree::{Node, Tree, tree};
use crate::profile::{Function, Profile, Stack};

/// What a frame is called that is a thread.
fn thread_name<'a>(profile: &'a Profile, stack: &Stack) -> &'a str {
    let thread = profile.threads.get(stack.thread as usize);
    thread.map_or("", |thread| &thread.name)
}

/// The functions of a stack, the outermost first.
fn functions<'a>(profile: &'a Profile, stack: &'a Stack) -> impl Iterator<Item = &'a Function> {
    stack.frames.iter().filter_map(|frame| profile.functions.get(*frame as usize))
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::profile::{Function, Profile, Stack, Thread};

    /// Two threads; `step` calls itself, and `solve`.
    pub(crate) fn example() -> Profile {
        let function = |name: &str| Function { name: name.into(), module: "lib.so".into() };
        let stack =
            |thread, frames: &[u32], samples| Stack { thread, frames: frames.into(), samples };
        let thread = |tid, name: &str, samples| Thread { tid, name: name.into(), samples };
        Profile {
            pid: 7,
            duration_secs: 2.0,
            frequency_hz: 100,
            functions: ["main", "step", "solve; quickly", "wait"].map(function).into(),
            stacks: vec![
                stack(0, &[0, 1], 10),
                stack(0, &[0, 1, 1], 20),
                stack(0, &[0, 1, 1, 2], 60),
                stack(1, &[3], 10),
            ],
            threads: vec![thread(7, "sim", 90), thread(8, "control", 10)],
            samples: 100,
            ..Profile::default()
        }
    }

    #[test]
    fn the_example_is_whole() {
        assert!(example().is_whole());
    }
}
