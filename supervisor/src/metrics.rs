//! What Prometheus reads: a page of its own, at an address of its own.
//!
//! It tells of the daemon as a whole. Nothing there has the name of a tenant or a session, unless the
//! operator wants it.

mod calls;
mod live;
mod recent;

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{StatusCode, header};
use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::net::TcpListener;

pub use self::calls::Calls;
use self::live::Live;
pub use self::recent::{Pair, Recent, Since, Tally};
use crate::audit::Audit;
use crate::sessions::Sessions;
use crate::spans::Spans;
use crate::telemetry::{Exposition, remote_write};

/// Where metrics can be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address to listen on; empty means nowhere.
    pub listen: Listen,
    /// Whether single sessions are told of.
    pub sessions: bool,
    /// How many of them: the busiest.
    pub sessions_max: usize,
    /// Whether the tenants of sessions and models are named.
    pub tenants: bool,
    /// Where minutes are sent.
    pub remote_write: remote_write::Config,
}

impl Default for Config {
    fn default() -> Self {
        let remote_write = remote_write::Config::default();
        let listen = Listen::default();
        Self { listen, sessions: false, sessions_max: 1000, tenants: false, remote_write }
    }
}

/// A page with more sessions is too long for scrapers.
const SESSIONS_MAX: usize = 10_000;

impl Config {
    /// Values with which nothing could be done: the key, and what is wrong.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if !(1..=SESSIONS_MAX).contains(&self.sessions_max) {
            let problem =
                format!("must lie between 1 and {SESSIONS_MAX}, and is {}", self.sessions_max);
            return Err(("metrics.sessions_max", problem));
        }
        self.remote_write.check()
    }
}

/// An address, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |address| address.fmt(f))
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let address = text.parse().map_err(|_error| {
            format!("`{text}` is no address and port, such as 127.0.0.1:9700; empty means nowhere")
        })?;
        Ok(Self(Some(address)))
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The path of the page.
const PATH: &str = "/metrics";

/// Text as Prometheus has it since 2014; every scraper reads it.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is told. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
}

impl Metrics {
    /// Of these, and of the series.
    pub fn new(
        calls: &Calls,
        sessions: Sessions,
        (audit, spans): (Audit, Spans),
        series: Exposition,
    ) -> Self {
        let mut registry = Registry::default();
        calls.register(&mut registry);
        let tally = sessions.pool().tally();
        registry.register(
            "simward_worker_ready_seconds",
            "From a worker's start until it was ready",
            tally.ready_secs().clone(),
        );
        registry.register(
            "simward_recovery_seconds",
            "From the loss of a session's worker until it had another one",
            tally.recovery_secs().clone(),
        );
        registry.register(
            "simward_worker_endings",
            "Workers that have ended, by how",
            tally.endings().clone(),
        );
        registry.register_collector(Box::new(Live { sessions, audit, spans }));
        registry.register_collector(Box::new(series));
        Self { registry: Arc::new(registry) }
    }

    /// All of it, as Prometheus reads it.
    pub fn page(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        prometheus_text::encode(&mut page, &self.registry)?;
        Ok(page)
    }

    /// Where it is read.
    pub(crate) fn router(self) -> Router {
        Router::new().route(PATH, get(page)).with_state(self)
    }
}

async fn page(State(metrics): State<Metrics>) -> Response {
    // The daemon's files in /proc are read, which takes its time.
    match tokio::task::spawn_blocking(move || metrics.page()).await {
        Ok(Ok(page)) => ([(header::CONTENT_TYPE, TEXT)], page).into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Listens where metrics are to be read, if anywhere.
pub(crate) async fn bind(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = config.listen.0 else { return Ok(None) };
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "could not listen on {address} for metrics: choose another address (metrics.listen)"
        )
    })?;
    Ok(Some(listener))
}
