//! The newest row of each key, as a condition on `_seq`.

use orderwire_store::latest::{ByKey, Latest};
use orderwire_store::{Error, Select};
use orderwire_types::Scope;
use orderwire_types::dataset::DatasetDef;
use orderwire_types::scope::Clients;

use super::expr::Query;
use super::filter::{self, Binding, clients_clause};
use super::table::{push, quoted, table_name};

/// Writes the condition, which takes that of the read in.
pub(super) fn write(
    def: &DatasetDef,
    scope: &Scope,
    select: &Select,
    latest: &Latest<'_>,
    query: &mut Query,
) -> Result<(), Error> {
    let table = table_name(&select.dataset);
    match latest {
        Latest::ByKey(by) => {
            let ByKey { key, time, of_client, of_key, range } = &**by;
            let (key, time) = (quoted(key), quoted(time));
            query.push("_seq IN (WITH RECURSIVE clients(_client) AS (");
            match &scope.clients {
                Clients::All => push(
                    &mut query.sql,
                    format_args!(
                        "SELECT (SELECT min(_client) FROM {table}) UNION ALL SELECT \
                         (SELECT min(_client) FROM {table} WHERE _client > clients._client) \
                         FROM clients WHERE clients._client IS NOT NULL"
                    ),
                ),
                Clients::Only(only) => {
                    query.push("SELECT value FROM json_each(?)");
                    query.bound.push(Binding::Text(filter::names(only)));
                }
            }
            push(
                &mut query.sql,
                format_args!(
                    "), keys(_client, {key}) AS (SELECT clients._client, \
                     (SELECT {key} FROM {table} WHERE _client = clients._client AND "
                ),
            );
            filter::write(def, range, &mut query.sql, &mut query.bound)?;
            push(
                &mut query.sql,
                format_args!(" ORDER BY {key} LIMIT 1) FROM clients WHERE clients._client IS NOT NULL AND "),
            );
            filter::write(def, of_client, &mut query.sql, &mut query.bound)?;
            push(
                &mut query.sql,
                format_args!(
                    " UNION ALL SELECT keys._client, (SELECT {key} FROM {table} \
                     WHERE _client = keys._client AND {key} > keys.{key} AND "
                ),
            );
            filter::write(def, range, &mut query.sql, &mut query.bound)?;
            push(
                &mut query.sql,
                format_args!(
                    " ORDER BY {key} LIMIT 1) FROM keys WHERE keys.{key} IS NOT NULL) \
                     SELECT (SELECT _seq FROM {table} WHERE _client = keys._client AND {key} = keys.{key} AND "
                ),
            );
            filter::write(def, &select.filter, &mut query.sql, &mut query.bound)?;
            push(
                &mut query.sql,
                format_args!(
                    " ORDER BY {time} DESC, _seq DESC LIMIT 1) FROM keys WHERE keys.{key} IS NOT NULL AND "
                ),
            );
            filter::write(def, of_key, &mut query.sql, &mut query.bound)?;
        }
        Latest::Sorted { key, time } => {
            query.push("_seq IN (SELECT _seq FROM (SELECT _seq, row_number() OVER (PARTITION BY _client");
            key.iter().for_each(|key| push(&mut query.sql, format_args!(", {}", quoted(key))));
            query.push(" ORDER BY ");
            if let Some(time) = time {
                push(&mut query.sql, format_args!("{} DESC NULLS LAST, ", quoted(time)));
            }
            push(&mut query.sql, format_args!("_seq DESC) AS place FROM {table} WHERE "));
            filter::write(def, &select.filter, &mut query.sql, &mut query.bound)?;
            clients_clause(&scope.clients, "_client", &mut query.sql, &mut query.bound);
            query.push(") WHERE place = 1");
        }
    }
    query.push(")");
    Ok(())
}
