//! What others made, and what of it is of no use.

use orderwire_broker::{Broker, ErrorKind};
use orderwire_broker_nats::{NatsBroker, Options};
use serde_json::{Value, json};

use crate::kit::{Bench, adopted, ask, options, queue, remove_stream, url};

async fn make_stream(bench: &Bench, name: &str, retention: &str) {
    let config = json!({
        "name": name, "subjects": [format!("{}.sensors.>", bench.options.prefix)],
        "retention": retention, "storage": "memory",
    });
    let made = bench.ask(&format!("STREAM.CREATE.{name}"), config).await;
    assert!(made["error"].is_null(), "{made}");
}

#[tokio::test]
async fn a_stream_of_others_is_read_as_it_is() {
    let Some(bench) = Bench::open().await else { return };
    for (name, retention) in [("up", "limits"), ("low", "workqueue")] {
        let queue = format!("{name}-{}", bench.options.prefix);
        // As people name them, and as queues are named.
        let stream = if name == "up" { queue.to_ascii_uppercase() } else { queue.clone() };
        make_stream(&bench, &stream, retention).await;
        let subject = format!("{}.sensors.air", bench.options.prefix);
        bench.other.publish(subject.clone(), "was there".into()).await.unwrap();
        bench.other.flush().await.unwrap();
        let queue = adopted(&queue, &["a"]);
        bench.declare(&queue).await;
        bench.declare(&queue).await;
        let mut reader = bench.reader(&queue).await;
        let taken = reader.take(1).await;
        assert_eq!((crate::kit::label(&taken[0]), &taken[0].event_type), ("was there".to_owned(), &None));
        bench.other.publish(subject, "is new".into()).await.unwrap();
        assert_eq!(reader.labels(1).await, ["is new"]);
        // What is published to its types and its name comes besides.
        bench.say("a", &format!("by type {name}")).await;
        assert_eq!(reader.labels(1).await, [format!("by type {name}")]);
        drop(reader);
        bench.reader(&queue).await.nothing_more().await;
        remove_stream(&bench.other, &stream).await;
    }
    bench.end().await;
}

async fn occupy(bench: &Bench, name: &str, more: Value) {
    let stream = &bench.options.stream;
    let mut config = json!({
        "durable_name": name, "ack_policy": "explicit", "deliver_policy": "all",
        "filter_subject": format!("{}.events.a", bench.options.prefix),
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let request = json!({ "stream_name": stream, "config": config });
    let made = bench.ask(&format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), request).await;
    assert!(made["error"].is_null(), "{made}");
}

#[tokio::test]
async fn a_consumer_that_cannot_be_used_conflicts_however_it_is_asked_for() {
    let Some(bench) = Bench::open().await else { return };
    occupy(&bench, "pushed", json!({ "deliver_subject": format!("{}.to", bench.options.prefix) })).await;
    occupy(&bench, "unacked", json!({ "ack_policy": "none" })).await;
    for (name, says) in [("pushed", "pushes"), ("unacked", "ack_policy")] {
        for queue in [queue(name, &["a"]), adopted(name, &["a"])] {
            let error = bench.broker.declare(&queue).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            assert!(error.to_string().contains(name) && error.to_string().contains(says), "{error}");
        }
    }
    bench.end().await;
}

#[tokio::test]
async fn an_adopted_consumer_keeps_its_arguments() {
    let Some(bench) = Bench::open().await else { return };
    occupy(&bench, "q", json!({ "max_deliver": 9, "description": "of others" })).await;
    bench.declare(&adopted("q", &["b"])).await;
    let info = bench.ask(&format!("CONSUMER.INFO.{}.q", bench.options.stream), json!({})).await;
    assert_eq!(info["config"]["max_deliver"], 9);
    assert_eq!(info["config"]["description"], "of others");
    bench.say("b", "bound now").await;
    assert_eq!(bench.reader(&adopted("q", &["b"])).await.labels(1).await, ["bound now"]);
    bench.end().await;
}

#[tokio::test]
async fn a_stream_that_keeps_no_promise_conflicts() {
    let Some(url) = url() else { return };
    let client = async_nats::connect(&url).await.unwrap();
    for (what, other) in
        [("retention", json!({"retention": "interest"})), ("discard", json!({"discard": "old"}))]
    {
        let options = options(&url);
        let mut config = json!({
            "name": options.stream, "subjects": [format!("{}.>", options.prefix)],
            "retention": "limits", "discard": "new", "storage": "file",
        });
        config.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        let made = ask(&client, &format!("STREAM.CREATE.{}", options.stream), config).await;
        assert!(made["error"].is_null(), "{made}");
        let stream = options.stream.clone();
        let broker = NatsBroker::open(options).await.unwrap();
        for error in
            [broker.check().await.unwrap_err(), broker.declare(&queue("q", &["a"])).await.unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            assert!(error.to_string().contains(what) && error.to_string().contains(&stream), "{error}");
        }
        remove_stream(&client, &stream).await;
    }
}

#[tokio::test]
async fn the_limits_of_our_own_stream_follow_the_settings() {
    let Some(bench) = Bench::open().await else { return };
    let more = Options { stream_bytes_max: 96 << 20, ..bench.options.clone() };
    NatsBroker::open(more).await.unwrap().check().await.unwrap();
    let info = bench.ask(&format!("STREAM.INFO.{}", bench.options.stream), json!({})).await;
    assert_eq!(info["config"]["max_bytes"], 96 << 20);
    // What this one server cannot have.
    let impossible = Options { replicas: 3, ..bench.options.clone() };
    let error = NatsBroker::open(impossible).await.unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    bench.end().await;
}
