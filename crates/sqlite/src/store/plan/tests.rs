use jiff::Timestamp;
use orderwire_store::{Column, Operand, OrderBy};
use orderwire_types::Client;
use rusqlite::{Connection, params_from_iter};

use super::super::table;
use super::*;

const DEF: &str = r#"{"fields":[{"name":"station","type":"text","required":true},
    {"name":"at","type":"timestamp","required":true},{"name":"v","type":"float"}],
    "key":["station","at"],"time":"at"}"#;

fn only(clients: &[&str]) -> Scope {
    let clients = clients.iter().map(|name| name.parse::<Client>().unwrap()).collect();
    Scope { clients: Clients::Only(clients), ..Scope::internal("test") }
}

fn compare(column: &str, compare: Compare) -> Filter {
    Filter::Compare { column: column.to_owned(), compare }
}

fn after(second: i64) -> Filter {
    compare("at", Compare::Gte(Operand::Timestamp(Timestamp::from_second(second).unwrap())))
}

fn before(second: i64) -> Filter {
    compare("at", Compare::Lt(Operand::Timestamp(Timestamp::from_second(second).unwrap())))
}

fn by(column: &str) -> Vec<OrderBy> {
    vec![OrderBy { column: column.to_owned(), descending: false, nulls: Nulls::Last }]
}

/// How SQLite reads it.
fn explained(scope: &Scope, filter: Filter, order: Vec<OrderBy>) -> String {
    let def: DatasetDef = serde_json::from_str(DEF).unwrap();
    let name = "d".parse().unwrap();
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(&table::create(&name, &def, 7)).unwrap();
    let column = Column { name: "v".to_owned(), alias: "v".to_owned() };
    let columns = vec![column];
    let select = Select { dataset: name, columns, filter, order, limit: 100, offset: 0, count: Count::None };
    let plan = Plan::new(&def, scope, &select).unwrap();
    let page = [Binding::Integer(100), Binding::Integer(0)];
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", plan.rows)).unwrap();
    let bound = params_from_iter(plan.bound.iter().chain(&page));
    let lines = statement.query_map(bound, |row| row.get::<_, String>("detail")).unwrap();
    lines.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("\n")
}

#[test]
fn pages_by_seq_need_no_sorting() {
    let seq = || compare("_seq", Compare::Gt(Operand::Integer(5)));
    for (scope, expected) in [
        (Scope::internal("test"), "INTEGER PRIMARY KEY (rowid>?)"),
        (only(&["a"]), "INDEX client_d#7 (_client=? AND rowid>?)"),
        (only(&["a", "b"]), "INTEGER PRIMARY KEY (rowid>?)"),
    ] {
        for order in [Vec::new(), by("_seq")] {
            let plan = explained(&scope, seq(), order);
            assert!(plan.contains(expected) && !plan.contains("B-TREE"), "{:?}: {plan}", scope.clients);
        }
        // The first page as well.
        let plan = explained(&scope, Filter::And(Vec::new()), Vec::new());
        assert!(!plan.contains("B-TREE"), "{:?}: {plan}", scope.clients);
    }
}

#[test]
fn keys_are_looked_up() {
    let key = || {
        let text = Operand::Text("x".to_owned());
        Filter::And(vec![compare("station", Compare::Eq(text)), after(1)])
    };
    for scope in [Scope::internal("test"), only(&["a"]), only(&["a", "b"])] {
        let plan = explained(&scope, key(), by("at"));
        assert!(plan.contains("INDEX key_d#7 (_client=? AND station=? AND at>?)"), "{plan}");
    }
}

#[test]
fn ranges_of_time_are_looked_up() {
    let range = || Filter::And(vec![after(1), before(9)]);
    for scope in [Scope::internal("test"), only(&["a"]), only(&["a", "b"])] {
        let plan = explained(&scope, range(), by("at"));
        assert!(plan.contains("INDEX time_d#7 (_client=? AND at>? AND at<?)"), "{plan}");
        let plan = explained(&scope, after(1), by("at"));
        assert!(plan.contains("INDEX time_d#7 (_client=? AND at>?)"), "{plan}");
    }
    // One client's rows in order of time need no sorting beyond ties.
    let plan = explained(&only(&["a"]), after(1), by("at"));
    assert!(!plan.contains("B-TREE"), "{plan}");
}

#[test]
fn an_open_range_of_all_clients_does_not_sort_a_page_by_seq() {
    let plan = explained(&Scope::internal("test"), after(1), Vec::new());
    assert_eq!(plan, "SCAN data_d");
}

#[test]
fn a_condition_within_an_alternative_narrows_nothing() {
    let def: DatasetDef = serde_json::from_str(DEF).unwrap();
    let either = Filter::Or(vec![after(1), before(9)]);
    assert_eq!(narrowing(&def, &either), Narrowing::default());
    assert_eq!(narrowing(&def, &Filter::Not(Box::new(after(1)))), Narrowing::default());
    let nested = Filter::And(vec![Filter::And(vec![after(1)]), before(9)]);
    assert_eq!(narrowing(&def, &nested), Narrowing { from: true, until: true, ..Narrowing::default() });
}
