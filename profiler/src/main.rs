//! The profiler's executable. See the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    simward_profiler::main()
}
