//! The steps of an append: told by the event's row while it waits, stored with
//! its first attempt.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use orderwire_queue::engine::{Append, Engine, LaneKey, Op, Settle, Sweep};
use orderwire_queue::model::Settlement;
use orderwire_sqlite::{Options, SqliteQueue};
use orderwire_types::scope::Clients;
use uuid::Uuid;

use super::support::{Bench, at, entry, key, name, numbers};

const HOUR: i64 = 3_600;

fn trace(n: u64) -> Uuid {
    entry(n, "a", &[]).trace
}

/// The steps of a trace, each as `step outcome queue`.
async fn steps(bench: &Bench, n: u64) -> Vec<String> {
    let view = bench.queue.trace(trace(n), &Clients::All).await.unwrap();
    let queue =
        |step: &orderwire_types::step::Step| step.queue.as_ref().map_or("-", |name| name.as_str()).to_owned();
    view.steps.iter().map(|step| format!("{} {} {}", step.step, step.outcome, queue(step))).collect()
}

/// How many rows the file has in `step`.
fn rows(file: &Path) -> i64 {
    let db = rusqlite::Connection::open(file).unwrap();
    db.query_row("SELECT count(*) FROM step", [], |row| row.get(0)).unwrap()
}

fn sweep(steps_before: Timestamp) -> Op {
    Op::Sweep(Sweep { remembered_before: at(0), steps_before, dead_before: at(0), limit: 100 })
}

#[tokio::test]
async fn an_append_stores_no_step_before_its_first_attempt_ends() {
    let bench = Bench::new().await;
    bench.append(vec![entry(1, "a", &[("t1", key("k")), ("t2", LaneKey::Alone)])], at(1)).await;
    assert_eq!(rows(&bench.file()), 0);
    let waiting = ["accepted ok -", "queued ok t1", "queued ok t2"];
    assert_eq!(steps(&bench, 1).await, waiting);

    let bench = bench.reopen();
    assert_eq!(steps(&bench, 1).await, waiting, "after reopening");
    let held = bench.claim("t2", 1, at(2), 10).await;
    bench
        .settle(
            "t2",
            held[0].id,
            Settlement::Retry { delay: Some(Duration::ZERO), cause: "no".to_owned() },
            at(3),
        )
        .await
        .unwrap();
    assert_eq!(rows(&bench.file()), 1, "the steps of the append and of the attempt are one row");
    let held = bench.claim("t1", 1, at(4), 10).await;
    bench.ack("t1", held[0].id, at(5)).await;
    let held = bench.claim("t2", 1, at(6), 10).await;
    bench.ack("t2", held[0].id, at(7)).await;
    let all = ["attempt retry t2", "attempt ok t1", "attempt ok t2"];
    assert_eq!(steps(&bench, 1).await, [&waiting[..], &all[..]].concat());
    let view = bench.queue.trace(trace(1), &Clients::All).await.unwrap();
    assert_eq!(view.open, 0);
}

#[tokio::test]
async fn an_attempt_long_after_the_append_is_kept_for_its_own_retention() {
    let bench = Bench::new().await;
    bench.append(vec![entry(1, "a", &[("t1", key("k"))]), entry(2, "a", &[("t1", key("k"))])], at(0)).await;
    let held = bench.claim("t1", 2, at(1), 10 * HOUR).await;
    bench.ack("t1", held[0].id, at(2)).await;
    bench.ack("t1", held[1].id, at(2 * HOUR)).await;
    bench.count(sweep(at(HOUR)), at(3 * HOUR)).await;
    assert_eq!(steps(&bench, 1).await, Vec::<String>::new(), "all of it was old");
    assert_eq!(steps(&bench, 2).await, ["attempt ok t1"]);
}

/// The lane must not end while an event on its way into it is not counted.
#[tokio::test]
async fn an_ack_sees_what_was_appended_before_it_in_the_same_commit() {
    let bench = Bench::new().await;
    bench.append(vec![entry(1, "a", &[("t1", key("k"))])], at(0)).await;
    let held = bench.claim("t1", 1, at(1), 10).await;
    let append = Op::Append(Append { entries: vec![entry(2, "a", &[("t1", key("k"))])], request: None });
    let ack = Op::Settle(Settle {
        queue: name("t1"),
        delivery: held[0].id,
        clients: Clients::All,
        settlement: Settlement::Ack,
    });
    let committed = bench.commit(vec![append, ack], at(2)).await;
    assert!(committed.outcomes.iter().all(Result::is_ok), "{committed:?}");
    assert_eq!(numbers(&bench.claim("t1", 9, at(3), 10).await), [2]);
}

/// With a look at every number between them this would never end.
#[tokio::test]
async fn an_event_that_nobody_takes_makes_no_trace_slow() {
    let bench = Bench::new().await;
    bench.append(vec![entry(1, "a", &[("t1", key("k"))])], at(0)).await;
    let Bench { queue, dir, root } = bench;
    drop(queue);
    let far = Options { position_min: 1 << 60, ..Options::for_testing() };
    let bench = Bench { queue: SqliteQueue::open(&dir, &far).unwrap(), dir, root };
    bench.append(vec![entry(2, "a", &[("t1", key("k"))])], at(1)).await;
    for n in [1, 2] {
        assert_eq!(steps(&bench, n).await, ["accepted ok -", "queued ok t1"], "event {n}");
    }
    assert_eq!(steps(&bench, 3).await, Vec::<String>::new());
}

/// A first attempt that is also the last: its steps, then the dead letter's.
#[tokio::test]
async fn an_event_that_dies_at_once_tells_all_of_it() {
    let bench = Bench::new().await;
    bench.append(vec![entry(1, "a", &[("t1", key("k")), ("s1", LaneKey::Stream)])], at(0)).await;
    let held = bench.claim("t1", 1, at(1), 10).await;
    let fail = Settlement::Fail { cause: "bad".to_owned() };
    bench.settle("t1", held[0].id, fail, at(2)).await.unwrap();
    let told = steps(&bench, 1).await;
    let of_task: Vec<&String> = told.iter().filter(|step| !step.ends_with("s1")).collect();
    assert_eq!(of_task, ["accepted ok -", "queued ok t1", "attempt failed t1", "dead-lettered failed t1"]);
}

/// A file of the first version, with two events that wait: the steps of their
/// appends are rows.
#[tokio::test]
async fn a_file_of_the_first_version_is_read_on() {
    let bench = Bench::new().await;
    let both = [entry(1, "a", &[("t1", key("k"))]), entry(2, "a", &[("t1", key("k"))])];
    bench.append(both.to_vec(), at(0)).await;
    let file = bench.file();
    let Bench { queue, dir, root } = bench;
    drop(queue);
    to_the_first_version(&file);

    let bench = Bench { queue: SqliteQueue::open(&dir, &Options::for_testing()).unwrap(), dir, root };
    assert_eq!(steps(&bench, 1).await, ["accepted ok -", "queued ok t1"]);
    let held = bench.claim("t1", 1, at(1), 10).await;
    assert_eq!(numbers(&held), [1]);
    bench.ack("t1", held[0].id, at(2)).await;
    assert_eq!(steps(&bench, 1).await, ["accepted ok -", "queued ok t1", "attempt ok t1"]);
    bench.append(vec![entry(3, "a", &[("t1", key("k"))])], at(3)).await;
    assert_eq!(steps(&bench, 3).await, ["accepted ok -", "queued ok t1"]);
    assert_eq!(numbers(&bench.claim("t1", 9, at(4), 10).await), [2, 3]);
}

/// Makes of a file what the first version would have written.
fn to_the_first_version(file: &Path) {
    let db = rusqlite::Connection::open(file).unwrap();
    let first = include_str!("../../../migrations/queue/0001_queue.sql");
    let begin = first.find("CREATE TABLE event (").unwrap();
    let table = &first[begin..begin + first[begin..].find(';').unwrap()];
    db.execute_batch(&format!(
        "ALTER TABLE event RENAME TO later; {table};
         INSERT INTO event SELECT position, refs, event_id, trace, accepted_at, client, type, body FROM later;
         DROP TABLE later; DELETE FROM step_trace;
         DROP TABLE fresh_id; DROP TABLE fresh_trace; DROP TABLE remembered_filter; PRAGMA user_version = 1;"
    ))
    .unwrap();
    // The first version numbered steps from 1.
    for n in [1_i64, 2] {
        let number = u64::try_from(n).unwrap();
        let queued = entry(number, "a", &[]);
        let appended =
            orderwire_queue::engine::Appended::from(&queued).steps(&["t1".parse().unwrap()], at(0));
        let trace = queued.trace.as_bytes();
        let prefix = i64::from_be_bytes(*trace.first_chunk().unwrap());
        db.execute(
            "INSERT INTO step VALUES (?1, ?2, ?3, 'a', ?4)",
            rusqlite::params![
                n,
                i64::try_from(at(0).as_nanosecond()).unwrap(),
                trace,
                serde_json::to_string(&appended).unwrap()
            ],
        )
        .unwrap();
        db.execute("INSERT INTO step_trace VALUES (0, ?1, ?2)", [prefix, n]).unwrap();
    }
}
