//! Follows an order until it is final, over server-sent events that go on
//! where they broke.

use std::time::Duration;

use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use orderwire_api::wire::{OrderInfo, OrderStep};
use orderwire_types::OrderState;
use reqwest::Method;

use super::sse::{SseEvent, SseReader};
use crate::error::{Error, ErrorKind};
use crate::out::{Out, plain};
use crate::server::{Server, parse};

/// How often in a row a stream may break before it has said anything new.
const BREAKS_MAX: u32 = 8;
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What whoever waits hopes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hope {
    /// That the order gets what it asked for.
    Done,
    /// That it is cancelled.
    Cancelled,
}

/// Follows an order with a line for each state and step; on a terminal the
/// present state spins below them.
pub(crate) async fn live(server: &Server, order_id: &str, out: Out) -> Result<OrderInfo, Error> {
    let spinner = spinner(!out.json);
    let outcome = follow(server, order_id, PAUSE_FIRST, |event| {
        if let Seen::State(order) = event {
            spinner.set_message(plain(&order.state).into_owned());
        }
        spinner.suspend(|| if out.json { out.line(&event.json()) } else { out.line(&event.line()) })
    })
    .await;
    spinner.finish_and_clear();
    outcome
}

/// Follows an order and says nothing.
pub(crate) async fn quiet(server: &Server, order_id: &str) -> Result<OrderInfo, Error> {
    follow(server, order_id, PAUSE_FIRST, |_| Ok(())).await
}

/// Whether an order ended as it was hoped; else why not.
///
/// # Errors
/// `Conflict` when something else was asked for in the meantime, else `Failed`.
pub(crate) fn settle(order: OrderInfo, hope: Hope) -> Result<(), Error> {
    let OrderInfo { order_id, name, state, reason, .. } = order;
    let known = state.parse::<OrderState>().ok();
    let fine = match hope {
        Hope::Done => known.is_some_and(OrderState::is_success),
        Hope::Cancelled => known == Some(OrderState::Cancelled),
    };
    if fine {
        return Ok(());
    }
    let reason = reason.unwrap_or_else(|| match (hope, known) {
        (Hope::Cancelled, Some(state)) if state.is_success() => {
            "it was done before it could be cancelled".into()
        }
        _ => "no reason was given; see its trace".into(),
    });
    let kind = match (hope, known) {
        (Hope::Done, Some(OrderState::Cancelled | OrderState::Superseded)) => ErrorKind::Conflict,
        (Hope::Cancelled, Some(_)) => ErrorKind::Conflict,
        _ => ErrorKind::Failed,
    };
    let state = state.replace('_', " ");
    Err(Error::new(kind, format!("order {order_id} of release {name} is {state}: {reason}")))
}

/// What a stream says.
#[derive(Debug)]
enum Seen {
    State(Box<OrderInfo>),
    Step(OrderStep),
}

impl Seen {
    fn line(&self) -> String {
        let text = match self {
            Self::State(order) => {
                let revision = order.revision.map(|number| format!("revision {number}"));
                let notes: Vec<String> = [revision, order.reason.clone()].into_iter().flatten().collect();
                format!("{}  {}  {}", time(&order.updated_at), order.state, notes.join(", "))
            }
            Self::Step(step) => {
                let detail = step.detail.as_deref().unwrap_or_default();
                format!("{}    {} {}  {detail}", time(&step.at), step.step, step.outcome)
            }
        };
        plain(text.trim_end()).into_owned()
    }

    fn json(&self) -> String {
        let text = match self {
            Self::State(order) => serde_json::to_string(order).map(|data| format!("{{\"state\":{data}}}")),
            Self::Step(step) => serde_json::to_string(step).map(|data| format!("{{\"step\":{data}}}")),
        };
        text.expect("what was read can be written")
    }
}

/// Reads the stream to its end, again where it broke, and gives the order as
/// it ended.
async fn follow(
    server: &Server,
    order_id: &str,
    pause_first: Duration,
    mut see: impl FnMut(&Seen) -> Result<(), Error>,
) -> Result<OrderInfo, Error> {
    let mut position = Position::default();
    let mut breaks = 0;
    loop {
        let before = position.news;
        let broken = match stretch(server, order_id, &mut position, &mut see).await {
            Ok(Some(order)) => return Ok(order),
            Ok(None) => {
                Error::new(ErrorKind::Unavailable, "the server ended the stream before the order was final")
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => error,
            Err(error) => return Err(error),
        };
        breaks = if position.news > before { 1 } else { breaks + 1 };
        if breaks >= BREAKS_MAX {
            return Err(broken);
        }
        let pause = pause_first.saturating_mul(2u32.saturating_pow(breaks - 1)).min(PAUSE_MAX);
        tokio::time::sleep(pause).await;
    }
}

/// Where a stream is.
#[derive(Debug, Default)]
struct Position {
    last_id: Option<String>,
    last_step: u64,
    last: Option<OrderInfo>,
    /// How many events were new.
    news: u64,
}

/// One connection: the order, once it is final and the stream says so.
async fn stretch(
    server: &Server,
    order_id: &str,
    position: &mut Position,
    see: &mut impl FnMut(&Seen) -> Result<(), Error>,
) -> Result<Option<OrderInfo>, Error> {
    let mut request = server.request(Method::GET, &["v1", "orders", order_id, "watch"], &[]);
    request = request.header("accept", "text/event-stream");
    if let Some(id) = &position.last_id {
        request = request.header("last-event-id", id);
    }
    let mut pieces = server.send(request).await?.bytes_stream();
    let mut reader = SseReader::default();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| server.broken(&error))?;
        let events = reader.feed(&piece).map_err(|detail| {
            Error::failed(format!("the stream of order {order_id} cannot be read: {detail}"))
        })?;
        for event in events {
            if position.note(event, see)? {
                return Ok(position.last.take());
            }
        }
    }
    Ok(position.last.take_if(|order| is_final(order)))
}

impl Position {
    /// Shows an event if it is new; true at the end of the stream.
    fn note(
        &mut self,
        event: SseEvent,
        see: &mut impl FnMut(&Seen) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        if event.id.is_some() {
            self.last_id = event.id;
        }
        match event.event.as_str() {
            "state" => {
                let order: OrderInfo = parse(&event.data)?;
                let known = self.last.as_ref().is_some_and(|last| {
                    (&last.state, &last.updated_at, &last.reason)
                        == (&order.state, &order.updated_at, &order.reason)
                });
                self.last = Some(order.clone());
                if !known {
                    self.news += 1;
                    see(&Seen::State(Box::new(order)))?;
                }
            }
            "step" => {
                let step: OrderStep = parse(&event.data)?;
                // A stream that begins again may repeat.
                if step.n > self.last_step {
                    self.last_step = step.n;
                    self.news += 1;
                    see(&Seen::Step(step))?;
                }
            }
            // What a refused call would have been answered with.
            "problem" => return Err(Error::from_problem(parse(&event.data)?)),
            // Without a final state it is the server's end, not the order's.
            "end" => return Ok(self.last.as_ref().is_some_and(is_final)),
            _ => {}
        }
        Ok(false)
    }
}

fn is_final(order: &OrderInfo) -> bool {
    order.state.parse::<OrderState>().is_ok_and(OrderState::is_final)
}

/// The time of day in UTC, with milliseconds; else the text itself.
pub(super) fn time(at: &str) -> String {
    at.parse::<Timestamp>().map_or_else(|_| at.to_owned(), |at| at.strftime("%H:%M:%S%.3f").to_string())
}

fn spinner(visible: bool) -> ProgressBar {
    // Draws nothing when stderr is no terminal.
    let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("the template is sound");
    let bar = ProgressBar::with_draw_target(None, target).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

#[cfg(test)]
#[path = "watch_tests.rs"]
pub(super) mod tests;
