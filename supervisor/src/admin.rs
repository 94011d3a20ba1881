//! Administration over a local socket: what `simward pool`, `alerts` and `top` speak to.
//!
//! One JSON request on a line, one JSON answer on a line. The socket's folder belongs to the
//! daemon's user alone, and every peer is checked besides.

mod alerts;
pub mod client;
pub mod glance;
mod place;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::os::unix::uds_local_socket::tokio::{Listener, Stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::Semaphore;

pub use self::alerts::{AskAlerts, Imported};
pub use self::glance::Glance;
pub use self::place::{Place, default_state_dir, find};
use crate::alerts::Alerts;
use crate::code::{Code, chain};
use crate::sessions::Sessions;
use crate::telemetry::{Monitor, PoolStats, Watch};
use crate::terminate::{Target, restart, terminate};

/// What an operator asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// The pool at a glance.
    Stats,
    /// Every session's process.
    List,
    /// End a process, and close its sessions.
    Kill {
        /// A session's handle, or a process id.
        id: String,
    },
    /// Give a session another process.
    Restart {
        /// A session's handle, or a process id.
        id: String,
    },
    /// Rules and alerts.
    Alerts {
        /// What of them.
        about: AskAlerts,
    },
    /// Everything that goes on.
    Glance {
        /// The session whose last minutes are told; those of all together without.
        trend_of: Option<String>,
    },
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// What was asked for.
    Ok(Value),
    /// Why not.
    Refused {
        /// The refusal's code.
        code: String,
        /// What is wrong.
        message: String,
    },
}

/// The longest request: a file of rules, of which every byte may be written as two.
const REQUEST_BYTES_MAX: u64 = 128 * 1024;

/// How many operators are served at a time.
const PEERS_MAX: usize = 8;

/// How long an operator may take for a request, and for taking the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves operators until the returned guard is dropped.
pub fn serve(
    place: &Place,
    sessions: Sessions,
    (watch, monitor): (Watch, Monitor),
    alerts: Alerts,
) -> anyhow::Result<Serving> {
    let path = place.socket();
    let listener = std::os::unix::net::UnixListener::bind(path)
        .with_context(|| format!("could not open the socket {}", path.display()))?;
    listener.set_nonblocking(true)?;
    let listener = Listener::try_from(std::os::fd::OwnedFd::from(listener))?;
    let task = tokio::spawn(accept(listener, Behind { sessions, watch, monitor, alerts }));
    Ok(Serving { task, path: path.to_owned() })
}

/// The open socket.
#[derive(Debug)]
pub struct Serving {
    task: tokio::task::JoinHandle<()>,
    path: PathBuf,
}

impl Serving {
    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
        std::fs::remove_file(&self.path).ok();
    }
}

/// What operators ask about.
#[derive(Clone, Debug)]
struct Behind {
    sessions: Sessions,
    watch: Watch,
    monitor: Monitor,
    alerts: Alerts,
}

async fn accept(listener: Listener, behind: Behind) {
    let room = std::sync::Arc::new(Semaphore::new(PEERS_MAX));
    loop {
        let Ok(stream) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Others wait in the backlog.
        let Ok(place) = std::sync::Arc::clone(&room).acquire_owned().await else { return };
        let behind = behind.clone();
        tokio::spawn(async move {
            if let Err(error) = serve_peer(stream, &behind).await {
                tracing::debug!(error = format!("{error:#}"), "an operator's request failed");
            }
            drop(place);
        });
    }
}

async fn serve_peer(stream: Stream, behind: &Behind) -> anyhow::Result<()> {
    let credentials = stream.inner().peer_cred().context("the peer has no credentials")?;
    let own = nix::unistd::geteuid().as_raw();
    anyhow::ensure!(
        credentials.uid() == own || credentials.uid() == 0,
        "a peer of user {} was turned away",
        credentials.uid()
    );
    let mut reader = BufReader::new(&stream);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut reader).take(REQUEST_BYTES_MAX);
        let read = tokio::time::timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await??;
        if read == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_slice::<Ask>(&line) {
            Ok(ask) => carry_out(ask, behind).await?,
            Err(error) => {
                let (code, message) = ("invalid_request".to_owned(), error.to_string());
                Answer::Refused { code, message }
            }
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        tokio::time::timeout(PATIENCE, (&mut &stream).write_all(&text)).await??;
    }
}

async fn carry_out(ask: Ask, behind: &Behind) -> anyhow::Result<Answer> {
    let Behind { sessions, watch, alerts, .. } = behind;
    Ok(Answer::Ok(match ask {
        Ask::Stats => serde_json::to_value(PoolStats::look(watch, sessions).await)?,
        Ask::List => serde_json::to_value(watch.look(sessions).await)?,
        Ask::Kill { id } => match terminate(sessions, target(id)).await {
            Ok(terminated) => serde_json::to_value(terminated)?,
            Err(error) => return Ok(refused(&error)),
        },
        Ask::Restart { id } => match restart(sessions, &target(id)).await {
            Ok(restarted) => serde_json::to_value(restarted)?,
            Err(error) => return Ok(refused(&error)),
        },
        Ask::Alerts { about } => return alerts::carry_out(about, alerts).await,
        Ask::Glance { trend_of } => glance::carry_out(trend_of, behind).await?,
    }))
}

fn target(id: String) -> Target {
    match id.parse() {
        Ok(pid) => Target::Pid(pid),
        Err(_) => Target::Session(id),
    }
}

fn refused(error: &impl Code) -> Answer {
    Answer::Refused { code: error.code().to_owned(), message: chain(error) }
}
