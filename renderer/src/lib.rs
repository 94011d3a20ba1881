//! Pictures of one simulation, drawn in a process of its own.
//!
//! A renderer is given a socket as its standard input, a compiled model, and states to draw. It
//! loads the system's OpenGL, which takes a hundred megabytes, threads, and memory that is made
//! executable: nothing that a simulation should live with. So it is another program than the
//! worker, in a jail of its own; what the two have in common is the worker's.
//!
//! Reading order: `serve` (the calls), `studio` (one model and its context), `view` (from where,
//! and what is shown), `frame`, `depth`, `strip` and `video` (the kinds of pictures), `gl` (the
//! system's OpenGL).

#![deny(unsafe_code)]

mod serve;
mod studio;
mod view;
mod frame;
mod depth;
mod strip;
mod video;
mod gl;

use std::process::ExitCode;

use simward_protocol::ending;
use simward_worker::kin::{complain, exit_now, name};

/// Serves the supervisor (`render`), or only finds out whether anything can be drawn here (`check`).
/// The other arguments are limits: `--memory-bytes N` and `--cpu-secs N`.
pub fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let outcome = match args.next().as_deref() {
        Some("render") => serve::run(args),
        Some("check") => serve::check(args),
        Some("--version") => return version(),
        _ => Err(anyhow::anyhow!("the first argument must be `render` or `check`")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("simward-renderer: {error:#}"));
            exit_now(ending::BAD_START)
        }
    }
}

#[expect(clippy::print_stdout, reason = "it is what the user asked for")]
fn version() -> ExitCode {
    println!("simward-renderer {} ({})", env!("CARGO_PKG_VERSION"), name());
    ExitCode::SUCCESS
}
