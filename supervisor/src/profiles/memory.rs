//! What takes a process's memory, at the beginning and at the end of some seconds; and who asked for it
//! between them, of the daemon itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use procfs::process::Process;
use serde::Serialize;
use simward_profiler::Profile;
use simward_profiler::talk::Stacks;
use simward_protocol::profiling::{AllocatorMemory, MeasureMemory, ModelMemories, ModelMemory};

use super::profiler::{Place, Profiler};
use super::report::Heap;
use super::subject::Subject;
use super::{Error, Target};
use crate::code::chain;
use crate::heap::{self, Watch};

/// What takes the memory.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Memory {
    /// The process.
    pub pid: i32,
    /// What the kernel accounts for, in bytes.
    pub process: Vec<Amount>,
    /// What the process's allocator accounts for, in bytes.
    pub allocator: Vec<Amount>,
    /// What each model takes at the end, exactly; none of the daemon.
    pub models: Vec<ModelMemory>,
    /// Who asked for memory meanwhile and has it still; null of a session.
    pub heap: Option<Heap>,
    /// What cannot be told here, and why.
    pub unavailable: Vec<String>,
    /// The same as `heap`, however it is to be seen.
    #[serde(skip)]
    pub(super) held: Option<Arc<Profile>>,
    /// Why there is no end.
    #[serde(skip)]
    pub(super) cut_short: Option<String>,
}

/// An amount of memory at both ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Amount {
    /// Of a process: `rss` (all that is resident), `pss` (what is shared counts in part), `pss_anon`,
    /// `pss_file`, `pss_shmem` (its parts), `private_dirty` (what would be free without it) or `swap`.
    /// Of an allocator: `allocated` (what was asked for), and `free` (what it keeps for later) and
    /// `mapped` (all that it has) of a worker's, or `active` (pages that hold some of it), `metadata`
    /// (its own), `resident` (all that is in memory) and `retained` (address space alone) of the
    /// daemon's.
    pub what: String,
    /// At the beginning.
    pub begin_bytes: u64,
    /// At the end.
    pub end_bytes: Option<u64>,
    /// How much more that is.
    pub grown_bytes: Option<i64>,
}

impl Memory {
    pub(super) fn bytes(&self) -> usize {
        let models = self.models.iter().map(|model| size_of_val(model) + model.model_id.len());
        let amounts = self.process.iter().chain(&self.allocator);
        let amounts = amounts.map(|amount| size_of_val(amount) + amount.what.len());
        let texts = self.unavailable.iter().chain(&self.cut_short);
        let texts = texts.map(|text| size_of_val(text) + text.len());
        let held = self.held.iter().map(|held| held.bytes());
        size_of_val(self) + models.chain(amounts).chain(texts).chain(held).sum::<usize>()
    }
}

/// What is asked of the kernel: our name, and the kernel's.
const AMOUNTS: [(&str, &str); 7] = [
    ("rss", "Rss"),
    ("pss", "Pss"),
    ("pss_anon", "Pss_Anon"),
    ("pss_file", "Pss_File"),
    ("pss_shmem", "Pss_Shmem"),
    ("private_dirty", "Private_Dirty"),
    ("swap", "Swap"),
];

/// Looks twice.
pub(super) async fn profile(
    place: Place<'_>,
    target: &Target,
    duration: Duration,
) -> Result<Memory, Error> {
    let subject = Subject::of(target).await?;
    let mut unavailable = Vec::new();
    let watch = match target {
        Target::Session(_) => {
            unavailable.push(NO_HEAP.to_owned());
            None
        }
        Target::Supervisor => blocking(Watch::begin).await.unwrap_or_else(|why| {
            unavailable.push(format!("a heap profile: {why}"));
            None
        }),
    };
    let begun = Instant::now();
    let begin = look(&subject).await.ok_or(Error::Gone)?;
    let (models_begin, allocator_begin) = told(target, &subject).await?;
    tokio::time::sleep(duration).await;
    let ended = || "the process ended meanwhile: there is no end to compare with".to_owned();
    let (mut models, mut end, mut allocator_end, mut cut_short) = (models_begin, None, None, None);
    // Nobody is woken to be looked at.
    if subject.is_there() {
        match told(target, &subject).await {
            Ok((now, allocator)) => {
                (models, allocator_end, end) = (now, Some(allocator), look(&subject).await);
            }
            Err(error) => cut_short = Some(chain(&error)),
        }
    }
    let mut held = None;
    if let Some(watch) = watch {
        let named = named(place, &subject, watch, begun.elapsed()).await;
        held = named.map_err(|why| unavailable.push(format!("a heap profile: {why}"))).ok();
    }
    let cut_short = cut_short.or_else(|| end.is_none().then(ended));
    Ok(Memory {
        pid: subject.pid(),
        process: amounts(begin, end.as_deref()),
        allocator: amounts(allocator_begin, allocator_end.as_deref()),
        models,
        heap: None,
        unavailable,
        held: held.map(Arc::new),
        cut_short,
    })
}

/// What of a worker cannot be told.
const NO_HEAP: &str = "a heap profile: workers use the system's allocator, which notes nobody; what \
                       their models take is in `models`";

type Amounts = Vec<(&'static str, u64)>;

/// Who holds memory, by name.
async fn named(
    place: Place<'_>,
    subject: &Subject,
    watch: Watch,
    duration: Duration,
) -> Result<Profile, String> {
    // The note of it ends before it is looked at, which takes memory, too.
    let held = blocking(|| watch.end()).await?.unwrap_or_default();
    let stacks = held.into_iter().map(|held| (held.stack, held.bytes)).collect();
    let stacks = Stacks { duration_secs: duration.as_secs_f64(), stacks };
    Profiler::name(place, subject, &stacks).await.map_err(|error| chain(&error))
}

/// Does what waits for the allocator; nothing comes of it when the daemon ends.
async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, heap::Error> + Send + 'static,
) -> Result<Option<T>, String> {
    let done = tokio::task::spawn_blocking(act).await;
    done.ok().transpose().map_err(|error| chain(&error))
}

fn amounts(begin: Amounts, end: Option<&[(&'static str, u64)]>) -> Vec<Amount> {
    let amount = |(what, begin)| {
        let end = end.and_then(|end| end.iter().find(|(other, _)| *other == what));
        amount(what, begin, end.map(|(_, bytes)| *bytes))
    };
    begin.into_iter().map(amount).collect()
}

fn amount(what: &str, begin_bytes: u64, end_bytes: Option<u64>) -> Amount {
    let grown = |end: u64| end.checked_signed_diff(begin_bytes).unwrap_or(i64::MAX);
    Amount { what: what.to_owned(), begin_bytes, end_bytes, grown_bytes: end_bytes.map(grown) }
}

/// What the process tells of itself: of its models, and of its allocator.
async fn told(target: &Target, subject: &Subject) -> Result<(Vec<ModelMemory>, Amounts), Error> {
    match target {
        Target::Supervisor => Ok((Vec::new(), heap::amounts().unwrap_or_default())),
        Target::Session(_) => {
            let ModelMemories { models, allocator } = subject.ask(MeasureMemory {}).await?;
            let AllocatorMemory { allocated_bytes, free_bytes, mapped_bytes } = allocator;
            let amounts =
                [("allocated", allocated_bytes), ("free", free_bytes), ("mapped", mapped_bytes)];
            Ok((subject.own_models(models, |model| &model.model_id), amounts.into()))
        }
    }
}

/// What the kernel accounts for. It looks at every page, which takes some milliseconds.
async fn look(subject: &Subject) -> Option<Amounts> {
    let pid = subject.pid();
    let look = move || {
        let rollup = Process::new(pid).ok()?.smaps_rollup().ok()?;
        let map = rollup.memory_map_rollup.0.into_iter().next()?.extension.map;
        let known = |(name, key): (&'static str, &str)| Some((name, *map.get(key)?));
        Some(AMOUNTS.into_iter().filter_map(known).collect())
    };
    let seen = tokio::task::spawn_blocking(look).await.ok().flatten();
    // Else it may have been somebody else's.
    seen.filter(|_| subject.is_there())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_the_difference_either_way() {
        assert_eq!(amount("rss", 10, Some(4)).grown_bytes, Some(-6));
        assert_eq!(amount("rss", 10, None).grown_bytes, None);
    }
}
