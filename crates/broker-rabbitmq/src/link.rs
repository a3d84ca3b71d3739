//! One connection, from the socket up to what it is for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use orderwire_broker::{Connector, Error, ErrorKind, Keeping, Tls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::cut::{Cut, Hand};
use crate::error;
use crate::options::Options;
use crate::publisher::Publisher;
use crate::topology::Topology;

/// How often a connection is asked whether it is there still, beside what it tells.
const LOOK: Duration = Duration::from_millis(500);

/// The code and the words of a good-bye.
const GOOD_BYE: (u16, &str) = (200, "OK");

/// What a connection is for. RabbitMQ stops reading from connections that publish when
/// it runs out of memory or disk; so acks have a connection of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Publish,
    Consume,
}

/// What makes the connections for one purpose, one after another.
struct Server {
    options: Arc<Options>,
    purpose: Purpose,
    topology: Arc<Topology>,
}

/// Begins to connect, until `closing` is cancelled.
pub(crate) fn keep(
    options: &Arc<Options>,
    purpose: Purpose,
    topology: &Arc<Topology>,
    closing: CancellationToken,
) -> orderwire_broker::Connection<Link> {
    let keeping = Keeping {
        place: options.place(),
        purpose: match purpose {
            Purpose::Publish => "publish",
            Purpose::Consume => "consume",
        },
        timeout: options.timeout,
        pause_first: options.pause_first,
        pause_last: options.pause_last,
    };
    let server = Server { options: Arc::clone(options), purpose, topology: Arc::clone(topology) };
    orderwire_broker::Connection::keep(server, keeping, closing)
}

#[async_trait]
impl Connector for Server {
    type Link = Link;

    async fn open(&self) -> Result<Link, Error> {
        Link::open(&self.options, self.purpose, &self.topology).await
    }

    async fn lost(&self, link: &Link) -> Error {
        link.ended.cancelled().await;
        link.close(self.options.timeout).await;
        Error::new(ErrorKind::Unavailable, format!("connection to {}: it ended", self.options.place()))
    }

    async fn close(&self, link: &Link) {
        link.close(self.options.timeout).await;
    }
}

/// A connection that was made.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    /// For [`Purpose::Publish`].
    pub(crate) publisher: Option<Publisher>,
    /// Cancelled when the connection has ended, or is of no use any more.
    pub(crate) ended: CancellationToken,
    /// Ends the socket, at the latest with the link.
    cut: Cut,
}

impl Link {
    /// Connects, and makes everything as it was on the connection before.
    ///
    /// # Errors
    /// Why not, within the time-out.
    async fn open(options: &Options, purpose: Purpose, topology: &Topology) -> Result<Self, Error> {
        options.check()?;
        let until = tokio::time::Instant::now() + options.timeout;
        let late = || Error::late(&format!("connection to {}", options.place()), options.timeout);
        let cut = Cut::default();
        let connecting = connect(options, purpose, cut.hand());
        let connection = timeout_at(until, connecting).await.map_err(|_| late())?;
        let connection = connection.map_err(|error| error::of_connection(&options.place(), &error))?;
        let ended = CancellationToken::new();
        tokio::spawn(watch(connection.events_listener(), connection.status().clone(), ended.clone()));
        timeout_at(until, topology.restore(&connection)).await.map_err(|_| late())??;
        let publisher = match purpose {
            Purpose::Publish => {
                let opening = Publisher::open(&connection, options, &topology.largest, ended.clone());
                Some(timeout_at(until, opening).await.map_err(|_| late())??)
            }
            Purpose::Consume => None,
        };
        Ok(Self { connection, publisher, ended, cut })
    }

    /// Whether the broker takes no messages at this moment, for want of memory or disk.
    pub(crate) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Says good-bye, if the other side is there to hear it, and ends.
    async fn close(&self, within: Duration) {
        let (code, text) = GOOD_BYE;
        match timeout(within, self.connection.close(code, text.into())).await {
            Ok(Ok(())) => {}
            // Who has gone needs no good-bye.
            Ok(Err(error)) => {
                tracing::debug!(%error, "the connection to the broker ended before its good-bye");
            }
            Err(_) => tracing::debug!("the broker did not answer a good-bye"),
        }
        self.ended.cancel();
        self.cut.now();
    }
}

/// Cancels `ended` when the connection has ended.
async fn watch(
    events: impl futures::Stream<Item = lapin::Event>,
    status: lapin::ConnectionStatus,
    ended: CancellationToken,
) {
    let mut events = std::pin::pin!(events.fuse());
    let mut look = tokio::time::interval(LOOK);
    while status.connected() && !ended.is_cancelled() {
        tokio::select! {
            event = events.next() => match event {
                Some(lapin::Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(%reason, "the broker takes no messages: it runs out of memory or disk");
                }
                Some(lapin::Event::ConnectionUnblocked) => tracing::info!("the broker takes messages again"),
                Some(_) => {}
                None => { look.tick().await; }
            },
            _ = look.tick() => {}
            () = ended.cancelled() => {}
        }
    }
    ended.cancel();
}

/// Connects. The socket is put into `hand`, so that it can be ended at any moment.
async fn connect(options: &Options, purpose: Purpose, hand: Hand) -> lapin::Result<Connection> {
    let suffix = match purpose {
        Purpose::Publish => "publishes",
        Purpose::Consume => "consumes",
    };
    let properties = ConnectionProperties::default()
        .with_connection_name(format!("{} {suffix}", options.name).into())
        .with_client_property("product".into(), "Orderwire".into())
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
    let tls = options.tls.clone();
    let within = options.timeout;
    let runtime = lapin::runtime::default_runtime()?;
    // The library waits for the socket in a thread of its own, which has to end; so it has
    // a time-out of its own, too.
    Connection::connector(
        uri(options),
        runtime,
        async move |uri: AMQPUri, runtime| {
            let AMQPAuthority { host, port, .. } = &uri.authority;
            let connecting = async {
                let addresses: Vec<_> = tokio::net::lookup_host((host.as_str(), *port)).await?.collect();
                let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
                if let AsyncTcpStream::Plain(stream) = &stream {
                    hand.hold(stream.get_ref())?;
                }
                match &tls {
                    Some(tls) => stream.into_rustls(&connector(tls).await?, host).await,
                    None => Ok(stream),
                }
            };
            let connected = timeout(within, connecting).await;
            connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(lapin::Error::from)
        },
        properties,
    )
    .await
}

fn uri(options: &Options) -> AMQPUri {
    let heartbeat = u16::try_from(options.heartbeat.as_secs()).unwrap_or(u16::MAX).max(1);
    AMQPUri {
        scheme: if options.tls.is_some() { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: options.user.clone(),
                password: options.password.expose().to_owned(),
            },
            host: options.host.clone(),
            port: options.port,
        },
        vhost: options.vhost.clone(),
        query: AMQPQueryString { heartbeat: Some(heartbeat), ..AMQPQueryString::default() },
    }
}

/// Reads the files, and makes of them what encrypts a connection.
async fn connector(tls: &Tls) -> io::Result<RustlsConnector> {
    let config = match &tls.ca_file {
        Some(file) => RustlsConnectorConfig::default().with_parsable_certificates(certificates(file).await?),
        None => RustlsConnectorConfig::new_with_native_certs()?,
    };
    let Some(identity) = &tls.identity else { return config.connector_with_no_client_auth() };
    let chain = certificates(&identity.certificate_file).await?;
    let key = tokio::fs::read(&identity.key_file).await.map_err(|error| named(&identity.key_file, error))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| named(&identity.key_file, error))?;
    config.connector_with_single_cert(chain, key)
}

async fn certificates(file: &std::path::Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let pem = tokio::fs::read(file).await.map_err(|error| named(file, error))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(none) if none.is_empty() => Err(named(file, "there is no certificate in it")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(named(file, error)),
    }
}

fn named(file: &std::path::Path, why: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("read {}: {why}", file.display()))
}
