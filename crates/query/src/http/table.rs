//! Rows as a table, in every form that has one.

use bytes::Bytes;
use orderwire_parquet::{Column, Kind};
use orderwire_store::typed::Kind as Stored;
use orderwire_types::Scope;
use orderwire_types::dataset::DatasetDef;

use super::Service;
use super::headers::Media;
use crate::dialect::Cast;
use crate::error::{Error, ErrorKind};
use crate::read::{Plan, Read, rows};
use crate::sink::{CsvRows, Failed, Frame, JsonRows, LineRows, ParquetRows};

/// Reads rows in a form; `frame` stands around those of JSON.
pub(super) async fn read(
    service: &Service,
    scope: &Scope,
    plan: Plan,
    def: &DatasetDef,
    media: Media,
    frame: Frame,
) -> Result<(Read, Bytes), Error> {
    let shown = &plan.select.columns[..plan.changes.shown.unwrap_or(plan.select.columns.len())];
    match media {
        Media::Json | Media::Single => {
            let shape = JsonRows::new(shown, frame);
            rows(service, scope, plan, shape).await
        }
        Media::Csv => {
            let shape = CsvRows::new(shown);
            rows(service, scope, plan, shape).await
        }
        Media::Lines => {
            let shape = LineRows::new(shown);
            rows(service, scope, plan, shape).await
        }
        Media::Parquet => {
            let mut typed = Vec::with_capacity(shown.len());
            for (place, column) in shown.iter().enumerate() {
                let kind = match plan.changes.casts.get(place).copied().flatten() {
                    Some(cast) => casted(cast),
                    None => kind(column.value.kind(def)?),
                };
                typed.push(Column { name: column.alias.clone(), kind });
            }
            let failed = Failed::default();
            let shape = ParquetRows::new(&typed, failed.clone());
            let answer = rows(service, scope, plan, shape).await?;
            match failed.take() {
                None => Ok(answer),
                Some(detail) => {
                    let message = format!("the rows cannot be written as Parquet: {detail}");
                    Err(Error::new(ErrorKind::Invalid, "PGRST100", message))
                }
            }
        }
    }
}

/// What a column is in Parquet. What has no form of its own there is its text.
fn kind(of: Stored) -> Kind {
    match of {
        Stored::Integer => Kind::Integer,
        Stored::Float => Kind::Float,
        Stored::Boolean => Kind::Boolean,
        Stored::Timestamp => Kind::Timestamp,
        Stored::Json => Kind::Json,
        Stored::Text | Stored::Decimal | Stored::Date | Stored::Uuid | Stored::Texts => Kind::Text,
    }
}

/// The same of what a column is cast to.
fn casted(to: Cast) -> Kind {
    match to {
        Cast::Integer => Kind::Integer,
        Cast::Float => Kind::Float,
        Cast::Boolean => Kind::Boolean,
        Cast::Timestamp => Kind::Timestamp,
        Cast::Json => Kind::Json,
        Cast::Text | Cast::Date => Kind::Text,
    }
}
