//! What happens when the server, or the way to it, fails.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orderwire_postgres::{Database, Options, PostgresQueue, QueueOptions};
use orderwire_queue::ErrorKind;
use orderwire_queue::engine::{Engine, Op, Origin};
use orderwire_queue::model::Settlement;
use orderwire_servers::proxy::{Proxy, Wire};

use super::nodes::{Node, all, decoded};
use super::support::{append, at, claim, claimed, empty, entry, eventually, key, name, one, queues, settle};
use crate::support::{TestDatabase, TestServer, connect};

const SECOND: Duration = Duration::from_secs(1);

/// Publishes until it is told to stop; what was acknowledged.
async fn publish(node: &Node, keys: [&str; 4], stop: &AtomicBool) -> Vec<orderwire_types::EventId> {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let publishing = keys.map(|key| node.publish("a.b", key, key));
        acknowledged.extend(futures::future::join_all(publishing).await.into_iter().flatten());
    }
    acknowledged
}

/// A restart under load, as if the server had been killed: what was acknowledged is there,
/// once, and everything goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_loses_nothing_and_doubles_nothing() {
    let server = TestServer::start("");
    let database = TestDatabase::on(&server.url()).await;
    let nodes = [Node::open(&database.url()).await, Node::open(&database.url()).await];
    let stop = Arc::new(AtomicBool::new(false));
    let breaking = async {
        for mode in ["immediate", "fast"] {
            // tidy: sleep because there has to be some load before.
            tokio::time::sleep(SECOND).await;
            tokio::task::block_in_place(|| {
                server.stop(mode);
                server.begin();
            });
            // It works again without anybody's help.
            eventually("a publish after the restart", async || {
                nodes[0].publish("a.b", "again", "again").await.ok()
            })
            .await;
            eventually("a publish after the restart", async || {
                nodes[1].publish("a.b", "again", "again").await.ok()
            })
            .await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (first, second, ()) = tokio::join!(
        publish(&nodes[0], ["a", "b", "c", "d"], &stop),
        publish(&nodes[1], ["e", "f", "g", "h"], &stop),
        breaking
    );
    let acknowledged: HashSet<_> = first.into_iter().chain(second).collect();
    assert!(acknowledged.len() > 100, "only {} events were acknowledged", acknowledged.len());

    let mut seen = HashMap::new();
    loop {
        let got = nodes[0].lease("t1", 500, 30 * SECOND, Duration::ZERO).await.unwrap();
        if got.is_empty() {
            break;
        }
        for delivery in got {
            *seen.entry(decoded(&delivery).id).or_insert(0) += 1;
            nodes[0].queues.ack(&all(), &name("t1"), &[delivery.id]).await.unwrap();
        }
    }
    let lost: Vec<_> = acknowledged.iter().filter(|id| !seen.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{} of {} are lost", lost.len(), acknowledged.len());
    assert!(seen.values().all(|count| *count == 1), "something is there twice");
}

/// The process behind the engine's commits.
async fn writer_of(client: &tokio_postgres::Client) -> i32 {
    let ask = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query = 'COMMIT'
        AND application_name = 'orderwire'";
    client.query_one(ask, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_commit_whose_connection_breaks_before_it_began_did_not_happen() {
    let (database, queue) = empty().await;
    one(&queue, append(vec![entry(1, "acme", &[("t1", key("k"))])]), at(0)).await;
    let mut client = connect(&database.url()).await;
    let writer = writer_of(&client).await;
    // Somebody else commits, and takes long.
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("SELECT FROM queue.meta FOR UPDATE").await.unwrap();
    let committing = queue.commit(vec![append(vec![entry(2, "acme", &[("t1", key("k"))])])], at(0));
    let breaking = async {
        let waits = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'";
        eventually("the commit waits", async || transaction.query_opt(waits, &[&writer]).await.unwrap())
            .await;
        transaction.query_one("SELECT pg_terminate_backend($1)", &[&writer]).await.unwrap();
        transaction.commit().await.unwrap();
    };
    let (committed, ()) = tokio::join!(committing, breaking);
    let error = committed.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("nothing of it happened"), "{error}");
    let got = claimed(&queue, claim("t1", 5, at(30)), at(1)).await;
    assert_eq!(got.len(), 1, "what did not happen is there");
}

/// A commit that the server did, and whose answer never arrived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_unconfirmed() {
    let database = TestDatabase::new().await;
    let mut url = url::Url::parse(&database.url()).unwrap();
    let proxy = Proxy::to(url.port().unwrap_or(5432)).await.unwrap();
    url.set_port(Some(proxy.port())).unwrap();
    let queue = super::support::open(url.as_str()).await;
    queue.declare(&queues(), Origin::Configuration).await.unwrap();
    one(&queue, append(vec![entry(1, "acme", &[("t1", key("k"))])]), at(0)).await;
    // From now on answers are swallowed, on what is open by now.
    proxy.make(Wire::Deaf);
    let client = connect(&database.url()).await;
    let committing = queue.commit(vec![append(vec![entry(2, "acme", &[("t1", key("k"))])])], at(0));
    let breaking = async {
        let happened = "SELECT 1 FROM queue.event WHERE body = '2'";
        eventually("the commit", async || client.query_opt(happened, &[]).await.unwrap()).await;
        proxy.cut();
    };
    let (committed, ()) = tokio::join!(committing, breaking);
    let error = committed.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed, "{error}");
    assert!(error.to_string().contains("it happened"), "{error}");
    assert_eq!(claimed(&queue, claim("t1", 5, at(30)), at(1)).await.len(), 2);
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended_and_the_next_works() {
    let database = TestDatabase::new().await;
    let options = Options { lock_timeout: SECOND, statement_timeout: 2 * SECOND, ..database.options() };
    let opened = Database::open(&options).await.unwrap();
    let queue = PostgresQueue::open(&opened, &QueueOptions::default()).await.unwrap();
    queue.declare(&queues(), Origin::Configuration).await.unwrap();
    let mut client = connect(&database.url()).await;
    // The lock of all commits, and a lock of a table that only a statement waits for.
    for (lock, words) in [
        ("SELECT FROM queue.meta FOR UPDATE", "lock timeout"),
        ("LOCK TABLE queue.event IN ACCESS EXCLUSIVE MODE", "lock timeout"),
    ] {
        let transaction = client.transaction().await.unwrap();
        transaction.batch_execute(lock).await.unwrap();
        let op = append(vec![entry(1, "acme", &[("t1", key("k"))])]);
        let error = queue.commit(vec![op], at(0)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        transaction.rollback().await.unwrap();
    }
    one(&queue, append(vec![entry(2, "acme", &[("t1", key("k"))])]), at(0)).await;
    assert_eq!(claimed(&queue, claim("t1", 5, at(30)), at(1)).await.len(), 1);
}

#[tokio::test]
async fn a_text_that_the_database_cannot_hold_is_no_fault() {
    let (_database, queue) = empty().await;
    let mut event = entry(1, "acme", &[("t1", key("a\0b"))]);
    event.principal = "some\0body".to_owned();
    one(&queue, append(vec![event]), at(0)).await;
    let got = claimed(&queue, claim("t1", 1, at(30)), at(1)).await;
    let cause = "a\0b '; DROP TABLE queue.event; --".to_owned();
    one(&queue, settle("t1", got[0].id, Settlement::Fail { cause }), at(2)).await;
    let dead = queue
        .dead(&orderwire_types::scope::Clients::All, &Default::default(), 0, 5, usize::MAX)
        .await
        .unwrap();
    assert_eq!(dead.items[0].cause, "a\u{fffd}b '; DROP TABLE queue.event; --");
}

#[tokio::test]
async fn a_definition_that_changes_meanwhile_is_taken_over() {
    let (database, queue) = empty().await;
    let other = super::support::open(&database.url()).await;
    let mut changed = queues();
    changed.push((name("t3"), changed[0].1.clone()));
    other.declare(&changed, Origin::Configuration).await.unwrap();
    // Nobody told this one: it notices with the commit, and does it all the same.
    one(&queue, append(vec![entry(1, "acme", &[("t3", key("k"))])]), at(0)).await;
    let expire = queue.commit(vec![Op::Expire { limit: 10 }], at(1)).await.unwrap();
    assert!(expire.outcomes[0].is_ok());
}

/// The disk is full: nothing happens, and it goes on when there is space again.
#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let disk = crate::support::SmallDisk::mount("24m");
    let server = TestServer::start("");
    disk.give_to_server();
    let client = connect(&server.url()).await;
    let space = format!("CREATE TABLESPACE small LOCATION '{}'", disk.folder().display());
    client.batch_execute(&space).await.unwrap();
    let database = TestDatabase::on(&server.url()).await;
    let in_it = connect(&database.url()).await;
    let queue = super::support::open(&database.url()).await;
    queue.declare(&queues(), Origin::Configuration).await.unwrap();
    in_it.batch_execute("ALTER TABLE queue.event SET TABLESPACE small").await.unwrap();
    let mut n = 0;
    let error = loop {
        n += 1;
        let mut event = entry(n, "acme", &[("t1", key("k"))]);
        event.body = vec![b'1'; 1 << 20].into();
        match queue.commit(vec![append(vec![event])], at(0)).await {
            Ok(_) => assert!(n < 100, "the disk is never full"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("free space"), "{error}");
    let state = queue.state(&name("t1")).await.unwrap();
    assert_eq!(state.ready, n - 1, "a part of what failed is there");
    in_it.batch_execute("ALTER TABLE queue.event SET TABLESPACE pg_default").await.unwrap();
    one(&queue, append(vec![entry(n, "acme", &[("t1", key("k"))])]), at(0)).await;
    drop((queue, in_it, database, server));
}
