//! The suite of brokers, but for what this server does not do.

use std::sync::Arc;

use async_trait::async_trait;
use orderwire_broker::Broker;
use orderwire_broker::testkit::{Factory, cases, check};
use orderwire_broker_kafka::KafkaBroker;
use orderwire_types::QueueName;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::Tansu;

/// What it does not do: it forgets the text beside offsets, by which the next consumer knows what was
/// handed out, and what is done out of order.
const NOT_HERE: [&str; 4] = [
    "an_ack_of_some_leaves_the_others",
    "an_unacked_message_comes_again",
    "closing_ends_consumers_and_gives_back",
    "what_a_consumer_held_goes_to_the_others",
];

/// A server as the suite sees it.
struct Place(Tansu);

impl Place {
    async fn factory() -> Option<Arc<dyn Factory>> {
        Some(Arc::new(Self(Tansu::start().await?)))
    }
}

#[async_trait]
impl Factory for Place {
    async fn open(&self) -> Result<Arc<dyn Broker>, String> {
        let broker = KafkaBroker::start(self.0.options());
        broker.check().await.map_err(|error| error.to_string())?;
        Ok(Arc::new(broker))
    }

    async fn occupy(&self, queue: &QueueName) -> Result<bool, String> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.0.options().servers.join(","));
        let admin: AdminClient<DefaultClientContext> = config.create().map_err(|error| error.to_string())?;
        let topic = NewTopic::new(queue.as_str(), 1, TopicReplication::Fixed(1));
        let made = admin.create_topics([&topic], &AdminOptions::new()).await;
        let made = made.map_err(|error| error.to_string())?;
        made.into_iter().all(|made| made.is_ok()).then_some(true).ok_or("it was not made".to_owned())
    }

    async fn remove(&self, _queues: &[QueueName]) -> Result<(), String> {
        // The server goes with its case.
        Ok(())
    }

    fn patience(&self) -> std::time::Duration {
        crate::support::PATIENCE
    }
}

macro_rules! cases {
    ($($case:ident)+) => {
        $(
            #[tokio::test]
            async fn $case() {
                check(stringify!($case), Place::factory().await).await;
            }
        )+

        #[test]
        fn no_case_is_left_out_unnoticed() {
            let mut all: Vec<&str> = [$(stringify!($case)),+].into_iter().chain(NOT_HERE).collect();
            let mut suite: Vec<&str> = cases().iter().map(|case| case.name).collect();
            all.sort_unstable();
            suite.sort_unstable();
            assert_eq!(all, suite);
        }
    };
}

cases! {
    a_message_comes_unchanged
    a_message_without_body_and_headers_comes
    a_confirmed_message_outlives_the_broker
    messages_of_one_publisher_come_in_order
    a_thousand_messages_of_one_publish_come_in_order
    many_publishers_at_once_are_all_confirmed
    a_body_of_the_maximum_comes
    a_body_over_the_maximum_is_refused_alone
    headers_of_the_maximum_come
    headers_over_the_maximum_are_refused_alone
    nothing_published_is_answered_by_nothing
    a_message_reaches_every_queue_that_takes_its_type
    a_star_is_one_word
    a_hash_is_any_number_of_words
    a_hash_alone_takes_everything
    a_message_that_two_patterns_take_comes_once
    a_message_to_a_queue_reaches_it_alone
    an_unroutable_message_is_reported_alone
    an_acked_message_does_not_come_again
    a_given_back_message_comes_again
    giving_back_some_leaves_the_others
    the_prefetch_bounds_what_is_unacked
    a_batch_takes_what_is_there_up_to_its_maximum
    tags_grow
    a_dropped_wait_loses_nothing
    a_consumer_of_no_queue_conflicts
    consumers_of_a_queue_share_its_messages
    a_closed_broker_takes_nothing
    a_check_says_whether_it_is_connected
    declaring_again_changes_nothing
    a_declaration_adds_bindings
    unbinding_takes_away_types_and_nothing_else
    unbinding_what_is_not_there_is_no_error
    adopt_uses_what_is_there
    adopt_makes_a_plain_queue
    other_arguments_conflict
    names_of_queues_may_have_dots
}
