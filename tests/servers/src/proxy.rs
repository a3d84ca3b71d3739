//! A wire to a server that can be bad: slow, cut, or silent without an end.

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
    /// The same, and what is connected stays so, as when a firewall forgets it.
    Forgotten,
    /// Connections end, and new ones are not taken.
    Cut,
}

/// A port of this machine that leads to another one.
pub struct Proxy {
    port: u16,
    wire: watch::Sender<Wire>,
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
        let (wire, seen) = watch::channel(Wire::Good);
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let listening = tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else { return };
                if *seen.borrow() == Wire::Cut {
                    continue;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let (seen, host) = (seen.clone(), host.clone());
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect((host, port)).await else { return };
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    // The first way that ends ends the other.
                    tokio::select! {
                        () = carry(near_in, far_out, seen.clone()) => {}
                        () = carry(far_in, near_out, seen) => {}
                    }
                });
            }
        });
        Ok(Self { port: own, wire, connections, listening })
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
        self.wire.send_replace(wire);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.wire.send_replace(Wire::Cut);
        self.listening.abort();
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut seen: watch::Receiver<Wire>) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let count = tokio::select! {
            () = until(seen.clone(), Wire::Cut) => return,
            () = until(seen.clone(), Wire::Forgotten) => return until(seen, Wire::Cut).await,
            read = from.read(&mut bytes) => match read {
                Ok(count) if count > 0 => count,
                _ => return,
            },
        };
        // What was read waits for as long as the wire is silent.
        let Ok(wire) = seen.wait_for(|wire| *wire != Wire::Silent).await.map(|wire| *wire) else { return };
        match wire {
            Wire::Cut => return,
            // tidy: sleep because that is what is asked for
            Wire::Slow(by) => tokio::time::sleep(by).await,
            Wire::Good | Wire::Silent | Wire::Forgotten => {}
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// Waits until the wire is like that, or gone.
async fn until(mut seen: watch::Receiver<Wire>, like: Wire) {
    // Its sender goes with the proxy.
    seen.wait_for(|wire| *wire == like).await.ok();
}
