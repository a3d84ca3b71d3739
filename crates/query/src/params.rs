//! Parameters of a view: names that its filter uses in the place of values.
//!
//! A value is put into the tree that was parsed from the definition, as one operand: whatever a
//! caller writes, it can be no more than a value.

use std::collections::BTreeMap;

use orderwire_types::dataset::FieldType;
use uuid::Uuid;

use crate::dialect::{ColumnType, Condition, Named, Operator, Test, fits, pairs};
use crate::error::{Error, ErrorKind};

/// A parameter of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamDef {
    /// Its name, in the query string and in the filter (`{name}`).
    pub name: String,
    /// What its values are.
    pub of: FieldType,
    /// Whether it must be given.
    pub required: bool,
    /// What it is when it is not given.
    pub default: Option<String>,
    /// What it means.
    pub description: Option<String>,
}

/// The values of parameters, by name.
pub(crate) type Given = BTreeMap<String, String>;

/// Takes the parameters out of a query string; the rest is a query of its own.
pub(crate) fn take(params: &[ParamDef], text: &str, bytes_max: usize) -> Result<(Given, String), Error> {
    let mut given = Given::new();
    let mut rest: Vec<&str> = Vec::new();
    if text.len() > bytes_max {
        // Said by whoever reads the rest.
        return Ok((given, text.to_owned()));
    }
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        // What has no value is no parameter; the rest of the query says what is wrong with it.
        let named = if pair.contains('=') { pairs(pair, bytes_max)?.pop() } else { None };
        match named {
            Some((name, value)) if params.iter().any(|param| param.name == name) => {
                if given.insert(name.clone(), value).is_some() {
                    return Err(Error::syntax(format!("parameter {name} is given twice")));
                }
            }
            _ => rest.push(pair),
        }
    }
    for param in params {
        match (given.get(&param.name), &param.default) {
            (Some(value), _) => param.check(value)?,
            (None, Some(default)) => {
                given.insert(param.name.clone(), default.clone());
            }
            (None, None) if param.required => {
                let message = format!("the parameter {} is missing", param.name);
                return Err(Error::syntax(message).hint(format!(
                    "say {}=VALUE, a {}",
                    param.name,
                    param.of.as_str()
                )));
            }
            (None, None) => {}
        }
    }
    Ok((given, rest.join("&")))
}

impl ParamDef {
    /// Whether a value is of its type.
    pub(crate) fn check(&self, value: &str) -> Result<(), Error> {
        let named = Named {
            shown: self.name.clone(),
            name: self.name.clone(),
            of: ColumnType::Field(self.of),
            hidden: false,
            nullable: false,
            part: None,
        };
        fits(&named, value).map_err(|_| {
            let message = format!("the parameter {} is a {}: {value:?} is none", self.name, self.of.as_str());
            Error::new(ErrorKind::Invalid, "22P02", message)
        })
    }
}

/// The conditions with values in the place of names. One whose parameter is not given is left
/// out, and so is a group of which nothing is left.
pub(crate) fn bind(conditions: &[Condition], given: &Given) -> Vec<Condition> {
    conditions.iter().filter_map(|condition| bound(condition, given)).collect()
}

fn bound(condition: &Condition, given: &Given) -> Option<Condition> {
    let value = |text: &String| match placeholder(text) {
        Some(name) => given.get(name).cloned(),
        None => Some(text.clone()),
    };
    match condition {
        Condition::Group { negated, all, of } => {
            let of = bind(of, given);
            (!of.is_empty()).then_some(Condition::Group { negated: *negated, all: *all, of })
        }
        Condition::Test { column, negated, test } => {
            let test = match test {
                Test::Binary(operator, text) if takes_list(*operator) => {
                    Test::Binary(*operator, text.clone())
                }
                Test::Binary(operator, text) => Test::Binary(*operator, value(text)?),
                Test::In(texts) => {
                    let bound: Vec<String> = texts.iter().filter_map(value).collect();
                    if bound.is_empty() && !texts.is_empty() {
                        return None;
                    }
                    Test::In(bound)
                }
                other => other.clone(),
            };
            Some(Condition::Test { column: column.clone(), negated: *negated, test })
        }
    }
}

/// Whether what stands in braces behind it is a list.
fn takes_list(operator: Operator) -> bool {
    matches!(operator, Operator::Contains | Operator::ContainedBy | Operator::Overlaps)
}

/// The name in `{name}`.
fn placeholder(text: &str) -> Option<&str> {
    let name = text.strip_prefix('{')?.strip_suffix('}')?;
    is_name(name).then_some(name)
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(allowed)
}

/// What is wrong with the use of parameters in a filter, each with the key of the definition.
pub(crate) fn faults(params: &[ParamDef], conditions: &[Condition]) -> Vec<(&'static str, String)> {
    let mut used = Vec::new();
    let mut faults = Vec::new();
    uses(conditions, &mut |name, pattern| {
        used.push(name.to_owned());
        if pattern {
            faults.push((
                "filter",
                format!("{{{name}}}: a parameter cannot be a pattern; compare with eq or in"),
            ));
        } else if !params.iter().any(|param| param.name == name) {
            let detail = format!(
                "{{{name}}} is no parameter; define it under params, or write {{\"{name}\"}} for a list"
            );
            faults.push(("filter", detail));
        }
    });
    for param in params {
        if !used.contains(&param.name) {
            faults.push(("params", format!("the filter does not use {{{}}}", param.name)));
        }
        if let Some(Err(error)) = param.default.as_deref().map(|default| param.check(default)) {
            faults.push(("params", format!("its default: {}", error.detail())));
        }
    }
    faults
}

fn uses(conditions: &[Condition], found: &mut impl FnMut(&str, bool)) {
    for condition in conditions {
        match condition {
            Condition::Group { of, .. } => uses(of, found),
            Condition::Test { test: Test::Binary(operator, _), .. } if takes_list(*operator) => {}
            Condition::Test { test: Test::Binary(operator, text), .. } => {
                let pattern =
                    matches!(operator, Operator::Like | Operator::ILike | Operator::Match | Operator::IMatch);
                if let Some(name) = placeholder(text) {
                    found(name, pattern);
                }
            }
            Condition::Test { test: Test::In(texts), .. } => {
                texts.iter().filter_map(|text| placeholder(text)).for_each(|name| found(name, false));
            }
            Condition::Test { .. } => {}
        }
    }
}

/// Values of the types of all parameters, so that a filter can be tried.
pub(crate) fn samples(params: &[ParamDef]) -> Given {
    let sample = |param: &ParamDef| match (&param.default, param.of) {
        (Some(default), _) => default.clone(),
        (None, FieldType::Boolean) => "true".to_owned(),
        (None, FieldType::Integer | FieldType::Float | FieldType::Decimal) => "1".to_owned(),
        (None, FieldType::Timestamp) => "2026-01-01T00:00:00Z".to_owned(),
        (None, FieldType::Date) => "2026-01-01".to_owned(),
        (None, FieldType::Uuid) => Uuid::nil().to_string(),
        (None, FieldType::Texts) => "{x}".to_owned(),
        (None, FieldType::Text | FieldType::Json) => "x".to_owned(),
    };
    params.iter().map(|param| (param.name.clone(), sample(param))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{Allowed, Query};
    use crate::options::Options;

    fn param(name: &str, of: FieldType, required: bool, default: Option<&str>) -> ParamDef {
        ParamDef { name: name.into(), of, required, default: default.map(str::to_owned), description: None }
    }

    fn conditions(filter: &str) -> Vec<Condition> {
        Query::parse(filter, (&Options::for_testing()).into(), Allowed::Conditions).unwrap().conditions
    }

    fn shown(conditions: &[Condition]) -> String {
        conditions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn parameters_are_taken_out_of_the_query() {
        let params =
            [param("station", FieldType::Text, true, None), param("n", FieldType::Integer, false, Some("5"))];
        let (given, rest) = take(&params, "no2=gt.1&station=a%26b&limit=3", 1_000).unwrap();
        assert_eq!((given["station"].as_str(), given["n"].as_str()), ("a&b", "5"));
        assert_eq!(rest, "no2=gt.1&limit=3");
        for (query, wanted) in [
            ("limit=3", "station is missing"),
            ("station=a&station=b", "given twice"),
            ("station=a&n=x", "n is a integer"),
            ("station=a&n=1.5", "n is a integer"),
        ] {
            let error = take(&params, query, 1_000).unwrap_err();
            assert!(error.to_string().contains(wanted), "{query}: {error}");
        }
    }

    #[test]
    fn a_value_is_never_more_than_a_value() {
        let given = Given::from([("s".to_owned(), "x),or(n.gt.0".to_owned())]);
        let bound = bind(&conditions("id=eq.{s}&or=(id.in.({s},b),id.eq.{s})"), &given);
        assert_eq!(
            shown(&bound),
            r#""id".eq."x),or(n.gt.0" or("id".in.("x),or(n.gt.0","b"),"id".eq."x),or(n.gt.0")"#
        );
    }

    #[test]
    fn what_is_not_given_is_left_out() {
        let filter =
            conditions("n=gt.1&id=eq.{a}&or=(id.eq.{a},n.lt.{b})&not.and=(id.eq.{a})&id=in.({a},{b})");
        assert_eq!(shown(&bind(&filter, &Given::new())), r#""n".gt."1""#);
        let given = Given::from([("b".to_owned(), "7".to_owned())]);
        assert_eq!(shown(&bind(&filter, &given)), r#""n".gt."1" or("n".lt."7") "id".in.("7")"#);
        // An empty list that was written stays one.
        assert_eq!(shown(&bind(&conditions("id=in.()"), &given)), r#""id".in.()"#);
    }

    #[test]
    fn wrong_uses_are_faults() {
        let params =
            [param("a", FieldType::Text, false, None), param("n", FieldType::Integer, false, Some("x"))];
        let faults = faults(&params, &conditions("id=like.{a}&id=eq.{b}"));
        let texts: Vec<&str> = faults.iter().map(|(_, detail)| detail.as_str()).collect();
        assert_eq!(texts.len(), 4, "{texts:?}");
        for (text, wanted) in texts.iter().zip([
            "cannot be a pattern",
            "{b} is no parameter",
            "does not use {n}",
            "its default",
        ]) {
            assert!(text.contains(wanted), "{text}");
        }
    }

    #[test]
    fn lists_in_braces_are_no_parameters_and_expressions_cannot_be() {
        let params = [param("a", FieldType::Text, false, None)];
        let of = |filter: &str| -> Vec<String> {
            faults(&params, &conditions(filter)).into_iter().map(|(_, detail)| detail).collect()
        };
        assert_eq!(of("id=eq.{a}&tags=cs.{alarm}&tags=ov.{a}"), [""; 0]);
        assert!(of("id=match.{a}")[0].contains("cannot be a pattern"));
        let given = Given::from([("a".to_owned(), "7".to_owned())]);
        assert_eq!(shown(&bind(&conditions("tags=cs.{a}"), &given)), r#""tags".cs."{a}""#);
    }

    #[test]
    fn every_type_has_a_sample_that_fits() {
        for of in FieldType::ALL.into_iter().filter(|of| *of != FieldType::Json) {
            let param = param("p", of, true, None);
            let sample = &samples(std::slice::from_ref(&param))["p"];
            assert!(param.check(sample).is_ok(), "{of:?}: {sample}");
        }
    }
}
