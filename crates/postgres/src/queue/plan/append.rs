//! Appends, as columns.

use std::borrow::Cow;

use orderwire_queue::engine::{Append, LaneKey, NewEntry, Outcome, Reject};
use orderwire_queue::{Error, ErrorKind};
use orderwire_types::QueueName;
use uuid::Uuid;

use super::super::calls::{Call, Function, params};
use super::super::session::Known;
use super::super::{long, nanos};
use super::clean;

/// Where an entry goes.
pub(super) struct Target<'a> {
    queue: i32,
    name: &'a QueueName,
    key: &'a LaneKey,
}

/// The queues of each entry of an append, each queue once.
pub(super) fn routes<'a>(append: &'a Append, known: &Known) -> Result<Vec<Vec<Target<'a>>>, Error> {
    append.entries.iter().map(|entry| route(entry, known)).collect()
}

fn route<'a>(entry: &'a NewEntry, known: &Known) -> Result<Vec<Target<'a>>, Error> {
    let mut route: Vec<Target<'_>> = Vec::with_capacity(entry.queues.len());
    for (name, key) in &entry.queues {
        let queue = known.queue(name)?;
        if queue.stream != (*key == LaneKey::Stream) {
            let message = format!("queue {name} is of the other kind than the event's lane");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        if route.iter().all(|other| other.queue != queue.id) {
            route.push(Target { queue: queue.id, name, key });
        }
    }
    if route.is_empty() {
        let message = format!("no queue takes event {} of type {}", entry.event_id, entry.event_type);
        return Err(Error::new(ErrorKind::Unroutable, message));
    }
    Ok(route)
}

/// Neighbouring appends: a column for each parameter of the function `append`.
#[derive(Default)]
pub(super) struct Appends<'a> {
    /// The operations, each with how many entries it has.
    ops: Vec<(usize, usize)>,
    request: Vec<Option<Uuid>>,
    fingerprint: Vec<Option<&'a [u8]>>,
    append: Vec<i32>,
    id: Vec<Uuid>,
    remembered: Vec<Option<Uuid>>,
    event_type: Vec<&'a str>,
    client: Vec<&'a str>,
    trace: Vec<Uuid>,
    accepted_at: Vec<i64>,
    principal: Vec<Cow<'a, str>>,
    tasks: Vec<String>,
    refs: Vec<i32>,
    body: Vec<&'a [u8]>,
    entry: Vec<i32>,
    queue: Vec<i32>,
    lane_client: Vec<&'a str>,
    key: Vec<Option<Cow<'a, str>>>,
    stream: Vec<bool>,
}

impl<'a> Appends<'a> {
    pub(super) fn add(&mut self, index: usize, append: &'a Append, routes: Vec<Vec<Target<'a>>>) {
        self.ops.push((index, append.entries.len()));
        self.request.push(append.request.as_ref().map(|request| request.id));
        self.fingerprint.push(append.request.as_ref().map(|request| &request.fingerprint[..]));
        let append_number = number(self.ops.len());
        for (entry, route) in append.entries.iter().zip(routes) {
            self.append.push(append_number);
            self.id.push(entry.event_id.0);
            self.remembered.push(entry.remembered);
            self.event_type.push(entry.event_type.as_str());
            self.client.push(entry.client.as_str());
            self.trace.push(entry.trace);
            self.accepted_at.push(nanos(entry.accepted_at));
            self.principal.push(clean(&entry.principal));
            let tasks = route.iter().filter(|target| *target.key != LaneKey::Stream);
            self.tasks.push(tasks.map(|target| target.name.as_str()).collect::<Vec<_>>().join(" "));
            self.refs.push(number(route.len()));
            self.body.push(&entry.body);
            let entry_number = number(self.id.len());
            for target in route {
                self.entry.push(entry_number);
                self.queue.push(target.queue);
                let (client, key) = lane(entry, target.key);
                self.lane_client.push(client);
                self.key.push(key);
                self.stream.push(*target.key == LaneKey::Stream);
            }
        }
    }

    pub(super) fn call(self, now: i64) -> Call<'a> {
        let ops = self.ops;
        Call {
            function: Function::Append,
            params: params![
                now,
                self.request,
                self.fingerprint,
                self.append,
                self.id,
                self.remembered,
                self.event_type,
                self.client,
                self.trace,
                self.accepted_at,
                self.principal,
                self.tasks,
                self.refs,
                self.body,
                self.entry,
                self.queue,
                self.lane_client,
                self.key,
                self.stream,
            ],
            read: Box::new(move |rows, outcomes| {
                let Some(row) = rows.first() else { return Ok(()) };
                let how: Vec<i32> = row.try_get(0)?;
                let mut new = row.try_get::<_, Vec<bool>>(1)?.into_iter();
                for ((index, entries), how) in ops.into_iter().zip(how) {
                    let new = new.by_ref().take(entries).collect();
                    outcomes[index] = Some(match how {
                        2 => {
                            let message = "the same `Idempotency-Key` was used with another body";
                            Err(Error::new(ErrorKind::IdempotencyConflict, message))
                        }
                        _ => Ok(Outcome::Appended(new)),
                    });
                }
                Ok(())
            }),
        }
    }
}

/// The call that rejects.
pub(super) fn reject<'a>(
    index: usize,
    Reject { entry, cause }: &'a Reject,
    now: i64,
    known: &Known,
) -> Result<Call<'a>, Error> {
    let [target] = &route(entry, known)?[..] else {
        return Err(Error::new(ErrorKind::Conflict, "reject: an event is rejected for one queue"));
    };
    let (_, key) = lane(entry, target.key);
    let params = params![
        now,
        target.queue,
        key,
        clean(cause),
        entry.event_id.0,
        entry.remembered,
        entry.event_type.as_str(),
        entry.client.as_str(),
        entry.trace,
        nanos(entry.accepted_at),
        clean(&entry.principal),
        &entry.body[..],
    ];
    let read = super::outcome(index, |new: bool| Ok(Outcome::Appended(vec![new])));
    Ok(Call { function: Function::Reject, params, read })
}

/// Client and key of the lane of an entry. A stream's one lane is nobody's.
fn lane<'a>(entry: &'a NewEntry, key: &'a LaneKey) -> (&'a str, Option<Cow<'a, str>>) {
    match key {
        LaneKey::Stream => ("", Some(Cow::Borrowed(""))),
        LaneKey::Key(key) => (entry.client.as_str(), Some(clean(key))),
        LaneKey::Alone => (entry.client.as_str(), None),
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(long(count)).expect("a commit is bounded")
}
