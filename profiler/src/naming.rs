//! Stacks that a process took of itself, by name: who holds its memory.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use procfs::process::Process;
use simward_protocol::wire;

use crate::modules::{Modules, Place, into_io};
use crate::profile::{FRAMES_MAX, Profile, STACKS_MAX, Stack, Thread, Unit};
use crate::sampler::{Error, refused};
use crate::talk::{BYTES_MAX, News, Stacks};
use crate::{serve, symbols};

/// How long the other end may take to tell of the stacks.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// What all stacks begin with, in the place of a thread.
const ROOT: &str = "memory";

/// What functions of allocators are called, between whoever asks and the note of it.
const ALLOCATORS: [&str; 14] = [
    "_rjem_",
    "je_",
    "prof_",
    "imalloc",
    "ifree",
    "irallocx",
    "do_rallocx",
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
    "_Unwind_",
];

/// What Rust's own library does for whoever asks.
const LIBRARY: [&str; 8] =
    ["__rust", "__rdl", "__rg_", "alloc::", "<alloc::", "core::", "<core::", "hashbrown::"];

/// Names what the other end of standard input tells of.
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> io::Result<()> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "--pid is missing");
    let named = args.next().filter(|name| name == "--pid").and_then(|_| args.next());
    let pid: i32 = named.and_then(|value| value.parse().ok()).ok_or_else(wrong)?;
    let mut socket = serve::socket()?;
    serve::keep_to_limits()?;
    let news = match name(&mut socket, pid) {
        Ok(profile) => News::Finished(Box::new(profile)),
        Err(error) => serve::refusal(error),
    };
    serve::say(&mut socket, &news)
}

fn name(socket: &mut UnixStream, pid: i32) -> Result<Profile, Error> {
    socket.set_read_timeout(Some(TOLD_WITHIN))?;
    let told = wire::read(socket, &mut Vec::new(), BYTES_MAX)?;
    let Stacks { duration_secs, stacks } =
        told.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    let process = Process::new(pid).map_err(into_io).map_err(refused)?;
    let mut modules = Modules::default();
    modules.look(&process).map_err(refused)?;
    let mut places: BTreeMap<(u32, Vec<Place>), u64> = BTreeMap::new();
    let mut cut = 0_u64;
    for (stack, bytes) in stacks.into_iter().take(STACKS_MAX) {
        if FRAMES_MAX < stack.len() {
            cut = cut.saturating_add(bytes);
        }
        // What is called is before the place that it returns to.
        let place = |address: &u64| modules.place(address.saturating_sub(1));
        let frames = stack.iter().rev().take(FRAMES_MAX).map(place).collect();
        let held = places.entry((0, frames)).or_default();
        *held = held.saturating_add(bytes);
    }
    let (functions, stacks) = symbols::told(&modules, places);
    let name = |frame: &u32| functions.get(*frame as usize).map_or("", |it| it.name.as_str());
    let stacks = without_allocators(stacks, name);
    let samples = stacks.iter().fold(0, |sum: u64, stack| sum.saturating_add(stack.samples));
    let threads = vec![Thread { tid: pid, name: ROOT.to_owned(), samples }];
    let unit = Unit::Bytes;
    Ok(Profile {
        pid,
        unit,
        duration_secs,
        functions,
        stacks,
        threads,
        samples,
        cut,
        ..Profile::default()
    })
}

/// Leaves out what allocators call below whoever asks them.
fn without_allocators<'a>(stacks: Vec<Stack>, name: impl Fn(&u32) -> &'a str) -> Vec<Stack> {
    let is_one_of = |names: &[&str], frame: &u32| {
        let name = name(frame);
        names.iter().any(|start| name.starts_with(start))
    };
    let mut by_frames: BTreeMap<Vec<u32>, u64> = BTreeMap::new();
    for Stack { mut frames, samples, .. } in stacks {
        // Somewhere in there is the note itself; below it nobody asked for anything.
        let asked = frames.iter().position(|frame| is_one_of(&ALLOCATORS, frame));
        let mut end = asked.unwrap_or(frames.len());
        while let Some(before) = end.checked_sub(1).filter(|at| is_one_of(&LIBRARY, &frames[*at])) {
            end = before;
        }
        // Else it is all of one of them.
        if end != 0 {
            frames.truncate(end);
        }
        let held = by_frames.entry(frames).or_default();
        *held = held.saturating_add(samples);
    }
    by_frames.into_iter().map(|(frames, samples)| Stack { thread: 0, frames, samples }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_is_told_and_not_whom_it_asks() {
        let names = [
            "main",
            "grow",
            "alloc::vec::Vec<T>::push",
            "__rust_alloc",
            "_rjem_malloc",
            "prof_note",
        ];
        let stack = |frames: &[u32], samples| Stack { thread: 0, frames: frames.into(), samples };
        let stacks = vec![
            stack(&[0, 1, 2, 3, 4, 5], 10),
            stack(&[0, 1, 4, 5], 5),
            stack(&[4, 5], 1),
            stack(&[0, 2, 1], 2),
        ];
        let told = without_allocators(stacks, |frame| names[*frame as usize]);
        assert_eq!(told, [stack(&[0, 1], 15), stack(&[0, 2, 1], 2), stack(&[4, 5], 1)]);
    }
}
