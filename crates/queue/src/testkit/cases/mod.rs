//! The cases, by promise.

mod append;
mod attempts;
mod dead;
mod declare;
mod fairness;
mod going_on;
mod lease;
mod order;
mod scope;
mod shared;
mod stream;
mod sweep;
mod trace;

use super::{Bench, Case};

/// Lists the cases once, for the list and for the macro that makes a test of
/// each. The dollar sign comes as an argument, because a macro that defines a
/// macro cannot write it.
macro_rules! suite {
    ($dollar:tt $($module:ident: $($case:ident)+;)+) => {
        /// Every case of the suite.
        pub fn cases() -> Vec<Case> {
            vec![$($(Case::new(stringify!($case), |factory| Box::pin(async move {
                $module::$case(&mut Bench::open(factory).await?).await
            })),)+)+]
        }

        /// Makes a tokio test of every case of the suite; the argument makes an
        /// `Arc<dyn Factory>` with an empty place, anew for each.
        #[macro_export]
        macro_rules! engine_conformance {
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
    append:
        acknowledged_events_survive_reopening
        leases_attempts_and_dead_letters_survive_reopening
        fan_out_reaches_every_queue_or_none
        a_refused_operation_leaves_the_others_alone
        named_events_are_remembered
        unnamed_events_are_not_remembered
        what_is_rejected_is_a_dead_letter_and_no_delivery
        what_is_rejected_is_remembered
        a_repeated_request_appends_nothing
        another_body_under_the_same_request_conflicts
        positions_only_grow
        a_commit_names_the_queues_that_became_ready;
    order:
        deliveries_of_a_key_come_in_order
        a_leased_lane_is_nobody_elses
        keys_are_independent
        events_without_order_are_independent
        a_delayed_delivery_holds_back_its_lane_only;
    fairness:
        a_new_client_is_next
        a_client_keeps_its_place_while_its_only_lane_is_leased
        clients_take_turns
        one_claim_is_shared_by_the_clients
        a_visit_takes_successive_deliveries_of_one_lane
        a_claim_is_bounded_in_bytes
        one_event_is_not_delayed_by_a_hundred_thousand;
    lease:
        an_expired_lease_is_delivered_again
        an_expired_lease_counts_its_first_delivery_only
        a_late_ack_is_reported_and_not_applied
        a_delivery_is_settled_once
        an_extended_lease_holds_its_lane
        a_lost_lease_cannot_be_extended
        a_commit_names_the_next_expiry
        a_paused_queue_hands_out_nothing
        expiry_is_done_in_bounded_pieces;
    going_on:
        a_holder_goes_on_with_its_lane
        lanes_that_are_ready_go_before_those_that_are_held
        nobody_goes_on_with_a_lease_that_is_not_theirs
        a_lane_that_waits_for_an_attempt_does_not_go_on
        going_on_moves_the_end_of_the_lease
        going_on_is_shared_by_the_lanes_and_bounded
        a_stream_is_gone_on_with;
    attempts:
        a_retry_waits_for_its_delay
        the_back_off_doubles
        attempts_are_counted_and_bounded
        an_expired_last_attempt_is_a_dead_letter
        a_retry_returns_those_behind_it
        those_before_a_retry_stay_held
        a_failure_leaves_those_behind_it_held
        a_release_takes_its_attempt_back
        a_drained_queue_is_empty;
    dead:
        a_dead_letter_tells_everything
        dead_letters_are_selected_by_filter
        dead_letters_come_in_pages
        looks_are_bounded_in_bytes
        an_edited_letter_keeps_all_but_its_body
        an_edit_of_what_changed_meanwhile_is_refused
        a_replayed_letter_comes_once_and_last
        discarded_letters_are_gone;
    stream:
        a_stream_is_read_in_order_and_in_bounds
        a_paused_stream_gives_nothing
        an_advance_frees_what_is_done_and_no_more
        a_buried_entry_leaves_those_around_it
        a_buried_entry_is_replayed_at_the_end
        a_stream_is_leased_as_one_lane;
    scope:
        a_claim_stays_within_its_clients
        a_settlement_stays_within_its_clients
        looking_stays_within_its_clients
        an_edit_stays_within_its_clients;
    trace:
        a_trace_tells_every_step_in_order
        a_trace_tells_expiry_death_and_replay
        a_trace_tells_an_edit
        a_stream_event_waits_in_its_trace
        a_trace_tells_an_acceptance_once;
    sweep:
        a_sweep_drops_what_is_old_and_keeps_the_rest
        a_sweep_is_bounded;
    declare:
        definitions_survive_reopening
        a_queue_without_configuration_empties_and_disappears
        the_states_of_all_queues_are_told_at_once
        a_queue_with_deliveries_keeps_its_kind;
    shared:
        what_another_process_does_is_told
        a_delivery_is_with_one_of_several_processes;
}
