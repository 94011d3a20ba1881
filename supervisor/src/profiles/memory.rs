//! What takes a process's memory, at the beginning and at the end of some seconds.

use std::time::Duration;

use procfs::process::Process;
use serde::Serialize;
use simward_protocol::profiling::{MeasureMemory, ModelMemory};

use super::subject::Subject;
use super::{Error, Target};

/// What takes the memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Memory {
    /// The process.
    pub pid: i32,
    /// What the kernel accounts for, in bytes.
    pub process: Vec<Amount>,
    /// What each model takes at the end, exactly; none of the daemon.
    pub models: Vec<ModelMemory>,
    /// What cannot be told here, and why.
    pub unavailable: Vec<String>,
    /// Why there is no end.
    #[serde(skip)]
    pub(super) cut_short: Option<String>,
}

/// An amount of memory at both ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Amount {
    /// `rss` (all that is resident), `pss` (what is shared counts in part), `pss_anon`, `pss_file`,
    /// `pss_shmem` (its parts), `private_dirty` (what would be free without it) or `swap`.
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
        let amounts = self.process.iter().map(|amount| size_of_val(amount) + amount.what.len());
        let texts = self.unavailable.iter().chain(&self.cut_short);
        let texts = texts.map(|text| size_of_val(text) + text.len());
        size_of_val(self) + models.chain(amounts).chain(texts).sum::<usize>()
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
pub(super) async fn profile(target: &Target, duration: Duration) -> Result<Memory, Error> {
    let subject = Subject::of(target).await?;
    let begin = look(&subject).await.ok_or(Error::Gone)?;
    let models_begin = models(target, &subject).await?;
    tokio::time::sleep(duration).await;
    let ended = || "the process ended meanwhile: there is no end to compare with".to_owned();
    let (mut models_end, mut end, mut cut_short) = (models_begin, None, None);
    // Nobody is woken to be looked at.
    if subject.is_there() {
        match models(target, &subject).await {
            Ok(models) => (models_end, end) = (models, look(&subject).await),
            Err(error) => cut_short = Some(crate::code::chain(&error)),
        }
    }
    let cut_short = cut_short.or_else(|| end.is_none().then(ended));
    let process = begin.iter().map(|(what, begin)| {
        let end = end.as_ref().and_then(|end| end.iter().find(|(other, _)| other == what));
        amount(what, *begin, end.map(|(_, bytes)| *bytes))
    });
    let process = process.collect();
    let unavailable = match target {
        Target::Session(_) => Vec::new(),
        Target::Supervisor => vec![NO_ALLOCATOR.to_owned()],
    };
    Ok(Memory { pid: subject.pid(), process, models: models_end, unavailable, cut_short })
}

/// What the daemon cannot tell of itself.
const NO_ALLOCATOR: &str = "statistics and a heap profile of the allocator: the daemon uses the \
                            system's, which keeps none that could be told";

fn amount(what: &str, begin_bytes: u64, end_bytes: Option<u64>) -> Amount {
    let grown = |end: u64| end.checked_signed_diff(begin_bytes).unwrap_or(i64::MAX);
    Amount { what: what.to_owned(), begin_bytes, end_bytes, grown_bytes: end_bytes.map(grown) }
}

async fn models(target: &Target, subject: &Subject) -> Result<Vec<ModelMemory>, Error> {
    match target {
        Target::Supervisor => Ok(Vec::new()),
        Target::Session(_) => {
            let told = subject.ask(MeasureMemory {}).await?.models;
            Ok(subject.own_models(told, |model| &model.model_id))
        }
    }
}

/// What the kernel accounts for. It looks at every page, which takes some milliseconds.
async fn look(subject: &Subject) -> Option<Vec<(&'static str, u64)>> {
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

    #[tokio::test]
    async fn the_daemon_tells_what_it_takes_and_what_it_cannot_tell() {
        let memory = profile(&Target::Supervisor, Duration::ZERO).await.unwrap();
        let names: Vec<_> = memory.process.iter().map(|amount| amount.what.as_str()).collect();
        assert!(names.starts_with(&["rss", "pss"]), "{names:?}");
        assert!(memory.process[0].begin_bytes > 100_000);
        assert!(memory.process.iter().all(|amount| amount.grown_bytes.is_some()));
        assert_eq!(memory.unavailable, [NO_ALLOCATOR]);
        assert_eq!(memory.cut_short, None);
    }

    #[test]
    fn growth_is_the_difference_either_way() {
        assert_eq!(amount("rss", 10, Some(4)).grown_bytes, Some(-6));
        assert_eq!(amount("rss", 10, None).grown_bytes, None);
    }
}
