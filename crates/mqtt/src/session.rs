//! One connection, from CONNECT to its end.

use std::future::pending;
use std::pin::Pin;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use uuid::Uuid;

use crate::error::{Error, ErrorKind};
use crate::frames::{Frame, Frames};
use crate::message::{Message, Outcome};
use crate::options::Version;
use crate::packets::{Protocol, Publish, Received};
use crate::service::Shared;
use crate::shelf::{Ack, Batch, Shelf};
use crate::socket::Socket;

/// A batch that the port has in hand.
type Hand<'s> = Pin<Box<dyn Future<Output = Settled> + Send + 's>>;

/// A batch with what became of it; none: nothing, for we have to stop.
struct Settled {
    batch: Batch,
    outcomes: Option<Vec<Outcome>>,
}

/// A connection that works.
pub(crate) struct Session<'s> {
    shared: &'s Shared<'s>,
    shelf: &'s mut Shelf,
    socket: Box<dyn Socket>,
    protocol: Protocol,
    frames: Frames,
    /// What acknowledgements are to be written.
    untold: Vec<Ack>,
    /// Until when the broker has to say anything at all, if it was asked.
    heard_by: Option<Instant>,
    /// Until when it has to answer the subscription, if that is under way.
    subscribed_by: Option<Instant>,
    /// Whether the socket was not read because too much is held: then the broker's answers
    /// wait behind its messages, and it cannot be blamed for them.
    was_closed: bool,
}

impl<'s> Session<'s> {
    /// Connects, and subscribes unless the broker knows our subscriptions.
    ///
    /// # Errors
    /// `Unavailable`, `Refused`, `Broken`, `Invalid`.
    pub(crate) async fn open(
        shared: &'s Shared<'s>,
        shelf: &'s mut Shelf,
        is_subscribed: bool,
    ) -> Result<Self, Error> {
        let options = shared.options;
        let until = Instant::now() + options.timeout;
        let late =
            |_| Error::unavailable(format!("{}:{} does not answer in time", options.host, options.port));
        let socket = timeout_at(until, shared.opener.open(options)).await.map_err(late)??;
        let has_properties = options.version == Version::V5;
        let mut session = Self {
            shared,
            shelf,
            socket,
            protocol: Protocol::new(options),
            frames: Frames::new(has_properties, options.body_bytes_max, options.kept_of_too_large),
            untold: Vec::new(),
            heard_by: None,
            subscribed_by: None,
            was_closed: false,
        };
        session.protocol.connect(options)?;
        session.flush().await?;
        let session_present = timeout_at(until, session.connected()).await.map_err(late)??;
        if !session_present {
            session.shelf.forget();
        }
        if session_present && is_subscribed {
            shared.say(Ok(()));
        } else {
            session.protocol.subscribe(&options.filters)?;
            session.subscribed_by = Some(Instant::now() + options.timeout);
            session.flush().await?;
        }
        Ok(session)
    }

    /// Waits for the answer to CONNECT: whether the broker kept our session.
    async fn connected(&mut self) -> Result<bool, Error> {
        loop {
            while let Some(frame) = self.frames.next()? {
                match self.protocol.receive(&frame.bytes)?.pop() {
                    Some(Received::Connected { session_present }) => return Ok(session_present),
                    Some(_) => {
                        return Err(Error::broken("the broker's first packet is no answer to CONNECT"));
                    }
                    None => {}
                }
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), Error> {
        heard(self.socket.read_buf(self.frames.room()).await)
    }

    /// Works until the connection ends, or we have to stop (`Ok`). What was read is durable
    /// then, unless we have to stop; acknowledged is what the broker could be told of.
    ///
    /// # Errors
    /// Why the connection ended.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let shared = self.shared;
        let mut hand: Option<Hand<'s>> = None;
        let mut end = self.work(&mut hand).await;
        if let Err(error) = &end {
            // Now, because what is in hand may take its time.
            shared.say(Err(error.to_string()));
        }
        // Whatever is in hand is finished: it would only come again.
        loop {
            let next = hand.take().or_else(|| self.next_hand());
            let Some(next) = next else { break };
            let settled = next.await;
            if settled.outcomes.is_none() {
                break;
            }
            let told = self.settled(settled);
            if end.is_ok() {
                end = match told {
                    Ok(()) => self.flush().await,
                    Err(error) => Err(error),
                };
            }
        }
        if end.is_ok() {
            self.protocol.disconnect()?;
            self.flush().await?;
            let closing = timeout(shared.options.timeout, self.leave()).await;
            if let Ok(Err(error)) = closing {
                // The broker may be faster; it was told all.
                tracing::debug!(mqtt.connection = %shared.options.name, %error, "the connection is closed already");
            }
        }
        end
    }

    /// Closes our half, and reads until the broker has closed its own: a socket that is closed
    /// with bytes that nobody read is reset, and with it what the broker has not read yet,
    /// acknowledgements among it.
    async fn leave(&mut self) -> std::io::Result<()> {
        self.socket.shutdown().await?;
        let mut rest = [0; 1024];
        while self.socket.read(&mut rest).await? > 0 {}
        Ok(())
    }

    async fn work(&mut self, hand: &mut Option<Hand<'s>>) -> Result<(), Error> {
        loop {
            while self.has_room()
                && let Some(frame) = self.frames.next()?
            {
                self.take_in(frame)?;
            }
            if hand.is_none() {
                *hand = self.next_hand();
            }
            let has_room = self.has_room();
            self.note_room(has_room);
            // Here, because a broker that never pauses would keep the clock from its turn below.
            self.wake()?;
            self.flush().await?;
            let wake_at = self.wake_at();
            tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => return Ok(()),
                settled = in_hand(hand) => {
                    *hand = None;
                    if settled.outcomes.is_none() {
                        return Ok(());
                    }
                    self.settled(settled)?;
                }
                read = self.socket.read_buf(self.frames.room()), if has_room => {
                    heard(read)?;
                    self.heard_by = None;
                }
                () = at(wake_at) => {}
            }
        }
    }

    fn has_room(&self) -> bool {
        let options = self.shared.options;
        self.shelf.has_room(usize::from(options.window), options.window_bytes)
    }

    /// Waits of the broker begin anew once the socket is read again.
    fn note_room(&mut self, has_room: bool) {
        if has_room && self.was_closed {
            let until = Instant::now() + self.shared.options.timeout;
            for by in [&mut self.heard_by, &mut self.subscribed_by] {
                *by = by.map(|_| until);
            }
        }
        self.was_closed = !has_room;
    }

    fn wake_at(&self) -> Option<Instant> {
        let answers = [self.heard_by, self.subscribed_by];
        let answers = answers.into_iter().flatten().filter(|_| !self.was_closed);
        answers.chain(self.protocol.ping_at()).min()
    }

    /// Does what it is time for, if it is.
    fn wake(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if !self.was_closed {
            for by in [self.heard_by, self.subscribed_by] {
                if by.is_some_and(|by| by <= now) {
                    return Err(Error::unavailable("the broker is silent"));
                }
            }
        }
        if self.protocol.ping_at().is_some_and(|at| at <= now) {
            self.protocol.ping()?;
            self.heard_by.get_or_insert(now + self.shared.options.timeout);
        }
        Ok(())
    }

    fn take_in(&mut self, mut frame: Frame) -> Result<(), Error> {
        for received in self.protocol.receive(&frame.bytes)? {
            match received {
                Received::Publish(publish) => {
                    let Publish { packet_id, dup, topic, content_type, properties, body } = publish;
                    let message = Message {
                        new_id: Uuid::now_v7(),
                        topic,
                        content_type,
                        properties,
                        body: Bytes::from(body),
                        cut: frame.cut.take(),
                    };
                    self.shelf.put(message, packet_id, dup);
                }
                Received::Subscribed(answers) => {
                    self.subscribed_by = None;
                    self.shared.subscribed(&answers)?;
                }
                Received::Ended(reason) => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!("the broker ended the connection: {reason}"),
                    ));
                }
                Received::Connected { .. } => return Err(Error::broken("the broker answered CONNECT twice")),
                Received::Other => {}
            }
        }
        Ok(())
    }

    /// Hands the next messages to the port.
    fn next_hand(&mut self) -> Option<Hand<'s>> {
        let batch = self.shelf.next_batch(self.shared.options.batch)?;
        Some(Box::pin(settle(self.shared, batch)))
    }

    /// A batch is durable: the broker may forget it.
    fn settled(&mut self, settled: Settled) -> Result<(), Error> {
        let Settled { batch, outcomes } = settled;
        self.shared.count(outcomes.as_deref().unwrap_or_default(), batch.repeated);
        self.shelf.settled(&batch);
        for ack in batch.acks {
            self.protocol.acknowledge(ack.packet_id)?;
            self.untold.push(ack);
        }
        Ok(())
    }

    /// Writes what has to be written.
    async fn flush(&mut self) -> Result<(), Error> {
        let out = self.protocol.take_out();
        if out.is_empty() {
            return Ok(());
        }
        let write = async {
            self.socket.write_all(&out).await?;
            self.socket.flush().await
        };
        match timeout(self.shared.options.timeout, write).await {
            Ok(Ok(())) => {
                self.shelf.acknowledged(&std::mem::take(&mut self.untold));
                Ok(())
            }
            Ok(Err(error)) => Err(Error::unavailable(format!("the connection was lost: {error}"))),
            Err(_) => Err(Error::unavailable("the broker does not take what we send")),
        }
    }
}

/// Has the port take a batch, for as long as that takes.
async fn settle(shared: &Shared<'_>, batch: Batch) -> Settled {
    let mut failures = 0;
    loop {
        let taken =
            if batch.messages.is_empty() { Ok(Vec::new()) } else { shared.port.take(&batch.messages).await };
        let error = match taken {
            Ok(outcomes) => return Settled { batch, outcomes: Some(outcomes) },
            Err(error) => error,
        };
        failures += 1;
        tracing::warn!(mqtt.connection = %shared.options.name, failures, error, "messages of MQTT wait to be durable");
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return Settled { batch, outcomes: None },
            () = tokio::time::sleep(shared.options.pause.after(failures)) => {}
        }
    }
}

async fn in_hand(hand: &mut Option<Hand<'_>>) -> Settled {
    match hand {
        Some(hand) => hand.await,
        None => pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

fn heard(read: std::io::Result<usize>) -> Result<(), Error> {
    match read {
        Ok(0) => Err(Error::unavailable("the broker closed the connection")),
        Ok(_) => Ok(()),
        Err(error) => Err(Error::unavailable(format!("the connection was lost: {error}"))),
    }
}
