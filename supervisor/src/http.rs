//! MCP over HTTP, both generations of the protocol on one path, and two pages for load balancers.

mod body;
mod connections;
mod door;
mod gate;
mod legacy;
mod pages;
mod quota;
mod uploads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::body::Budget;
use self::door::Door;
use self::gate::Gate;
use self::legacy::LegacySessions;
use self::quota::Quotas;
use crate::audit::Audit;
use crate::auth::Auth;
use crate::mcp::McpServer;
use crate::sessions::Sessions;
use crate::uploads::Uploads;

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
    /// Sessions of the older protocol that there may be.
    pub legacy_sessions_max: usize,
    /// How long one of them may be unused, in seconds.
    pub legacy_idle_secs: f64,
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
            legacy_sessions_max: 1024,
            legacy_idle_secs: 14_400.0,
            quotas: quota::Config::default(),
            drain_secs: 5.0,
        }
    }
}

/// An MCP server that can stand behind the endpoint: ours, or one that adds to it.
pub trait Served: ServerHandler + Clone {
    /// Where the endpoint notes whom it turned away.
    fn audit(&self) -> &Audit;

    /// Where the endpoint puts files that are sent ahead.
    fn uploads(&self) -> &Uploads;
}

impl Served for McpServer {
    fn audit(&self) -> &Audit {
        self.audit()
    }

    fn uploads(&self) -> &Uploads {
        self.uploads()
    }
}

/// The path of the endpoint.
pub const PATH: &str = "/mcp";

/// How often the daemon looks whether the last call has ended, when it stops.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// A bound endpoint, not yet served.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    config: Config,
}

impl Endpoint {
    /// Listens: on the socket that was opened for us, or on one of our own.
    pub async fn bind(
        config: Config,
        handed: Option<std::net::TcpListener>,
    ) -> anyhow::Result<Self> {
        if let Some(handed) = handed {
            handed.set_nonblocking(true)?;
            let listener = TcpListener::from_std(handed)?;
            return Ok(Self { listener, config });
        }
        let listener = TcpListener::bind(config.listen).await.with_context(|| {
            format!("could not listen on {}: choose another address with --listen", config.listen)
        })?;
        Ok(Self { listener, config })
    }

    /// Where clients find it.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, and then as long as calls go on, within bounds.
    pub async fn serve(
        self,
        server: impl Served,
        sessions: Sessions,
        auth: Auth,
        stop: CancellationToken,
    ) {
        let Self { listener, config } = self;
        let cut = CancellationToken::new();
        let legacy = Arc::new(LegacySessions::new(sessions.clone(), config.legacy_sessions_max));
        legacy.clone().reap_idle(Duration::from_secs_f64(config.legacy_idle_secs), cut.clone());
        let door = Door::new(auth, server.audit().clone());
        let budget = Budget::new(config.body_bytes_max);
        let quotas = Quotas::new(config.quotas);
        let gate = Gate::new(Arc::clone(&legacy), stop.clone(), budget, door.clone(), quotas);
        let uploads = uploads::router(server.uploads().clone(), &config, door);
        let router = router(&server, &config, &gate, legacy, sessions, &cut).merge(uploads);
        let drain = Duration::from_secs_f64(config.drain_secs);
        let drained = async move {
            let until = Instant::now() + drain;
            while gate.in_flight() != 0 && Instant::now() < until {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
            cut.cancel();
        };
        connections::serve(listener, router, config.connections_max, stop, drained).await;
    }
}

fn router(
    server: &impl Served,
    config: &Config,
    gate: &Gate,
    legacy: Arc<LegacySessions>,
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
        legacy,
        transport,
    );
    let by_era = gate::Eras { modern, older };
    let gate = axum::middleware::from_fn_with_state(gate.clone(), gate::pass);
    Router::new().route_service(PATH, by_era).layer(gate).merge(pages::router(sessions))
}

/// What both generations share: who may call from where, and how much.
fn transport(config: &Config, cut: &CancellationToken) -> StreamableHttpServerConfig {
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
    hosts.push("::1".to_owned());
    hosts.extend(config.allowed_hosts.iter().cloned());
    let mut origins = vec!["http://localhost:*".to_owned(), "http://127.0.0.1:*".to_owned()];
    origins.push("http://[::1]:*".to_owned());
    origins.extend(config.allowed_origins.iter().cloned());
    StreamableHttpServerConfig::default()
        .enforce_origin_validation()
        .with_allowed_hosts(hosts)
        .with_allowed_origins(origins)
        .with_max_request_body_bytes(config.body_bytes_max)
        .with_cancellation_token(cut.clone())
}
