//! The profiler under test.

use std::process::ExitCode;

fn main() -> ExitCode {
    simward_profiler::main()
}
