//! What a statement is made of: nothing that a caller wrote.

use std::collections::BTreeSet;

use orderwire_store::testkit::Statement;
use orderwire_store::typed::HIDDEN;
use orderwire_store::{Expr, Select, Value};
use orderwire_types::dataset::DatasetDef;

/// Every word that an engine writes.
const WORDS: [&str; 68] = [
    "store",
    "document",
    "jsonb",
    "ow_json_contains",
    "ow_json_contained",
    "SELECT",
    "FROM",
    "WHERE",
    "AND",
    "OR",
    "NOT",
    "GROUP",
    "ORDER",
    "BY",
    "LIMIT",
    "OFFSET",
    "ASC",
    "DESC",
    "NULLS",
    "FIRST",
    "LAST",
    "IS",
    "IN",
    "NULL",
    "DISTINCT",
    "TRUE",
    "FALSE",
    "AS",
    "ANY",
    "ROW",
    "LIKE",
    "COLLATE",
    "CASE",
    "WHEN",
    "THEN",
    "END",
    "groups",
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "ow_sum",
    "ow_plain",
    "ow_decimal",
    "trim_scale",
    "ow_avg",
    "ow_part",
    "ow_part_text",
    "ow_contains",
    "ow_contained",
    "ow_overlaps",
    "ow_match",
    "ow_like",
    "ow_ilike",
    "json_each",
    "value",
    "strpos",
    "regexp_replace",
    "date_bin",
    "interval",
    "array_to_json",
    "to_json",
    "text",
    "int4",
    "float8",
    "timestamptz",
    "data",
];

/// Those of the newest row of each key, and of no other read.
const OF_LATEST: [&str; 14] = [
    "WITH",
    "RECURSIVE",
    "UNION",
    "ALL",
    "ON",
    "OVER",
    "PARTITION",
    "ARRAY",
    "row_number",
    "unnest",
    "clients",
    "keys",
    "place",
    "newest",
];

/// Every text that an engine writes, but for the lengths of buckets.
const LITERALS: [&str; 5] = [
    r"\u",
    ".",
    "g",
    r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}",
    r"\\u(?:0000|[dD][89a-fA-F])",
];

/// What is no letter and no digit. Two of these would begin a comment.
const SIGNS: &str = " (),.=<>~&@+-%*/:[]";

/// The words and numbers of the statements of a read.
pub(crate) struct Words {
    names: BTreeSet<String>,
    numbers: BTreeSet<String>,
    latest: bool,
}

impl Words {
    /// Those of this read.
    pub(crate) fn of(def: &DatasetDef, select: &Select) -> Self {
        let dataset = select.dataset.as_str();
        let mut names: BTreeSet<String> = def.fields.iter().map(|field| field.name.to_string()).collect();
        names.extend(HIDDEN.iter().map(|(name, _)| (*name).to_owned()));
        // The tables, and the one collation.
        names.extend([dataset.to_owned(), format!("data_{dataset}"), "C".to_owned()]);
        // The places of columns, and the lengths of buckets.
        let mut numbers: BTreeSet<String> =
            (0..=select.columns.len()).map(|place| place.to_string()).collect();
        numbers.insert("1".to_owned());
        let selected = select.columns.iter().map(|column| &column.value);
        for value in selected.chain(select.order.iter().map(|by| &by.column)) {
            if let Value::Row(Expr::Bucket { micros, .. }) = value {
                numbers.insert(micros.to_string());
            }
        }
        Self { names, numbers, latest: !select.latest.is_empty() }
    }

    /// Whether a statement is made of these alone, and of a place for each of its values.
    ///
    /// # Errors
    /// What stands in it beside them.
    pub(crate) fn make(&self, statement: &Statement) -> Result<(), String> {
        let sql = &statement.sql;
        let found = self.places(sql).map_err(|wrong| format!("{wrong} in {sql}"))?;
        match found == statement.values {
            true => Ok(()),
            false => Err(format!("{found} places for {} values in {sql}", statement.values)),
        }
    }

    /// How many values a statement has places for.
    fn places(&self, sql: &str) -> Result<usize, String> {
        let mut places = 0;
        let mut rest = sql;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '"' | '\'' => {
                    let inner = rest[1..].split(first).next().unwrap_or_default();
                    let known = match first {
                        '"' => self.names.contains(inner),
                        _ => LITERALS.contains(&inner) || self.is_length(inner),
                    };
                    let behind = rest[1 + inner.len()..].strip_prefix(first);
                    // A quote that is doubled is one within.
                    if !known || behind.is_none_or(|behind| behind.starts_with(first)) {
                        return Err(format!("{first}{inner}{first} is no name and no text of ours"));
                    }
                    inner.len() + 2
                }
                '?' | '$' => {
                    let number = leading(&rest[1..], |c| c.is_ascii_digit());
                    places = match number.parse::<usize>() {
                        Ok(number) if number > 0 => places.max(number),
                        Err(_) if number.is_empty() && first == '?' => places + 1,
                        _ => return Err(format!("{first}{number} is no place of a value")),
                    };
                    1 + number.len()
                }
                '0'..='9' => {
                    let number = leading(rest, |c| c.is_ascii_digit());
                    if !self.numbers.contains(number) {
                        return Err(format!("the number {number} is not of the read"));
                    }
                    number.len()
                }
                'a'..='z' | 'A'..='Z' | '_' => {
                    let word = leading(rest, |c| c.is_ascii_alphanumeric() || c == '_');
                    let hidden = || HIDDEN.iter().any(|(name, _)| *name == word);
                    let of_latest = self.latest && OF_LATEST.contains(&word);
                    if !WORDS.contains(&word) && !of_latest && !hidden() {
                        return Err(format!("the word {word} is none of ours"));
                    }
                    word.len()
                }
                sign if SIGNS.contains(sign) && !rest.starts_with("--") && !rest.starts_with("/*") => 1,
                sign => return Err(format!("{sign:?} is no sign of ours")),
            };
            rest = &rest[length..];
        }
        Ok(places)
    }

    /// The length of a bucket as PostgreSQL reads it.
    fn is_length(&self, text: &str) -> bool {
        text.strip_suffix(" microseconds").is_some_and(|micros| self.numbers.contains(micros))
    }
}

/// The longest beginning of such characters.
fn leading(text: &str, is: impl Fn(char) -> bool) -> &str {
    &text[..text.find(|c| !is(c)).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use orderwire_store::{Column, Count, Filter};

    use super::*;

    #[test]
    fn what_a_caller_wrote_is_found_in_a_statement() {
        let def = serde_json::from_str(crate::DEFINITION).unwrap();
        let bucket = Value::Row(Expr::Bucket { column: "at".to_owned(), micros: 60_000_000 });
        let select = Select {
            dataset: "d".parse().unwrap(),
            columns: vec![Column::named("t", "x"), Column { value: bucket, alias: "y".to_owned() }],
            filter: Filter::And(Vec::new()),
            latest: Vec::new(),
            order: Vec::new(),
            limit: 1,
            offset: 0,
            count: Count::None,
        };
        let words = Words::of(&def, &select);
        let says = |sql: &str, values| words.make(&Statement { sql: sql.to_owned(), values });
        for (sql, values) in [
            (
                r#"SELECT "t", ("at" - ("at" % 60000000)) FROM "data_d" WHERE ow_part("raw", ?1) = ? LIMIT ?"#,
                3,
            ),
            (
                r#"SELECT date_bin(interval '60000000 microseconds', "at", $1::timestamptz) FROM data."d" LIMIT $2"#,
                2,
            ),
        ] {
            assert_eq!(says(sql, values), Ok(()));
            assert!(says(sql, values + 1).is_err(), "a value without a place");
        }
        for sql in [
            r#"SELECT "x" FROM "data_d""#,
            r#"SELECT "t FROM "data_d""#,
            r#"SELECT "t""t" FROM "data_d""#,
            r#"SELECT "t" FROM "data_d" WHERE "t" = 'a'"#,
            r#"SELECT "t" FROM "data_d" WHERE "n" = 42"#,
            r#"SELECT "t" FROM "data_d" UNION SELECT "n""#,
            r#"SELECT "t" FROM "data_d"; SELECT "n""#,
            r#"SELECT "t" FROM "data_d" --"#,
            r#"SELECT "t" /* FROM "data_d""#,
            r#"SELECT "t" FROM "data_d" WHERE "t" = $a"#,
            r#"SELECT "t" FROM "data_d" WHERE "t" = ä"#,
            r#"SELECT date_bin(interval '1 year', "at")"#,
            r#"SELECT "t" FROM data_e"#,
        ] {
            assert!(says(sql, 0).is_err(), "{sql}");
        }
    }
}
