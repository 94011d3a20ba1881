//! Connections: how many there may be, how long a client may take, and how they end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::proxies::Proxies;
use super::tls::Tls;

/// How long a client may take for the head of a request, and to agree on how to speak.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait when the system gives no connection, because descriptors ran out.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long connections may take to end once nothing more is answered.
const END_WITHIN: Duration = Duration::from_secs(1);

/// How connections are taken.
#[derive(Debug)]
pub(super) struct Reception {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<Tls>,
    pub(super) proxies: Proxies,
    pub(super) connections_max: usize,
}

/// Accepts and serves connections until `stop`, then waits for `drained` and ends them.
pub(super) async fn serve(
    reception: Reception,
    router: Router,
    stop: CancellationToken,
    drained: impl Future<Output = ()>,
) {
    let Reception { listener, tls, proxies, connections_max } = reception;
    let room = Arc::new(Semaphore::new(connections_max.max(1)));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accept = async {
            // Others wait in the system's backlog.
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept => accepted,
        };
        let (Ok(place), Ok((stream, peer))) = (place, accepted) else {
            tokio::time::sleep(EXHAUSTED_PAUSE).await;
            continue;
        };
        let service = FromPeer { router: router.clone(), peer, proxies: proxies.clone() };
        let (tls, watcher) = (tls.clone(), graceful.watcher());
        connections.spawn(async move {
            // Without this, small replies wait 40 ms for the client's acknowledgement.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection could not be made quick");
            }
            match tls {
                None => connection(stream, service, watcher).await,
                Some(tls) => private(stream, &tls, service, watcher).await,
            }
            drop(place);
        });
    }
    drop(listener);
    drained.await;
    // Idle connections end at once; one whose client does not read is cut.
    tokio::time::timeout(END_WITHIN, graceful.shutdown()).await.ok();
    connections.shutdown().await;
}

async fn private(stream: TcpStream, tls: &Tls, service: FromPeer, watcher: Watcher) {
    match tokio::time::timeout(HEAD_WITHIN, tls.accept(stream)).await {
        Ok(Ok(stream)) => connection(stream, service, watcher).await,
        Ok(Err(error)) => tracing::debug!(%error, "no way to speak was agreed on"),
        Err(_elapsed) => tracing::debug!("a client took too long to agree on how to speak"),
    }
}

async fn connection<S>(stream: S, service: FromPeer, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    // A client that breaks off, or takes too long, is no error of ours.
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Notes on each request of a connection where it comes from.
#[derive(Clone)]
struct FromPeer {
    router: Router,
    peer: SocketAddr,
    proxies: Proxies,
}

impl Service<Request<Incoming>> for FromPeer {
    type Response = <Router as Service<Request<Incoming>>>::Response;
    type Error = <Router as Service<Request<Incoming>>>::Error;
    type Future = <Router as Service<Request<Incoming>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        <Router as Service<Request<Incoming>>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let remote = self.proxies.remote(self.peer, request.headers());
        request.extensions_mut().insert(remote);
        self.router.call(request)
    }
}
