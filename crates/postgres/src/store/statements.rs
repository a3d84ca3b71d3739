//! The statements of a read, for tests that look at them.

use orderwire_store::testkit::Statement;
use orderwire_store::{Error, Select};
use orderwire_types::Scope;
use orderwire_types::dataset::DatasetDef;

use super::plan::Plan;

/// The statements of a read.
///
/// # Errors
/// As those of the read.
pub fn statements(def: &DatasetDef, scope: &Scope, select: &Select) -> Result<Vec<Statement>, Error> {
    let plan = Plan::new(def, scope, select)?;
    let queries = [plan.rows].into_iter().chain(plan.count);
    Ok(queries.map(|query| Statement { values: query.bound.len(), sql: query.sql }).collect())
}
