//! What the cases work with: a broker, names of their own, and short ways to ask for
//! things.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orderwire_types::queue::Declare;
use orderwire_types::testkit::{Failed, Outcome, holds, same};
use orderwire_types::{EventType, QueueName};
use tokio::time::{Instant, timeout, timeout_at};

use super::Factory;
use super::tools::word;
use crate::contract::{Broker, Consumer, QueueBinding};
use crate::error::{Error, ErrorKind};
use crate::message::{Message, Received, Tag, To};

/// How long nothing has to come for a case to believe that nothing comes.
const QUIET: Duration = Duration::from_millis(300);

/// The largest batch that cases ask for.
pub(super) const MANY: usize = 100;

/// A broker under test.
pub(super) struct Bench {
    factory: Arc<dyn Factory>,
    broker: Option<Arc<dyn Broker>>,
    /// The name of the case on the server, and the first word of its types.
    word: String,
    serial: usize,
    declared: Vec<QueueName>,
}

impl Bench {
    pub(super) async fn open(factory: Arc<dyn Factory>) -> Outcome<Self> {
        let broker = Some(factory.open().await?);
        Ok(Self { factory, broker, word: word(), serial: 0, declared: Vec::new() })
    }

    /// Removes what the case left.
    pub(super) async fn end(self) -> Outcome {
        drop(self.broker);
        Ok(self.factory.remove(&self.declared).await?)
    }

    pub(super) fn broker(&self) -> &Arc<dyn Broker> {
        self.broker.as_ref().expect("opened")
    }

    /// Drops the broker as it is, and opens one anew.
    pub(super) async fn reopen(&mut self) -> Outcome {
        self.broker = None;
        self.broker = Some(self.factory.open().await?);
        Ok(())
    }

    /// A second broker beside the first.
    pub(super) async fn another(&self) -> Outcome<Arc<dyn Broker>> {
        Ok(self.factory.open().await?)
    }

    pub(super) fn patience(&self) -> Duration {
        self.factory.patience()
    }

    /// Makes a queue by other means, which none of ours asks for.
    pub(super) async fn occupy(&self, queue: &QueueBinding) -> Outcome<bool> {
        Ok(self.factory.occupy(&queue.name).await?)
    }

    /// A type of this case.
    pub(super) fn event_type(&self, rest: &str) -> EventType {
        format!("{}.{rest}", self.word).parse().expect("an event type")
    }

    /// A queue of a new name, not declared yet. Patterns are of this case, but for `#`,
    /// which is of all.
    pub(super) fn plan(&mut self, types: &[&str], declare: Declare) -> QueueBinding {
        let name = self.fresh();
        let name = format!("orderwire-test-{name}").parse().expect("a queue name");
        self.plan_named(name, types, declare)
    }

    /// The same with a name that is given, and new.
    pub(super) fn plan_named(&mut self, name: QueueName, types: &[&str], declare: Declare) -> QueueBinding {
        self.declared.push(name.clone());
        QueueBinding { name, types: types.iter().map(|text| self.pattern(text)).collect(), declare }
    }

    pub(super) fn pattern(&self, text: &str) -> orderwire_types::Pattern {
        let text = if text == "#" { text.to_owned() } else { format!("{}.{text}", self.word) };
        text.parse().expect("a pattern")
    }

    /// A declared queue of a new name.
    pub(super) async fn queue(&mut self, types: &[&str]) -> Outcome<QueueBinding> {
        let queue = self.plan(types, Declare::Quorum);
        self.declare(&queue).await?;
        Ok(queue)
    }

    pub(super) async fn declare(&self, queue: &QueueBinding) -> Outcome {
        self.try_declare(queue).await?.map_err(|error| says("declare", &error))
    }

    pub(super) async fn try_declare(&self, queue: &QueueBinding) -> Outcome<Result<(), Error>> {
        within(self.patience(), "declare", self.broker().declare(queue)).await
    }

    /// A name that nothing else has.
    pub(super) fn fresh(&mut self) -> String {
        self.serial += 1;
        format!("{}-{}", self.word, self.serial)
    }

    /// A message to a type of this case, whose body says `label`.
    pub(super) fn message(&mut self, event_type: &str, label: &str) -> Message {
        let to = To::Type(self.event_type(event_type));
        self.message_to(to, label)
    }

    /// A message to one queue, whose body says `label`.
    pub(super) fn message_to_queue(&mut self, queue: &QueueBinding, label: &str) -> Message {
        self.message_to(To::Queue(queue.name.clone()), label)
    }

    fn message_to(&mut self, to: To, label: &str) -> Message {
        Message {
            to,
            id: self.fresh(),
            // Of one key, so that all that a case publishes is in order on every broker.
            key: Some("key".to_owned()),
            content_type: "text/plain",
            headers: Vec::new(),
            body: Bytes::copy_from_slice(label.as_bytes()),
        }
    }

    /// Publishes, and sees that there is an answer for each.
    pub(super) async fn publish(&self, messages: Vec<Message>) -> Outcome<Vec<Result<(), Error>>> {
        let count = messages.len();
        let answers = within(self.patience(), "publish", self.broker().publish(messages)).await?;
        same("the answers to a publish", answers.len(), count)?;
        Ok(answers)
    }

    /// Publishes what has to be confirmed.
    pub(super) async fn confirmed(&self, messages: Vec<Message>) -> Outcome {
        for answer in self.publish(messages).await? {
            answer.map_err(|error| says("publish", &error))?;
        }
        Ok(())
    }

    /// Publishes messages with these labels, in one call, and has them confirmed.
    pub(super) async fn say(&mut self, event_type: &str, labels: &[&str]) -> Outcome {
        let messages = labels.iter().map(|label| self.message(event_type, label)).collect();
        self.confirmed(messages).await
    }

    /// A consumer that may hold so many.
    pub(super) async fn reader(&self, queue: &QueueBinding, prefetch: u16) -> Outcome<Reader> {
        self.reader_of(self.broker(), queue, prefetch).await
    }

    /// The same of another broker.
    pub(super) async fn reader_of(
        &self,
        broker: &Arc<dyn Broker>,
        queue: &QueueBinding,
        prefetch: u16,
    ) -> Outcome<Reader> {
        let opened = within(self.patience(), "consume", broker.consume(queue, prefetch)).await?;
        let inner = opened.map_err(|error| says("consume", &error))?;
        Ok(Reader {
            inner,
            queue: queue.clone(),
            word: self.word.clone(),
            routes_by_pattern: broker.capabilities().routes_by_pattern,
            patience: self.patience(),
        })
    }
}

/// A consumer that passes over what is not meant for its case.
pub(super) struct Reader {
    pub(super) inner: Box<dyn Consumer>,
    queue: QueueBinding,
    word: String,
    routes_by_pattern: bool,
    patience: Duration,
}

impl Reader {
    /// Exactly so many messages, and none before they are there.
    pub(super) async fn take(&mut self, count: usize) -> Outcome<Vec<Received>> {
        let until = Instant::now() + self.patience;
        let mut taken = Vec::new();
        while taken.len() < count {
            let wanted = (count - taken.len()).min(MANY);
            let Ok(batch) = timeout_at(until, self.inner.next(wanted)).await else {
                let (came, labels) = (taken.len(), labels(&taken));
                return Err(Failed(format!("only {came} of {count} messages came: {labels:?}")));
            };
            taken.extend(self.accepted(batch, wanted).await?);
        }
        Ok(taken)
    }

    /// One message.
    pub(super) async fn one(&mut self) -> Outcome<Received> {
        Ok(self.take(1).await?.remove(0))
    }

    /// What comes within `time`, which may be nothing.
    pub(super) async fn within(&mut self, time: Duration, max: usize) -> Outcome<Vec<Received>> {
        match timeout(time, self.inner.next(max)).await {
            Ok(batch) => self.accepted(batch, max).await,
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Fails if anything comes soon.
    pub(super) async fn nothing_more(&mut self) -> Outcome {
        let until = Instant::now() + QUIET;
        while let Ok(batch) = timeout_at(until, self.inner.next(MANY)).await {
            let batch = self.accepted(batch, MANY).await?;
            holds(&format!("nothing comes, not {:?}", labels(&batch)), batch.is_empty())?;
        }
        Ok(())
    }

    pub(super) async fn ack(&mut self, messages: &[Received]) -> Outcome {
        let done = within(self.patience, "ack", self.inner.ack(&tags(messages))).await?;
        done.map_err(|error| says("ack", &error))
    }

    pub(super) async fn give_back(&mut self, messages: &[Received]) -> Outcome {
        let done = within(self.patience, "give back", self.inner.give_back(&tags(messages))).await?;
        done.map_err(|error| says("give back", &error))
    }

    /// What of a batch is meant for the case; the rest is acked.
    async fn accepted(&mut self, batch: Result<Vec<Received>, Error>, max: usize) -> Outcome<Vec<Received>> {
        let batch = batch.map_err(|error| says("next", &error))?;
        holds("a batch that is ready has a message", !batch.is_empty())?;
        holds(&format!("a batch of at most {max}, not of {}", batch.len()), batch.len() <= max)?;
        let (mine, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(|message| self.is_mine(message));
        if !others.is_empty() {
            self.ack(&others).await?;
        }
        Ok(mine)
    }

    fn is_mine(&self, message: &Received) -> bool {
        let Some(event_type) = &message.event_type else { return true };
        if event_type.split('.').next() != Some(&self.word) {
            // Of another case, got by the pattern of all types.
            return false;
        }
        let taken = event_type
            .parse()
            .is_ok_and(|event_type| self.queue.types.iter().any(|pattern| pattern.matches(&event_type)));
        taken || self.routes_by_pattern
    }
}

pub(super) fn tags(messages: &[Received]) -> Vec<Tag> {
    messages.iter().map(|message| message.tag).collect()
}

/// What the bodies say, in order of arrival.
pub(super) fn labels(messages: &[Received]) -> Vec<String> {
    messages.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect()
}

/// The same in the order of the alphabet, for where order is not promised.
pub(super) fn sorted(messages: &[Received]) -> Vec<String> {
    let mut labels = labels(messages);
    labels.sort();
    labels
}

/// `m000`, `m001` and so on.
pub(super) fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("m{number:03}")).collect()
}

/// Fails unless the answer is an error of this kind.
pub(super) fn refused<T>(what: &str, answer: Result<T, Error>, kind: ErrorKind) -> Outcome<Error> {
    match answer {
        Ok(_) => Err(Failed(format!("{what}: went well, {kind:?} was due"))),
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => Err(Failed(format!("{what}: {:?} ({error}), {kind:?} was due", error.kind()))),
    }
}

/// Every call ends; one that takes longer than `time` does not.
pub(super) async fn within<T>(time: Duration, what: &str, call: impl Future<Output = T>) -> Outcome<T> {
    timeout(time, call).await.map_err(|_| Failed(format!("{what}: no answer within {time:?}")))
}

fn says(what: &str, error: &Error) -> Failed {
    Failed(format!("{what}: {:?}: {error}", error.kind()))
}
