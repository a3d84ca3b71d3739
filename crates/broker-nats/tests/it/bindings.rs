//! What a queue is bound to, and how that changes.

use std::collections::BTreeSet;

use orderwire_broker::{Broker, Declare, QueueBinding, To};
use serde_json::json;

use crate::kit::{Bench, eventually, message, message_to, publish, queue};

#[tokio::test]
async fn what_came_while_it_was_bound_stays_and_what_comes_later_does_not() {
    let Some(bench) = Bench::open().await else { return };
    let (wide, narrow) = (queue("q", &["a.*", "b"]), queue("q", &["a.*"]));
    bench.declare(&wide).await;
    bench.declare(&queue("all", &["#"])).await;
    for event_type in ["a.one", "b", "a.two"] {
        bench.say(event_type, event_type).await;
    }
    bench.declare(&narrow).await;
    bench.say("b", "late b").await;
    bench.say("a.three", "a.three").await;
    // Bound again: what came in between stays away.
    bench.declare(&wide).await;
    bench.say("b", "new b").await;
    let mut reader = bench.reader(&wide).await;
    assert_eq!(reader.labels(5).await, ["a.one", "b", "a.two", "a.three", "new b"]);
    reader.nothing_more().await;
    let mut all = bench.reader(&queue("all", &["#"])).await;
    assert_eq!(all.labels(6).await, ["a.one", "b", "a.two", "late b", "a.three", "new b"]);
    // Nothing is left that nobody will ever take.
    eventually("the stream is empty", async || bench.kept().await == 0).await;
    assert!(bench.consumers().await.iter().all(|name| !name.contains("moving")));
    bench.end().await;
}

/// A queue of an earlier configuration lets through what is left in it, and nothing more.
#[tokio::test]
async fn the_filter_of_an_unbound_queue_is_narrowed_once_it_was_read() {
    let Some(bench) = Bench::open().await else { return };
    let (gone, other) = (queue("gone", &["#.x"]), queue("other", &["#"]));
    bench.declare(&gone).await;
    bench.declare(&other).await;
    bench.say("b", "passed over").await;
    bench.say("a.x", "left").await;
    bench.broker.unbind(&gone.name, &gone.types).await.unwrap();
    bench.say("a.x", "late").await;
    let mut reader = bench.reader(&other).await;
    assert_eq!(reader.labels(3).await, ["passed over", "left", "late"]);
    // Until it is read, it holds what is in it.
    let mut late = bench.reader(&gone).await;
    assert_eq!(late.labels(1).await, ["left"]);
    drop(late);
    let takes_no_types = async || {
        let info = bench.ask(&format!("CONSUMER.INFO.{}.gone", bench.options.stream), json!({})).await;
        let filter = format!("{} {}", info["config"]["filter_subject"], info["config"]["filter_subjects"]);
        !filter.contains(".events.")
    };
    eventually("it lets through no types", takes_no_types).await;
    bench.say("a.x", "for the other").await;
    assert_eq!(reader.labels(1).await, ["for the other"]);
    eventually("the stream is empty", async || bench.kept().await == 0).await;
    bench.end().await;
}

/// What was bound and never came leaves nothing to read.
#[tokio::test]
async fn the_filter_of_an_unbound_queue_is_narrowed_when_nothing_is_left_in_it() {
    let Some(bench) = Bench::open().await else { return };
    let (gone, other) = (queue("gone", &["#.x"]), queue("other", &["b"]));
    bench.declare(&gone).await;
    bench.declare(&other).await;
    for number in 0..20 {
        bench.say("b", &format!("{number}")).await;
    }
    bench.broker.unbind(&gone.name, &gone.types).await.unwrap();
    bench.reader(&other).await.take(20).await;
    eventually("the stream is empty", async || bench.kept().await == 0).await;
    bench.say("b", "more").await;
    bench.reader(&other).await.take(1).await;
    eventually("it is empty again", async || bench.kept().await == 0).await;
    bench.end().await;
}

#[tokio::test]
async fn nothing_waiting_is_lost_when_bindings_change_under_load() {
    let Some(bench) = Bench::open().await else { return };
    bench.declare(&queue("q", &["a", "b"])).await;
    let (broker, count) = (bench.broker.clone(), 400);
    let publisher = tokio::spawn(async move {
        for number in 0..count {
            publish(&*broker, vec![message("a", &format!("{number:04}"))]).await.unwrap();
        }
    });
    for types in [&["a"][..], &["a", "c.*"], &["a", "b"], &["a"]] {
        bench.declare(&queue("q", types)).await;
    }
    publisher.await.unwrap();
    let mut reader = bench.reader(&queue("q", &["a"])).await;
    let mut came = BTreeSet::new();
    while came.len() < count {
        came.extend(reader.labels(1).await);
    }
    bench.end().await;
}

#[tokio::test]
async fn a_change_of_bindings_that_was_cut_short_is_ended() {
    let Some(bench) = Bench::open().await else { return };
    let stream = bench.options.stream.clone();
    let q = queue("q", &["a"]);
    bench.declare(&q).await;
    bench.say("a", "waiting").await;
    // As after the first two steps: what stands in is there, the consumer is not.
    let config = json!({
        "durable_name": "q+moving", "ack_policy": "explicit", "deliver_policy": "by_start_sequence",
        "opt_start_seq": 1, "filter_subject": format!("{}.events.a", bench.options.prefix),
        "description": "A queue. Made by Orderwire. It takes: [{\"types\":\"a\",\"after\":0}]",
    });
    let request = json!({ "stream_name": stream, "config": config });
    let made = bench.ask(&format!("CONSUMER.DURABLE.CREATE.{stream}.q+moving"), request).await;
    assert!(made["error"].is_null(), "{made}");
    bench.ask(&format!("CONSUMER.DELETE.{stream}.q"), json!({})).await;
    bench.declare(&q).await;
    assert_eq!(bench.reader(&q).await.labels(1).await, ["waiting"]);
    assert!(!bench.consumers().await.contains("q+moving"));
    bench.end().await;
}

#[tokio::test]
async fn a_queue_without_types_any_more_gets_what_is_sent_to_it() {
    let Some(bench) = Bench::open().await else { return };
    bench.declare(&queue("q", &["a"])).await;
    let unbound = queue("q", &[]);
    bench.declare(&unbound).await;
    bench.say("a", "for nobody").await;
    publish(&*bench.broker, vec![message_to(To::Queue("q".parse().unwrap()), "by name")]).await.unwrap();
    let mut reader = bench.reader(&unbound).await;
    assert_eq!(reader.labels(1).await, ["by name"]);
    reader.nothing_more().await;
    eventually("the stream is empty", async || bench.kept().await == 0).await;
    bench.end().await;
}

#[tokio::test]
async fn the_same_message_to_two_queues_reaches_both_and_a_repetition_neither() {
    let Some(bench) = Bench::open().await else { return };
    let queues = ["one", "two"].map(|name| queue(name, &[]));
    for queue in &queues {
        bench.declare(queue).await;
    }
    let messages =
        || ["one", "two"].map(|name| message_to(To::Queue(name.parse().unwrap()), "same id")).into();
    publish(&*bench.broker, messages()).await.unwrap();
    publish(&*bench.broker, messages()).await.unwrap();
    for queue in &queues {
        let mut reader = bench.reader(queue).await;
        let taken = reader.take(1).await;
        assert_eq!(taken[0].id.as_deref(), Some("same id"));
        reader.nothing_more().await;
    }
    bench.end().await;
}

/// What a filter lets through besides is acked, and fills nothing.
#[tokio::test]
async fn what_a_queue_does_not_take_is_passed_over() {
    let Some(bench) = Bench::open().await else { return };
    let q = queue("q", &["a.#.z"]);
    bench.declare(&q).await;
    for number in 0..50 {
        bench.say("a.b.c", &format!("other {number}")).await;
    }
    bench.say("a.b.z", "mine").await;
    let mut reader = bench.broker.consume(&q, 3).await.unwrap();
    let taken = reader.next(10).await.unwrap();
    assert_eq!(taken.iter().map(crate::kit::label).collect::<Vec<_>>(), ["mine"]);
    reader.ack(&[taken[0].tag]).await.unwrap();
    eventually("the stream is empty", async || bench.kept().await == 0).await;
    bench.end().await;
}

/// A queue that nobody reads holds back only what is for it.
#[tokio::test]
async fn what_every_queue_has_acked_is_removed_and_nothing_else() {
    let Some(bench) = Bench::open().await else { return };
    let (read, unread) = (queue("read", &["#"]), queue("unread", &["rare.*"]));
    bench.declare(&read).await;
    bench.declare(&unread).await;
    let mut reader = bench.reader(&read).await;
    for event_type in ["often", "rare.one", "often", "rare.two", "often"] {
        bench.say(event_type, &format!("{event_type} {}", bench.kept().await)).await;
    }
    reader.take(5).await;
    let mut late = bench.reader(&unread).await;
    let taken = late.take(1).await;
    assert!(crate::kit::label(&taken[0]).starts_with("rare.one"));
    drop(late);
    // Up to the one that is not acked, with what is before it for nobody else.
    eventually("three are removed", async || bench.kept().await == 2).await;
    bench.reader(&unread).await.take(1).await;
    eventually("the stream is empty", async || bench.kept().await == 0).await;
    for number in 0..3 {
        bench.say("often", &format!("again {number}")).await;
    }
    reader.take(3).await;
    eventually("it is empty again", async || bench.kept().await == 0).await;
    bench.end().await;
}

/// Other people's consumers of a native queue may be away for long.
#[tokio::test]
async fn a_queue_that_is_fed_by_name_holds_only_what_is_for_it() {
    let Some(bench) = Bench::open().await else { return };
    let (read, native) = (queue("read", &["#"]), queue("native", &[]));
    bench.declare(&read).await;
    bench.declare(&native).await;
    let by_name = |label: &str| vec![message_to(To::Queue(native.name.clone()), label)];
    bench.say("a", "before").await;
    publish(&*bench.broker, by_name("first")).await.unwrap();
    bench.say("a", "after").await;
    publish(&*bench.broker, by_name("second")).await.unwrap();
    let mut reader = bench.reader(&read).await;
    assert_eq!(reader.labels(2).await, ["before", "after"]);
    let kept = |count: u64| {
        let bench = &bench;
        async move || bench.kept().await == count
    };
    eventually("what is for it is left", kept(2)).await;
    bench.say("a", "once more").await;
    assert_eq!(reader.labels(1).await, ["once more"]);
    eventually("what is for it is left again", kept(2)).await;
    // The other way round, and in order.
    bench.say("a", "unread").await;
    publish(&*bench.broker, by_name("third")).await.unwrap();
    let mut late = bench.reader(&native).await;
    assert_eq!(late.labels(3).await, ["first", "second", "third"]);
    late.nothing_more().await;
    eventually("what is unread is left", kept(1)).await;
    assert_eq!(reader.labels(1).await, ["unread"]);
    reader.nothing_more().await;
    bench.end().await;
}

#[tokio::test]
async fn classic_and_quorum_are_the_same_here() {
    let Some(bench) = Bench::open().await else { return };
    let q = queue("q", &["a"]);
    bench.declare(&q).await;
    for declare in [Declare::Classic, Declare::Adopt, Declare::Quorum] {
        bench.declare(&QueueBinding { declare, ..q.clone() }).await;
    }
    bench.end().await;
}
