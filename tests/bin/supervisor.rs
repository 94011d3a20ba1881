//! The supervisor, under a name that tests can find.

use std::process::ExitCode;

fn main() -> ExitCode {
    simward_supervisor::main()
}
