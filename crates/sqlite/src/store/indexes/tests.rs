use super::super::table;
use super::*;

fn def(key: &str, time: &str) -> DatasetDef {
    let fields = r#"[{"name":"k","type":"text","required":true},
        {"name":"at","type":"timestamp","required":true},{"name":"b","type":"timestamp"}]"#;
    serde_json::from_str(&format!(r#"{{"fields":{fields}{key}{time}}}"#)).unwrap()
}

fn name() -> DatasetName {
    "d".parse().unwrap()
}

/// The statements that made the indexes, by name.
fn made(connection: &Connection) -> Vec<String> {
    let mut statement =
        connection.prepare("SELECT sql FROM sqlite_schema WHERE type = 'index' ORDER BY name").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

fn mended(connection: &Connection, def: &DatasetDef, generation: u64) -> String {
    mend(&name(), def, Indexes::read(connection).unwrap().of(&name()), generation)
}

const KEY: &str = r#","key":["k","at"]"#;
const TIME: &str = r#","time":"at""#;

/// Letter by letter, because an index that is spelled otherwise is made anew.
#[test]
fn a_table_has_these_indexes() {
    let client = r#"CREATE INDEX "client_d#7" ON "data_d" (_client)"#;
    let key = r#"CREATE UNIQUE INDEX "key_d#7" ON "data_d" (_client, "k", "at")"#;
    let time = r#"CREATE INDEX "time_d#7" ON "data_d" (_client, "at")"#;
    let all_key = r#"CREATE INDEX "all_key_d#7" ON "data_d" ("k", "at") WHERE _seq <> 0"#;
    let all_time = r#"CREATE INDEX "all_time_d#7" ON "data_d" ("at") WHERE _seq <> 0"#;
    let by_time = r#"CREATE UNIQUE INDEX "key_d#7" ON "data_d" (_client, "at")"#;
    let all_by_time = r#"CREATE INDEX "all_key_d#7" ON "data_d" ("at") WHERE _seq <> 0"#;
    for (def, expected) in [
        (def("", ""), vec![client]),
        (def(KEY, ""), vec![all_key, client, key]),
        (def("", TIME), vec![all_time, client, time]),
        (def(KEY, TIME), vec![all_key, all_time, client, key, time]),
        (def(r#","key":["at"]"#, TIME), vec![all_by_time, client, by_time, time]),
    ] {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&table::create(&name(), &def, 7)).unwrap();
        assert_eq!(made(&connection), expected);
        assert_eq!(mended(&connection, &def, 8), "", "all is well");
    }
}

#[test]
fn what_is_missing_is_made_and_what_is_of_another_column_dropped() {
    let (old, new) = (def(KEY, TIME), def(KEY, r#","time":"b""#));
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(&table::create(&name(), &old, 7)).unwrap();
    // Of a dataset whose name begins the same, and of somebody else.
    connection.execute_batch(&table::create(&"d_2".parse().unwrap(), &old, 7)).unwrap();
    connection.execute_batch(r#"CREATE INDEX mine ON data_d (b); DROP INDEX "key_d#7""#).unwrap();
    let sql = mended(&connection, &new, 9);
    let mut lines: Vec<&str> = sql.lines().collect();
    lines.sort_unstable();
    let expected = [
        r#"CREATE INDEX "all_time_d#9" ON "data_d" ("b") WHERE _seq <> 0;"#,
        r#"CREATE INDEX "time_d#9" ON "data_d" (_client, "b");"#,
        r#"CREATE UNIQUE INDEX "key_d#9" ON "data_d" (_client, "k", "at");"#,
        r#"DROP INDEX "all_time_d#7";"#,
        r#"DROP INDEX "time_d#7";"#,
    ];
    assert_eq!(lines, expected);
    connection.execute_batch(&sql).unwrap();
    assert_eq!(mended(&connection, &new, 10), "");
    // Back again, under the same generation.
    connection.execute_batch(&mended(&connection, &old, 9)).unwrap();
    assert_eq!(mended(&connection, &old, 9), "");
}
