//! A wire to a server that can be bad: slow, cut, or silent, one way or both, without an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How the wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// As it should be.
    Good,
    /// Everything takes so much longer, each way.
    Slow(Duration),
    /// Both ends believe that they are connected, and nothing comes through for now.
    Silent,
    /// What the server says is lost; it is told everything.
    Deaf,
    /// Nothing comes through either way, and what is connected stays so, as when a firewall forgets it.
    Forgotten,
    /// Connections end, and new ones are not taken.
    Cut,
}

/// How the wire is, and how often what was connected has been cut off.
#[derive(Clone, Copy)]
struct State {
    wire: Wire,
    cuts: usize,
}

/// A port of this machine that leads to another one.
pub struct Proxy {
    port: u16,
    state: watch::Sender<State>,
    connections: Arc<AtomicUsize>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// Leads to this port of this machine, well.
    pub async fn to(port: u16) -> Result<Self> {
        Self::to_host("127.0.0.1".to_owned(), port).await
    }

    /// The same to another machine.
    pub async fn to_host(host: String, port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own = listener.local_addr()?.port();
        let (state, seen) = watch::channel(State { wire: Wire::Good, cuts: 0 });
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let listening = tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else { return };
                let State { wire, cuts } = *seen.borrow();
                if wire == Wire::Cut {
                    continue;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let (seen, host) = (seen.clone(), host.clone());
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect((host, port)).await else { return };
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    // The first way that ends ends the other.
                    tokio::select! {
                        () = carry(near_in, far_out, Way { seen: seen.clone(), cuts, of_answers: false }) => {}
                        () = carry(far_in, near_out, Way { seen, cuts, of_answers: true }) => {}
                    }
                });
            }
        });
        Ok(Self { port: own, state, connections, listening })
    }

    /// Where it is.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Makes the wire so, for what is connected as well.
    pub fn make(&self, wire: Wire) {
        self.state.send_modify(|state| state.wire = wire);
    }

    /// Ends what is connected. What comes then finds a good wire.
    pub fn cut(&self) {
        self.state.send_modify(|state| *state = State { wire: Wire::Good, cuts: state.cuts + 1 });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.make(Wire::Cut);
        self.listening.abort();
    }
}

/// One way of a connection.
struct Way {
    seen: watch::Receiver<State>,
    /// How often the wire had been cut when it began.
    cuts: usize,
    of_answers: bool,
}

impl Way {
    /// Waits until the wire is as wanted, or the connection has ended, which is no wire.
    async fn wire(&self, wanted: impl Fn(Wire) -> bool) -> Option<Wire> {
        let has_ended = |state: &State| state.wire == Wire::Cut || state.cuts != self.cuts;
        let mut seen = self.seen.clone();
        // Its sender goes with the proxy.
        let state = *seen.wait_for(|state| has_ended(state) || wanted(state.wire)).await.ok()?;
        (!has_ended(&state)).then_some(state.wire)
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let count = tokio::select! {
            wire = way.wire(|wire| wire == Wire::Forgotten) => {
                if wire.is_some() {
                    // Whatever the wire is like from now on.
                    way.wire(|_| false).await;
                }
                return;
            }
            read = from.read(&mut bytes) => match read {
                Ok(count) if count > 0 => count,
                _ => return,
            },
        };
        // What was read waits for as long as the wire is silent.
        match way.wire(|wire| wire != Wire::Silent).await {
            None => return,
            Some(Wire::Deaf) if way.of_answers => continue,
            // tidy: sleep because that is what is asked for
            Some(Wire::Slow(by)) => tokio::time::sleep(by).await,
            Some(_) => {}
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
