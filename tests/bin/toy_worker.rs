//! A worker without MuJoCo that behaves: `toy-worker simulate` or `toy-worker compile`.

use std::process::ExitCode;

use simward_tests::fake::{self, Polite};

fn main() -> ExitCode {
    fake::main(Polite, std::env::args().skip(1))
}
