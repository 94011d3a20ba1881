//! The daemon's allocator: what it holds, and who asked for it.

use jemalloc_pprof::{JemallocProfCtl, PROF_CTL};
use tikv_jemalloc_ctl::{epoch, stats};
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Different stacks that are told apart; the lightest are one, of which nothing is known.
const STACKS_MAX: usize = 10_000;

/// What the allocator cannot tell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It was built without.
    #[error(
        "the allocator was built without profiling: build in the folder of the sources, whose \
         .cargo/config.toml asks for it"
    )]
    Without,
    /// It refuses.
    #[error("the allocator refuses: {0}")]
    Refused(String),
}

/// What the allocator holds, in bytes: our name for it, and how many.
pub(crate) fn amounts() -> Option<Vec<(&'static str, u64)>> {
    epoch::advance().ok()?;
    let read = [
        ("allocated", stats::allocated::read()),
        ("active", stats::active::read()),
        ("metadata", stats::metadata::read()),
        ("resident", stats::resident::read()),
        ("retained", stats::retained::read()),
    ];
    let amount = |(name, read): (&'static str, Result<usize, _>)| Some((name, read.ok()? as u64));
    read.into_iter().map(amount).collect()
}

/// Who asked for memory and has it still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Addresses of code, the outermost first.
    pub(crate) stack: Vec<u64>,
    /// About how many bytes.
    pub(crate) bytes: u64,
}

/// Notes who asks for memory, until it is dropped. There is one at a time.
#[derive(Debug)]
pub(crate) struct Watch(());

impl Watch {
    /// Begins. Waits for the allocator.
    pub(crate) fn begin() -> Result<Self, Error> {
        with_control(JemallocProfCtl::activate)?;
        Ok(Self(()))
    }

    /// Ends, and tells what was asked for since and not given back. Waits for the allocator, and the
    /// disk.
    pub(crate) fn end(self) -> Result<Vec<Held>, Error> {
        let profile = with_control(JemallocProfCtl::dump_profile)?;
        drop(self);
        let held = |(stack, _): (jemalloc_pprof::WeightedStack, _)| Held {
            stack: stack.addrs.into_iter().map(|address| address as u64).collect(),
            bytes: whole(stack.weight),
        };
        let mut all: Vec<Held> = profile.stacks.into_iter().map(held).collect();
        all.sort_by_key(|held| std::cmp::Reverse(held.bytes));
        let lightest = all.split_off(STACKS_MAX.min(all.len()));
        if !lightest.is_empty() {
            let bytes = lightest.iter().fold(0, |sum: u64, held| sum.saturating_add(held.bytes));
            all.push(Held { stack: Vec::new(), bytes });
        }
        Ok(all)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Err(error) = with_control(JemallocProfCtl::deactivate) {
            tracing::warn!(%error, "the allocator goes on noting who asks for memory");
        }
    }
}

fn with_control<T, E: std::fmt::Display>(
    act: impl FnOnce(&mut JemallocProfCtl) -> Result<T, E>,
) -> Result<T, Error> {
    let control = PROF_CTL.as_ref().ok_or(Error::Without)?;
    let mut control =
        control.try_lock().map_err(|_locked| Error::Refused("it is being asked".to_owned()))?;
    act(&mut control).map_err(|error| Error::Refused(error.to_string()))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of no number is 0"
)]
fn whole(weight: f64) -> u64 {
    weight as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn plant(bytes: usize) -> Vec<Box<[u8]>> {
        (0..bytes / 4096).map(|_| vec![1_u8; 4096].into_boxed_slice()).collect()
    }

    #[test]
    fn what_is_planted_is_in_the_account_and_gone_with_it() {
        let amount = |what: &str| {
            let all = amounts().unwrap();
            all.into_iter().find(|(name, _)| *name == what).unwrap().1
        };
        let before = amount("allocated");
        let planted = plant(64 << 20);
        let with = amount("allocated");
        assert!((60 << 20) < with - before, "{before} and {with}");
        assert!(with <= amount("resident"));
        drop(planted);
        assert!(amount("allocated") < before + (16 << 20));
    }

    #[test]
    fn only_what_is_held_is_told_and_only_since_the_beginning() {
        let before = plant(32 << 20);
        let watch = Watch::begin().unwrap();
        drop(plant(32 << 20));
        let planted = plant(32 << 20);
        let held: u64 = watch.end().unwrap().iter().map(|held| held.bytes).sum();
        assert!((28 << 20..40 << 20).contains(&held), "{held}");
        drop(planted);
        let watch = Watch::begin().unwrap();
        let held: u64 = watch.end().unwrap().iter().map(|held| held.bytes).sum();
        assert!(held < 4 << 20, "{held} of before");
        drop(before);
    }
}
