//! An endpoint on a real socket that does what a test tells it to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Its first line.
    pub(crate) line: String,
    /// Its headers, by name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }
}

/// What an endpoint does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answers with this status, these further header lines and this body.
    Answer(u16, &'static str, String),
    /// Never answers.
    Hang,
    /// Sends the head of an answer a byte at a time, and never ends it.
    SlowHead,
    /// Answers with this status and a body without end.
    Endless(u16),
    /// Answers with this status and promises a body that never comes.
    SilentBody(u16),
    /// Ends the connection without a word.
    Cut,
}

pub(crate) fn ok() -> Act {
    Act::Answer(204, "", String::new())
}

pub(crate) fn status(status: u16) -> Act {
    Act::Answer(status, "", "no".to_owned())
}

type Acts = dyn Fn(&Received) -> Act + Send + Sync;

/// An endpoint that listens.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    received: mpsc::UnboundedReceiver<Received>,
    all: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Stub {
    pub(crate) async fn start(act: impl Fn(&Received) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, received) = mpsc::unbounded_channel();
        let all: Arc<Mutex<Vec<Received>>> = Arc::default();
        let connections = Arc::new(AtomicUsize::new(0));
        let act: Arc<Acts> = Arc::new(act);
        let task = {
            let (all, connections) = (Arc::clone(&all), Arc::clone(&connections));
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    connections.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(serve(stream, Arc::clone(&act), told.clone(), Arc::clone(&all)));
                }
            })
        };
        Self { address, received, all, connections, task }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks?token=hunter2", self.address)
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(Duration::from_secs(30), self.received.recv());
        next.await.expect("a request within 30 s").unwrap()
    }

    /// All requests so far.
    pub(crate) fn all(&self) -> Vec<Received> {
        self.all.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    act: Arc<Acts>,
    told: mpsc::UnboundedSender<Received>,
    all: Arc<Mutex<Vec<Received>>>,
) {
    while let Some(received) = read(&mut stream).await {
        let act = act(&received);
        all.lock().unwrap().push(received.clone());
        // The test may be over.
        let _ = told.send(received);
        if !carry_out(&mut stream, act).await {
            return;
        }
    }
}

/// Whether another request may follow.
async fn carry_out(stream: &mut TcpStream, act: Act) -> bool {
    match act {
        Act::Answer(status, headers, body) => {
            let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.is_ok()
        }
        Act::Hang => std::future::pending().await,
        Act::SlowHead => {
            let mut written = stream.write_all(b"HTTP/1.1 200 X\r\nx-slow: ").await;
            while written.is_ok() {
                // tidy: sleep because an endpoint that takes its time is what is tested
                tokio::time::sleep(Duration::from_millis(20)).await;
                written = stream.write_all(b"x").await;
            }
            false
        }
        Act::Endless(status) => {
            let head = format!("HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n");
            let mut written = stream.write_all(head.as_bytes()).await;
            let chunk = format!("2000\r\n{}\r\n", "x".repeat(0x2000));
            while written.is_ok() {
                written = stream.write_all(chunk.as_bytes()).await;
            }
            false
        }
        Act::SilentBody(status) => {
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 10\r\n\r\n");
            if stream.write_all(head.as_bytes()).await.is_ok() {
                // Until the other side goes.
                let _ = stream.read(&mut [0]).await;
            }
            false
        }
        Act::Cut => false,
    }
}

/// The next request of a connection; none at its end.
async fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().lines();
    let line = lines.next().unwrap().to_owned();
    let headers: BTreeMap<String, String> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received { line, headers, body: String::from_utf8(body).unwrap() })
}
