//! Broken twins: engines that each break one promise. They keep the suite
//! honest: a case that a twin passes checks nothing.

mod engine;
mod twin;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use self::twin::Twin;
use super::Factory;
use super::model::ModelPlace;
use crate::engine::{Engine, Op};

orderwire_types::faults! {
    /// The last acknowledged commit before a reopening is lost.
    LosesTheLastCommit => acknowledged_events_survive_reopening,
    /// A reopening ends all leases and pauses.
    ForgetsLeases => leases_attempts_and_dead_letters_survive_reopening,
    /// Positions are given out again.
    ReusesPositions => positions_only_grow,
    /// An event reaches only the first of its queues.
    FansOutInPart => fan_out_reaches_every_queue_or_none,
    /// One refused operation refuses all, although they happened.
    SpreadsRefusals => a_refused_operation_leaves_the_others_alone,
    /// Named ids are not remembered.
    ForgetsNamedIds => named_events_are_remembered,
    /// Every id is remembered, named or not.
    RemembersUnnamedIds => unnamed_events_are_not_remembered,
    /// What is rejected is delivered all the same.
    DeliversTheRejected => what_is_rejected_is_a_dead_letter_and_no_delivery,
    /// What is rejected is not remembered.
    ForgetsTheRejected => what_is_rejected_is_remembered,
    /// Named requests are not remembered.
    ForgetsRequests => a_repeated_request_appends_nothing,
    /// The fingerprint of a named request is not compared.
    IgnoresFingerprints => another_body_under_the_same_request_conflicts,
    /// Nobody is told which queues became ready.
    NamesNoReadyQueue => a_commit_names_the_queues_that_became_ready,
    /// The deliveries of a lease come backwards.
    HandsOutBackwards => deliveries_of_a_key_come_in_order,
    /// What is leased is handed out to others, too.
    SharesLanes => a_leased_lane_is_nobody_elses,
    /// Keys and their absence are not looked at: a client has one lane.
    IgnoresKeys => keys_are_independent events_without_order_are_independent
        a_delayed_delivery_holds_back_its_lane_only,
    /// The oldest client is served, and nobody else.
    ServesTheFirstClientOnly => clients_take_turns a_new_client_is_next one_claim_is_shared_by_the_clients
        one_event_is_not_delayed_by_a_hundred_thousand,
    /// A client is next again as soon as its lane is settled.
    ForgetsPlaces => a_client_keeps_its_place_while_its_only_lane_is_leased,
    /// A claim hands out one delivery, however many were wanted.
    HandsOutOne => a_visit_takes_successive_deliveries_of_one_lane,
    /// A claim ignores its bound of bytes.
    ClaimsWithoutBound => a_claim_is_bounded_in_bytes,
    /// A look ignores its bound of bytes.
    LooksWithoutBound => looks_are_bounded_in_bytes,
    /// Leases never run out.
    NeverExpires => an_expired_lease_is_delivered_again,
    /// An ack after the lease is taken for good.
    AcksLostLeases => a_late_ack_is_reported_and_not_applied a_delivery_is_settled_once,
    /// The first ack is done, although its commit fails. Consumers are tested
    /// with it: a confirmation may get lost.
    LosesAnAnswer => a_drained_queue_is_empty,
    /// An extension after the lease is taken for good.
    ExtendsLostLeases => a_lost_lease_cannot_be_extended,
    /// Nobody is told when the next lease runs out.
    NamesNoExpiry => a_commit_names_the_next_expiry,
    /// A pause does not pause.
    IgnoresPauses => a_paused_queue_hands_out_nothing,
    /// An extension is acknowledged, and forgotten.
    IgnoresExtensions => an_extended_lease_holds_its_lane,
    /// What a claimer holds is not gone on with.
    NeverGoesOn => a_holder_goes_on_with_its_lane a_stream_is_gone_on_with,
    /// What a claimer holds is gone on with before others are served.
    GoesOnFirst => lanes_that_are_ready_go_before_those_that_are_held,
    /// Whose lease it is does not matter to who goes on with a lane.
    GoesOnForAnybody => nobody_goes_on_with_a_lease_that_is_not_theirs,
    /// Going on does not move the end of the lease.
    KeepsTheEnd => going_on_moves_the_end_of_the_lease,
    /// Of the lanes that are gone on with, the first takes all.
    GoesOnWithTheFirst => going_on_is_shared_by_the_lanes_and_bounded,
    /// The expiry takes everything at once.
    ExpiresWithoutBound => expiry_is_done_in_bounded_pieces,
    /// A retry comes at once.
    IgnoresDelays => a_retry_waits_for_its_delay a_lane_that_waits_for_an_attempt_does_not_go_on,
    /// Every attempt is the first.
    ForgetsAttempts => attempts_are_counted_and_bounded,
    /// Those behind a retry were tried as well.
    CountsThoseBehind => a_retry_returns_those_behind_it an_expired_lease_counts_its_first_delivery_only,
    /// A retry frees those before it as well.
    ReturnsThoseBefore => those_before_a_retry_stay_held,
    /// A failure frees those behind it.
    ReturnsThoseBehind => a_failure_leaves_those_behind_it_held,
    /// What expired for the last time is gone.
    HidesExpiredLetters => an_expired_last_attempt_is_a_dead_letter,
    /// The pause after every attempt is the one after the first.
    RepeatsTheFirstPause => the_back_off_doubles,
    /// The oldest event stays in the queue's state for good.
    KeepsTheOldest => a_drained_queue_is_empty,
    /// A release is a retry.
    CountsReleases => a_release_takes_its_attempt_back,
    /// What failed for good is gone.
    DropsTheDeadLetter => a_dead_letter_tells_everything,
    /// The filter of dead letters is not looked at.
    IgnoresFilters => dead_letters_are_selected_by_filter,
    /// The first page of dead letters is the last.
    EndsAfterOnePage => dead_letters_come_in_pages,
    /// An edit is acknowledged, and forgotten.
    IgnoresEdits => an_edited_letter_keeps_all_but_its_body,
    /// Of two who saw the same letter, the second overwrites what the first wrote.
    EditsBlindly => an_edit_of_what_changed_meanwhile_is_refused,
    /// A replay puts two deliveries back.
    ReplaysTwice => a_replayed_letter_comes_once_and_last a_buried_entry_is_replayed_at_the_end,
    /// A discard is acknowledged, and forgotten.
    IgnoresDiscards => discarded_letters_are_gone,
    /// A read ignores its bound of bytes.
    ReadsWithoutBound => a_stream_is_read_in_order_and_in_bounds,
    /// A paused stream is read on.
    ReadsPausedStreams => a_paused_stream_gives_nothing,
    /// An advance goes one entry too far.
    AdvancesTooFar => an_advance_frees_what_is_done_and_no_more,
    /// An advance believes any position.
    BelievesAnyPosition => an_advance_frees_what_is_done_and_no_more,
    /// A burial takes everything before along.
    BuriesThoseBefore => a_buried_entry_leaves_those_around_it,
    /// Every entry of a stream is a lane of its own.
    SplitsStreams => a_stream_is_leased_as_one_lane,
    /// A claim hands out deliveries of any client.
    ClaimsAnyClient => a_claim_stays_within_its_clients,
    /// A settlement may come from anybody.
    SettlesForAnybody => a_settlement_stays_within_its_clients,
    /// Everybody may look at everything.
    ShowsEverything => looking_stays_within_its_clients,
    /// An edit may come from anybody.
    EditsForAnybody => an_edit_stays_within_its_clients,
    /// Attempts are missing in traces.
    HidesAttempts => a_trace_tells_every_step_in_order,
    /// Expiry, death and replay are missing in traces.
    HidesDeath => a_trace_tells_expiry_death_and_replay,
    /// Edits are missing in traces.
    HidesEdits => a_trace_tells_an_edit,
    /// What waits in a stream is missing in traces.
    HidesTheWaiting => a_stream_event_waits_in_its_trace,
    /// The acceptance is in a trace once per queue.
    RepeatsAcceptances => a_trace_tells_an_acceptance_once,
    /// A sweep drops what is young as well.
    SweepsTheYoung => a_sweep_drops_what_is_old_and_keeps_the_rest,
    /// A sweep takes everything at once.
    SweepsWithoutBound => a_sweep_is_bounded,
    /// Definitions that a call made are lost at the next start.
    ForgetsDefinitions => definitions_survive_reopening,
    /// A queue that is not configured any more goes on taking events.
    KeepsBindings => a_queue_without_configuration_empties_and_disappears,
    /// Queues that hold nothing are missing where all are told of.
    HidesEmptyQueues => the_states_of_all_queues_are_told_at_once,
    /// Where all queues are told of, each has the figures of the next one.
    ShiftsStates => the_states_of_all_queues_are_told_at_once,
    /// In the figures of queues what is under a lease is ready.
    FreesWhatIsLeased => the_states_of_all_queues_are_told_at_once,
    /// A queue that holds deliveries may be said to be of the other kind.
    TakesAnyKind => a_queue_with_deliveries_keeps_its_kind,
    /// What a process does is told to no other.
    TellsNobody => what_another_process_does_is_told,
    /// A process sees nothing of what others do after it was started.
    KeepsToItself => a_delivery_is_with_one_of_several_processes,
}

/// Opens twins with one fault, over the reference engine.
pub struct TwinFactory {
    fault: Fault,
    place: Mutex<ModelPlace>,
    /// The place as it was before the last append.
    before: Arc<Mutex<ModelPlace>>,
}

impl TwinFactory {
    /// A factory with an empty place.
    pub fn new(fault: Fault) -> Self {
        Self { fault, place: Mutex::default(), before: Arc::default() }
    }
}

#[async_trait]
impl Factory for TwinFactory {
    async fn open(&self) -> Result<Arc<dyn Engine>, String> {
        let place = {
            let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
            if self.fault == Fault::LosesTheLastCommit {
                *place = self.before.lock().unwrap_or_else(PoisonError::into_inner).copy();
            }
            if self.fault == Fault::KeepsToItself { place.copy() } else { place.clone() }
        };
        if self.fault == Fault::ForgetsLeases {
            let expire = vec![Op::Expire { limit: usize::MAX }];
            place.engine().commit(expire, Timestamp::MAX).await.map_err(|err| err.to_string())?;
        }
        Ok(Arc::new(Twin {
            fault: self.fault,
            inner: Arc::new(place.engine()),
            place,
            before: Arc::clone(&self.before),
            memory: Mutex::default(),
        }))
    }
}
