//! `select` and `order`.

use super::logic::{column_name, refuse_paths};
use super::params::shorten;
use super::scan::Scan;
use super::{Item, Term};
use crate::error::Error;

/// More than the columns of any dataset.
const ITEMS_MAX: usize = 600;

/// `a,b,alias:col,*`.
pub(crate) fn columns_of(text: &str) -> Result<Vec<Item>, Error> {
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
            return Err(unsupported(&scan));
        }
    }
}

fn item(scan: &mut Scan<'_>) -> Result<Item, Error> {
    scan.spaces();
    if scan.take("*") {
        return Ok(Item::All);
    }
    let first = name(scan)?;
    if scan.rest().starts_with(':') && !scan.rest().starts_with("::") {
        scan.take(":");
        return Ok(Item::Column { name: name(scan)?, alias: Some(first) });
    }
    Ok(Item::Column { name: first, alias: None })
}

fn name(scan: &mut Scan<'_>) -> Result<String, Error> {
    if let Some(name) = scan.quoted() {
        return Ok(name);
    }
    let text = scan.until(&[',', ':', '(', ')', '"']).trim();
    refuse_paths(text)?;
    if text.is_empty() || text.starts_with("...") {
        return Err(scan.fault("the name of a column"));
    }
    Ok(text.to_owned())
}

/// What PostgREST allows after a name and is not served here.
fn unsupported(scan: &Scan<'_>) -> Error {
    let rest = scan.rest();
    let what = if rest.starts_with("::") {
        "casts are not supported; values come in the type of their column"
    } else if rest.starts_with("()") {
        "aggregates are not supported"
    } else if rest.starts_with('(') {
        "embedding of other datasets is not supported; read each by itself"
    } else {
        return scan.fault("',' or the end");
    };
    Error::syntax(format!("select: {what}")).details(format!("found {:?}", shorten(rest)))
}

/// `a.desc.nullslast,b`. Names may hold dots, so directions are taken from the end.
pub(crate) fn order_of(text: &str, terms_max: usize) -> Result<Vec<Term>, Error> {
    let mut scan = Scan::new(text);
    let mut terms = Vec::new();
    loop {
        if terms.len() == terms_max {
            return Err(Error::syntax(format!("order names more than {terms_max} columns")));
        }
        terms.push(term(&mut scan)?);
        if scan.is_done() {
            return Ok(terms);
        }
        if !scan.take(",") {
            return Err(scan.fault("',' or the end"));
        }
    }
}

fn term(scan: &mut Scan<'_>) -> Result<Term, Error> {
    scan.spaces();
    let quoted = scan.quoted();
    let text = scan.until(&[',']);
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
    let rest = rest.trim();
    let column = match quoted {
        Some(name) if rest.is_empty() => name,
        None if !rest.is_empty() && !rest.contains(['(', ')', '"']) => column_name(rest)?,
        _ => {
            return Err(Error::syntax(format!("order: {:?} cannot be read", shorten(text)))
                .hint("write column, column.asc or column.desc, with .nullsfirst or .nullslast after it"));
        }
    };
    Ok(Term { column, descending, nulls_first })
}
