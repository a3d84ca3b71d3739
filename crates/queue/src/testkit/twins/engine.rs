//! A twin as an engine.

use std::sync::PoisonError;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_types::QueueName;
use orderwire_types::queue::QueueDef;
use orderwire_types::scope::Clients;
use uuid::Uuid;

use super::Fault;
use super::twin::Twin;
use crate::engine::{Capabilities, Committed, Elsewhere, Engine, Op, Origin, Outcome};
use crate::error::{Error, ErrorKind};
use crate::model::{
    DeadFilter, DeadPage, DeadRefs, Entry, Figures, Position, QueueState, Settlement, TraceView,
};

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
        match self.inner.declare(queues, origin).await {
            Err(err) if self.fault == Fault::TakesAnyKind && err.kind() == ErrorKind::Conflict => Ok(()),
            declared => declared,
        }
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
        let forgets = match self.fault {
            Fault::IgnoresExtensions => matches!(asked.as_slice(), [Op::Extend { .. }]),
            Fault::IgnoresEdits => matches!(asked.as_slice(), [Op::Edit(_)]),
            _ => false,
        };
        if forgets {
            let outcomes = vec![Ok(Outcome::Done)];
            return Ok(Committed { outcomes, ..Committed::default() });
        }
        let acks = |op: &Op| matches!(op, Op::Settle(settle) if settle.settlement == Settlement::Ack);
        let lost = self.fault == Fault::LosesAnAnswer
            && asked.iter().any(acks)
            && self.memory(|memory| !std::mem::replace(&mut memory.answer_lost, true));
        let mut extra = Vec::new();
        for op in &asked {
            extra.extend(self.extra(op).await?);
        }
        let count = asked.len();
        let mut ops: Vec<Op> = asked.iter().cloned().map(|op| self.distort(op)).chain(extra).collect();
        if self.fault == Fault::EditsBlindly {
            self.see_all(&mut ops).await?;
        }
        let mut committed = self.inner.commit(ops, now).await?;
        if lost {
            return Err(Error::new(ErrorKind::Unconfirmed, "commit: the answer got lost"));
        }
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

    async fn elsewhere(&self) -> Elsewhere {
        match self.fault {
            Fault::TellsNobody => std::future::pending().await,
            _ => self.inner.elsewhere().await,
        }
    }

    async fn state(&self, queue: &QueueName) -> Result<QueueState, Error> {
        let mut state = self.inner.state(queue).await?;
        if self.fault == Fault::KeepsTheOldest {
            state.oldest = self.memory(|memory| {
                memory.oldest = memory.oldest.or(state.oldest);
                memory.oldest
            });
        }
        Ok(state)
    }

    async fn states(&self) -> Result<Vec<QueueState>, Error> {
        let mut states = self.inner.states().await?;
        match self.fault {
            Fault::HidesEmptyQueues => {
                states.retain(|state| state.ready + state.in_flight + state.delayed > 0);
            }
            Fault::ShiftsStates => {
                let before = states.clone();
                for (state, other) in states.iter_mut().zip(before.iter().cycle().skip(1)) {
                    *state = QueueState { name: state.name.clone(), def: state.def.clone(), ..other.clone() };
                }
            }
            _ => {}
        }
        Ok(states)
    }

    async fn figures(&self) -> Result<Vec<(QueueName, Figures)>, Error> {
        let mut figures = self.inner.figures().await?;
        if self.fault == Fault::FreesWhatIsLeased {
            figures.iter_mut().for_each(|(_, held)| held.ready += std::mem::take(&mut held.in_flight));
        }
        Ok(figures)
    }

    async fn peek(
        &self,
        queue: &QueueName,
        clients: &Clients,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u32, Entry)>, Error> {
        let clients = if self.fault == Fault::ShowsEverything { &Clients::All } else { clients };
        let max_bytes = if self.fault == Fault::LooksWithoutBound { usize::MAX } else { max_bytes };
        self.inner.peek(queue, clients, max, max_bytes).await
    }

    async fn read(
        &self,
        queue: &QueueName,
        after: Position,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, Error> {
        let max_bytes = if self.fault == Fault::ReadsWithoutBound { usize::MAX } else { max_bytes };
        let mut entries = self.inner.read(queue, after, max, max_bytes).await?;
        if self.fault == Fault::ReusesPositions {
            for entry in &mut entries {
                entry.position = Position((entry.position.0 - 1) % 3 + 1);
            }
        }
        Ok(entries)
    }

    async fn dead(
        &self,
        clients: &Clients,
        filter: &DeadFilter,
        after: i64,
        max: usize,
        max_bytes: usize,
    ) -> Result<DeadPage, Error> {
        let everything = DeadFilter::default();
        let filter = if self.fault == Fault::IgnoresFilters { &everything } else { filter };
        let mut page = self.inner.dead(clients, filter, after, max, max_bytes).await?;
        match self.fault {
            Fault::EndsAfterOnePage => page.next = None,
            Fault::HidesExpiredLetters => page.items.retain(|letter| letter.cause != "the lease ran out"),
            _ => {}
        }
        Ok(page)
    }

    async fn dead_refs(
        &self,
        clients: &Clients,
        filter: &DeadFilter,
        after: i64,
        max: usize,
    ) -> Result<DeadRefs, Error> {
        self.inner.dead_refs(clients, filter, after, max).await
    }

    async fn trace(&self, trace: Uuid, clients: &Clients) -> Result<TraceView, Error> {
        let mut view = self.inner.trace(trace, clients).await?;
        match self.fault {
            Fault::HidesTheWaiting => view.steps.retain(|step| step.outcome != "waiting"),
            Fault::RepeatsAcceptances => {
                let accepted = view.steps.iter().find(|step| step.step == "accepted").cloned();
                view.steps.extend(accepted);
            }
            Fault::HidesAttempts => view.steps.retain(|step| step.step != "attempt"),
            Fault::HidesEdits => view.steps.retain(|step| step.step != "edited"),
            Fault::HidesDeath => {
                view.steps.retain(|step| !matches!(step.step.as_str(), "dead-lettered" | "replayed"));
            }
            _ => {}
        }
        Ok(view)
    }
}
