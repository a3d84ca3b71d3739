//! Ids and traces that reach their indexes late: known at every moment, on their way
//! or there, before and after a restart.

use orderwire_queue::engine::{Append, Engine as _, NewEntry, Op, Sweep};
use orderwire_sqlite::{LateOptions, Options};
use orderwire_types::scope::Clients;

use super::support::{Bench, at, entry, key};

/// More than stay on their way, so that the first of them are in a part.
const MANY: u64 = 20_000;
const GROUP: usize = 2_000;
/// After which another part is begun.
const LATER: i64 = 5 * 3_600;

fn named(n: u64) -> NewEntry {
    super::support::named(entry(n, "a", &[("t1", key("k"))]))
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
    bench.number(&format!("SELECT count(*) FROM {table}"))
}

/// As users have it.
fn real() -> Options {
    Options { late: LateOptions::default(), ..Options::for_testing() }
}

/// With a list so long that nothing leaves it.
fn patient() -> Options {
    let late = LateOptions { ids: 10_000, traces: 10_000, ..Options::for_testing().late };
    Options { late, ..Options::for_testing() }
}

fn sweep(before: i64) -> Op {
    let before = at(before);
    Op::Sweep(Sweep { remembered_before: before, steps_before: before, dead_before: before, limit: 100_000 })
}

async fn steps(bench: &Bench, n: u64) -> usize {
    bench.queue.trace(named(n).trace, &Clients::All).await.unwrap().steps.len()
}

#[tokio::test]
async fn ids_are_known_on_their_way_in_a_part_and_behind_its_filter() {
    let bench = Bench::with(&real()).await;
    assert_eq!(append(&bench, 0..MANY, 0).await, 20_000);
    assert_eq!(append(&bench, MANY..2 * MANY, LATER).await, 20_000);
    let in_parts = rows(&bench, "remembered");
    assert!((20_000..40_000).contains(&in_parts), "{in_parts}");
    assert_eq!(rows(&bench, "remembered_part"), 2);
    assert_eq!(rows(&bench, "remembered_filter"), 1, "of the full one");
    assert_eq!(append(&bench, 0..2 * MANY, LATER + 1).await, 0, "before a restart");

    let bench = bench.reopen_with(&real());
    assert_eq!(append(&bench, 0..2 * MANY, LATER + 2).await, 0, "after a restart");
    let before = rows(&bench, "fresh_id");
    assert_eq!(append(&bench, 2 * MANY..3 * MANY, LATER + 3).await, 20_000);
    let listed = rows(&bench, "fresh_id");
    assert!(listed < before + 30_000, "the list does not grow for good: {before}, then {listed}");
    assert_eq!(append(&bench, 0..3 * MANY, LATER + 4).await, 0, "after another round");

    // Everything, wherever it is.
    while bench.count(sweep(2 * LATER), at(2 * LATER)).await > 0 {}
    let left =
        ["remembered", "remembered_part", "remembered_filter", "fresh_id"].map(|table| rows(&bench, table));
    assert_eq!(left, [0; 4]);
    assert_eq!(append(&bench, 0..1_000, 2 * LATER).await, 1_000);
}

#[tokio::test]
async fn traces_are_found_on_their_way_and_in_the_index() {
    let mut bench = Bench::with(&real()).await;
    append(&bench, 0..MANY, 0).await;
    assert!(rows(&bench, "step_trace") > 0 && rows(&bench, "fresh_trace") > 0);
    for restarted in [false, true] {
        if restarted {
            bench = bench.reopen_with(&real());
        }
        for n in (0..MANY).step_by(37) {
            let trace = named(n).trace;
            let view = bench.queue.trace(trace, &Clients::All).await.unwrap();
            assert_eq!(view.steps.len(), 2, "trace {n}, restarted: {restarted}");
        }
    }
}

/// After a start with a long list, and after each commit that failed: nobody waits for all
/// of it, and nothing is forgotten.
#[tokio::test]
async fn no_commit_writes_a_long_list_at_once() {
    const LONG: u64 = 300;
    let bench = Bench::with(&patient()).await;
    append(&bench, 0..LONG, 0).await;
    assert_eq!(["fresh_id", "fresh_trace"].map(|list| rows(&bench, list)), [300; 2]);
    let bench = bench.reopen();
    let slice = i64::try_from(Options::for_testing().late.slice).unwrap();
    let mut next = LONG;
    let mut commits = 0;
    while rows(&bench, "remembered") < 300 || rows(&bench, "step_trace") < 300 {
        let before = ["remembered", "step_trace"].map(|index| rows(&bench, index));
        if [0, 20, 21].contains(&commits) {
            let entries = vec![named(next), named(0), named(LONG - 1)];
            bench.fail(vec![Op::Append(Append { entries, request: None })], at(1)).await;
            assert_eq!(["remembered", "step_trace"].map(|index| rows(&bench, index)), before);
        }
        let came = append(&bench, next..next + commits % 3, 1).await;
        let most = 2 * i64::try_from(came).unwrap() + slice;
        for (index, before) in ["remembered", "step_trace"].into_iter().zip(before) {
            let written = rows(&bench, index) - before;
            assert!(written <= most, "{written} of {index} with a commit of {came}");
        }
        next += u64::try_from(came).unwrap();
        commits += 1;
    }
    assert!(commits > 60, "{commits}");
    assert_eq!(append(&bench, 0..next, 2).await, 0, "all are known");
    for n in (0..next).step_by(7) {
        assert_eq!(steps(&bench, n).await, 2, "trace {n}");
    }
}

#[tokio::test]
async fn ids_that_are_written_again_are_counted_once() {
    let mut bench = Bench::with(&patient()).await;
    append(&bench, 0..40, 0).await;
    // What was written in part is still on the list, and written again after each start.
    for _ in 0..4 {
        bench = bench.reopen();
        for _ in 0..7 {
            bench.commit(vec![], at(1)).await;
        }
    }
    let counted = bench.number("SELECT coalesce(sum(count), 0) FROM remembered_part");
    assert_eq!(counted, rows(&bench, "remembered"));
    assert!(counted > 10, "{counted}");
    assert_eq!(rows(&bench, "remembered_part"), 1, "none was taken for full");
}

#[tokio::test]
async fn a_part_that_was_open_at_a_start_gets_its_filter() {
    let late = LateOptions { part: 200, ..Options::for_testing().late };
    let options = Options { late, ..Options::for_testing() };
    let bench = Bench::with(&options).await;
    append(&bench, 0..150, 0).await;
    let bench = bench.reopen_with(&options);
    // One commit is too short to read what the part held, and fills it up.
    append(&bench, 150..250, 0).await;
    assert_eq!((rows(&bench, "remembered_part"), rows(&bench, "remembered_filter")), (2, 0));
    assert_eq!(append(&bench, 0..250, 1).await, 0, "all are known without");
    // Each reads a piece, also one that brings nothing.
    for _ in 0..8 {
        bench.commit(vec![], at(1)).await;
    }
    assert_eq!(rows(&bench, "remembered_filter"), 1, "of the full one");
    assert_eq!(append(&bench, 0..250, 1).await, 0, "all are known");

    // The other is open at the next start, and has its filter before it is full.
    let bench = bench.reopen_with(&options);
    for _ in 0..8 {
        bench.commit(vec![], at(1)).await;
    }
    append(&bench, 250..450, 1).await;
    let (parts, filters) = (rows(&bench, "remembered_part"), rows(&bench, "remembered_filter"));
    // Those that were on the list at a start are in a part twice, so that there may be one more.
    assert!(parts >= 3 && filters == parts - 1, "{filters} of {parts}");
    assert_eq!(append(&bench, 0..450, 2).await, 0, "all are known");
    let bench = bench.reopen_with(&options);
    assert_eq!(append(&bench, 0..450, 2).await, 0, "after another start");
}

#[tokio::test]
async fn traces_that_are_swept_leave_nothing_in_list_and_index() {
    let mut bench = Bench::new().await;
    let tables = ["step", "fresh_trace", "step_trace"];
    for (first, seconds, reopened) in [(0, 0, false), (50, 100, true)] {
        append(&bench, first..first + 50, seconds).await;
        if reopened {
            bench = bench.reopen();
        }
        assert!(rows(&bench, "fresh_trace") > 0 && rows(&bench, "step_trace") > 0);
        while let held = bench.claim("t1", 100, at(seconds), 60).await
            && !held.is_empty()
        {
            for delivery in held {
                bench.ack("t1", delivery.id, at(seconds)).await;
            }
        }
        assert_eq!(rows(&bench, "step"), 50);
        bench.count(sweep(seconds), at(seconds)).await;
        assert_eq!(rows(&bench, "step"), 50, "young");
        bench.count(sweep(seconds + 1), at(seconds + 1)).await;
        assert_eq!(tables.map(|table| rows(&bench, table)), [0; 3], "reopened: {reopened}");
    }
}
