//! Leaving at once.

/// Ends the process without unwinding and without the C library's exit handlers, which would run
/// beside a simulation thread that is still inside the engine.
#[expect(unsafe_code, reason = "no safe function ends a process without exit handlers")]
pub fn now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions and does not return.
    unsafe { libc::_exit(code) }
}
