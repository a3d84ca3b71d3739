//! Deliveries as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use orderwire_api::auth::{Authenticator, shown_key};
use orderwire_api::extract::{Params, Segments};
use orderwire_api::{Problem, ReadProblems};
use serde::Deserialize;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::{BEAT, Credentials, Opened, Stay};
use crate::problems::{invalid, of_queue};
use crate::settle::leased;
use crate::state::Shared;

/// How many deliveries may be unsettled at once, unless the consumer says otherwise.
const MAX: u64 = 10;
/// After how long a client that lost its connection comes again.
const COME_AGAIN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamParams {
    /// So many deliveries may be unsettled at once (10); at most `limits.lease_max`.
    max: Option<u64>,
    /// How long a lease lasts, in milliseconds (60000). Who needs longer extends it.
    lease_ms: Option<u64>,
}

/// Deliveries as they become available, as server-sent events.
///
/// Each is an event `delivery` with its id, and one element of a lease's `deliveries`
/// as data. Up to `max` are handed out; whenever one is settled by `ack` or `nack`,
/// or its lease runs out, the next one follows. `extend` keeps a lease. Settlements are calls
/// of their own, on any connection. `problem` ends the stream early; so does, without
/// it, a server that goes down. What is unsettled at the end stays under its
/// lease: it can still be settled, and comes again when the lease runs out. Comments
/// come every 15 seconds.
#[utoipa::path(get, path = "/v1/queues/{queue}/stream", tag = "queues",
    params(("queue" = String, Path, description = "the queue"), StreamParams),
    responses((status = 200, description = "`delivery` and `problem`", body = String, content_type = "text/event-stream"),
        (status = 409, description = "a worker of Orderwire consumes the queue, or it is a stream and the key is not for all clients",
            body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "the key holds too many connections", body = Problem, content_type = "application/problem+json"),
        ReadProblems))]
pub(crate) async fn get_stream(
    State(state): State<Shared>,
    Extension(authenticator): Extension<Arc<dyn Authenticator>>,
    headers: HeaderMap,
    Segments(name): Segments<String>,
    params: Result<Params<StreamParams>, Problem>,
) -> Result<Response, Problem> {
    let key = shown_key(&headers)
        .ok_or_else(|| Problem::unauthorized("no key: send Authorization: Bearer KEY or X-API-Key: KEY"))?
        .to_owned();
    let credentials = Credentials { authenticator, key, headers };
    let checked = credentials.check().await?;
    let Params(params) = params?;
    let max = params.max.unwrap_or(MAX);
    if max == 0 {
        return Err(invalid("", "the query of the URL: max must be at least 1"));
    }
    let max = usize::try_from(max).unwrap_or(usize::MAX).min(state.limits().lease_max);
    let opened = Opened::new(state, credentials, checked, &name, params.lease_ms)?;
    let stay = opened.place("sse")?;
    let mut beat = interval_at(tokio::time::Instant::now() + BEAT, BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let pushed = Pushed { opened, max, beat, begun: false, ended: false, _stay: stay };
    let mut response = Sse::new(pushed.events()).into_response();
    // A proxy that buffers would hold back what a consumer waits for.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// What is pushed to one consumer. Dropped with its connection: what was not
/// handed to that goes back then.
struct Pushed {
    opened: Opened,
    max: usize,
    beat: Interval,
    begun: bool,
    ended: bool,
    _stay: Stay,
}

impl Pushed {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut pushed| async move { Some((Ok(pushed.next().await?), pushed)) })
    }

    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        if !self.begun {
            self.begun = true;
            return Some(Event::default().retry(COME_AGAIN));
        }
        tokio::select! {
            biased;
            // Also when there is much to hand out: a revoked key gets no more of it.
            _ = self.beat.tick() => match self.opened.credentials.check_again().await {
                Ok(()) => Some(Event::default().comment("still here")),
                Err(problem) => Some(self.end(&problem)),
            },
            next = self.opened.consumer.next(self.max, usize::MAX) => match next {
                Ok(None) => None,
                Ok(Some(delivery)) => Some(match leased(&delivery, self.opened.format) {
                    Ok(delivery) => {
                        self.opened.state.handed_out.sse.increment(1);
                        let event = Event::default().event("delivery").id(&delivery.delivery_id);
                        event.data(one_line(&delivery))
                    }
                    Err(problem) => self.end(&problem),
                }),
                Err(err) => Some(self.end(&of_queue(&err))),
            },
        }
    }

    /// The last event.
    fn end(&mut self, problem: &Problem) -> Event {
        self.ended = true;
        Event::default().event("problem").data(one_line(problem))
    }
}

/// JSON on one line, so that the simplest reader of lines can take it. Line breaks in
/// a producer's text are between its tokens: within a string JSON has none.
fn one_line(value: &impl serde::Serialize) -> String {
    // Wire types and problems have string keys only.
    let text = serde_json::to_string(value).expect("a wire type is serialisable");
    if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_many_lines_becomes_one() {
        let raw =
            serde_json::value::RawValue::from_string("{\"a\":\r\n 9007199254740993}".to_owned()).unwrap();
        assert_eq!(one_line(&raw), "{\"a\":   9007199254740993}");
    }
}
