//! MCP over HTTP, both generations of the protocol on one path, and two pages for load balancers.

mod body;
mod connections;
mod door;
mod entrance;
mod gate;
mod legacy;
mod origins;
mod pages;
mod proxies;
mod quota;
mod replay;
pub mod tls;
mod uploads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use ipnet::IpNet;
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::body::Budget;
use self::connections::Reception;
use self::door::Door;
use self::entrance::Entrance;
use self::gate::Gate;
use self::legacy::LegacySessions;
use self::origins::Origins;
use self::proxies::Proxies;
pub use self::quota::OfTool;
use self::quota::{Places, Quotas};
use self::tls::Tls;
use crate::auth::Auth;
use crate::mcp::McpServer;
use crate::sessions::Sessions;

/// The MCP endpoint over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Connections that there may be; others wait.
    pub connections_max: usize,
    /// The longest request, in bytes. Models come with their meshes.
    pub body_bytes_max: usize,
    /// Host names under which clients may call, beside those of the loopback address.
    pub allowed_hosts: Vec<String>,
    /// Origins of browser pages that may call, beside those of the loopback address.
    pub allowed_origins: Vec<String>,
    /// With what connections are made private.
    pub tls: tls::Config,
    /// Networks of proxies that are believed when they say for whom they call.
    pub trusted_proxies: Vec<IpNet>,
    /// Sessions of the older protocol that there may be.
    pub legacy_sessions_max: usize,
    /// How long one of them may be unused, in seconds.
    pub legacy_idle_secs: f64,
    /// What is kept of the last messages of all of them together, for clients that come back for them,
    /// in bytes.
    pub legacy_replay_bytes_max: usize,
    /// How much of the endpoint a tenant may take.
    pub quotas: quota::Config,
    /// How long calls may go on once the daemon is told to stop, in seconds.
    pub drain_secs: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7700)),
            connections_max: 1024,
            body_bytes_max: 64 * 1024 * 1024,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            tls: tls::Config::default(),
            trusted_proxies: Vec::new(),
            legacy_sessions_max: 1024,
            legacy_idle_secs: 14_400.0,
            legacy_replay_bytes_max: 32 * 1024 * 1024,
            quotas: quota::Config::default(),
            drain_secs: 5.0,
        }
    }
}

/// An MCP server that can stand behind the endpoint: ours, or one that adds to it.
pub trait Served: ServerHandler + Clone {
    /// Ours.
    fn ours(&self) -> &McpServer;
}

impl Served for McpServer {
    fn ours(&self) -> &McpServer {
        self
    }
}

/// The path of the endpoint.
pub const PATH: &str = "/mcp";

/// How often the daemon looks whether the last call has ended, when it stops.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// Connections that there may be to pages with an address of their own.
const PAGE_CONNECTIONS_MAX: usize = 16;

/// A bound endpoint, not yet served.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    tls: Option<Tls>,
    config: Config,
}

impl Endpoint {
    /// Listens: on the socket that was opened for us, or on one of our own.
    pub async fn bind(
        config: Config,
        handed: Option<std::net::TcpListener>,
    ) -> anyhow::Result<Self> {
        let tls = Tls::open(&config.tls)?;
        if let Some(handed) = handed {
            handed.set_nonblocking(true)?;
            let listener = TcpListener::from_std(handed)?;
            return Ok(Self { listener, tls, config });
        }
        let listener = TcpListener::bind(config.listen).await.with_context(|| {
            format!("could not listen on {}: choose another address with --listen", config.listen)
        })?;
        Ok(Self { listener, tls, config })
    }

    /// Where clients find it.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address of the endpoint, as a client of this machine may use it.
    pub fn url(&self) -> std::io::Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}{PATH}", self.address()?))
    }

    /// With what its connections are made private.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Serves until `stop`, and then as long as calls go on, within bounds.
    pub async fn serve(
        self,
        server: impl Served,
        sessions: Sessions,
        auth: Auth,
        stop: CancellationToken,
    ) {
        let Self { listener, tls, config } = self;
        let cut = CancellationToken::new();
        let legacy = LegacySessions::new(
            sessions.clone(),
            config.legacy_sessions_max,
            config.legacy_replay_bytes_max,
        );
        let legacy = Arc::new(legacy);
        legacy.clone().reap_idle(Duration::from_secs_f64(config.legacy_idle_secs), cut.clone());
        let well_known = auth.metadata().map(pages::metadata).unwrap_or_default();
        let ours = server.ours();
        let door = Door::new(auth, ours.audit().clone(), ours.calls().clone());
        let origins = Origins::new(&config.allowed_hosts, &config.allowed_origins);
        let entrance = Entrance::new(origins, door, stop.clone());
        let gate = Gate {
            entrance: entrance.clone(),
            legacy: Arc::clone(&legacy),
            budget: Budget::new(config.body_bytes_max),
            quotas: Quotas::new(&config.quotas),
            streams: Places::new(
                Some(gate::STREAMS_OF_ONE_MAX),
                "streams at a time than one tenant may have",
            ),
        };
        let uploads = uploads::router(ours.uploads().clone(), entrance.clone());
        let router =
            router(&server, &config, gate, sessions, &cut).merge(uploads).merge(well_known);
        let drain = Duration::from_secs_f64(config.drain_secs);
        let drained = async move {
            let until = Instant::now() + drain;
            while entrance.in_flight() != 0 && Instant::now() < until {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
            cut.cancel();
        };
        let proxies = Proxies::new(&config.trusted_proxies);
        let connections_max = config.connections_max;
        let reception = Reception { listener, tls, proxies, connections_max };
        connections::serve(reception, router, stop, drained).await;
    }
}

/// Serves pages that have an address of their own, until `stop`.
pub(crate) async fn serve_pages(listener: TcpListener, pages: Router, stop: CancellationToken) {
    let (tls, proxies) = (None, Proxies::default());
    let reception = Reception { listener, tls, proxies, connections_max: PAGE_CONNECTIONS_MAX };
    connections::serve(reception, pages, stop, async {}).await;
}

fn router(
    server: &impl Served,
    config: &Config,
    gate: Gate,
    sessions: Sessions,
    cut: &CancellationToken,
) -> Router {
    let transport = transport(config, cut);
    let modern = StreamableHttpService::new(
        {
            let server = server.clone();
            move || Ok(server.clone())
        },
        Arc::new(NeverSessionManager::default()),
        transport.clone().with_json_response(true).with_legacy_session_mode(false),
    );
    let older = StreamableHttpService::new(
        {
            let server = server.clone();
            move || Ok(server.clone())
        },
        Arc::clone(&gate.legacy),
        transport,
    );
    let by_era = gate::Eras { modern: Arc::new(modern), older: Arc::new(older) };
    let gate = axum::middleware::from_fn_with_state(Arc::new(gate), gate::pass);
    Router::new().route_service(PATH, by_era).layer(gate).merge(pages::router(sessions))
}

/// What both generations share. Where requests may come from is seen to at the entrance.
fn transport(config: &Config, cut: &CancellationToken) -> StreamableHttpServerConfig {
    StreamableHttpServerConfig::default()
        .disable_allowed_hosts()
        .with_max_request_body_bytes(config.body_bytes_max)
        .with_cancellation_token(cut.clone())
}
