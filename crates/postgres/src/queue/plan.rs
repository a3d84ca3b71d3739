//! What a commit's operations are to the session's functions. Neighbours of one kind become
//! one call: appends all together, settlements by queue.

mod append;
mod claim;
mod settle;

use std::borrow::Cow;

use orderwire_queue::engine::{Edit, Op, Outcome, Sweep};
use orderwire_queue::{Error, ErrorKind};
use orderwire_types::QueueName;

use self::append::Appends;
use self::settle::Settles;
pub(super) use self::settle::span;
use super::calls::{Call, Function, Outcomes, Reader, params};
use super::session::{Known, Queue};
use super::{long, names, nanos};

/// Lanes are expired until this many bytes became dead letters.
const EXPIRE_BYTES: i64 = 8 << 20;

/// The calls of a commit, and the outcomes that are known without them.
pub(super) struct Plan<'a> {
    pub(super) calls: Vec<Call<'a>>,
    pub(super) outcomes: Vec<Option<Result<Outcome, Error>>>,
}

/// Neighbours that become one call, or one a queue.
enum Run<'a> {
    None,
    Appends(Box<Appends<'a>>),
    Settles(Settles<'a>),
}

impl<'a> Plan<'a> {
    /// The plan of these operations at this time, as far as queues are known.
    pub(super) fn new(ops: &'a [Op], now: i64, known: &Known) -> Self {
        let mut plan = Self { calls: Vec::new(), outcomes: ops.iter().map(|_| None).collect() };
        let mut run = Run::None;
        for (index, op) in ops.iter().enumerate() {
            if let Err(refused) = plan.add(&mut run, index, op, now, known) {
                plan.outcomes[index] = Some(Err(refused));
            }
        }
        plan.close(run, now);
        plan
    }

    fn add(
        &mut self,
        run: &mut Run<'a>,
        index: usize,
        op: &'a Op,
        now: i64,
        known: &Known,
    ) -> Result<(), Error> {
        match op {
            Op::Append(append) => {
                let routes = append::routes(append, known)?;
                if !matches!(run, Run::Appends(_)) {
                    self.close(std::mem::replace(run, Run::Appends(Box::default())), now);
                }
                if let Run::Appends(appends) = run {
                    appends.add(index, append, routes);
                }
                return Ok(());
            }
            Op::Settle(settle) => {
                let queue = known.queue(&settle.queue)?.id;
                if !matches!(run, Run::Settles(_)) {
                    self.close(std::mem::replace(run, Run::Settles(Settles::default())), now);
                }
                if let Run::Settles(settles) = run {
                    settles.add(index, settle, queue);
                }
                return Ok(());
            }
            _ => {}
        }
        let call = single(index, op, now, known)?;
        self.close(std::mem::replace(run, Run::None), now);
        self.calls.push(call);
        Ok(())
    }

    fn close(&mut self, run: Run<'a>, now: i64) {
        match run {
            Run::None => {}
            Run::Appends(appends) => self.calls.push(appends.call(now)),
            Run::Settles(settles) => self.calls.extend(settles.calls(now)),
        }
    }
}

/// An operation that is a call by itself.
fn single<'a>(index: usize, op: &'a Op, now: i64, known: &Known) -> Result<Call<'a>, Error> {
    let (function, params, read): (_, _, Reader<'a>) = match op {
        Op::Append(_) | Op::Settle(_) => unreachable!("they are part of a run"),
        Op::Reject(reject) => return append::reject(index, reject, now, known),
        Op::Claim(claim) => return claim::call(index, claim, now, known),
        Op::Extend { queue, delivery, clients, until } => {
            let id = known.queue(queue)?.id;
            let params = params![
                now,
                id,
                delivery.lane,
                delivery.position.0,
                delivery.lease,
                names(clients),
                nanos(*until)
            ];
            (
                Function::Extend,
                params,
                outcome(index, move |how: i32| match how {
                    2 => Ok(Outcome::Done),
                    how => Err(settle::refused(how, queue, *delivery)),
                }),
            )
        }
        Op::Expire { limit } => (Function::Expire, params![now, long(*limit), EXPIRE_BYTES], count(index)),
        Op::Advance { queue, to } => {
            let id = known.stream(queue)?.id;
            (
                Function::Advance,
                params![now, id, to.0],
                outcome(index, move |given: bool| {
                    if given {
                        return Ok(Outcome::Done);
                    }
                    let message = format!(
                        "stream {queue} cannot be done up to {}: no position so high was given out",
                        to.0
                    );
                    Err(Error::new(ErrorKind::Conflict, message))
                }),
            )
        }
        Op::Bury { queue, position, attempts, cause } => {
            let id = known.stream(queue)?.id;
            let params = params![now, id, position.0, i64::from(*attempts), clean(cause)];
            (
                Function::BuryEntry,
                params,
                outcome(index, move |found: bool| {
                    if found {
                        return Ok(Outcome::Done);
                    }
                    let message = format!("stream {queue} has no unsettled entry at {}", position.0);
                    Err(Error::new(ErrorKind::NotFound, message))
                }),
            )
        }
        Op::Pause { queue, paused } => {
            let id = known.queue(queue)?.id;
            (
                Function::Pause,
                params![id, *paused],
                Box::new(move |_, outcomes| {
                    outcomes[index] = Some(Ok(Outcome::Done));
                    Ok(())
                }),
            )
        }
        Op::Replay { ids, principal } => {
            (Function::Replay, params![now, &ids[..], clean(principal)], count(index))
        }
        Op::Edit(edit) => {
            let Edit { id, clients, seen, body, principal, reason } = edit;
            let reason = reason.as_deref().map(clean);
            let params = params![now, *id, names(clients), &seen[..], &body[..], clean(principal), reason];
            (
                Function::Edit,
                params,
                outcome(index, move |how: i32| match how {
                    2 => Ok(Outcome::Done),
                    1 => Err(Error::new(
                        ErrorKind::Conflict,
                        format!("dead letter {id} was changed meanwhile"),
                    )),
                    _ => Err(Error::new(ErrorKind::NotFound, format!("dead letter {id} does not exist"))),
                }),
            )
        }
        Op::Discard { ids, principal, reason } => {
            (Function::Discard, params![now, &ids[..], clean(principal), clean(reason)], count(index))
        }
        Op::Sweep(Sweep { remembered_before, steps_before, dead_before, limit }) => {
            let params =
                params![nanos(*remembered_before), nanos(*steps_before), nanos(*dead_before), long(*limit)];
            (Function::Sweep, params, count(index))
        }
    };
    Ok(Call { function, params, read })
}

/// Reads one value, and makes it the outcome of an operation.
fn outcome<'a, T>(index: usize, of: impl FnOnce(T) -> Result<Outcome, Error> + Send + 'a) -> Reader<'a>
where
    T: for<'r> tokio_postgres::types::FromSql<'r> + 'a,
{
    Box::new(move |rows, outcomes: &mut Outcomes| {
        let value = rows.first().map(|row| row.try_get(0)).transpose()?;
        outcomes[index] = value.map(of);
        Ok(())
    })
}

fn count<'a>(index: usize) -> Reader<'a> {
    outcome(index, |count: i64| Ok(Outcome::Count(u64::try_from(count).unwrap_or_default())))
}

/// A text as the database can hold it: it knows no zero.
fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

impl Known {
    fn queue(&self, name: &QueueName) -> Result<&Queue, Error> {
        self.queues.get(name).ok_or_else(|| Error::no_queue(name))
    }

    fn stream(&self, name: &QueueName) -> Result<&Queue, Error> {
        let queue = self.queue(name)?;
        if queue.stream { Ok(queue) } else { Err(not_a_stream(name)) }
    }
}

pub(in crate::queue) fn not_a_stream(queue: &QueueName) -> Error {
    Error::new(ErrorKind::Conflict, format!("queue {queue} is a task queue, not a stream"))
}
