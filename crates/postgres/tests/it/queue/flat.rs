//! What a commit costs does not grow with what waits, remembers, or is dead.

use std::collections::BTreeSet;

use orderwire_queue::engine::LaneKey;
use orderwire_queue::model::{DeliveryId, Settlement};
use tokio_postgres::Client;

use super::support::{append, at, claim, claimed, empty, entry, eventually, key, one, settle};
use crate::support::connect;

/// So many rows of indexes may be read by a few commits of one operation each.
const ROWS: i64 = 2_000;

/// Rows that were read so far, by index or not. The server counts them a little later.
async fn rows_read(client: &Client, events: i64) -> i64 {
    let ask = "SELECT (SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE schemaname = 'queue')
            + (SELECT sum(seq_tup_read)::bigint FROM pg_stat_user_tables WHERE schemaname = 'queue')
        WHERE (SELECT n_tup_ins FROM pg_stat_user_tables WHERE schemaname = 'queue' AND relname = 'event') >= $1";
    eventually("the server's statistics", async || {
        client.batch_execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
        client.query_opt(ask, &[&events]).await.unwrap().map(|row| row.get(0))
    })
    .await
}

/// The plans are made when the tables are empty, and kept; nothing tells the planner meanwhile
/// how large they have become.
#[tokio::test]
async fn a_commit_reads_few_rows_however_many_wait() {
    let (database, queue) = empty().await;
    let client = connect(&database.url()).await;
    for table in ["event", "delivery", "lane", "turn", "dead", "remembered", "step", "queue", "meta", "node"]
    {
        let off = format!("ALTER TABLE queue.{table} SET (autovacuum_enabled = off)");
        client.batch_execute(&off).await.unwrap();
    }
    let mut n = 0;
    let mut next = |count: u64| {
        let entries = (n..n + count).map(|n| {
            let client = format!("c{}", n % 50);
            let lane = if n % 3 == 0 { LaneKey::Alone } else { key(&(n % 7).to_string()) };
            let mut entry = entry(n, &client, &[("t1", lane), ("s1", LaneKey::Stream)]);
            entry.remembered = Some(entry.event_id.0);
            entry
        });
        let entries = entries.collect();
        n += count;
        append(entries)
    };
    let mut seen = BTreeSet::new();
    let mut round = async |op| {
        one(&queue, op, at(0)).await;
        let got = claimed(&queue, claim("t1", 3, at(30)), at(0)).await;
        let ends =
            [Settlement::Ack, Settlement::Retry { delay: None, cause: "x".to_owned() }, Settlement::Release];
        for (delivery, end) in got.iter().zip(ends) {
            let id: DeliveryId = delivery.id;
            assert!(seen.insert((id.position, id.lease)));
            one(&queue, settle("t1", id, end), at(1)).await;
        }
        queue_expires(&queue).await;
    };
    // Often enough for plans that are kept.
    for _ in 0..12 {
        round(next(1)).await;
    }
    for _ in 0..20 {
        round(next(1_000)).await;
    }
    let before = rows_read(&client, 20_012).await;
    for _ in 0..3 {
        round(next(1)).await;
    }
    let read = rows_read(&client, 20_015).await - before;
    assert!(read < ROWS, "three rounds read {read} rows");
}

async fn queue_expires(queue: &orderwire_postgres::PostgresQueue) {
    one(queue, orderwire_queue::engine::Op::Expire { limit: 10 }, at(2)).await;
}
