//! A store around a store that breaks one promise.
#![expect(missing_docs, reason = "the name of a fault says what it is")]
#![expect(clippy::unwrap_used, reason = "twins fail like tests")]

mod log;
mod orders;
mod ports;
mod rewrite;
mod sink;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use orderwire_types::{EventId, OrderState};
use tokio::sync::watch;
use uuid::Uuid;

use super::Factory;
use crate::traits::Store;

orderwire_types::faults! {
    ForgetsOnOpening => a_definition_comes_back_as_it_was_given
        a_batch_is_recorded_once_however_often_it_comes a_revoked_key_stays_revoked an_order_is_recorded_once
        the_hash_key_is_made_once,
    ForgetsUnits => a_definition_comes_back_as_it_was_given,
    MakesChangedDatasetsAnew => a_definition_evolves_and_keeps_its_rows a_column_gets_a_wider_type
        rows_arrive_while_a_definition_changes
        a_change_that_loses_or_contradicts_rows_is_a_conflict,
    HidesConflicts => a_change_that_loses_or_contradicts_rows_is_a_conflict,
    KeepsRequired => a_column_may_stop_being_required,
    TakesFaultyDefinitions => a_faulty_definition_is_invalid,
    NeverRemoves => a_removed_dataset_leaves_nothing_behind,
    WritesRepeatedBatches => a_batch_is_recorded_once_however_often_it_comes
        a_batch_from_another_position_changes_nothing,
    LosesPosition => a_batch_is_recorded_once_however_often_it_comes,
    CommitsHalfBatches => a_faulty_event_refuses_the_whole_batch a_faulty_change_refuses_all
        an_advance_is_whole_or_not_at_all,
    NamesNoEntry => a_faulty_event_refuses_the_whole_batch,
    IgnoresOnConflict => a_row_takes_the_place_of_the_one_with_its_key
        a_row_keeps_the_place_of_the_one_with_its_key rows_in_partitions_are_read_and_replaced_like_others,
    StampsLate => every_row_has_its_hidden_columns,
    CountsAnewWhenEmpty => seq_only_grows,
    SkipsFromAnywhere => a_reader_skips_from_its_position_only,
    LosesEveryTenth => readers_record_at_the_same_time,
    StaleGeneration => generation_changes_with_every_change,
    ForgetsEvents => an_event_of_a_broker_is_recorded_once,
    HidesRepetitions => an_event_of_a_broker_is_recorded_once,
    RemembersAll => what_is_not_remembered_is_recorded_each_time,
    RemembersInMemory => what_is_remembered_outlives_the_process,
    RemembersFirst => a_refused_batch_is_not_remembered,
    RemembersBrokersAlone => an_event_is_remembered_whichever_way_it_came,
    ForgetsWithTheDataset => what_is_remembered_is_passed_over_when_its_dataset_is_gone,
    TrustsTheFilter => many_events_are_remembered,
    NeverForgetsEvents => an_event_is_forgotten_when_its_time_is_over,
    ForgetsEventsEarly => an_event_is_forgotten_when_its_time_is_over,
    /// A store is another one each time that it is asked.
    NamesItselfAnew => a_store_keeps_its_name,
    DecimalsThroughFloat => exact_values_come_back_as_they_were,
    ComparesDecimalsByDigits => decimals_compare_by_value,
    TakesGteForGt => dates_and_ids_compare_by_value,
    TakesOneForAll => lists_compare_as_sets,
    MatchIgnoresCase => expressions_match_text,
    ContainsTheOther => json_contains_json,
    DistinctIsNeq => distinct_takes_null_for_a_value,
    ForgetsDefaults => a_row_has_the_defaults_of_what_it_does_not_name
        an_added_column_has_its_default_in_the_rows_that_are_there,
    AllowsLoss => a_loss_needs_leave keeping_begins_at_once_and_ends_with_leave,
    IgnoresPartitions => partitions_change_only_while_there_is_no_row rows_go_when_all_of_their_partition_is_past,
    KeepsNothing => what_rows_bring_beyond_the_fields_is_kept keeping_begins_at_once_and_ends_with_leave
        a_column_of_a_kept_name_leaves_what_was_kept,
    ReadsThePastAsThePresent => a_column_of_a_kept_name_leaves_what_was_kept
        keeping_begins_at_once_and_ends_with_leave
        rows_that_were_accepted_before_a_change_are_recorded_after_it
        what_was_accepted_before_a_type_changed_is_what_the_rows_became,
    RefusesLongKeys => the_longest_key_is_recorded_and_found,
    CutsToMillis => values_of_every_type_come_back_as_they_were,
    JsonThroughFloat => json_keeps_its_digits,
    IntegersThroughFloat => the_least_and_greatest_values_are_kept_and_compared,
    HidesFaultyRows => a_value_of_another_type_or_with_nul_is_refused,
    ForgetsImports => a_piece_that_comes_again_adds_nothing,
    PassesOverWholePieces => a_piece_that_overlaps_adds_its_unknown_lines,
    PassesOverLatePieces => a_piece_that_was_put_aside_may_come_later,
    CountsToTheGap => a_piece_that_was_put_aside_may_come_later,
    MixesFiles => imports_are_known_per_dataset_client_and_file,
    TakesLteForLt => comparisons_hold_for_every_type,
    NotHoldsForNull => null_is_neither_in_a_comparison_nor_in_its_negation,
    TakesAndForOr => conditions_combine,
    IgnoresOrder => text_compares_by_code_point rows_come_in_the_order_asked_for,
    LikeIgnoresCase => patterns_match_text,
    LikeWithoutQuotes => patterns_match_text,
    TiesBackwards => rows_come_in_the_order_asked_for,
    NullsLast => nulls_stand_where_asked_for,
    CountsThePage => pages_and_counts_agree,
    IgnoresOffset => pages_and_counts_agree,
    GoesOnWithoutTheSink => a_sink_ends_the_read,
    HidesWrongReads => wrong_columns_and_values_are_invalid what_a_type_does_not_know_is_invalid what_cannot_be_computed_is_invalid,
    StopsShortOfParts => parts_of_json_come_digit_for_digit,
    CountsNulls => groups_have_one_row_each,
    AveragesSums => sums_are_exact_and_bounded,
    IgnoresOrderOfAggregates => groups_come_in_the_order_of_their_aggregates,
    DoublesBuckets => buckets_begin_at_multiples_of_their_length,
    BeginsAnew => reading_goes_on_behind_a_row,
    ShowsWhatIsOld => the_newest_row_of_each_key_is_found rows_without_a_time_or_a_key_have_their_newest
        the_newest_rows_are_counted_and_grouped,
    SelectsForAll => rows_of_other_clients_are_not_there,
    SelectsForMany => a_scope_of_many_clients_reads_theirs_alone,
    IgnoresObjects => datasets_outside_the_objects_are_not_there attempts_outside_the_scope_are_not_there,
    IgnoresTimeOut => a_read_that_takes_too_long_is_too_costly,
    ReadsOnWhenDropped => a_read_ends_when_its_call_is_dropped,
    NoObjectsAreAll => a_key_comes_back_as_it_was_given,
    HidesTakenIds => an_id_is_taken_once,
    ForgetsRevocation => a_revoked_key_stays_revoked,
    NullIsAValue => a_change_sets_and_removes_members,
    AppliesChangesAgain => a_change_is_applied_once,
    LastArrivalWins => an_older_change_keeps_what_is_there an_older_order_that_comes_late_is_superseded,
    ShowsAllClients => clients_outside_the_scope_are_not_there traces_of_other_clients_are_not_there
        orders_of_other_clients_are_not_there orders_of_a_trace_are_counted resources_lead_back_to_their_release
        attempts_outside_the_scope_are_not_there links_of_other_clients_are_not_there,
    StepsBackwards => steps_come_back_in_order_of_time,
    FindsNearLinksOnly => causes_and_effects_are_found_to_any_depth circles_of_causes_end
        a_lineage_is_bounded links_of_other_clients_are_not_there,
    FindsEffectsOnly => causes_and_effects_are_found_to_any_depth circles_of_causes_end
        links_of_other_clients_are_not_there,
    HidesCuts => a_lineage_is_bounded,
    RecordsWithoutTrace => a_recording_leaves_one_record_per_trace,
    SweepsWithoutLimit => rows_past_their_retention_go_a_piece_at_a_time sweeping_keeps_what_is_needed
        attempts_go_when_they_are_old_a_piece_at_a_time,
    NeverSweepsRows => rows_without_a_time_go_by_their_record,
    NeverSweepsTraces => traces_go_when_they_are_old links_go_when_they_are_old,
    ForgetsFingerprints => an_order_is_recorded_once,
    TakesCreateForApply => orders_are_refused_for_the_first_reason
        a_release_of_which_nothing_is_there_can_be_created,
    NeverRecordsRefused => a_refused_order_is_recorded_where_that_is_asked_for,
    KeepsNamespaces => a_namespace_belongs_to_one_owner_while_a_release_is_there,
    ForgetsOlderOrders => a_newer_order_supersedes_an_unfinished_one
        an_order_outlives_a_removal_that_it_interrupts,
    CancelsAnything => cancelling_depends_on_how_far_an_order_is,
    ClaimsUnfairly => clients_are_served_in_turn,
    ClaimsOnAnyTarget => what_is_due_longest_on_a_wanted_target_is_claimed,
    ClaimsMore => a_claim_takes_no_more_than_asked_for_and_is_fair_within,
    ClaimsOrdersLast => what_is_ordered_goes_before_what_is_looked_after
        an_order_that_ended_lets_others_go_first,
    ClaimsOrdersOnly => what_is_looked_after_comes_to_its_turn,
    StaleLeasesWrite => a_lease_that_is_over_changes_nothing,
    LosesTouches => no_wake_up_is_lost_while_a_release_is_held
        what_was_begun_on_a_target_is_due_when_it_is_taken_over,
    LosesTouchesOfHeld => no_wake_up_is_lost_while_a_release_is_held,
    ForgetsWhatIsDue => what_is_due_next_is_known,
    NoticesNothing => changes_are_noticed_after_the_commit,
    OverwritesFinished => a_finished_order_keeps_its_state,
    ForgetsResources => resources_lead_back_to_their_release,
    ForgetsUntold => changes_of_state_are_told_in_order_until_they_are_told,
    IgnoresFilters => resources_lead_back_to_their_release orders_are_listed_newest_first releases_are_listed_by_name attempts_are_filtered,
    SweepsTooEarly => sweeping_keeps_what_is_needed,
    SweepsUntold => sweeping_keeps_what_is_needed,
    TakesAnyState => an_order_begins_accepted_or_failed,
    TrustsTheClock => an_order_that_can_be_refused_is_the_newest_whatever_the_clock_says,
    ForgetsWhereItIs => an_order_goes_where_its_release_is,
    DescribesAlways => only_orders_that_describe_a_release_change_what_they_name,
    CancelsHalfDone => what_an_older_order_left_half_done_is_not_cancelled_at_once,
    NoticesTooMuch => prolonging_a_lease_is_no_change,
    LogsBackwards => attempts_come_back_newest_first_as_they_were_given,
    LogsWithoutBound => the_log_of_an_endpoint_is_bounded,
    SweepsNoAttempts => attempts_go_when_they_are_old_a_piece_at_a_time,
    GivesTurnsToAll => a_turn_is_given_to_one_at_a_time,
    HandsOutAll => of_a_long_journal_the_newest_entries_are_handed_out,
}

/// Opens stores that are twins.
pub struct TwinFactory {
    /// Another one is opened the second time where the fault is to forget.
    inner: [Arc<dyn Factory>; 2],
    opened: AtomicBool,
    fault: Fault,
}

impl TwinFactory {
    /// Of the stores of these two, which are apart from each other.
    pub fn new(fault: Fault, inner: [Arc<dyn Factory>; 2]) -> Self {
        Self { inner, opened: AtomicBool::new(false), fault }
    }
}

#[async_trait]
impl Factory for TwinFactory {
    async fn open(&self) -> Result<Arc<dyn Store>, String> {
        let again = self.opened.swap(true, std::sync::atomic::Ordering::SeqCst);
        let other = again && self.fault == Fault::ForgetsOnOpening;
        let inner = self.inner[usize::from(other)].open().await?;
        Ok(Arc::new(Twin {
            inner,
            fault: self.fault,
            count: AtomicI64::new(0),
            states: Mutex::default(),
            held: Mutex::default(),
            apart: Mutex::default(),
            quiet: watch::Sender::new(0),
        }))
    }
}

struct Twin {
    inner: Arc<dyn Store>,
    fault: Fault,
    /// What a fault counts.
    count: AtomicI64,
    /// States that a fault wrote.
    states: Mutex<HashMap<EventId, OrderState>>,
    /// Releases that were claimed and not handed back.
    held: Mutex<HashSet<Uuid>>,
    /// Events that a fault remembers beside the store.
    apart: Mutex<HashSet<EventId>>,
    /// Where nothing changes.
    quiet: watch::Sender<u64>,
}
