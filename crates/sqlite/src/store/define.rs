//! Making, changing and removing datasets.

use jiff::Timestamp;
use orderwire_store::{Dataset, Defined, Loss, evolve};
use orderwire_types::DatasetName;
use orderwire_types::dataset::DatasetDef;
use rusqlite::params;

use super::catalogue::Entry;
use super::error::{Failure, invalid, not_found};
use super::evolve::evolve_table;
use super::table;
use super::writer::{Effect, Transaction};

pub(super) fn define(
    transaction: &mut Transaction<'_>,
    name: &DatasetName,
    def: &DatasetDef,
    loss: Loss,
    now: Timestamp,
) -> Result<Defined, Failure> {
    let stored = serde_json::to_string(def)
        .map_err(|error| invalid(format!("defining dataset {name}: it cannot be stored: {error}")))?;
    let at = now.as_microsecond();
    let memory = &mut *transaction.memory;
    let Some(entry) = memory.catalogue.get(name) else {
        let generation = memory.next_generation();
        transaction.connection.execute_batch(&table::create(name, def, generation))?;
        transaction.connection.execute(
            "INSERT INTO dataset (name, def, created_at, changed_at, last_seq, generation) \
             VALUES (?1, ?2, ?3, ?3, 0, ?4)",
            params![name.as_str(), stored, at, generation.cast_signed()],
        )?;
        let dataset = Dataset { name: name.clone(), def: def.clone(), created_at: now, changed_at: now };
        memory.effects.push(Effect::Defined(Entry::new(dataset, stored, generation)));
        return Ok(Defined::Created);
    };
    if entry.dataset.def == *def {
        return Ok(Defined::Unchanged);
    }
    let evolution = evolve::evolution(name, &entry.dataset.def, def, loss)?;
    let generation = memory.next_generation();
    let connection = transaction.connection;
    evolve_table(connection, &entry.dataset, def, &evolution, (entry.generation(), generation))?;
    transaction.connection.execute(
        "UPDATE dataset SET def = ?2, changed_at = ?3, generation = ?4 WHERE name = ?1",
        params![name.as_str(), stored, at, generation.cast_signed()],
    )?;
    memory.effects.push(Effect::Defined(entry.changed(def, stored, now, generation)));
    Ok(Defined::Changed)
}

pub(super) fn remove(transaction: &mut Transaction<'_>, name: &DatasetName) -> Result<(), Failure> {
    let Some(entry) = transaction.memory.catalogue.get(name) else {
        return Err(not_found(format!("removing dataset {name}: there is none")).into());
    };
    let connection = transaction.connection;
    // Dropping a large table would hold up every other write: its rows are swept.
    let (table, gone) = (table::table_name(name), table::gone_name(entry.generation()));
    connection.execute_batch(&format!("ALTER TABLE {table} RENAME TO {gone}"))?;
    connection.execute("DELETE FROM import WHERE dataset = ?1", [name.as_str()])?;
    connection.execute("DELETE FROM dataset WHERE name = ?1", [name.as_str()])?;
    connection
        .execute("UPDATE past SET generation = max(generation, ?1)", [entry.generation().cast_signed()])?;
    transaction.memory.effects.push(Effect::Removed(name.clone()));
    Ok(())
}
