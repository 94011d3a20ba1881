//! Stable names for errors, which clients match on.

use std::error::Error;
use std::time::Duration;

/// An error with a name that never changes.
pub trait Code: Error {
    /// The name, in `snake_case`.
    fn code(&self) -> &'static str;

    /// What the caller can do about it.
    fn hint(&self) -> Option<String> {
        None
    }

    /// When it is worth trying again.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// An error and its causes, as one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
