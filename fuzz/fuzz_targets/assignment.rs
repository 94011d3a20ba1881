//! Assignments of the command line.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| simward_tests::targets::assignment(bytes));
