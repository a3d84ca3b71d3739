//! Replays at a rate, in time that the test lets pass.

use std::num::NonZeroU32;
use std::time::Duration;

use orderwire_queue::{DeadFilter, Error, ErrorKind, Replay, ReplayState};
use tokio::time::{Instant, advance};

use crate::bench::{Bench, all, kind, name, only};

const PACE: Duration = Duration::from_millis(50);

fn rate(per_second: u32) -> NonZeroU32 {
    NonZeroU32::new(per_second).unwrap()
}

/// Dead-letters so many events, of two clients in turn.
async fn bury(bench: &Bench, count: usize) {
    let event = |i: usize| bench.event("task.do", ["acme", "bolt"][i % 2], &format!("e{i}"));
    bench.publish((0..count).map(event).collect()).await.unwrap();
    let ids: Vec<_> = bench.take(count).await.iter().map(|delivery| delivery.id).collect();
    let failed = bench.queues.fail(&all(), &name("tasks"), &ids, "no use").await.unwrap();
    assert!(failed.len() == count && failed.iter().all(Result::is_ok));
}

async fn start(bench: &Bench, per_second: u32) -> Replay {
    let everything = DeadFilter::default();
    bench.queues.start_replay(&all(), &everything, rate(per_second)).await.unwrap()
}

/// Lets time pass, and what is due happen.
async fn pass(time: Duration) {
    advance(time).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Lets as much time pass as a replay makes up for, so many times.
async fn pass_ticks(ticks: u32) {
    for _ in 0..ticks {
        pass(PACE).await;
    }
}

fn now(bench: &Bench, replay: &Replay) -> Replay {
    bench.queues.replay_of(&all(), replay.id).unwrap()
}

#[tokio::test(start_paused = true)]
async fn letters_go_back_evenly_until_it_is_cancelled() {
    let bench = Bench::open().await;
    bury(&bench, 500).await;
    let replay = start(&bench, 100).await;
    assert_eq!((replay.state, replay.matched), (ReplayState::Running, Some(500)));
    for tick in 1..=40 {
        pass(PACE).await;
        let (done, due) = (now(&bench, &replay).done, tick * 5 + 1);
        assert!(done <= due && done + 2 >= due, "{done} letters at tick {tick}, {due} were due");
    }
    let ended = bench.queues.cancel_replay(&all(), replay.id).await.unwrap();
    assert_eq!((ended.state, ended.ended_at), (ReplayState::Cancelled, Some(bench.clock.now())));
    pass_ticks(10).await;
    assert_eq!(now(&bench, &replay), ended);
    let state = bench.state("tasks").await;
    assert_eq!((state.ready, state.dead), (ended.done, 500 - ended.done));
    // A second one has nothing to add.
    assert_eq!(bench.queues.cancel_replay(&all(), replay.id).await.unwrap(), ended);
}

#[tokio::test(start_paused = true)]
async fn a_replay_takes_as_long_as_its_rate_says_and_a_second_changes_nothing() {
    let bench = Bench::open().await;
    bury(&bench, 1_000).await;
    let begin = Instant::now();
    let replay = start(&bench, 500).await;
    while now(&bench, &replay).is_running() {
        pass(PACE / 5).await;
    }
    let took = begin.elapsed().as_millis();
    assert!((1_980..=2_100).contains(&took), "{took} ms");
    let ended = now(&bench, &replay);
    assert_eq!((ended.state, ended.done), (ReplayState::Done, 1_000));
    let state = bench.state("tasks").await;
    assert_eq!((state.ready, state.dead), (1_000, 0));

    let again = start(&bench, 500).await;
    pass(PACE).await;
    let again = now(&bench, &again);
    assert_eq!((again.state, again.matched, again.done), (ReplayState::Done, Some(0), 0));
    assert_eq!(bench.state("tasks").await.ready, 1_000);
}

#[tokio::test(start_paused = true)]
async fn what_dies_while_it_runs_stays_dead() {
    let bench = Bench::open().await;
    bury(&bench, 20).await;
    let replay = start(&bench, 100).await;
    bench.clock.advance(Duration::from_secs(1));
    bury(&bench, 1).await;
    pass_ticks(20).await;
    let ended = now(&bench, &replay);
    assert_eq!((ended.state, ended.matched, ended.done), (ReplayState::Done, Some(20), 20));
    assert_eq!(bench.state("tasks").await.dead, 1);
}

#[tokio::test(start_paused = true)]
async fn letters_that_somebody_else_takes_are_not_counted() {
    let bench = Bench::open().await;
    bury(&bench, 100).await;
    let replay = start(&bench, 100).await;
    let of_acme = DeadFilter { client: "acme".parse().ok(), ..DeadFilter::default() };
    let other = bench.queues.discard(&all(), &of_acme, false, "a test").await.unwrap();
    assert_eq!(other.done, 50);
    pass_ticks(40).await;
    let ended = now(&bench, &replay);
    assert_eq!((ended.state, ended.matched, ended.done), (ReplayState::Done, Some(100), 50));
    assert_eq!(bench.state("tasks").await.ready, 50);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_is_answered_when_the_piece_under_way_is_counted() {
    let bench = Bench::open().await;
    bury(&bench, 10).await;
    let replay = start(&bench, 10).await;
    pass(Duration::ZERO).await;
    let (done, before) = (now(&bench, &replay).done, bench.engine.commits().len());
    bench.engine.hold();
    pass_ticks(2).await;
    bench.engine.until_commits(before + 1).await;
    let queues = bench.queues.clone();
    let cancel = tokio::spawn(async move { queues.cancel_replay(&all(), replay.id).await });
    pass_ticks(2).await;
    assert!(!cancel.is_finished(), "the piece is still being committed");
    bench.engine.release();
    let ended = cancel.await.unwrap().unwrap();
    assert_eq!((ended.state, ended.done), (ReplayState::Cancelled, done + 1));
    assert_eq!(bench.state("tasks").await.ready, done + 1);
}

#[tokio::test(start_paused = true)]
async fn a_replay_ends_when_its_storage_fails_and_says_why() {
    let bench = Bench::open().await;
    bury(&bench, 100).await;
    let replay = start(&bench, 100).await;
    pass(PACE).await;
    bench.engine.fail(Some(Error::new(ErrorKind::Unavailable, "the disk is full")));
    pass(PACE).await;
    let ended = now(&bench, &replay);
    assert_eq!((ended.state, ended.reason.as_deref()), (ReplayState::Failed, Some("the disk is full")));
    assert!(ended.done > 0 && ended.done < 100, "{ended:?}");
    bench.engine.fail(None);
    let rest = start(&bench, 1_000).await;
    assert_eq!(rest.matched, Some(100 - ended.done));
    pass_ticks(10).await;
    assert_eq!(now(&bench, &rest).state, ReplayState::Done);
    assert_eq!(bench.state("tasks").await.ready, 100);
}

#[tokio::test(start_paused = true)]
async fn a_replay_ends_with_the_server() {
    let mut bench = Bench::open().await;
    bury(&bench, 100).await;
    let replay = start(&bench, 10).await;
    bench.queues.stop_waiting();
    pass(PACE).await;
    let ended = now(&bench, &replay);
    assert_eq!(ended.state, ReplayState::Failed);
    assert!(ended.reason.as_ref().is_some_and(|reason| reason.contains("shutting down")), "{ended:?}");
    bench.stop().await.unwrap();
    let late = bench.queues.start_replay(&all(), &DeadFilter::default(), rate(1)).await;
    assert_eq!(kind(late), Some(ErrorKind::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn replays_are_few_and_of_their_scope() {
    let bench = Bench::open().await;
    bury(&bench, 100).await;
    let everything = DeadFilter::default();
    let mine = bench.queues.start_replay(&only("acme"), &everything, rate(1)).await.unwrap();
    assert_eq!(mine.matched, Some(50));
    for _ in 0..3 {
        start(&bench, 1).await;
    }
    let fifth = bench.queues.start_replay(&all(), &everything, rate(1)).await;
    assert_eq!(kind(fifth), Some(ErrorKind::Busy));
    let seen: Vec<_> = bench.queues.replays(&only("acme")).iter().map(|replay| replay.id).collect();
    assert_eq!(seen, [mine.id]);
    assert!(bench.queues.replays(&only("bolt")).is_empty());
    assert_eq!(bench.queues.replays(&all()).len(), 4);
    assert_eq!(kind(bench.queues.replay_of(&only("bolt"), mine.id)), Some(ErrorKind::NotFound));
    assert_eq!(kind(bench.queues.cancel_replay(&only("bolt"), mine.id).await), Some(ErrorKind::NotFound));

    // Those that ended make room, and are told of for a while.
    for _ in 0..100 {
        for replay in bench.queues.replays(&all()).into_iter().filter(Replay::is_running) {
            bench.queues.cancel_replay(&all(), replay.id).await.unwrap();
        }
        start(&bench, 1).await;
    }
    assert_eq!(bench.queues.replays(&all()).len(), 65);
    assert_eq!(kind(bench.queues.replay_of(&all(), mine.id)), Some(ErrorKind::NotFound));
}
