//! The handler of the queue `rules`.

use std::sync::Arc;

use async_trait::async_trait;
use metrics::counter;
use orderwire_config::RULES_QUEUE;
use orderwire_queue::Clock;
use orderwire_store::{KnownCause, Link, Traces};
use orderwire_types::step::{Millis, Step, TraceRecord};
use orderwire_types::{Event, Label, Scope};
use orderwire_worker::{Task, TaskHandler, Verdict};

use crate::emit::{Outcome, Rules};
use crate::ports::Publisher;

/// The role.
const ROLE: &str = "emitter";
/// The step of a trace that says what was emitted.
const EMITTED: &str = "emitted";

/// Applies the rules to each event of the queue `rules`.
///
/// All that an event makes the rules emit is published in one call, all or nothing. A rule that
/// fails on an event ends the delivery for good, and nothing is emitted: the dead letter names the rule,
/// and is replayed once the rule is right.
pub struct Emitter {
    rules: Rules,
    publisher: Arc<dyn Publisher>,
    traces: Arc<dyn Traces>,
    clock: Clock,
}

impl Emitter {
    /// Over these rules; what it does is noted in `traces`.
    pub fn new(rules: Rules, publisher: Arc<dyn Publisher>, traces: Arc<dyn Traces>, clock: Clock) -> Self {
        Self { rules, publisher, traces, clock }
    }

    /// Expressions may take a while, so they are evaluated beside the threads that wait for others. A
    /// panic goes on here.
    async fn outcomes(&self, event: &Event) -> Result<Vec<(Label, Outcome)>, (Label, String)> {
        let (rules, event, now) = (self.rules.clone(), event.clone(), self.clock.now());
        match tokio::task::spawn_blocking(move || rules.emit(&event, now)).await {
            Ok(outcomes) => outcomes,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Notes what was emitted in the trace, once: an attempt that comes after another one looks
    /// whether that has done it.
    async fn note(&self, task: &Task, emitted: &[(Label, Vec<Event>)]) -> Result<(), orderwire_store::Error> {
        let cause = &task.event;
        let links: Vec<Link> = emitted.iter().flat_map(|(rule, events)| links(cause, rule, events)).collect();
        self.traces.add_links(&links).await?;
        if task.delivery.attempt > 1 {
            let known = self.traces.trace(&Scope::internal(ROLE), cause.trace.id).await?;
            let is_this = |step: &Step| step.step == EMITTED && step.event_id == Some(cause.id.0);
            if known.steps.iter().any(is_this) {
                return Ok(());
            }
        }
        let now = self.clock.now();
        let step = |(rule, events): &(Label, Vec<Event>)| Step {
            queue: RULES_QUEUE.parse().ok(),
            event_id: Some(cause.id.0),
            attempt: Some(task.delivery.attempt),
            duration_ms: Some(Millis::between(cause.accepted_at, now)),
            detail: Some(told(rule, events)),
            ..Step::ok(now, ROLE, EMITTED)
        };
        let steps = emitted.iter().map(step).collect();
        let record = TraceRecord { trace: cause.trace.id, client: cause.client.clone(), steps };
        self.traces.add_steps(&[record]).await
    }
}

#[async_trait]
impl TaskHandler for Emitter {
    async fn handle(&self, task: &Task) -> Verdict {
        let outcomes = match self.outcomes(&task.event).await {
            Ok(outcomes) => outcomes,
            Err((rule, detail)) => {
                count(&rule, "failed");
                return Verdict::Fail { cause: format!("rule {rule}: {detail}") };
            }
        };
        let mut emitted = Vec::new();
        let mut passed = Vec::new();
        for (rule, outcome) in outcomes {
            match outcome {
                Outcome::Emits(events) => emitted.push((rule, events)),
                Outcome::Passes(_) => passed.push(rule),
            }
        }
        if !emitted.is_empty() {
            let events = emitted.iter().flat_map(|(_, events)| events.iter().cloned()).collect();
            if let Err(error) = self.publisher.publish(events, &task.event.client).await {
                let cause = format!("{}: {error}", names(&emitted));
                return if error.is_retryable {
                    Verdict::Retry { after: None, cause }
                } else {
                    Verdict::Fail { cause }
                };
            }
            if let Err(error) = self.note(task, &emitted).await {
                // What is published counts; its delivery must not end as a dead letter.
                tracing::warn!(trace = %task.event.trace.id, %error, "a trace lacks what rules emitted");
            }
        }
        passed.iter().for_each(|rule| count(rule, "passed"));
        for (rule, events) in &emitted {
            count(rule, "emitted");
            counter!("orderwire_rule_emitted_total", "rule" => rule.to_string())
                .increment(events.len() as u64);
        }
        Verdict::Ack
    }
}

/// That an event made a rule emit these.
fn links<'e>(cause: &'e Event, rule: &'e Label, events: &'e [Event]) -> impl Iterator<Item = Link> + 'e {
    events.iter().map(move |event| Link {
        effect: event.id,
        effect_type: event.event_type.to_string(),
        client: event.client.clone(),
        trace: event.trace.id,
        cause: cause.id,
        known: Some(KnownCause {
            event_type: cause.event_type.to_string(),
            client: cause.client.clone(),
            trace: cause.trace.id,
        }),
        by: format!("rule {rule}"),
        at: event.accepted_at,
    })
}

fn count(rule: &Label, outcome: &'static str) {
    counter!("orderwire_rule_events_total", "rule" => rule.to_string(), "outcome" => outcome).increment(1);
}

/// The rules that would have emitted: `rule hot`, `rules hot, wet`.
fn names(emitted: &[(Label, Vec<Event>)]) -> String {
    let names: Vec<&str> = emitted.iter().map(|(rule, _)| rule.as_str()).collect();
    let word = if names.len() == 1 { "rule" } else { "rules" };
    format!("{word} {}", names.join(", "))
}

/// What a rule emitted, in words.
fn told(rule: &Label, events: &[Event]) -> String {
    let mut types: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
    types.dedup();
    let word = if events.len() == 1 { "event" } else { "events" };
    format!("rule {rule}: {} {word}, {}", events.len(), types.join(", "))
}
