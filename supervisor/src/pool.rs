//! Processes and ports: what the machine gives, before anybody talks to it.
//!
//! This module starts, watches, measures and ends processes. What they say is the
//! [`worker`](crate::worker) module's business, whose they are the
//! [`sessions`](crate::sessions) module's.

pub mod accounts;
pub mod groups;
pub mod guard;
pub mod headroom;
pub mod launcher;
pub(crate) mod layers;
pub mod output;
pub mod ports;
pub mod process;
pub mod reading;
pub mod registry;
pub mod tally;
pub mod turns;
pub mod watchdog;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::groups::Groups;
use self::headroom::sampler::Sampler;
use self::headroom::{Headroom, Level};
use self::launcher::Launcher;
use self::layers::Role;
use self::ports::Ports;
use self::tally::Tally;
use self::turns::{Bounds, Names, Turns};

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
    /// How many of one tenant's starts may wait.
    pub spawn_queue_per_tenant_max: usize,
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
    /// Isolation layers that every process must have in force, of those that its kind can have.
    /// Without them the daemon does not start, and neither does the process.
    pub require_layers: Vec<String>,
    /// Whether limits are enforced by control groups where they can be had.
    pub control_groups: bool,
    /// The sessions' ports.
    pub ports: ports::Config,
    /// When the machine has no room for more.
    pub headroom: headroom::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            worker: PathBuf::new(),
            worker_args: Vec::new(),
            spawn_concurrent_max: 8,
            spawn_queue_max: 512,
            spawn_queue_per_tenant_max: 256,
            spawn_wait_secs: 10.0,
            ready_within_secs: 10.0,
            stop_grace_secs: 2.0,
            hang_after_secs: 1.0,
            worker_memory_bytes: 8 << 30,
            require_layers: Vec::new(),
            control_groups: true,
            ports: ports::Config::default(),
            headroom: headroom::Config::default(),
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
    gate: Turns,
    groups: Groups,
    ports: Ports,
    headroom: Mutex<Headroom>,
    sampler: Sampler,
    tally: Tally,
}

impl Pool {
    /// Starts the thread that starts processes, and the watch over them.
    pub fn open(config: Config) -> anyhow::Result<Self> {
        let program = program(&config.worker)?;
        let groups = if config.control_groups {
            Groups::find("simward")
        } else {
            Groups::none("pool.control_groups is off")
        };
        let launcher = Launcher::start(groups.clone())?;
        let bounds = Bounds {
            concurrent_max: config.spawn_concurrent_max,
            waiting_max: config.spawn_queue_max,
            waiting_per_tenant_max: config.spawn_queue_per_tenant_max,
            patience: Duration::from_secs_f64(config.spawn_wait_secs),
        };
        let names = Names {
            what: "starts",
            waiting_max: "pool.spawn_queue_max",
            waiting_per_tenant_max: "pool.spawn_queue_per_tenant_max",
            patience: "pool.spawn_wait_secs",
        };
        let gate = Turns::new(bounds, names);
        let ports = Ports::new(&config.ports);
        let headroom = Mutex::new(Headroom::new(config.headroom.clone()));
        // After the groups, which may have moved this process.
        let sampler = Sampler::open();
        let tally = Tally::default();
        let inner =
            Inner { config, program, launcher, gate, groups, ports, headroom, sampler, tally };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What a process lacks of the layers that it must have.
    pub(crate) fn lacking(&self, role: Role, layers: &[String]) -> Vec<String> {
        layers::lacking(role, layers, &self.config().require_layers)
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

    /// Who decides whose start is next, and how many start at a time.
    pub fn gate(&self) -> &Turns {
        &self.inner.gate
    }

    /// What the machine's control groups can enforce.
    pub fn groups(&self) -> &Groups {
        &self.inner.groups
    }

    /// Looks whether the machine has room for more. Reads files.
    pub fn look_for_room(&self) -> Level {
        let sample = self.inner.sampler.sample();
        let mut headroom = self.headroom();
        match sample {
            Some(sample) => headroom.look(sample),
            None => headroom.state().level(),
        }
    }

    /// What the last look for room has found.
    pub fn room(&self) -> headroom::State {
        self.headroom().state()
    }

    fn headroom(&self) -> MutexGuard<'_, Headroom> {
        self.inner.headroom.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is counted of workers.
    pub fn tally(&self) -> &Tally {
        &self.inner.tally
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
