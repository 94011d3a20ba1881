//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// How long a condition may take to hold, on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `found` finds something.
///
/// # Panics
///
/// Panics with `what` if that does not happen in time.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a condition holds.
///
/// # Panics
///
/// Panics with `what` if that does not happen in time.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}
