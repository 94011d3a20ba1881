//! Ways to end, to wait, and not to end.

#![expect(unsafe_code, reason = "signals and timers have no safe interface among our crates")]

use std::ffi::{c_int, c_void};
use std::time::Duration;
use std::{io, ptr, thread};

use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};

/// Ends the process.
#[expect(clippy::exit, reason = "a worker may have to end on any of its threads")]
pub fn end(code: i32) -> ! {
    std::process::exit(code)
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "to be slow is what a fake is for")]
pub fn sleep(duration: Duration) {
    thread::sleep(duration);
}

/// Waits for ever.
pub fn linger() -> ! {
    loop {
        thread::park();
    }
}

/// Dies of SIGKILL.
pub fn kill_self() -> ! {
    kill_process(getpid(), Signal::KILL).ok();
    linger()
}

/// Stops until somebody continues it.
pub fn stop_self() {
    kill_process(getpid(), Signal::STOP).ok();
}

/// Leaves no memory image when it crashes on purpose.
pub fn dump_no_core() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).ok();
}

/// Ignores SIGTERM from now on.
#[expect(unsafe_code, reason = "no dependency at hand sets a signal's disposition")]
pub fn ignore_sigterm() {
    // SAFETY: no handler is installed; 1 is `SIG_IGN`.
    unsafe { signal(Signal::TERM.as_raw(), 1) };
}

/// Has the kernel kill the process after that time, also if it is stopped or stuck by then.
#[expect(unsafe_code, reason = "no dependency at hand has timers that send a signal")]
pub fn expire_after(lifetime: Duration) -> io::Result<()> {
    let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    let mut event = Event { value: 0, signal: Signal::KILL.as_raw(), notify: 0, rest: [0; 6] };
    let when = Timing { interval: [0; 2], value: [seconds, lifetime.subsec_nanos().into()] };
    let mut timer = ptr::null_mut();
    // SAFETY: the pointers are valid for the calls, and the layouts are those of the C library.
    let failed = unsafe {
        timer_create(CLOCK_MONOTONIC, &raw mut event, &raw mut timer) != 0
            || timer_settime(timer, 0, &raw const when, ptr::null_mut()) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

const CLOCK_MONOTONIC: c_int = 1;

/// `struct sigevent` of 64-bit Linux; `notify` 0 is `SIGEV_SIGNAL`.
#[repr(C)]
struct Event {
    value: usize,
    signal: c_int,
    notify: c_int,
    rest: [usize; 6],
}

const _: () = assert!(size_of::<Event>() == 64, "the layout is that of 64-bit Linux");

/// `struct itimerspec` of 64-bit Linux: seconds and nanoseconds.
#[repr(C)]
struct Timing {
    interval: [i64; 2],
    value: [i64; 2],
}

unsafe extern "C" {
    fn signal(signal: c_int, handler: usize) -> usize;
    fn timer_create(clock: c_int, event: *mut Event, timer: *mut *mut c_void) -> c_int;
    fn timer_settime(
        timer: *mut c_void,
        flags: c_int,
        when: *const Timing,
        before: *mut Timing,
    ) -> c_int;
}
