//! The handler on the real queue and the real store.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use orderwire_config::Config;
use orderwire_emitter::{Emitter, PublishError, Publisher};
use orderwire_queue::{Clock, Delivery, DeliveryId, Options, Position, Publication, Queues};
use orderwire_sqlite::store::SqliteStore;
use orderwire_sqlite::{DataDir, SqliteQueue};
use orderwire_store::{Lineage, Link, TraceView, Traces};
use orderwire_types::envelope::Incoming;
use orderwire_types::step::TraceRecord;
use orderwire_types::{Client, Data, Event, Scope};
use orderwire_worker::{Task, TaskHandler as _, Verdict};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::rules::{config, event, now, rules};

const RULES: &str = "
queues: {out: {types: [out.#]}}
rules:
  cold: {on: [in.put], when: event.data.v < 0, emit: [{type: out.cold}]}
  hot:
    on: [in.put]
    when: event.data.v > 90
    emit:
      - {type: out.hot, order: true, data: {v: '{{ event.data.v }}'}}
      - {type: out.told, client: ops, data: {from: '{{ event.client }}'}}
  seen: {on: [in.*], emit: [{type: out.seen, key: '{{ event.data.v }}'}]}
";

/// Publishes on the queues, or says that they are full.
struct Emissions {
    queues: Queues,
    refusals: Mutex<Vec<PublishError>>,
}

#[async_trait]
impl Publisher for Emissions {
    async fn publish(&self, events: Vec<Event>, client: &Client) -> Result<(), PublishError> {
        assert_eq!(client.as_str(), "acme");
        if let Some(refusal) = self.refusals.lock().unwrap().pop() {
            return Err(refusal);
        }
        let events = events.into_iter().map(|event| Incoming { event, named: true }).collect();
        let published = self.queues.publish(&scope(), Publication { events, request: None }).await;
        published.map(drop).map_err(|error| PublishError { detail: error.to_string(), is_retryable: false })
    }
}

struct Site {
    _folder: tempfile::TempDir,
    queues: Queues,
    store: Arc<SqliteStore>,
    emissions: Arc<Emissions>,
    emitter: Emitter,
    _stop: oneshot::Sender<()>,
}

impl Site {
    async fn new(config: &Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path().join("data")).unwrap();
        let store = Arc::new(SqliteStore::open(&dir, orderwire_sqlite::store::Options::default()).unwrap());
        let engine = Arc::new(SqliteQueue::open(&dir, &orderwire_sqlite::Options::default()).unwrap());
        let workers = [("rules".parse().unwrap(), "emitter".to_owned())].into();
        let opened =
            Queues::open(engine, config.queue_definitions(), workers, Options::default(), Clock::new(now));
        let (queues, service) = opened.await.unwrap();
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(service.run(async {
            let _ = stopped.await;
        }));
        let emissions = Arc::new(Emissions { queues: queues.clone(), refusals: Mutex::default() });
        let emitter = Emitter::new(rules(config), emissions.clone(), store.clone(), Clock::new(now));
        Self { _folder: folder, queues, store, emissions, emitter, _stop: stop }
    }

    async fn handle(&self, event: &Event, attempt: u32) -> Verdict {
        let id = DeliveryId { lane: 1, position: Position(1), lease: 1 };
        let delivery = Delivery { id, attempt, leased_until: now(), body: bytes::Bytes::new() };
        self.emitter.handle(&Task { delivery, event: event.clone() }).await
    }

    /// What waits in the queue `out`.
    async fn out(&self) -> Vec<Event> {
        let entries = self.queues.peek(&scope(), &"out".parse().unwrap(), 100).await.unwrap();
        entries.into_iter().map(|(_, entry)| Event::decode(&entry.body).unwrap()).collect()
    }

    async fn details(&self, event: &Event) -> Vec<String> {
        let trace = self.store.trace(&scope(), event.trace.id).await.unwrap();
        trace.steps.into_iter().map(|step| format!("{} {}", step.step, step.detail.unwrap())).collect()
    }
}

fn scope() -> Scope {
    Scope::internal("test")
}

fn types(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.event_type.as_str()).collect()
}

#[tokio::test]
async fn what_rules_emit_has_its_cause_and_its_trace() {
    let site = Site::new(&config(RULES)).await;
    let cause = event(r#"{"v":91.50}"#);
    assert_eq!(site.handle(&cause, 1).await, Verdict::Ack);
    let out = site.out().await;
    assert_eq!(types(&out), ["out.hot", "out.told", "out.seen"]);
    for event in &out {
        assert_eq!((&event.trace, event.cause, event.depth), (&cause.trace, Some(cause.id), 1));
        assert_eq!(event.accepted_at, now());
    }
    let [hot, told, seen] = &out[..] else { panic!("{out:?}") };
    let Data::Json(data) = &hot.data else { panic!("{hot:?}") };
    assert_eq!(data.get(), r#"{"v":91.50}"#);
    assert_eq!((hot.source.as_str(), hot.principal.as_str()), ("/orderwire/rules/hot", "rule:hot"));
    assert!(hot.may_order && !told.may_order && !seen.may_order, "only who says so may order");
    assert_eq!((hot.client.as_str(), hot.key.as_deref()), ("acme", Some("k")));
    assert_eq!((told.client.as_str(), told.key.as_deref()), ("ops", None), "another client has other keys");
    assert_eq!(seen.key.as_deref(), Some("91.50"));
    let details = site.details(&cause).await;
    assert_eq!(
        details,
        ["emitted rule hot: 2 events, out.hot, out.told", "emitted rule seen: 1 event, out.seen"]
    );
}

#[tokio::test]
async fn a_delivery_that_comes_again_has_its_effect_once() {
    let site = Site::new(&config(RULES)).await;
    let cause = event(r#"{"v":91}"#);
    for attempt in 1..=3 {
        assert_eq!(site.handle(&cause, attempt).await, Verdict::Ack);
    }
    assert_eq!(types(&site.out().await), ["out.hot", "out.told", "out.seen"]);
    assert_eq!(site.details(&cause).await.len(), 2, "told once");
}

#[tokio::test]
async fn a_rule_that_fails_ends_the_delivery_and_nothing_is_emitted() {
    let site = Site::new(&config(RULES)).await;
    let verdict = site.handle(&event(r#"{"v":"91"}"#), 1).await;
    let Verdict::Fail { cause } = verdict else { panic!("{verdict:?}") };
    assert!(cause.starts_with("rule cold: when: a text cannot be compared with a number"), "{cause}");
    let verdict = site.handle(&event(r#"{"v":[1]}"#), 1).await;
    assert!(matches!(verdict, Verdict::Fail { .. }), "{verdict:?}");
    // The third rule fails after the second one held.
    let late = RULES.replace("key: '{{ event.data.v }}'", "key: '{{ event.data.gone }}'");
    let site = Site::new(&config(&late)).await;
    let verdict = site.handle(&event(r#"{"v":91}"#), 1).await;
    let said = "rule seen: emit[0].key: event.data.gone does not exist".to_owned();
    assert_eq!(verdict, Verdict::Fail { cause: said });
    assert_eq!(site.out().await, []);
}

/// Traces of a store that is away.
struct Away;

#[async_trait]
impl Traces for Away {
    async fn add_steps(&self, _: &[TraceRecord]) -> Result<(), orderwire_store::Error> {
        Err(orderwire_store::Error::new(orderwire_store::ErrorKind::Unavailable, "the store is away"))
    }

    async fn trace(&self, _: &Scope, _: Uuid) -> Result<TraceView, orderwire_store::Error> {
        Err(orderwire_store::Error::new(orderwire_store::ErrorKind::Unavailable, "the store is away"))
    }

    async fn add_links(&self, _: &[Link]) -> Result<(), orderwire_store::Error> {
        Err(orderwire_store::Error::new(orderwire_store::ErrorKind::Unavailable, "the store is away"))
    }

    async fn lineage(&self, _: &Scope, _: &[Uuid], _: usize) -> Result<Lineage, orderwire_store::Error> {
        Err(orderwire_store::Error::new(orderwire_store::ErrorKind::Unavailable, "the store is away"))
    }
}

#[tokio::test]
async fn what_rules_emit_is_linked_to_its_cause() {
    let site = Site::new(&config(RULES)).await;
    let cause = event(r#"{"v":91}"#);
    for attempt in 1..=2 {
        assert_eq!(site.handle(&cause, attempt).await, Verdict::Ack);
    }
    let lineage = site.store.lineage(&scope(), &[cause.id.0], 100).await.unwrap();
    let mut made: Vec<&str> = lineage.links.iter().map(|link| link.effect_type.as_str()).collect();
    made.sort_unstable();
    assert_eq!(made, ["out.hot", "out.seen", "out.told"]);
    assert!(lineage.links.iter().all(|link| link.cause == cause.id && link.by.starts_with("rule ")));
}

#[tokio::test]
async fn what_is_published_counts_though_its_trace_cannot_be_written() {
    let mut site = Site::new(&config(RULES)).await;
    let clock = Clock::new(now);
    site.emitter = Emitter::new(rules(&config(RULES)), site.emissions.clone(), Arc::new(Away), clock);
    let cause = event(r#"{"v":91}"#);
    for attempt in 1..=2 {
        assert_eq!(site.handle(&cause, attempt).await, Verdict::Ack);
    }
    assert_eq!(types(&site.out().await), ["out.hot", "out.told", "out.seen"]);
}

#[tokio::test]
async fn an_event_for_which_no_rule_holds_is_done_without_a_step() {
    let site = Site::new(&config(RULES)).await;
    let cause = Event { event_type: "other.type".parse().unwrap(), ..event(r#"{"v":91}"#) };
    assert_eq!(site.handle(&cause, 1).await, Verdict::Ack);
    assert_eq!(site.out().await, []);
    assert_eq!(site.details(&cause).await, [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_published_now_is_tried_again_and_what_never_can_fails() {
    let site = Site::new(&config(RULES)).await;
    let refusal = |is_retryable| PublishError { detail: "queue out is full".to_owned(), is_retryable };
    site.emissions.refusals.lock().unwrap().extend([refusal(false), refusal(true)]);
    let cause = event(r#"{"v":91}"#);
    let said = "rules hot, seen: queue out is full".to_owned();
    assert_eq!(site.handle(&cause, 1).await, Verdict::Retry { after: None, cause: said.clone() });
    assert_eq!(site.handle(&cause, 2).await, Verdict::Fail { cause: said });
    assert_eq!(site.out().await, []);
    assert_eq!(site.details(&cause).await, [""; 0]);
    assert_eq!(site.handle(&cause, 3).await, Verdict::Ack);
    assert_eq!((site.out().await.len(), site.details(&cause).await.len()), (3, 2));
}

#[tokio::test]
async fn all_rules_together_emit_no_more_than_is_taken_of_one_event() {
    let emit = vec!["{type: out.x}"; 16].join(", ");
    let many: String = (0..7).map(|n| format!("  r{n}: {{on: [in.put], emit: [{emit}]}}\n")).collect();
    let site = Site::new(&config(&format!("queues: {{out: {{types: [out.#]}}}}\nrules:\n{many}"))).await;
    let verdict = site.handle(&event("{}"), 1).await;
    let Verdict::Fail { cause } = verdict else { panic!("{verdict:?}") };
    assert!(cause.contains("more than 100 events"), "{cause}");
    assert_eq!(site.out().await, []);
    // Nor do few large ones add up without end.
    let emit = ["{type: out.x, data: '{{ event.data }}'}"; 10].join(", ");
    let large: String = (0..2).map(|n| format!("  r{n}: {{on: [in.put], emit: [{emit}]}}\n")).collect();
    let site = Site::new(&config(&format!("queues: {{out: {{types: [out.#]}}}}\nrules:\n{large}"))).await;
    let verdict = site.handle(&event(&format!("\"{}\"", "x".repeat(900_000))), 1).await;
    let Verdict::Fail { cause } = verdict else { panic!("{verdict:?}") };
    assert!(cause.contains("more than 16 MiB"), "{cause}");
    assert_eq!(site.out().await, []);
}
