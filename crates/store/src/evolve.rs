//! Which definitions of datasets there can be, and how one becomes another, once for every
//! engine.

use jiff::{SignedDuration, Timestamp};
use orderwire_types::DatasetName;
use orderwire_types::dataset::{DatasetDef, EXTRA, Field, FieldType};

use crate::error::{Error, ErrorKind};
use crate::model::Dataset;

/// Whether a change may lose what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loss {
    /// It is refused.
    #[default]
    Refused,
    /// It is wanted.
    Allowed,
}

/// Which values a column loses when its type changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loses {
    /// None.
    Nothing,
    /// Those that the new type cannot hold as they are: an engine looks for one.
    SomeValues,
    /// A part of nearly every value.
    EveryValue,
}

/// The types that a column may change to, from the type that it has.
pub const CHANGES: [(FieldType, FieldType, Loses); 5] = [
    (FieldType::Integer, FieldType::Decimal, Loses::Nothing),
    // Beyond 2^53 floats have gaps.
    (FieldType::Integer, FieldType::Float, Loses::SomeValues),
    // The last of all days begins after the last moment there is.
    (FieldType::Date, FieldType::Timestamp, Loses::SomeValues),
    (FieldType::Uuid, FieldType::Text, Loses::Nothing),
    (FieldType::Timestamp, FieldType::Date, Loses::EveryValue),
];

/// The greatest integer below which floats have no gaps.
pub const EXACT: i64 = 1 << 53;

/// How long after a change events may have been accepted by the definition before it: other
/// nodes follow it a moment later.
pub const SETTLING: SignedDuration = SignedDuration::from_secs(5);

/// Whether an event accepted at this moment may have rows of an earlier definition.
pub fn may_be_of_the_past(dataset: &Dataset, accepted_at: Timestamp) -> bool {
    dataset.changed_at > dataset.created_at && accepted_at.duration_since(dataset.changed_at) <= SETTLING
}

/// What has to be done to the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evolution<'d> {
    /// Columns that are new.
    pub added: Vec<&'d Field>,
    /// Columns that are no more.
    pub dropped: Vec<&'d Field>,
    /// Columns with another type.
    pub retyped: Vec<Retyped<'d>>,
    /// Whether rows would lie in other partitions: an engine refuses that when there are any.
    pub repartitioned: bool,
}

/// A column with another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retyped<'d> {
    /// As it shall be.
    pub field: &'d Field,
    /// The type that it has.
    pub from: FieldType,
    /// Whether an engine refuses the change when [`Loses::SomeValues`] are there.
    pub checked: bool,
}

/// Refuses a definition with faults.
///
/// # Errors
/// `Invalid`, with all of them.
pub fn check(name: &DatasetName, def: &DatasetDef) -> Result<(), Error> {
    let faults: Vec<String> =
        def.faults().iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, format!("defining dataset {name}: {}", faults.join("; "))))
}

/// How the rows of `old` become rows of `new`.
///
/// # Errors
/// `Conflict`, with the first reason why they do not.
pub fn evolution<'d>(
    name: &DatasetName,
    old: &'d DatasetDef,
    new: &'d DatasetDef,
    loss: Loss,
) -> Result<Evolution<'d>, Error> {
    let refuse = |what: String| Err(refused(name, &what));
    let mut evolution = Evolution::default();
    if old.key != new.key {
        return refuse("its key cannot change".to_owned());
    }
    evolution.repartitioned =
        old.partition != new.partition || (new.partition.is_some() && old.time != new.time);
    for field in old.columns() {
        let Some(next) = new.column(field.name.as_str()) else {
            if loss == Loss::Refused {
                return refuse(match field.name.as_str() {
                    EXTRA => "what it kept beyond its fields would be lost; allow=loss drops it".to_owned(),
                    name => format!("column {name} would lose its values; allow=loss drops it"),
                });
            }
            evolution.dropped.push(field);
            continue;
        };
        if next.field_type != field.field_type {
            evolution.retyped.push(retyped(name, old, field, next, loss)?);
        }
        if next.required && !field.required {
            return refuse(format!("column {} cannot become required: rows may lack it", field.name));
        }
    }
    evolution.added = new.columns().filter(|field| old.column(field.name.as_str()).is_none()).collect();
    match evolution.added.iter().find(|field| field.required && field.default.is_none()) {
        Some(field) => refuse(format!(
            "new column {} cannot be required without a default: the rows that are there lack it",
            field.name
        )),
        None => Ok(evolution),
    }
}

fn retyped<'d>(
    name: &DatasetName,
    old: &DatasetDef,
    field: &Field,
    next: &'d Field,
    loss: Loss,
) -> Result<Retyped<'d>, Error> {
    let (from, to) = (field.field_type, next.field_type);
    let shown = format!("column {} is {} and", field.name, from.as_str());
    let Some((_, _, loses)) = CHANGES.iter().find(|(is, becomes, _)| (*is, *becomes) == (from, to)) else {
        let what = format!("{shown} cannot become {}; drop it, then add it anew", to.as_str());
        return Err(refused(name, &what));
    };
    let is_key = old.key.contains(&field.name);
    match (loses, loss) {
        (Loses::EveryValue, _) if is_key => {
            Err(refused(name, &format!("{shown} of the key: its values cannot be cut to {}", to.as_str())))
        }
        (Loses::EveryValue, Loss::Refused) => Err(refused(
            name,
            &format!("{shown} would lose a part of its values as {}; allow=loss does it", to.as_str()),
        )),
        _ => {
            let checked = *loses == Loses::SomeValues && (loss == Loss::Refused || is_key);
            Ok(Retyped { field: next, from, checked })
        }
    }
}

/// The refusal of a change because a row has a value that the new type cannot hold.
pub fn value_lost(name: &DatasetName, retyped: &Retyped<'_>) -> Error {
    let (column, to) = (&retyped.field.name, retyped.field.field_type.as_str());
    refused(
        name,
        &format!("column {column} has a value that {to} cannot hold as it is; allow=loss rounds it"),
    )
}

/// The refusal of other partitions because there are rows.
pub fn has_rows(name: &DatasetName) -> Error {
    let what = "its partitions cannot change while it has rows: export them, remove the dataset, and make it \
                anew with the other partitions";
    refused(name, what)
}

fn refused(name: &DatasetName, what: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("changing dataset {name}: {what}"))
}
