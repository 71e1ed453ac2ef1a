//! The port: binds a loopback address, bounds the open connections, switches Nagle off on each of them and routes what
//! comes in. It outlives the engine's thread: while there is no engine, requests are refused with 503.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::{any, get, post};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use super::app::App;
use super::origin::{self, OriginPolicy};
use super::{http, sync};

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
        .route("/", get(http::root))
        .fallback(http::not_found)
        .with_state(app)
        .layer(middleware::from_fn_with_state(policy, origin::guard))
}

/// Accepts no more connections at a time than it has permits; the next one waits in the kernel's queue.
pub(super) struct BoundedListener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl BoundedListener {
    pub(super) async fn bind(address: SocketAddr, connections: usize) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            permits: Arc::new(Semaphore::new(connections)),
        })
    }
}

impl axum::serve::Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                // nobody closes this semaphore
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // without this, Nagle and delayed acknowledgements cost 40 ms per mutation
                    if let Err(error) = stream.set_nodelay(true) {
                        warn!(%error, "cannot set TCP_NODELAY");
                    }
                    return (
                        Connection {
                            stream,
                            _permit: permit,
                        },
                        peer,
                    );
                }
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
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

/// A TCP stream that gives its permit back when it is closed.
pub(super) struct Connection {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Until `stop` resolves; requests under way are finished first.
pub(super) async fn serve(
    listener: BoundedListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let serve = axum::serve(listener, router).with_graceful_shutdown(stop);
    if let Err(error) = serve.await {
        warn!(%error, "the listener failed");
    }
}
