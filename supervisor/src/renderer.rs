//! Drawing pictures, in processes apart: one for each session that wants some, started when the
//! first is wanted, and let go when none was wanted for a while.
//!
//! State goes in, a picture comes out, and nothing goes back: whatever becomes of a renderer, its
//! session does not notice. Each has one `easel`, a task that owns the process; everybody else
//! sends it orders.

mod easel;
mod error;
mod picture;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use simward_protocol::render::Draw;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{oneshot, watch};

use self::easel::{Answer, Easel, Order};
pub use self::error::Error;
pub use self::picture::Picture;
use crate::pool::launcher::Launch;
use crate::pool::process::Exit;
use crate::pool::turns::{Bounds, Names, Turns};
use crate::pool::{Pool, groups};
use crate::spans::phases;
use crate::store::Model;
use crate::tenants::Tenant;

/// What drawing may cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The renderer's program; empty means the one beside the
    /// worker's, with `renderer` in its name instead of `worker`.
    pub program: PathBuf,
    /// How many renderers there may be.
    pub concurrent_max: usize,
    /// How many pictures may wait for a renderer.
    pub queue_max: usize,
    /// How many of one tenant's pictures may wait.
    pub queue_per_tenant_max: usize,
    /// How long a picture may wait for a renderer, in seconds.
    pub wait_secs: f64,
    /// How long one picture or video may take, in seconds.
    pub timeout_secs: f64,
    /// How long a renderer stays when nobody wants a picture, in seconds.
    pub idle_timeout_secs: f64,
    /// How much memory one may take, in bytes of address space.
    pub memory_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            program: PathBuf::new(),
            concurrent_max: 4,
            queue_max: 64,
            queue_per_tenant_max: 16,
            wait_secs: 10.0,
            timeout_secs: 60.0,
            idle_timeout_secs: 60.0,
            memory_bytes: 4 << 30,
        }
    }
}

/// What is drawn: a model in a state. Neither is changed.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The session whose it is.
    pub session_id: Arc<str>,
    /// Whose session that is.
    pub tenant: Tenant,
    /// The model.
    pub model: Arc<Model>,
    /// Its state: a checkpoint that belongs to nobody.
    pub state: Arc<OwnedFd>,
}

/// A cheap handle to all renderers.
#[derive(Clone, Debug)]
pub struct Renderer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: Pool,
    config: Config,
    program: PathBuf,
    /// Who has one is in its turn until it lets go of it.
    turns: Turns,
    easels: Mutex<HashMap<Arc<str>, Easel>>,
}

impl Renderer {
    /// Renderers that come out of `pool`; none yet.
    pub fn new(pool: Pool, config: Config) -> Self {
        let bounds = Bounds {
            concurrent_max: config.concurrent_max.max(1),
            waiting_max: config.queue_max,
            waiting_per_tenant_max: config.queue_per_tenant_max,
            patience: Duration::from_secs_f64(config.wait_secs),
        };
        let names = Names {
            what: "pictures that need a renderer",
            waiting_max: "render.queue_max",
            waiting_per_tenant_max: "render.queue_per_tenant_max",
            patience: "render.wait_secs",
        };
        let program = program(&config.program, pool.program());
        let (turns, easels) = (Turns::new(bounds, names), Mutex::default());
        Self { inner: Arc::new(Inner { pool, config, program, turns, easels }) }
    }

    /// Draws a picture. Whoever stops waiting for it ends the renderer that draws it.
    pub async fn draw(
        &self,
        scene: Scene,
        draw: Draw,
        progress: Option<watch::Sender<(u64, u64)>>,
    ) -> Result<Picture, Error> {
        let (answer, answered) = oneshot::channel();
        let _waiting = phases::waiting();
        self.order(Order { scene, draw, progress, answer })?;
        // The session was forgotten.
        let Ok(Answer { outcome, asked }) = answered.await else { return Err(Error::Forgotten) };
        if let Some(asked) = asked {
            phases::served(asked, Instant::now());
        }
        outcome
    }

    /// Finds out whether anything can be drawn here; tells what a renderer says if not.
    pub async fn check(&self) -> Result<(), Error> {
        let inner = &self.inner;
        let launch = self.launch("check")?;
        let launched = inner.pool.launcher().launch(launch).await.map_err(Error::Start)?;
        let mut process = launched.process;
        let after = Duration::from_secs_f64(inner.config.timeout_secs);
        match tokio::time::timeout(after, process.ended()).await {
            Err(_elapsed) => Err(Error::Timeout { after }),
            Ok(Exit::Code(0)) => Ok(()),
            Ok(exit) => Err(Error::Crashed { exit, last_words: process.last_output().await }),
        }
    }

    /// How a renderer is started. It keeps to limits of its own, and is ended when it takes long.
    fn launch(&self, mode: &str) -> Result<Launch, Error> {
        let program = self.inner.program.clone();
        if !program.is_file() {
            return Err(Error::NotInstalled { program });
        }
        let memory = self.inner.config.memory_bytes.to_string();
        let args = [mode, "--memory-bytes", &memory].map(ToOwned::to_owned).into();
        Ok(Launch { program, args, limits: groups::Limits::default(), member: None })
    }

    /// Lets a session's renderer go: the session is gone.
    pub fn forget(&self, session_id: &str) {
        drop(self.lock().remove(session_id));
    }

    /// Hands an order to the session's easel, which there may not be yet.
    fn order(&self, order: Order) -> Result<(), Error> {
        let mut easels = self.lock();
        let id = Arc::clone(&order.scene.session_id);
        let order = match easels.get(&id) {
            None => order,
            Some(easel) => match easel.orders.try_send(order) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => {
                    return Err(Error::QueueFull { max: easel::ORDERS_MAX });
                }
                Err(TrySendError::Closed(order)) => order,
            },
        };
        let easel = Easel::start(self.clone(), Arc::clone(&id));
        // Its queue is empty.
        easel.orders.try_send(order).ok();
        easels.insert(id, easel);
        Ok(())
    }

    /// Sees to it that a renderer that draws nothing makes room for another one.
    fn make_room(&self) {
        if self.inner.turns.counts().running < self.inner.config.concurrent_max.max(1) {
            return;
        }
        let easels = self.lock();
        let idle = easels.values().filter_map(|easel| Some((easel.idle_since()?, easel)));
        if let Some((_, easel)) = idle.min_by_key(|(since, _)| *since) {
            easel.make_leave();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Easel>> {
        self.inner.easels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the program is called, beside a worker that is not called one.
const OWN_NAME: &str = "simward-renderer";

fn program(configured: &Path, worker: &Path) -> PathBuf {
    if configured.as_os_str().is_empty() {
        let name = worker.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = if name.contains("worker") {
            name.replace("worker", "renderer")
        } else {
            OWN_NAME.into()
        };
        return worker.with_file_name(name);
    }
    // Processes start in another folder.
    std::path::absolute(configured).unwrap_or_else(|_| configured.to_owned())
}
