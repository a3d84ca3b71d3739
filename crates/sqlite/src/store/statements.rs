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
    // Those of limit and offset follow.
    let rows = Statement { values: plan.rows.bound.len() + 2, sql: plan.rows.sql };
    let count = plan.count.map(|count| Statement { values: count.bound.len(), sql: count.sql });
    Ok([rows].into_iter().chain(count).collect())
}
