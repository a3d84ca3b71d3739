//! Paths of the queue: routing, and the engine without HTTP.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use orderwire_queue::engine::{
    Append, Claim, Engine, LaneKey, NewEntry, Op, Origin, Outcome, Settle, Settled,
};
use orderwire_queue::{Clock, Options, Queues, Settlement};
use orderwire_sqlite::{DataDir, SqliteQueue};
use orderwire_types::queue::QueueDef;
use orderwire_types::scope::Clients;
use orderwire_types::{EventId, EventType, QueueName};
use serde_json::json;
use uuid::Uuid;

use crate::inputs;
use crate::path::Run;

/// Clients that publish; each is a lane.
const CLIENTS: usize = 64;

pub(crate) async fn route(run: Run) -> Result<()> {
    let queues = (0..100).map(|n| definition(&format!("queue-{n}"), &format!("shop-{n}.*.order.#")));
    let queues = queues.collect::<Result<Vec<_>>>()?;
    let (clock, _hand) = Clock::manual(inputs::now());
    let engine = Arc::new(open(&run)?);
    let (queues, _service) = Queues::open(engine, queues, HashMap::new(), Options::default(), clock).await?;
    let types = (0..run.times_max).map(|n| format!("shop-{}.n{n}.order.paid.late", n % 100).parse());
    let types = types.collect::<Result<Vec<EventType>, _>>()?;
    for event_type in &types[..run.times] {
        ensure!(queues.route(black_box(event_type)).len() == 1, "one queue takes {event_type}");
    }
    Ok(())
}

/// `SIZE` callers whose events share a commit.
pub(crate) async fn append<const SIZE: usize>(run: Run) -> Result<()> {
    let queue = Queue::open(&run).await?;
    for time in 0..run.times {
        queue.append(time * SIZE, SIZE).await?;
    }
    Ok(())
}

pub(crate) async fn claim_and_settle(run: Run) -> Result<()> {
    let queue = Queue::open(&run).await?;
    for time in 0..run.times_max {
        queue.append(time * CLIENTS, CLIENTS).await?;
    }
    for _ in 0..run.times {
        queue.claim_and_settle().await?;
    }
    Ok(())
}

struct Queue {
    engine: SqliteQueue,
    name: QueueName,
    event_type: EventType,
    body: Bytes,
}

impl Queue {
    async fn open(run: &Run) -> Result<Self> {
        let engine = open(run)?;
        let (name, def) = definition("work", "mycompany.#")?;
        engine.declare(&[(name.clone(), def)], Origin::Configuration).await?;
        let event_type = "mycompany.producer.event.client.published".parse()?;
        Ok(Self { engine, name, event_type, body: inputs::message_attributes(1).into() })
    }

    /// Event `n`, of one of the clients in turn.
    fn entry(&self, n: usize) -> Result<NewEntry> {
        let number = u128::try_from(n)?;
        let client = format!("client-{:03}", n % CLIENTS);
        // A derived id, which has no order.
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_le_bytes());
        Ok(NewEntry {
            event_id: EventId(id),
            remembered: Some(id),
            event_type: self.event_type.clone(),
            trace: Uuid::new_v5(&Uuid::NAMESPACE_URL, &number.to_le_bytes()),
            accepted_at: inputs::now(),
            principal: "key:0123456789abcdef".to_owned(),
            queues: vec![(self.name.clone(), LaneKey::Key(client.clone()))],
            client: client.parse()?,
            body: self.body.clone(),
        })
    }

    /// One commit of `count` events, each a call of its own.
    async fn append(&self, first: usize, count: usize) -> Result<()> {
        let ops = (first..first + count).map(|n| {
            let entries = vec![self.entry(n)?];
            Ok(Op::Append(Append { entries, request: None }))
        });
        let ops = ops.collect::<Result<Vec<_>>>()?;
        for outcome in self.engine.commit(ops, inputs::now()).await?.outcomes {
            let Outcome::Appended(new) = outcome? else { bail!("not the outcome of an append") };
            ensure!(new == [true], "the event is new");
        }
        Ok(())
    }

    async fn claim_and_settle(&self) -> Result<()> {
        let claim = Op::Claim(Claim {
            queue: self.name.clone(),
            clients: Clients::All,
            max: CLIENTS,
            max_bytes: 8 << 20,
            until: inputs::now() + SignedDuration::from_secs(30),
            behind: Vec::new(),
            principal: "key:0123456789abcdef".to_owned(),
        });
        let mut outcomes = self.engine.commit(vec![claim], inputs::now()).await?.outcomes;
        let Some(Outcome::Claimed(deliveries)) = outcomes.pop().transpose()? else {
            bail!("not the outcome of a claim");
        };
        ensure!(deliveries.len() == CLIENTS, "each client has a delivery, not {}", deliveries.len());
        let settle = |delivery: &orderwire_queue::Delivery| {
            Op::Settle(Settle {
                queue: self.name.clone(),
                delivery: delivery.id,
                clients: Clients::All,
                settlement: Settlement::Ack,
            })
        };
        let ops = deliveries.iter().map(settle).collect();
        for outcome in self.engine.commit(ops, later()).await?.outcomes {
            ensure!(matches!(outcome?, Outcome::Settled(Settled::Acked)), "it is acked");
        }
        Ok(())
    }
}

/// A moment within the lease.
fn later() -> Timestamp {
    inputs::now() + SignedDuration::from_millis(20)
}

fn open(run: &Run) -> Result<SqliteQueue> {
    let dir = DataDir::open(&run.folder)?;
    Ok(SqliteQueue::open(&dir, &orderwire_sqlite::Options::default())?)
}

fn definition(name: &str, pattern: &str) -> Result<(QueueName, QueueDef)> {
    Ok((name.parse()?, serde_json::from_value(json!({"types": [pattern]}))?))
}
