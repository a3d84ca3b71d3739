//! What stands between a broker and its server, and fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// What comes in goes out.
    Pass,
    /// Connections stay open, and nothing goes through any more, as when a firewall forgets.
    Hold,
    /// Connections are closed, and new ones too.
    Cut,
}

/// Passes TCP connections on.
pub(crate) struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, modes) = watch::channel(Mode::Pass);
        let connections = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        let count = connections.clone();
        tasks.spawn(async move {
            let mut passing = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let mode = *modes.borrow();
                if mode == Mode::Cut {
                    continue;
                }
                count.fetch_add(1, Ordering::SeqCst);
                passing.spawn(pass(client, server, modes.clone()));
            }
        });
        Self { port, mode, connections, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn pass(client: TcpStream, server: u16, modes: watch::Receiver<Mode>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let there = copy(client_in, server_out, modes.clone());
    let back = copy(server_in, client_out, modes);
    // Either end is the end of both.
    tokio::select! { () = there => {}, () = back => {} }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut into: tokio::net::tcp::OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
) {
    // A connection that was held stays so: what it lost cannot come again.
    let mut held = false;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let mode = *modes.borrow_and_update();
        held |= mode == Mode::Hold;
        if mode == Mode::Cut {
            return;
        }
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return },
            read = from.read(&mut buffer), if !held => match read {
                Ok(count @ 1..) => if into.write_all(&buffer[..count]).await.is_err() { return },
                _ => return,
            },
        }
    }
}
