//! Deliveries out, and their settlement.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use orderwire_api::extract::{Document, Segments};
use orderwire_api::problem::TYPE_PREFIX;
use orderwire_api::wire::{
    AckRequest, ExtendRequest, LeaseRequest, Leased, LeasedDelivery, NackRequest, SettleError, SettleResult,
};
use orderwire_api::{Caller, Problem, WriteProblems};
use orderwire_queue::{Delivery, DeliveryId, Error, ErrorKind};
use orderwire_types::Right;
use orderwire_types::queue::Format;
use serde::Serialize;

use crate::problems::{invalid, of_queue, queue_name};
use crate::queues::rendered;
use crate::state::{Shared, State as Gateway};

/// The cause of a delivery that was returned without one.
const NO_CAUSE: &str = "returned by the consumer";
/// The longest cause that is kept, in bytes.
const CAUSE_MAX: usize = 4_096;

/// Takes deliveries under a lease. What is not settled when the lease ends, or
/// was on its way when the caller went away, comes again.
#[utoipa::path(post, path = "/v1/queues/{queue}/lease", tag = "queues",
    params(("queue" = String, Path, description = "the queue")), request_body = LeaseRequest,
    responses((status = 200, description = "the deliveries; none when none came in time", body = Leased), WriteProblems))]
pub(crate) async fn post_lease(
    State(state): State<Shared>,
    caller: Caller,
    Segments(name): Segments<String>,
    headers: HeaderMap,
    Document(request): Document<LeaseRequest>,
) -> Result<Json<Leased>, Problem> {
    caller.require(Right::Consume)?;
    if request.max == 0 {
        return Err(invalid("/max", "must be at least 1"));
    }
    if request.lease_ms == 0 {
        return Err(invalid("/lease_ms", "must be at least 1"));
    }
    let scope = caller.narrowed(&headers)?;
    let name = queue_name(&name)?;
    let format = state.queues().definition(&scope, &name).map_err(|err| of_queue(&err))?.format;
    let request = orderwire_queue::LeaseRequest {
        max: usize::try_from(request.max).unwrap_or(usize::MAX),
        lease: Duration::from_millis(request.lease_ms),
        wait: Duration::from_millis(request.wait_ms),
    };
    let deliveries = state.queues().lease(&scope, &name, request).await.map_err(|err| of_queue(&err))?;
    state.handed_out.lease.increment(deliveries.len() as u64);
    let deliveries = deliveries.iter().map(|delivery| leased(delivery, format));
    Ok(Json(Leased { deliveries: deliveries.collect::<Result<_, Problem>>()? }))
}

/// A delivery as consumers get it.
pub(crate) fn leased(delivery: &Delivery, format: Format) -> Result<LeasedDelivery, Problem> {
    Ok(LeasedDelivery {
        delivery_id: delivery.id.to_string(),
        attempt: delivery.attempt,
        leased_until: delivery.leased_until.to_string(),
        event: rendered(&delivery.body, format)?.0,
    })
}

/// some are not: their lease ran out, or they were settled before
#[derive(utoipa::IntoResponses)]
#[response(status = 409, content_type = "application/problem+json")]
#[expect(dead_code, reason = "it is for the description of the API")]
struct NotAll(SettleResult);

/// These are done.
#[utoipa::path(post, path = "/v1/queues/{queue}/ack", tag = "queues",
    params(("queue" = String, Path, description = "the queue")), request_body = AckRequest,
    responses((status = 200, description = "all are settled", body = SettleResult), NotAll, WriteProblems))]
pub(crate) async fn post_ack(
    State(state): State<Shared>,
    caller: Caller,
    Segments(name): Segments<String>,
    Document(request): Document<AckRequest>,
) -> Result<Settled, Problem> {
    ack(&state, &caller, &name, request).await
}

/// These are to be tried again, after the queue's back-off or `delay_ms`; with
/// `fail` they are dead-lettered at once.
#[utoipa::path(post, path = "/v1/queues/{queue}/nack", tag = "queues",
    params(("queue" = String, Path, description = "the queue")), request_body = NackRequest,
    responses((status = 200, description = "all are settled", body = SettleResult), NotAll, WriteProblems))]
pub(crate) async fn post_nack(
    State(state): State<Shared>,
    caller: Caller,
    Segments(name): Segments<String>,
    Document(request): Document<NackRequest>,
) -> Result<Settled, Problem> {
    nack(&state, &caller, &name, request).await
}

/// These are still being worked on: their leases last `lease_ms` from now.
#[utoipa::path(post, path = "/v1/queues/{queue}/extend", tag = "queues",
    params(("queue" = String, Path, description = "the queue")), request_body = ExtendRequest,
    responses((status = 200, description = "all are extended", body = SettleResult), NotAll, WriteProblems))]
pub(crate) async fn post_extend(
    State(state): State<Shared>,
    caller: Caller,
    Segments(name): Segments<String>,
    Document(request): Document<ExtendRequest>,
) -> Result<Settled, Problem> {
    extend(&state, &caller, &name, request).await
}

/// Acks, however it was asked for.
pub(crate) async fn ack(
    state: &Gateway,
    caller: &Caller,
    name: &str,
    request: AckRequest,
) -> Result<Settled, Problem> {
    caller.require(Right::Consume)?;
    let ids = ids(state, &request.delivery_ids)?;
    let settled = state.queues().ack(&caller.scope, &queue_name(name)?, &ids).await;
    Settled::of(request.delivery_ids, settled)
}

/// Nacks, however it was asked for.
pub(crate) async fn nack(
    state: &Gateway,
    caller: &Caller,
    name: &str,
    request: NackRequest,
) -> Result<Settled, Problem> {
    caller.require(Right::Consume)?;
    let ids = ids(state, &request.delivery_ids)?;
    let cause = request.cause.as_deref().unwrap_or(NO_CAUSE);
    if cause.len() > CAUSE_MAX {
        return Err(invalid("/cause", format!("longer than {CAUSE_MAX} bytes")));
    }
    let delay = match request.delay_ms {
        Some(delay) if delay > state.limits().lease_ms_max => {
            return Err(invalid("/delay_ms", format!("must be at most {}", state.limits().lease_ms_max)));
        }
        delay => delay.map(Duration::from_millis),
    };
    let name = queue_name(name)?;
    let settled = if request.fail {
        state.queues().fail(&caller.scope, &name, &ids, cause).await
    } else {
        state.queues().nack(&caller.scope, &name, &ids, delay, cause).await
    };
    Settled::of(request.delivery_ids, settled)
}

/// Extends, however it was asked for.
pub(crate) async fn extend(
    state: &Gateway,
    caller: &Caller,
    name: &str,
    request: ExtendRequest,
) -> Result<Settled, Problem> {
    caller.require(Right::Consume)?;
    let ids = ids(state, &request.delivery_ids)?;
    if request.lease_ms == 0 {
        return Err(invalid("/lease_ms", "must be at least 1; to give deliveries back, nack them"));
    }
    let lease = Duration::from_millis(request.lease_ms);
    let extended = state.queues().extend(&caller.scope, &queue_name(name)?, &ids, lease).await;
    Settled::of(request.delivery_ids, extended)
}

fn ids(state: &Gateway, texts: &[String]) -> Result<Vec<DeliveryId>, Problem> {
    if texts.is_empty() {
        return Err(invalid("/delivery_ids", "name at least one delivery"));
    }
    let max = state.limits().batch_entries;
    if texts.len() > max {
        return Err(invalid("/delivery_ids", format!("at most {max} at once")));
    }
    let parse = |(i, text): (usize, &String)| {
        text.parse::<DeliveryId>().map_err(|err| invalid(format!("/delivery_ids/{i}"), err.to_string()))
    };
    texts.iter().enumerate().map(parse).collect()
}

/// What became of the deliveries of one call.
pub(crate) struct Settled {
    texts: Vec<String>,
    /// Of those that were not settled: which they are, and why.
    lost: Vec<(usize, String)>,
}

impl Settled {
    fn of<T>(texts: Vec<String>, settled: Result<Vec<Result<T, Error>>, Error>) -> Result<Self, Problem> {
        let mut lost = Vec::new();
        for (i, result) in settled.map_err(|err| of_queue(&err))?.iter().enumerate() {
            match result {
                Ok(_) => {}
                Err(err) if matches!(err.kind(), ErrorKind::LeaseLost | ErrorKind::NotFound) => {
                    lost.push((i, err.to_string()));
                }
                Err(err) => return Err(of_queue(err)),
            }
        }
        Ok(Self { texts, lost })
    }

    /// Those that were settled, and those that were not.
    pub(crate) fn into_parts(self) -> (Vec<String>, Vec<SettleError>) {
        let error = |(i, detail): &(usize, String)| SettleError {
            delivery_id: self.texts[*i].clone(),
            detail: detail.clone(),
        };
        let errors = self.lost.iter().map(error).collect();
        let mut lost = self.lost.iter().map(|(i, _)| *i).peekable();
        let done = self.texts.iter().enumerate().filter(|(i, _)| lost.next_if_eq(i).is_none());
        (done.map(|(_, text)| text.clone()).collect(), errors)
    }
}

/// A problem that is a [`SettleResult`] as well.
#[derive(Serialize)]
struct NotSettled<'a> {
    #[serde(rename = "type")]
    problem_type: String,
    title: &'static str,
    status: u16,
    detail: String,
    settled: usize,
    errors: Vec<NotSettledOne<'a>>,
}

#[derive(Serialize)]
struct NotSettledOne<'a> {
    delivery_id: &'a str,
    pointer: String,
    detail: &'a str,
}

impl IntoResponse for Settled {
    fn into_response(self) -> Response {
        let (all, lost) = (self.texts.len(), self.lost.len());
        if lost == 0 {
            return Json(SettleResult { settled: all as u64, errors: Vec::new() }).into_response();
        }
        let errors = self.lost.iter().map(|(i, detail)| NotSettledOne {
            delivery_id: &self.texts[*i],
            pointer: format!("/delivery_ids/{i}"),
            detail,
        });
        let body = NotSettled {
            problem_type: format!("{TYPE_PREFIX}lease-lost"),
            title: "lease lost",
            status: StatusCode::CONFLICT.as_u16(),
            detail: format!(
                "{lost} of {all} deliveries were not settled: their lease ran out, or they were settled before"
            ),
            settled: all - lost,
            errors: errors.collect(),
        };
        let headers = [(header::CONTENT_TYPE, "application/problem+json")];
        (StatusCode::CONFLICT, headers, serde_json::to_vec(&body).expect("texts are JSON")).into_response()
    }
}
