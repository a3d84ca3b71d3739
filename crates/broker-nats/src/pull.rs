//! The task that pulls for a consumer.
//!
//! It asks for no more than the consumer may have, because what a server sent it gives to
//! nobody else; and when it ends, it gives back whatever arrived. The library's own
//! streams of messages do neither: they ask ahead of what is acked, and what is in them
//! when they are dropped waits for its time to run out.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, StatusCode, Subject, Subscriber};
use futures::StreamExt;
use orderwire_broker::{Error, ErrorKind, QueueBinding, Received, Tag};
use orderwire_types::QueueName;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::ack::{Word, say, say_and_wait};
use crate::api;
use crate::consumer::{Arrived, Shared};
use crate::link::Link;
use crate::subject::id_of;
use crate::topology::{Place, Topology};
use crate::wire;

/// The most messages that are asked for at once, and that wait for the consumer to take
/// them before more are asked for: bounds what is in memory whatever the prefetch.
const BATCH_MAX: usize = 500;

/// A request for messages ends after so many heartbeats, and another follows.
const HEARTBEATS: u32 = 6;

/// A server that was silent for so many heartbeats is gone.
const SILENT: u32 = 3;

/// The shortest time between two words about what is held.
const HELD_MIN: Duration = Duration::from_millis(100);

/// How often the server hears of what is held, within the time after which it comes again.
const TOLD: u32 = 3;

/// One consumer of the server, of the one or two that are a queue.
#[derive(Debug)]
struct Source {
    place: Place,
    request: Option<Request>,
    /// Whether the last request was filled, so that more may be there.
    is_busy: bool,
    /// Whether it ever answered.
    answered: bool,
    heard: Instant,
}

#[derive(Debug)]
struct Request {
    number: u64,
    /// How many messages are still to come.
    rest: usize,
    began: Instant,
    /// Whether it waits for messages. Otherwise it is answered at once.
    waits: bool,
}

/// The task.
pub(crate) struct Pull {
    link: Arc<Link>,
    topology: Arc<Topology>,
    queue: QueueBinding,
    connection: u64,
    heartbeat: Duration,
    shared: Arc<Shared>,
    sources: Vec<Source>,
    inbox: String,
    messages: Subscriber,
    requests: u64,
    is_open: bool,
}

/// What a message means for the task.
enum Taken {
    Nothing,
    /// The queue does not take it; it is done.
    PassOver(Subject),
}

impl Pull {
    /// A task for what is at these places.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) async fn new(
        topology: &Arc<Topology>,
        queue: &QueueBinding,
        places: Vec<Place>,
        connection: u64,
        prefetch: u16,
    ) -> Result<Self, Error> {
        let link = topology.link.clone();
        let inbox = link.client().new_inbox();
        let unavailable =
            |what| Error::new(ErrorKind::Unavailable, format!("consume queue {}: {what}", queue.name));
        let subscribed = timeout(link.timeout(), link.client().subscribe(format!("{inbox}.*"))).await;
        let messages = subscribed
            .map_err(|_| unavailable("no answer in time"))?
            .map_err(|_| unavailable("the connection takes no subscription"))?;
        // What waits at one place only is in order.
        let is_open = places.len() == 1;
        let source =
            |place| Source { place, request: None, is_busy: false, answered: is_open, heard: Instant::now() };
        Ok(Self {
            shared: Arc::new(Shared::new(prefetch, is_open)),
            sources: places.into_iter().map(source).collect(),
            requests: 0,
            link,
            topology: topology.clone(),
            queue: queue.clone(),
            connection,
            heartbeat: topology.options.heartbeat,
            inbox,
            messages,
            is_open,
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Pulls until the consumer is dropped, the broker is closed, or something fails.
    pub(crate) async fn run(mut self, dropped: CancellationToken) {
        let why = match self.pull(&dropped).await {
            Ok(()) => self.error("the consumer was closed"),
            Err(why) => {
                // A server that goes down may still take what it does not do any more.
                self.topology.memory.interrupted(&self.queue.name);
                why
            }
        };
        self.give_back(why).await;
    }

    async fn pull(&mut self, dropped: &CancellationToken) -> Result<(), Error> {
        let (link, shared) = (self.link.clone(), self.shared.clone());
        let lost = link.lost(self.connection);
        tokio::pin!(lost);
        let ack_wait = self.sources.iter().map(|source| source.place.ack_wait).min().unwrap_or_default();
        // Never without a pause, whatever others made.
        let mut held = interval((ack_wait / TOLD).max(HELD_MIN));
        held.set_missed_tick_behavior(MissedTickBehavior::Delay);
        held.reset();
        loop {
            self.ask().await?;
            let silent = self.silent_at();
            tokio::select! {
                biased;
                () = dropped.cancelled() => return Ok(()),
                () = &mut lost => {
                    let closed = link.closed().is_cancelled();
                    return Err(self.error(if closed { "the broker is closed" } else { "the connection ended" }));
                }
                // Who holds a message may wait for long, for room in the queue here.
                _ = held.tick() => say(link.client(), Word::Held, shared.unacked(), link.timeout()).await?,
                message = self.messages.next() => {
                    let Some(message) = message else { return Err(self.error("the connection ended")) };
                    if let Taken::PassOver(reply) = self.take(message)? {
                        say(link.client(), Word::Ack, [reply], link.timeout()).await?;
                    }
                }
                () = shared.freed.notified() => {}
                () = sleep_until(silent) => return Err(self.error("the server is silent")),
            }
        }
    }

    /// Asks for as much as the consumer may have.
    async fn ask(&mut self) -> Result<(), Error> {
        let (waiting, room) = self.shared.room();
        if room == 0 || waiting >= BATCH_MAX {
            return Ok(());
        }
        let asked: usize =
            self.sources.iter().filter_map(|source| source.request.as_ref()).map(|r| r.rest).sum();
        let mut room = room.saturating_sub(asked);
        let share = room / self.sources.len();
        for index in 0..self.sources.len() {
            let source = &self.sources[index];
            if source.request.is_some() {
                continue;
            }
            let batch = match (source.answered, source.is_busy || self.sources.len() == 1) {
                (false, _) => share,
                (true, true) => room,
                // Where little comes one is enough to begin with, and leaves room for others.
                (true, false) => 1,
            };
            // Every place is asked, also when that may bring one more than there is room
            // for. It waits here then.
            let batch = batch.clamp(1, BATCH_MAX);
            room = room.saturating_sub(batch);
            self.send(index, batch).await?;
        }
        Ok(())
    }

    async fn send(&mut self, index: usize, batch: usize) -> Result<(), Error> {
        self.requests += 1;
        let number = self.requests;
        let source = &mut self.sources[index];
        let waits = source.answered;
        let request = if waits {
            let (expires, heartbeat) = (self.heartbeat * HEARTBEATS, self.heartbeat);
            json!({ "batch": batch, "expires": nanos(expires), "idle_heartbeat": nanos(heartbeat) })
        } else {
            json!({ "batch": batch, "no_wait": true })
        };
        let subject = api::next_subject(&source.place.stream, &source.place.consumer);
        let reply = format!("{}.{number}", self.inbox);
        let now = Instant::now();
        source.request = Some(Request { number, rest: batch, began: now, waits });
        source.heard = now;
        let client = self.link.client();
        let sending = client.publish_with_reply(subject, reply, request.to_string().into());
        match timeout(self.link.timeout(), sending).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(self.error("the connection takes no request")),
        }
    }

    fn take(&mut self, message: Message) -> Result<Taken, Error> {
        if let Some(status) = message.status {
            self.hear(status, &message)?;
            return Ok(Taken::Nothing);
        }
        let Some(reply) = message.reply.clone() else { return Ok(Taken::Nothing) };
        let Some(origin) = Origin::of(&reply) else { return Ok(Taken::Nothing) };
        let Some(source) = self.sources.iter_mut().find(|source| origin.is_from(&source.place)) else {
            return Ok(Taken::Nothing);
        };
        source.heard = Instant::now();
        source.answered = true;
        if let Some(request) = &mut source.request {
            request.rest = request.rest.saturating_sub(1);
            // One that does not wait is over when nothing more is there.
            if request.rest == 0 || (!request.waits && origin.pending == 0) {
                source.is_busy = request.rest == 0;
                source.request = None;
            }
        }
        let (queue, place) = (&self.queue, origin.place);
        let is_taken = self.topology.names.is_for(&queue.name, &message.subject, |event_type| match &source
            .place
            .bindings
        {
            Some(bindings) => bindings.take(event_type, place),
            None => queue.types.iter().any(|pattern| pattern.matches(event_type)),
        });
        let taken = if is_taken {
            let is_again = origin.delivered > 1 || place <= source.place.handed_out;
            let received = self.received(message, is_again);
            self.shared.put(Arrived { place, reply, received });
            Taken::Nothing
        } else {
            Taken::PassOver(reply)
        };
        self.open_if_answered();
        Ok(taken)
    }

    fn received(&self, message: Message, is_again: bool) -> Received {
        let said = wire::said(message.headers.as_ref());
        Received {
            tag: Tag(0),
            id: said.id.map(|id| id_of(&self.queue.name, &id).to_owned()),
            event_type: self.topology.names.event_type(&message.subject).map(str::to_owned),
            content_type: said.content_type,
            headers: said.others,
            body: message.payload,
            redelivered: is_again,
        }
    }

    /// A word of the server about a request.
    fn hear(&mut self, status: StatusCode, message: &Message) -> Result<(), Error> {
        let number = message.subject.rsplit_once('.').and_then(|(_, number)| number.parse::<u64>().ok());
        let of_this = |source: &&mut Source| source.request.as_ref().map(|request| request.number) == number;
        // A late word about a request that is over.
        let Some(source) = self.sources.iter_mut().find(of_this) else { return Ok(()) };
        let Some(request) = &source.request else { return Ok(()) };
        source.heard = Instant::now();
        match status.as_u16() {
            100 => return Ok(()),
            // Nothing is there, or nothing came.
            404 | 408 if !request.waits || request.began.elapsed() >= self.heartbeat => {}
            // A server that ends a request at once would be asked again at once, without end.
            _ => {
                let why = message.description.as_deref().unwrap_or("no reason");
                let what = format!("the server ended a request: {} {why}", status.as_u16());
                return Err(self.error(&what));
            }
        }
        source.request = None;
        source.is_busy = false;
        source.answered = true;
        self.open_if_answered();
        Ok(())
    }

    fn open_if_answered(&mut self) {
        if !self.is_open && self.sources.iter().all(|source| source.answered && source.is_settled()) {
            self.is_open = true;
            self.shared.open();
        }
    }

    /// When the server counts as gone if it says nothing.
    fn silent_at(&self) -> Instant {
        let asked = self.sources.iter().filter(|source| source.request.is_some());
        let heard = asked.map(|source| source.heard).min();
        heard.unwrap_or_else(Instant::now) + self.heartbeat * SILENT
    }

    /// Ends the consumer, and has the server give all that is not acked to others.
    async fn give_back(mut self, why: Error) {
        tracing::debug!(queue.name = %self.queue.name, %why, "a consumer ends");
        let mut unacked = self.shared.fail(why);
        let (memory, queue) = (&self.topology.memory, &self.queue.name);
        if !self.link.is_up(self.connection) {
            memory.interrupted(queue);
            return memory.leave(queue, Word::GiveBack, unacked);
        }
        let client = self.link.client().clone();
        let until = Instant::now() + self.link.timeout();
        // The server sends no more from here on. What is on its way is still taken.
        if timeout_at(until, self.messages.drain()).await.is_ok() {
            while let Ok(Some(message)) = timeout_at(until, self.messages.next()).await {
                unacked.extend(message.reply.filter(|_| message.status.is_none()));
            }
        }
        // A server before 2.10 that finds only a request that nobody listens to any more for
        // what is given back forgets that, and delivers another message twice. To tell of a
        // consumer it looks which requests are still listened to.
        for Source { place, .. } in &self.sources {
            let told = timeout_at(until, api::consumer(&self.link, &place.stream, &place.consumer)).await;
            if !matches!(told, Ok(Ok(_))) {
                tracing::debug!(queue.name = %queue, "a consumer does not tell of itself");
            }
        }
        let count = unacked.len();
        let given_back = say(&client, Word::GiveBack, unacked, self.link.timeout()).await;
        let flushed = timeout_at(until, client.flush()).await;
        if given_back.is_err() || !matches!(flushed, Ok(Ok(()))) {
            tracing::debug!(queue.name = %queue, count, "messages come again after their time only");
        }
    }

    fn error(&self, what: &str) -> Error {
        Error::new(ErrorKind::Unavailable, format!("consume queue {}: {what}", self.queue.name))
    }
}

/// Says what could not be said over the connection that it belonged to, so that it comes
/// again before what is new, and not only after its time.
pub(crate) async fn say_unsaid(topology: &Topology, queue: &QueueName) -> Result<(), Error> {
    let (link, memory) = (&topology.link, &topology.memory);
    let mut unsaid = memory.unsaid(queue);
    // It comes again in the order in which it is given back.
    unsaid.sort_by_key(|(reply, _)| Origin::of(reply).map(|origin| origin.place));
    let mut left = unsaid.into_iter().peekable();
    while let Some((reply, word)) = left.next() {
        let said = match left.peek() {
            Some(_) => say(link.client(), word, [reply.clone()], link.timeout()).await,
            None => tokio::select! {
                said = say_and_wait(link.client(), word, reply.clone()) => said,
                () = link.gone(link.number()) => {
                    Err(Error::new(ErrorKind::Unavailable, "ack: the connection ended"))
                }
            },
        };
        if let Err(why) = said {
            memory.leave(queue, word, vec![reply]);
            left.for_each(|(reply, word)| memory.leave(queue, word, vec![reply]));
            return Err(why);
        }
    }
    Ok(())
}

impl Source {
    /// Whether all that waited when it was opened is here.
    fn is_settled(&self) -> bool {
        self.request.as_ref().is_none_or(|request| request.waits)
    }
}

/// Where a message comes from, as the subject says that its ack goes to.
#[derive(Debug, PartialEq, Eq)]
struct Origin<'a> {
    stream: &'a str,
    consumer: &'a str,
    /// How often it was delivered, this time included.
    delivered: u64,
    /// Its place in the stream.
    place: u64,
    /// How many more wait for the consumer.
    pending: u64,
}

impl<'a> Origin<'a> {
    fn of(reply: &'a str) -> Option<Self> {
        let words: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        // Newer servers say a domain and an account first, and may say more at the end.
        let words = if words.len() == 7 { &words[..] } else { words.get(2..9)? };
        let number = |index: usize| words[index].parse().ok();
        Some(Self {
            stream: words[0],
            consumer: words[1],
            delivered: number(2)?,
            place: number(3)?,
            pending: number(6)?,
        })
    }

    fn is_from(&self, place: &Place) -> bool {
        self.stream == place.stream && self.consumer == place.consumer
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_read_in_both_forms() {
        let origin = Origin { stream: "S", consumer: "q", delivered: 2, place: 7, pending: 3 };
        assert_eq!(Origin::of("$JS.ACK.S.q.2.7.5.1700000000.3"), Some(origin));
        let newer = Origin::of("$JS.ACK._.hash.S.q.1.9.4.1700000000.0.token").unwrap();
        assert_eq!((newer.stream, newer.consumer, newer.place, newer.pending), ("S", "q", 9, 0));
        for bad in ["", "reply", "$JS.ACK.S.q", "$JS.ACK.S.q.x.7.5.1.3", "$JS.ACK.a.b.S.q.1.2"] {
            assert_eq!(Origin::of(bad), None, "{bad}");
        }
    }
}
