//! Publishing: in order, confirmed by the stream, so many unconfirmed at once.

use std::collections::VecDeque;
use std::error::Error as _;
use std::sync::Arc;

use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::{self, Context, ErrorCode};
use orderwire_broker::{Error, ErrorKind, Message};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::link::Link;
use crate::subject::Names;
use crate::wire;

/// What a message counts at least, so that small ones are bounded in number as well.
const COST_MIN: usize = 4 << 10;

/// Publishes the messages of a broker.
#[derive(Debug)]
pub(crate) struct Publisher {
    context: Context,
    /// A share for each byte that may be unconfirmed.
    room: Arc<Semaphore>,
    unconfirmed_bytes_max: usize,
}

/// A message that is on its way.
struct Sent {
    index: usize,
    subject: String,
    confirm: PublishAckFuture,
    _share: OwnedSemaphorePermit,
}

/// One call.
struct Call<'a> {
    link: &'a Link,
    /// The number of the connection that it uses.
    connection: u64,
    began: Instant,
    until: Instant,
    /// In order of sending.
    sent: VecDeque<Sent>,
    answers: Vec<Result<(), Error>>,
}

impl Publisher {
    pub(crate) fn new(link: &Link, unconfirmed_bytes_max: usize) -> Self {
        let context = ContextBuilder::new()
            // Bounded here, where more wait instead of failing.
            .max_ack_inflight((unconfirmed_bytes_max / COST_MIN).saturating_add(1).saturating_mul(2))
            .timeout(link.timeout())
            .ack_timeout(link.timeout())
            .build(link.client().clone());
        Self { context, room: Arc::new(Semaphore::new(unconfirmed_bytes_max)), unconfirmed_bytes_max }
    }

    /// Publishes over this connection. An answer for each, in order.
    pub(crate) async fn publish(
        &self,
        link: &Link,
        names: &Names,
        connection: u64,
        messages: Vec<Message>,
    ) -> Vec<Result<(), Error>> {
        let began = Instant::now();
        let unanswered = || Err(unavailable("publish: not sent in time"));
        let mut call = Call {
            link,
            connection,
            began,
            until: began + link.timeout(),
            sent: VecDeque::new(),
            answers: messages.iter().map(|_| unanswered()).collect(),
        };
        let max_payload = link.max_payload();
        for (index, message) in messages.into_iter().enumerate() {
            let headers = match wire::headers(&message, max_payload) {
                Ok(headers) => headers,
                Err(error) => {
                    call.answers[index] = Err(error);
                    continue;
                }
            };
            let Some(share) = self.share(&mut call, message.body.len() + message.header_bytes()).await else {
                break;
            };
            if !link.holds(connection) {
                call.answers[index] = Err(unavailable("publish: the connection ended"));
                break;
            }
            let subject = names.subject(&message.to);
            let sending = self.context.publish_with_headers(subject.clone(), headers, message.body);
            match timeout_at(call.until, sending).await {
                Ok(Ok(confirm)) => call.sent.push_back(Sent { index, subject, confirm, _share: share }),
                // It may be on its way all the same.
                Ok(Err(error)) => call.answers[index] = Err(unconfirmed(&error.to_string())),
                Err(_) => {
                    call.answers[index] = Err(unconfirmed("it was not sent in time"));
                    break;
                }
            }
        }
        while call.settle_oldest().await {}
        call.answers
    }

    /// A share of the room for so many more unconfirmed bytes. None when there was none in
    /// time.
    async fn share(&self, call: &mut Call<'_>, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let cost = bytes.max(COST_MIN).min(self.unconfirmed_bytes_max);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        loop {
            if let Ok(share) = self.room.clone().try_acquire_many_owned(cost) {
                return Some(share);
            }
            // Our own first: nobody else confirms them.
            if !call.settle_oldest().await {
                return timeout_at(call.until, self.room.clone().acquire_many_owned(cost)).await.ok()?.ok();
            }
        }
    }
}

impl Call<'_> {
    /// Waits for the confirm of the message that was sent first. `false`: there is none.
    async fn settle_oldest(&mut self) -> bool {
        let Some(Sent { index, subject, confirm, _share }) = self.sent.pop_front() else { return false };
        let confirmed = tokio::select! {
            biased;
            confirmed = timeout_at(self.until, confirm.into_future()) => Some(confirmed),
            () = self.link.lost(self.connection) => None,
        };
        self.answers[index] = match confirmed {
            Some(Ok(Ok(_))) => Ok(()),
            Some(Ok(Err(error))) => Err(meaning(&error)),
            Some(Err(_)) => Err(unconfirmed("no confirm in time")),
            None => Err(unconfirmed("the connection ended")),
        };
        let is_unconfirmed =
            self.answers[index].as_ref().is_err_and(|error| error.kind() == ErrorKind::Unconfirmed);
        // The server tells of a right that is missing on the side, and answers nothing.
        if is_unconfirmed && let Some(forbidden) = self.link.forbidden(self.began, &subject) {
            self.answers[index] = Err(forbidden);
        }
        true
    }
}

/// Whether an error tells that the stream is not there.
pub(crate) fn tells_of_no_stream(answers: &[Result<(), Error>]) -> bool {
    answers.iter().any(|answer| answer.as_ref().is_err_and(|error| error.to_string() == NO_STREAM))
}

const NO_STREAM: &str = "publish: no stream takes the message, or JetStream is not ready";

fn meaning(error: &PublishError) -> Error {
    match error.kind() {
        PublishErrorKind::StreamNotFound => unavailable(NO_STREAM),
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => unconfirmed(&error.to_string()),
        _ => {
            let fault = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
            match fault {
                Some(fault) if fault.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM => {
                    Error::new(ErrorKind::TooLarge, format!("publish: {fault}"))
                }
                // The stream said no, full for one.
                Some(fault) => unavailable(&format!("publish: {fault}")),
                None => unconfirmed(&error.to_string()),
            }
        }
    }
}

fn unavailable(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, what)
}

fn unconfirmed(why: &str) -> Error {
    Error::new(ErrorKind::Unconfirmed, format!("publish: {why}"))
}
