//! Broken twins: engines that each break one promise. They keep the suite
//! honest: a case that a twin passes checks nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_types::queue::QueueDef;
use orderwire_types::scope::Clients;
use orderwire_types::{Client, QueueName};
use uuid::Uuid;

use super::Factory;
use super::model::ModelPlace;
use crate::engine::{
    Append, Capabilities, Claim, Committed, Engine, LaneKey, NewEntry, Op, Origin, Outcome, Settle, Settled,
};
use crate::error::{Error, ErrorKind};
use crate::model::{DeadFilter, DeadPage, Delivery, Entry, Position, QueueState, Settlement, TraceView};

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $fault:ident => $case:ident,)+) => {
        /// What a twin does wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($(#[doc = $doc])+ $fault,)+
        }

        impl Fault {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$fault,)+];

            /// The name of the case that has to notice it.
            pub fn noticed_by(self) -> &'static str {
                match self {
                    $(Self::$fault => stringify!($case),)+
                }
            }
        }
    };
}

faults! {
    /// The last acknowledged commit before a reopening is lost.
    LosesTheLastCommit => acknowledged_events_survive_reopening,
    /// An event reaches only the first of its queues.
    FansOutInPart => fan_out_reaches_every_queue_or_none,
    /// One refused operation refuses all, although they happened.
    SpreadsRefusals => a_refused_operation_leaves_the_others_alone,
    /// Named ids are not remembered.
    ForgetsNamedIds => named_events_are_remembered,
    /// Every id is remembered, named or not.
    RemembersUnnamedIds => unnamed_events_are_not_remembered,
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
    /// The oldest client is always served first.
    ServesTheFirstClientOnly => clients_take_turns,
    /// The same, seen by one who came later.
    ServesTheFirstClientFirst => one_event_is_not_delayed_by_a_hundred_thousand,
    /// Leases never run out.
    NeverExpires => an_expired_lease_is_delivered_again,
    /// An ack after the lease is taken for good.
    AcksLostLeases => a_late_ack_is_reported_and_not_applied,
    /// Nobody is told when the next lease runs out.
    NamesNoExpiry => a_commit_names_the_next_expiry,
    /// A pause does not pause.
    IgnoresPauses => a_paused_queue_hands_out_nothing,
    /// An extension is acknowledged, and forgotten.
    IgnoresExtensions => an_extended_lease_holds_its_lane,
    /// The expiry takes everything at once.
    ExpiresWithoutBound => expiry_is_done_in_bounded_pieces,
    /// A retry comes at once.
    IgnoresDelays => a_retry_waits_for_its_delay,
    /// Every attempt is the first.
    ForgetsAttempts => attempts_are_counted_and_bounded,
    /// Those behind a retry were tried as well.
    CountsThoseBehind => a_retry_returns_those_behind_it,
    /// A release is a retry.
    CountsReleases => a_release_takes_its_attempt_back,
    /// What failed for good is gone.
    DropsTheDeadLetter => a_dead_letter_tells_everything,
    /// The filter of dead letters is not looked at.
    IgnoresFilters => dead_letters_are_selected_by_filter,
    /// A replay puts two deliveries back.
    ReplaysTwice => a_replayed_letter_comes_once_and_last,
    /// A discard is acknowledged, and forgotten.
    IgnoresDiscards => discarded_letters_are_gone,
    /// A read ignores its bound of bytes.
    ReadsWithoutBound => a_stream_is_read_in_order_and_in_bounds,
    /// An advance goes one entry too far.
    AdvancesTooFar => an_advance_frees_what_is_done_and_no_more,
    /// An advance believes any position.
    BelievesAnyPosition => an_advance_frees_what_is_done_and_no_more,
    /// A burial takes everything before along.
    BuriesThoseBefore => a_buried_entry_leaves_those_around_it,
    /// A claim hands out deliveries of any client.
    ClaimsAnyClient => a_claim_stays_within_its_clients,
    /// A settlement may come from anybody.
    SettlesForAnybody => a_settlement_stays_within_its_clients,
    /// Everybody may look at everything.
    ShowsEverything => looking_stays_within_its_clients,
    /// Attempts are missing in traces.
    HidesAttempts => a_trace_tells_every_step_in_order,
    /// Expiry, death and replay are missing in traces.
    HidesDeath => a_trace_tells_expiry_death_and_replay,
    /// A sweep drops what is young as well.
    SweepsTheYoung => a_sweep_drops_what_is_old_and_keeps_the_rest,
    /// A sweep takes everything at once.
    SweepsWithoutBound => a_sweep_is_bounded,
    /// Definitions that a call made are lost at the next start.
    ForgetsDefinitions => definitions_survive_reopening,
    /// A queue that is not configured any more goes on taking events.
    KeepsBindings => a_queue_without_configuration_empties_and_disappears,
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
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if self.fault == Fault::LosesTheLastCommit {
            *place = self.before.lock().unwrap_or_else(PoisonError::into_inner).copy();
        }
        Ok(Arc::new(Twin {
            fault: self.fault,
            inner: Arc::new(place.engine()),
            place: place.clone(),
            before: Arc::clone(&self.before),
            memory: Mutex::default(),
        }))
    }
}

/// An engine with a fault.
struct Twin {
    fault: Fault,
    inner: Arc<dyn Engine>,
    place: ModelPlace,
    before: Arc<Mutex<ModelPlace>>,
    memory: Mutex<Memory>,
}

/// What some twins keep in mind.
#[derive(Default)]
struct Memory {
    clients: Vec<Client>,
    leased: HashMap<QueueName, Vec<Delivery>>,
    tries: HashMap<Position, u32>,
    bindings: HashMap<QueueName, QueueDef>,
}

impl Twin {
    fn memory<T>(&self, with: impl FnOnce(&mut Memory) -> T) -> T {
        with(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last position that was given out.
    fn last_position(&self) -> Position {
        self.place.last_position()
    }

    /// The operation that is done instead.
    fn distort(&self, op: Op) -> Op {
        match (self.fault, op) {
            (Fault::FansOutInPart, Op::Append(append)) => each(append, |entry| entry.queues.truncate(1)),
            (Fault::ForgetsNamedIds, Op::Append(append)) => each(append, |entry| entry.named = false),
            (Fault::RemembersUnnamedIds, Op::Append(append)) => each(append, |entry| entry.named = true),
            (Fault::ForgetsRequests, Op::Append(append)) => Op::Append(Append { request: None, ..append }),
            (Fault::IgnoresFingerprints, Op::Append(mut append)) => {
                if let Some(request) = &mut append.request {
                    request.fingerprint = [0; 16];
                }
                Op::Append(append)
            }
            (Fault::ServesTheFirstClientOnly | Fault::ServesTheFirstClientFirst, Op::Append(append)) => {
                self.memory(|memory| {
                    for entry in &append.entries {
                        if !memory.clients.contains(&entry.client) {
                            memory.clients.push(entry.client.clone());
                        }
                    }
                });
                Op::Append(append)
            }
            (Fault::ServesTheFirstClientOnly | Fault::ServesTheFirstClientFirst, Op::Claim(claim)) => {
                let first = self.memory(|memory| memory.clients.first().cloned());
                let clients = first.map_or(Clients::All, |client| Clients::Only([client].into()));
                Op::Claim(Claim { clients, ..claim })
            }
            (Fault::ClaimsAnyClient, Op::Claim(claim)) => Op::Claim(Claim { clients: Clients::All, ..claim }),
            (Fault::NeverExpires, Op::Expire { .. }) => Op::Expire { limit: 0 },
            (Fault::ExpiresWithoutBound, Op::Expire { .. }) => Op::Expire { limit: usize::MAX },
            (Fault::IgnoresPauses, Op::Pause { queue, .. }) => Op::Pause { queue, paused: false },
            (Fault::IgnoresDiscards, Op::Discard { principal, reason, .. }) => {
                Op::Discard { ids: Vec::new(), principal, reason }
            }
            (Fault::AdvancesTooFar, Op::Advance { queue, to }) => {
                Op::Advance { queue, to: Position(to.0 + 1) }
            }
            (Fault::BelievesAnyPosition, Op::Advance { queue, to }) => {
                Op::Advance { queue, to: to.min(self.last_position()) }
            }
            (Fault::SweepsTheYoung, Op::Sweep(mut sweep)) => {
                sweep.remembered_before = Timestamp::MAX;
                sweep.dead_before = Timestamp::MAX;
                Op::Sweep(sweep)
            }
            (Fault::SweepsWithoutBound, Op::Sweep(mut sweep)) => {
                sweep.limit = usize::MAX;
                Op::Sweep(sweep)
            }
            (_, Op::Settle(settle)) => Op::Settle(self.distort_settle(settle)),
            (Fault::SettlesForAnybody, Op::Extend { queue, delivery, until, .. }) => {
                Op::Extend { queue, delivery, clients: Clients::All, until }
            }
            (_, op) => op,
        }
    }

    fn distort_settle(&self, mut settle: Settle) -> Settle {
        settle.settlement = match (self.fault, settle.settlement) {
            (Fault::IgnoresDelays, Settlement::Retry { cause, .. }) => {
                Settlement::Retry { delay: Some(Duration::ZERO), cause }
            }
            (Fault::CountsReleases, Settlement::Release) => {
                Settlement::Retry { delay: Some(Duration::ZERO), cause: "released".to_owned() }
            }
            (Fault::DropsTheDeadLetter, Settlement::Fail { .. }) => Settlement::Ack,
            (_, settlement) => settlement,
        };
        if self.fault == Fault::SettlesForAnybody {
            settle.clients = Clients::All;
        }
        settle
    }

    /// The outcome that is reported instead.
    fn misreport(&self, asked: &Op, outcome: Result<Outcome, Error>) -> Result<Outcome, Error> {
        match (self.fault, asked, outcome) {
            (Fault::AcksLostLeases, Op::Settle(settle), Err(err))
                if err.kind() == ErrorKind::LeaseLost && settle.settlement == Settlement::Ack =>
            {
                Ok(Outcome::Settled(Settled::Acked))
            }
            (Fault::DropsTheDeadLetter, Op::Settle(settle), Ok(Outcome::Settled(Settled::Acked)))
                if settle.settlement != Settlement::Ack =>
            {
                Ok(Outcome::Settled(Settled::Dead))
            }
            (Fault::IgnoresDiscards, Op::Discard { ids, .. }, Ok(_)) => Ok(Outcome::Count(ids.len() as u64)),
            (_, Op::Claim(claim), Ok(Outcome::Claimed(deliveries))) => {
                Ok(Outcome::Claimed(self.miscount(&claim.queue, deliveries)))
            }
            (.., outcome) => outcome,
        }
    }

    fn miscount(&self, queue: &QueueName, mut deliveries: Vec<Delivery>) -> Vec<Delivery> {
        match self.fault {
            Fault::HandsOutBackwards => deliveries.reverse(),
            Fault::ForgetsAttempts => deliveries.iter_mut().for_each(|delivery| delivery.attempt = 1),
            Fault::CountsThoseBehind => self.memory(|memory| {
                for delivery in &mut deliveries {
                    let tries = memory.tries.entry(delivery.id.position).or_default();
                    *tries += 1;
                    delivery.attempt = *tries;
                }
            }),
            Fault::SharesLanes => self.memory(|memory| {
                let leased = memory.leased.entry(queue.clone()).or_default();
                if deliveries.is_empty() {
                    deliveries.clone_from(leased);
                } else {
                    leased.clone_from(&deliveries);
                }
            }),
            _ => {}
        }
        deliveries
    }

    /// Further operations that nobody asked for.
    async fn extra(&self, op: &Op) -> Result<Vec<Op>, Error> {
        match (self.fault, op) {
            (Fault::ReplaysTwice, Op::Replay { ids, .. }) => {
                let filter = DeadFilter { ids: Some(ids.clone()), ..DeadFilter::default() };
                let page = self.inner.dead(&Clients::All, &filter, 0, 100).await?;
                let entries = page.items.into_iter().map(|letter| NewEntry {
                    event_id: letter.event_id,
                    named: false,
                    event_type: letter.event_type,
                    client: letter.client,
                    trace: letter.trace,
                    accepted_at: letter.died_at,
                    principal: "twin".to_owned(),
                    queues: vec![(letter.queue, LaneKey::Alone)],
                    body: letter.body,
                });
                Ok(vec![Op::Append(Append { entries: entries.collect(), request: None })])
            }
            (Fault::BuriesThoseBefore, Op::Bury { queue, position, .. }) => {
                Ok(vec![Op::Advance { queue: queue.clone(), to: *position }])
            }
            _ => Ok(Vec::new()),
        }
    }
}

#[async_trait]
impl Engine for Twin {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn declare(&self, queues: &[(QueueName, QueueDef)], origin: Origin) -> Result<(), Error> {
        if self.fault == Fault::ForgetsDefinitions && origin == Origin::Call {
            self.memory(|memory| memory.bindings.extend(queues.iter().cloned()));
            return Ok(());
        }
        if self.fault == Fault::KeepsBindings {
            self.memory(|memory| memory.bindings.extend(queues.iter().cloned()));
        }
        self.inner.declare(queues, origin).await
    }

    async fn definitions(&self) -> Result<Vec<(QueueName, QueueDef)>, Error> {
        let mut definitions = self.inner.definitions().await?;
        if self.fault == Fault::ForgetsDefinitions {
            definitions.extend(self.memory(|memory| memory.bindings.clone()));
        }
        if self.fault == Fault::KeepsBindings {
            self.memory(|memory| {
                for (name, def) in &mut definitions {
                    if let Some(bound) = memory.bindings.get(name) {
                        def.types.clone_from(&bound.types);
                    }
                }
            });
        }
        Ok(definitions)
    }

    async fn commit(&self, asked: Vec<Op>, now: Timestamp) -> Result<Committed, Error> {
        if self.fault == Fault::LosesTheLastCommit {
            *self.before.lock().unwrap_or_else(PoisonError::into_inner) = self.place.copy();
        }
        if self.fault == Fault::IgnoresExtensions && matches!(asked.as_slice(), [Op::Extend { .. }]) {
            let outcomes = vec![Ok(Outcome::Done)];
            return Ok(Committed { outcomes, ..Committed::default() });
        }
        let mut extra = Vec::new();
        for op in &asked {
            extra.extend(self.extra(op).await?);
        }
        let count = asked.len();
        let ops = asked.iter().cloned().map(|op| self.distort(op)).chain(extra).collect();
        let mut committed = self.inner.commit(ops, now).await?;
        committed.outcomes.truncate(count);
        let outcomes = asked.iter().zip(committed.outcomes);
        committed.outcomes = outcomes.map(|(op, outcome)| self.misreport(op, outcome)).collect();
        if self.fault == Fault::SpreadsRefusals
            && let Some(refusal) =
                committed.outcomes.iter().find_map(|outcome| outcome.as_ref().err().cloned())
        {
            committed.outcomes = committed.outcomes.iter().map(|_| Err(refusal.clone())).collect();
        }
        match self.fault {
            Fault::NamesNoReadyQueue => committed.ready.clear(),
            Fault::NamesNoExpiry => committed.next_expiry = None,
            _ => {}
        }
        Ok(committed)
    }

    async fn state(&self, queue: &QueueName) -> Result<QueueState, Error> {
        self.inner.state(queue).await
    }

    async fn peek(
        &self,
        queue: &QueueName,
        clients: &Clients,
        max: usize,
    ) -> Result<Vec<(u32, Entry)>, Error> {
        let all = &Clients::All;
        self.inner.peek(queue, if self.fault == Fault::ShowsEverything { all } else { clients }, max).await
    }

    async fn read(
        &self,
        queue: &QueueName,
        after: Position,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, Error> {
        let max_bytes = if self.fault == Fault::ReadsWithoutBound { usize::MAX } else { max_bytes };
        self.inner.read(queue, after, max, max_bytes).await
    }

    async fn dead(
        &self,
        clients: &Clients,
        filter: &DeadFilter,
        after: i64,
        max: usize,
    ) -> Result<DeadPage, Error> {
        let everything = DeadFilter::default();
        let filter = if self.fault == Fault::IgnoresFilters { &everything } else { filter };
        self.inner.dead(clients, filter, after, max).await
    }

    async fn trace(&self, trace: Uuid, clients: &Clients) -> Result<TraceView, Error> {
        let mut view = self.inner.trace(trace, clients).await?;
        match self.fault {
            Fault::HidesAttempts => view.steps.retain(|step| step.step != "attempt"),
            Fault::HidesDeath => {
                view.steps.retain(|step| !matches!(step.step.as_str(), "dead-lettered" | "replayed"));
            }
            _ => {}
        }
        Ok(view)
    }
}

fn each(mut append: Append, change: impl FnMut(&mut NewEntry)) -> Op {
    append.entries.iter_mut().for_each(change);
    Op::Append(append)
}
