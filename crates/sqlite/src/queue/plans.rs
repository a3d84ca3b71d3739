//! The plans of all cached statements: a look-up by an index each, so that no
//! cost grows with what waits.

use rusqlite::Connection;

/// Every module with statements.
const SOURCES: [&str; 16] = [
    include_str!("append.rs"),
    include_str!("claim.rs"),
    include_str!("dead.rs"),
    include_str!("ends.rs"),
    include_str!("lane.rs"),
    include_str!("letters.rs"),
    include_str!("oldest.rs"),
    include_str!("peek.rs"),
    include_str!("read.rs"),
    include_str!("../remembered.rs"),
    include_str!("settle.rs"),
    include_str!("state.rs"),
    include_str!("steps.rs"),
    include_str!("stream.rs"),
    include_str!("sweep.rs"),
    include_str!("told.rs"),
];

/// What is looked through, or sorted, on purpose.
const MEANT: [(&str, &str); 9] = [
    ("UPDATE meta", "of one row"),
    ("FROM queue", "queues are few"),
    ("FROM remembered_part", "parts are few"),
    ("FROM fresh_id ORDER BY n LIMIT", "the oldest ids, in order of the list"),
    ("FROM fresh_trace WHERE trace", "few are on their way"),
    ("FROM step ORDER BY n LIMIT", "the oldest steps, in order of the table"),
    ("FROM dead WHERE died_at < ?1", "the oldest letters, by an index"),
    ("FROM lane WHERE state <> 0", "timers, by an index"),
    (
        "FROM delivery WHERE queue = ?1 AND segment = ?2\n         ORDER BY position LIMIT ?3",
        "within a segment",
    ),
];

fn statements() -> Vec<String> {
    let mut found = Vec::new();
    for source in SOURCES {
        for part in source.split("prepare_cached(").skip(1) {
            let text = part.trim_start();
            let text = text.strip_prefix('"').expect("a statement is written where it is prepared");
            found.push(text[..text.find('"').expect("it ends")].to_owned());
        }
    }
    found
}

fn plan(db: &Connection, sql: &str) -> Vec<String> {
    let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a statement of this schema");
    let nulls = vec![rusqlite::types::Null; explain.parameter_count()];
    let rows = explain.query_map(rusqlite::params_from_iter(nulls), |row| row.get(3)).expect("a plan");
    rows.collect::<Result<_, _>>().expect("a plan")
}

#[test]
fn no_statement_looks_through_a_table() {
    let db = Connection::open_in_memory().unwrap();
    for migration in super::SCHEMA.migrations {
        db.execute_batch(migration).unwrap();
    }
    let statements = statements();
    assert!(statements.len() > 50, "{} statements", statements.len());
    let mut bad = Vec::new();
    for sql in &statements {
        if ["BEGIN", "COMMIT"].contains(&sql.split(' ').next().unwrap_or_default())
            || MEANT.iter().any(|(part, _)| sql.contains(part))
        {
            continue;
        }
        // A subquery is bounded by a limit of its own.
        let slow = |step: &String| {
            step.contains("TEMP B-TREE") || step.starts_with("SCAN ") && !step.starts_with("SCAN (subquery")
        };
        bad.extend(plan(&db, sql).into_iter().filter(slow).map(|step| format!("{step}: {sql}")));
    }
    assert!(bad.is_empty(), "{bad:#?}");
    // What is of one client is found by the client.
    let of_client: Vec<&String> = statements.iter().filter(|sql| sql.contains("client = ?")).collect();
    assert!(of_client.len() > 5, "{of_client:#?}");
    for sql in of_client {
        let plan = plan(&db, sql).concat();
        assert!(plan.contains("client=?"), "{plan}: {sql}");
    }
}
