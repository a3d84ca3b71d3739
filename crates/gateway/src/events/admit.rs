//! Which events a caller may publish.

use orderwire_api::Problem;
use orderwire_api::problem::shown;
use orderwire_types::identity::is_own_source;
use orderwire_types::{Data, DatasetName, Event, EventType, Origin, QueueName, Right, Scope};

use crate::problems::{invalid, unroutable};
use crate::rows::{self, ROWS};
use crate::state::State;

/// The types of Orderwire's own events.
const OWN: &str = "orderwire.";
/// The one own type beside rows that is taken from outside.
pub(crate) const ORDER: &str = "orderwire.order.requested";

/// Checks one event after the other. What it found out for a type is kept for
/// the next event of that type.
pub(crate) struct Admission<'r> {
    state: &'r State,
    scope: &'r Scope,
    /// Whether the event still has to find its queues.
    routed: bool,
    last: Option<(EventType, Kind)>,
}

#[derive(Clone)]
enum Kind {
    Event,
    Rows(DatasetName),
}

impl<'r> Admission<'r> {
    pub(crate) fn new(state: &'r State, scope: &'r Scope) -> Self {
        Self { state, scope, routed: true, last: None }
    }

    /// For events that came by their queue.
    pub(crate) fn by_queue(state: &'r State, scope: &'r Scope) -> Self {
        Self { routed: false, ..Self::new(state, scope) }
    }

    /// # Errors
    /// 403 for a client or type outside the caller's rights, 422 for a source
    /// of Orderwire's own, for a type that no queue takes and for rows that their dataset cannot hold.
    pub(crate) fn admit(&mut self, event: &Event) -> Result<(), Problem> {
        if !self.scope.covers(&event.client) {
            let detail = format!("client {} is outside the scope of this key", event.client);
            return Err(Problem::forbidden(detail).at("/client"));
        }
        if is_own_source(&event.source) {
            let detail =
                "sources that begin with /orderwire are those of Orderwire's own events; name another";
            return Err(invalid(source_pointer(event), detail));
        }
        let kind = match &self.last {
            Some((event_type, kind)) if *event_type == event.event_type => kind.clone(),
            _ => {
                let kind = self.kind(event)?;
                self.last = Some((event.event_type.clone(), kind.clone()));
                kind
            }
        };
        match kind {
            Kind::Event => Ok(()),
            Kind::Rows(dataset) => self.check_rows(event, &dataset),
        }
    }

    fn kind(&self, event: &Event) -> Result<Kind, Problem> {
        let event_type = event.event_type.as_str();
        let queues = self.state.queues().route(&event.event_type);
        let kind = if let Some(name) = event_type.strip_prefix(ROWS) {
            self.require(Right::Write)?;
            let name: DatasetName = name.parse().map_err(|_| no_dataset(event, name))?;
            if !self.scope.touches(&format!("dataset/{name}")) {
                let detail = format!("dataset {name} is outside the scope of this key");
                return Err(Problem::forbidden(detail));
            }
            Kind::Rows(name)
        } else {
            if event_type == ORDER {
                self.require(Right::Order)?;
            } else if event_type.starts_with(OWN) {
                return Err(refused_type(&event.event_type));
            } else {
                self.require(Right::Write)?;
            }
            self.check_objects(&queues)?;
            Kind::Event
        };
        if self.routed && queues.is_empty() {
            let detail = format!(
                "no queue takes events of the type {event_type}; add a queue whose types match it, \
                 or correct the type"
            );
            return Err(unroutable(detail).at(type_pointer(event)));
        }
        Ok(kind)
    }

    fn require(&self, right: Right) -> Result<(), Problem> {
        if self.scope.may(right) {
            return Ok(());
        }
        let name = format!("{right:?}").to_lowercase();
        Err(Problem::forbidden(format!("this key lacks the right {name:?}, which this event needs")))
    }

    /// A key of some objects publishes to its own queues only.
    fn check_objects(&self, queues: &[QueueName]) -> Result<(), Problem> {
        if self.scope.objects.is_none() {
            return Ok(());
        }
        match queues.iter().find(|queue| !self.scope.touches(&format!("queue/{queue}"))) {
            None => Ok(()),
            Some(queue) => Err(Problem::forbidden(format!(
                "the event goes to queue {queue}, which is outside the scope of this key"
            ))),
        }
    }

    fn check_rows(&self, event: &Event, dataset: &DatasetName) -> Result<(), Problem> {
        let Some(reader) = self.state.readers.of(self.state, self.scope, dataset) else {
            return Err(no_dataset(event, dataset.as_str()));
        };
        let prefix = if matches!(event.origin, Origin::CloudEvent { .. }) { "/data" } else { "" };
        let Data::Json(json) = &event.data else {
            return Err(invalid(prefix, "rows are a JSON object or an array of them"));
        };
        rows::check_event(&reader, json.get(), prefix, self.state.limits())
    }
}

/// 403: an own type that nobody publishes from outside.
fn refused_type(event_type: &EventType) -> Problem {
    Problem::forbidden(format!(
        "events of the type {event_type} are made by Orderwire itself; from outside only \
         orderwire.rows.<dataset> and {ORDER} are taken"
    ))
}

fn no_dataset(event: &Event, name: &str) -> Problem {
    invalid(
        type_pointer(event),
        format!("dataset {} does not exist; define it first with PUT /v1/datasets/NAME", shown(name)),
    )
}

/// Where the event says its source.
fn source_pointer(event: &Event) -> &'static str {
    match event.origin {
        Origin::CloudEvent { .. } => "/source",
        Origin::MessageAttributes { .. } => "/Metadata/publisher",
        Origin::Plain | Origin::Flat => "",
    }
}

/// Where the event says its type.
fn type_pointer(event: &Event) -> &'static str {
    match event.origin {
        Origin::CloudEvent { .. } => "/type",
        Origin::MessageAttributes { .. } => "/MessageAttributes/event_type/Value",
        Origin::Plain | Origin::Flat => "",
    }
}
