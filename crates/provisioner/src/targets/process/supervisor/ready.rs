//! Whether a process is ready.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::super::manifest::{ProcessSpec, Ready};
use super::super::protocol::Phase;
use super::output::Words;
use super::start::{Heard, start};
use super::{Shared, end};

/// Between two checks, until the first that succeeds.
const FIRST: Duration = Duration::from_millis(100);
/// Between two checks, afterwards.
const LATER: Duration = Duration::from_secs(2);
/// How long a check may take.
const BOUND: Duration = Duration::from_secs(2);

/// Says on the board how ready a process is, for as long as it runs. `was_ready` is
/// called the first time.
pub(super) async fn watch(
    shared: &Shared,
    process: &ProcessSpec,
    ports: &BTreeMap<String, u16>,
    words: &Words,
    mut was_ready: impl FnMut(),
) {
    let name = &process.name;
    let Some(ready) = &process.ready else {
        sleep(process.settle).await;
        was_ready();
        is_ready(shared, name);
        return std::future::pending().await;
    };
    if let Ready::Output(_) = ready {
        words.seen().await;
        was_ready();
        is_ready(shared, name);
        return std::future::pending().await;
    }
    let mut pause = FIRST;
    loop {
        let checked = timeout(BOUND, check(shared, process, ready, ports)).await;
        match checked.unwrap_or_else(|_| Err("its check took longer than 2s".to_owned())) {
            Ok(()) => {
                if pause == FIRST {
                    pause = LATER;
                    was_ready();
                }
                is_ready(shared, name);
            }
            Err(reason) => shared.board.update(name, |state| {
                let (phase, words) = match pause {
                    FIRST => (Phase::Running, "runs and is not ready yet"),
                    _ => (Phase::Unready, "was ready and is not any more"),
                };
                state.phase = phase;
                state.reason = Some(format!("process {name} {words}: {reason}"));
            }),
        }
        sleep(pause).await;
    }
}

fn is_ready(shared: &Shared, name: &str) {
    shared.board.update(name, |state| {
        state.phase = Phase::Ready;
        state.reason = None;
    });
}

async fn check(
    shared: &Shared,
    process: &ProcessSpec,
    ready: &Ready,
    ports: &BTreeMap<String, u16>,
) -> Result<(), String> {
    match ready {
        Ready::Http { port, path } => get(of(ports, port)?, path).await,
        Ready::Tcp { port } => connect(of(ports, port)?).await.map(drop),
        Ready::Command(words) => command(shared, process, words, ports).await,
        Ready::Output(_) => Ok(()),
    }
}

fn of(ports: &BTreeMap<String, u16>, name: &str) -> Result<u16, String> {
    ports.get(name).copied().ok_or_else(|| format!("it has no port {name}"))
}

async fn connect(port: u16) -> Result<TcpStream, String> {
    let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.and_then(|stream| {
        // Where nobody listens, a connection may get this very port as its own and meet itself.
        let is_own = stream.local_addr()? == stream.peer_addr()?;
        if is_own { Err(std::io::ErrorKind::ConnectionRefused.into()) } else { Ok(stream) }
    });
    connected.map_err(|error| format!("port {port} does not answer: {error}"))
}

async fn get(port: u16, path: &str) -> Result<(), String> {
    let stream = connect(port).await?;
    let failed = |error: hyper::Error| format!("GET {path} on port {port} failed: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = hyper::Request::get(path)
        .header("host", format!("{}:{port}", Ipv4Addr::LOCALHOST))
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    // The body is of no interest, so the connection ends with the answer's head. How the
    // connection ended is in what becomes of the request.
    let driven = async {
        drop(connection.await);
        std::future::pending::<()>().await;
    };
    let response = tokio::select! {
        response = sender.send_request(request) => response.map_err(failed)?,
        () = driven => return Err(format!("GET {path} on port {port} was not answered")),
    };
    let status = response.status();
    if status.is_success() || status.is_redirection() {
        return Ok(());
    }
    Err(format!("GET {path} on port {port} answered {status}"))
}

async fn command(
    shared: &Shared,
    process: &ProcessSpec,
    words: &[String],
    ports: &BTreeMap<String, u16>,
) -> Result<(), String> {
    let started = start(shared, process, words, ports, Heard::No)
        .map_err(|error| format!("its check cannot be started: {error}"))?;
    // A check that takes too long, or whose process ends meanwhile, is dropped here.
    let group = Group(started.pid);
    let status = started.ended.await.map_err(|_| "its check was lost".to_owned())?;
    drop(group);
    match status.exit_status() {
        Some(0) => Ok(()),
        _ => Err(format!("its check {}", super::reaper::in_words(status))),
    }
}

/// Kills what a check has started.
struct Group(i32);

impl Drop for Group {
    fn drop(&mut self) {
        end::kill_group(self.0);
    }
}
