//! From bytes to checked events.

use jiff::Timestamp;
use orderwire_api::Problem;
use orderwire_types::envelope::{self, Arrival, Incoming, RequestName, parse_traceparent};
use orderwire_types::{Client, EventId, EventType, Scope, TraceId, identity};
use uuid::Uuid;

use crate::events::admit::Admission;
use crate::faults::Faults;
use crate::problems::too_large;
use crate::state::State;

/// Reads and checks the events of one request.
pub(super) struct Intake<'r> {
    state: &'r State,
    scope: &'r Scope,
    client: Client,
    event_type: Option<&'r EventType>,
    traceparent: Option<&'r str>,
    request: Option<Uuid>,
    now: Timestamp,
    admission: Admission<'r>,
}

/// The events of a request that holds many.
pub(super) struct Batch {
    pub(super) events: Vec<Incoming>,
    pub(super) faults: Faults,
    /// How many entries the request holds.
    pub(super) entries: u64,
    /// The trace of the events that came without one.
    pub(super) trace: TraceId,
}

impl<'r> Intake<'r> {
    pub(super) fn new(
        state: &'r State,
        scope: &'r Scope,
        client: Client,
        event_type: Option<&'r EventType>,
        traceparent: Option<&'r str>,
        request: Option<Uuid>,
    ) -> Self {
        let admission = Admission::new(state, scope);
        Self { state, scope, client, event_type, traceparent, request, now: state.now(), admission }
    }

    /// One JSON document.
    pub(super) fn single(&mut self, body: &[u8]) -> Result<Incoming, Problem> {
        let incoming = envelope::from_json(body, &self.arrival(None))?;
        self.admission.admit(&incoming.event)?;
        Ok(incoming)
    }

    /// A CloudEvent in binary mode.
    pub(super) fn binary(
        &mut self,
        attributes: &[(&str, &str)],
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Incoming, Problem> {
        let attributes = attributes.iter().copied();
        let incoming = envelope::from_binary(attributes, content_type, body, &self.arrival(None))?;
        self.admission.admit(&incoming.event)?;
        Ok(incoming)
    }

    /// A CloudEvents batch. Lines are places in the array, from 1.
    pub(super) fn batch(&mut self, body: &[u8]) -> Result<Batch, Problem> {
        // The array itself is one level, each event has its own guard.
        if !orderwire_types::json::nests_at_most(body, self.state.limits().json_depth + 1) {
            let detail = format!("nested deeper than {} levels", self.state.limits().json_depth);
            return Err(crate::problems::invalid("", detail));
        }
        let entries = envelope::batch(body, self.state.limits().batch_entries)?;
        let entries = entries.into_iter().zip(1..).map(|(entry, line)| (line, entry.as_bytes()));
        self.many(entries, true)
    }

    /// NDJSON.
    pub(super) fn lines(&mut self, body: &[u8]) -> Result<Batch, Problem> {
        self.many(envelope::lines(body).map(|(line, entry)| (line as u64, entry)), false)
    }

    /// Reads the entries. Those of an array are parts of one document, so that
    /// pointers go through it.
    fn many<'b>(
        &mut self,
        entries: impl Iterator<Item = (u64, &'b [u8])>,
        is_array: bool,
    ) -> Result<Batch, Problem> {
        let trace = self.shared_trace();
        let max = self.state.limits().batch_entries;
        let mut batch = Batch { events: Vec::new(), faults: Faults::default(), entries: 0, trace };
        for (line, entry) in entries {
            if batch.entries == max as u64 {
                return Err(too_large(format!("the request holds more than {max} events")));
            }
            let index = batch.entries;
            batch.entries += 1;
            match self.entry(entry, index, &batch.trace) {
                Ok(incoming) => batch.events.push(incoming),
                Err(problem) if is_array => {
                    let pointer = format!("/{index}{}", problem.pointer.as_deref().unwrap_or_default());
                    batch.faults.add(line, problem.at(pointer));
                }
                Err(problem) => batch.faults.add(line, problem),
            }
        }
        Ok(batch)
    }

    fn entry(&mut self, entry: &[u8], index: u64, shared: &TraceId) -> Result<Incoming, Problem> {
        let mut incoming = envelope::from_json(entry, &self.arrival(Some(index)))?;
        let event = &mut incoming.event;
        // Events of one request that name neither themselves nor a trace are one
        // trace. One that its producer names keeps the trace that its name
        // gives, so that it is the same when it comes again in another request.
        let by_request = |request| event.id.0 == identity::row_id(EventId(request), index);
        let unnamed = !incoming.named || self.request.is_some_and(by_request);
        if unnamed && self.traceparent.is_none() && event.trace == identity::derived_trace(event.id) {
            event.trace = shared.clone();
        }
        self.admission.admit(event)?;
        Ok(incoming)
    }

    /// The trace of a request with many events.
    fn shared_trace(&mut self) -> TraceId {
        if let Some(id) = self.traceparent.and_then(parse_traceparent) {
            return TraceId::from_uuid(id);
        }
        // One that cannot be read is as good as none.
        self.traceparent = None;
        match self.request {
            Some(request) => identity::derived_trace(EventId(request)),
            None => TraceId::from_uuid(Uuid::now_v7()),
        }
    }

    fn arrival(&self, index: Option<u64>) -> Arrival<'_> {
        Arrival {
            principal: &self.scope.principal,
            client: self.client.clone(),
            event_type: self.event_type,
            source: None,
            traceparent: self.traceparent,
            message_id: None,
            request: self.request.map(|id| RequestName { id, index }),
            now: self.now,
            new_id: Uuid::now_v7(),
            limits: self.state.limits(),
        }
    }
}
