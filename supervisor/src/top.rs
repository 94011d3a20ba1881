//! `simward top`: everything that goes on in a running daemon, on a terminal.
//!
//! The daemon is asked over its administration socket, as by `simward pool`; what it answers is shown,
//! and nothing is changed. What keys do is in [`view`], which has no terminal; [`screen`] has, and
//! [`draw`] says what is seen there. What comes from clients is shown without control characters.

mod columns;
mod draw;
mod numbers;
mod plain;
#[cfg(test)]
mod sample;
mod screen;
mod view;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;

use crate::admin::{self, Ask, Glance};

/// Watches a running daemon.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// The time between two looks, in seconds; the daemon measures once a second.
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    interval: f64,
    /// Print sessions, tools and alerts once, as tables; needs no terminal.
    #[arg(long)]
    once: bool,
    /// Print everything once, as JSON.
    #[arg(long)]
    json: bool,
    /// The daemon's state folder.
    #[arg(long, env = "SIMWARD_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The daemon's administration socket, instead of the one in its state folder.
    #[arg(long, env = "SIMWARD_SOCKET", value_name = "FILE")]
    socket: Option<PathBuf>,
}

/// Where the daemon is. One on standard input has another socket after a new start, so it is looked
/// for each time.
#[derive(Clone, Debug)]
struct Daemon {
    state_dir: Option<PathBuf>,
    socket: Option<PathBuf>,
}

impl Daemon {
    fn look(&self, trend_of: Option<String>) -> anyhow::Result<Glance> {
        let socket = match (&self.socket, &self.state_dir) {
            (Some(socket), _) => socket.clone(),
            (None, Some(folder)) => admin::find(folder)?,
            (None, None) => admin::find(&admin::default_state_dir())?,
        };
        admin::client::ask(&socket, &Ask::Glance { trend_of })
    }
}

/// Shows it until somebody has seen enough, or once.
pub(crate) fn run(args: TopArgs) -> anyhow::Result<()> {
    let TopArgs { interval, once, json, state_dir, socket } = args;
    ensure!((0.1..=3600.0).contains(&interval), "--interval must lie between 0.1 and 3600");
    let daemon = Daemon { state_dir, socket };
    if once || json {
        let glance = daemon.look(None)?;
        let text = if json {
            format!("{}\n", serde_json::to_string(&glance)?)
        } else {
            plain::text(&glance)
        };
        crate::cli::print(&text);
        return Ok(());
    }
    ensure!(
        std::io::stdout().is_terminal() && std::io::stdin().is_terminal(),
        "there is no terminal: use `simward top --once`"
    );
    screen::run(daemon, Duration::from_secs_f64(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_daemon_tells_is_what_is_read() {
        let told = sample::glance();
        let text = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<Glance>(&text).unwrap(), told);
    }
}
