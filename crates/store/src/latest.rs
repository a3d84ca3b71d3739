//! How the newest row of each key is found, once for every engine.

use orderwire_types::ColumnName;
use orderwire_types::dataset::DatasetDef;

use crate::error::{Error, ErrorKind};
use crate::expr::Expr;
use crate::select::{Compare, Filter, Select};
use crate::typed::{Kind, column};

/// How the newest row of each client and key is found.
#[derive(Clone, Debug, PartialEq)]
pub enum Latest<'s> {
    /// From key to key along the index of client, key and time, so that each key costs the same, however
    /// many rows it has.
    ByKey(Box<ByKey<'s>>),
    /// Among all rows that match, sorted.
    Sorted {
        /// The columns whose values are the key.
        key: &'s [String],
        /// What is newer; without it, what came later.
        time: Option<&'s str>,
    },
}

/// A walk along the index of client, key and time.
#[derive(Clone, Debug, PartialEq)]
pub struct ByKey<'s> {
    /// The column that is the key; it has no nulls.
    pub key: &'s str,
    /// The time, in the index behind it.
    pub time: &'s str,
    /// What must hold of the client of a row, and of nothing else.
    pub of_client: Filter,
    /// The same of the key.
    pub of_key: Filter,
    /// What of that an index looks up: keys that are equal to something, greater or less.
    pub range: Filter,
}

impl<'s> Latest<'s> {
    /// That of a read, if it wants the newest rows alone.
    ///
    /// # Errors
    /// `Invalid` for a column that is not there, or that is json.
    pub fn of(def: &'s DatasetDef, select: &'s Select) -> Result<Option<Self>, Error> {
        for name in &select.latest {
            let invalid = |what| Error::new(ErrorKind::Invalid, format!("reading a dataset: {what}"));
            match column(def, name) {
                None => return Err(invalid(format!("there is no column {name:?}"))),
                // Nobody says which documents are equal.
                Some(known) if known.kind == Kind::Json => {
                    return Err(invalid(format!("column {name:?} is json, which cannot be a key")));
                }
                Some(_) => {}
            }
        }
        let time = def.time.as_ref().map(ColumnName::as_str);
        Ok(match (select.latest.as_slice(), def.key.as_slice(), time) {
            ([], ..) => None,
            ([key], [first, second, ..], Some(time))
                if first.as_str() == key && second.as_str() == time && steps(def, key) =>
            {
                let of_client = alone(&select.filter, "_client");
                let of_key = alone(&select.filter, key);
                let range = Filter::And(ranges(&of_key));
                Some(Self::ByKey(Box::new(ByKey { key, time, of_client, of_key, range })))
            }
            (key, _, time) => Some(Self::Sorted { key, time }),
        })
    }
}

/// Whether a value, once read, compares as its column does: equal decimals may be different texts.
fn steps(def: &DatasetDef, key: &str) -> bool {
    column(def, key).is_some_and(|known| !known.nullable && known.kind != Kind::Decimal)
}

/// What of a condition is about this column alone and must hold of every row.
fn alone(filter: &Filter, column: &str) -> Filter {
    match filter {
        Filter::And(all) => Filter::And(
            all.iter().map(|one| alone(one, column)).filter(|one| *one != Filter::And(Vec::new())).collect(),
        ),
        other if names_only(other, column) => other.clone(),
        _ => Filter::And(Vec::new()),
    }
}

/// The conditions that an index looks up.
fn ranges(filter: &Filter) -> Vec<Filter> {
    match filter {
        Filter::And(all) => all.iter().flat_map(ranges).collect(),
        Filter::Compare {
            column: Expr::Column(_),
            compare: Compare::Eq(_) | Compare::Gt(_) | Compare::Gte(_) | Compare::Lt(_) | Compare::Lte(_),
        } => vec![filter.clone()],
        _ => Vec::new(),
    }
}

fn names_only(filter: &Filter, column: &str) -> bool {
    match filter {
        Filter::And(all) | Filter::Or(all) => all.iter().all(|one| names_only(one, column)),
        Filter::Not(inner) => names_only(inner, column),
        Filter::From { values, .. } => values.iter().all(|(expr, _)| expr.is(column)),
        Filter::Compare { column: expr, .. } => expr.is(column),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::{Column, Count, Operand};

    const DEF: &str = r#"{"fields":[{"name":"s","type":"text","required":true},{"name":"n","type":"integer"},
        {"name":"d","type":"decimal","required":true},{"name":"j","type":"json"},
        {"name":"at","type":"timestamp","required":true}],"key":KEY,"time":"at"}"#;

    fn def(key: &str) -> DatasetDef {
        serde_json::from_str(&DEF.replace("KEY", key)).unwrap()
    }

    fn compare(column: &str) -> Filter {
        Filter::Compare { column: column.into(), compare: Compare::Eq(Operand::Text("x".to_owned())) }
    }

    fn latest(of: &[&str], filter: Filter) -> Select {
        Select {
            dataset: "d".parse().unwrap(),
            columns: vec![Column::named("s", "s")],
            filter,
            latest: of.iter().map(|name| (*name).to_owned()).collect(),
            order: Vec::new(),
            limit: 1,
            offset: 0,
            count: Count::None,
        }
    }

    #[test]
    fn a_key_with_an_index_is_followed_with_what_is_about_it_alone() {
        let def = def(r#"["s","at"]"#);
        let either = Filter::Or(vec![compare("s"), compare("n")]);
        let not = Filter::Not(Box::new(Filter::Or(vec![compare("s"), compare("s")])));
        let filter = Filter::And(vec![compare("n"), Filter::And(vec![compare("s"), either]), not.clone()]);
        let select = latest(&["s"], filter);
        let Some(Latest::ByKey(by)) = Latest::of(&def, &select).unwrap() else { panic!("it has an index") };
        let ByKey { key, time, of_client, of_key, range } = *by;
        assert_eq!((key, time), ("s", "at"));
        assert_eq!(of_key, Filter::And(vec![Filter::And(vec![compare("s")]), not]));
        assert_eq!(of_client, Filter::And(Vec::new()));
        assert_eq!(range, Filter::And(vec![compare("s")]));
    }

    #[test]
    fn any_other_key_is_sorted_by() {
        let all = || Filter::And(Vec::new());
        let index = def(r#"["s","at"]"#);
        for (def, of) in [
            (&index, &["n"][..]),
            (&index, &["s", "n"]),
            (&def(r#"["s"]"#), &["s"]),
            (&def(r#"["d","at"]"#), &["d"]),
            (&def(r#"["s","d","at"]"#), &["s"]),
        ] {
            let select = latest(of, all());
            let found = Latest::of(def, &select).unwrap().unwrap();
            assert_eq!(found, Latest::Sorted { key: &select.latest, time: Some("at") });
        }
        assert_eq!(Latest::of(&index, &latest(&[], all())).unwrap(), None);
        for of in ["j", "nope"] {
            Latest::of(&index, &latest(&[of], all())).unwrap_err();
        }
    }
}
