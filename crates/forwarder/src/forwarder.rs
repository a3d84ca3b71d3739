//! All endpoints: what they have in common, and how each is doing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jiff::Timestamp;
use orderwire_queue::{Clock, Queues};
use orderwire_store::Store;
use orderwire_store::log::{AttemptOutcome, DeliveryAttempt};
use orderwire_types::{Event, Label};

use crate::answer::Answer;
use crate::breaker::{Breaker, Change, Position};
use crate::endpoint::Endpoint;
use crate::guard::Lookup;
use crate::log::{Entry, Log, open};
use crate::sender::Sender;
use crate::service::Service;

/// What the forwarder is made of.
pub struct Parts {
    /// The endpoints, each with a name of its own.
    pub endpoints: Vec<Endpoint>,
    /// The queues, those of the endpoints among them, whose worker is `forwarder`.
    pub queues: Queues,
    /// Where the delivery log and the traces are.
    pub store: Arc<dyn Store>,
    /// Finds the addresses of names.
    pub lookup: Arc<dyn Lookup>,
    /// The time.
    pub clock: Clock,
    /// How long the delivery log keeps attempts.
    pub log_for: Duration,
}

/// All endpoints. Clones share everything.
#[derive(Clone)]
pub struct Forwarder {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) forwards: BTreeMap<Label, Arc<Forward>>,
    pub(crate) queues: Queues,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) log_for: Duration,
}

/// One endpoint at work.
pub(crate) struct Forward {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) sender: Sender,
    pub(crate) breaker: Breaker,
    pub(crate) limiter: Option<DefaultDirectRateLimiter>,
    /// Who waits for the limiter: the first who came.
    pub(crate) turn: tokio::sync::Mutex<()>,
    log: Log,
    figures: Mutex<Figures>,
}

/// How an endpoint fared since the server started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Events that it took.
    pub(crate) delivered: u64,
    /// Attempts that failed.
    pub(crate) failed: u64,
    /// When the last attempt began.
    pub(crate) last_at: Option<Timestamp>,
    /// Why the last failed attempt failed.
    pub(crate) last_error: Option<String>,
}

impl Forwarder {
    /// The forwarder, and the service that has to run behind it.
    ///
    /// # Errors
    /// When HTTP cannot be set up, in plain words.
    pub fn new(parts: Parts) -> Result<(Self, Service), String> {
        let Parts { endpoints, queues, store, lookup, clock, log_for } = parts;
        let (log, writer) = open(store.clone());
        let mut forwards = BTreeMap::new();
        for endpoint in endpoints {
            let endpoint = Arc::new(endpoint);
            let name = endpoint.name().clone();
            let sender = Sender::new(Arc::clone(&endpoint), Arc::clone(&lookup), clock.clone())
                .map_err(|error| format!("setting up HTTP for forwards.{name}: {error}"))?;
            let options = &endpoint.options;
            let forward = Forward {
                sender,
                breaker: Breaker::new(options.breaker, options.concurrency),
                // Spread evenly: a burst after a pause is what a limit is to keep away.
                limiter: options.rate.map(|rate| {
                    RateLimiter::direct(Quota::per_second(rate).allow_burst(std::num::NonZeroU32::MIN))
                }),
                turn: tokio::sync::Mutex::default(),
                log: log.clone(),
                figures: Mutex::default(),
                endpoint,
            };
            forward.show_breaker();
            forwards.insert(name, Arc::new(forward));
        }
        let inner = Arc::new(Inner { forwards, queues, store, clock, log_for });
        let service = Service::new(Arc::clone(&inner), writer);
        Ok((Self { inner }, service))
    }
}

impl Forward {
    pub(crate) fn figures(&self) -> Figures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Posts an event and notes what became of it, the breaker aside.
    pub(crate) async fn post(&self, event: &Event, attempt: u32) -> Answer {
        let answer = self.sender.post(event).await;
        let name = self.endpoint.name().to_string();
        metrics::histogram!("orderwire_forward_seconds", "forward" => name.clone())
            .record(answer.duration.as_secs_f64());
        metrics::counter!(
            "orderwire_forward_attempts_total",
            "forward" => name, "outcome" => answer.outcome.as_str(), "status" => class(&answer)
        )
        .increment(1);
        {
            let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
            figures.last_at = Some(answer.at);
            if answer.outcome == AttemptOutcome::Delivered {
                figures.delivered += 1;
            } else {
                figures.failed += 1;
                figures.last_error = answer.error.clone();
            }
        }
        self.log.note(Entry {
            endpoint: self.endpoint.name().clone(),
            keep: self.endpoint.options.log,
            attempt: DeliveryAttempt {
                at: answer.at,
                event_id: event.id,
                event_type: event.event_type.clone(),
                client: event.client.clone(),
                trace: event.trace.id,
                attempt,
                outcome: answer.outcome,
                status: answer.status.map(|status| status.as_u16()),
                detail: answer.detail(),
                duration: answer.duration,
            },
        });
        answer
    }

    /// Tells the breaker of an attempt.
    pub(crate) fn note(&self, answer: &Answer) {
        let change = match answer.outcome {
            AttemptOutcome::Delivered => self.breaker.succeeded(),
            AttemptOutcome::Retry | AttemptOutcome::Failed => self.breaker.failed(answer.hold()),
        };
        self.show_breaker();
        let name = self.endpoint.name();
        match change {
            Change::Nothing => {}
            Change::Opened(pause) => tracing::warn!(
                forward = %name,
                failures = self.breaker.view().failures,
                pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                error = answer.error.as_deref().unwrap_or_default(),
                "an endpoint is away; its events wait"
            ),
            Change::Closed => tracing::info!(forward = %name, "an endpoint is there again"),
        }
    }

    /// Shows how the breaker is.
    pub(crate) fn show_breaker(&self) {
        let value = match self.breaker.view().position {
            Position::Closed => 0.0,
            Position::HalfOpen => 1.0,
            Position::Open { .. } => 2.0,
        };
        metrics::gauge!("orderwire_forward_breaker", "forward" => self.endpoint.name().to_string())
            .set(value);
    }
}

/// The class of the status, or `none`.
fn class(answer: &Answer) -> &'static str {
    match answer.status.map(|status| status.as_u16()) {
        Some(100..=199) => "1xx",
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        Some(400..=499) => "4xx",
        Some(_) => "5xx",
        None => "none",
    }
}
