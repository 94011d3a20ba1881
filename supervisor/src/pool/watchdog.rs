//! Limits that no control group enforces: looked at now and then, and enforced by ending the
//! process.
//!
//! Between two looks a process may take more than its limit: what it can fill in that time, which
//! is about half a gigabyte for each second. So this is for where the kernel's own limits are not
//! to be had, and never to be called one of those.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};

/// What a process may have. Absent means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Resident memory, in bytes; memory shared with other processes counts in full.
    pub memory_bytes: Option<u64>,
    /// Threads.
    pub threads_max: Option<u64>,
}

/// What a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
    /// Threads.
    pub threads: u64,
}

/// A limit that was passed, and what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// Resident memory.
    Memory {
        /// The limit, in bytes.
        limit_bytes: u64,
        /// What it had, in bytes.
        rss_bytes: u64,
    },
    /// Threads.
    Threads {
        /// The limit.
        limit: u64,
        /// What it had.
        threads: u64,
    },
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { limit_bytes, rss_bytes } => {
                let (limit, used) = (limit_bytes >> 20, rss_bytes >> 20);
                write!(f, "{used} MiB of resident memory, where {limit} MiB are allowed")
            }
            Self::Threads { limit, threads } => {
                write!(f, "{threads} threads, where {limit} are allowed")
            }
        }
    }
}

/// Whether a process has more than it may have. Memory first: it is the more urgent.
pub fn judge(limits: &Limits, usage: &Usage) -> Option<Exceeded> {
    let Usage { rss_bytes, threads } = *usage;
    let memory = limits.memory_bytes.filter(|limit| *limit < rss_bytes);
    let memory = memory.map(|limit_bytes| Exceeded::Memory { limit_bytes, rss_bytes });
    let too_many = limits.threads_max.filter(|limit| *limit < threads);
    memory.or_else(|| too_many.map(|limit| Exceeded::Threads { limit, threads }))
}

/// Reads what one process has, again and again.
///
/// Its files stay open, so that a later process with the same pid is never mistaken for it.
#[derive(Debug)]
pub struct Watched {
    statm: File,
    stat: File,
    text: String,
}

impl Watched {
    /// Opens a process's files; an error if there is no such process.
    pub fn open(pid: i32) -> io::Result<Self> {
        let statm = File::open(format!("/proc/{pid}/statm"))?;
        let stat = File::open(format!("/proc/{pid}/stat"))?;
        Ok(Self { statm, stat, text: String::with_capacity(512) })
    }

    /// What the process has; an error if it is gone. Costs 11 µs.
    pub fn read(&mut self) -> io::Result<Usage> {
        let rss_bytes = rss_pages(self.fill(|it| &it.statm)?).map(|it| it * procfs::page_size());
        let threads = threads(self.fill(|it| &it.stat)?);
        match (rss_bytes, threads) {
            (Some(rss_bytes), Some(threads)) => Ok(Usage { rss_bytes, threads }),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "/proc is not as expected")),
        }
    }

    /// The text of a file, as it is now.
    fn fill(&mut self, file: fn(&Self) -> &File) -> io::Result<&str> {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let mut from = file(self);
        from.rewind()?;
        from.read_to_string(&mut text)?;
        self.text = text;
        Ok(&self.text)
    }
}

/// The second number of `statm`.
fn rss_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The twentieth field of `stat`; the second is the program's name, which may hold anything.
fn threads(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_ascii_whitespace().nth(17)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_limit_may_be_reached_and_not_passed() {
        let limits = Limits { memory_bytes: Some(8 * MIB), threads_max: Some(4) };
        let judge = |rss_bytes, threads| judge(&limits, &Usage { rss_bytes, threads });
        assert_eq!(judge(8 * MIB, 4), None);
        let memory = judge(9 * MIB, 5).unwrap();
        assert_eq!(memory, Exceeded::Memory { limit_bytes: 8 * MIB, rss_bytes: 9 * MIB });
        let text = "9 MiB of resident memory, where 8 MiB are allowed";
        assert_eq!(memory.to_string(), text);
        let threads = judge(0, 5).unwrap();
        assert_eq!(threads, Exceeded::Threads { limit: 4, threads: 5 });
        assert_eq!(threads.to_string(), "5 threads, where 4 are allowed");
    }

    #[test]
    fn without_limits_anything_goes() {
        let usage = Usage { rss_bytes: u64::MAX, threads: u64::MAX };
        assert_eq!(judge(&Limits::default(), &usage), None);
    }

    #[test]
    fn a_name_may_hold_what_it_likes() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 3 0 100 0 0 18446744073 0";
        assert_eq!(threads(stat), Some(3));
        assert_eq!(threads("7 (a"), None);
        assert_eq!(rss_pages("1 2 3"), Some(2));
        assert_eq!(rss_pages(""), None);
    }

    #[test]
    fn memory_and_threads_are_seen_when_they_are_taken() {
        let mut watched = Watched::open(std::process::id().cast_signed()).unwrap();
        let before = watched.read().unwrap();
        let taken = vec![1_u8; 64 << 20];
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv().ok());
        let after = watched.read().unwrap();
        assert!(before.rss_bytes + 60 * MIB < after.rss_bytes);
        // Other tests may be running in threads of this process.
        assert!(2 <= after.threads);
        drop((done, taken));
        thread.join().unwrap();
        let (start, count) = (Instant::now(), 1000);
        for _ in 0..count {
            watched.read().unwrap();
        }
        println!("a look costs {:?}", start.elapsed() / count);
    }

    #[test]
    fn a_process_that_is_gone_has_nothing() {
        #[expect(clippy::disallowed_methods, reason = "it is no worker")]
        let mut command = Command::new("cat");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pid = child.id().cast_signed();
        let mut watched = Watched::open(pid).unwrap();
        assert!(0 < watched.read().unwrap().rss_bytes);
        drop(child.stdin.take());
        child.wait().unwrap();
        watched.read().unwrap_err();
        Watched::open(i32::MAX).unwrap_err();
    }
}
