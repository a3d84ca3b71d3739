//! Two nodes on one database.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use orderwire_postgres::PostgresQueue;
use orderwire_queue::engine::{Engine, Origin};
use orderwire_queue::model::Position;
use orderwire_types::queue::{Kind, QueueDef};

use super::nodes::{Node, all, decoded};
use super::support::{at, eventually, name, open, queues};
use crate::support::TestDatabase;

const SECOND: Duration = Duration::from_secs(1);

async fn two() -> (TestDatabase, Node, Node) {
    let database = TestDatabase::new().await;
    let (a, b) = (Node::open(&database.url()).await, Node::open(&database.url()).await);
    (database, a, b)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_wakes_a_consumer_of_another_node() {
    let (_database, a, b) = two().await;
    for _ in 0..5 {
        let waiting = async {
            let got = b.lease("t1", 1, 30 * SECOND, 10 * SECOND).await.unwrap();
            (got, Instant::now())
        };
        let publishing = async {
            // tidy: sleep because the other one has to wait by then, and nothing tells that it does.
            tokio::time::sleep(SECOND / 5).await;
            a.publish("a.b", "acme", "k").await.unwrap();
            Instant::now()
        };
        let ((got, at), published) = tokio::join!(waiting, publishing);
        assert_eq!(got.len(), 1);
        assert!(at.duration_since(published) < SECOND, "it took {:?}", at.duration_since(published));
        b.queues.ack(&all(), &name("t1"), &[got[0].id]).await.unwrap();
        // Of the other queue, which takes it, too.
        let got = b.lease("t2", 1, 30 * SECOND, SECOND).await.unwrap();
        b.queues.ack(&all(), &name("t2"), &[got[0].id]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_with_one_consumer_and_the_keys_in_order() {
    const EVENTS: usize = 60;
    let (_database, a, b) = two().await;
    let publish = async |node: &Node, keys: [&str; 2]| {
        for _ in 0..EVENTS {
            for key in keys {
                node.publish("a.b", key, key).await.unwrap();
            }
        }
    };
    let consume = async |node: &Node| {
        let mut seen = Vec::new();
        // What is with another consumer, and what comes, may take a moment.
        loop {
            let got = node.lease("t1", 7, 30 * SECOND, 2 * SECOND).await.unwrap();
            if got.is_empty() {
                return seen;
            }
            for delivery in got {
                assert_eq!(delivery.attempt, 1);
                let event = decoded(&delivery);
                seen.push((Instant::now(), event.source, event.id));
                node.queues.ack(&all(), &name("t1"), &[delivery.id]).await.unwrap();
            }
        }
    };
    let (.., here, there) =
        tokio::join!(publish(&a, ["k1", "k2"]), publish(&b, ["k3", "k4"]), consume(&a), consume(&b));
    let mut all: Vec<_> = here.iter().chain(&there).cloned().collect();
    assert!(!here.is_empty() && !there.is_empty(), "one node did all the work");
    assert_eq!(all.len(), 4 * EVENTS);
    assert_eq!(
        all.iter().map(|(.., id)| id).collect::<HashSet<_>>().len(),
        4 * EVENTS,
        "something came twice"
    );
    all.sort_by_key(|(at, ..)| *at);
    let mut last = HashMap::new();
    for (_, key, id) in all {
        // The numbers of a key's events only grow.
        assert!(last.insert(key.clone(), id.0).is_none_or(|before| before < id.0), "{key} is out of order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_is_next_whatever_another_node_appends() {
    let (_database, a, b) = two().await;
    for _ in 0..50 {
        a.publish("a.b", "busy", "k").await.unwrap();
    }
    a.lease("t1", 1, 30 * SECOND, SECOND).await.unwrap();
    for n in 0..50 {
        a.publish("a.b", "busy", &n.to_string()).await.unwrap();
    }
    let id = b.publish("a.b", "small", "k").await.unwrap();
    let got = b.lease("t1", 1, 30 * SECOND, SECOND).await.unwrap();
    let then = a.lease("t1", 1, 30 * SECOND, SECOND).await.unwrap();
    let ids: Vec<_> = got.iter().chain(&then).map(|delivery| decoded(delivery).id).collect();
    assert!(ids.contains(&id), "the other client is not among the next two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_a_stream_passes_over_nothing() {
    const EVENTS: usize = 150;
    let (_database, a, b) = two().await;
    let publish = async |node: &Node| {
        let mut ids = Vec::new();
        for _ in 0..EVENTS {
            ids.push(node.publish("a.b", "acme", "k").await.unwrap());
        }
        ids
    };
    let read = async |node: &Node| {
        let (mut seen, mut after) = (Vec::new(), Position(0));
        while seen.len() < 2 * EVENTS {
            let entries = node.queues.read(&name("s1"), after, 5, usize::MAX, 10 * SECOND).await.unwrap();
            assert!(!entries.is_empty(), "only {} entries came", seen.len());
            for entry in entries {
                assert!(entry.position > after);
                after = entry.position;
                seen.push(orderwire_types::Event::decode(&entry.body).unwrap().id);
            }
        }
        seen
    };
    let (first, second, here, there) = tokio::join!(publish(&a), publish(&b), read(&a), read(&b));
    let published: HashSet<_> = first.into_iter().chain(second).collect();
    assert_eq!(here, there, "two readers saw another order");
    assert_eq!(here.into_iter().collect::<HashSet<_>>(), published);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_and_pauses_reach_other_nodes_within_a_second() {
    let (_database, a, b) = two().await;
    let own = QueueDef { attempts: 7, ..QueueDef::new(Kind::Task, vec!["own.#".parse().unwrap()]) };
    a.queues.declare(&all(), &name("own"), own).await.unwrap();
    let declared = Instant::now();
    let known = async || b.queues.definition(&all(), &name("own")).ok();
    let def = eventually("the definition on the other node", known).await;
    assert!(declared.elapsed() < SECOND, "it took {:?}", declared.elapsed());
    assert_eq!(def.attempts, 7);
    // And the other one routes to it.
    b.publish("own.x", "acme", "k").await.unwrap();
    assert_eq!(a.lease("own", 1, 30 * SECOND, SECOND).await.unwrap().len(), 1);

    a.queues.pause(&all(), &name("t1"), true).await.unwrap();
    b.publish("a.b", "acme", "k").await.unwrap();
    assert!(b.lease("t1", 1, 30 * SECOND, SECOND / 2).await.unwrap().is_empty(), "a pause is everybody's");
    let waiting = async {
        let got = b.lease("t1", 1, 30 * SECOND, 10 * SECOND).await.unwrap();
        (got, Instant::now())
    };
    let resuming = async {
        // tidy: sleep because the other one has to wait by then, and nothing tells that it does.
        tokio::time::sleep(SECOND / 5).await;
        a.queues.pause(&all(), &name("t1"), false).await.unwrap();
        Instant::now()
    };
    let ((got, at), resumed) = tokio::join!(waiting, resuming);
    assert_eq!(got.len(), 1);
    assert!(at.duration_since(resumed) < SECOND, "it took {:?}", at.duration_since(resumed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_that_is_gone_held_comes_again() {
    let (_database, a, b) = two().await;
    let id = a.publish("a.b", "acme", "k").await.unwrap();
    // Both looked long ago; the lease is of somebody who ends without a word.
    let held = b.lease("t1", 1, SECOND, SECOND).await.unwrap();
    assert_eq!(held.len(), 1);
    drop(b);
    // Nobody asks this one for anything: it knows of the lease from hearsay.
    let begun = Instant::now();
    let ready = async || (a.queues.state(&all(), &name("t1")).await.unwrap().ready == 1).then_some(());
    eventually("the end of the other node's lease", ready).await;
    assert!(begun.elapsed() < 3 * SECOND, "it took {:?}", begun.elapsed());
    let got = a.lease("t1", 1, 30 * SECOND, SECOND).await.unwrap();
    let got: Vec<_> = got.iter().map(|delivery| (decoded(delivery).id, delivery.attempt)).collect();
    assert_eq!(got, [(id, 2)]);
}

/// Of two nodes with other configurations none takes away what the other has; when it is gone, the next
/// start does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_stays_bound_as_long_as_a_node_has_it_in_its_configuration() {
    let database = TestDatabase::new().await;
    let own = QueueDef { attempts: 7, ..QueueDef::new(Kind::Task, vec!["own.#".parse().unwrap()]) };
    let more: Vec<_> = queues().into_iter().chain([(name("own"), own)]).collect();
    let a = open(&database.url()).await;
    a.declare(&more, Origin::Configuration).await.unwrap();
    let types = async |engine: &PostgresQueue| {
        let all = engine.definitions().await.unwrap();
        all.into_iter().find(|(of, _)| *of == name("own")).map(|(_, def)| def.types.len())
    };
    let b = open(&database.url()).await;
    b.declare(&queues(), Origin::Configuration).await.unwrap();
    assert_eq!(types(&b).await, Some(1), "it was taken away");
    // The connection over which a node says what it has is made anew with its next commit.
    let client = crate::support::connect(&database.url()).await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
                AND pid <> pg_backend_pid()";
    client.query(kill, &[]).await.unwrap();
    let again = async || a.commit(Vec::new(), at(1)).await.ok();
    eventually("a commit over another connection", again).await;
    b.declare(&queues(), Origin::Configuration).await.unwrap();
    assert_eq!(types(&b).await, Some(1), "it was taken away after its connection was lost");
    drop(a);
    let c = open(&database.url()).await;
    c.declare(&queues(), Origin::Configuration).await.unwrap();
    assert_eq!(types(&c).await, None, "nobody has it, and it is empty");
}
