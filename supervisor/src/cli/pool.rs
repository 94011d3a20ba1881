//! `simward pool`: a running daemon's processes.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::print;
use super::table::{bytes, seconds, table};
use crate::admin::{self, Ask};
use crate::telemetry::{PoolStats, ProcessReport, Processes};
use crate::terminate::{Restarted, Terminated};

#[derive(Debug, Args)]
pub(super) struct PoolArgs {
    #[command(subcommand)]
    action: Action,
    /// The daemon's state folder.
    #[arg(long, env = "SIMWARD_STATE_DIR", value_name = "DIR", global = true)]
    state_dir: Option<PathBuf>,
    /// The daemon's administration socket, instead of the one in its state folder.
    #[arg(long, env = "SIMWARD_SOCKET", value_name = "FILE", global = true)]
    socket: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The pool at a glance.
    Stats,
    /// Every session's process.
    List {
        /// Look again every second until interrupted.
        #[arg(long)]
        watch: bool,
    },
    /// End a process and close its sessions, for good.
    Kill {
        /// A session's handle, or a process id.
        id: String,
    },
    /// Give a session another process, in the state that was last acknowledged. One that is parked
    /// is revived.
    Restart {
        /// A session's handle, or a process id.
        id: String,
    },
}

pub(super) fn run(args: PoolArgs) -> anyhow::Result<()> {
    let PoolArgs { action, state_dir, socket, json } = args;
    let socket = match socket {
        Some(socket) => socket,
        None => admin::find(&state_dir.unwrap_or_else(admin::default_state_dir))?,
    };
    let show = Show { socket, json };
    match action {
        Action::Stats => show.once(&Ask::Stats, stats),
        Action::Kill { id } => show.once(&Ask::Kill { id }, killed),
        Action::Restart { id } => show.once(&Ask::Restart { id }, restarted),
        Action::List { watch: false } => show.once(&Ask::List, list),
        Action::List { watch: true } => loop {
            if !show.json {
                // Clears the screen.
                print("\x1b[2J\x1b[H");
            }
            show.once(&Ask::List, list)?;
            #[expect(clippy::disallowed_methods, reason = "a pause that a person asked for")]
            std::thread::sleep(std::time::Duration::from_secs(1));
        },
    }
}

struct Show {
    socket: PathBuf,
    json: bool,
}

impl Show {
    fn once<T: DeserializeOwned + Serialize>(
        &self,
        ask: &Ask,
        form: impl Fn(&T) -> String,
    ) -> anyhow::Result<()> {
        let answer: T = admin::client::ask(&self.socket, ask)?;
        if self.json {
            print(&format!("{}\n", serde_json::to_string(&answer)?));
        } else {
            print(&form(&answer));
        }
        Ok(())
    }
}

fn stats(stats: &PoolStats) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("sessions", format!("{} of {}", stats.sessions, stats.sessions_max)),
        row("awake at a time", stats.sessions_awake_max.to_string()),
        row("room", stats.room.clone()),
        row("sessions created", stats.sessions_created_total.to_string()),
        row("workers", stats.workers.to_string()),
        row("starting, waiting", format!("{}, {}", stats.starting, stats.starts_waiting)),
        row(
            "ports",
            format!(
                "{} used, {} free, {} resting in {}",
                stats.ports_used, stats.ports_free, stats.ports_resting, stats.ports_range
            ),
        ),
        row("restarts", stats.restarts.to_string()),
        row("processor", format!("{:.2} of {} cores", stats.cpu_ratio, stats.host_cores)),
        row("memory", format!("{} (shared parts counted once)", bytes(stats.pss_bytes))),
        row(
            "host memory",
            format!(
                "{} of {} available",
                bytes(stats.host_memory_available_bytes),
                bytes(stats.host_memory_bytes)
            ),
        ),
        row("steps per second", format!("{:.0}", stats.steps_per_sec)),
        row("hang noticed after", format!("{} s", stats.hang_after_secs)),
    ];
    let states = stats.sessions_by_state.iter();
    let states = states.map(|(state, count)| row(&format!("  {state}"), count.to_string()));
    let (first, rest) = rows.split_first().expect("there are rows");
    let all: Vec<_> = std::iter::once(first.clone()).chain(states).chain(rest.to_vec()).collect();
    table(&["pool", ""], &all)
}

/// The table of processes, as `simward pool list` and the demo show it.
pub(crate) fn list(processes: &Processes) -> String {
    let head = [
        "session", "name", "pid", "port", "state", "activity", "cpu", "rss", "pss", "steps/s",
        "uptime", "restarts",
    ];
    let rows: Vec<_> = processes.processes.iter().map(row).collect();
    table(&head, &rows)
}

fn row(process: &ProcessReport) -> Vec<String> {
    fn or_dash<T>(value: Option<T>, form: impl FnOnce(T) -> String) -> String {
        value.map_or_else(|| "-".to_owned(), form)
    }
    // Twelve characters of a handle tell sessions apart and fit on a line.
    let short: String = process.session_id.chars().take(12).collect();
    vec![
        format!("{short}…"),
        or_dash(process.name.clone(), |name| name.chars().take(20).collect()),
        or_dash(process.pid, |pid| pid.to_string()),
        or_dash(process.port, |port| port.to_string()),
        process.state.clone(),
        process.activity.clone(),
        or_dash(process.cpu_ratio, |ratio| format!("{:.0} %", ratio * 100.0)),
        or_dash(process.rss_bytes, bytes),
        or_dash(process.pss_bytes, bytes),
        or_dash(process.steps_per_sec, |rate| format!("{rate:.0}")),
        or_dash(process.uptime_secs, seconds),
        process.restarts.to_string(),
    ]
}

fn killed(terminated: &Terminated) -> String {
    let Terminated { pid, sessions_closed, ending } = terminated;
    let pid = pid.map_or_else(|| "no process".to_owned(), |pid| format!("process {pid}"));
    let ending = ending.clone().unwrap_or_default();
    format!("{pid} ended: {ending}\nclosed {}\n", sessions_closed.join(", "))
}

fn restarted(restarted: &Restarted) -> String {
    let Restarted { session_id, pid_before, pid } = restarted;
    let process = |pid: &Option<u32>| pid.map_or_else(|| "none".to_owned(), |pid| pid.to_string());
    format!("{session_id} has process {}, and had {}\n", process(pid), process(pid_before))
}
