//! `select` and `order`.

use orderwire_store::Aggregate;
use orderwire_types::dataset::Span;

use super::field::Field;
use super::params::shorten;
use super::scan::Scan;
use super::{Cast, Item, Output, Term};
use crate::error::Error;

/// More than the columns of any dataset.
const ITEMS_MAX: usize = 600;

/// As many columns as a key may have.
const LATEST_MAX: usize = 16;

/// Where an unquoted name ends.
const ENDS: [char; 5] = [',', ':', '(', ')', '"'];

/// `a,b,alias:col,raw->>x::integer,n.sum(),at.bucket(1h),*`.
pub(super) fn columns_of(text: &str) -> Result<Vec<Item>, Error> {
    let mut scan = Scan::new(text);
    let mut items = Vec::new();
    loop {
        if items.len() == ITEMS_MAX {
            return Err(Error::syntax(format!("select names more than {ITEMS_MAX} columns")));
        }
        items.push(item(&mut scan)?);
        scan.spaces();
        if scan.is_done() {
            return Ok(items);
        }
        if !scan.take(",") {
            return Err(scan.fault("',' or the end"));
        }
    }
}

fn item(scan: &mut Scan<'_>) -> Result<Item, Error> {
    scan.spaces();
    if scan.take("*") {
        return Ok(Item::All);
    }
    if scan.rest().starts_with("...") {
        return Err(embedding(scan));
    }
    let mut field = Field::read(scan, &ENDS)?;
    let mut alias = None;
    if field.path.is_empty() && scan.rest().starts_with(':') && !scan.rest().starts_with("::") {
        scan.take(":");
        alias = Some(field.name);
        field = Field::read(scan, &ENDS)?;
    }
    let output = output(scan, field)?;
    let cast = if scan.take("::") { Some(cast(scan)?) } else { None };
    Ok(Item::One { output, cast, alias })
}

/// What is made of a field, where a function follows it.
fn output(scan: &mut Scan<'_>, mut field: Field) -> Result<Output, Error> {
    let function = if scan.take(".") {
        Some(scan.until(&['(', ',', ')', ':']).to_owned())
    } else if field == Field::column("count") && scan.take("()") {
        return Ok(Output::Rows);
    } else if scan.rest().starts_with('(') {
        match field.last_word().and_then(|word| Some((word.rfind('.')?, word))) {
            Some((dot, word)) => {
                let function = word[dot + 1..].to_owned();
                word.truncate(dot);
                Some(function)
            }
            None => return Err(embedding(scan)),
        }
    } else {
        None
    };
    let Some(function) = function else { return Ok(Output::Field(field)) };
    if !scan.take("(") {
        return Err(scan.fault("'('"));
    }
    let argument = scan.until(&[')', ',']).trim();
    if !scan.take(")") {
        return Err(scan.fault("')'"));
    }
    let aggregates = [Aggregate::Count, Aggregate::Sum, Aggregate::Avg, Aggregate::Min, Aggregate::Max];
    if function == "bucket" {
        let span: Span = argument.parse().map_err(|fault| Error::syntax(format!("bucket: {fault}")))?;
        if span.0.is_zero() {
            return Err(Error::syntax("bucket: a bucket of no length holds nothing"));
        }
        return Ok(Output::Bucket(span, field));
    }
    match aggregates.into_iter().find(|aggregate| aggregate.name() == function) {
        Some(aggregate) if argument.is_empty() => Ok(Output::Of(aggregate, field)),
        Some(_) => Err(Error::syntax(format!("select: {function}() takes nothing between its brackets"))),
        None => Err(Error::syntax(format!("select: there is no function {:?}", shorten(&function)))
            .hint("count(), sum(), avg(), min(), max() and bucket(1h) are there")),
    }
}

fn cast(scan: &mut Scan<'_>) -> Result<Cast, Error> {
    let name = scan.until(&[',', '(', ')']).trim();
    if scan.rest().starts_with('(') {
        return Err(Error::syntax("select: a cast before an aggregate is not supported")
            .hint("cast what the aggregate gives: column.sum()::text"));
    }
    Cast::of(name).ok_or_else(|| {
        Error::syntax(format!("select: there is no cast to {:?}", shorten(name)))
            .hint(format!("casts are {}", Cast::names().join(", ")))
    })
}

fn embedding(scan: &Scan<'_>) -> Error {
    Error::syntax("select: embedding of other datasets is not supported; read each by itself")
        .details(format!("found {:?}", shorten(scan.rest())))
}

/// `a,"b,c"`: columns, none of them twice.
pub(super) fn names_of(text: &str) -> Result<Vec<String>, Error> {
    if text.trim().is_empty() {
        return Err(Error::syntax("latest names no column").hint("write latest=column, or leave it out"));
    }
    let mut scan = Scan::new(text);
    let mut names: Vec<String> = Vec::new();
    loop {
        scan.spaces();
        let field = Field::read(&mut scan, &ENDS)?;
        if !field.path.is_empty() {
            return Err(Error::syntax(format!("latest: {field} is a part of a column; it takes columns")));
        }
        if names.contains(&field.name) {
            return Err(Error::syntax(format!("latest names {:?} twice", shorten(&field.name))));
        }
        if names.len() == LATEST_MAX {
            return Err(Error::syntax(format!("latest names more than {LATEST_MAX} columns")));
        }
        names.push(field.name);
        scan.spaces();
        if scan.is_done() {
            return Ok(names);
        }
        if !scan.take(",") {
            return Err(scan.fault("',' or the end"));
        }
    }
}

/// `a.desc.nullslast,raw->>b`. Names may hold dots, so directions are taken from the end.
pub(crate) fn order_of(text: &str, terms_max: usize) -> Result<Vec<Term>, Error> {
    let mut scan = Scan::new(text);
    let mut terms = Vec::new();
    loop {
        if terms.len() == terms_max {
            return Err(Error::syntax(format!("order names more than {terms_max} columns")));
        }
        terms.push(term(scan.until_outside_quotes(','))?);
        if scan.is_done() {
            return Ok(terms);
        }
        if !scan.take(",") {
            return Err(scan.fault("',' or the end"));
        }
    }
}

fn term(text: &str) -> Result<Term, Error> {
    let text = text.trim();
    let (rest, nulls_first) = match (text.strip_suffix(".nullsfirst"), text.strip_suffix(".nullslast")) {
        (Some(rest), _) => (rest, Some(true)),
        (_, Some(rest)) => (rest, Some(false)),
        _ => (text, None),
    };
    let (rest, descending) = match (rest.strip_suffix(".desc"), rest.strip_suffix(".asc")) {
        (Some(rest), _) => (rest, true),
        (_, Some(rest)) => (rest, false),
        _ => (rest, false),
    };
    let column = match Field::of(rest.trim()) {
        Ok(field) if !field.name.contains(['(', ')', '"']) || rest.starts_with('"') => field,
        _ => {
            return Err(Error::syntax(format!("order: {:?} cannot be read", shorten(text)))
                .hint("write column, column.asc or column.desc, with .nullsfirst or .nullslast after it"));
        }
    };
    Ok(Term { column, descending, nulls_first })
}
