//! The cases, by promise.

mod close;
mod consume;
mod declare;
mod publish;
mod route;
mod share;

use orderwire_types::testkit::Failed;

use super::Case;
use super::bench::Bench;

/// Lists the cases once, for the list and for the macro that makes a test of each. The
/// dollar sign comes as an argument, because a macro that defines a macro cannot write it.
macro_rules! suite {
    ($dollar:tt $($module:ident: $($case:ident)+;)+) => {
        /// Every case of the suite.
        pub fn cases() -> Vec<Case> {
            vec![$($(Case::new(stringify!($case), |factory| Box::pin(async move {
                let mut bench = Bench::open(factory).await.map_err(|Failed(why)| why)?;
                let outcome = $module::$case(&mut bench).await;
                let removed = bench.end().await;
                outcome.and(removed).map_err(|Failed(why)| why)
            })),)+)+]
        }

        /// Makes a tokio test of every case of the suite. The argument makes an
        /// `Option<Arc<dyn Factory>>` anew for each, and may await; `None` skips the
        /// test, which whoever made it has said loudly.
        #[macro_export]
        macro_rules! broker_conformance {
            ($dollar factory:expr) => {
                $($(
                    #[tokio::test]
                    async fn $case() {
                        $dollar crate::testkit::check(stringify!($case), $dollar factory).await;
                    }
                )+)+
            };
        }
    };
}

suite! { $
    publish:
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
        nothing_published_is_answered_by_nothing;
    route:
        a_message_reaches_every_queue_that_takes_its_type
        a_star_is_one_word
        a_hash_is_any_number_of_words
        a_hash_alone_takes_everything
        a_message_that_two_patterns_take_comes_once
        a_message_to_a_queue_reaches_it_alone
        an_unroutable_message_is_reported_alone;
    consume:
        an_unacked_message_comes_again
        an_acked_message_does_not_come_again
        an_ack_of_some_leaves_the_others
        a_given_back_message_comes_again
        giving_back_some_leaves_the_others
        the_prefetch_bounds_what_is_unacked
        a_batch_takes_what_is_there_up_to_its_maximum
        tags_grow
        a_dropped_wait_loses_nothing
        a_consumer_of_no_queue_conflicts;
    share:
        consumers_of_a_queue_share_its_messages
        what_a_consumer_held_goes_to_the_others;
    close:
        closing_ends_consumers_and_gives_back
        a_closed_broker_takes_nothing
        a_check_says_whether_it_is_connected;
    declare:
        declaring_again_changes_nothing
        a_declaration_adds_bindings
        unbinding_takes_away_types_and_nothing_else
        unbinding_what_is_not_there_is_no_error
        adopt_uses_what_is_there
        adopt_makes_a_plain_queue
        other_arguments_conflict
        names_of_queues_may_have_dots;
}
