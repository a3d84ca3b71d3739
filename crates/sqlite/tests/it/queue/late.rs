//! Ids and traces that reach their indexes late: known at every moment, on their way
//! or there, before and after a restart.

use orderwire_queue::engine::{Engine as _, NewEntry, Op, Sweep};
use orderwire_types::scope::Clients;

use super::support::{Bench, at, entry, key};

/// More than stay on their way, so that the first of them are in a part.
const MANY: u64 = 20_000;
const GROUP: usize = 2_000;
/// After which another part is begun.
const LATER: i64 = 5 * 3_600;

fn named(n: u64) -> NewEntry {
    NewEntry { named: true, ..entry(n, "a", &[("t1", key("k"))]) }
}

/// Appends these in groups; how many of them were new.
async fn append(bench: &Bench, numbers: std::ops::Range<u64>, seconds: i64) -> usize {
    let mut new = 0;
    for group in numbers.collect::<Vec<_>>().chunks(GROUP) {
        let entries = group.iter().map(|n| named(*n)).collect();
        new += bench.append(entries, at(seconds)).await.into_iter().filter(|new| *new).count();
    }
    new
}

fn rows(bench: &Bench, table: &str) -> i64 {
    let db = rusqlite::Connection::open(bench.file()).unwrap();
    db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn ids_are_known_on_their_way_in_a_part_and_behind_its_filter() {
    let bench = Bench::new().await;
    assert_eq!(append(&bench, 0..MANY, 0).await, 20_000);
    assert_eq!(append(&bench, MANY..2 * MANY, LATER).await, 20_000);
    let in_parts = rows(&bench, "remembered");
    assert!((20_000..40_000).contains(&in_parts), "{in_parts}");
    assert_eq!(rows(&bench, "remembered_part"), 2);
    assert_eq!(rows(&bench, "remembered_filter"), 1, "of the full one");
    assert_eq!(append(&bench, 0..2 * MANY, LATER + 1).await, 0, "before a restart");

    let bench = bench.reopen();
    assert_eq!(append(&bench, 0..2 * MANY, LATER + 2).await, 0, "after a restart");
    let before = rows(&bench, "fresh_id");
    assert_eq!(append(&bench, 2 * MANY..3 * MANY, LATER + 3).await, 20_000);
    let listed = rows(&bench, "fresh_id");
    assert!(listed < before + 30_000, "the list does not grow for good: {before}, then {listed}");
    assert_eq!(append(&bench, 0..3 * MANY, LATER + 4).await, 0, "after another round");

    let sweep = |seconds| {
        Op::Sweep(Sweep {
            remembered_before: at(seconds),
            steps_before: at(0),
            dead_before: at(0),
            limit: 100_000,
        })
    };
    // Everything, wherever it is.
    while bench.count(sweep(2 * LATER), at(2 * LATER)).await > 0 {}
    let left =
        ["remembered", "remembered_part", "remembered_filter", "fresh_id"].map(|table| rows(&bench, table));
    assert_eq!(left, [0; 4]);
    assert_eq!(append(&bench, 0..1_000, 2 * LATER).await, 1_000);
}

#[tokio::test]
async fn traces_are_found_on_their_way_and_in_the_index() {
    let mut bench = Bench::new().await;
    append(&bench, 0..MANY, 0).await;
    assert!(rows(&bench, "step_trace") > 0 && rows(&bench, "fresh_trace") > 0);
    for restarted in [false, true] {
        if restarted {
            bench = bench.reopen();
        }
        for n in (0..MANY).step_by(37) {
            let trace = named(n).trace;
            let view = bench.queue.trace(trace, &Clients::All).await.unwrap();
            assert_eq!(view.steps.len(), 2, "trace {n}, restarted: {restarted}");
        }
    }
}
