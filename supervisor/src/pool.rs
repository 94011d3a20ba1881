//! Processes and ports: what the machine gives, before anybody talks to it.
//!
//! This module starts, watches, measures and ends processes. What they say is the
//! [`worker`](crate::worker) module's business, whose they are the
//! [`sessions`](crate::sessions) module's.

pub mod admission;
pub mod groups;
pub mod headroom;
pub mod launcher;
pub mod output;
pub mod ports;
pub mod process;
pub mod reading;
pub mod registry;
pub mod turns;
pub mod watchdog;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::admission::SpawnGate;
use self::launcher::Launcher;
use self::ports::Ports;

/// How processes are started and watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The worker's program; empty means `simward-worker` beside this program.
    pub worker: PathBuf,
    /// Arguments before the worker's own, for wrappers.
    pub worker_args: Vec<String>,
    /// How many processes may be starting at a time.
    pub spawn_concurrent_max: usize,
    /// How many starts may wait for their turn.
    pub spawn_queue_max: usize,
    /// How long a start may wait for its turn, in seconds.
    pub spawn_wait_secs: f64,
    /// How long a worker may take until it is ready, in seconds.
    pub ready_within_secs: f64,
    /// How long a worker may take to end, once asked and once more when told, in seconds.
    pub stop_grace_secs: f64,
    /// How long a worker may be busy without progress, in seconds.
    pub hang_after_secs: f64,
    /// How much memory a simulation's worker may take, in bytes of address space; 0 means no
    /// limit.
    pub worker_memory_bytes: u64,
    /// Isolation layers that every worker must have in force; without them the daemon does not
    /// start.
    pub require_layers: Vec<String>,
    /// The sessions' ports.
    pub ports: ports::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            worker: PathBuf::new(),
            worker_args: Vec::new(),
            spawn_concurrent_max: 8,
            spawn_queue_max: 512,
            spawn_wait_secs: 10.0,
            ready_within_secs: 10.0,
            stop_grace_secs: 2.0,
            hang_after_secs: 1.0,
            worker_memory_bytes: 8 << 30,
            require_layers: Vec::new(),
            ports: ports::Config::default(),
        }
    }
}

/// A cheap handle to everything that the machine gives.
#[derive(Clone, Debug)]
pub struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    program: PathBuf,
    launcher: Launcher,
    gate: SpawnGate,
    ports: Ports,
}

impl Pool {
    /// Starts the thread that starts processes, and the watch over them.
    pub fn open(config: Config) -> anyhow::Result<Self> {
        let program = program(&config.worker)?;
        let launcher = Launcher::start()?;
        let gate = SpawnGate::new(
            config.spawn_concurrent_max,
            config.spawn_queue_max,
            Duration::from_secs_f64(config.spawn_wait_secs),
        );
        let ports = Ports::new(&config.ports);
        Ok(Self { inner: Arc::new(Inner { config, program, launcher, gate, ports }) })
    }

    /// How processes are started and watched.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The worker's program.
    pub fn program(&self) -> &Path {
        &self.inner.program
    }

    /// Who starts processes.
    pub fn launcher(&self) -> &Launcher {
        &self.inner.launcher
    }

    /// Who decides how many start at a time.
    pub fn gate(&self) -> &SpawnGate {
        &self.inner.gate
    }

    /// The sessions' ports.
    pub fn ports(&self) -> &Ports {
        &self.inner.ports
    }
}

fn program(configured: &Path) -> anyhow::Result<PathBuf> {
    use anyhow::Context as _;
    let program = if configured.as_os_str().is_empty() {
        let own = std::env::current_exe().context("this program's own path is unknown")?;
        own.with_file_name("simward-worker")
    } else {
        // Processes start in another folder.
        std::path::absolute(configured).context("the worker's path cannot be made absolute")?
    };
    anyhow::ensure!(
        program.is_file(),
        "there is no worker at {}: build it with `cargo build --release -p simward-worker`, or \
         name it with `pool.worker` in the configuration",
        program.display(),
    );
    Ok(program)
}
