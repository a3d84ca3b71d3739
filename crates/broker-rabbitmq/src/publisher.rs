//! Publishes with confirms: one task owns the channel, so that messages go out in order
//! and each confirm is that of its message.
//!
//! A message that no queue takes is returned before it is confirmed. The client library
//! hands a returned message out with *some* confirm that it resolves then or later, not
//! with its own: the server may confirm many at once, and they are resolved in no order.
//! So the returned message is known by what it says of itself, and a confirm counts only
//! after all others that were resolved before it have been looked at. They are, once
//! those that are ready have been taken twice over until none was: each is queued when
//! it is resolved, and comes out in that order.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection};
use orderwire_broker::{Error, ErrorKind, HEADER_BYTES_MAX, Message, To};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::error;
use crate::largest::Largest;
use crate::options::Options;
use crate::topology;

/// What a message counts at least, so that small ones are bounded in number as well.
const COST_MIN: usize = 4 << 10;

/// How long what a connection said at its end is listened to.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The delivery mode of what has to be written to disk.
const PERSISTENT: u8 = 2;

/// Publishes over one connection.
pub(crate) struct Publisher {
    /// Bounded by `room`: every job holds its share of it.
    jobs: mpsc::UnboundedSender<Job>,
    room: Arc<Semaphore>,
    exchange: ShortString,
    largest: Arc<Largest>,
    unconfirmed_bytes_max: usize,
    /// How long a confirm may take before the connection is taken to be of no use.
    patience: Duration,
    status: lapin::ConnectionStatus,
    /// Cancelled by us when the connection is of no use any more.
    ended: CancellationToken,
}

/// A message that is to be published.
struct Job {
    route: Route,
    properties: BasicProperties,
    body: Bytes,
    answer: Answer,
}

/// What a returned message is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Route {
    exchange: ShortString,
    key: ShortString,
    id: ShortString,
}

/// Who waits for the confirm, with the share of the room that is free after it.
struct Answer {
    tell: oneshot::Sender<Result<(), Error>>,
    _share: OwnedSemaphorePermit,
}

impl Answer {
    fn give(self, answer: Result<(), Error>) {
        // Who does not wait any more does not need to know.
        self.tell.send(answer).ok();
    }
}

impl Publisher {
    /// Opens the channel of a connection.
    ///
    /// # Errors
    /// `Unavailable`, `Refused`.
    pub(crate) async fn open(
        connection: &Connection,
        options: &Options,
        largest: &Arc<Largest>,
        ended: CancellationToken,
    ) -> Result<Self, Error> {
        let channel = topology::channel(connection).await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        confirms.await.map_err(|error| error::of_call("ask for confirms", &error))?;
        let (jobs, received) = mpsc::unbounded_channel();
        let courier = Courier {
            status: connection.status().clone(),
            channel,
            largest: Arc::clone(largest),
            ended: ended.clone(),
            jobs: received,
            sent: FuturesUnordered::new(),
            returned: HashMap::new(),
            fresh: Vec::new(),
            seen: Vec::new(),
        };
        tokio::spawn(courier.run());
        Ok(Self {
            jobs,
            room: Arc::new(Semaphore::new(options.unconfirmed_bytes_max)),
            exchange: options.exchange.as_str().into(),
            largest: Arc::clone(largest),
            unconfirmed_bytes_max: options.unconfirmed_bytes_max,
            // A message may have waited for its room for the other half.
            patience: options.timeout / 2,
            status: connection.status().clone(),
            ended,
        })
    }

    /// Publishes in order; one answer each, until `until`. What is behind a message that
    /// could not be sent is not sent either.
    pub(crate) async fn publish(&self, messages: Vec<Message>, until: Instant) -> Vec<Result<(), Error>> {
        let mut waiting = Vec::with_capacity(messages.len());
        let mut stuck: Option<Error> = None;
        for message in messages {
            let id = message.id.clone();
            let handed_over = match &stuck {
                Some(error) => Err(error.clone()),
                None => self.hand_over(message, until).await,
            };
            if let Err(error) = &handed_over
                && error.is_retryable()
            {
                stuck.get_or_insert_with(|| error.clone());
            }
            waiting.push((id, handed_over.map(|told| (Instant::now(), told))));
        }
        let mut answers = Vec::with_capacity(waiting.len());
        for (id, handed_over) in waiting {
            answers.push(match handed_over {
                Ok((since, told)) => {
                    let told = timeout_at(until, told).await;
                    if told.is_err() && since.elapsed() >= self.patience && !self.status.blocked() {
                        // A channel that confirms nothing any more, or too late, would
                        // hold its messages for good: the connection is made anew. One that
                        // confirms what was before, and so made room late, is well; and so is
                        // one of a server without memory, which confirms when it has some.
                        self.ended.cancel();
                    }
                    confirmed(&id, told)
                }
                Err(error) => Err(error),
            });
        }
        answers
    }

    /// Gives a message to the task that publishes, as soon as there is room for it.
    async fn hand_over(
        &self,
        message: Message,
        until: Instant,
    ) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let id = &message.id;
        self.largest.fits(id, message.body.len())?;
        if message.header_bytes() > HEADER_BYTES_MAX {
            let size = message.header_bytes();
            let why = format!(
                "publish message {id}: its headers have {size} bytes, {HEADER_BYTES_MAX} are the most"
            );
            return Err(Error::new(ErrorKind::TooLarge, why));
        }
        let (route, properties) = self.address(&message)?;
        let cost = message.body.len().max(COST_MIN).min(self.unconfirmed_bytes_max);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(cost);
        let Ok(share) = timeout_at(until, room).await else {
            let why = format!("publish message {id}: too much is published and not confirmed yet");
            return Err(Error::new(ErrorKind::Unavailable, why));
        };
        let gone =
            || Error::new(ErrorKind::Unavailable, format!("publish message {id}: the connection ended"));
        let share = share.map_err(|_| gone())?;
        let (tell, told) = oneshot::channel();
        let answer = Answer { tell, _share: share };
        let body = message.body.clone();
        self.jobs.send(Job { route, properties, body, answer }).map_err(|_| gone())?;
        Ok(told)
    }

    fn address(&self, message: &Message) -> Result<(Route, BasicProperties), Error> {
        let short = |what: &str, text: &str| {
            ShortString::try_new(text).map_err(|_| {
                let why = format!("publish message {}: its {what} has more than 255 bytes", message.id);
                Error::new(ErrorKind::TooLarge, why)
            })
        };
        let (exchange, key, event_type) = match &message.to {
            To::Type(event_type) => (self.exchange.clone(), event_type.as_str(), Some(event_type.as_str())),
            To::Queue(queue) => (ShortString::default(), queue.as_str(), None),
        };
        let id = short("id", &message.id)?;
        let mut headers = FieldTable::default();
        for (name, value) in &message.headers {
            headers.insert(short("header name", name)?, AMQPValue::LongString(value.as_str().into()));
        }
        let mut properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_message_id(id.clone())
            .with_content_type(short("media type", message.content_type)?)
            .with_timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
            .with_headers(headers);
        if let Some(event_type) = event_type {
            properties = properties.with_type(short("type", event_type)?);
        }
        Ok((Route { exchange, key: short("type", key)?, id }, properties))
    }
}

/// What came of a message, or did not come in time.
fn confirmed(
    id: &str,
    told: Result<Result<Result<(), Error>, oneshot::error::RecvError>, tokio::time::error::Elapsed>,
) -> Result<(), Error> {
    let unknown = |why: &str| Error::new(ErrorKind::Unconfirmed, format!("publish message {id}: {why}"));
    match told {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(unknown("the connection ended before it was confirmed")),
        Err(_) => Err(unknown("it was not confirmed in time")),
    }
}

/// The task that owns the channel.
struct Courier {
    status: lapin::ConnectionStatus,
    channel: Channel,
    largest: Arc<Largest>,
    /// Cancelled by us when the channel has ended.
    ended: CancellationToken,
    jobs: mpsc::UnboundedReceiver<Job>,
    sent: FuturesUnordered<BoxFuture<'static, Sent>>,
    /// Messages that came back and whose confirm was not looked at yet.
    returned: HashMap<Route, usize>,
    /// Confirms that are ready since the last look.
    fresh: Vec<Confirmed>,
    /// Confirms that were ready before it.
    seen: Vec<Confirmed>,
}

/// A message that was sent, and what came of it.
struct Sent {
    route: Route,
    /// Of its body.
    bytes: usize,
    answer: Answer,
    outcome: Outcome,
}

enum Outcome {
    Confirmed {
        is_ack: bool,
        /// A message that came back, this one or another.
        returned: Option<Route>,
    },
    /// Nothing left us.
    NotSent(lapin::Error),
    /// It left us, or some of it did.
    Lost(lapin::Error),
}

struct Confirmed {
    route: Route,
    answer: Answer,
    is_ack: bool,
}

impl Courier {
    /// Until nobody publishes any more, or the connection is of no use: what is not confirmed
    /// then never will be, and whoever waits for it is told so by the end of its answer.
    async fn run(mut self) {
        let ended = self.ended.clone();
        let all = ended.run_until_cancelled(poll_fn(|context| self.poll(context))).await;
        if all.is_none() {
            // What the server said to each message comes out one by one, with its reasons.
            self.jobs.close();
            timeout(LAST_WORDS, poll_fn(|context| self.poll(context))).await.ok();
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let is_over = loop {
            match self.jobs.poll_recv(context) {
                Poll::Ready(Some(job)) => self.send(job),
                Poll::Ready(None) => break true,
                Poll::Pending => break false,
            }
        };
        while let Poll::Ready(Some(sent)) = self.sent.poll_next_unpin(context) {
            self.sort(sent);
        }
        for confirmed in std::mem::take(&mut self.seen) {
            self.decide(confirmed);
        }
        self.seen = std::mem::take(&mut self.fresh);
        if !self.seen.is_empty() {
            context.waker().wake_by_ref();
        } else if is_over && self.sent.is_empty() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn send(&mut self, job: Job) {
        let Job { route, properties, body, answer } = job;
        if self.status.blocked() {
            let why = format!(
                "publish message {}: the broker runs out of memory or disk, and takes none",
                route.id
            );
            answer.give(Err(Error::new(ErrorKind::Unavailable, why)));
            return;
        }
        let channel = self.channel.clone();
        let sending = async move {
            let outcome = publish(&channel, &route, properties, &body).await;
            Sent { route, bytes: body.len(), answer, outcome }
        };
        self.sent.push(sending.boxed());
    }

    fn sort(&mut self, sent: Sent) {
        let Sent { route, bytes, answer, outcome } = sent;
        match outcome {
            Outcome::Confirmed { is_ack, returned } => {
                if let Some(returned) = returned {
                    *self.returned.entry(returned).or_default() += 1;
                }
                self.fresh.push(Confirmed { route, answer, is_ack });
            }
            Outcome::NotSent(error) => {
                self.ended.cancel();
                answer.give(Err(error::of_call(&format!("publish message {}", route.id), &error)));
            }
            Outcome::Lost(error) => {
                self.ended.cancel();
                self.largest.hear(&error);
                let fits = self.largest.fits(route.id.as_str(), bytes);
                answer.give(fits.and(Err(error::of_unconfirmed(route.id.as_str(), &error))));
            }
        }
    }

    fn decide(&mut self, confirmed: Confirmed) {
        let Confirmed { route, answer, is_ack } = confirmed;
        let id = &route.id;
        if let Some(count) = self.returned.get_mut(&route) {
            *count -= 1;
            if *count == 0 {
                self.returned.remove(&route);
            }
            let why = format!("publish message {id} to {}: no queue takes it", route.key);
            answer.give(Err(Error::new(ErrorKind::Unroutable, why)));
        } else if is_ack {
            answer.give(Ok(()));
        } else {
            let why = format!("publish message {id} to {}: a queue is full, or has failed", route.key);
            answer.give(Err(Error::new(ErrorKind::Unavailable, why)));
        }
    }
}

/// Sends a message, and waits for its confirm.
async fn publish(channel: &Channel, route: &Route, properties: BasicProperties, body: &[u8]) -> Outcome {
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let (exchange, key) = (route.exchange.clone(), route.key.clone());
    let mut sending = pin!(channel.basic_publish(exchange, key, mandatory, body, properties));
    // Only what fails at once has not begun to leave us.
    let sent = match futures::poll!(&mut sending) {
        Poll::Ready(Err(error)) => return Outcome::NotSent(error),
        Poll::Ready(sent) => sent,
        Poll::Pending => sending.await,
    };
    let confirm = match sent {
        Ok(confirm) => confirm,
        Err(error) => return Outcome::Lost(error),
    };
    match confirm.await {
        Ok(confirmation) => {
            let is_ack = confirmation.is_ack();
            let returned = confirmation.take_message().map(|message| Route {
                exchange: message.exchange.clone(),
                key: message.routing_key.clone(),
                id: message.properties.message_id().clone().unwrap_or_default(),
            });
            Outcome::Confirmed { is_ack, returned }
        }
        Err(error) => Outcome::Lost(error),
    }
}
