//! The consumer of a twin.

use std::time::Duration;

use async_trait::async_trait;

use super::Fault;
use crate::contract::Consumer;
use crate::error::Error;
use crate::message::{Received, Tag};

/// A consumer with a fault.
pub(super) struct TwinConsumer {
    fault: Fault,
    inner: Box<dyn Consumer>,
    /// Tags of what is held, in order.
    held: Vec<Tag>,
}

impl TwinConsumer {
    pub(super) fn new(fault: Fault, inner: Box<dyn Consumer>) -> Self {
        Self { fault, inner, held: Vec::new() }
    }

    /// The tag that is shown for one of the inner consumer, and back.
    fn turned(&self, tag: Tag) -> Tag {
        if self.fault == Fault::CountsTagsDown { Tag(u64::MAX - tag.0) } else { tag }
    }

    /// The inner consumer's tags of these, and those that are wrongly taken along.
    fn also(&mut self, tags: &[Tag], taken_along: impl Fn(&Tag, &[Tag]) -> bool) -> Vec<Tag> {
        let tags: Vec<Tag> = tags.iter().map(|tag| self.turned(*tag)).collect();
        let (gone, held) = self.held.drain(..).partition(|tag| tags.contains(tag) || taken_along(tag, &tags));
        self.held = held;
        gone
    }
}

#[async_trait]
impl Consumer for TwinConsumer {
    async fn next(&mut self, max: usize) -> Result<Vec<Received>, Error> {
        let wanted = match self.fault {
            Fault::HandsOutOne => 1,
            Fault::IgnoresTheMaximum => usize::MAX,
            _ => max,
        };
        let mut batch = self.inner.next(wanted).await?;
        if self.fault == Fault::TakesBeforeItIsReady {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let tags: Vec<Tag> = batch.iter().map(|message| message.tag).collect();
        if self.fault == Fault::AcksAtOnce {
            self.inner.ack(&tags).await?;
        }
        self.held.extend(tags);
        for message in &mut batch {
            message.tag = self.turned(message.tag);
            match self.fault {
                Fault::ForgetsIds => message.id = None,
                Fault::ForgetsTypes => message.event_type = None,
                Fault::ForgetsMediaTypes => message.content_type = None,
                Fault::MarksEverything => message.redelivered = true,
                Fault::MarksNothing => message.redelivered = false,
                _ => {}
            }
        }
        Ok(batch)
    }

    async fn ack(&mut self, tags: &[Tag]) -> Result<(), Error> {
        let before = self.fault == Fault::AcksThoseBefore;
        let acked = self.also(tags, |tag, tags| before && tags.iter().any(|acked| tag < acked));
        if self.fault == Fault::ForgetsAcks { Ok(()) } else { self.inner.ack(&acked).await }
    }

    async fn give_back(&mut self, tags: &[Tag]) -> Result<(), Error> {
        let behind = self.fault == Fault::GivesBackThoseBehind;
        let given = self.also(tags, |tag, tags| behind && tags.iter().any(|given| tag > given));
        match self.fault {
            Fault::AcksWhatIsGivenBack => self.inner.ack(&given).await,
            Fault::HoldsWhatIsGivenBack => Ok(()),
            _ => self.inner.give_back(&given).await,
        }
    }
}
