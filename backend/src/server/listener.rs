//! A port: binds an address, bounds the open connections and routes what comes in. It outlives the engine's
//! thread: while there is no engine, requests are refused with 503.
//!
//! Who holds a connection has to use it: one without a whole request header for a while is closed, fresh or kept alive,
//! and so is one whose peer takes nothing of its answer. Any process of this machine can connect, and the places are
//! few.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::{any, get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::app::App;
use super::origin::{self, OriginPolicy};
use super::stream::Bounded;
use super::tuning::Tuning;
use super::{http, site, sync};

/// After an accept that failed for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

pub(super) fn router(app: Arc<App>, policy: Arc<OriginPolicy>) -> Router {
    Router::new()
        .route("/api/sync", any(sync::upgrade))
        .route("/api/{version}/sync", any(sync::upgrade))
        .route("/api/query", post(http::query))
        .route("/api/query_ts", post(http::query_ts))
        .route("/api/query_at_ts", post(http::query_at_ts))
        .route("/api/mutation", post(http::mutation))
        .route("/api/function", post(http::function))
        .route("/api/action", post(http::action))
        .route("/version", get(http::version))
        .route("/instance_name", get(http::instance_name))
        .route("/instance_version", get(http::version))
        .route("/", get(site::index))
        .method_not_allowed_fallback(http::method_not_allowed)
        .fallback(site::file)
        .with_state(app)
        .layer(middleware::from_fn_with_state(policy, origin::guard))
}

/// Accepts no more connections at a time than it has permits; the next one waits in the kernel's queue.
pub(super) struct BoundedListener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    header_timeout: Duration,
    write_timeout: Duration,
    tls: Option<TlsAcceptor>,
}

impl BoundedListener {
    pub(super) async fn bind(address: SocketAddr, tuning: &Tuning) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            permits: Arc::new(Semaphore::new(tuning.connections)),
            header_timeout: tuning.header_timeout,
            write_timeout: tuning.write_timeout,
            tls: None,
        })
    }

    pub(super) fn with_tls(self, tls: Option<TlsAcceptor>) -> Self {
        Self { tls, ..self }
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Never fails: an error of one connection is not the listener's.
    async fn accept(&self) -> Bounded {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                // nobody closes this semaphore
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // without this, Nagle and delayed acknowledgements cost 40 ms per mutation
                    if let Err(error) = stream.set_nodelay(true) {
                        warn!(%error, "cannot set TCP_NODELAY");
                    }
                    return Bounded::new(stream, permit, self.write_timeout);
                }
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// Until it is told to stop; requests under way are finished first.
pub(super) async fn serve(listener: BoundedListener, router: Router, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(listener.header_timeout);
    loop {
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            () = stop.cancelled() => break,
        };
        let (protocol, router, stop) = (protocol.clone(), router.clone(), stop.clone());
        match listener.tls.clone() {
            None => connections.spawn(connection(protocol, stream, router, stop)),
            Some(tls) => {
                let limit = listener.header_timeout;
                connections.spawn(async move {
                    // Who says hello and no more holds a place no longer than who sends half a request.
                    let greeted = tokio::select! {
                        greeted = tokio::time::timeout(limit, tls.accept(stream)) => greeted,
                        () = stop.cancelled() => return,
                    };
                    match greeted {
                        Ok(Ok(stream)) => connection(protocol, stream, router, stop).await,
                        Ok(Err(error)) => debug!(%error, "no TLS connection came about"),
                        Err(_) => debug!("no TLS connection came about in time"),
                    }
                })
            }
        };
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(
    protocol: http1::Builder,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    stop: CancellationToken,
) {
    let served = protocol
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended");
    }
}
