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
use tokio_io_timeout::TimeoutStream;
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
    /// How long a peer may take no byte of an answer that it asked for.
    pub(crate) write_time_out: Duration,
    /// How long a peer may confirm nothing of what it was sent.
    pub(crate) silence: Duration,
    /// How long requests may take to end once the server drains.
    pub(crate) drain: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 10_000,
            head_time_out: Duration::from_secs(75),
            write_time_out: Duration::from_secs(30),
            silence: Duration::from_secs(60),
            drain: Duration::from_secs(10),
        }
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
        .max_buf_size(64 << 10);
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
        notice_loss(&stream, options.silence);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(options.write_time_out));
        let stream = Box::pin(stream);
        let service = TowerToHyperService::new(router.clone());
        // One that became a WebSocket is none of these any more: the gateway counts it,
        // and ends it when the server drains.
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
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

/// Has the system end a connection whose peer confirms nothing of what it was sent for
/// this long: it vanished without a word, which otherwise shows after a quarter of an
/// hour. Meanwhile deliveries would be pushed to nobody.
#[cfg(target_os = "linux")]
fn notice_loss(stream: &TcpStream, after: Duration) {
    let milliseconds = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds) {
        tracing::debug!(%error, "setting TCP_USER_TIMEOUT");
    }
}

/// Other systems have their own idea of how long that takes.
#[cfg(not(target_os = "linux"))]
fn notice_loss(_: &TcpStream, _: Duration) {}

/// Binds the address, with what to do when that fails.
pub(crate) async fn bind(address: &str) -> Result<(TcpListener, SocketAddr), String> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        format!("cannot listen on {address}: {error}; choose another address with --listen HOST:PORT (port 0 takes a free one)")
    })?;
    let local =
        listener.local_addr().map_err(|error| format!("cannot read the address of {address}: {error}"))?;
    Ok((listener, local))
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn started(options: Options) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<usize>) {
        let large = || async { vec![b'x'; 64 << 20] };
        let router = Router::new().route("/", get(|| async { "hello" })).route("/large", get(large));
        let (listener, address) = bind("127.0.0.1:0").await.unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(listener, router, options, stop.clone()));
        (address, stop, served)
    }

    async fn ask(address: SocketAddr, head: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn a_request_is_answered_and_the_server_drains() {
        let (address, stop, served) = started(Options::default()).await;
        let mut stream = ask(address, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
        stop.cancel();
        assert_eq!(served.await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_peer_that_never_ends_its_head_is_cut() {
        let options = Options { head_time_out: Duration::from_millis(50), ..Options::default() };
        let (address, _stop, _served) = started(options).await;
        let mut stream = ask(address, "GET / HTTP/1.1\r\nhost: a\r\nx-slow: ").await;
        let mut rest = Vec::new();
        // The end of the stream is the condition; without the time-out this never comes.
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(!String::from_utf8_lossy(&rest).contains("200"), "{rest:?}");
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_of_its_answer_is_cut() {
        let options = Options { write_time_out: Duration::from_millis(50), ..Options::default() };
        let (address, stop, served) = started(options).await;
        let stream = ask(address, "GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await;
        // With the peer cut there is no connection left for the drain to wait for.
        stream.readable().await.unwrap();
        stop.cancel();
        assert_eq!(served.await.unwrap(), 0);
        drop(stream);
    }
}
