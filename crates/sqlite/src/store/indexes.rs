//! The indexes of the table of a dataset: which there should be, and making it so.
//!
//! | name | of | for |
//! |---|---|---|
//! | `client_<dataset>#<generation>` | client | the rows of a client in order of arrival |
//! | `key_…` | client and key, unique | the rows of a client by key; conflicts |
//! | `time_…` | client and time | the rows of a client by time |
//! | `all_key_…` | key | the rows of all clients by key |
//! | `all_time_…` | time | the rows of all clients by time |
//!
//! Every index holds `_seq` as well. Each costs every row that is recorded a
//! place in it, hence those of all clients are no more than these two, and the
//! second is left out where the key begins with the time. They run upward, though
//! most reads want what is newest first: times that grow are then put at an end
//! of the index, which leaves its pages full, and a read that runs down sorts
//! rows of the same moment only.

use std::collections::HashMap;

use orderwire_types::DatasetName;
use orderwire_types::dataset::DatasetDef;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::catalogue::Catalogue;
use super::table::{key_columns, push, quoted, table_name};

/// Holds for every row, and is the condition of the indexes of all clients:
/// SQLite considers them for those reads alone that state it. Without statistics
/// it could take them for a read of a few clients, too, and go through the rows
/// of all others. Of `_seq`, because an index has that without a look at the row.
pub(super) const ALL_CLIENTS: &str = "_seq <> 0";

/// An index that there should be.
struct Index {
    kind: &'static str,
    unique: &'static str,
    /// Its table, columns and condition.
    on: String,
}

impl Index {
    fn sql(&self, name: &str) -> String {
        format!("CREATE {}INDEX {} ON {}", self.unique, quoted(name), self.on)
    }
}

/// What the names of our indexes begin with.
const KINDS: [&str; 5] = ["client", "key", "time", "all_key", "all_time"];

fn wanted(name: &DatasetName, def: &DatasetDef) -> Vec<Index> {
    let table = table_name(name);
    let mut indexes = Vec::with_capacity(KINDS.len());
    let mut add = |kind, unique, columns: &str, condition: &str| {
        indexes.push(Index { kind, unique, on: format!("{table} ({columns}){condition}") });
    };
    let all = format!(" WHERE {ALL_CLIENTS}");
    add("client", "", "_client", "");
    if !def.key.is_empty() {
        add("key", "UNIQUE ", &key_columns(def), "");
        let columns: Vec<String> = def.key.iter().map(|column| quoted(column.as_str())).collect();
        add("all_key", "", &columns.join(", "), &all);
    }
    if let Some(time) = &def.time {
        let column = quoted(time.as_str());
        add("time", "", &format!("_client, {column}"), "");
        if def.key.first() != Some(time) {
            add("all_time", "", &column, &all);
        }
    }
    indexes
}

/// An index that there is.
#[derive(Debug)]
pub(super) struct Present {
    name: String,
    /// The statement that made it, letter by letter.
    sql: String,
}

/// The indexes of all datasets, by table.
#[derive(Debug)]
pub(super) struct Indexes(HashMap<String, Vec<Present>>);

impl Indexes {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut tables: HashMap<String, Vec<Present>> = HashMap::new();
        let mut statement = connection.prepare(
            "SELECT tbl_name, name, sql FROM sqlite_schema \
             WHERE type = 'index' AND tbl_name GLOB 'data_*' AND sql IS NOT NULL",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            tables.entry(row.get(0)?).or_default().push(Present { name: row.get(1)?, sql: row.get(2)? });
        }
        Ok(Self(tables))
    }

    pub(super) fn of(&self, name: &DatasetName) -> &[Present] {
        self.0.get(&format!("data_{name}")).map_or(&[], Vec::as_slice)
    }
}

/// The statements that drop what should not be and make what is missing, none
/// where all is well. `generation` keeps new indexes apart from those of a
/// dataset of that name that was removed.
pub(super) fn mend(name: &DatasetName, def: &DatasetDef, present: &[Present], generation: u64) -> String {
    let wanted = wanted(name, def);
    let mut sql = String::new();
    let is = |there: &Present, index: &Index| there.sql == index.sql(&there.name);
    // No dataset's name has a `#`, so that a name that begins like ours is ours.
    let ours = |there: &Present| KINDS.iter().any(|kind| there.name.starts_with(&format!("{kind}_{name}#")));
    for there in present.iter().filter(|there| ours(there)) {
        if !wanted.iter().any(|index| is(there, index)) {
            push(&mut sql, format_args!("DROP INDEX {};\n", quoted(&there.name)));
        }
    }
    for index in wanted.iter().filter(|index| !present.iter().any(|there| is(there, index))) {
        push(&mut sql, format_args!("{};\n", index.sql(&format!("{}_{name}#{generation}", index.kind))));
    }
    sql
}

/// Brings the tables of a store that an earlier version made to the indexes of
/// this one.
pub(super) fn mend_all(connection: &Connection, catalogue: &Catalogue) -> rusqlite::Result<()> {
    let indexes = Indexes::read(connection)?;
    for entry in catalogue.all() {
        let (name, def) = (&entry.dataset.name, &entry.dataset.def);
        let sql = mend(name, def, indexes.of(name), entry.generation());
        if !sql.is_empty() {
            tracing::info!(dataset = %name, "making indexes that an earlier version did not make");
            build(connection, &sql)?;
        }
    }
    Ok(())
}

fn build(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    // An index is sorted before it is written: in memory, that of a large table
    // would take more than the machine has.
    connection.pragma_update(None, "temp_store", "FILE")?;
    let built = (|| {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.commit()
    })();
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    built
}

#[cfg(test)]
mod tests;
