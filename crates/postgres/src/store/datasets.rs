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
use super::open::PostgresStore;
use super::session::{read, write};
use super::{define, imports, record, select, sweep};

#[async_trait]
impl Datasets for PostgresStore {
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
        define::define(&self.shared, name, def, loss, now).await
    }

    fn dataset(&self, scope: &Scope, name: &DatasetName) -> Option<Arc<Dataset>> {
        self.shared.catalogue.visible(scope, name).map(|entry| entry.dataset.clone())
    }

    fn datasets(&self, scope: &Scope) -> Vec<Arc<Dataset>> {
        let all = self.shared.catalogue.all().into_iter();
        all.filter(|entry| touches(scope, &entry.dataset.name)).map(|entry| entry.dataset.clone()).collect()
    }

    async fn remove(&self, scope: &Scope, name: &DatasetName) -> Result<(), Error> {
        if !touches(scope, name) {
            return Err(not_found(format!("removing dataset {name}: there is none")));
        }
        define::remove(&self.shared, name).await
    }

    async fn record(&self, recording: Recording) -> Result<Vec<RowsRecorded>, Error> {
        record::record(&self.shared, &recording).await
    }

    async fn position(&self, reader: &str) -> Result<i64, Error> {
        read!(&self.shared.database, "reading a position", |session| record::position(session, reader).await)
    }

    async fn skip(&self, reader: &str, from: i64, to: i64) -> Result<(), Error> {
        write!(&self.shared.database, "skipping an entry", |session| record::move_position(
            session, reader, from, to
        )
        .await)
    }

    async fn imported(
        &self,
        scope: &Scope,
        name: &DatasetName,
        client: &Client,
        file: &str,
    ) -> Result<Imported, Error> {
        // No file of which something was recorded has NUL in its name.
        if !scope.covers(client)
            || self.shared.catalogue.visible(scope, name).is_none()
            || file.contains('\0')
        {
            return Ok(Imported::default());
        }
        read!(&self.shared.database, "counting imported rows", |session| imports::count(
            session, name, client, file
        )
        .await)
    }

    async fn select(
        &self,
        scope: &Scope,
        select: Select,
        sink: Box<dyn RowSink>,
        time_out: Duration,
    ) -> Result<(Selected, Box<dyn RowSink>), Error> {
        select::select(&self.shared, scope, select, sink, time_out).await
    }

    fn generation(&self, name: &DatasetName) -> u64 {
        self.shared.catalogue.get(name).map_or(0, |entry| entry.generation())
    }

    fn id(&self) -> Uuid {
        self.id
    }

    async fn sweep(&self, sweep: Sweep) -> Result<u64, Error> {
        sweep::sweep(&self.shared, sweep).await
    }
}
