//! Handles that nobody can guess.

use std::fmt::Write as _;

/// The random bits of a handle.
const BITS: usize = 128;

/// A new handle: a prefix and [`BITS`] random bits in hexadecimal.
pub(crate) fn new(prefix: &str) -> String {
    let mut random = [0; BITS / 8];
    getrandom::fill(&mut random).expect("the system has random numbers");
    let mut handle = prefix.to_owned();
    for byte in random {
        // Writing to a string does not fail.
        write!(handle, "{byte:02x}").ok();
    }
    handle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_long_and_differ() {
        let (one, other) = (new("sim_"), new("sim_"));
        assert_eq!(one.len(), "sim_".len() + BITS / 4);
        assert_ne!(one, other);
    }
}
