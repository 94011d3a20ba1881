//! Where a process spends its time, seen from outside.
//!
//! The kernel interrupts the threads of a process so many times a second and writes down their
//! registers and the upper end of their stacks. Here the stacks are unwound by the tables that
//! compilers leave in every program, and addresses become names. The process itself does nothing,
//! knows nothing of it, and needs no preparation; it may be any process that the caller may look
//! into. Nothing here knows of simulations, of MCP or of tokio.
//!
//! The same as a library and as a program: the program ([`main`]) samples one process for somebody
//! at the other end of its standard input, so that what unwinding takes, or trips over, ends with
//! it.
//!
//! Reading order: `talk` (what the program says), `serve` (the program), `sampler` (the samples), `naming` (stacks that others took),
//! `modules` (whose code is where), `symbols` (names), `permission` (what is missing where it is
//! not allowed), `profile` (what comes of it), `views` (how it is shown).

#![forbid(unsafe_code)]

pub mod talk;
mod serve;
mod naming;
mod sampler;
mod registers;
mod modules;
mod symbols;
mod permission;
pub mod profile;
pub mod views;

use std::process::ExitCode;

pub use self::permission::Missing;
pub use self::profile::Profile;
pub use self::sampler::{Error, FREQUENCY_HZ, Plan, Sampler};

/// Samples a process (`sample`) for whoever is at the other end of standard input. The other
/// arguments are `--pid N`, `--duration-millis N` and `--frequency-hz N`. Or names stacks of one that it
/// is told there (`name`, with `--pid N`).
pub fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let outcome = match args.next().as_deref() {
        Some("sample") => serve::run(args),
        Some("name") => naming::run(args),
        Some("--version") => return version(),
        _ => Err(std::io::Error::other("the first argument must be `sample` or `name`")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("simward-profiler: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "there is no log here")]
fn complain(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stdout, reason = "it is what the user asked for")]
fn version() -> ExitCode {
    println!("simward-profiler {}", env!("CARGO_PKG_VERSION"));
    ExitCode::SUCCESS
}
