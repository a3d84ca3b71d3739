//! What a query may name.

use orderwire_store::{Arrow, Expr};
use orderwire_types::dataset::{DatasetDef, EXTRA, FieldType, HIDDEN_COLUMNS};

use super::field::Field;
use super::params::shorten;
use crate::error::{Error, ErrorKind};

/// The type of a column, hidden ones included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnType {
    /// A type that a dataset's definition names.
    Field(FieldType),
    /// The type of `_event_id` and `_trace_id`.
    Uuid,
}

/// A column that can be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// What callers call it.
    pub(crate) shown: String,
    /// What the dataset calls it.
    pub(crate) name: String,
    pub(crate) of: ColumnType,
    /// Whether `*` and messages leave it out.
    pub(crate) hidden: bool,
    /// Whether it can be null.
    pub(crate) nullable: bool,
    /// The part of it that is meant, and whether as text.
    pub(crate) part: Option<(Vec<Arrow>, bool)>,
}

impl Named {
    /// What is read of a row.
    pub(crate) fn expr(&self) -> Expr {
        let column = self.name.clone();
        match &self.part {
            None => Expr::Column(column),
            Some((path, as_text)) => Expr::Part { column, path: path.clone(), as_text: *as_text },
        }
    }
}

/// The columns that a query may name.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    what: String,
    pub(super) named: Vec<Named>,
}

impl Columns {
    /// Those of a dataset: its own and the hidden ones.
    pub(crate) fn of_dataset(name: &str, def: &DatasetDef) -> Self {
        let own = def.columns().map(|field| Named {
            shown: field.name.to_string(),
            name: field.name.to_string(),
            of: ColumnType::Field(field.field_type),
            hidden: field.name.as_str() == EXTRA,
            nullable: !field.required,
            part: None,
        });
        let hidden = HIDDEN_COLUMNS.iter().map(|name| Named {
            shown: (*name).to_owned(),
            name: (*name).to_owned(),
            of: hidden_type(name),
            hidden: true,
            nullable: false,
            part: None,
        });
        Self { what: format!("dataset {name}"), named: own.chain(hidden).collect() }
    }

    /// Only these, under the names that they are shown by.
    pub(crate) fn of_view(path: &str, named: Vec<Named>) -> Self {
        Self { what: format!("view {path}"), named }
    }

    /// The columns of `*`.
    pub(crate) fn own(&self) -> impl Iterator<Item = &Named> {
        self.named.iter().filter(|column| !column.hidden)
    }

    /// The column that a caller names.
    pub(crate) fn find(&self, shown: &str) -> Result<&Named, Error> {
        self.named.iter().find(|column| column.shown == shown).ok_or_else(|| {
            let message = format!("column {:?} does not exist in {}", shorten(shown), self.what);
            let error = Error::new(ErrorKind::Invalid, "42703", message).details(self.listed());
            let near = self.named.iter().find(|column| column.shown.eq_ignore_ascii_case(shown));
            match near {
                Some(near) => error.hint(format!("did you mean {}?", near.shown)),
                None => error,
            }
        })
    }

    /// The column that a caller names, or the part of it.
    pub(crate) fn field(&self, field: &Field) -> Result<Named, Error> {
        let column = self.find(&field.name)?;
        if field.path.is_empty() {
            return Ok(column.clone());
        }
        if column.of != ColumnType::Field(FieldType::Json) {
            let message = format!("column {} is {}, and only json has parts", column.shown, column.of.name());
            return Err(Error::new(ErrorKind::Invalid, "42883", message));
        }
        let of = if field.as_text { FieldType::Text } else { FieldType::Json };
        Ok(Named {
            shown: field.to_string(),
            of: ColumnType::Field(of),
            nullable: true,
            part: Some((field.path.clone(), field.as_text)),
            ..column.clone()
        })
    }

    /// The column whose value groups rows: one whose values have one spelling.
    pub(crate) fn grouping(&self, shown: &str) -> Result<&Named, Error> {
        let by = self.find(shown)?;
        if let ColumnType::Field(FieldType::Float | FieldType::Decimal | FieldType::Json | FieldType::Texts) =
            by.of
        {
            let message = format!("column {} cannot group rows: it is {}", by.shown, by.of.name());
            return Err(Error::new(ErrorKind::Invalid, "42883", message)
                .hint("group by a text, integer, boolean, timestamp, date or uuid column"));
        }
        Ok(by)
    }

    /// The columns of which each value is to have its newest row.
    pub(crate) fn key(&self, shown: &[String]) -> Result<Vec<String>, Error> {
        let key = |shown: &String| match self.grouping(shown) {
            Ok(column) => Ok(column.name.clone()),
            Err(error) if error.code() == "42703" => Err(error),
            Err(_) => {
                let of = self.find(shown)?.of.name();
                let message = format!("latest: column {shown} is {of}, whose values are no keys");
                Err(Error::new(ErrorKind::Invalid, "42883", message)
                    .hint("a text, integer, boolean, timestamp, date or uuid column is one"))
            }
        };
        shown.iter().map(key).collect()
    }

    fn listed(&self) -> String {
        const SHOWN: usize = 50;
        let list = |hidden: bool| {
            let names: Vec<&str> =
                self.named.iter().filter(|c| c.hidden == hidden).map(|c| c.shown.as_str()).collect();
            let more = names.len().saturating_sub(SHOWN);
            let mut text = names[..names.len().min(SHOWN)].join(", ");
            if more > 0 {
                text.push_str(&format!(" and {more} more"));
            }
            text
        };
        let (own, hidden) = (list(false), list(true));
        if hidden.is_empty() { format!("it has {own}") } else { format!("it has {own}; hidden {hidden}") }
    }
}

fn hidden_type(name: &str) -> ColumnType {
    match name {
        "_seq" => ColumnType::Field(FieldType::Integer),
        "_recorded_at" => ColumnType::Field(FieldType::Timestamp),
        "_client" => ColumnType::Field(FieldType::Text),
        _ => ColumnType::Uuid,
    }
}

impl ColumnType {
    /// The type in words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Field(field_type) => field_type.as_str(),
            Self::Uuid => "uuid",
        }
    }
}
