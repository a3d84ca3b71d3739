//! The table of one dataset: names, types, and the statements that make and fill it.
//!
//! It lies in the schema `data` under the dataset's own name, with columns of real types,
//! so that a person with psql reads it as it is. Its primary key is the declared key, with
//! the client first; without one it is `_seq`. A table is only partitioned where its definition
//! says so ([`partitions`](super::partitions)): a primary key of a partitioned table holds the
//! column that it is partitioned by, and a declared key need not hold the time.
//!
//! PostgreSQL keeps no column that is named as one of its own; such a one has an
//! underscore before its name, which no name of a definition begins with.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use orderwire_store::typed::{HIDDEN, Kind};
use orderwire_types::dataset::{DatasetDef, Field, FieldType, OnConflict};
use orderwire_types::row::Reader;
use orderwire_types::{ColumnName, DatasetName, Limits};
use tokio_postgres::types::Type;

/// The type in PostgreSQL. Not `jsonb`, which keeps neither the order of members nor
/// how a number was written.
pub(super) fn sql_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Integer => "bigint",
        Kind::Float => "double precision",
        Kind::Boolean => "boolean",
        Kind::Decimal => "numeric",
        Kind::Timestamp => "timestamptz",
        Kind::Date => "date",
        Kind::Json => "json",
        Kind::Uuid => "uuid",
        Kind::Texts => "text[]",
    }
}

/// The type of an answer as the wire names it.
pub(super) fn wire_type(kind: Kind) -> Type {
    match kind {
        Kind::Text | Kind::Texts => Type::TEXT,
        Kind::Decimal => Type::NUMERIC,
        Kind::Date => Type::DATE,
        Kind::Integer => Type::INT8,
        Kind::Float => Type::FLOAT8,
        Kind::Boolean => Type::BOOL,
        Kind::Timestamp => Type::TIMESTAMPTZ,
        Kind::Json => Type::JSON,
        Kind::Uuid => Type::UUID,
    }
}

/// The type as a column is declared.
pub(super) fn declared(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text COLLATE \"C\"",
        Kind::Texts => "text[] COLLATE \"C\"",
        other => sql_type(other),
    }
}

/// The columns that PostgreSQL gives every table.
const SYSTEM: [&str; 6] = ["ctid", "cmax", "cmin", "tableoid", "xmax", "xmin"];

/// The name that a column has in its table.
fn attribute(name: &str) -> String {
    let before = if SYSTEM.contains(&name) { "_" } else { "" };
    format!("{before}{name}")
}

/// A name as an identifier. What is passed here was found in a definition, so
/// that it holds no quote; doubling keeps that from mattering.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A column as an identifier.
pub(super) fn quoted(name: &str) -> String {
    identifier(&attribute(name))
}

/// The table of a dataset, as an identifier.
pub(super) fn table_name(name: &DatasetName) -> String {
    format!("data.{}", identifier(name.as_str()))
}

/// A text within a statement that takes no values. Backslashes mean nothing there
/// with `standard_conforming_strings`, which the transaction sets.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "''"))
}

/// The statements that make the table of a new dataset, without its indexes.
pub(super) fn create(name: &DatasetName, def: &DatasetDef) -> String {
    let table = table_name(name);
    let mut columns: Vec<String> =
        HIDDEN.iter().map(|(name, kind)| format!("{name} {} NOT NULL", declared(*kind))).collect();
    columns.extend(def.columns().map(|field| {
        let not_null = if field.required { " NOT NULL" } else { "" };
        format!("{} {}{not_null}", quoted(field.name.as_str()), declared(field.field_type.into()))
    }));
    let key = primary_key(def);
    let mut sql = format!("CREATE TABLE {table} ({}, PRIMARY KEY {})", columns.join(", "), list(&key));
    if let (Some(_), Some(time)) = (def.partition, &def.time) {
        push(&mut sql, format_args!(" PARTITION BY RANGE ({})", quoted(time.as_str())));
    }
    sql.push_str(";\n");
    push(
        &mut sql,
        format_args!("COMMENT ON TABLE {table} IS 'A dataset of Orderwire, which alone writes it.';\n"),
    );
    for field in def.columns() {
        describe(&mut sql, &table, field);
    }
    sql
}

/// What is known of a column beyond its type, for people.
pub(super) fn comment(field: &Field) -> Option<String> {
    match (&field.description, &field.unit) {
        (Some(description), Some(unit)) => Some(format!("{description} [{unit}]")),
        (Some(description), None) => Some(description.clone()),
        (None, Some(unit)) => Some(format!("[{unit}]")),
        (None, None) => None,
    }
}

pub(super) fn describe(sql: &mut String, table: &str, field: &Field) {
    let comment = comment(field).map_or_else(|| "NULL".to_owned(), |comment| literal(&comment));
    push(sql, format_args!("COMMENT ON COLUMN {table}.{} IS {comment};\n", quoted(field.name.as_str())));
}

/// The columns of the table that name a row, the client among them.
fn key(def: &DatasetDef) -> Vec<String> {
    std::iter::once("_client".to_owned()).chain(def.key.iter().map(|name| attribute(name.as_str()))).collect()
}

/// The columns of the primary key.
fn primary_key(def: &DatasetDef) -> Vec<String> {
    if !def.key.is_empty() {
        return key(def);
    }
    // That of partitions holds the column that they are made by.
    let time = def.time.as_ref().filter(|_| def.partition.is_some());
    std::iter::once("_seq".to_owned()).chain(time.map(|time| attribute(time.as_str()))).collect()
}

/// Columns of a table as a list of identifiers.
fn list(columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| identifier(column)).collect();
    format!("({})", columns.join(", "))
}

/// The columns of each index that there should be beside the primary key:
///
/// | of | for |
/// |---|---|
/// | `_seq`, unless it is the primary key | the rows of all clients in order of arrival |
/// | client and `_seq` | the rows of a client in order of arrival |
/// | key | the rows of all clients by key |
/// | client and time | the rows of a client by time |
/// | time, unless the key begins with it | the rows of all clients by time; the sweep |
///
/// They run upward, though most reads want what is newest first: a read that runs down
/// sorts rows of the same moment only.
pub(super) fn indexes(def: &DatasetDef) -> BTreeSet<Vec<String>> {
    let of = |columns: &[&str]| columns.iter().map(|&column| column.to_owned()).collect::<Vec<_>>();
    let mut indexes = BTreeSet::from([of(&["_client", "_seq"])]);
    if !def.key.is_empty() {
        indexes.insert(of(&["_seq"]));
        indexes.insert(key(def).split_off(1));
    }
    if let Some(time) = &def.time {
        let column = attribute(time.as_str());
        indexes.insert(of(&["_client", &column]));
        if def.key.first() != Some(time) {
            indexes.insert(of(&[&column]));
        }
    }
    // The primary key begins so, too.
    indexes.remove(&key(def));
    indexes
}

/// The statement that makes such an index.
pub(super) fn index(name: &DatasetName, columns: &[String]) -> String {
    format!("CREATE INDEX ON {} {};\n", table_name(name), list(columns))
}

/// What a table is filled with.
#[derive(Debug)]
pub(super) struct Filler {
    /// Reads rows.
    pub(super) reader: Reader,
    /// Reads rows of earlier definitions.
    pub(super) past: Reader,
    /// Inserts rows from arrays: the moment of the record, the hidden columns but that one,
    /// then the others. Returns the `_seq` of those that it wrote where some may stay out.
    pub(super) insert: String,
    /// What happens to a row whose key is there; none without a key.
    pub(super) on_conflict: Option<OnConflict>,
    /// Where the columns of the key stand among those that are no hidden ones.
    pub(super) key: Vec<usize>,
    /// Where the time does.
    pub(super) time: Option<usize>,
}

impl Filler {
    pub(super) fn new(name: &DatasetName, def: &DatasetDef, limits: &Limits) -> Self {
        let place = |column: &ColumnName| def.columns().position(|field| field.name == *column);
        let reader = Reader::new(def, limits).for_recording();
        Self {
            past: reader.for_the_past(),
            reader,
            insert: insert(name, def),
            on_conflict: (!def.key.is_empty()).then_some(def.on_conflict),
            key: def.key.iter().filter_map(place).collect(),
            time: def.time.as_ref().and_then(place),
        }
    }
}

fn insert(name: &DatasetName, def: &DatasetDef) -> String {
    let fields: Vec<String> = def.columns().map(|field| quoted(field.name.as_str())).collect();
    let mut sql =
        format!("INSERT INTO {} (_recorded_at, _seq, _client, _event_id, _trace_id", table_name(name));
    for field in &fields {
        push(&mut sql, format_args!(", {field}"));
    }
    sql.push_str(") SELECT $1, ");
    let is_list = |field: &Field| field.field_type == FieldType::Texts;
    let lists = def.columns().any(is_list);
    if lists {
        sql.push_str("seq, client, event_id, trace_id");
        for (i, field) in def.columns().enumerate() {
            push(&mut sql, format_args!(", f{i}{}", if is_list(field) { "::text[]" } else { "" }));
        }
    } else {
        sql.push_str("rows.*");
    }
    sql.push_str(" FROM unnest($2::bigint[], $3::text[], $4::uuid[], $5::uuid[]");
    for (i, field) in def.columns().enumerate() {
        // Lists of different lengths are no array: each comes as its literal.
        let kind = if is_list(field) { "text" } else { sql_type(field.field_type.into()) };
        push(&mut sql, format_args!(", ${}::{kind}[]", i + 6));
    }
    sql.push_str(") AS rows");
    if lists {
        sql.push_str(" (seq, client, event_id, trace_id");
        (0..fields.len()).for_each(|i| push(&mut sql, format_args!(", f{i}")));
        sql.push(')');
    }
    if def.key.is_empty() {
        return sql;
    }
    let key = list(&key(def));
    match def.on_conflict {
        OnConflict::Keep => push(&mut sql, format_args!(" ON CONFLICT {key} DO NOTHING RETURNING _seq")),
        OnConflict::Update => {
            let hidden = ["_recorded_at", "_seq", "_event_id", "_trace_id"].map(str::to_owned);
            let set: Vec<String> =
                hidden.iter().chain(&fields).map(|column| format!("{column} = excluded.{column}")).collect();
            push(&mut sql, format_args!(" ON CONFLICT {key} DO UPDATE SET {}", set.join(", ")));
        }
    }
    sql
}

/// Appends to a statement.
pub(super) fn push(sql: &mut String, arguments: std::fmt::Arguments<'_>) {
    sql.write_fmt(arguments).expect("writing to a string cannot fail");
}
