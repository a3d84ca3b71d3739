//! Conditions: `col=op.value`, and trees of `and` and `or`.

use orderwire_types::array;

use super::field::Field;
use super::params::shorten;
use super::scan::Scan;
use super::{Condition, Each, Is, Operator, Test};
use crate::error::Error;

/// How much of a query is left to be spent.
pub(super) struct Budget {
    pub(super) depth: usize,
    pub(super) conditions: usize,
    pub(super) values: usize,
}

impl Budget {
    pub(super) fn condition(&mut self) -> Result<(), Error> {
        self.conditions = self.conditions.checked_sub(1).ok_or_else(|| {
            Error::syntax("the query has too many conditions")
                .hint("use in.(…) for many values of one column")
        })?;
        Ok(())
    }

    fn value(&mut self) -> Result<(), Error> {
        self.values = self
            .values
            .checked_sub(1)
            .ok_or_else(|| Error::syntax("the query has too many values in in.(…)"))?;
        Ok(())
    }
}

/// `column=condition`.
pub(super) fn horizontal(column: &str, text: &str, budget: &mut Budget) -> Result<Condition, Error> {
    budget.condition()?;
    let mut scan = Scan::new(text);
    let condition = test(Field::of(column)?, &mut scan, Place::Alone, budget)?;
    if scan.is_done() { Ok(condition) } else { Err(scan.fault("the end")) }
}

/// `and=(…)`, `or=(…)`, `not.and=(…)`, `not.or=(…)`.
pub(super) fn group(negated: bool, all: bool, text: &str, budget: &mut Budget) -> Result<Condition, Error> {
    let mut scan = Scan::new(text);
    let group = members(negated, all, &mut scan, budget, 1)?;
    scan.spaces();
    if scan.is_done() { Ok(group) } else { Err(scan.fault("the end")) }
}

fn members(
    negated: bool,
    all: bool,
    scan: &mut Scan<'_>,
    budget: &mut Budget,
    depth: usize,
) -> Result<Condition, Error> {
    if depth > budget.depth {
        return Err(Error::syntax(format!("and/or nest deeper than {} levels", budget.depth)));
    }
    scan.spaces();
    if !scan.take("(") {
        return Err(scan.fault("'('"));
    }
    let mut of = Vec::new();
    loop {
        of.push(member(scan, budget, depth)?);
        scan.spaces();
        if scan.take(")") {
            return Ok(Condition::Group { negated, all, of });
        }
        if !scan.take(",") {
            return Err(scan.fault("',' or ')'"));
        }
    }
}

fn member(scan: &mut Scan<'_>, budget: &mut Budget, depth: usize) -> Result<Condition, Error> {
    budget.condition()?;
    scan.spaces();
    for (prefix, negated, all) in
        [("and(", false, true), ("or(", false, false), ("not.and(", true, true), ("not.or(", true, false)]
    {
        if scan.rest().starts_with(prefix) {
            scan.take(&prefix[..prefix.len() - 1]);
            return members(negated, all, scan, budget, depth + 1);
        }
    }
    let expected = |scan: &Scan<'_>| {
        scan.fault("a condition such as column.eq.value").hint("put names with dots in double quotes")
    };
    if scan.peek().is_none_or(|next| matches!(next, '.' | ',' | '(' | ')')) {
        return Err(expected(scan));
    }
    let column = Field::read(scan, &['.', ',', '(', ')'])?;
    if !scan.take(".") {
        return Err(expected(scan));
    }
    test(column, scan, Place::Group, budget)
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// The value reaches to the end, quotes and commas included.
    Alone,
    /// The value ends before `,` or `)`, unless it is quoted.
    Group,
}

fn test(field: Field, scan: &mut Scan<'_>, place: Place, budget: &mut Budget) -> Result<Condition, Error> {
    let negated = scan.take("not.");
    let column = &field.name;
    let name = scan.until(&['.', '(', ',', ')']);
    let supported = || {
        let names: Vec<&str> = Operator::ALL.iter().map(|(name, _)| *name).collect();
        format!("operators are {}, in, is, each also with not. before it", names.join(", "))
    };
    let known = matches!(name, "in" | "is") || Operator::of(name).is_some();
    if known && scan.rest().starts_with('(') {
        let test = each(column, name, scan, place, budget)?;
        return Ok(Condition::Test { column: field, negated, test });
    }
    if !known || !scan.take(".") {
        let message = if known {
            format!("operator {name} of column {column:?} has no value; write {name}.value")
        } else {
            format!("column {column:?} has no known operator ({:?}); write column=eq.value", shorten(name))
        };
        return Err(Error::syntax(message).details(supported()));
    }
    let test = match name {
        "in" => Test::In(list(scan, budget)?),
        "is" => {
            let word = value(scan, place);
            Test::Is(Is::of(&word).ok_or_else(|| {
                Error::syntax(format!(
                    "is.{} of column {column:?}: is takes null, not_null, true, false or unknown",
                    shorten(&word)
                ))
            })?)
        }
        _ => Test::Binary(Operator::of(name).expect("known, and neither in nor is"), value(scan, place)),
    };
    Ok(Condition::Test { column: field, negated, test })
}

/// `op(any).{a,b}`, behind the operator.
fn each(
    column: &str,
    name: &str,
    scan: &mut Scan<'_>,
    place: Place,
    budget: &mut Budget,
) -> Result<Test, Error> {
    let refused = |what: &str| {
        Error::syntax(format!("operator {name}(…) of column {column:?}: {what}")).hint(
            "write op(any).{a,b} or op(all).{a,b} with eq, gt, gte, lt, lte, like, ilike, match or imatch",
        )
    };
    let operator = Operator::of(name).filter(|operator| operator.takes_each());
    let operator = operator.ok_or_else(|| refused("this operator takes no modifier"))?;
    let written = Each::ALL.iter().find(|(word, _)| scan.take(&format!("({word})")));
    let each = written.ok_or_else(|| refused("the modifiers are any and all"))?.1;
    if !scan.take(".") {
        return Err(refused("it has no value"));
    }
    let list = value(scan, place);
    let values = array::from_literal(&list)
        .map_err(|wrong| refused(&format!("{:?} is no list of values: it needs {wrong}", shorten(&list))))?;
    for _ in &values {
        budget.value()?;
        // Of equality with one of many there is one condition.
        if (operator, each) != (Operator::Eq, Each::Any) {
            budget.condition()?;
        }
    }
    Ok(Test::Each(operator, each, values))
}

fn value(scan: &mut Scan<'_>, place: Place) -> String {
    match place {
        Place::Alone => scan.everything().to_owned(),
        Place::Group => scan
            .quoted_before(&[',', ')'])
            .or_else(|| scan.braced_before(&[',', ')']))
            .unwrap_or_else(|| scan.until(&[',', ')']).to_owned()),
    }
}

/// `(a,b,"c,d")`; `()` has no value.
fn list(scan: &mut Scan<'_>, budget: &mut Budget) -> Result<Vec<String>, Error> {
    scan.spaces();
    if !scan.take("(") {
        return Err(scan.fault("a list such as in.(a,b)"));
    }
    if scan.take(")") {
        return Ok(Vec::new());
    }
    let mut values = Vec::new();
    loop {
        budget.value()?;
        values.push(match scan.quoted_before(&[',', ')']) {
            Some(text) => text,
            None => scan.until(&[',', ')']).to_owned(),
        });
        if scan.take(")") {
            return Ok(values);
        }
        if !scan.take(",") {
            return Err(scan.fault("',' or ')'"));
        }
    }
}
