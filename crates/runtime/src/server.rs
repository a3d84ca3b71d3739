//! The HTTP server: accepts, bounds and drains connections.
//!
//! `axum::serve` has neither a time-out for headers nor a limit of connections;
//! both are needed where every peer may be hostile, hence this small loop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How the server treats its peers.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Connections at once; more wait in the backlog of the system.
    pub(crate) connections: usize,
    /// How long a peer may take to send the head of a request, and how long a
    /// connection may rest between two. Pools of clients keep connections for
    /// about a minute.
    pub(crate) head_time_out: Duration,
    /// How long requests may take to end once the server drains.
    pub(crate) drain: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: 10_000, head_time_out: Duration::from_secs(75), drain: Duration::from_secs(10) }
    }
}

/// Serves until `shutdown`, then lets requests in progress end. Returns how
/// many connections had to be cut.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    options: Options,
    shutdown: CancellationToken,
) -> usize {
    let slots = Arc::new(Semaphore::new(options.connections));
    let graceful = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_time_out)
        .max_buf_size(64 << 10)
        .pipeline_flush(true);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(256);
    loop {
        let permit = tokio::select! {
            permit = slots.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
            () = shutdown.cancelled() => break,
        };
        let stream = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = shutdown.cancelled() => break,
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            drop(permit);
        });
    }
    drop(listener);
    let open = graceful.count();
    match tokio::time::timeout(options.drain, graceful.shutdown()).await {
        Ok(()) => 0,
        Err(_) => open,
    }
}

/// The next connection. Errors of single connections, and of a process out of
/// descriptors, pass.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "setting TCP_NODELAY");
                }
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Binds the address, with what to do when that fails.
pub(crate) async fn bind(address: &str) -> Result<(TcpListener, SocketAddr), String> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        format!("cannot listen on {address}: {error}; choose another address with --listen HOST:PORT (port 0 takes a free one)")
    })?;
    let local =
        listener.local_addr().map_err(|error| format!("cannot read the address of {address}: {error}"))?;
    Ok((listener, local))
}
