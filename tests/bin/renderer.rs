//! The renderer under test.

use std::process::ExitCode;

fn main() -> ExitCode {
    simward_renderer::main()
}
