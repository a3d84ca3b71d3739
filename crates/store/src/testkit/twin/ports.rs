//! The ports of a twin: each call as it is, unless its fault is there.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use crate::{
    ClientChange, ClientRecord, Clients, Dataset, Datasets, Defined, Error, ErrorKind, Imported, KeyRecord,
    Keys, Lineage, Link, Loss, Recording, RowSink, RowsEvent, RowsRecorded, Select, Selected, Source, Sweep,
    TraceView, Traces, Turn, Turns,
};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use orderwire_types::dataset::DatasetDef;
use orderwire_types::step::TraceRecord;
use orderwire_types::{Client, DatasetName, EventId, RawJson, Scope};
use uuid::Uuid;

use super::sink::{Faulty, Nothing};
use super::{Fault, Twin, rewrite};

impl Twin {
    /// Does the pieces of an import as the fault has it.
    async fn change_imports(&self, recording: &mut Recording) -> Result<(), Error> {
        for event in &mut recording.events {
            let Some(import) = &mut event.import else { continue };
            let scope = Scope::internal("twin");
            let known = self.inner.imported(&scope, &event.dataset, &event.client, &import.file).await?.rows;
            let first = i64::try_from(import.first).unwrap();
            let passed_over = match self.fault {
                Fault::PassesOverWholePieces => import.first < known,
                Fault::PassesOverLatePieces => self.count.fetch_max(first, SeqCst) > first,
                _ => false,
            };
            match self.fault {
                Fault::ForgetsImports => event.import = None,
                Fault::MixesFiles => "the file".clone_into(&mut import.file),
                _ => {}
            }
            if passed_over {
                event.rows = RawJson::parse("[]".to_owned()).unwrap();
                event.import = None;
            }
        }
        Ok(())
    }
}

impl Twin {
    /// Has events remembered as the fault has it.
    fn change_memory(&self, recording: &mut Recording) {
        let from_broker = recording.source == Source::Broker;
        for event in &mut recording.events {
            match self.fault {
                Fault::ForgetsEvents => event.remembered = false,
                Fault::RemembersAll => event.remembered = true,
                Fault::RemembersBrokersAlone => event.remembered &= from_broker,
                Fault::ForgetsWithTheDataset => {
                    let scope = Scope::internal("twin");
                    event.remembered &= self.inner.dataset(&scope, &event.dataset).is_some();
                }
                // As if a filter of few bits were all that is asked.
                Fault::TrustsTheFilter => {
                    event.event_id.0 = Uuid::from_u128(event.event_id.0.as_u128() >> 121);
                }
                // Beside the transaction: before it is known whether the event is recorded,
                // and nothing of it is stored.
                Fault::RemembersFirst | Fault::RemembersInMemory if event.remembered => {
                    event.remembered = self.fault == Fault::RemembersFirst;
                    if !self.apart.lock().unwrap().insert(event.event_id) {
                        event.rows = RawJson::parse("[]".to_owned()).unwrap();
                    }
                }
                _ => {}
            }
        }
    }
}

#[async_trait]
impl Datasets for Twin {
    async fn evolve(
        &self,
        scope: &Scope,
        name: &DatasetName,
        def: &DatasetDef,
        loss: Loss,
        now: Timestamp,
    ) -> Result<Defined, Error> {
        let changed = rewrite::definition(self.fault, def);
        let loss = if self.fault == Fault::AllowsLoss { Loss::Allowed } else { loss };
        let there = self.inner.dataset(scope, name);
        let relaxed = |old: &Dataset| {
            old.def.fields.iter().any(|field| {
                field.required && def.field(field.name.as_str()).is_some_and(|next| !next.required)
            })
        };
        if self.fault == Fault::KeepsRequired && there.as_deref().is_some_and(relaxed) {
            return Err(Error::new(ErrorKind::Conflict, "a column stays required"));
        }
        if self.fault == Fault::MakesChangedDatasetsAnew && there.is_some_and(|there| there.def != *def) {
            self.inner.remove(scope, name).await?;
        }
        match (self.fault, self.inner.evolve(scope, name, &changed, loss, now).await) {
            (Fault::HidesConflicts, Err(error)) if error.kind() == ErrorKind::Conflict => {
                Ok(Defined::Changed)
            }
            (Fault::TakesFaultyDefinitions, Err(error)) if error.kind() == ErrorKind::Invalid => {
                Ok(Defined::Created)
            }
            (_, result) => result,
        }
    }

    fn dataset(&self, scope: &Scope, name: &DatasetName) -> Option<Arc<Dataset>> {
        self.inner.dataset(&rewrite::scope(self.fault, scope), name)
    }

    fn datasets(&self, scope: &Scope) -> Vec<Arc<Dataset>> {
        self.inner.datasets(&rewrite::scope(self.fault, scope))
    }

    async fn remove(&self, scope: &Scope, name: &DatasetName) -> Result<(), Error> {
        let there = self.inner.dataset(scope, name).is_some();
        if self.fault == Fault::NeverRemoves && there {
            return Ok(());
        }
        self.inner.remove(scope, name).await
    }

    async fn record(&self, mut recording: Recording) -> Result<Vec<RowsRecorded>, Error> {
        if self.fault == Fault::LosesEveryTenth && self.count.fetch_add(1, SeqCst) % 10 == 0 {
            return Ok(vec![RowsRecorded { rows: 1, written: 1, repeated: false }]);
        }
        if self.fault == Fault::StampsLate {
            recording.now += SignedDuration::from_secs(1);
        }
        if self.fault == Fault::ReadsThePastAsThePresent {
            recording.events.iter_mut().for_each(|event| event.accepted_at += SignedDuration::from_hours(1));
        }
        let is_long = |event: &RowsEvent| {
            let dataset = self.inner.dataset(&Scope::internal("twin"), &event.dataset);
            dataset.is_some_and(|there| !there.def.key.is_empty()) && event.rows.get().len() > 1_000
        };
        if self.fault == Fault::RefusesLongKeys && recording.events.iter().any(is_long) {
            return Err(Error::new(ErrorKind::Invalid, "a key is too long for an index"));
        }
        self.change_imports(&mut recording).await?;
        self.change_memory(&mut recording);
        let result = self.inner.record(recording.clone()).await;
        if self.fault == Fault::HidesRepetitions {
            return result
                .map(|done| done.into_iter().map(|done| RowsRecorded { repeated: false, ..done }).collect());
        }
        let Err(error) = result else { return result };
        match (self.fault, error.kind()) {
            (Fault::WritesRepeatedBatches, ErrorKind::Conflict) => {
                let from = self.inner.position(&recording.reader).await?;
                let source = Source::Stream { from, to: from };
                self.inner.record(Recording { source, ..recording }).await
            }
            (Fault::CommitsHalfBatches, _) => {
                recording.events.truncate(error.entry().unwrap_or_default());
                let stays = |from| Source::Stream { from, to: from };
                let source = match recording.source {
                    Source::Stream { from, .. } => stays(from),
                    Source::Broker => Source::Broker,
                };
                self.inner.record(Recording { source, ..recording }).await?;
                Err(error)
            }
            (Fault::NamesNoEntry, kind) => Err(Error::new(kind, error.to_string())),
            (Fault::HidesFaultyRows, ErrorKind::Invalid) => Ok(Vec::new()),
            _ => Err(error),
        }
    }

    async fn position(&self, reader: &str) -> Result<i64, Error> {
        match self.fault {
            Fault::LosesPosition => Ok(0),
            _ => self.inner.position(reader).await,
        }
    }

    async fn skip(&self, reader: &str, from: i64, to: i64) -> Result<(), Error> {
        let from = match self.fault {
            Fault::SkipsFromAnywhere => self.inner.position(reader).await?,
            _ => from,
        };
        self.inner.skip(reader, from, to).await
    }

    async fn imported(
        &self,
        scope: &Scope,
        name: &DatasetName,
        client: &Client,
        file: &str,
    ) -> Result<Imported, Error> {
        let file = if self.fault == Fault::MixesFiles { "the file" } else { file };
        let imported = self.inner.imported(scope, name, client, file).await?;
        let lines = if self.fault == Fault::CountsToTheGap { imported.rows } else { imported.lines };
        Ok(Imported { lines, ..imported })
    }

    async fn select(
        &self,
        scope: &Scope,
        select: Select,
        sink: Box<dyn RowSink>,
        time_out: Duration,
    ) -> Result<(Selected, Box<dyn RowSink>), Error> {
        let fault = self.fault;
        let scope = rewrite::scope(fault, scope);
        let select = rewrite::select(fault, select);
        let sink = Box::new(Faulty { inner: sink, fault });
        let time_out = if fault == Fault::IgnoresTimeOut { Duration::from_secs(3_600) } else { time_out };
        let inner = self.inner.clone();
        let reading = async move { inner.select(&scope, select, sink, time_out).await };
        let result = match fault {
            Fault::ReadsOnWhenDropped => tokio::spawn(reading).await.unwrap(),
            _ => reading.await,
        };
        match (fault, result) {
            (Fault::CountsThePage, Ok((selected, sink))) => {
                let total = selected.total.map(|_| selected.rows);
                Ok((Selected { total, ..selected }, sink))
            }
            (Fault::HidesWrongReads, Err(error)) if error.kind() == ErrorKind::Invalid => {
                Ok((Selected { rows: 0, total: None, cut: false }, Box::new(Nothing)))
            }
            (_, result) => result,
        }
    }

    fn id(&self) -> Uuid {
        if self.fault == Fault::NamesItselfAnew { Uuid::now_v7() } else { self.inner.id() }
    }

    fn generation(&self, name: &DatasetName) -> u64 {
        let generation = self.inner.generation(name);
        if self.fault == Fault::StaleGeneration { generation.min(1) } else { generation }
    }

    async fn sweep(&self, mut sweep: Sweep) -> Result<u64, Error> {
        let now = sweep.now;
        match self.fault {
            Fault::SweepsWithoutLimit => sweep.limit = usize::MAX,
            Fault::NeverSweepsRows => sweep.now = Timestamp::UNIX_EPOCH,
            Fault::NeverSweepsTraces => sweep.traces_before = Timestamp::UNIX_EPOCH,
            Fault::NeverForgetsEvents => sweep.remembered_before = Timestamp::UNIX_EPOCH,
            Fault::ForgetsEventsEarly => sweep.remembered_before = now,
            _ => {}
        }
        let swept = self.inner.sweep(sweep).await?;
        if self.fault == Fault::CountsAnewWhenEmpty && swept > 0 {
            let scope = Scope::internal("twin");
            for dataset in self.inner.datasets(&scope) {
                self.inner.remove(&scope, &dataset.name).await?;
                self.inner.define(&scope, &dataset.name, &dataset.def, now).await?;
            }
        }
        Ok(swept)
    }
}

#[async_trait]
impl Clients for Twin {
    async fn change_clients(&self, changes: &[ClientChange]) -> Result<(), Error> {
        let mut changes = changes.to_vec();
        for change in &mut changes {
            let count = self.count.fetch_add(1, SeqCst) + 1;
            match self.fault {
                Fault::NullIsAValue => {
                    let text = change.attributes.get().replace("null", "\"null\"");
                    change.attributes = RawJson::parse(text).unwrap();
                }
                Fault::AppliesChangesAgain => change.event_id = EventId(Uuid::now_v7()),
                Fault::LastArrivalWins => change.at += SignedDuration::from_hours(count),
                _ => {}
            }
        }
        if self.fault == Fault::CommitsHalfBatches {
            for change in &changes {
                self.inner.change_clients(std::slice::from_ref(change)).await?;
            }
            return Ok(());
        }
        self.inner.change_clients(&changes).await
    }

    async fn client(&self, scope: &Scope, client: &Client) -> Result<Option<ClientRecord>, Error> {
        self.inner.client(&rewrite::scope(self.fault, scope), client).await
    }

    async fn clients(
        &self,
        scope: &Scope,
        after: Option<&Client>,
        max: usize,
    ) -> Result<Vec<ClientRecord>, Error> {
        self.inner.clients(&rewrite::scope(self.fault, scope), after, max).await
    }
}

#[async_trait]
impl Keys for Twin {
    async fn add_key(&self, key: &KeyRecord) -> Result<(), Error> {
        let mut key = key.clone();
        if self.fault == Fault::NoObjectsAreAll {
            key.objects = key.objects.filter(|objects| !objects.is_empty());
        }
        match (self.fault, self.inner.add_key(&key).await) {
            (Fault::HidesTakenIds, Err(error)) if error.kind() == ErrorKind::Conflict => Ok(()),
            (_, result) => result,
        }
    }

    async fn key(&self, id: &str) -> Result<Option<KeyRecord>, Error> {
        self.inner.key(id).await
    }

    async fn keys(&self) -> Result<Vec<KeyRecord>, Error> {
        self.inner.keys().await
    }

    async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<(), Error> {
        if self.fault == Fault::ForgetsRevocation && self.inner.key(id).await?.is_some() {
            return Ok(());
        }
        self.inner.revoke_key(id, now).await
    }
}

#[async_trait]
impl Traces for Twin {
    async fn add_steps(&self, records: &[TraceRecord]) -> Result<(), Error> {
        self.inner.add_steps(records).await
    }

    async fn add_links(&self, links: &[Link]) -> Result<(), Error> {
        self.inner.add_links(links).await
    }

    async fn lineage(&self, scope: &Scope, events: &[Uuid], links_max: usize) -> Result<Lineage, Error> {
        let scope = rewrite::scope(self.fault, scope);
        let mut lineage = self.inner.lineage(&scope, events, links_max).await?;
        match self.fault {
            Fault::FindsNearLinksOnly => {
                let is_near = |link: &Link| events.contains(&link.effect.0) || events.contains(&link.cause.0);
                lineage.links.retain(is_near);
            }
            Fault::FindsEffectsOnly => lineage.links.retain(|link| !events.contains(&link.effect.0)),
            Fault::HidesCuts => lineage.cut = false,
            _ => {}
        }
        Ok(lineage)
    }

    async fn trace(&self, scope: &Scope, trace: Uuid) -> Result<TraceView, Error> {
        let mut view = self.inner.trace(&rewrite::scope(self.fault, scope), trace).await?;
        match self.fault {
            Fault::StepsBackwards => view.steps.reverse(),
            Fault::RecordsWithoutTrace => view.steps.retain(|step| step.role != "recorder"),
            _ => {}
        }
        Ok(view)
    }
}

#[async_trait]
impl Turns for Twin {
    async fn turn(&self, name: &str) -> Turn {
        let anew = format!("{name} {}", self.count.fetch_add(1, SeqCst));
        let name: &str = if self.fault == Fault::GivesTurnsToAll { &anew } else { name };
        self.inner.turn(name).await
    }
}
