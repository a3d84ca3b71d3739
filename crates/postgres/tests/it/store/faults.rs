//! What goes wrong at the server, and what others do to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use orderwire_postgres::store::{Options, PostgresStore};
use orderwire_servers::proxy::{Proxy, Wire};
use orderwire_store::{Compare, Datasets, ErrorKind, Filter, Keys, OrderBy, Select, select};
use orderwire_types::Scope;
use proptest::prelude::*;
use tokio_postgres::Client;

use super::support::{batch, column, def, numbers, open, read, rows};
use crate::support::{TestDatabase, TestServer, connect};

fn scope() -> Scope {
    Scope::internal("test")
}

/// Nothing that was acknowledged is missing, and nothing is there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restarted_under_load_loses_and_doubles_nothing() {
    let server = TestServer::start("");
    let store = Arc::new(
        PostgresStore::open(Options::new(orderwire_postgres::Options::for_testing(server.url())))
            .await
            .unwrap(),
    );
    store.define(&scope(), &"d".parse().unwrap(), &numbers(), Timestamp::UNIX_EPOCH).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let recorder = {
        let (store, stop) = (store.clone(), stop.clone());
        tokio::spawn(async move {
            let mut position = 0;
            let mut failed = 0;
            while !stop.load(Ordering::SeqCst) {
                let n = position;
                match store.record(batch(n, n + 1, &format!(r#"[{{"n":{n}}},{{"n":{n}}}]"#))).await {
                    Ok(_) => position += 1,
                    // As the recorder does: nothing is known of this batch, so ask.
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                        failed += 1;
                        if let Ok(is) = store.position("data").await {
                            assert!(is == position || is == position + 1, "{is} after {position}");
                            position = is;
                        }
                        tokio::task::yield_now().await;
                    }
                }
            }
            (position, failed)
        })
    };
    let moved = async |least: i64| {
        let began = Instant::now();
        while store.position("data").await.unwrap_or(0) < least {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing more is recorded");
            // tidy: sleep because the recorder goes on meanwhile
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    moved(5).await;
    let mut least = 5;
    for mode in ["immediate", "fast", "immediate"] {
        server.stop(mode);
        server.begin();
        least = store.position("data").await.unwrap_or(least) + 20;
        moved(least).await;
    }
    stop.store(true, Ordering::SeqCst);
    let (position, failed) = recorder.await.unwrap();
    assert_eq!(store.position("data").await.unwrap(), position);
    let expected: Vec<String> =
        (0..position).flat_map(|n| [format!("Integer({n})"), format!("Integer({n})")]).collect();
    assert_eq!(rows(&*store, "n").await.unwrap(), expected, "after {failed} failures");
}

/// A COMMIT whose answer is lost is asked for: what it did is not done again, and what it did
/// not do is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_an_answer_is_done_once() {
    let database = TestDatabase::new().await;
    let mut url = url::Url::parse(&database.url()).unwrap();
    let proxy = Proxy::to(url.port().unwrap_or(5432)).await.unwrap();
    url.set_port(Some(proxy.port())).unwrap();
    let options = Options::new(orderwire_postgres::Options::for_testing(url));
    let store = Arc::new(PostgresStore::open(options).await.unwrap());
    store.define(&scope(), &"d".parse().unwrap(), &numbers(), Timestamp::UNIX_EPOCH).await.unwrap();
    let client = connect(&database.url()).await;
    let long_commits = "CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql \
                        AS 'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END'; \
                        CREATE CONSTRAINT TRIGGER wait AFTER INSERT OR UPDATE ON store.reader \
                        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.wait()";
    client.batch_execute(long_commits).await.unwrap();
    let position = async || {
        let sql = "SELECT coalesce(max(position), 0) FROM store.reader";
        client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0)
    };
    for n in 0..6 {
        let recording = {
            let store = store.clone();
            tokio::spawn(async move { store.record(batch(n, n + 1, &format!(r#"{{"n":{n}}}"#))).await })
        };
        let began = Instant::now();
        while !running(&client).await.iter().any(|sql| sql == "COMMIT") {
            assert!(began.elapsed() < Duration::from_secs(20), "nothing is committed");
        }
        if n % 2 == 0 {
            // It happens, and nobody says so.
            proxy.make(Wire::Deaf);
            while position().await == n {
                assert!(began.elapsed() < Duration::from_secs(20), "nothing is committed");
            }
            proxy.cut();
        } else {
            let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE datname = current_database() AND query = 'COMMIT' AND state = 'active'";
            client.query(end, &[]).await.unwrap();
        }
        let recorded = recording.await.unwrap().unwrap();
        assert_eq!((recorded[0].written, position().await), (1, n + 1));
    }
    let expected: Vec<String> = (0..6).map(|n| format!("Integer({n})")).collect();
    assert_eq!(rows(&*store, "n").await.unwrap(), expected);
}

/// A server that crashes before it wrote anything of a transaction may give its id to another
/// one. Whether it does depends on how much of its log was on disk by chance; this holds
/// either way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_a_crash_undid_is_not_taken_for_another_with_its_id() {
    // Nobody writes the log on behalf of others.
    let server = TestServer::start("wal_writer_delay = 10s\nautovacuum = off");
    let mut url = url::Url::parse(&server.url()).unwrap();
    let proxy = Proxy::to(url.port().unwrap()).await.unwrap();
    url.set_port(Some(proxy.port())).unwrap();
    let options = Options::new(orderwire_postgres::Options::for_testing(url));
    let store = Arc::new(PostgresStore::open(options).await.unwrap());
    store.define(&scope(), &"d".parse().unwrap(), &numbers(), Timestamp::UNIX_EPOCH).await.unwrap();
    store.record(batch(0, 1, r#"{"n":0}"#)).await.unwrap();
    let client = connect(&server.url()).await;
    let long_commits = "CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql \
                        AS 'BEGIN PERFORM pg_sleep(600); RETURN NULL; END'; \
                        CREATE CONSTRAINT TRIGGER wait AFTER INSERT OR UPDATE ON store.reader \
                        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.wait(); \
                        CREATE TABLE public.other (n bigint); CHECKPOINT";
    client.batch_execute(long_commits).await.unwrap();
    let recording = {
        let store = store.clone();
        tokio::spawn(async move { store.record(batch(1, 2, r#"{"n":1}"#)).await })
    };
    let began = Instant::now();
    while !running(&client).await.iter().any(|sql| sql == "COMMIT") {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing is committed");
    }
    server.stop("immediate");
    proxy.make(Wire::Cut);
    server.begin();
    // Those that come next, before anybody asks, have the ids that are free.
    let client = connect(&server.url()).await;
    client.batch_execute("DROP FUNCTION public.wait() CASCADE").await.unwrap();
    for _ in 0..20 {
        client.batch_execute("INSERT INTO public.other VALUES (1)").await.unwrap();
    }
    proxy.make(Wire::Good);
    let recorded = recording.await.unwrap();
    let expected = if recorded.is_ok() { vec!["Integer(0)", "Integer(1)"] } else { vec!["Integer(0)"] };
    assert_eq!(rows(&*store, "n").await.unwrap(), expected, "{recorded:?}");
}

/// What the server does for this database, but for us.
async fn running(client: &Client) -> Vec<String> {
    let sql = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
               AND pid <> pg_backend_pid()";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn until_running(client: &Client, wanted: bool) {
    let began = Instant::now();
    loop {
        let running = running(client).await;
        if running.iter().any(|sql| sql.contains("FROM data.")) == wanted {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "expected {wanted}: {running:?}");
        // tidy: sleep because the server says nothing by itself
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A read that takes the server longer than anyone waits.
async fn slow(database: &TestDatabase) -> (Arc<PostgresStore>, Select) {
    let store = Arc::new(open(database).await.unwrap());
    let text = def(r#"{"fields":[{"name":"t","type":"text"}]}"#);
    store.define(&scope(), &"d".parse().unwrap(), &text, Timestamp::UNIX_EPOCH).await.unwrap();
    // From behind its back: rows of which each costs a match of a hostile pattern.
    let fill = "INSERT INTO data.d SELECT n, 'acme', gen_random_uuid(), gen_random_uuid(), now(), repeat('a', 60000) \
                FROM generate_series(1, 400) n";
    connect(&database.url()).await.batch_execute(fill).await.unwrap();
    let pattern = format!("%{}b%", "a".repeat(900));
    let like = Compare::Like { pattern, ignore_case: false };
    let filter = Filter::Compare { column: "t".into(), compare: like };
    (store, Select { filter, ..column("t") })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_whose_call_is_dropped_ends_at_the_server() {
    let database = TestDatabase::new().await;
    let (store, select) = slow(&database).await;
    let client = connect(&database.url()).await;
    let reading = {
        let store = store.clone();
        tokio::spawn(async move { read(&*store, select, Duration::from_secs(600)).await.map(drop) })
    };
    until_running(&client, true).await;
    reading.abort();
    let began = Instant::now();
    until_running(&client, false).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_whose_time_is_up_ends_at_the_server() {
    let database = TestDatabase::new().await;
    let (store, select) = slow(&database).await;
    let client = connect(&database.url()).await;
    let error = read(&*store, select, Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooCostly, "{error}");
    until_running(&client, false).await;
    assert_eq!(rows(&*store, "t").await.unwrap().len(), 400, "other reads are well");
}

/// Who changes a table waits for those that use it, and those that come later for him.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_changes_while_rows_are_recorded_and_read() {
    let database = TestDatabase::new().await;
    let store = Arc::new(open(&database).await.unwrap());
    let name = "d".parse().unwrap();
    let with = |columns: usize| {
        let fields: Vec<String> =
            (0..columns).map(|n| format!(r#"{{"name":"c{n}","type":"integer"}}"#)).collect();
        def(&format!(r#"{{"fields":[{}],"unknown":"ignore"}}"#, fields.join(",")))
    };
    store.define(&scope(), &name, &with(1), Timestamp::UNIX_EPOCH).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let recorder = {
        let (store, stop) = (store.clone(), stop.clone());
        tokio::spawn(async move {
            let mut n = 0;
            while !stop.load(Ordering::SeqCst) {
                store.record(batch(n, n + 1, r#"{"c0":1,"c1":1,"c9":1}"#)).await.unwrap();
                n += 1;
            }
            n
        })
    };
    let reader = {
        let (store, stop) = (store.clone(), stop.clone());
        tokio::spawn(async move {
            let mut seen = 0;
            while !stop.load(Ordering::SeqCst) {
                let now = rows(&*store, "c0").await.unwrap().len();
                assert!(now >= seen);
                seen = now;
            }
        })
    };
    for columns in 2..=10 {
        store.define(&scope(), &name, &with(columns), Timestamp::UNIX_EPOCH).await.unwrap();
        let at = store.position("data").await.unwrap();
        let began = Instant::now();
        while store.position("data").await.unwrap() < at + 3 {
            assert!(began.elapsed() < Duration::from_secs(20), "recording stands still");
        }
    }
    stop.store(true, Ordering::SeqCst);
    let recorded = recorder.await.unwrap();
    reader.await.unwrap();
    let all = rows(&*store, "c9").await.unwrap();
    assert_eq!(all.len(), usize::try_from(recorded).unwrap());
    assert!(all.iter().any(|cell| cell == "Null") && all.iter().any(|cell| cell == "Integer(1)"));
}

/// As a row may be that was accepted before its key was measured.
#[tokio::test]
async fn a_key_that_is_too_long_for_an_index_is_named_with_what_to_do() {
    let database = TestDatabase::new().await;
    let store = open(&database).await.unwrap();
    let keyed = def(r#"{"fields":[{"name":"k","type":"text","required":true}],"key":["k"]}"#);
    store.define(&scope(), &"d".parse().unwrap(), &keyed, Timestamp::UNIX_EPOCH).await.unwrap();
    // One that does not become short when the server compresses it.
    let mut random = fastrand::Rng::with_seed(7);
    let long: String = (0..8_000).map(|_| random.alphanumeric()).collect();
    let mut recording = batch(0, 1, r#"{"k":"short"}"#);
    let mut second = batch(1, 2, &format!(r#"{{"k":"{long}"}}"#));
    recording.events.append(&mut second.events);
    let error = store.record(recording).await.unwrap_err();
    assert_eq!((error.kind(), error.entry()), (ErrorKind::Invalid, Some(1)), "{error}");
    let said = error.to_string();
    assert!(said.contains("shorten those of the key, or keep what is long in a column"), "{said}");
    assert_eq!(rows(&store, "k").await.unwrap().len(), 0, "nothing of the batch was recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_with_psql_finds_plain_typed_tables() {
    let database = TestDatabase::new().await;
    let store = open(&database).await.unwrap();
    let given = def(r#"{"fields":[{"name":"site","type":"text","required":true},
            {"name":"at","type":"timestamp","required":true},
            {"name":"air","type":"float","unit":"°C","description":"it's the air's"},
            {"name":"raw","type":"json"},{"name":"ok","type":"boolean"},{"name":"n","type":"integer"}],
            "key":["site","at"],"time":"at"}"#);
    store.define(&scope(), &"d".parse().unwrap(), &given, Timestamp::UNIX_EPOCH).await.unwrap();
    let client = connect(&database.url()).await;
    let texts = async |sql: &str| -> Vec<String> {
        client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    };
    let columns = "SELECT format('%s %s%s %s', a.attname, format_type(a.atttypid, a.atttypmod), \
                   CASE WHEN a.attnotnull THEN ' not null' END, col_description(a.attrelid, a.attnum)) \
                   FROM pg_attribute a WHERE a.attrelid = 'data.d'::regclass AND a.attnum > 0 ORDER BY a.attnum";
    let expected = [
        "_seq bigint not null ",
        "_client text not null ",
        "_event_id uuid not null ",
        "_trace_id uuid not null ",
        "_recorded_at timestamp with time zone not null ",
        "site text not null ",
        "at timestamp with time zone not null ",
        "air double precision it's the air's [°C]",
        "raw json ",
        "ok boolean ",
        "n bigint ",
    ];
    assert_eq!(texts(columns).await, expected);
    let indexes = "SELECT regexp_replace(indexdef, '.* USING ', '') FROM pg_indexes WHERE schemaname = 'data' ORDER BY 1";
    let expected = [
        "btree (_client, _seq)",
        "btree (_client, at)",
        "btree (_client, site, at)",
        "btree (_seq)",
        "btree (at)",
        "btree (site, at)",
    ];
    assert_eq!(texts(indexes).await, expected);
    // Without the time its indexes go, and a column that may be null may be.
    let json = serde_json::to_string(&given).unwrap().replace(r#","time":"at""#, "").replace("it's", "it is");
    store.define(&scope(), &"d".parse().unwrap(), &def(&json), Timestamp::UNIX_EPOCH).await.unwrap();
    let without: Vec<&str> = expected
        .into_iter()
        .filter(|index| !index.ends_with("(at)") && !index.ends_with("(_client, at)"))
        .collect();
    assert_eq!(texts(indexes).await, without);
    let comment = "SELECT col_description('data.d'::regclass, 8)";
    assert_eq!(texts(comment).await, ["it is the air's [°C]"]);
}

/// Whose it is, is said: the rest of the batch can go on without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_postgresql_cannot_keep_is_named() {
    let database = TestDatabase::new().await;
    let store = open(&database).await.unwrap();
    let keyed = def(r#"{"fields":[{"name":"k","type":"text","required":true}],"key":["k"]}"#);
    store.define(&scope(), &"d".parse().unwrap(), &keyed, Timestamp::UNIX_EPOCH).await.unwrap();
    // Longer than an index takes, and nothing that it could be packed into.
    let long: String = (0..9_000).map(|_| format!("{:x}", fastrand::u8(..16))).collect();
    let mut recording = batch(0, 3, r#"{"k":"a"}"#);
    for (n, rows) in [(50, format!(r#"{{"k":"{long}"}}"#)), (51, r#"{"k":"b"}"#.to_owned())] {
        recording.events.extend(batch(n, n, &rows).events);
    }
    let error = store.record(recording.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.entry()), (ErrorKind::Invalid, Some(1)), "{error}");
    assert_eq!(store.position("data").await.unwrap(), 0);
    recording.events.remove(1);
    store.record(recording).await.unwrap();
    assert_eq!(rows(&store, "k").await.unwrap(), ["Text(\"a\")", "Text(\"b\")"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Wherever a caller's text goes, it stays a value, and names are those of the definition.
    #[test]
    fn no_text_becomes_part_of_a_statement(texts in prop::collection::vec(hostile(), 12)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(texts_stay_values(&texts));
    }
}

/// Pieces of SQL, of patterns and of regular expressions.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "'",
        "''",
        "\"",
        "\\",
        "\\'",
        ";",
        "--",
        "/*",
        "*/",
        "$1",
        "$$",
        "E'",
        "\0",
        "%",
        "_",
        ".*",
        "[",
        "]",
        "(",
        ")",
        "\\U00000041",
        "DROP TABLE data.d",
        "DROP SCHEMA data CASCADE",
        " OR 1=1",
        "::int",
        "\n",
        "é",
        "\u{10ffff}",
        "a",
        "1",
        "U&\"",
        "\u{2028}",
        "{",
        "}",
        "%s",
        "?",
        "+",
    ]);
    prop::collection::vec(pieces, 0..6).prop_map(|pieces| pieces.concat())
}

async fn texts_stay_values(texts: &[String]) {
    let database = TestDatabase::new().await;
    let store = open(&database).await.unwrap();
    let name = "d".parse().unwrap();
    let mut plain = def(r#"{"fields":[{"name":"k","type":"text"},{"name":"j","type":"json"}]}"#);
    for (i, text) in texts.iter().enumerate() {
        plain.fields[0].description = Some(text.clone());
        plain.fields[1].unit = Some(text.clone());
        store.define(&scope(), &name, &plain, Timestamp::UNIX_EPOCH).await.unwrap();
        let position = i64::try_from(i).unwrap();
        let value = text.replace('\0', "");
        let json = serde_json::to_string(&value).unwrap();
        store.record(batch(position, position + 1, &format!(r#"{{"k":{json},"j":{json}}}"#))).await.unwrap();
        let eq = Compare::Eq(select::Operand::Text(value.clone()));
        let exactly = value.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let like = |ignore_case| Compare::Like { pattern: exactly.clone(), ignore_case };
        for compare in [eq, like(false), like(true)] {
            let what = format!("{compare:?}");
            let filter = Filter::Compare { column: "k".into(), compare };
            let found =
                read(&store, Select { filter, ..column("k") }, Duration::from_secs(30)).await.unwrap();
            assert!(found.contains(&format!("Text({value:?})")), "{what} finds {found:?}");
        }
        // As names, it is refused.
        let named = Filter::Compare { column: text.clone().into(), compare: Compare::IsNull };
        let order = OrderBy { column: text.clone().into(), descending: true, nulls: select::Nulls::First };
        let known = |name: &str| ["k", "j"].contains(&name);
        for select in [
            column(text),
            Select { filter: named, ..column("k") },
            Select { order: vec![order], ..column("k") },
        ] {
            let found = read(&store, select, Duration::from_secs(30)).await;
            assert!(known(text) || found.is_err_and(|error| error.kind() == ErrorKind::Invalid), "{text:?}");
        }
        assert_eq!(store.key(text).await.unwrap(), None);
        assert_eq!(store.position(&value).await.unwrap(), 0);
        assert_eq!(store.imported(&scope(), &name, &"acme".parse().unwrap(), text).await.unwrap().lines, 0);
    }
    assert_eq!(rows(&store, "k").await.unwrap().len(), texts.len());
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname IN ('data', 'store')";
    let tables: i64 = connect(&database.url()).await.query_one(tables, &[]).await.unwrap().get(0);
    assert_eq!(tables, 1 + 24, "tables came or went");
}
