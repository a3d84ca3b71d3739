//! Order a release, wait until it is ready, remove it. As many releases exist
//! at once as there are connections.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use hyper::Uri;
use jiff::Timestamp;
use orderwire_api::wire::{List, NewOrder, OrderAccepted, OrderInfo, OrderStep};
use serde::de::DeserializeOwned;
use serde_json::json;
use uuid::Uuid;

use super::{Done, Failure, JSON, NAME, Requests, Round, ask, path, success};
use crate::error::Error;
use crate::load::draw::Draw;
use crate::load::http::{Answer, Connection};
use crate::load::measured::Stages;
use crate::load::settings::Settings;
use crate::server::Server;

/// A product that ships and does next to nothing.
const PRODUCT: &str = "broken";
/// How long an order may take.
const ORDER_MAX: Duration = Duration::from_secs(600);
const FINAL: [&str; 7] =
    ["ready", "unchanged", "failed", "rolled_back", "cancelled", "superseded", "removed"];

/// Releases that come and go.
#[derive(Debug)]
pub(super) struct Orders {
    draw: Draw,
    orders: Uri,
    /// What the names of a run's releases begin with.
    prefix: String,
    /// What exists, or may exist.
    there: Mutex<Vec<Release>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Release {
    name: String,
    client: usize,
}

impl Orders {
    pub(super) fn new(settings: &Settings, server: &Server) -> Result<Self, Error> {
        // The random end of a UUID, so that no run meets the releases of another.
        let run = Uuid::new_v4().simple().to_string();
        Ok(Self {
            draw: settings.draw(),
            orders: path(server, &["v1", "orders"])?,
            prefix: format!("{NAME}-{}", &run[..8]),
            there: Mutex::default(),
        })
    }

    pub(super) async fn round(
        &self,
        requests: &Requests,
        connection: &mut Connection,
        number: u64,
    ) -> Result<Round, Failure> {
        let release = Release { name: format!("{}-{number}", self.prefix), client: self.draw.client(number) };
        self.there.lock().expect("nobody panics while holding it").push(release.clone());
        let created = self.create(requests, connection, &release).await;
        // Also of what failed something may be left, and of what never was nothing is.
        let removed = match &created {
            Err(failure) if failure.error.starts_with('4') => Ok(None),
            _ => self.remove(requests, connection, &release).await,
        };
        if removed.is_ok() {
            self.there.lock().expect("nobody panics while holding it").retain(|other| *other != release);
        }
        let (ended, mut stages) = created?;
        if let Some(took) = removed? {
            stages.set(2, took);
        }
        Ok(Round::Done(Done { units: 1, ended, stages }))
    }

    /// When it was seen to be ready, and the stages until then.
    async fn create(
        &self,
        requests: &Requests,
        connection: &mut Connection,
        release: &Release,
    ) -> Result<(Instant, Stages), Failure> {
        let order = NewOrder {
            product: Some(PRODUCT.to_owned()),
            name: Some(release.name.clone()),
            parameters: Some(json!({ "how": "works" })),
            action: Some("create".to_owned()),
            ..NewOrder::default()
        };
        let (order, ended) = self.finished(requests, connection, release, &order, "ready").await?;
        let steps = get(requests, connection, &format!("{}/{}/steps", self.orders, order.order_id)).await?;
        let steps: List<OrderStep> = read(&steps)?;
        let mut stages = Stages::default();
        if let Some(step) = steps.items.iter().find(|step| step.step == "apply" && step.outcome == "done") {
            stages.set(0, between(&order.created_at, &step.at)?);
        }
        stages.set(1, between(&order.created_at, &order.updated_at)?);
        Ok((ended, stages))
    }

    /// How long it took; `None` when there was nothing.
    async fn remove(
        &self,
        requests: &Requests,
        connection: &mut Connection,
        release: &Release,
    ) -> Result<Option<Duration>, Failure> {
        let order = NewOrder {
            name: Some(release.name.clone()),
            action: Some("remove".to_owned()),
            ..NewOrder::default()
        };
        match self.finished(requests, connection, release, &order, "removed").await {
            Ok((order, _)) => between(&order.created_at, &order.updated_at).map(Some),
            Err(failure) if failure.error == "404" => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Orders and follows it to its end, which has to be the wanted one.
    async fn finished(
        &self,
        requests: &Requests,
        connection: &mut Connection,
        release: &Release,
        order: &NewOrder,
        wanted: &str,
    ) -> Result<(OrderInfo, Instant), Failure> {
        let body = serde_json::to_string(order).expect("an order is serialisable");
        let mut request = requests.post(self.orders.clone(), JSON, body.into());
        requests.name_client(&mut request, release.client);
        let accepted: OrderAccepted = read(&ask(connection, request, true).await?)?;
        let order = format!("{}/{}", self.orders, accepted.order_id);
        let deadline = Instant::now() + ORDER_MAX;
        loop {
            // Ends with the order, or when the server drains.
            let watch = uri(&format!("{order}/watch"))?;
            let sent = connection.send(requests.get(watch.clone()), false, ORDER_MAX).await;
            success(sent, &watch)?;
            let ended = Instant::now();
            let info: OrderInfo = read(&get(requests, connection, &order).await?)?;
            if info.state == wanted {
                return Ok((info, ended));
            }
            if FINAL.contains(&info.state.as_str()) || ended >= deadline {
                let reason = info.reason.as_deref().unwrap_or("no reason is known");
                let reason = format!("an order is {} instead of {wanted}: {reason}", info.state);
                return Err(Failure { error: format!("order {}", info.state).into(), reason });
            }
        }
    }

    /// Removes what a broken connection left.
    pub(super) async fn remove_rest(&self, requests: &Requests) -> Result<(), Error> {
        let rest = std::mem::take(&mut *self.there.lock().expect("nobody panics while holding it"));
        let mut connection = Connection::new(requests.target.clone());
        let mut left = Vec::new();
        for release in rest {
            if let Err(failure) = Box::pin(self.remove(requests, &mut connection, &release)).await {
                left.push((release.name, failure.reason));
            }
        }
        let Some((_, reason)) = left.first() else { return Ok(()) };
        let names: Vec<&str> = left.iter().map(|(name, _)| name.as_str()).collect();
        Err(Error::failed(format!(
            "these releases are left: {}; remove them with `orderwire order remove --name` ({reason})",
            names.join(", ")
        )))
    }
}

async fn get(requests: &Requests, connection: &mut Connection, path: &str) -> Result<Answer, Failure> {
    ask(connection, requests.get(uri(path)?), true).await
}

fn uri(path: &str) -> Result<Uri, Failure> {
    path.parse().map_err(|_| Failure::new("unreadable", format!("{path} is no path")))
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        Failure::new("unreadable", format!("an answer about an order cannot be read: {error}"))
    })
}

/// Of the server's clock.
fn between(from: &str, to: &str) -> Result<Duration, Failure> {
    let moment = |text: &str| text.parse::<Timestamp>();
    match (moment(from), moment(to)) {
        (Ok(from), Ok(to)) => Ok(to.duration_since(from).unsigned_abs()),
        _ => Err(Failure::new("unreadable", format!("{from} or {to} is no time"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::load::scenario::tests::plan;
    use crate::testing::{answer, serve};

    /// A server whose orders end so: those that create, and those that remove.
    async fn ended(
        created: &'static str,
        removed: &'static str,
    ) -> (Result<Round, Failure>, Vec<String>, Option<Error>) {
        let mut orders = Vec::new();
        let server = serve(move |request| {
            let path = request.uri().path();
            let id = path.strip_prefix("/v1/orders/").map(|rest| rest.split('/').next().unwrap().to_owned());
            let text = match id {
                None => {
                    let order: Value = serde_json::from_slice(request.body()).unwrap();
                    orders.push(if order["action"] == "create" { created } else { removed });
                    let id = orders.len() - 1;
                    format!(r#"{{"order_id":"{id}","trace_id":"","state":"accepted","status_url":""}}"#)
                }
                Some(_) if path.ends_with("/steps") => {
                    r#"{"items":[{"n":1,"at":"2026-01-01T00:00:00.2Z","step":"apply","outcome":"done"}],"next":null}"#
                        .to_owned()
                }
                Some(id) => {
                    let state = orders[id.parse::<usize>().unwrap()];
                    json!({"order_id": id, "trace_id": "", "client": "c", "name": "n", "product": "broken",
                        "namespace": "c", "environment": "dev", "target": "local", "action": "create", "state": state,
                        "revision": 1, "reason": "the disk is on fire", "parameters": {},
                        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:01.5Z"})
                    .to_string()
                }
            };
            answer(200, JSON, text)
        });
        let server = server.await;
        let plan = plan("order", &server.url).await;
        let round = plan.round(&mut plan.connect()).await;
        let rest = plan.finish().await.err();
        let bodies = server.requests().into_iter().filter(|seen| seen.path == "/v1/orders");
        let action = |body: &[u8]| {
            serde_json::from_slice::<Value>(body).unwrap()["action"].as_str().unwrap().to_owned()
        };
        (round, bodies.map(|seen| action(&seen.body)).collect(), rest)
    }

    #[tokio::test]
    async fn the_times_are_those_of_the_journal() {
        let (round, actions, rest) = ended("ready", "removed").await;
        let Ok(Round::Done(done)) = round else { panic!("{round:?}") };
        let mut wanted = Stages::default();
        wanted.set(0, Duration::from_millis(200));
        wanted.set(1, Duration::from_millis(1_500));
        wanted.set(2, Duration::from_millis(1_500));
        assert_eq!(done.stages, wanted);
        assert_eq!(
            (actions, rest.map(|error| error.to_string())),
            (vec!["create".to_owned(), "remove".to_owned()], None)
        );
    }

    #[tokio::test]
    async fn an_order_that_fails_is_an_error_and_is_removed_all_the_same() {
        let (round, actions, rest) = ended("rolled_back", "removed").await;
        let failure = round.unwrap_err();
        assert_eq!(failure.error, "order rolled_back");
        assert!(failure.reason.contains("on fire"), "{failure:?}");
        assert_eq!((actions.len(), rest.is_none()), (2, true));
    }

    #[tokio::test]
    async fn a_release_that_cannot_be_removed_is_tried_again_and_named() {
        let (round, actions, rest) = ended("ready", "failed").await;
        assert_eq!(round.unwrap_err().error, "order failed");
        assert_eq!(actions, ["create", "remove", "remove"]);
        let said = rest.unwrap().to_string();
        assert!(said.contains("load-") && said.contains("on fire"), "{said}");
    }
}
