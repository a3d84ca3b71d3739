//! What SQLite lacks: regular expressions, lists of texts as sets, and json that contains json.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use orderwire_store::contain::Document;
use orderwire_types::array;
use regex::{Regex, RegexBuilder};
use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;

type Wrong = Box<dyn std::error::Error + Send + Sync>;

/// What a list has to have of others.
type Holds = fn(&Set, &[Cow<'_, str>]) -> bool;

/// The most memory of one expression in use, in bytes.
const EXPRESSION: usize = 8 << 20;

/// Makes known to a connection, all null for a null first argument:
/// - `ow_match(text, expression)`: the expression, in its [common
///   form](orderwire_store::regular), matches a part of the text;
/// - `ow_contains(list, others)`, `ow_contained(list, others)`, `ow_overlaps(list, others)`, of
///   JSON arrays: the list has all of the others, none but them, one of them;
/// - `ow_json_contains(document, other)`, `ow_json_contained(document, other)`: the document
///   [contains](orderwire_store::contain) the other one, is contained in it; null for one that has no such value.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("ow_match", 2, flags, matches)?;
    connection.create_scalar_function("ow_json_contains", 2, flags, |context| {
        documents(context, Document::contains)
    })?;
    connection.create_scalar_function("ow_json_contained", 2, flags, |context| {
        documents(context, |document, other| other.contains(document))
    })?;
    let sets: [(&str, Holds); 3] = [
        ("ow_contains", |others, list| {
            let list: HashSet<&str> = list.iter().map(Cow::as_ref).collect();
            others.0.iter().all(|other| list.contains(other.as_str()))
        }),
        ("ow_contained", |others, list| list.iter().all(|text| others.0.contains(text.as_ref()))),
        ("ow_overlaps", |others, list| list.iter().any(|text| others.0.contains(text.as_ref()))),
    ];
    sets.into_iter().try_for_each(|(name, holds)| {
        connection.create_scalar_function(name, 2, flags, move |context| compared(context, holds))
    })
}

fn matches(context: &Context<'_>) -> rusqlite::Result<Option<bool>> {
    let expression: Arc<Regex> = context.get_or_create_aux(1, |value| -> Result<_, Wrong> {
        let build = RegexBuilder::new(value.as_str()?)
            .dot_matches_new_line(true)
            .size_limit(EXPRESSION)
            .dfa_size_limit(EXPRESSION)
            .build();
        Ok(build?)
    })?;
    match context.get_raw(0) {
        ValueRef::Null => Ok(None),
        text => Ok(Some(expression.is_match(text.as_str()?))),
    }
}

fn documents(
    context: &Context<'_>,
    holds: fn(&Document, &Document) -> bool,
) -> rusqlite::Result<Option<bool>> {
    let other: Arc<Document> = context.get_or_create_aux(1, |value| -> Result<_, Wrong> {
        Ok(Document::read(value.as_str()?).ok_or("no document")?)
    })?;
    match context.get_raw(0) {
        ValueRef::Null => Ok(None),
        document => Ok(Document::read(document.as_str()?).map(|document| holds(&document, &other))),
    }
}

/// The others, read once for a statement.
struct Set(HashSet<String>);

fn compared(context: &Context<'_>, holds: Holds) -> rusqlite::Result<Option<bool>> {
    let others: Arc<Set> = context.get_or_create_aux(1, |value| -> Result<_, Wrong> {
        let texts = array::from_json(value.as_str()?).ok_or("no list of texts")?;
        Ok(Set(texts.into_iter().map(Cow::into_owned).collect()))
    })?;
    match context.get_raw(0) {
        ValueRef::Null => Ok(None),
        list => {
            let list = array::from_json(list.as_str()?)
                .ok_or_else(|| rusqlite::Error::UserFunctionError("a stored list is none".into()))?;
            Ok(Some(holds(&others, &list)))
        }
    }
}
