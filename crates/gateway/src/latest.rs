//! The latest row of a key.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use orderwire_api::extract::Segments;
use orderwire_api::problem::shown;
use orderwire_api::{Caller, Problem, ReadProblems};
use orderwire_store::{
    Cell, Column, Compare, Count, Dataset, Filter, Nulls, Operand, OrderBy, RowSink, Select,
};
use orderwire_types::Right;
use orderwire_types::dataset::{Field, FieldType};
use orderwire_types::envelope::parse_rfc3339;
use orderwire_types::row::{parse_date, parse_uuid};

use crate::datasets::find;
use crate::problems::invalid;
use crate::state::Shared;

/// How long the read may take.
const TIME_OUT: Duration = Duration::from_secs(10);

/// The latest row of a key: by the dataset's time, else by arrival. The key is
/// the value of the dataset's key columns aside from its time, joined by commas
/// where there are several.
#[utoipa::path(get, path = "/v1/datasets/{dataset}/latest/{key}", tag = "datasets",
    params(("dataset" = String, Path, description = "the dataset"), ("key" = String, Path, description = "the key"),
        ("orderwire-client" = Option<String>, Header, description = "rows of this client only")),
    responses((status = 200, description = "the row", body = serde_json::Value), ReadProblems))]
pub(crate) async fn get_latest(
    State(state): State<Shared>,
    caller: Caller,
    Segments((name, key)): Segments<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.require(Right::Read)?;
    let scope = caller.narrowed(&headers)?;
    let dataset = find(&state, &caller, &name)?;
    let found = Arc::new(Mutex::new(None));
    let sink = Latest { names: names(&dataset), found: Arc::clone(&found) };
    let select = select(&dataset, &key)?;
    state.store().select(&scope, select, Box::new(sink), TIME_OUT).await.map_err(Problem::of_store)?;
    let row = found.lock().unwrap_or_else(PoisonError::into_inner).take();
    match row {
        Some(row) => Ok(([(header::CONTENT_TYPE, "application/json")], row).into_response()),
        None => Err(Problem::not_found(format!("dataset {name} has no row of the key {}", shown(&key)))),
    }
}

fn names(dataset: &Dataset) -> Vec<String> {
    dataset.def.fields.iter().map(|field| field.name.to_string()).collect()
}

fn select(dataset: &Dataset, key: &str) -> Result<Select, Problem> {
    let fields: Vec<&Field> = dataset
        .def
        .key
        .iter()
        .filter(|name| Some(*name) != dataset.def.time.as_ref())
        .filter_map(|name| dataset.def.field(name.as_str()))
        .collect();
    if fields.is_empty() {
        let detail = format!(
            "dataset {} has no key beside its time, so that no row is the latest of one",
            dataset.name
        );
        return Err(Problem::conflict(detail));
    }
    let values: Vec<&str> = if fields.len() == 1 { vec![key] } else { key.split(',').collect() };
    if values.len() != fields.len() {
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        return Err(invalid("", format!("the path: the key is {}, joined by commas", names.join(","))));
    }
    let conditions = fields.iter().zip(values).map(|(field, value)| {
        let operand = operand(field.field_type, value).ok_or_else(|| {
            invalid("", format!("the path: {} is no value of the column {}", shown(value), field.name))
        })?;
        Ok(Filter::Compare { column: field.name.as_str().into(), compare: Compare::Eq(operand) })
    });
    let conditions = conditions.collect::<Result<Vec<_>, Problem>>()?;
    let latest = |column: &str| OrderBy { column: column.into(), descending: true, nulls: Nulls::Last };
    let mut order: Vec<OrderBy> = dataset.def.time.iter().map(|time| latest(time.as_str())).collect();
    order.push(latest("_seq"));
    Ok(Select {
        dataset: dataset.name.clone(),
        columns: names(dataset).into_iter().map(|name| Column::named(name.as_str(), name.as_str())).collect(),
        filter: Filter::And(conditions),
        latest: Vec::new(),
        order,
        limit: 1,
        offset: 0,
        count: Count::None,
    })
}

fn operand(field_type: FieldType, value: &str) -> Option<Operand> {
    match field_type {
        FieldType::Text => (!value.contains('\0')).then(|| Operand::Text(value.to_owned())),
        FieldType::Integer => value.parse().ok().map(Operand::Integer),
        FieldType::Float => value.parse().ok().filter(|float: &f64| float.is_finite()).map(Operand::Float),
        FieldType::Boolean => value.parse().ok().map(Operand::Boolean),
        FieldType::Timestamp => parse_rfc3339(value).map(Operand::Timestamp),
        FieldType::Decimal => value.parse().ok().map(Operand::Decimal),
        FieldType::Date => parse_date(value).map(Operand::Date),
        FieldType::Uuid => parse_uuid(value).map(Operand::Uuid),
        FieldType::Json | FieldType::Texts => None,
    }
}

/// Keeps the first row as a JSON object.
struct Latest {
    names: Vec<String>,
    found: Arc<Mutex<Option<Vec<u8>>>>,
}

impl RowSink for Latest {
    fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        let mut row = Vec::with_capacity(256);
        row.push(b'{');
        for (name, cell) in self.names.iter().zip(cells) {
            if row.len() > 1 {
                row.push(b',');
            }
            write(&mut row, name);
            row.push(b':');
            match cell {
                Cell::Null => row.extend_from_slice(b"null"),
                Cell::Text(text) => write(&mut row, text),
                Cell::Integer(integer) => write(&mut row, &integer),
                Cell::Float(float) => write(&mut row, &float),
                Cell::Boolean(boolean) => write(&mut row, &boolean),
                Cell::Timestamp(moment) => write(&mut row, &moment),
                Cell::Uuid(uuid) => write(&mut row, &uuid),
                Cell::Decimal(number) => row.extend_from_slice(number.to_string().as_bytes()),
                Cell::Date(date) => write(&mut row, &date),
                Cell::Json(json) | Cell::Texts(json) => row.extend_from_slice(json.as_bytes()),
            }
        }
        row.push(b'}');
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(row);
        true
    }
}

fn write<T: serde::Serialize + ?Sized>(row: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(row, value).expect("a cell is always JSON");
}
