//! Speaks MCP to clients and runs one worker process per session.
//!
//! A call travels in a straight line: `mcp::tools` → [`sessions`] → [`session`] → [`worker`] → the
//! process. Modules may import from those listed after them, never from those listed before, and a
//! test checks it:
//! wiring (`cli`, [`doctor`], `demo`, `top`, `daemon`, `service`, `reload`, [`config`]) → [`http`], `stdio`, [`admin`] → [`mcp`] →
//! [`alerts`], [`telemetry`], [`metrics`], [`terminate`], [`models`], [`pictures`], [`recordings`], [`runs`], [`profiles`] → [`sessions`] →
//! [`session`] → [`compiler`], [`renderer`], [`sources`], [`uploads`] → [`worker`] → [`pool`] → [`store`], [`auth`], [`audit`] → [`spans`] →
//! [`scenes`], [`tenants`], [`limits`], [`durations`], [`code`], `handle`, `heap`, `whole`, `outbox`, `remote`.

#![forbid(unsafe_code)]

mod cli;
pub mod config;
mod daemon;
mod demo;
pub mod doctor;
mod reload;
mod service;
mod top;

pub mod admin;
pub mod http;
mod stdio;

pub mod mcp;

pub mod alerts;
pub mod metrics;
pub mod models;
pub mod pictures;
pub mod profiles;
pub mod runs;
pub mod recordings;
pub mod telemetry;
pub mod terminate;

pub mod sessions;

pub mod session;

pub mod compiler;
pub mod renderer;
pub mod sources;
pub mod uploads;
pub mod worker;

pub mod pool;

pub mod audit;
pub mod auth;
pub mod store;

pub mod spans;

pub mod code;
pub mod durations;
mod handle;
mod heap;
mod outbox;
pub mod remote;
mod whole;
pub mod limits;
pub mod scenes;
pub mod tenants;

use std::process::ExitCode;

use crate::http::Served;
use crate::mcp::McpServer;

/// Runs the program's own command line.
pub fn main() -> ExitCode {
    main_with(|server| server)
}

/// Runs the same command line for a program that offers more over HTTP than we do: it serves what
/// `extend` makes of our MCP server.
pub fn main_with<S: Served>(extend: impl FnOnce(McpServer) -> S) -> ExitCode {
    match cli::run(std::env::args_os(), extend) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("simward: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the log may not be open yet")]
fn complain(text: &str) {
    eprintln!("{text}");
}
