//! The plans of the statements: what is looked for is found by an index, so
//! that no cost grows with the number of orders and releases.

use jiff::Timestamp;
use orderwire_store::orders::{Order, OrderFilter, ReleaseFilter, ResourceFilter};
use orderwire_types::{Action, EventId, OrderState, RawJson, Scope, TraceId, scope};
use rusqlite::Connection;
use uuid::Uuid;

use super::read::{orders_query, releases_query, resources_query};
use super::rows::{CHANGING, FIXED, RELEASE, REVISION};
use crate::store::open::SCHEMA;

/// Every module with statements of its own.
const SOURCES: [&str; 8] = [
    include_str!("accept.rs"),
    include_str!("advance.rs"),
    include_str!("claim.rs"),
    include_str!("due.rs"),
    include_str!("read.rs"),
    include_str!("rows.rs"),
    include_str!("state.rs"),
    include_str!("sweep.rs"),
];

/// What is looked through on purpose.
const MEANT: [(&str, &str); 6] = [
    ("UPDATE provisioner", "of one row"),
    ("INSERT INTO release_turn", "of the two rows that are inserted"),
    ("AND (until IS NOT NULL OR ordered = 1)", "every release, once at start"),
    ("UPDATE release_work SET until = NULL WHERE target", "every release, once at start"),
    ("SELECT seq, at FROM order_change", "the oldest changes, in order of the table"),
    ("FROM order_change c CROSS JOIN", "the oldest changes, in order of the table"),
];

/// Every text in a source that begins as a statement does.
fn statements() -> Vec<String> {
    let mut found = Vec::new();
    for source in SOURCES {
        for verb in ["\"SELECT ", "\"UPDATE ", "\"DELETE ", "\"INSERT "] {
            for (at, _) in source.match_indices(verb) {
                let text = &source[at + 1..];
                let text = text[..text.find('"').expect("it ends")].replace("\\\n", " ");
                let columns = [("FIXED", FIXED), ("CHANGING", CHANGING), ("RELEASE", RELEASE)];
                let mut sql = text.replace("{REVISION}", REVISION);
                for (name, columns) in columns {
                    sql = sql.replace(&format!("{{{name}}}"), columns);
                }
                found.push(sql);
            }
        }
    }
    found
}

fn schema() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    for script in SCHEMA.migrations {
        db.execute_batch(script).unwrap();
    }
    db
}

fn plan(db: &Connection, sql: &str) -> Vec<String> {
    let mut explain = db
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap_or_else(|error| panic!("not a statement of this schema: {error}: {sql}"));
    let nulls = vec![rusqlite::types::Null; explain.parameter_count()];
    let rows = explain.query_map(rusqlite::params_from_iter(nulls), |row| row.get(3)).expect("a plan");
    rows.collect::<Result<_, _>>().expect("a plan")
}

fn is_slow(step: &str) -> bool {
    step.contains("TEMP B-TREE") || step.starts_with("SCAN ") && !step.starts_with("SCAN (subquery")
}

#[test]
fn no_statement_looks_through_a_table() {
    let db = schema();
    let statements = statements();
    assert!(statements.len() > 40, "{} statements", statements.len());
    let mut bad = Vec::new();
    for sql in &statements {
        // Lists are finished elsewhere.
        if sql.ends_with("WHERE 1") || MEANT.iter().any(|(part, _)| sql.contains(part)) {
            continue;
        }
        bad.extend(
            plan(&db, sql).into_iter().filter(|step| is_slow(step)).map(|step| format!("{step}: {sql}")),
        );
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn what_is_due_is_found_by_its_moment_and_turn() {
    let db = schema();
    let statements = statements();
    for (part, index) in [
        ("SELECT client FROM release_turn", "release_turn_ready (target=? AND ordered=?)"),
        ("SELECT at FROM release_turn WHERE target = ?1 AND ready = 1", "release_turn_ready (target=?)"),
        (
            "SELECT at FROM release_turn WHERE target = ?1 AND ready = 0",
            "release_turn_at (target=? AND at>?)",
        ),
        ("SET ready = 1", "release_turn_at (target=? AND at<?)"),
        (
            "SELECT release FROM release_work",
            "release_work_at (target=? AND client=? AND ordered=? AND at<?)",
        ),
        ("SET ready = 0, at = (SELECT", "release_work_at (target=? AND client=? AND ordered=? AND at>?)"),
    ] {
        let sql = statements.iter().find(|sql| sql.contains(part)).unwrap();
        let plan = plan(&db, sql).join("\n");
        assert!(plan.contains(index), "{sql}: {plan}");
    }
}

fn only(clients: &[&str]) -> Scope {
    let clients = clients.iter().map(|name| name.parse().unwrap()).collect();
    Scope { clients: scope::Clients::Only(clients), ..Scope::internal("test") }
}

fn newest() -> Order {
    Order {
        id: EventId(Uuid::nil()),
        trace: TraceId::from_uuid(Uuid::nil()),
        client: "a".parse().unwrap(),
        name: String::new(),
        product: String::new(),
        environment: String::new(),
        archtype: None,
        hardware: None,
        namespace: String::new(),
        target: String::new(),
        action: Action::Apply,
        to_revision: None,
        parameters: RawJson::parse("{}".to_owned()).unwrap(),
        principal: String::new(),
        fingerprint: [0; 16],
        ordered_at: Timestamp::UNIX_EPOCH,
        depth: 0,
        release: None,
        state: OrderState::Ready,
        reason: None,
        revision: None,
        cancel: false,
        removed: Vec::new(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn a_page_of_a_list_needs_no_sorting() {
    let db = schema();
    let filter = OrderFilter::default;
    let after = newest();
    for scope in [Scope::internal("test"), only(&["a"])] {
        for filter in [
            filter(),
            OrderFilter { trace: Some(Uuid::nil()), ..filter() },
            OrderFilter { release: Some(Uuid::nil()), ..filter() },
            OrderFilter { state: Some(OrderState::Failed), ..filter() },
        ] {
            for after in [None, Some(&after)] {
                let sql = orders_query(&scope, &filter, after, 10).sql;
                let plan = plan(&db, &sql).join("\n");
                assert!(
                    plan.contains("USING INDEX release_order_") && !plan.contains("TEMP"),
                    "{plan}: {sql}"
                );
            }
        }
        let named = ResourceFilter { name: Some("web".to_owned()), ..ResourceFilter::default() };
        for filter in [ResourceFilter { kind: Some("Process".to_owned()), ..named.clone() }, named] {
            let sql = resources_query(&scope, &filter, 10).sql;
            let plan = plan(&db, &sql).join("\n");
            assert!(
                plan.contains("revision_resource_name (name=?")
                    && !plan.contains("TEMP")
                    && !plan.contains("SCAN"),
                "{plan}: {sql}"
            );
        }
        for removed in [false, true] {
            let filter = ReleaseFilter { removed, ..ReleaseFilter::default() };
            let sql = releases_query(&scope, &filter, None, 10).sql;
            let plan = plan(&db, &sql).join("\n");
            assert!(plan.contains("USING INDEX release_") && !plan.contains("TEMP"), "{plan}: {sql}");
        }
    }
}
