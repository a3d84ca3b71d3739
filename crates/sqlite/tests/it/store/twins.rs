//! Stores that each break one promise: the suite must notice.

use std::collections::BTreeSet;
use std::sync::Arc;

use orderwire_store::testkit::cases;

use super::twin::{Fault, TwinFolder};

/// Each fault with a case that must catch it.
const CAUGHT: &[(Fault, &str)] = &[
    (Fault::ForgetsOnOpening, "a_definition_comes_back_as_it_was_given"),
    (Fault::ForgetsUnits, "a_definition_comes_back_as_it_was_given"),
    (Fault::MakesChangedDatasetsAnew, "a_definition_evolves_and_keeps_its_rows"),
    (Fault::MakesChangedDatasetsAnew, "a_change_that_loses_or_contradicts_rows_is_a_conflict"),
    (Fault::HidesConflicts, "a_change_that_loses_or_contradicts_rows_is_a_conflict"),
    (Fault::KeepsRequired, "a_column_may_stop_being_required"),
    (Fault::TakesFaultyDefinitions, "a_faulty_definition_is_invalid"),
    (Fault::NeverRemoves, "a_removed_dataset_leaves_nothing_behind"),
    (Fault::WritesRepeatedBatches, "a_batch_is_recorded_once_however_often_it_comes"),
    (Fault::LosesPosition, "a_batch_is_recorded_once_however_often_it_comes"),
    (Fault::ForgetsOnOpening, "a_batch_is_recorded_once_however_often_it_comes"),
    (Fault::WritesRepeatedBatches, "a_batch_from_another_position_changes_nothing"),
    (Fault::CommitsHalfBatches, "a_faulty_event_refuses_the_whole_batch"),
    (Fault::NamesNoEntry, "a_faulty_event_refuses_the_whole_batch"),
    (Fault::IgnoresOnConflict, "a_row_takes_the_place_of_the_one_with_its_key"),
    (Fault::IgnoresOnConflict, "a_row_keeps_the_place_of_the_one_with_its_key"),
    (Fault::StampsLate, "every_row_has_its_hidden_columns"),
    (Fault::CountsAnewWhenEmpty, "seq_only_grows"),
    (Fault::SkipsFromAnywhere, "a_reader_skips_from_its_position_only"),
    (Fault::LosesEveryTenth, "readers_record_at_the_same_time"),
    (Fault::StaleGeneration, "generation_changes_with_every_change"),
    (Fault::CutsToMillis, "values_of_every_type_come_back_as_they_were"),
    (Fault::JsonThroughFloat, "json_keeps_its_digits"),
    (Fault::IntegersThroughFloat, "the_least_and_greatest_values_are_kept_and_compared"),
    (Fault::HidesFaultyRows, "a_value_of_another_type_or_with_nul_is_refused"),
    (Fault::ForgetsImports, "a_piece_that_comes_again_adds_nothing"),
    (Fault::PassesOverWholePieces, "a_piece_that_overlaps_adds_its_unknown_lines"),
    (Fault::PassesOverLatePieces, "a_piece_that_was_put_aside_may_come_later"),
    (Fault::MixesFiles, "imports_are_known_per_dataset_client_and_file"),
    (Fault::TakesLteForLt, "comparisons_hold_for_every_type"),
    (Fault::NotHoldsForNull, "null_is_neither_in_a_comparison_nor_in_its_negation"),
    (Fault::TakesAndForOr, "conditions_combine"),
    (Fault::IgnoresOrder, "text_compares_by_code_point"),
    (Fault::LikeIgnoresCase, "patterns_match_text"),
    (Fault::LikeWithoutQuotes, "patterns_match_text"),
    (Fault::IgnoresOrder, "rows_come_in_the_order_asked_for"),
    (Fault::TiesBackwards, "rows_come_in_the_order_asked_for"),
    (Fault::NullsLast, "nulls_stand_where_asked_for"),
    (Fault::CountsThePage, "pages_and_counts_agree"),
    (Fault::IgnoresOffset, "pages_and_counts_agree"),
    (Fault::GoesOnWithoutTheSink, "a_sink_ends_the_read"),
    (Fault::HidesWrongReads, "wrong_columns_and_values_are_invalid"),
    (Fault::SelectsForAll, "rows_of_other_clients_are_not_there"),
    (Fault::SelectsForMany, "a_scope_of_many_clients_reads_theirs_alone"),
    (Fault::IgnoresObjects, "datasets_outside_the_objects_are_not_there"),
    (Fault::IgnoresTimeOut, "a_read_that_takes_too_long_is_too_costly"),
    (Fault::ReadsOnWhenDropped, "a_read_ends_when_its_call_is_dropped"),
    (Fault::NoObjectsAreAll, "a_key_comes_back_as_it_was_given"),
    (Fault::HidesTakenIds, "an_id_is_taken_once"),
    (Fault::ForgetsRevocation, "a_revoked_key_stays_revoked"),
    (Fault::ForgetsOnOpening, "a_revoked_key_stays_revoked"),
    (Fault::NullIsAValue, "a_change_sets_and_removes_members"),
    (Fault::AppliesChangesAgain, "a_change_is_applied_once"),
    (Fault::LastArrivalWins, "an_older_change_keeps_what_is_there"),
    (Fault::CommitsHalfBatches, "a_faulty_change_refuses_all"),
    (Fault::ShowsAllClients, "clients_outside_the_scope_are_not_there"),
    (Fault::StepsBackwards, "steps_come_back_in_order_of_time"),
    (Fault::RecordsWithoutTrace, "a_recording_leaves_one_record_per_trace"),
    (Fault::ShowsAllClients, "traces_of_other_clients_are_not_there"),
    (Fault::SweepsWithoutLimit, "rows_past_their_retention_go_a_piece_at_a_time"),
    (Fault::NeverSweepsRows, "rows_without_a_time_go_by_their_record"),
    (Fault::NeverSweepsTraces, "traces_go_when_they_are_old"),
    (Fault::ForgetsFingerprints, "an_order_is_recorded_once"),
    (Fault::ForgetsOnOpening, "an_order_is_recorded_once"),
    (Fault::TakesAnyState, "an_order_begins_accepted_or_failed"),
    (Fault::TakesCreateForApply, "orders_are_refused_for_the_first_reason"),
    (Fault::TakesCreateForApply, "a_release_of_which_nothing_is_there_can_be_created"),
    (Fault::NeverRecordsRefused, "a_refused_order_is_recorded_where_that_is_asked_for"),
    (Fault::KeepsNamespaces, "a_namespace_belongs_to_one_owner_while_a_release_is_there"),
    (Fault::ForgetsOlderOrders, "a_newer_order_supersedes_an_unfinished_one"),
    (Fault::ForgetsOlderOrders, "an_order_outlives_a_removal_that_it_interrupts"),
    (Fault::LastArrivalWins, "an_older_order_that_comes_late_is_superseded"),
    (Fault::TrustsTheClock, "an_order_that_can_be_refused_is_the_newest_whatever_the_clock_says"),
    (Fault::ForgetsWhereItIs, "an_order_goes_where_its_release_is"),
    (Fault::DescribesAlways, "only_orders_that_describe_a_release_change_what_they_name"),
    (Fault::CancelsHalfDone, "what_an_older_order_left_half_done_is_not_cancelled_at_once"),
    (Fault::NoticesTooMuch, "prolonging_a_lease_is_no_change"),
    (Fault::HandsOutAll, "of_a_long_journal_the_newest_entries_are_handed_out"),
    (Fault::CancelsAnything, "cancelling_depends_on_how_far_an_order_is"),
    (Fault::ClaimsUnfairly, "clients_are_served_in_turn"),
    (Fault::ClaimsOnAnyTarget, "what_is_due_longest_on_a_wanted_target_is_claimed"),
    (Fault::StaleLeasesWrite, "a_lease_that_is_over_changes_nothing"),
    (Fault::LosesTouchesOfHeld, "no_wake_up_is_lost_while_a_release_is_held"),
    (Fault::LosesTouches, "no_wake_up_is_lost_while_a_release_is_held"),
    (Fault::LosesTouches, "releases_of_a_target_are_due_when_its_work_begins"),
    (Fault::ForgetsWhatIsDue, "what_is_due_next_is_known"),
    (Fault::NoticesNothing, "changes_are_noticed_after_the_commit"),
    (Fault::CommitsHalfBatches, "an_advance_is_whole_or_not_at_all"),
    (Fault::OverwritesFinished, "a_finished_order_keeps_its_state"),
    (Fault::ForgetsUntold, "changes_of_state_are_told_in_order_until_they_are_told"),
    (Fault::ShowsAllClients, "orders_of_other_clients_are_not_there"),
    (Fault::IgnoresFilters, "orders_are_listed_newest_first"),
    (Fault::IgnoresFilters, "releases_are_listed_by_name"),
    (Fault::ShowsAllClients, "orders_of_a_trace_are_counted"),
    (Fault::ForgetsOnOpening, "the_hash_key_is_made_once"),
    (Fault::SweepsTooEarly, "sweeping_keeps_what_is_needed"),
    (Fault::SweepsUntold, "sweeping_keeps_what_is_needed"),
    (Fault::SweepsWithoutLimit, "sweeping_keeps_what_is_needed"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broken_twin_is_caught() {
    let mut missed = Vec::new();
    for (fault, name) in CAUGHT {
        let case = cases().into_iter().find(|case| case.name == *name).unwrap();
        if case.run(Arc::new(TwinFolder::new(*fault))).await.is_ok() {
            missed.push(format!("{fault:?} by {name}"));
        }
    }
    assert!(missed.is_empty(), "not caught:\n{}", missed.join("\n"));
}

/// A case that no twin fails may be one that cannot fail.
#[test]
fn every_case_catches_a_twin() {
    let catching: BTreeSet<&str> = CAUGHT.iter().map(|(_, name)| *name).collect();
    let idle: Vec<&str> =
        cases().iter().map(|case| case.name).filter(|name| !catching.contains(name)).collect();
    assert!(idle.is_empty(), "{idle:?}");
}

/// The wrapper alone breaks nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_twin_without_a_fault_passes() {
    for case in cases() {
        let result = case.run(Arc::new(TwinFolder::new(Fault::None))).await;
        assert_eq!(result, Ok(()), "{}", case.name);
    }
}
