//! Counts a session's steps where the supervisor can read it without asking.
//!
//! The layout is the protocol's. Everything is a plain store into shared memory, and not every step
//! of a small model is timed: looking at the clock must not cost what it measures.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;
use simward_protocol::checkpoint::Counts;
use simward_protocol::meter::{self, HEAD_WORDS, ROWS, Timing, head, row};

use super::mapping::{self, Mapping};

/// A session's meter.
#[derive(Debug)]
pub(crate) struct Meter {
    mapping: Mapping,
}

/// What a model's steps are counted with. Gives its row back when it goes.
#[derive(Debug)]
pub(crate) struct Counter {
    meter: Rc<Meter>,
    /// Where its row begins, if it has one.
    row: Option<usize>,
    /// Every how manieth step is timed.
    stride: u64,
    /// Steps until the next one is timed.
    until_timed: u64,
    timing: Timing,
    /// Warnings, and times that the engine started anew, that are counted already.
    counted: (u64, u64),
}

/// How many times dearer than a look at the clock the steps between two timed ones are: half a percent
/// is spent on looking.
const WORTH: u64 = 200;

/// The rarest that steps are timed.
const STRIDE_MAX: u64 = 1024;

/// What two looks at the clock cost here, in nanoseconds.
static LOOKS_NANOS: LazyLock<u64> = LazyLock::new(|| {
    const LOOKS: u32 = 64;
    let begun = Instant::now();
    for _ in 0..LOOKS {
        std::hint::black_box(Instant::now());
    }
    nanos(begun) * 2 / u64::from(LOOKS) + 1
});

impl Meter {
    /// Maps the file that the supervisor has made for it.
    pub(crate) fn open(file: &OwnedFd) -> Result<Self, String> {
        let bytes = mapping::length_of(file)?;
        if bytes != meter::BYTES as u64 {
            return Err(format!("a meter has {} bytes, and this has {bytes}", meter::BYTES));
        }
        Ok(Self { mapping: Mapping::new(file, bytes)? })
    }

    /// Steps that were taken by others than a model's own simulation, all together.
    pub(crate) fn stepped_apart(&self, steps: u64, timestep_secs: f64) {
        self.add(head::STEPS_TOTAL, steps);
        #[expect(clippy::cast_precision_loss, reason = "a slice has few steps")]
        self.add_secs(head::SIMULATED_SECS_TOTAL, steps as f64 * timestep_secs);
        self.set(head::STEPPED_AT_MILLIS, millis());
    }

    fn cell(&self, word: usize) -> &AtomicU64 {
        &self.mapping.cells()[word]
    }

    fn set(&self, word: usize, value: u64) {
        self.cell(word).store(value, Ordering::Relaxed);
    }

    /// Adds without a locked instruction: only the simulation thread writes.
    fn add(&self, word: usize, more: u64) {
        self.set(word, self.cell(word).load(Ordering::Relaxed).wrapping_add(more));
    }

    fn add_secs(&self, word: usize, more: f64) {
        let secs = f64::from_bits(self.cell(word).load(Ordering::Relaxed)) + more;
        self.set(word, secs.to_bits());
    }

    fn raise(&self, word: usize, value: u64) {
        if self.cell(word).load(Ordering::Relaxed) < value {
            self.set(word, value);
        }
    }
}

impl Counter {
    /// Counts the steps of a model from now on, in a row of its own if one is free.
    pub(crate) fn new(
        meter: &Rc<Meter>,
        model_id: &str,
        data: &MjData<Box<MjModel>>,
        counts: &Counts,
    ) -> Self {
        let free = |begin: &usize| meter.cell(begin + row::KEY).load(Ordering::Relaxed) == 0;
        let row = (0..ROWS).map(meter::row_begin).find(free);
        if let Some(begin) = row {
            meter.set(begin + row::MODEL_BYTES, count(data.model().ffi().nbuffer));
            meter.set(begin + row::DATA_BYTES, count(data.ffi().nbuffer));
            meter.set(begin + row::ARENA_BYTES, count(data.ffi().narena));
            meter.set(begin + row::KEY, meter::key(model_id));
        }
        let counted = bad(counts);
        Self {
            meter: Rc::clone(meter),
            row,
            stride: 1,
            until_timed: 1,
            timing: Timing::Some,
            counted,
        }
    }

    /// Looks at the clock, if the next step is one to be timed.
    #[inline]
    pub(crate) fn before(&mut self) -> Option<Instant> {
        self.until_timed -= 1;
        (self.until_timed == 0).then(Instant::now)
    }

    /// A step was taken that was timed from then on. It stands for those that were not.
    pub(crate) fn timed(&mut self, begun: Instant) {
        let Self { meter, row, stride, .. } = self;
        let took = nanos(begun);
        let weight = *stride;
        meter.add(HEAD_WORDS + meter::bucket(took), weight);
        meter.add(head::STEP_NANOS_TOTAL, took * weight);
        meter.set(head::LAST_STEP_NANOS, took);
        if let Some(begin) = *row {
            meter.add(begin + row::STEP_NANOS_TOTAL, took * weight);
            meter.set(begin + row::LAST_STEP_NANOS, took);
        }
        let worth = (*LOOKS_NANOS * WORTH / took.max(1)).clamp(1, STRIDE_MAX);
        self.stride = if self.timing == Timing::Every { 1 } else { worth };
        self.until_timed = self.stride;
    }

    /// Hears which steps are to be timed.
    fn heed(&mut self) {
        let timing = Timing::of(self.meter.cell(head::TIMING).load(Ordering::Relaxed));
        if timing != self.timing {
            self.timing = timing;
            (self.stride, self.until_timed) =
                (1, if timing == Timing::None { u64::MAX } else { 1 });
        }
    }

    /// A slice of steps was taken.
    pub(crate) fn took(&mut self, steps: u64, data: &MjData<Box<MjModel>>, counts: &Counts) {
        let (before, now) = (self.counted, bad(counts));
        if before != now {
            self.warned(now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
            self.counted = now;
        }
        self.heed();
        let Self { meter, row, .. } = self;
        let raw = data.ffi();
        #[expect(clippy::cast_precision_loss, reason = "a slice has few steps")]
        let simulated_secs = steps as f64 * data.model().opt().timestep;
        let (contacts, arena) = (count(raw.ncon), count(raw.maxuse_arena));
        let islands = usize::try_from(raw.nisland).unwrap_or(0).max(1);
        let iterations = data.solver_niter().iter().take(islands).map(|islands| count(*islands));
        let now = millis();
        meter.add(head::STEPS_TOTAL, steps);
        meter.add_secs(head::SIMULATED_SECS_TOTAL, simulated_secs);
        meter.set(head::STEPPED_AT_MILLIS, now);
        meter.set(head::CONTACTS, contacts);
        meter.raise(head::CONTACTS_MAX, contacts);
        meter.add(head::SOLVER_ITERATIONS_TOTAL, iterations.sum());
        meter.add(head::SLICES_TOTAL, 1);
        meter.set(head::CONSTRAINTS, count(raw.nefc));
        meter.raise(head::ARENA_USED_MAX_BYTES, arena);
        let Some(begin) = *row else { return };
        meter.add(begin + row::STEPS_TOTAL, steps);
        meter.add_secs(begin + row::SIMULATED_SECS_TOTAL, simulated_secs);
        meter.set(begin + row::STEPPED_AT_MILLIS, now);
        meter.set(begin + row::CONTACTS, contacts);
        meter.set(begin + row::ARENA_USED_MAX_BYTES, arena);
    }

    /// The engine has warned so many times more, and started anew so many times.
    #[cold]
    fn warned(&self, warnings: u64, auto_resets: u64) {
        self.meter.add(head::WARNINGS_TOTAL, warnings);
        self.meter.add(head::AUTO_RESETS_TOTAL, auto_resets);
        if let Some(begin) = self.row {
            self.meter.add(begin + row::WARNINGS_TOTAL, warnings);
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let Some(begin) = self.row else { return };
        for word in begin..begin + meter::ROW_WORDS {
            self.meter.set(word, 0);
        }
    }
}

/// Warnings, and times that the engine started anew.
fn bad(counts: &Counts) -> (u64, u64) {
    (counts.warnings.iter().sum(), counts.auto_resets)
}

fn count(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(0)
}

fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
