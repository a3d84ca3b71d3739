//! Broken twins: brokers that each break one promise. They keep the suite honest: a
//! case that a twin passes checks nothing.

mod broker;
mod consumer;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use orderwire_types::QueueName;

use self::broker::Twin;
use super::Factory;
use super::model::ModelPlace;
use crate::capabilities::Capabilities;
use crate::contract::Broker;

orderwire_types::faults! {
    /// Bodies are taken for text.
    ChangesBodies => a_message_comes_unchanged,
    /// The last header is lost.
    DropsHeaders => a_message_comes_unchanged headers_of_the_maximum_come,
    /// Ids are lost.
    ForgetsIds => a_message_comes_unchanged,
    /// Types are lost.
    ForgetsTypes => a_message_comes_unchanged,
    /// Media types are lost.
    ForgetsMediaTypes => a_message_comes_unchanged,
    /// Every delivery is marked as redelivered.
    MarksEverything => a_message_comes_unchanged an_unacked_message_comes_again,
    /// A message without a body is confirmed and dropped.
    DropsEmptyBodies => a_message_without_body_and_headers_comes,
    /// The last confirmed publish before a reopening is lost.
    LosesTheLastPublish => a_confirmed_message_outlives_the_broker,
    /// The messages of a publish come backwards.
    PublishesBackwards => messages_of_one_publisher_come_in_order
        a_thousand_messages_of_one_publish_come_in_order,
    /// Of a large publish the end is confirmed and lost.
    CutsPublishes => a_thousand_messages_of_one_publish_come_in_order,
    /// Who publishes while another does is turned away.
    TakesOnePublisher => many_publishers_at_once_are_all_confirmed,
    /// The largest body is refused.
    RefusesTheLargestBody => a_body_of_the_maximum_comes,
    /// A body that is too large is cut and confirmed.
    CutsBodies => a_body_over_the_maximum_is_refused_alone,
    /// The largest headers are refused.
    RefusesTheLargestHeaders => headers_of_the_maximum_come,
    /// Headers that are too large are cut and confirmed.
    CutsHeaders => headers_over_the_maximum_are_refused_alone,
    /// One refused message refuses all of its publish, although they are there.
    SpreadsRefusals => a_body_over_the_maximum_is_refused_alone headers_over_the_maximum_are_refused_alone
        an_unroutable_message_is_reported_alone,
    /// There is an answer even where nothing was published.
    AnswersNothing => nothing_published_is_answered_by_nothing,
    /// The first queue that takes a type gets all of it.
    RoutesToOneQueue => a_message_reaches_every_queue_that_takes_its_type,
    /// The last pattern of a queue is all that is bound.
    BindsOnePattern => a_message_reaches_every_queue_that_takes_its_type a_declaration_adds_bindings,
    /// `*` is taken for `#`.
    TakesStarsForHashes => a_star_is_one_word,
    /// `#` is taken for `*`.
    TakesHashesForStars => a_hash_is_any_number_of_words a_hash_alone_takes_everything,
    /// A message comes once for each pattern that takes it.
    RoutesByEachPattern => a_message_that_two_patterns_take_comes_once,
    /// What is sent to a queue by name is sent to all that take every type, too.
    SpreadsWhatIsNamed => a_message_to_a_queue_reaches_it_alone,
    /// What nobody takes is confirmed.
    HidesTheUnroutable => an_unroutable_message_is_reported_alone,
    /// What a consumer got is acked by that.
    AcksAtOnce => an_unacked_message_comes_again what_a_consumer_held_goes_to_the_others
        closing_ends_consumers_and_gives_back,
    /// What comes again is not marked.
    MarksNothing => an_unacked_message_comes_again a_given_back_message_comes_again
        what_a_consumer_held_goes_to_the_others closing_ends_consumers_and_gives_back,
    /// Acks are confirmed and forgotten.
    ForgetsAcks => an_acked_message_does_not_come_again the_prefetch_bounds_what_is_unacked,
    /// An ack is for all before as well.
    AcksThoseBefore => an_ack_of_some_leaves_the_others,
    /// What is given back is acked.
    AcksWhatIsGivenBack => a_given_back_message_comes_again,
    /// What is given back is held on.
    HoldsWhatIsGivenBack => a_given_back_message_comes_again,
    /// Giving back one gives back those behind it as well.
    GivesBackThoseBehind => giving_back_some_leaves_the_others,
    /// A consumer may hold anything.
    IgnoresThePrefetch => the_prefetch_bounds_what_is_unacked,
    /// A batch may be of any size.
    IgnoresTheMaximum => a_batch_takes_what_is_there_up_to_its_maximum,
    /// A batch is of one message.
    HandsOutOne => a_batch_takes_what_is_there_up_to_its_maximum,
    /// Tags shrink.
    CountsTagsDown => tags_grow,
    /// A message is taken before the wait for it is over.
    TakesBeforeItIsReady => a_dropped_wait_loses_nothing,
    /// A consumer of what is not there waits for good.
    ConsumesFromNothing => a_consumer_of_no_queue_conflicts,
    /// Every consumer gets everything.
    CopiesToConsumers => consumers_of_a_queue_share_its_messages,
    /// The end is not ended.
    IgnoresClose => closing_ends_consumers_and_gives_back a_closed_broker_takes_nothing
        a_check_says_whether_it_is_connected,
    /// A check is always good.
    ChecksNothing => a_check_says_whether_it_is_connected,
    /// A declaration empties the queue.
    EmptiesOnDeclare => declaring_again_changes_nothing adopt_uses_what_is_there,
    /// Bindings are those of the first declaration.
    BindsOnce => a_declaration_adds_bindings,
    /// What was bound stays bound.
    KeepsBindings => unbinding_takes_away_types_and_nothing_else,
    /// All bindings are taken away.
    UnbindsEverything => unbinding_takes_away_types_and_nothing_else,
    /// A queue is emptied with its binding.
    EmptiesOnUnbind => unbinding_takes_away_types_and_nothing_else,
    /// What is not there cannot be unbound.
    UnbindsOnlyWhatIsThere => unbinding_what_is_not_there_is_no_error,
    /// What is there is not adopted.
    AdoptsNothing => adopt_uses_what_is_there,
    /// A queue that was to be adopted is made of another kind.
    AdoptsByQuorum => adopt_makes_a_plain_queue,
    /// Other arguments are passed over.
    OverlooksArguments => other_arguments_conflict,
    /// A conflict does not say of what.
    ConflictsInSecret => other_arguments_conflict a_consumer_of_no_queue_conflicts,
    /// A dot in a name is too much.
    RefusesDots => names_of_queues_may_have_dots,
}

/// Opens twins with a fault on one place.
pub struct TwinFactory {
    fault: Fault,
    place: Mutex<ModelPlace>,
    /// The place as it was before the last publish.
    before: Arc<Mutex<ModelPlace>>,
}

impl TwinFactory {
    /// A factory with an empty place.
    pub fn new(fault: Fault) -> Self {
        Self::able(fault, super::MODEL_CAPABILITIES)
    }

    /// The same with twins that say that they can do this.
    pub fn able(fault: Fault, capabilities: Capabilities) -> Self {
        let place = ModelPlace::able(capabilities);
        Self { fault, before: Arc::new(Mutex::new(place.clone())), place: Mutex::new(place) }
    }

    fn place(&self) -> ModelPlace {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Factory for TwinFactory {
    async fn open(&self) -> Result<Arc<dyn Broker>, String> {
        if self.fault == Fault::LosesTheLastPublish {
            let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).clone();
            *self.place.lock().unwrap_or_else(PoisonError::into_inner) = before;
        }
        let place = self.place();
        Ok(Arc::new(Twin {
            fault: self.fault,
            inner: Arc::new(place.broker()),
            place,
            before: Arc::clone(&self.before),
            publishing: AtomicUsize::new(0),
            bound: Mutex::default(),
        }))
    }

    async fn occupy(&self, queue: &QueueName) -> Result<bool, String> {
        self.place().occupy(queue).await
    }

    async fn remove(&self, queues: &[QueueName]) -> Result<(), String> {
        self.place().remove(queues).await
    }
}
