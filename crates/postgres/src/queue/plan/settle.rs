//! Settlements, as columns.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use orderwire_queue::engine::{Outcome, Settle, Settled};
use orderwire_queue::model::{DeliveryId, Settlement};
use orderwire_queue::{Error, ErrorKind};
use orderwire_types::QueueName;

use super::super::calls::{Call, Function, params};
use super::super::names;
use super::clean;

/// Neighbouring settlements by queue: what happens in one says nothing of another.
#[derive(Default)]
pub(super) struct Settles<'a> {
    queues: BTreeMap<i32, Columns<'a>>,
}

/// A column for each parameter of the function `settle`.
#[derive(Default)]
struct Columns<'a> {
    ops: Vec<(usize, &'a Settle)>,
    lane: Vec<i64>,
    position: Vec<i64>,
    lease: Vec<i64>,
    clients: Vec<Option<String>>,
    how: Vec<i32>,
    delay: Vec<Option<i64>>,
    cause: Vec<Option<Cow<'a, str>>>,
}

impl<'a> Settles<'a> {
    pub(super) fn add(&mut self, index: usize, settle: &'a Settle, queue: i32) {
        let columns = self.queues.entry(queue).or_default();
        columns.ops.push((index, settle));
        columns.lane.push(settle.delivery.lane);
        columns.position.push(settle.delivery.position.0);
        columns.lease.push(settle.delivery.lease);
        columns.clients.push(names(&settle.clients).map(|names| names.join(",")));
        let (how, delay, cause) = match &settle.settlement {
            Settlement::Ack => (0, None, None),
            Settlement::Retry { delay, cause } => (1, delay.map(span), Some(clean(cause))),
            Settlement::Fail { cause } => (2, None, Some(clean(cause))),
            Settlement::Release => (3, None, None),
        };
        columns.how.push(how);
        columns.delay.push(delay);
        columns.cause.push(cause);
    }

    pub(super) fn calls(self, now: i64) -> impl Iterator<Item = Call<'a>> {
        self.queues.into_iter().map(move |(queue, columns)| columns.call(queue, now))
    }
}

impl<'a> Columns<'a> {
    fn call(self, queue: i32, now: i64) -> Call<'a> {
        let ops = self.ops;
        Call {
            function: Function::Settle,
            params: params![
                now,
                queue,
                self.lane,
                self.position,
                self.lease,
                self.clients,
                self.how,
                self.delay,
                self.cause,
            ],
            read: Box::new(move |rows, outcomes| {
                let Some(row) = rows.first() else { return Ok(()) };
                let (how, pause): (Vec<i32>, Vec<i64>) = (row.try_get(0)?, row.try_get(1)?);
                for (((index, settle), how), pause) in ops.into_iter().zip(how).zip(pause) {
                    outcomes[index] = Some(match how {
                        2 => Ok(Outcome::Settled(Settled::Acked)),
                        3 => {
                            let pause = Duration::from_nanos(u64::try_from(pause).unwrap_or_default());
                            Ok(Outcome::Settled(Settled::Returned(pause)))
                        }
                        4 => Ok(Outcome::Settled(Settled::Dead)),
                        how => Err(refused(how, &settle.queue, settle.delivery)),
                    });
                }
                Ok(())
            }),
        }
    }
}

/// Why nothing was settled or extended.
pub(super) fn refused(how: i32, queue: &QueueName, delivery: DeliveryId) -> Error {
    if how == 1 {
        return Error::new(ErrorKind::NotFound, format!("queue {queue} has no delivery {delivery}"));
    }
    let message =
        format!("delivery {delivery} of queue {queue}: the lease ran out or it was settled already");
    Error::new(ErrorKind::LeaseLost, message)
}

/// As nanoseconds.
pub(in crate::queue) fn span(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}
