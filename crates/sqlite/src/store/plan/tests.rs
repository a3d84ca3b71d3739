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
    Filter::Compare { column: column.into(), compare }
}

fn after(second: i64) -> Filter {
    compare("at", Compare::Gte(Operand::Timestamp(Timestamp::from_second(second).unwrap())))
}

fn before(second: i64) -> Filter {
    compare("at", Compare::Lt(Operand::Timestamp(Timestamp::from_second(second).unwrap())))
}

fn by(column: &str) -> Vec<OrderBy> {
    vec![OrderBy { column: column.into(), descending: false, nulls: Nulls::Last }]
}

fn station(name: &str) -> Filter {
    compare("station", Compare::Eq(Operand::Text(name.to_owned())))
}

/// How SQLite reads it.
fn explained(scope: &Scope, filter: Filter, order: Vec<OrderBy>) -> String {
    explained_of(DEF, scope, filter, order)[0].clone()
}

/// How SQLite reads the rows, and how it counts them.
fn explained_of(def: &str, scope: &Scope, filter: Filter, order: Vec<OrderBy>) -> [String; 2] {
    explained_as(def, scope, filter, Vec::new(), order)
}

/// The same of the newest row of each station.
fn explained_latest(scope: &Scope, filter: Filter) -> [String; 2] {
    explained_as(DEF, scope, filter, vec!["station".to_owned()], by("station"))
}

fn explained_as(
    def: &str,
    scope: &Scope,
    filter: Filter,
    latest: Vec<String>,
    order: Vec<OrderBy>,
) -> [String; 2] {
    let def: DatasetDef = serde_json::from_str(def).unwrap();
    let name = "d".parse().unwrap();
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(&table::create(&name, &def, 7)).unwrap();
    let column = Column::named("v", "v");
    let columns = vec![column];
    let select =
        Select { latest, dataset: name, columns, filter, order, limit: 100, offset: 0, count: Count::Exact };
    let plan = Plan::new(&def, scope, &select).unwrap();
    let explain = |query: &Query, page: &[Binding]| {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", query.sql)).unwrap();
        let bound = params_from_iter(query.bound.iter().chain(page));
        let lines = statement.query_map(bound, |row| row.get::<_, String>("detail")).unwrap();
        lines.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("\n")
    };
    let page = [Binding::Integer(100), Binding::Integer(0)];
    [explain(&plan.rows, &page), explain(plan.count.as_ref().unwrap(), &[])]
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

const OF_CLIENTS: [&[&str]; 2] = [&["a"], &["a", "b"]];

#[test]
fn keys_are_looked_up() {
    let key = || Filter::And(vec![station("x"), after(1)]);
    for clients in OF_CLIENTS {
        let plan = explained(&only(clients), key(), by("at"));
        assert!(plan.contains("INDEX key_d#7 (_client=? AND station=? AND at>?)"), "{plan}");
    }
}

#[test]
fn ranges_of_time_are_looked_up() {
    let range = || Filter::And(vec![after(1), before(9)]);
    for clients in OF_CLIENTS {
        let plan = explained(&only(clients), range(), by("at"));
        assert!(plan.contains("INDEX time_d#7 (_client=? AND at>? AND at<?)"), "{plan}");
        let plan = explained(&only(clients), after(1), by("at"));
        assert!(plan.contains("INDEX time_d#7 (_client=? AND at>?)"), "{plan}");
    }
    // One client's rows in order of time need no sorting beyond ties.
    let plan = explained(&only(&["a"]), after(1), by("at"));
    assert!(!plan.contains("B-TREE"), "{plan}");
}

/// The newest row of each station: from key to key, whoever's they are.
#[test]
fn the_newest_of_each_key_is_looked_up() {
    for scope in [Scope::internal("test"), only(&["a"]), only(&["a", "b"])] {
        let filter = Filter::And(vec![after(1), station("x")]);
        for plan in explained_latest(&scope, filter) {
            let reads: Vec<&str> = plan.lines().filter(|line| line.contains("data_d")).collect();
            assert!(reads.iter().all(|line| line.starts_with("SEARCH data_d")), "{plan}");
            let key = "INDEX key_d#7 (_client=? AND station=? AND at>?)";
            assert!(reads.iter().any(|line| line.contains(key)), "{plan}");
            assert!(reads.iter().any(|line| line.contains("INTEGER PRIMARY KEY (rowid=?)")), "{plan}");
        }
    }
}

/// What is sorted is only rows of the same moment.
const TIES: &str = "USE TEMP B-TREE FOR LAST TERM OF ORDER BY";

fn newest() -> Vec<OrderBy> {
    vec![OrderBy { descending: true, ..by("at").remove(0) }]
}

/// The same as of one client: not a step for each of them, and no sorting.
#[test]
fn all_clients_are_read_by_key_and_time_at_once() {
    let all = Scope::internal("test");
    let range = |filters: &[Filter]| Filter::And([filters, &[after(1), before(9)]].concat());
    let index = "SEARCH data_d USING INDEX";
    for (filter, used) in [
        (station("x"), format!("{index} all_key_d#7 (station=?)")),
        (range(&[station("x")]), format!("{index} all_key_d#7 (station=? AND at>? AND at<?)")),
        (range(&[]), format!("{index} all_time_d#7 (at>? AND at<?)")),
        (after(1), format!("{index} all_time_d#7 (at>?)")),
        (Filter::And(Vec::new()), "SCAN data_d USING INDEX all_time_d#7".to_owned()),
    ] {
        assert_eq!(explained(&all, filter.clone(), by("at")), used, "oldest first: {filter:?}");
        assert_eq!(explained(&all, filter.clone(), newest()), format!("{used}\n{TIES}"), "{filter:?}");
        // The index says how many there are.
        let [_, count] = explained_of(DEF, &all, filter, by("at"));
        assert_eq!(count, used.replace("INDEX", "COVERING INDEX"));
    }
    let some = Compare::In(vec![Operand::Text("x".to_owned()), Operand::Text("y".to_owned())]);
    let plan = explained(&all, compare("station", some), Vec::new());
    assert!(plan.contains("INDEX all_key_d#7 (station=?)"), "{plan}");
}

/// The index by key does for both where it begins with the time.
#[test]
fn a_key_that_begins_with_the_time_is_looked_up_by_it() {
    let def = DEF.replace(r#""key":["station","at"]"#, r#""key":["at","station"]"#);
    let all = Scope::internal("test");
    for (filter, used) in [
        (Filter::And(vec![after(1), before(9)]), "SEARCH data_d USING INDEX all_key_d#7 (at>? AND at<?)"),
        (Filter::And(Vec::new()), "SCAN data_d USING INDEX all_key_d#7"),
    ] {
        let [plan, _] = explained_of(&def, &all, filter, by("at"));
        assert_eq!(plan, format!("{used}\n{TIES}"));
    }
}

/// They would be gone through for the rows of a few.
#[test]
fn the_indexes_of_all_clients_are_not_taken_for_some() {
    let named = |name: &str| compare("_client", Compare::Eq(Operand::Text(name.to_owned())));
    for filter in [Filter::And(Vec::new()), station("x"), after(1), Filter::And(vec![after(1), before(9)])] {
        for order in [Vec::new(), by("at"), newest(), by("station"), by("v")] {
            for clients in OF_CLIENTS {
                let plan = explained(&only(clients), filter.clone(), order.clone());
                assert!(!plan.contains("INDEX all_"), "{clients:?} {filter:?} {order:?}: {plan}");
            }
            let filter = Filter::And(vec![named("a"), filter.clone()]);
            let plan = explained(&Scope::internal("test"), filter, order);
            assert!(plan.contains("(_client=?"), "{plan}");
        }
    }
}

/// What no index narrows is not read row by row in the order of one.
#[test]
fn all_rows_in_the_order_of_a_column_are_sorted() {
    for column in ["station", "v"] {
        let plan = explained(&Scope::internal("test"), Filter::And(Vec::new()), by(column));
        assert_eq!(plan, "SCAN data_d\nUSE TEMP B-TREE FOR ORDER BY");
    }
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

/// How many steps SQLite takes for a page that begins behind the row of this number.
fn steps(connection: &Connection, scope: &Scope, order: Vec<OrderBy>, filter: Filter) -> i32 {
    let def: DatasetDef = serde_json::from_str(DEF).unwrap();
    let columns = vec![Column::named("v", "v")];
    let count = Count::None;
    let select = Select {
        latest: Vec::new(),
        dataset: "d".parse().unwrap(),
        columns,
        filter,
        order,
        limit: 10,
        offset: 0,
        count,
    };
    let plan = Plan::new(&def, scope, &select).unwrap();
    let mut statement = connection.prepare(&plan.rows.sql).unwrap();
    let page = [Binding::Integer(10), Binding::Integer(0)];
    let mut rows = statement.query(params_from_iter(plan.rows.bound.iter().chain(&page))).unwrap();
    let mut count = 0;
    while rows.next().unwrap().is_some() {
        count += 1;
    }
    drop(rows);
    assert_eq!(count, 10);
    statement.get_status(rusqlite::StatementStatus::VmStep)
}

#[test]
fn page_ten_thousand_takes_as_many_steps_as_page_one() {
    const ROWS: i64 = 120_000;
    let def: DatasetDef = serde_json::from_str(DEF).unwrap();
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(&table::create(&"d".parse().unwrap(), &def, 7)).unwrap();
    connection
        .execute(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1) INSERT INTO data_d \
             SELECT n, 'a', x'00', x'00', 0, 's' || (n % 3), n / 2 * 1000000, n FROM n",
            [ROWS],
        )
        .unwrap();
    let moment = |n: i64| Operand::Timestamp(Timestamp::from_second(n / 2).unwrap());
    let seq = |n: i64| compare("_seq", Compare::Gt(Operand::Integer(n)));
    // As cursors are: the range of the index, and what of it is behind the row.
    let by_time = |n: i64| {
        let further = compare("at", Compare::Gt(moment(n)));
        let tie = Filter::And(vec![compare("at", Compare::Eq(moment(n))), seq(n)]);
        let range = Filter::From { values: vec![("at".into(), moment(n))], descending: false };
        Filter::And(vec![range, Filter::Or(vec![further, tie])])
    };
    let nothing = || Filter::And(Vec::new());
    for scope in [Scope::internal("test"), only(&["a"])] {
        for (order, page) in [(Vec::new(), seq(100_000)), (by("at"), by_time(100_000))] {
            let first = steps(&connection, &scope, order.clone(), nothing());
            let far = steps(&connection, &scope, order.clone(), page);
            assert!(far <= 2 * first, "{order:?} {:?}: {first} steps, then {far}", scope.clients);
        }
    }
}
