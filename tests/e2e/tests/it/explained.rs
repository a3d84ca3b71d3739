//! The statements that a PostgreSQL ran, by its own word.

use anyhow::Result;
use orderwire_e2e::postgres::Postgres;
use serde_json::Value;

/// Has it write down each statement of Orderwire, and what it cost as it ran.
pub(crate) fn explain(postgres: &Postgres) -> Result<()> {
    for setting in [
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_analyze = on",
        "auto_explain.log_buffers = on",
        "auto_explain.log_format = 'json'",
    ] {
        postgres.tell(&format!("ALTER ROLE orderwire SET {setting}"))?;
    }
    Ok(())
}

/// The reads of a dataset so far, one after the other.
pub(crate) fn reads(postgres: &Postgres, dataset: &str) -> Result<Vec<Value>> {
    let from = format!("FROM data.\"{dataset}\"");
    let log = postgres.log()?;
    let explained = log.split("  plan:\n").skip(1).filter_map(|entry| {
        let lines: Vec<&str> = entry.lines().take_while(|line| line.starts_with('\t')).collect();
        // The last one may be written while it is read.
        serde_json::from_str::<Value>(&lines.join("\n")).ok()
    });
    Ok(explained.filter(|read| read["Query Text"].as_str().is_some_and(|sql| sql.contains(&from))).collect())
}
