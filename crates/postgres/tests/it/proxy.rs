//! What stands between the engine and the server, to lose what is said.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What happens to connections that are open when it is said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    Swallow,
    Cut,
    Refuse,
}

/// A proxy on a port of its own.
pub(crate) struct Proxy {
    port: u16,
    mode: Arc<watch::Sender<Mode>>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    pub(crate) async fn before(server: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let modes = Arc::clone(&mode);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *modes.borrow() == Mode::Refuse {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server).await else { continue };
                // One that comes after a cut is a new one: it passes.
                if *modes.borrow() == Mode::Cut {
                    modes.send_replace(Mode::Pass);
                }
                tokio::spawn(pass(client, server, modes.subscribe()));
            }
        });
        Self { port, mode, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What servers say is lost from now on.
    pub(crate) fn swallow_answers(&self) {
        self.mode.send_replace(Mode::Swallow);
    }

    /// Ends what is open, and what comes until it may pass.
    pub(crate) fn refuse(&self) {
        self.mode.send_replace(Mode::Refuse);
    }

    /// What comes now passes.
    pub(crate) fn pass(&self) {
        self.mode.send_replace(Mode::Pass);
    }

    /// Ends what is open. What comes then passes.
    pub(crate) fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }
}

async fn pass(client: TcpStream, server: TcpStream, mut mode: watch::Receiver<Mode>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let swallowing = mode.clone();
    let up = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let down = async {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = from_server.read(&mut buffer).await?;
            if count == 0 {
                return Ok::<_, std::io::Error>(());
            }
            if *swallowing.borrow() == Mode::Pass {
                to_client.write_all(&buffer[..count]).await?;
            }
        }
    };
    tokio::select! {
        _ = up => {}
        _ = down => {}
        _ = mode.wait_for(|mode| matches!(mode, Mode::Cut | Mode::Refuse)) => {}
    }
}
