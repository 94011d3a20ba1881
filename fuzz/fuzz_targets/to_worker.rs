//! Frames to a worker.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| simward_tests::targets::to_worker(bytes));
