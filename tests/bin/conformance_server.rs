//! The supervisor with the fixtures of the official MCP conformance suite, which it finds under the
//! names that it expects.

use std::process::ExitCode;

use simward_tests::conformance::Fixtures;

fn main() -> ExitCode {
    simward_supervisor::main_with(Fixtures::on)
}
