//! Samples of all threads of a process.
//!
//! One event and one ring buffer for each thread: the kernel lets events of threads share no ring.
//! New threads are looked for once a second. Stacks are unwound as samples come, so that what is
//! kept does not grow with time; names are looked up at the end.

mod ring;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use framehop::{FrameAddress, Unwinder as _};
use procfs::process::Process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use self::ring::{Record, Ring};
use crate::modules::{Modules, Place, into_io};
use crate::permission::Missing;
use crate::profile::{Ended, FRAMES_MAX, Profile, STACKS_MAX, Thread};
use crate::registers::Cache;
use crate::symbols;

/// Threads that are sampled at a time.
const THREADS_MAX: usize = 256;

/// Threads that are told, one after the other.
const THREADS_SEEN_MAX: usize = 4096;

/// The bounds of the sampling frequency.
pub const FREQUENCY_HZ: (u64, u64) = (1, 999);

/// How often the rings are read.
const READ_EVERY: Duration = Duration::from_millis(20);

/// How often new threads are looked for, and new modules.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often it is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// What is to be sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The process.
    pub pid: i32,
    /// For how long.
    pub duration: Duration,
    /// Samples per second of processor time of each thread.
    pub frequency_hz: u64,
}

/// A process that could not be sampled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something is not allowed here.
    #[error("{}: {}", .0.problem(), .0.remedy())]
    NotPermitted(Missing),
    /// It is not there.
    #[error("there is no such process")]
    Gone,
    /// Another reason.
    #[error("the process could not be sampled")]
    Failed(#[from] io::Error),
}

/// Samples one process.
pub struct Sampler {
    plan: Plan,
    process: Process,
    end: OwnedFd,
    modules: Modules,
    cache: Cache,
    rings: BTreeMap<i32, Open>,
    threads: Vec<Thread>,
    stacks: BTreeMap<(u32, Vec<Place>), u64>,
    looked: Instant,
    /// Samples are taken.
    is_running: bool,
    profile: Profile,
}

/// A thread that is sampled.
struct Open {
    ring: Ring,
    number: u32,
}

impl std::fmt::Debug for Sampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sampler").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Sampler {
    /// Gets all that sampling needs. No sample is taken yet.
    pub fn open(plan: Plan) -> Result<Self, Error> {
        let pid = Pid::from_raw(plan.pid).ok_or(Error::Gone)?;
        let end = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| refused(error.into()))?;
        let process = Process::new(plan.pid).map_err(into_io).map_err(refused)?;
        let mut sampler = Self {
            plan,
            process,
            end,
            modules: Modules::default(),
            cache: Cache::default(),
            rings: BTreeMap::new(),
            threads: Vec::new(),
            stacks: BTreeMap::new(),
            looked: Instant::now(),
            is_running: false,
            profile: Profile::default(),
        };
        sampler.modules.look(&sampler.process).map_err(refused)?;
        sampler.take_up_threads()?;
        // What was opened by its id is its own if it is still there.
        if sampler.rings.is_empty() || sampler.wait(None, Duration::ZERO)?.is_some() {
            return Err(Error::Gone);
        }
        Ok(sampler)
    }

    /// Samples until the time is over, or the process, or `hangup` can be read. Tells now and then
    /// how many milliseconds have passed, and how many samples there are; an error ends it.
    pub fn run(
        &mut self,
        hangup: Option<BorrowedFd<'_>>,
        mut tell: impl FnMut(u64, u64) -> io::Result<()>,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        let (mut told, mut counted) = (begun, begun);
        self.is_running = true;
        for open in self.rings.values_mut() {
            open.ring.enable()?;
        }
        let ended = loop {
            let left = self.plan.duration.saturating_sub(begun.elapsed());
            if left.is_zero() {
                break Ended::InTime;
            }
            let over = self.wait(hangup, READ_EVERY.min(left))?;
            self.read();
            if let Some(ended) = over {
                break ended;
            }
            if LOOK_EVERY <= counted.elapsed() {
                counted = Instant::now();
                self.take_up_threads()?;
            }
            if TELL_EVERY <= told.elapsed() {
                told = Instant::now();
                tell(millis(begun.elapsed()), self.profile.samples)?;
            }
        };
        self.read();
        self.profile.ended = ended;
        self.profile.duration_secs = begun.elapsed().as_secs_f64();
        Ok(())
    }

    /// What was seen, by name.
    pub fn finish(self) -> Profile {
        let Self { plan, modules, mut threads, stacks, profile, rings, .. } = self;
        drop(rings);
        let (functions, stacks) = symbols::told(&modules, stacks);
        for stack in &stacks {
            threads[stack.thread as usize].samples += stack.samples;
        }
        let Plan { pid, frequency_hz, .. } = plan;
        Profile { pid, frequency_hz, functions, stacks, threads, ..profile }
    }

    /// Waits for a moment; tells if all is over.
    fn wait(
        &self,
        hangup: Option<BorrowedFd<'_>>,
        patience: Duration,
    ) -> Result<Option<Ended>, io::Error> {
        let mut asked = vec![PollFd::new(&self.end, PollFlags::IN)];
        asked.extend(hangup.as_ref().map(|hangup| PollFd::new(hangup, PollFlags::IN)));
        let patience = Timespec { tv_sec: 0, tv_nsec: i64::from(patience.subsec_nanos()) };
        match poll(&mut asked, Some(&patience)) {
            Ok(_) => (),
            Err(rustix::io::Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let is_told = |index: usize| asked.get(index).is_some_and(|it| !it.revents().is_empty());
        Ok(if is_told(0) {
            Some(Ended::WithTheProcess)
        } else if is_told(1) {
            Some(Ended::Withdrawn)
        } else {
            None
        })
    }

    /// Opens an event for every thread that has none, and lets go of those that are gone.
    fn take_up_threads(&mut self) -> Result<(), Error> {
        let Ok(tasks) = self.process.tasks() else { return Ok(()) };
        let mut living = Vec::new();
        let mut missed = 0;
        for task in tasks.flatten() {
            living.push(task.tid);
            if self.rings.contains_key(&task.tid) {
                continue;
            }
            if THREADS_MAX <= self.rings.len() || THREADS_SEEN_MAX <= self.threads.len() {
                missed += 1;
                continue;
            }
            let mut ring = match Ring::open(task.tid, self.plan.frequency_hz) {
                Ok(ring) => ring,
                // It has ended meanwhile.
                Err(ring::Error::Gone) => continue,
                Err(ring::Error::NoMemory) if !self.rings.is_empty() => {
                    missed += 1;
                    continue;
                }
                Err(ring::Error::NoMemory) => {
                    return Err(Error::NotPermitted(Missing::LockedMemory));
                }
                Err(ring::Error::Refused(error)) => return Err(refused(error)),
            };
            // Its id may be another thread's by now, of whatever process.
            let Ok(status) = task.status() else { continue };
            if self.is_running {
                ring.enable()?;
            }
            let name = status.name;
            let name =
                name.chars().map(|char| if char.is_control() { '?' } else { char }).collect();
            let number = u32::try_from(self.threads.len()).unwrap_or(u32::MAX);
            self.threads.push(Thread { tid: task.tid, name, samples: 0 });
            self.rings.insert(task.tid, Open { ring, number });
        }
        self.profile.threads_missed = missed;
        self.rings.retain(|tid, _| living.contains(tid));
        Ok(())
    }

    /// Takes what the rings have.
    fn read(&mut self) {
        let mut rings = std::mem::take(&mut self.rings);
        for Open { ring, number } in rings.values_mut() {
            while let Some(record) = ring.next() {
                match record {
                    Record::Lost(count) => self.profile.lost += count,
                    Record::Sample(sample) => self.note(*number, &sample),
                }
            }
        }
        self.rings = rings;
    }

    fn note(&mut self, thread: u32, sample: &ring::Sample) {
        self.profile.samples += 1;
        if self.modules.place(sample.at) == Place::Nowhere(sample.at) {
            self.look_again();
        }
        let frames = self.unwind(sample);
        let full = STACKS_MAX <= self.stacks.len();
        let key = (thread, frames);
        match self.stacks.get_mut(&key) {
            Some(count) => *count += 1,
            None if full => {
                self.profile.merged += 1;
                *self.stacks.entry((thread, Vec::new())).or_default() += 1;
            }
            None => drop(self.stacks.insert(key, 1)),
        }
    }

    /// The frames of a sample, the innermost first.
    fn unwind(&mut self, sample: &ring::Sample) -> Vec<Place> {
        let mut read = |address: u64| -> Result<u64, ()> {
            let offset = address.checked_sub(sample.stack_at).ok_or(())?;
            let offset = usize::try_from(offset).map_err(drop)?;
            let bytes = sample.stack.get(offset..offset.checked_add(8).ok_or(())?).ok_or(())?;
            bytes.try_into().map(u64::from_le_bytes).map_err(drop)
        };
        let registers = sample.registers;
        let unwinder = self.modules.unwinder();
        let mut steps = unwinder.iter_frames(sample.at, registers, &mut self.cache, &mut read);
        let mut frames = Vec::with_capacity(32);
        let is_whole = loop {
            let address = match steps.next() {
                Ok(Some(FrameAddress::InstructionPointer(address))) => address,
                // The call is what comes before the address to return to.
                Ok(Some(FrameAddress::ReturnAddress(address))) => u64::from(address) - 1,
                Ok(None) => break true,
                Err(_) => break false,
            };
            frames.push(self.modules.place(address));
            if FRAMES_MAX <= frames.len() {
                break false;
            }
        };
        self.profile.cut += u64::from(!is_whole);
        frames
    }

    /// Code that was not there before: a library that was loaded meanwhile.
    fn look_again(&mut self) {
        if LOOK_EVERY <= self.looked.elapsed() {
            self.looked = Instant::now();
            // A process that is gone has told all it had.
            self.modules.look(&self.process).ok();
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn refused(error: io::Error) -> Error {
    if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
        || error.kind() == io::ErrorKind::NotFound
    {
        return Error::Gone;
    }
    // What procfs refuses is a look into the process.
    if error.raw_os_error().is_none() && error.kind() == io::ErrorKind::PermissionDenied {
        return Error::NotPermitted(Missing::Access);
    }
    match Missing::of(&error) {
        Some(missing) => Error::NotPermitted(missing),
        None => Error::Failed(error),
    }
}
