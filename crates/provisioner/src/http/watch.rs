//! Progress of an order as it happens: server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use jiff::Timestamp;
use orderwire_api::auth::{Authenticator, shown_key};
use orderwire_api::extract::Segments;
use orderwire_api::places::Place;
use orderwire_api::{Caller, Problem, ReadProblems};
use orderwire_types::{EventId, OrderState};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::problems::invalid;
use super::{Shared, asked, orders, show};

/// After how long without an event a comment is sent, so that nobody in between
/// takes the connection for dead; also how often a key is looked at again.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The shortest time between two looks of one watcher, however much changes.
const PACE: Duration = Duration::from_millis(50);
/// How many steps are read at once.
const STEPS: usize = 200;

/// The progress of an order, as server-sent events.
///
/// Each step of the work as event `step` with its number as id, and the order as event
/// `state`, now and whenever it has changed, behind the steps before its state; states
/// that pass within a moment may be left out, steps never. `end` follows a final state and ends
/// the stream. `Last-Event-ID` goes on after that step. `problem` ends it early.
#[utoipa::path(get, path = "/v1/orders/{order_id}/watch", tag = "orders",
    params(("order_id" = String, Path, description = "its id"),
        ("last-event-id" = Option<u64>, Header, description = "the number of the last step that was seen")),
    responses((status = 200, description = "`state`, `step` and `end`", body = String, content_type = "text/event-stream"),
        ReadProblems))]
pub(super) async fn get_watch(
    State(state): State<Shared>,
    caller: Caller,
    Extension(authenticator): Extension<Arc<dyn Authenticator>>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    asked::may_look(&caller)?;
    let scope = caller.narrowed(&headers)?;
    let seen = last_event_id(&headers)?;
    // Marked before the first look: what changes after it wakes the watcher.
    let changes = state.store().changes();
    let order = orders::find(&state, &scope, &id).await?;
    let place = state.watchers.take(&scope.principal).map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "too many calls watch orders; try again later, or ask for the order itself",
        )
        .retry_after(5)
    })?;
    let watcher = Watcher {
        state,
        authenticator,
        headers,
        id: order.id,
        seen,
        shown: None,
        state_shown: None,
        changes,
        looked: None,
        ready: VecDeque::new(),
        ended: false,
        _place: place,
    };
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("still here");
    let mut response = Sse::new(watcher.events()).keep_alive(keep_alive).into_response();
    // A proxy that buffers would hold back what a watcher waits for.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<u64, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(0) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| invalid("", "header Last-Event-ID: must be the number of a step"))
}

struct Watcher {
    state: Shared,
    authenticator: Arc<dyn Authenticator>,
    headers: HeaderMap,
    id: EventId,
    /// The last step that was sent.
    seen: u64,
    /// The order as it was sent last.
    shown: Option<String>,
    /// Its state then.
    state_shown: Option<OrderState>,
    changes: watch::Receiver<u64>,
    /// When it looked last.
    looked: Option<Instant>,
    /// What is to be sent.
    ready: VecDeque<Event>,
    /// Whether nothing comes after that.
    ended: bool,
    /// One of the places of watchers.
    _place: Place,
}

impl Watcher {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut watcher| async move {
            loop {
                if let Some(event) = watcher.ready.pop_front() {
                    return Some((Ok(event), watcher));
                }
                if watcher.ended || !watcher.wait().await {
                    return None;
                }
                if let Err(problem) = watcher.look().await {
                    watcher.ended = true;
                    watcher.push(Event::default().event("problem"), &problem);
                }
            }
        })
    }

    /// Waits for a reason to look; `false` when the server drains.
    async fn wait(&mut self) -> bool {
        let Some(looked) = self.looked else { return true };
        let closing = self.state.closing.clone();
        let more = async {
            tokio::select! {
                // Without a sender there is no store left to change.
                changed = self.changes.changed() => changed.is_ok(),
                () = sleep(KEEP_ALIVE) => true,
            }
        };
        let paced = async {
            let more = more.await;
            sleep_until(looked + PACE).await;
            more
        };
        tokio::select! {
            () = closing.cancelled() => false,
            more = paced => more,
        }
    }

    /// Looks at the order and its steps, and notes what is new.
    async fn look(&mut self) -> Result<(), Problem> {
        self.changes.borrow_and_update();
        self.looked = Some(Instant::now());
        // The key may have been revoked since.
        let key = shown_key(&self.headers).ok_or_else(|| Problem::unauthorized("no key"))?;
        let caller = Caller { scope: self.authenticator.authenticate(key).await? };
        asked::may_look(&caller)?;
        let scope = caller.narrowed(&self.headers)?;
        // The order first: the steps until its final state are there then.
        let order = orders::find(&self.state, &scope, &self.id.to_string()).await?;
        let (is_final, now) = (order.state.is_final(), order.state);
        // A state comes where it belongs in time; a new reason for the same one last.
        let since = if self.state_shown == Some(now) { Timestamp::MAX } else { order.updated_at };
        let info = show::order(order);
        let text = serde_json::to_string(&info).map_err(|err| Problem::internal(err.to_string()))?;
        let steps = self.state.store().journal(&scope, self.id, self.seen, STEPS).await;
        let steps = steps.map_err(Problem::of_store)?;
        let is_all = steps.len() < STEPS;
        for step in steps {
            if step.at > since {
                self.show(now, &text);
            }
            self.seen = step.n;
            self.push(Event::default().event("step").id(step.n.to_string()), &show::step(step));
        }
        if is_all {
            self.show(now, &text);
        }
        if !is_all {
            // The rest at once, before anything else may change.
            self.changes.mark_changed();
        } else if is_final {
            self.push(Event::default().event("end"), &serde_json::json!({"state": info.state}));
            self.ended = true;
        }
        Ok(())
    }

    /// Sends the order unless it was sent as it is.
    fn show(&mut self, state: OrderState, order: &str) {
        if self.shown.as_deref() != Some(order) {
            self.ready.push_back(Event::default().event("state").data(order));
            self.shown = Some(order.to_owned());
            self.state_shown = Some(state);
        }
    }

    fn push(&mut self, event: Event, data: &impl serde::Serialize) {
        // Wire types and problems have string keys only.
        let text = serde_json::to_string(data).expect("a wire type is serialisable");
        self.ready.push_back(event.data(text));
    }
}
