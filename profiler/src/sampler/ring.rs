//! The event of one thread, and the ring buffer into which the kernel writes its samples. The only
//! place that knows of `perf_event_open`.

use std::io;

use perf_event::data::Record as Raw;
use perf_event::events::Software;
use perf_event::{Builder, SampleFlag};
use rustix::io::Errno;

use crate::registers::{self, Registers};

/// How much of a stack the kernel copies: its upper end. Deeper stacks are cut.
const STACK_BYTES: u32 = 32 << 10;

/// The least and the most memory of a ring, in bytes. The size is said in bytes: a small number
/// would be a ring without samples.
const RING_BYTES: (u64, u64) = (128 << 10, 2 << 20);

/// A ring holds as many samples as a busy thread brings in this part of a second.
const SAMPLES_PER_SEC: u64 = 10;

/// A ring.
pub(super) struct Ring {
    sampler: perf_event::Sampler,
}

/// A thread that cannot be sampled.
pub(super) enum Error {
    /// It has ended.
    Gone,
    /// There is no locked memory for its ring.
    NoMemory,
    /// The kernel does not let us.
    Refused(io::Error),
}

/// What a ring has.
pub(super) enum Record {
    Sample(Sample),
    /// So many samples that there was no space for.
    Lost(u64),
}

/// Where a thread was.
pub(super) struct Sample {
    pub(super) at: u64,
    pub(super) stack_at: u64,
    pub(super) registers: Registers,
    pub(super) stack: Vec<u8>,
}

impl Ring {
    /// Opens an event that takes no samples yet.
    pub(super) fn open(tid: i32, frequency_hz: u64) -> Result<Self, Error> {
        let wanted = u64::from(STACK_BYTES) * (frequency_hz / SAMPLES_PER_SEC + 2);
        let mut bytes = wanted.next_power_of_two().clamp(RING_BYTES.0, RING_BYTES.1);
        loop {
            let opened = event(tid, frequency_hz).map_err(|error| match error.raw_os_error() {
                Some(code) if code == Errno::SRCH.raw_os_error() => Error::Gone,
                _ => Error::Refused(error),
            })?;
            let Ok(length) = usize::try_from(bytes) else { return Err(Error::NoMemory) };
            match opened.sampled(length) {
                Ok(sampler) => return Ok(Self { sampler }),
                // A smaller one may still be had.
                Err(_) if RING_BYTES.0 < bytes => bytes /= 2,
                Err(_) => return Err(Error::NoMemory),
            }
        }
    }

    pub(super) fn enable(&mut self) -> io::Result<()> {
        self.sampler.enable()
    }

    /// The next record, if there is one.
    pub(super) fn next(&mut self) -> Option<Record> {
        while let Some(record) = self.sampler.next_record() {
            match record.parse_record() {
                Ok(Raw::Sample(sample)) => {
                    let Some(values) = sample.regs_user() else { continue };
                    let Some((at, stack_at, registers)) = registers::take(&values.regs) else {
                        continue;
                    };
                    let stack = sample.stack_user().unwrap_or_default().to_vec();
                    return Some(Record::Sample(Sample { at, stack_at, registers, stack }));
                }
                Ok(Raw::Lost(lost)) => return Some(Record::Lost(lost.lost)),
                // Nothing else was asked for.
                _ => (),
            }
        }
        None
    }
}

fn event(tid: i32, frequency_hz: u64) -> io::Result<perf_event::Counter> {
    let what = SampleFlag::TID | SampleFlag::REGS_USER | SampleFlag::STACK_USER;
    Builder::new(Software::CPU_CLOCK)
        .observe_pid(tid)
        .any_cpu()
        .exclude_kernel(true)
        .exclude_hv(true)
        .sample_frequency(frequency_hz)
        .sample(what)
        .sample_regs_user(registers::MASK)
        .sample_stack_user(STACK_BYTES)
        .build()
}
