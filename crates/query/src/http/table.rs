//! Rows as a table, in every form that has one.

use bytes::Bytes;
use orderwire_parquet::{Column, Kind};
use orderwire_types::Scope;
use orderwire_types::dataset::FieldType;

use super::Service;
use super::headers::Media;
use crate::dialect::{ColumnType, Columns};
use crate::error::{Error, ErrorKind};
use crate::read::{Plan, Read, latest, rows};
use crate::sink::{CsvRows, Failed, Frame, JsonRows, LineRows, ParquetRows, Shape};

/// Reads rows in a form; `frame` stands around those of JSON.
pub(super) async fn read(
    service: &Service,
    scope: &Scope,
    plan: Plan,
    columns: &Columns,
    media: Media,
    frame: Frame,
) -> Result<(Read, Bytes), Error> {
    keyed(service, scope, plan, columns, 0, media, frame).await
}

/// As [`read`], where the first `cells` columns are a key, of which the first row alone is shown.
pub(super) async fn keyed(
    service: &Service,
    scope: &Scope,
    plan: Plan,
    columns: &Columns,
    cells: usize,
    media: Media,
    frame: Frame,
) -> Result<(Read, Bytes), Error> {
    let shown = &plan.select.columns[cells..];
    match media {
        Media::Json | Media::Single => {
            let shape = JsonRows::new(shown, frame);
            shaped(service, scope, plan, cells, shape).await
        }
        Media::Csv => {
            let shape = CsvRows::new(shown);
            shaped(service, scope, plan, cells, shape).await
        }
        Media::Lines => {
            let shape = LineRows::new(shown);
            shaped(service, scope, plan, cells, shape).await
        }
        Media::Parquet => {
            let mut typed = Vec::with_capacity(shown.len());
            for column in shown {
                typed.push(Column { name: column.alias.clone(), kind: kind(columns.type_of(&column.name)) });
            }
            let failed = Failed::default();
            let shape = ParquetRows::new(&typed, failed.clone());
            let answer = shaped(service, scope, plan, cells, shape).await?;
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

async fn shaped<S: Shape>(
    service: &Service,
    scope: &Scope,
    plan: Plan,
    cells: usize,
    shape: S,
) -> Result<(Read, Bytes), Error> {
    if cells == 0 {
        rows(service, scope, plan, shape).await
    } else {
        latest(service, scope, plan, cells, shape).await
    }
}

/// What a column is in Parquet. What has no form of its own there is its text.
fn kind(of: Option<ColumnType>) -> Kind {
    match of {
        Some(ColumnType::Field(FieldType::Integer)) => Kind::Integer,
        Some(ColumnType::Field(FieldType::Float)) => Kind::Float,
        Some(ColumnType::Field(FieldType::Boolean)) => Kind::Boolean,
        Some(ColumnType::Field(FieldType::Timestamp)) => Kind::Timestamp,
        Some(ColumnType::Field(FieldType::Json)) => Kind::Json,
        _ => Kind::Text,
    }
}
