//! The datasets' port.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_store::{
    Dataset, Datasets, Defined, Error, Imported, Loss, Recording, RowSink, RowsRecorded, Select, Selected,
    Sweep, evolve,
};
use orderwire_types::dataset::DatasetDef;
use orderwire_types::{Client, DatasetName, Scope};
use uuid::Uuid;

use super::catalogue::touches;
use super::error::not_found;
use super::open::SqliteStore;
use super::{define, imports, record, select, sweep};

#[async_trait]
impl Datasets for SqliteStore {
    async fn evolve(
        &self,
        scope: &Scope,
        name: &DatasetName,
        def: &DatasetDef,
        loss: Loss,
        now: Timestamp,
    ) -> Result<Defined, Error> {
        evolve::check(name, def)?;
        if !touches(scope, name) {
            return Err(not_found(format!("defining dataset {name}: there is none")));
        }
        let (name, def) = (name.clone(), def.clone());
        self.write_alone("defining a dataset", move |transaction| {
            define::define(transaction, &name, &def, loss, now)
        })
        .await
    }

    fn dataset(&self, scope: &Scope, name: &DatasetName) -> Option<Arc<Dataset>> {
        self.catalogue.visible(scope, name).map(|entry| entry.dataset.clone())
    }

    fn datasets(&self, scope: &Scope) -> Vec<Arc<Dataset>> {
        let visible = self.catalogue.all().into_iter().filter(|entry| touches(scope, &entry.dataset.name));
        visible.map(|entry| entry.dataset.clone()).collect()
    }

    async fn remove(&self, scope: &Scope, name: &DatasetName) -> Result<(), Error> {
        if !touches(scope, name) {
            return Err(not_found(format!("removing dataset {name}: there is none")));
        }
        let name = name.clone();
        self.write_alone("removing a dataset", move |transaction| define::remove(transaction, &name)).await
    }

    async fn record(&self, recording: Recording) -> Result<Vec<RowsRecorded>, Error> {
        self.write("recording rows", move |transaction| record::record(transaction, &recording)).await
    }

    async fn position(&self, reader: &str) -> Result<i64, Error> {
        let reader = reader.to_owned();
        self.write("reading a position", move |transaction| {
            Ok(record::position(transaction.connection, &reader)?)
        })
        .await
    }

    async fn skip(&self, reader: &str, from: i64, to: i64) -> Result<(), Error> {
        let reader = reader.to_owned();
        self.write("skipping an entry", move |transaction| {
            record::move_position(transaction.connection, &reader, from, to)
        })
        .await
    }

    async fn imported(
        &self,
        scope: &Scope,
        name: &DatasetName,
        client: &Client,
        file: &str,
    ) -> Result<Imported, Error> {
        if !scope.covers(client) || self.catalogue.visible(scope, name).is_none() {
            return Ok(Imported::default());
        }
        let (name, client, file) = (name.clone(), client.clone(), file.to_owned());
        self.look_up("counting imported rows", move |connection| {
            imports::count(connection, &name, &client, &file)
        })
        .await
    }

    async fn select(
        &self,
        scope: &Scope,
        select: Select,
        sink: Box<dyn RowSink>,
        time_out: Duration,
    ) -> Result<(Selected, Box<dyn RowSink>), Error> {
        select::select(self, scope, select, sink, time_out).await
    }

    fn id(&self) -> Uuid {
        self.catalogue.id()
    }

    fn generation(&self, name: &DatasetName) -> u64 {
        self.catalogue.get(name).map_or(0, |entry| entry.generation())
    }

    async fn sweep(&self, sweep: Sweep) -> Result<u64, Error> {
        self.write("sweeping the store", move |transaction| sweep::sweep(transaction, &sweep)).await
    }
}
