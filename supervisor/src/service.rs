//! What a service manager hands over, and what it wants to hear: systemd's protocols for sockets,
//! readiness and the watchdog. Without one, nothing is said to nobody.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::Context as _;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::sessions::Sessions;

/// How often the status is told where there is no watchdog.
const STATUS_EVERY: Duration = Duration::from_secs(30);

/// The socket that was opened for us, if there is one: connections wait in it while we are not there.
pub(crate) fn socket() -> anyhow::Result<Option<TcpListener>> {
    let mut handed = ListenFd::from_env();
    anyhow::ensure!(
        handed.len() <= 1,
        "the service manager hands over {} sockets; one is needed, for MCP",
        handed.len()
    );
    handed.take_tcp_listener(0).context("what the service manager hands over is no TCP socket")
}

/// Tells that calls are taken, and goes on telling that all is well, until `stop`.
pub(crate) fn ready(url: String, sessions: Sessions, stop: CancellationToken) {
    tell(&[NotifyState::Ready, NotifyState::Status(&status(&url, &sessions))]);
    let watchdog = sd_notify::watchdog_enabled();
    // Half of what it allows, as the manual asks for.
    let every = watchdog.map_or(STATUS_EVERY, |limit| limit / 2);
    if watchdog.is_none() && std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    tokio::spawn(async move {
        let mut beat = tokio::time::interval(every.max(Duration::from_millis(1)));
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    // It comes here only while tasks are run and the table of sessions is free.
                    let status = status(&url, &sessions);
                    tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
                }
                () = stop.cancelled() => {
                    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
                    return;
                }
            }
        }
    });
}

fn status(url: &str, sessions: &Sessions) -> String {
    let count = sessions.all().len();
    format!("serving at {url}, {count} sessions")
}

fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}
