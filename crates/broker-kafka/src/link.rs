//! The clients of a cluster: how they are made, and seen to be of no use any more.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orderwire_broker::{Connection, Connector, Error, ErrorKind, Keeping};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::sync::Notify;
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;

use crate::bindings::{self, Bindings};
use crate::client::Watch;
use crate::error;
use crate::options::Options;
use crate::publisher::Publisher;
use crate::topics::{Topics, Wanted, blocking};

/// What is there while there is a connection.
pub(crate) struct Link {
    pub(crate) publisher: Elsewhere<Publisher>,
    pub(crate) bindings: Bindings,
    pub(crate) topics: Topics<Watch>,
    client: Elsewhere<Arc<BaseConsumer<Watch>>>,
    /// Ends the thread that reads the bindings.
    ended: CancellationToken,
}

/// Something whose end may take a while, and does so in a thread of its own.
pub(crate) struct Elsewhere<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> std::ops::Deref for Elsewhere<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl<T: Send + 'static> Drop for Elsewhere<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        if let Err(error) = std::thread::Builder::new().spawn(move || drop(value)) {
            tracing::debug!(%error, "no thread for the end of a client, which takes a moment here");
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl Link {
    /// Connects, sees that there is a place for bindings, and reads them.
    ///
    /// # Errors
    /// Why not, within the time-out.
    async fn open(options: &Arc<Options>, suspect: &Arc<Notify>) -> Result<Self, Error> {
        let until = Instant::now() + options.timeout;
        let what = format!("connection to {}", options.place());
        let watch = Watch::new(Arc::clone(suspect));
        let client = bindings::client(options, watch.clone());
        let client = Arc::new(client.map_err(|error| error::of_call(&what, &error))?);
        let topics = Topics::new(Arc::clone(&client), Arc::clone(options));
        let name = bindings::topic(options);
        let listened = CancellationToken::new();
        // What a client tells comes only while somebody asks it.
        let (asked, over) = (Arc::clone(&client), listened.clone());
        let listening = tokio::task::spawn_blocking(move || {
            while !over.is_cancelled() {
                if let Some(Err(error)) = asked.poll(Duration::from_millis(50)) {
                    let reason = error.to_string();
                    rdkafka::client::ClientContext::error(&**asked.context(), error, &reason);
                }
            }
        });
        let listened = listened.drop_guard();
        let made = tokio::select! {
            made = topics.make(&name, Wanted::bindings(options), false, until) => made,
            // It would be tried in vain until the time is over.
            () = watch.refused() => Err(Error::new(ErrorKind::Unavailable, "refused")),
        };
        drop(listened);
        listening.await.map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))?;
        made.map_err(|error| match (error.kind(), watch.last()) {
            // The client knows better why nobody answers.
            (ErrorKind::Unavailable, Some(why)) => Error::new(why.kind(), format!("{what}: {why}")),
            _ => Error::new(error.kind(), format!("{what}: {error}")),
        })?;
        let publisher = Publisher::new(options, watch).map_err(|error| error::of_call(&what, &error))?;
        let ended = CancellationToken::new();
        let bindings = Bindings::follow(Arc::clone(&client), Arc::clone(options), ended.clone())?;
        let link = Self {
            publisher: Elsewhere(Some(publisher)),
            bindings,
            topics,
            client: Elsewhere(Some(client)),
            ended,
        };
        link.bindings.catch_up(until).await?;
        Ok(link)
    }

    /// Whether it is of use still.
    async fn look(&self, options: &Options) -> Result<(), Error> {
        if !self.publisher.is_fit() {
            return Err(Error::new(ErrorKind::Unavailable, "the producer gave up"));
        }
        let (client, topic, within) = (Arc::clone(&self.client), bindings::topic(options), options.timeout);
        let answer = blocking(move || client.fetch_metadata(Some(&topic), within).map(drop)).await?;
        answer.map_err(|error| {
            match (self.client.context().last(), error::of_call("ask the cluster", &error)) {
                (Some(why), said) if said.kind() == ErrorKind::Unavailable => why,
                (_, said) => said,
            }
        })
    }
}

/// What makes links, one after another.
pub(crate) struct Clients {
    options: Arc<Options>,
    /// Told when they may not be connected any more.
    suspect: Arc<Notify>,
}

/// Begins to connect, until `closing` is cancelled.
pub(crate) fn keep(options: &Arc<Options>, closing: CancellationToken) -> Connection<Link> {
    let keeping = Keeping {
        place: options.place(),
        purpose: "all",
        timeout: options.timeout,
        pause_first: options.pause_first,
        pause_last: options.pause_last,
    };
    let clients = Clients { options: Arc::clone(options), suspect: Arc::new(Notify::new()) };
    Connection::keep(clients, keeping, closing)
}

#[async_trait]
impl Connector for Clients {
    type Link = Link;

    async fn open(&self) -> Result<Link, Error> {
        Link::open(&self.options, &self.suspect).await
    }

    async fn lost(&self, link: &Link) -> Error {
        let mut look = interval_at(Instant::now() + self.options.session, self.options.session);
        loop {
            tokio::select! {
                () = self.suspect.notified() => {}
                _ = look.tick() => {}
            }
            if let Err(why) = link.look(&self.options).await {
                return Error::new(why.kind(), format!("connection to {}: {why}", self.options.place()));
            }
        }
    }

    async fn close(&self, link: &Link) {
        link.publisher.flush(self.options.timeout).await;
    }
}
