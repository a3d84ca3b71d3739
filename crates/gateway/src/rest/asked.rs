//! What a write of the dialect asks for: its parameters and its `Prefer`.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use orderwire_api::rest::Refusal;
use orderwire_store::Dataset;
use orderwire_types::dataset::{OnConflict, Unknown};
use serde::Deserialize;

use super::refused;

/// More than the columns of any dataset.
const COLUMNS_MAX: usize = 600;

#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WriteParams {
    /// The columns that are written; what else is in the rows is left out.
    columns: Option<String>,
    /// The columns of the answer, with `return=representation`.
    pub(super) select: Option<String>,
    /// The columns that tell rows apart: the dataset's key.
    on_conflict: Option<String>,
}

/// What the answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Returned {
    Minimal,
    Representation,
}

/// What becomes of a row whose key is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    Merge,
    Ignore,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) columns: Option<BTreeSet<String>>,
    pub(super) returned: Returned,
    /// Whether the caller wants to know how many rows it wrote.
    pub(super) counts: bool,
    resolution: Option<Resolution>,
    conflict: Option<BTreeSet<String>>,
    defaults: bool,
}

impl Asked {
    pub(super) fn of(params: &WriteParams, headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut asked = Self {
            columns: params.columns.as_deref().map(|text| names("columns", text)).transpose()?,
            returned: Returned::Minimal,
            counts: false,
            resolution: None,
            conflict: params.on_conflict.as_deref().map(|text| names("on_conflict", text)).transpose()?,
            defaults: false,
        };
        let prefer = headers.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
        let words: Vec<&str> = prefer.flat_map(|value| value.split(',')).map(str::trim).collect();
        let strict = words.contains(&"handling=strict");
        for word in words {
            match word {
                // What is written has no place of its own to be pointed at.
                "return=minimal" | "return=headers-only" => asked.returned = Returned::Minimal,
                "return=representation" => asked.returned = Returned::Representation,
                "resolution=merge-duplicates" => asked.resolution = Some(Resolution::Merge),
                "resolution=ignore-duplicates" => asked.resolution = Some(Resolution::Ignore),
                "missing=default" => asked.defaults = true,
                "count=exact" | "count=planned" | "count=estimated" => asked.counts = true,
                "missing=null" | "handling=strict" | "handling=lenient" | "" => {}
                other if strict => {
                    let detail =
                        format!("the preference {other:?} is not known, and handling=strict was asked for");
                    return Err(refused(StatusCode::BAD_REQUEST, "PGRST122", detail));
                }
                _ => {}
            }
        }
        Ok(asked)
    }

    /// Whether the dataset does what is asked for: what becomes of rows is said with it.
    pub(super) fn fits(&self, dataset: &Dataset) -> Result<(), Refusal> {
        let (name, def) = (&dataset.name, &dataset.def);
        if def.unknown != Unknown::Keep
            && let Some(columns) = &self.columns
            && let Some(unknown) = columns.iter().find(|column| def.field(column).is_none())
        {
            let detail = format!("Could not find the {unknown:?} column of dataset {name}");
            return Err(refused(StatusCode::BAD_REQUEST, "PGRST204", detail));
        }
        let key: BTreeSet<String> = def.key.iter().map(ToString::to_string).collect();
        if let Some(conflict) = &self.conflict {
            // The client belongs to every key, whether it is said or not.
            let said: BTreeSet<String> = conflict.iter().filter(|name| *name != "_client").cloned().collect();
            if said != key {
                let key: Vec<&str> = key.iter().map(String::as_str).collect();
                let detail = match key.as_slice() {
                    [] => format!("on_conflict: dataset {name} has no key, so that no rows are in conflict"),
                    key => format!("on_conflict: the key of dataset {name} is {}", key.join(",")),
                };
                return Err(refused(StatusCode::BAD_REQUEST, "42P10", detail));
            }
        }
        let Some(resolution) = self.resolution else { return Ok(()) };
        if key.is_empty() {
            let detail =
                format!("dataset {name} has no key, so that no rows are duplicates; leave out resolution");
            return Err(refused(StatusCode::BAD_REQUEST, "42P10", detail));
        }
        let (does, word) = match def.on_conflict {
            OnConflict::Update => (Resolution::Merge, "merge-duplicates"),
            OnConflict::Keep => (Resolution::Ignore, "ignore-duplicates"),
        };
        if resolution == does {
            return Ok(());
        }
        let detail = format!(
            "what becomes of duplicates is said with dataset {name}, which does resolution={word} alone"
        );
        Err(refused(StatusCode::CONFLICT, "42P10", detail))
    }

    /// What of it was done.
    pub(super) fn applied(&self, returned: bool) -> HeaderValue {
        let mut words = vec![if returned { "return=representation" } else { "return=minimal" }];
        words.extend(match self.resolution {
            Some(Resolution::Merge) => Some("resolution=merge-duplicates"),
            Some(Resolution::Ignore) => Some("resolution=ignore-duplicates"),
            None => None,
        });
        words.extend(self.defaults.then_some("missing=default"));
        words.extend(self.counts.then_some("count=exact"));
        HeaderValue::try_from(words.join(", ")).expect("letters, signs and commas")
    }
}

/// `a,"b.c"`: names, in quotes or without.
fn names(parameter: &str, text: &str) -> Result<BTreeSet<String>, Refusal> {
    let mut names = BTreeSet::new();
    for name in text.split(',').map(str::trim) {
        let bare = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        if bare.is_empty() || bare.contains('"') || names.len() == COLUMNS_MAX {
            let detail = format!("{parameter}: names of columns are expected, with commas between them");
            return Err(refused(StatusCode::BAD_REQUEST, "PGRST100", detail));
        }
        names.insert(bare.to_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(on_conflict: Option<&str>, prefer: &str) -> Result<Asked, Refusal> {
        let params = WriteParams { on_conflict: on_conflict.map(str::to_owned), ..WriteParams::default() };
        let mut headers = HeaderMap::new();
        headers.insert("prefer", prefer.parse().unwrap());
        Asked::of(&params, &headers)
    }

    fn dataset(rest: &str) -> Dataset {
        let def = format!(
            r#"{{"fields":[{{"name":"a","type":"text","required":true}},
            {{"name":"b","type":"text","required":true}}]{rest}}}"#
        );
        Dataset {
            name: "air".parse().unwrap(),
            def: serde_json::from_str(&def).unwrap(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            changed_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_write_fits_what_the_dataset_does_with_duplicates() {
        let keeps = dataset(r#","key":["a","b"],"on_conflict":"keep""#);
        let updates = dataset(r#","key":["a","b"]"#);
        let plain = dataset("");
        for (on_conflict, prefer, dataset, fits) in [
            (None, "", &plain, true),
            (None, "resolution=merge-duplicates", &updates, true),
            (None, "resolution=merge-duplicates", &keeps, false),
            (None, "resolution=ignore-duplicates", &keeps, true),
            (None, "resolution=ignore-duplicates", &updates, false),
            (None, "resolution=ignore-duplicates", &plain, false),
            (Some("b,\"a\""), "resolution=merge-duplicates", &updates, true),
            (Some("_client,a,b"), "", &updates, true),
            (Some("a"), "", &updates, false),
            (Some("a"), "", &plain, false),
        ] {
            let asked = asked(on_conflict, prefer).unwrap();
            assert_eq!(
                asked.fits(dataset).is_ok(),
                fits,
                "{on_conflict:?} {prefer} {}",
                dataset.def.key.len()
            );
        }
        assert_eq!(asked(None, "handling=strict, tx=rollback").unwrap_err().code, "PGRST122");
        assert_eq!(asked(Some("a,,b"), "").unwrap_err().code, "PGRST100");
    }
}
