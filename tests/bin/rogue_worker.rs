//! A worker that misbehaves in the way its first argument names: `rogue-worker HOW MODE`.
//!
//! What there is to choose from is listed, and promised, by [`How`].

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, ExitCode, Stdio, abort};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{Pid, getsid};
use rustix::process::setsid;
use simward_protocol::call::Reply;
use simward_protocol::compile::{Compile, Compiled};
use simward_protocol::ending;
use simward_protocol::fault::Fault;
use simward_protocol::handshake::VERSION;
use simward_protocol::model::Models;
use simward_protocol::profiling::{Clock, ModelMemories, ModelMemory, ModelPhases, PhaseTimes};
use simward_protocol::session::Vitals;
use simward_protocol::wire::{self, FromWorker};
use simward_tests::fake::channel::Outgoing;
use simward_tests::fake::process::{
    dump_no_core, end, expire_after, ignore_sigterm, kill_self, linger, sleep, stop_self,
};
use simward_tests::fake::{self, How, Manners};

const MIB: usize = 1024 * 1024;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(how) = args.next().as_deref().and_then(How::parse) else {
        return fake::bad_start(&io::Error::other("the first argument must say what to do wrong"));
    };
    dump_no_core();
    if let Err(error) = expire_after(How::LIFETIME) {
        return fake::bad_start(&error);
    }
    if how == How::Grandchild {
        setsid().ok();
        linger();
    }
    fake::main(Rogue { how, has_stepped: AtomicBool::new(false), looks: AtomicU32::new(0) }, args)
}

#[derive(Debug)]
struct Rogue {
    how: How,
    /// Whether the first step has begun.
    has_stepped: AtomicBool,
    /// How often it was asked for phases.
    looks: AtomicU32,
}

impl Manners for Rogue {
    fn version(&self) -> u32 {
        if self.how == How::FromTheFuture { u32::MAX } else { VERSION }
    }

    fn start(&self) {
        match self.how {
            How::NeverReady => linger(),
            How::SlowReady => sleep(Duration::from_millis(500)),
            How::DiesAtStart => end(3),
            How::IgnoresSigterm => ignore_sigterm(),
            How::FloodsOutput => {
                flood(io::stdout(), vec![0xff; 64 * 1024]);
                flood(io::stderr(), b"Nothing to see here.\n".repeat(3120));
            }
            How::LeaksGrandchild => leak_grandchild().unwrap_or_else(|_| end(ending::BAD_START)),
            _ => (),
        }
    }

    fn greeted(&self) {
        match self.how {
            How::DiesAfterReady => abort(),
            How::FastExit => end(0),
            _ => (),
        }
    }

    fn begin(&self, call: &str, outgoing: &Outgoing) {
        if call != "Step" {
            return;
        }
        match self.how {
            How::Leaks => leak(),
            How::HasHotSpot => planted_hot_spot(),
            _ => (),
        }
        if self.has_stepped.swap(true, Relaxed) {
            return;
        }
        match self.how {
            How::DiesInCall => kill_self(),
            How::ExitsZeroInCall => end(0),
            How::StopsItselfInCall => stop_self(),
            How::Spins => spin(),
            How::Deadlocks | How::Mute => linger(),
            How::Late => sleep(Duration::from_secs(5)),
            How::LastWords => {
                let text = "the rogue says goodbye".into();
                outgoing.write(&FromWorker::LastWords { text }).ok();
                end(ending::ENGINE_ERROR)
            }
            How::LeaksGrandchild => abort(),
            How::Swells => swell(),
            How::StartsThreads => start_threads(),
            How::FloodsFrames => flood_frames(outgoing.clone()),
            _ => (),
        }
    }

    fn answer(&self, call: &str, mut answer: FromWorker, outgoing: &Outgoing) -> io::Result<()> {
        match (self.how, call) {
            (How::DiesBeforeAnswer, "Step") => kill_self(),
            (How::Garbage, "Step") => outgoing.write_raw(&noise()),
            (How::Oversized, "Step") => outgoing.write_raw(&u32::MAX.to_le_bytes()),
            (How::Truncated, "Step") => {
                let mut frame = Vec::new();
                wire::encode(&mut frame, &answer, wire::FROM_WORKER_BYTES_MAX)?;
                outgoing.write_raw(&frame[..frame.len() / 2])?;
                outgoing.hang_up()
            }
            (How::WrongId, "Step") => {
                if let FromWorker::Answer { id, .. } = &mut answer {
                    *id += 1;
                }
                outgoing.write(&answer)
            }
            (How::WrongKind, "Step") => {
                if let FromWorker::Answer { outcome, .. } = &mut answer {
                    *outcome = Ok(no_models());
                }
                outgoing.write(&answer)
            }
            (How::BoastsOfModels, "TimePhases" | "MeasureMemory") => {
                if let FromWorker::Answer { outcome, .. } = &mut answer {
                    *outcome = Ok(boast(call));
                }
                outgoing.write(&answer)
            }
            (How::Leaks, "MeasureMemory") => {
                if let FromWorker::Answer { outcome, .. } = &mut answer {
                    *outcome = Ok(Reply::MeasureMemory(ModelMemories::default()));
                }
                outgoing.write(&answer)
            }
            (How::RefusesLook, "TimePhases") => {
                if let FromWorker::Answer { outcome, .. } = &mut answer {
                    match self.looks.fetch_add(1, Relaxed) {
                        0 => *outcome = Ok(boast(call)),
                        1 => *outcome = Err(Fault::NoModel),
                        _ => {
                            let text = "the timers are off".into();
                            outgoing.write(&FromWorker::LastWords { text }).ok();
                            end(ending::ENGINE_ERROR)
                        }
                    }
                }
                outgoing.write(&answer)
            }
            (How::Twice, "Step") => {
                outgoing.write(&answer)?;
                outgoing.write(&answer)
            }
            (How::Unasked, "OpenSession") => {
                outgoing.write(&answer)?;
                let (outcome, vitals) = (Ok(no_models()), Vitals::default());
                outgoing.write(&FromWorker::Answer { id: u64::MAX, outcome, vitals })
            }
            (How::StopsItselfWhenIdle, "OpenSession") => {
                outgoing.write(&answer)?;
                thread::spawn(|| {
                    sleep(Duration::from_millis(100));
                    stop_self();
                });
                Ok(())
            }
            _ => outgoing.write(&answer),
        }
    }

    fn pongs(&self) -> bool {
        self.how != How::Mute || !self.has_stepped.load(Relaxed)
    }

    fn step_takes(&self) -> Duration {
        let is_slow = matches!(self.how, How::SlowSteps | How::IgnoresBudget);
        if is_slow { Duration::from_millis(1) } else { Duration::ZERO }
    }

    fn keeps_to_budget(&self) -> bool {
        self.how != How::IgnoresBudget
    }

    fn hung_up(&self) {
        if matches!(self.how, How::IgnoresSigterm | How::Truncated) {
            linger();
        }
    }

    fn compile(&self, call: &Compile, file: Option<OwnedFd>) -> Result<Compiled, Fault> {
        match self.how {
            How::CompileHangs => linger(),
            How::CompileDies => abort(),
            How::CompileLies => {
                Ok(Compiled { bytes: 1 << 40, state_values: 1 << 40, warnings: Vec::new() })
            }
            _ => fake::compile(call, file),
        }
    }
}

/// A reply that no `Step` can have.
fn no_models() -> Reply {
    Reply::ListModels(Models { models: Vec::new() })
}

/// What takes the place of an answer about phases or memory: of models that nobody has.
fn boast(call: &str) -> Reply {
    let ids = (0..1000).map(|number| format!("{number:01000}"));
    if call == "MeasureMemory" {
        let models = ids.map(|model_id| ModelMemory {
            model_id,
            model_bytes: 0,
            saved_bytes: 0,
            data_bytes: 0,
            arena_bytes: 0,
            arena_used_max_bytes: 0,
            stack_used_max_bytes: 0,
        });
        let models = models.collect();
        return Reply::MeasureMemory(ModelMemories { models, ..ModelMemories::default() });
    }
    let models = ids.map(|model_id| ModelPhases { model_id, phases: Vec::new() });
    let (timed_secs, clock) = (Some(1.0), Clock::System);
    Reply::TimePhases(PhaseTimes { timed_secs, clock, models: models.collect() })
}

/// A frame whose body, beginning with a kind that does not exist, means nothing.
fn noise() -> Vec<u8> {
    let body = (0..64_u8).map(|index| index.wrapping_mul(167).wrapping_add(13));
    64_u32.to_le_bytes().into_iter().chain(body).collect()
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

fn swell() -> ! {
    let mut kept = Vec::new();
    while kept.len() * 50 < 2048 {
        kept.push(vec![1_u8; 50 * MIB]);
        sleep(Duration::from_millis(20));
    }
    std::hint::black_box(&kept);
    linger()
}

fn leak() {
    // Each page is written to, or it would take no memory.
    std::hint::black_box(vec![1_u8; How::LEAK_BYTES].leak());
}

#[inline(never)]
fn planted_hot_spot() {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(30) {
        let mut number = 1_u32;
        for factor in 0..10_000 {
            number = std::hint::black_box(number.wrapping_mul(factor | 1));
        }
    }
}

fn start_threads() {
    for _ in 0..1000 {
        let thread = thread::Builder::new().stack_size(64 * 1024).spawn(|| linger());
        if thread.is_err() {
            end(77);
        }
    }
}

fn flood_frames(outgoing: Outgoing) {
    thread::spawn(move || {
        let vitals = Vitals::default();
        while outgoing.write(&FromWorker::Pong { id: 1, vitals }).is_ok() {}
    });
}

/// Writes without end, on a thread of its own; stops quietly when nobody reads any more.
fn flood(to: impl AsFd, chunk: Vec<u8>) {
    let Ok(to) = to.as_fd().try_clone_to_owned() else { return };
    thread::spawn(move || {
        let mut to = File::from(to);
        let mut written = 0;
        while to.write_all(&chunk).is_ok() {
            written += chunk.len();
            if 64 * MIB <= written {
                sleep(Duration::from_millis(10));
            }
        }
    });
}

/// Starts this program once more, and waits until that has left the process group.
#[expect(clippy::disallowed_methods, reason = "a rogue has no launcher")]
fn leak_grandchild() -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    // Standard input would be the socket: then the supervisor never saw its end.
    let child = command.arg(How::Grandchild.name()).stdin(Stdio::null()).spawn()?;
    // Not by rustix: until then its session may be one outside this PID namespace, which is 0.
    let pid = Pid::from_raw(child.id().cast_signed());
    while getsid(Some(pid)) != Ok(pid) {
        sleep(Duration::from_millis(1));
    }
    Ok(())
}
