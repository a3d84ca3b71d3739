//! Removes from the stream what every queue has acked.
//!
//! A server can do that by itself (retention by interest). Servers of Debian's version then
//! lose, now and then, what waits for a queue when they are restarted in good order, because
//! they forget for a moment that the queue is there. So the stream keeps everything, and what
//! is done is purged from here, up to the first message that some queue has not acked: of
//! all subjects first, then of each area where others go further.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use orderwire_broker::{Error, ErrorKind};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::api::{self, Consumer, Failure};
use crate::filter;
use crate::topology::{self, Topology};

/// Sweeps every `pause` while it is connected. Several brokers on one stream may, each does
/// what is left to do.
pub(crate) async fn run(topology: Arc<Topology>, pause: Duration, dropped: CancellationToken) {
    let link = topology.link.clone();
    let sweeping = async {
        let mut sweeper = Sweeper { topology, swept: BTreeMap::new() };
        loop {
            sleep(pause).await;
            if sweeper.topology.link.connected().is_err() {
                continue;
            }
            let within = sweeper.topology.link.timeout();
            let swept = match timeout(within, sweeper.sweep()).await {
                Ok(Ok(consumers)) => timeout(within, sweeper.narrow(&consumers)).await,
                Ok(Err(error)) => Ok(Err(error)),
                Err(late) => Err(late),
            };
            match swept {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the stream is not swept"),
                Err(_) => tracing::debug!("the stream is not swept: no answer in time"),
            }
        }
    };
    tokio::select! {
        () = sweeping => {}
        () = dropped.cancelled() => {}
        () = link.closed().cancelled() => {}
    }
}

struct Sweeper {
    topology: Arc<Topology>,
    /// Up to where each area was swept, by its filter.
    swept: BTreeMap<String, u64>,
}

/// What lets through what, and up to where it is done.
struct Done {
    filters: Vec<String>,
    done: u64,
}

impl Sweeper {
    /// Removes what is done. Returns the consumers.
    async fn sweep(&mut self) -> Result<Vec<Consumer>, Error> {
        let (link, names) = (&self.topology.link, &self.topology.names);
        let failed = |failure: Failure| failure.error("sweep the stream", ErrorKind::Refused);
        let Some(stream) = api::stream(link, &names.stream).await.map_err(failed)? else {
            return Ok(Vec::new());
        };
        // What an operator made keeps what the operator wants.
        if !topology::is_our_stream(&stream) {
            return Ok(Vec::new());
        }
        // Before the consumers: a queue that is declared after they were asked for begins
        // behind it.
        let last = stream.state.last_seq;
        let consumers = api::consumers(link, &names.stream).await.map_err(failed)?;
        if stream.state.messages == 0 {
            return Ok(consumers);
        }
        let mut all = Vec::new();
        for consumer in &consumers {
            let done = self.done_by(consumer, last).await.map_err(failed)?;
            all.push(Done { filters: consumer.config.filters(), done });
        }
        let seen: Vec<(&str, u64)> = consumers
            .iter()
            .map(|consumer| (consumer.config.durable_name.as_str(), consumer.done()))
            .collect();
        // A queue whose consumer others removed gets it back, and what came meanwhile.
        let missing = self.topology.memory.see(&seen);
        all.extend(missing.into_iter().map(|done| Done { filters: vec![">".to_owned()], done }));

        let up_to = all.iter().map(|consumer| consumer.done).fold(last, u64::min);
        if up_to >= stream.state.first_seq {
            api::purge(link, &names.stream, up_to + 1, ">").await.map_err(failed)?;
        }
        for (area, done) in self.areas(&all, last) {
            let swept = self.swept.get(&area).copied().unwrap_or(0);
            if done > up_to && done > swept {
                api::purge(link, &names.stream, done + 1, &area).await.map_err(failed)?;
                self.swept.insert(area, done);
            }
        }
        self.swept.retain(|_, done| *done > up_to);
        Ok(consumers)
    }

    /// Parts of the stream with up to where each is done: what is published to types, and
    /// what is sent to each queue by name. So the queue of somebody who is away holds what is
    /// for it, and not what is for others.
    fn areas(&self, all: &[Done], last: u64) -> Vec<(String, u64)> {
        let names = &self.topology.names;
        let by_name =
            all.iter().flat_map(|consumer| &consumer.filters).filter(|filter| names.is_by_name(filter));
        let mut areas: Vec<String> = by_name.cloned().collect();
        areas.push(names.by_any_type());
        areas.sort();
        areas.dedup();
        let done = |area: &String| {
            let takes =
                |consumer: &&Done| consumer.filters.iter().any(|filter| filter::overlap(filter, area));
            all.iter().filter(takes).map(|consumer| consumer.done).fold(last, u64::min)
        };
        areas.into_iter().map(|area| (area.clone(), done(&area))).collect()
    }

    /// Up to where a queue needs nothing any more. One that nobody reads stays where it was,
    /// although nothing may have come for it since; how many messages wait for it, servers
    /// before 2.10 do not say reliably.
    async fn done_by(&self, consumer: &Consumer, last: u64) -> Result<u64, Failure> {
        let (link, stream) = (&self.topology.link, &self.topology.names.stream);
        let done = consumer.done();
        if done >= last || consumer.num_ack_pending > 0 || consumer.num_pending > 0 {
            return Ok(done.min(last));
        }
        for filter in consumer.config.filters() {
            if api::next_message(link, stream, done + 1, &filter).await?.is_some() {
                return Ok(done);
            }
        }
        Ok(last)
    }

    /// Takes from consumers what they let through only for what had come until then.
    async fn narrow(&self, consumers: &[Consumer]) -> Result<(), Error> {
        for consumer in consumers {
            if topology::said_by(consumer).is_some_and(|bindings| bindings.ended().next().is_some()) {
                self.topology.narrow(consumer).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_queue_may_still_need_is_kept() {
        let consumer = |start: u64, floor: u64, delivered: u64, held: u64| -> Consumer {
            let config = json!({
                "durable_name": "q", "deliver_policy": "by_start_sequence", "opt_start_seq": start,
                "ack_policy": "explicit",
            });
            let info = json!({
                "config": config, "ack_floor": {"stream_seq": floor}, "delivered": {"stream_seq": delivered},
                "num_ack_pending": held,
            });
            serde_json::from_value(info).unwrap()
        };
        assert_eq!(consumer(1, 3, 9, 2).done(), 3, "something behind 3 is not acked");
        assert_eq!(consumer(1, 3, 9, 0).done(), 9, "all that was delivered is acked");
        assert_eq!(consumer(1, 0, 0, 0).done(), 0, "nothing was delivered yet");
        assert_eq!(consumer(7, 0, 6, 0).done(), 6, "it began late");
        assert_eq!(consumer(7, 0, 8, 1).done(), 6, "it began late, and holds its first");
    }
}
