//! How fast the embedded queue is: `cargo run --release -p orderwire-sqlite
//! --example queue_rate [-- waiting [folder]]`.
//!
//! Publishes 512-byte events over 10,000 clients in groups of 1, 64 and 512,
//! one commit after the other, and claims and acknowledges in the same groups;
//! first with an empty queue, then with `waiting` (default 1,000,000) events.

use std::path::PathBuf;
use std::time::Instant;

use jiff::Timestamp;
use orderwire_queue::engine::{Append, Claim, Engine, LaneKey, NewEntry, Op, Origin, Outcome, Settle};
use orderwire_queue::model::Settlement;
use orderwire_sqlite::{DataDir, Options, SqliteQueue};
use orderwire_types::queue::{Kind, QueueDef};
use orderwire_types::scope::Clients;
use orderwire_types::{EventId, QueueName};
use uuid::Uuid;

type Outcomes<T> = Result<T, Box<dyn std::error::Error>>;

const CLIENTS: u64 = 10_000;
const GROUPS: [usize; 3] = [1, 64, 512];

#[tokio::main]
async fn main() -> Outcomes<()> {
    let mut arguments = std::env::args().skip(1);
    let waiting: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let folder =
        arguments.next().map_or_else(|| std::env::temp_dir().join("orderwire-queue-rate"), PathBuf::from);
    if folder.exists() {
        return Err(format!("{} exists: remove it or name another folder", folder.display()).into());
    }
    let mut bench = Bench::open(&folder).await?;
    println!(
        "{:>10} {:>6} {:>6} {:>12} {:>12} {:>12}",
        "waiting", "kind", "group", "publish/s", "claim+ack/s", "named/s"
    );
    bench.rates("task").await?;
    bench.rates("stream").await?;
    let started = Instant::now();
    bench.publish("task", waiting, 512, false).await?;
    println!("{waiting} events in {:.1?}, {}", started.elapsed(), memory());
    bench.rates("task").await?;
    println!("{}", memory());
    drop(bench);
    let started = Instant::now();
    drop(SqliteQueue::open(&DataDir::open(&folder)?, &Options::default())?);
    println!("opened and closed again in {:.1?}", started.elapsed());
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

struct Bench {
    queue: SqliteQueue,
    next: u64,
    waiting: u64,
    body: Vec<u8>,
}

impl Bench {
    async fn open(folder: &std::path::Path) -> Outcomes<Self> {
        let queue = SqliteQueue::open(&DataDir::open(folder)?, &Options::default())?;
        let stream = serde_json::from_str::<QueueDef>(r##"{"types":["#"]}"##)?;
        let task = stream.clone();
        let defs = [("task".parse()?, task), ("stream".parse()?, QueueDef { kind: Kind::Stream, ..stream })];
        queue.declare(&defs, Origin::Call).await?;
        Ok(Self { queue, next: 0, waiting: 0, body: vec![b'x'; 512] })
    }

    async fn rates(&mut self, kind: &str) -> Outcomes<()> {
        for group in GROUPS {
            let count = u64::try_from(group * 40).unwrap_or(u64::MAX).clamp(500, 20_000);
            let waiting = self.waiting;
            let publish = self.publish(kind, count, group, false).await?;
            let consume = self.consume(kind, count, group).await?;
            let named = self.publish(kind, count, group, true).await?;
            self.consume(kind, count, group).await?;
            println!("{waiting:>10} {kind:>6} {group:>6} {publish:>12.0} {consume:>12.0} {named:>12.0}");
        }
        Ok(())
    }

    /// Events per second.
    async fn publish(&mut self, queue: &str, count: u64, group: usize, named: bool) -> Outcomes<f64> {
        let name: QueueName = queue.parse()?;
        let started = Instant::now();
        let end = self.next + count;
        while self.next < end {
            let entries = (self.next..end)
                .take(group)
                .map(|n| self.entry(n, &name, named))
                .collect::<Outcomes<Vec<_>>>()?;
            self.next += u64::try_from(entries.len())?;
            let append = Op::Append(Append { entries, request: None });
            for outcome in self.queue.commit(vec![append], Timestamp::now()).await?.outcomes {
                outcome?;
            }
        }
        self.waiting += count;
        Ok(rate(count, started))
    }

    fn entry(&self, n: u64, queue: &QueueName, named: bool) -> Outcomes<NewEntry> {
        // Spread over the clients without any pattern of arrival.
        let client = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let client = format!("client-{}", client % CLIENTS);
        let key = if queue.as_str() == "stream" { LaneKey::Stream } else { LaneKey::Key(client.clone()) };
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, &n.to_be_bytes());
        Ok(NewEntry {
            event_id: EventId(id),
            remembered: named.then_some(id),
            event_type: "mycompany.producer.event.client.published".parse()?,
            client: client.parse()?,
            trace: Uuid::new_v4(),
            accepted_at: Timestamp::now(),
            principal: "key:bench".to_owned(),
            queues: vec![(queue.clone(), key)],
            body: self.body.clone().into(),
        })
    }

    async fn consume(&mut self, queue: &str, count: u64, group: usize) -> Outcomes<f64> {
        let name: QueueName = queue.parse()?;
        let started = Instant::now();
        let mut done = 0;
        while done < count {
            let now = Timestamp::now();
            let claim = Claim {
                queue: name.clone(),
                clients: Clients::All,
                max: group,
                max_bytes: usize::MAX,
                until: now + std::time::Duration::from_secs(60),
                behind: Vec::new(),
                principal: "bench".to_owned(),
            };
            let mut claimed = self.queue.commit(vec![Op::Claim(claim)], now).await?.outcomes;
            let Outcome::Claimed(deliveries) = claimed.remove(0)? else { return Err("no claim".into()) };
            done += u64::try_from(deliveries.len())?;
            let acks = deliveries.iter().map(|delivery| {
                Op::Settle(Settle {
                    queue: name.clone(),
                    delivery: delivery.id,
                    clients: Clients::All,
                    settlement: Settlement::Ack,
                })
            });
            for outcome in self.queue.commit(acks.collect(), Timestamp::now()).await?.outcomes {
                outcome?;
            }
        }
        self.waiting -= done;
        Ok(rate(done, started))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn rate(count: u64, started: Instant) -> f64 {
    count as f64 / started.elapsed().as_secs_f64()
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("memory unknown");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
