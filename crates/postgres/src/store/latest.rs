//! The newest row of each key, as a condition on `_seq`.

use orderwire_store::latest::{ByKey, Latest};
use orderwire_store::{Error, Select};
use orderwire_types::Scope;
use orderwire_types::dataset::DatasetDef;
use orderwire_types::scope::Clients;

use super::filter::{self, Query};
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
            // As an array: the rows are then looked up, whatever the planner believes of their number.
            query.push("_seq = ANY (ARRAY(WITH RECURSIVE clients(_client) AS (");
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
                    query.push("SELECT unnest(");
                    query
                        .bind(Box::new(only.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>()));
                    query.push("::text[]) COLLATE \"C\"");
                }
            }
            push(
                &mut query.sql,
                format_args!(
                    "), keys(_client, {key}) AS (SELECT clients._client, \
                     (SELECT {key} FROM {table} WHERE _client = clients._client AND "
                ),
            );
            filter::write(def, range, query)?;
            push(
                &mut query.sql,
                format_args!(" ORDER BY {key} LIMIT 1) FROM clients WHERE clients._client IS NOT NULL AND "),
            );
            filter::write(def, of_client, query)?;
            push(
                &mut query.sql,
                format_args!(
                    " UNION ALL SELECT keys._client, (SELECT {key} FROM {table} \
                     WHERE _client = keys._client AND {key} > keys.{key} AND "
                ),
            );
            filter::write(def, range, query)?;
            push(
                &mut query.sql,
                format_args!(
                    " ORDER BY {key} LIMIT 1) FROM keys WHERE keys.{key} IS NOT NULL) \
                     SELECT (SELECT _seq FROM {table} WHERE _client = keys._client AND {key} = keys.{key} AND "
                ),
            );
            filter::write(def, &select.filter, query)?;
            push(
                &mut query.sql,
                format_args!(
                    " ORDER BY {time} DESC, _seq DESC LIMIT 1) FROM keys WHERE keys.{key} IS NOT NULL AND "
                ),
            );
            filter::write(def, of_key, query)?;
            query.push("))");
        }
        Latest::Sorted { key, time } => {
            let by = key.iter().fold("_client".to_owned(), |mut by, key| {
                push(&mut by, format_args!(", {}", quoted(key)));
                by
            });
            push(
                &mut query.sql,
                format_args!("_seq IN (SELECT _seq FROM (SELECT DISTINCT ON ({by}) _seq FROM {table} WHERE "),
            );
            filter::write(def, &select.filter, query)?;
            query.and_clients(&scope.clients, "_client");
            push(&mut query.sql, format_args!(" ORDER BY {by}, "));
            if let Some(time) = time {
                push(&mut query.sql, format_args!("{} DESC NULLS LAST, ", quoted(time)));
            }
            query.push("_seq DESC) AS newest)");
        }
    }
    Ok(())
}
