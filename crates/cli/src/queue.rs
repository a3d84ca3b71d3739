//! `orderwire queue …`.

use orderwire_api::wire::{
    AckRequest, LeaseRequest, Leased, List, NackRequest, NewQueue, Peeked, QueueInfo, SettleResult,
};
use reqwest::Method;

use crate::args::Queue;
use crate::error::{Error, ErrorKind};
use crate::out::{ABSENT, Out, Table, age, count, plain};
use crate::server::{Server, parse};

pub(crate) async fn run(command: &Queue, server: &Server, out: Out) -> Result<(), Error> {
    match command {
        Queue::List => list(server, out).await,
        Queue::Show { queue } => {
            let answer = server.text(server.request(Method::GET, &["v1", "queues", queue], &[])).await?;
            if out.json { out.line(&answer) } else { show(&parse(&answer)?, out) }
        }
        Queue::Create { queue, types, kind, order, format, attempts } => {
            let new = NewQueue {
                name: queue.clone(),
                kind: kind.clone(),
                types: types.clone(),
                key: order.clone(),
                format: format.clone(),
                attempts: *attempts,
            };
            let answer = server.post(&["v1", "queues"], &new).await?;
            if out.json {
                out.line(&answer)
            } else {
                out.line(&format!("queue {queue} takes {}", types.join(", ")))
            }
        }
        Queue::Peek { queue, max } => {
            let answer = peek(server, queue, *max).await?;
            if out.json {
                return out.line(&answer);
            }
            let waiting: List<Peeked> = parse(&answer)?;
            for Peeked { attempts, event } in &waiting.items {
                out.line(&format!("attempts {attempts}  {}", plain(event.get())))?;
            }
            Ok(())
        }
        Queue::Lease { queue, max, wait_ms, lease_ms } => {
            let request = LeaseRequest { max: *max, wait_ms: *wait_ms, lease_ms: *lease_ms };
            let answer = server.post(&["v1", "queues", queue, "lease"], &request).await?;
            if out.json {
                return out.line(&answer);
            }
            let leased: Leased = parse(&answer)?;
            for delivery in &leased.deliveries {
                out.line(&format!(
                    "{}  attempt {}  until {}  {}",
                    delivery.delivery_id,
                    delivery.attempt,
                    delivery.leased_until,
                    plain(delivery.event.get())
                ))?;
            }
            if leased.deliveries.is_empty() {
                eprintln!("nothing to take from queue {queue} now");
            }
            Ok(())
        }
        Queue::Ack { queue, delivery_ids } => {
            let request = AckRequest { delivery_ids: delivery_ids.clone() };
            let answer = server.post(&["v1", "queues", queue, "ack"], &request).await;
            settled(answer, "acked", out)
        }
        Queue::Nack { queue, delivery_ids, delay_ms, cause, fail } => {
            let request = NackRequest {
                delivery_ids: delivery_ids.clone(),
                delay_ms: *delay_ms,
                cause: cause.clone(),
                fail: *fail,
            };
            let answer = server.post(&["v1", "queues", queue, "nack"], &request).await;
            settled(answer, if *fail { "dead-lettered" } else { "given back" }, out)
        }
        Queue::Pause { queue } => pause(server, queue, true, out).await,
        Queue::Resume { queue } => pause(server, queue, false, out).await,
    }
}

/// What waits first in a queue, as the server answers.
pub(crate) async fn peek(server: &Server, queue: &str, max: u32) -> Result<String, Error> {
    let max = max.to_string();
    server.text(server.request(Method::GET, &["v1", "queues", queue, "peek"], &[("max", &max)])).await
}

async fn list(server: &Server, out: Out) -> Result<(), Error> {
    let queues = server.list(&["v1", "queues"]).await?;
    if out.json {
        return out.json(&queues);
    }
    let mut table =
        Table::new(["name", "kind", "ready", "in flight", "delayed", "dead", "oldest", "state", "types"]);
    for queue in &queues.items {
        let queue: QueueInfo = parse(queue.get())?;
        let oldest = if queue.oldest_age_ms == 0 { ABSENT.to_owned() } else { age(queue.oldest_age_ms) };
        let state = state(&queue);
        table.row([
            queue.name,
            queue.kind,
            count(queue.ready),
            count(queue.in_flight),
            count(queue.delayed),
            count(queue.dead),
            oldest,
            state,
            queue.types.join(" "),
        ]);
    }
    out.table(&table)
}

fn show(queue: &QueueInfo, out: Out) -> Result<(), Error> {
    let mut table = Table::new(["what", "value"]);
    table.row(["name".into(), queue.name.clone()]);
    table.row(["kind".into(), queue.kind.clone()]);
    table.row(["state".into(), state(queue)]);
    table.row(["types".into(), queue.types.join(" ")]);
    table.row(["order".into(), queue.key.clone()]);
    table.row(["format".into(), queue.format.clone()]);
    table.row(["attempts".into(), queue.attempts.to_string()]);
    table.row(["ready".into(), count(queue.ready)]);
    table.row(["in flight".into(), count(queue.in_flight)]);
    table.row(["delayed".into(), count(queue.delayed)]);
    table.row(["dead".into(), count(queue.dead)]);
    table.row(["oldest".into(), age(queue.oldest_age_ms)]);
    out.table(&table)
}

fn state(queue: &QueueInfo) -> String {
    match (queue.paused, &queue.worker) {
        (true, _) => "paused".to_owned(),
        (false, Some(worker)) => format!("by {worker}"),
        (false, None) => "open".to_owned(),
    }
}

async fn pause(server: &Server, queue: &str, paused: bool, out: Out) -> Result<(), Error> {
    let action = if paused { "pause" } else { "resume" };
    server.text(server.request(Method::POST, &["v1", "queues", queue, action], &[])).await?;
    let sentence =
        format!("queue {queue} {}", if paused { "is paused" } else { "hands out deliveries again" });
    out.done(&serde_json::json!({ "queue": queue, "paused": paused }), &sentence)
}

/// The answer to a settlement, whose conflicts are listed one by one.
fn settled(answer: Result<String, Error>, done: &str, out: Out) -> Result<(), Error> {
    let answer = answer?;
    let result: SettleResult = parse(&answer)?;
    if out.json {
        out.line(&answer)?;
    } else {
        out.line(&format!("{} {done}", count(result.settled)))?;
        for error in &result.errors {
            eprintln!("{}: {}", plain(&error.delivery_id), plain(&error.detail));
        }
    }
    if result.errors.is_empty() { Ok(()) } else { Err(Error::reported(ErrorKind::Conflict)) }
}
