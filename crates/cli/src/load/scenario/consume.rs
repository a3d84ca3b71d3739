//! Lease and ack the events of the queue `load`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures::future::try_join_all;
use hyper::Uri;
use orderwire_api::wire::{NewQueue, QueueInfo};
use serde::Deserialize;

use super::publish::Publish;
use super::{Done, Failure, JSON, NAME, Requests, Round, ask, foreign, hint, path};
use crate::error::{Error, ErrorKind};
use crate::load::http::Connection;
use crate::load::measured::Stages;
use crate::load::settings::Settings;
use crate::server::Server;

const WAIT_MS: u64 = 1_000;
const LEASE_MS: u64 = 30_000;
/// How the queue is filled: so many events and bytes a request at most, over so
/// many connections.
const FILL_ENTRIES: usize = 500;
const FILL_BYTES: usize = 4 << 20;
const FILL_CONNECTIONS: usize = 8;

/// Deliveries that are leased and acked.
#[derive(Debug)]
pub(super) struct Consume {
    server: Server,
    lease: Uri,
    ack: Uri,
    body: Bytes,
    /// Deliveries that were leased so far, by anybody.
    leased: AtomicU64,
    publish: Publish,
    fill_entries: u64,
    prefill: u64,
}

#[derive(Deserialize)]
struct Leased {
    deliveries: Vec<Delivery>,
}

/// What is read of a delivery.
#[derive(Deserialize)]
struct Delivery {
    delivery_id: String,
}

impl Consume {
    pub(super) async fn new(settings: &Settings, server: &Server) -> Result<Self, Error> {
        queue(server).await?;
        let largest = settings.payload.bytes().max().expect("there is a size");
        let entries = (FILL_BYTES / largest).clamp(1, FILL_ENTRIES);
        Ok(Self {
            server: server.clone(),
            lease: path(server, &["v1", "queues", NAME, "lease"])?,
            ack: path(server, &["v1", "queues", NAME, "ack"])?,
            body: format!(r#"{{"max":{},"wait_ms":{WAIT_MS},"lease_ms":{LEASE_MS}}}"#, settings.batch).into(),
            leased: AtomicU64::new(0),
            publish: Publish::new(settings, server, Some(entries))?,
            fill_entries: entries as u64,
            prefill: settings.prefill,
        })
    }

    /// Fills the queue up.
    pub(super) async fn fill(&self, requests: &Requests, number: &AtomicU64) -> Result<(), Error> {
        if self.prefill == 0 {
            return Ok(());
        }
        let queue: QueueInfo = self.server.get(&["v1", "queues", NAME], &[]).await?;
        let missing = self.prefill.saturating_sub(queue.ready).div_ceil(self.fill_entries);
        let left = AtomicU64::new(missing);
        let fill = || async {
            let mut connection = Connection::new(requests.target.clone());
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                let number = number.fetch_add(1, Ordering::Relaxed);
                self.publish.round(requests, &mut connection, number).await?;
            }
            Ok::<_, Failure>(())
        };
        match try_join_all((0..FILL_CONNECTIONS).map(|_| fill())).await {
            Ok(_) => Ok(()),
            Err(failure) => Err(failure.into_error("cannot fill the queue `load`")),
        }
    }

    /// What a lease of nothing means, before which so many deliveries were leased.
    fn nothing(&self, before: u64) -> Round {
        // Others may hold every lane; when nobody got anything meanwhile, nothing is left.
        if self.leased.load(Ordering::Relaxed) == before { Round::Drained } else { Round::Idle }
    }

    pub(super) async fn round(
        &self,
        requests: &Requests,
        connection: &mut Connection,
    ) -> Result<Round, Failure> {
        let before = self.leased.load(Ordering::Relaxed);
        let begun = Instant::now();
        let lease = requests.post(self.lease.clone(), JSON, self.body.clone());
        let answer = ask(connection, lease, true).await?;
        let ids: Vec<String> = match serde_json::from_slice::<Leased>(&answer.body) {
            Ok(leased) => leased.deliveries.into_iter().map(|delivery| delivery.delivery_id).collect(),
            Err(error) => return Err(Failure::new("unreadable", format!("a lease cannot be read: {error}"))),
        };
        let count = ids.len() as u64;
        if count == 0 {
            return Ok(self.nothing(before));
        }
        self.leased.fetch_add(count, Ordering::Relaxed);
        let leased = Instant::now();
        let body = serde_json::json!({ "delivery_ids": ids }).to_string();
        ask(connection, requests.post(self.ack.clone(), JSON, body.into()), false).await?;
        let ended = Instant::now();
        let mut stages = Stages::default();
        stages.set(0, leased - begun);
        stages.set(1, ended - leased);
        Ok(Round::Done(Done { units: count, ended, stages }))
    }
}

/// Makes the queue, unless it is there. One that somebody else made is left
/// alone: its events are not ours to consume.
pub(super) async fn queue(server: &Server) -> Result<(), Error> {
    let new = NewQueue {
        name: NAME.to_owned(),
        kind: Some("task".to_owned()),
        types: vec!["load.#".to_owned()],
        key: None,
        format: None,
        attempts: None,
    };
    match server.get::<QueueInfo>(&["v1", "queues", NAME], &[]).await {
        Ok(queue) if queue.kind == "task" && queue.types == new.types => return Ok(()),
        Ok(queue) => {
            return Err(foreign(
                &format!("the queue {NAME}"),
                &format!("a {} of {}", queue.kind, queue.types.join(", ")),
            ));
        }
        // Who may make it need not be who may look at it.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotAllowed) => {}
        Err(error) => return Err(error),
    }
    let made = server.post(&["v1", "queues"], &new).await;
    made.map(drop).map_err(|error| hint(error, "make the queue `load`"))
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;
    use crate::load::scenario::tests::plan;
    use crate::load::scenario::{Job, Plan};
    use crate::testing::{answer, serve};

    /// A queue that hands out two deliveries, then none.
    async fn drained() -> (Plan, Vec<Round>, Vec<String>) {
        let mut leases = 0;
        let server = serve(move |request| match request.uri().path() {
            "/v1/queues/load/lease" => {
                leases += 1;
                let two = r#"{"deliveries":[{"delivery_id":"a","event":{}},{"delivery_id":"b"}]}"#;
                answer(200, JSON, if leases == 1 { two } else { r#"{"deliveries":[]}"# })
            }
            _ if request.method() == Method::GET => answer(404, JSON, "{}"),
            _ => answer(200, JSON, "{}"),
        });
        let server = server.await;
        let plan = plan("consume --prefill 0 --batch 7", &server.url).await;
        plan.before_run().await.unwrap();
        let mut rounds = Vec::new();
        for _ in 0..2 {
            rounds.push(plan.round(&mut plan.connect()).await.unwrap());
        }
        let bodies = server.requests().into_iter().map(|seen| String::from_utf8(seen.body.to_vec()).unwrap());
        (plan, rounds, bodies.collect())
    }

    #[tokio::test]
    async fn what_was_leased_is_acked_until_nothing_is_left() {
        let (_, rounds, bodies) = drained().await;
        assert!(matches!(&rounds[..], [Round::Done(Done { units: 2, .. }), Round::Drained]), "{rounds:?}");
        assert!(bodies.contains(&r#"{"delivery_ids":["a","b"]}"#.to_owned()), "{bodies:?}");
        assert!(bodies.iter().any(|body| body.starts_with(r#"{"max":7,"#)), "{bodies:?}");
    }

    #[tokio::test]
    async fn while_others_get_something_an_empty_lease_is_not_the_end() {
        let (plan, _, _) = drained().await;
        let Job::Consume(job) = &plan.job else { panic!("it consumes") };
        assert!(matches!(job.nothing(2), Round::Drained));
        assert!(matches!(job.nothing(1), Round::Idle));
    }
}
