//! Which definitions of datasets there can be, once for every engine.

use orderwire_types::DatasetName;
use orderwire_types::dataset::{DatasetDef, Field};

use crate::error::{Error, ErrorKind};

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

/// Whether the rows of `old` are rows of `new` as well.
///
/// # Errors
/// `Conflict`, with the first reason why they are not.
pub fn evolves(name: &DatasetName, old: &DatasetDef, new: &DatasetDef) -> Result<(), Error> {
    let refuse =
        |what: String| Err(Error::new(ErrorKind::Conflict, format!("changing dataset {name}: {what}")));
    for field in &old.fields {
        let Some(next) = new.field(field.name.as_str()) else {
            return refuse(format!("column {} would lose its values", field.name));
        };
        if next.field_type != field.field_type {
            let (was, is) = (field.field_type.as_str(), next.field_type.as_str());
            return refuse(format!("column {} is {was} and cannot become {is}", field.name));
        }
        if next.required && !field.required {
            return refuse(format!("column {} cannot become required: rows may lack it", field.name));
        }
    }
    let added = |field: &&Field| old.field(field.name.as_str()).is_none();
    if let Some(field) = new.fields.iter().filter(added).find(|field| field.required) {
        return refuse(format!(
            "new column {} cannot be required: the rows that are there lack it",
            field.name
        ));
    }
    if old.key != new.key {
        return refuse("its key cannot change".to_owned());
    }
    Ok(())
}
