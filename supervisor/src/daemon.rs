//! Puts the parts together, and takes them apart again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Place};
use crate::alerts::Alerts;
use crate::alerts::live::Live;
use crate::audit::Audit;
use crate::auth::{self, Auth};
use crate::compiler::Compiler;
use crate::config::Config;
use crate::http::{self, Endpoint, Served};
use crate::mcp::{self, Behind, McpServer};
use crate::metrics::{self, Metrics};
use crate::models::Models;
use crate::pool::Pool;
use crate::pool::groups::Limits;
use crate::pool::layers::Role;
use crate::profiles::Profiles;
use crate::reload::{self, Reload, Reread};
use crate::renderer::Renderer;
use crate::runs::Runs;
use crate::sessions::Sessions;
use crate::sources::Sources;
use crate::spans::Spans;
use crate::store::Store;
use crate::telemetry::remote_write::RemoteWrite;
use crate::telemetry::{Exposition, Monitor, Watch};
use crate::tenants::Tenant;
use crate::uploads::Uploads;
use crate::worker::Worker;
use crate::{service, stdio};

/// Serves what `extend` makes of our MCP server over HTTP until a signal says to stop.
pub(crate) async fn serve_http<S: Served>(
    config: Config,
    print_address: bool,
    extend: impl FnOnce(McpServer) -> S,
    reread: Reread,
) -> anyhow::Result<()> {
    let hangups = reload::hear()?;
    let place = Place::take(&state_dir(&config))?;
    let endpoint = Endpoint::bind(config.http.clone(), service::socket()?).await?;
    let metrics = metrics::bind(&config.metrics).await?;
    let address = endpoint.address()?;
    let (audit, spans) = open_files(&config)?;
    let auth = open_door(&config, address)?;
    let folder = config.store.durable.then(|| state_dir(&config).join("store"));
    let store = Store::open(folder.as_deref(), &config.store)?;
    let (sessions, watch) = open(&config, store).await?;
    let kept = config.store.durable.then(|| state_dir(&config));
    let monitor = measure(&config, &sessions, Some(&state_dir(&config)))?;
    let alerts = open_alerts(&config, kept.as_deref(), &monitor, &sessions, &audit)?;
    let admin =
        admin::serve(&place, sessions.clone(), (watch.clone(), monitor.clone()), alerts.clone())?;
    let stop = stop_on_signals()?;
    let looking = tokio::spawn(alerts.clone().run(stop.clone()));
    let url = endpoint.url()?;
    let (running, tls) = (config.clone(), endpoint.tls().cloned());
    Reload { auth: auth.clone(), tls, running, reread }.on(hangups);
    let (keys, stopped) = (auth.clone(), stop.clone());
    tokio::spawn(async move { keys.keep_keys_fresh(&stopped).await });
    tracing::info!(%url, admin = %admin.path().display(), "ready");
    if print_address {
        let metrics = metrics.as_ref().and_then(|listener| listener.local_addr().ok());
        announce(&address.to_string(), &url, metrics);
    }
    let files = (audit.clone(), spans.clone());
    let behind = behind(&config, &sessions, (watch, monitor.clone(), alerts), files);
    let server = extend(McpServer::new(&config.mcp, behind, stop.clone()));
    if let Some(listener) = metrics {
        let series = Exposition::new(&config.metrics, monitor.clone());
        let files = (audit.clone(), spans.clone());
        let metrics = Metrics::new(server.ours().calls(), sessions.clone(), files, series);
        tokio::spawn(http::serve_pages(listener, metrics.router(), stop.clone()));
    }
    service::ready(url, sessions.clone(), stop.clone());
    endpoint.serve(server, sessions.clone(), auth, stop).await;
    // Sessions that end with the daemon are not gone.
    looking.await.ok();
    monitor.close();
    sessions.close_all().await;
    audit.close();
    spans.close();
    tracing::info!("stopped");
    Ok(())
}

/// Serves MCP over standard input and output until the client hangs up or a signal says to stop.
pub(crate) async fn serve_stdio(config: Config) -> anyhow::Result<()> {
    let place = Place::join(&state_dir(&config))?;
    // A client's daemon keeps sessions as long as it lives, and no longer.
    let store = Store::open(None, &config.store)?;
    let (sessions, watch) = open(&config, store).await?;
    let (audit, spans) = open_files(&config)?;
    // Several of these may have the same state folder, and nobody looks back at one that is gone.
    let monitor = measure(&config, &sessions, None)?;
    let alerts = open_alerts(&config, None, &monitor, &sessions, &audit)?;
    let _admin =
        admin::serve(&place, sessions.clone(), (watch.clone(), monitor.clone()), alerts.clone())?;
    let stop = stop_on_signals()?;
    let unserved = CancellationToken::new();
    let looking = tokio::spawn(alerts.clone().run(unserved.clone()));
    let files = (audit.clone(), spans.clone());
    let behind = behind(&config, &sessions, (watch, monitor.clone(), alerts), files);
    let server = McpServer::new(&config.mcp, behind, stop.clone());
    let served = stdio::serve(server, sessions.clone(), stop).await;
    unserved.cancel();
    looking.await.ok();
    monitor.close();
    sessions.close_all().await;
    audit.close();
    spans.close();
    served
}

/// Who is told of each call.
fn open_files(config: &Config) -> anyhow::Result<(Audit, Spans)> {
    let path = &config.audit.path;
    let audit = Audit::open(&config.audit)
        .with_context(|| format!("the audit cannot be written to {}", path.display()))?;
    Ok((audit, Spans::open(&config.telemetry)?))
}

fn measure(config: &Config, sessions: &Sessions, folder: Option<&Path>) -> anyhow::Result<Monitor> {
    let calls = mcp::calls(&config.mcp);
    let of = &config.metrics;
    let remote_write = RemoteWrite::open(&of.remote_write, of.tenants)?;
    Monitor::start(&config.monitoring, sessions.clone(), calls, folder, remote_write)
        .context("the measuring cannot begin")
}

fn open_alerts(
    config: &Config,
    folder: Option<&Path>,
    monitor: &Monitor,
    sessions: &Sessions,
    audit: &Audit,
) -> anyhow::Result<Alerts> {
    let readings = Arc::new(Live::new(monitor.clone()));
    Alerts::open(config.alerts.clone(), folder, sessions.clone(), audit.clone(), readings)
}

fn behind(
    config: &Config,
    sessions: &Sessions,
    (watch, monitor, alerts): (Watch, Monitor, Alerts),
    (audit, spans): (Audit, Spans),
) -> Behind {
    let runs = Runs::new(config.runs.clone());
    let models = Models::new(sessions.clone(), Sources::new(config.models.clone()));
    let folder = config.store.durable.then(|| state_dir(config));
    let uploads = Uploads::new(config.uploads.clone(), folder);
    let profiles = Profiles::new(sessions.pool().clone(), config.profiling.clone());
    let sessions = sessions.clone();
    Behind { sessions, models, uploads, runs, profiles, watch, monitor, alerts, audit, spans }
}

/// Who may call. Without authentication everybody may do everything, and that is for this machine
/// alone.
pub(crate) fn open_door(config: &Config, address: SocketAddr) -> anyhow::Result<Auth> {
    let is_open = !address.ip().is_loopback();
    if config.auth.mode == auth::Mode::None {
        anyhow::ensure!(
            !is_open || config.auth.allow_anonymous,
            "whoever reaches {address} would own every session: set auth.mode = \"tokens\" \
             (see `simward token add`) or \"oauth\", listen on a loopback address, or say that this \
             is meant with auth.allow_anonymous = true"
        );
        if is_open {
            tracing::warn!(%address, "there is no authentication: whoever reaches this address owns every session");
        }
        return Ok(Auth::none());
    }
    if is_open && !config.http.tls.is_on() && config.http.trusted_proxies.is_empty() {
        tracing::warn!(%address, "tokens come in the clear: set http.tls, or let a proxy in front do it and name it in http.trusted_proxies");
    }
    Ok(Auth::open(&config.auth, tokens_file(config))?)
}

/// The file of tokens that a configuration means.
pub(crate) fn tokens_file(config: &Config) -> PathBuf {
    let configured = &config.auth.tokens_file;
    if !configured.as_os_str().is_empty() {
        return absolute(configured);
    }
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let handed = credentials.map(|folder| folder.join("tokens.toml")).filter(|path| path.exists());
    handed.unwrap_or_else(|| state_dir(config).join("tokens.toml"))
}

/// The state folder that a configuration means.
pub(crate) fn state_dir(config: &Config) -> PathBuf {
    let configured = &config.state_dir;
    if configured.as_os_str().is_empty() {
        admin::default_state_dir()
    } else {
        absolute(configured)
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

async fn open(config: &Config, store: Store) -> anyhow::Result<(Sessions, Watch)> {
    take_descriptors();
    let pool = Pool::open(config.pool.clone())?;
    require_layers(&pool).await?;
    let compiler = Compiler::new(pool.clone(), config.compile.clone());
    let renderer = Renderer::new(pool.clone(), config.render.clone());
    let sessions = Sessions::open(config.sessions.clone(), pool, (compiler, renderer), store);
    Ok((sessions, Watch::default()))
}

/// Takes as many descriptors as there may be: every session that is awake has a few.
fn take_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        tracing::warn!(%error, "the limit on descriptors could not be raised");
    }
}

/// Refuses to go on without the isolation layers that the configuration demands. A worker is asked,
/// because only what is in force counts.
async fn require_layers(pool: &Pool) -> anyhow::Result<()> {
    let required = &pool.config().require_layers;
    if required.is_empty() {
        return Ok(());
    }
    let worker = Worker::start_anyhow(pool, &Tenant::local(), Limits::default(), None)
        .await
        .context("no worker could be started")?;
    let there = worker.facts().hello.layers.clone();
    worker.stop().await;
    let missing = pool.lacking(Role::Simulate, &there);
    anyhow::ensure!(
        missing.is_empty(),
        "pool.require_layers names isolation layers that are not in force here: {missing:?}; in \
         force are {there:?}"
    );
    Ok(())
}

/// A token that SIGTERM and SIGINT cancel.
fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be heard")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be heard")?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        let mut again = async || {
            tokio::select! {
                _ = terminate.recv() => (),
                _ = interrupt.recv() => (),
            }
        };
        again().await;
        tracing::info!("stopping");
        stopping.cancel();
        again().await;
        tracing::warn!("stopping at once, because a second signal says so");
        // The workers go with their parent.
        #[expect(clippy::exit, reason = "whoever asks twice does not want to wait")]
        std::process::exit(1);
    });
    Ok(stop)
}

#[expect(clippy::print_stdout, reason = "programs that start the daemon read it there")]
fn announce(listen: &str, url: &str, metrics: Option<SocketAddr>) {
    let pid = std::process::id();
    let said = serde_json::json!({ "listen": listen, "url": url, "metrics": metrics, "pid": pid });
    println!("{said}");
}
