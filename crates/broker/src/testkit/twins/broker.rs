//! A twin: what is asked and answered, with a fault in between.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use orderwire_types::queue::Declare;
use orderwire_types::{EventType, Pattern, QueueName};

use super::Fault;
use super::consumer::TwinConsumer;
use crate::capabilities::Capabilities;
use crate::contract::{Broker, Consumer, QueueBinding};
use crate::error::{Error, ErrorKind};
use crate::message::{HEADER_BYTES_MAX, Message, To};
use crate::testkit::model::ModelPlace;

/// A broker with a fault.
pub(super) struct Twin {
    pub(super) fault: Fault,
    pub(super) inner: Arc<dyn Broker>,
    pub(super) place: ModelPlace,
    pub(super) before: Arc<Mutex<ModelPlace>>,
    /// How many publish at this moment.
    pub(super) publishing: AtomicUsize,
    /// The queues that were declared.
    pub(super) bound: Mutex<HashMap<QueueName, Vec<Pattern>>>,
}

impl Twin {
    fn bound<T>(&self, with: impl FnOnce(&mut HashMap<QueueName, Vec<Pattern>>) -> T) -> T {
        with(&mut self.bound.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The declaration that is made instead.
    fn distort(&self, queue: &QueueBinding) -> QueueBinding {
        let mut queue = queue.clone();
        let swap = |from: &str, to: &str, pattern: &Pattern| {
            pattern.as_str().replace(from, to).parse().expect("a pattern")
        };
        let types = &mut queue.types;
        match self.fault {
            Fault::BindsOnePattern => *types = types.pop().into_iter().collect(),
            Fault::TakesStarsForHashes => {
                types.iter_mut().for_each(|pattern| *pattern = swap("*", "#", pattern));
            }
            Fault::TakesHashesForStars => {
                types.iter_mut().for_each(|pattern| *pattern = swap("#", "*", pattern));
            }
            Fault::BindsOnce => {
                *types = self.bound(|bound| bound.get(&queue.name).cloned()).unwrap_or_else(|| types.clone());
            }
            Fault::AdoptsByQuorum if queue.declare == Declare::Adopt => queue.declare = Declare::Quorum,
            _ => {}
        }
        queue
    }

    /// The message that is published instead; none: it is dropped.
    fn reword(&self, mut message: Message) -> Option<Message> {
        match self.fault {
            Fault::ChangesBodies => {
                message.body = String::from_utf8_lossy(&message.body).into_owned().into();
            }
            Fault::DropsHeaders => {
                message.headers.pop();
            }
            Fault::DropsEmptyBodies if message.body.is_empty() => return None,
            Fault::CutsBodies => message.body.truncate(self.capabilities().body_bytes_max),
            Fault::CutsHeaders => {
                while message.header_bytes() > HEADER_BYTES_MAX {
                    message.headers.pop();
                }
            }
            Fault::RefusesTheLargestBody if message.body.len() == self.capabilities().body_bytes_max => {
                message.body = Bytes::from_iter(message.body.into_iter().chain([0]));
            }
            Fault::RefusesTheLargestHeaders if message.header_bytes() == HEADER_BYTES_MAX => {
                message.headers.push(("more".to_owned(), String::new()));
            }
            Fault::RoutesToOneQueue => {
                if let To::Type(event_type) = &message.to
                    && let Some(queue) = self.takers(event_type).into_iter().next()
                {
                    message.to = To::Queue(queue);
                }
            }
            _ => {}
        }
        Some(message)
    }

    /// The queues that take a type.
    fn takers(&self, event_type: &EventType) -> Vec<QueueName> {
        self.bound(|bound| {
            let takers =
                bound.iter().filter(|(_, types)| types.iter().any(|taken| taken.matches(event_type)));
            takers.map(|(name, _)| name.clone()).collect()
        })
    }

    /// Further messages that nobody published.
    fn extra(&self, messages: &[Message]) -> Vec<Message> {
        let copies = |message: &Message| -> Vec<Message> {
            let to = |queue: &QueueName| Message { to: To::Queue(queue.clone()), ..message.clone() };
            self.bound(|bound| match (self.fault, &message.to) {
                (Fault::RoutesByEachPattern, To::Type(event_type)) => {
                    let again = |(name, types): (&QueueName, &Vec<Pattern>)| {
                        let taken = types.iter().filter(|pattern| pattern.matches(event_type)).count();
                        vec![to(name); taken.saturating_sub(1)]
                    };
                    bound.iter().flat_map(again).collect()
                }
                (Fault::SpreadsWhatIsNamed, To::Queue(queue)) => {
                    let every = |types: &[Pattern]| types.iter().any(|pattern| pattern.as_str() == "#");
                    let others = bound.iter().filter(|(name, types)| *name != queue && every(types));
                    others.map(|(name, _)| to(name)).collect()
                }
                _ => Vec::new(),
            })
        };
        messages.iter().flat_map(copies).collect()
    }

    async fn publish_all(&self, mut messages: Vec<Message>) -> Vec<Result<(), Error>> {
        let count = messages.len();
        let extra = self.extra(&messages);
        match self.fault {
            Fault::PublishesBackwards => messages.reverse(),
            Fault::CutsPublishes => messages.truncate(256),
            _ => {}
        }
        let mut answers = Vec::with_capacity(count);
        for message in messages {
            let answer = match self.reword(message) {
                Some(message) => self.inner.publish(vec![message]).await.remove(0),
                None => Ok(()),
            };
            answers.push(answer);
        }
        answers.resize(count, Ok(()));
        self.inner.publish(extra).await;
        answers
    }
}

#[async_trait]
impl Broker for Twin {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn declare(&self, queue: &QueueBinding) -> Result<(), Error> {
        let distorted = self.distort(queue);
        match self.fault {
            Fault::RefusesDots if queue.name.as_str().contains('.') => {
                return Err(Error::new(ErrorKind::Unsupported, "a dot"));
            }
            Fault::AdoptsNothing if queue.declare == Declare::Adopt => {
                let plain = QueueBinding { declare: Declare::Classic, ..distorted };
                return self.inner.declare(&plain).await;
            }
            Fault::EmptiesOnDeclare => self.place.empty_queue(&queue.name),
            _ => {}
        }
        let mut answer = self.inner.declare(&distorted).await;
        if let Err(error) = &answer
            && error.kind() == ErrorKind::Conflict
        {
            answer = match self.fault {
                Fault::OverlooksArguments => Ok(()),
                Fault::ConflictsInSecret => Err(Error::new(ErrorKind::Conflict, "a conflict")),
                _ => answer,
            };
        }
        if answer.is_ok() {
            self.bound(|bound| bound.insert(queue.name.clone(), distorted.types));
        }
        answer
    }

    async fn unbind(&self, queue: &QueueName, types: &[Pattern]) -> Result<(), Error> {
        match self.fault {
            Fault::KeepsBindings => return Ok(()),
            Fault::EmptiesOnUnbind => self.place.empty_queue(queue),
            Fault::UnbindsEverything => self.place.unbind_all(queue),
            Fault::UnbindsOnlyWhatIsThere if !self.bound(|bound| bound.contains_key(queue)) => {
                return Err(Error::new(ErrorKind::Conflict, "no such queue"));
            }
            _ => {}
        }
        self.inner.unbind(queue, types).await
    }

    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), Error>> {
        if self.fault == Fault::LosesTheLastPublish {
            *self.before.lock().unwrap_or_else(PoisonError::into_inner) = self.place.copy();
        }
        if self.fault == Fault::AnswersNothing && messages.is_empty() {
            return vec![Ok(())];
        }
        let others = self.publishing.fetch_add(1, Ordering::Relaxed);
        // Lets others begin.
        tokio::task::yield_now().await;
        let turned_away = self.fault == Fault::TakesOnePublisher && others > 0;
        let mut answers = if turned_away {
            vec![Err(Error::new(ErrorKind::Unavailable, "one at a time")); messages.len()]
        } else {
            self.publish_all(messages).await
        };
        self.publishing.fetch_sub(1, Ordering::Relaxed);
        match (self.fault, answers.iter().find_map(|answer| answer.clone().err())) {
            (Fault::SpreadsRefusals, Some(error)) => answers.fill(Err(error)),
            (Fault::HidesTheUnroutable, Some(error)) if error.kind() == ErrorKind::Unroutable => {
                answers.fill(Ok(()));
            }
            _ => {}
        }
        answers
    }

    async fn consume(&self, queue: &QueueBinding, prefetch: u16) -> Result<Box<dyn Consumer>, Error> {
        let mut queue = queue.clone();
        let prefetch = if self.fault == Fault::IgnoresThePrefetch { u16::MAX } else { prefetch };
        if self.fault == Fault::CopiesToConsumers {
            static COPIES: AtomicUsize = AtomicUsize::new(0);
            let number = COPIES.fetch_add(1, Ordering::Relaxed);
            let copy = format!("{}-{number}", queue.name).parse().expect("a queue name");
            self.place.copy_queue(&queue.name, &copy);
            self.place.empty_queue(&copy);
            queue.name = copy;
        }
        let mut opened = self.inner.consume(&queue, prefetch).await;
        if opened.is_err() && self.fault == Fault::ConsumesFromNothing {
            self.inner.declare(&QueueBinding { types: Vec::new(), ..queue.clone() }).await?;
            opened = self.inner.consume(&queue, prefetch).await;
        }
        match opened {
            Ok(inner) => Ok(Box::new(TwinConsumer::new(self.fault, inner))),
            Err(_) if self.fault == Fault::ConflictsInSecret => {
                Err(Error::new(ErrorKind::Conflict, "a conflict"))
            }
            Err(error) => Err(error),
        }
    }

    async fn check(&self) -> Result<(), Error> {
        if self.fault == Fault::ChecksNothing { Ok(()) } else { self.inner.check().await }
    }

    async fn close(&self) {
        if self.fault != Fault::IgnoresClose {
            self.inner.close().await;
        }
    }
}
