//! What is asked, prepared once: a request costs the generator a copy of a
//! few pointers.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use orderwire_api::wire::NewQueue;
use serde::Deserialize;

use super::http::{Answer, Connection, Target};
use crate::args::{Load, Scenario};
use crate::error::{Error, ErrorKind};
use crate::server::Server;

/// The queue and the dataset of `load`.
const NAME: &str = "load";
/// The columns of the dataset.
const DATASET: &str = r#"{"fields":[{"name":"at","type":"timestamp","required":true},
    {"name":"station","type":"text"},{"name":"value","type":"float"},{"name":"number","type":"integer"}],"time":"at"}"#;
/// How much of a refusal is shown.
const REASON_MAX: usize = 300;
const WAIT_MS: u64 = 1_000;
const LEASE_MS: u64 = 30_000;

/// A prepared request.
#[derive(Clone, Debug)]
struct Prepared {
    method: Method,
    uri: Uri,
    content_type: &'static str,
    body: Bytes,
}

/// What every connection does over and over.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    scenario: Scenario,
    first: Prepared,
    /// Where deliveries are acked.
    ack: Uri,
    /// Rows that a request carries.
    units: u64,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
    clients: Vec<HeaderValue>,
}

/// How a round went.
#[derive(Debug)]
pub(super) enum Round {
    /// So many events, rows or deliveries went through.
    Done(u64),
    /// There is nothing to do any more.
    Empty,
    /// The server refused, with this status.
    Refused(u16, String),
    /// There was no answer.
    Broken(String),
}

impl Plan {
    /// Makes what the scenario needs on the server.
    pub(super) async fn prepare(args: &Load, server: &Server, client: Option<&str>) -> Result<Self, Error> {
        let target = Target::new(server.base())?;
        let json = "application/json";
        let uri = |segments: &[&str]| path_of(server.url(segments, &[]).as_str());
        let post = |uri: Uri, content_type, body: String| Prepared {
            method: Method::POST,
            uri,
            content_type,
            body: Bytes::from(body),
        };
        let (first, units) = match args.scenario {
            Scenario::Event => {
                queue(server).await?;
                (post(uri(&["v1", "events", "load.event"])?, json, payload(args.payload)), 1)
            }
            Scenario::Row | Scenario::Rows => {
                let path = uri(&["v1", "datasets", NAME, "rows"])?;
                let def: Box<serde_json::value::RawValue> =
                    serde_json::from_str(DATASET).expect("the definition is JSON");
                server.text(server.request(Method::PUT, &["v1", "datasets", NAME], &[]).json(&def)).await?;
                if args.scenario == Scenario::Row {
                    (post(path, json, rows(1)), 1)
                } else {
                    (post(path, "application/x-ndjson", rows(args.batch)), args.batch as u64)
                }
            }
            Scenario::Consume => {
                queue(server).await?;
                let body = format!(
                    r#"{{"max":{},"wait_ms":{WAIT_MS},"lease_ms":{LEASE_MS}}}"#,
                    args.batch.min(1_000)
                );
                (post(uri(&["v1", "queues", NAME, "lease"])?, json, body), 0)
            }
            Scenario::Read => {
                let uri = args
                    .path
                    .parse()
                    .ok()
                    .filter(|uri: &Uri| uri.path().starts_with('/') && uri.host().is_none())
                    .ok_or_else(|| {
                        Error::usage(format!("--path {:?} is no path such as /rest/air", args.path))
                    })?;
                (Prepared { method: Method::GET, uri, content_type: "", body: Bytes::new() }, 1)
            }
        };
        let name = |name: &str| {
            HeaderValue::from_str(name)
                .map_err(|_| Error::usage(format!("--client {name:?} is no name of a client")))
        };
        let clients = match (client, args.clients) {
            (Some(client), _) => vec![name(client)?],
            (None, 1) => Vec::new(),
            (None, many) => (0..many).map(|i| name(&format!("load-{i}"))).collect::<Result<_, _>>()?,
        };
        Ok(Self {
            scenario: args.scenario,
            first,
            ack: uri(&["v1", "queues", NAME, "ack"])?,
            units,
            host: target.host().clone(),
            authorization: server.authorization().cloned(),
            clients,
        })
    }

    /// One round on a connection; `number` spreads rounds over clients.
    pub(super) async fn round(&self, connection: &mut Connection, number: u64) -> Round {
        let consume = self.scenario == Scenario::Consume;
        let answer = match connection.send(self.request(&self.first, number), consume).await {
            Ok(answer) => answer,
            Err(error) => return Round::Broken(error),
        };
        if !(200..300).contains(&answer.status) {
            return self.refused(&answer);
        }
        if !consume {
            return Round::Done(self.units);
        }
        let ids: Vec<String> = match serde_json::from_slice::<Leased>(&answer.body) {
            Ok(leased) => leased.deliveries.into_iter().map(|delivery| delivery.delivery_id).collect(),
            Err(error) => return Round::Broken(format!("a lease cannot be read: {error}")),
        };
        if ids.is_empty() {
            return Round::Empty;
        }
        let count = ids.len() as u64;
        let body = serde_json::json!({ "delivery_ids": ids }).to_string();
        let ack = Prepared {
            method: Method::POST,
            uri: self.ack.clone(),
            content_type: "application/json",
            body: Bytes::from(body),
        };
        match connection.send(self.request(&ack, number), false).await {
            Ok(answer) if (200..300).contains(&answer.status) => Round::Done(count),
            Ok(answer) => Round::Refused(answer.status, format!("an ack was answered {}", answer.status)),
            Err(error) => Round::Broken(error),
        }
    }

    fn refused(&self, answer: &Answer) -> Round {
        let body = String::from_utf8_lossy(&answer.body);
        let reason: String = body.chars().take(REASON_MAX).collect();
        Round::Refused(answer.status, format!("{} was answered {}: {reason}", self.first.uri, answer.status))
    }

    fn request(&self, prepared: &Prepared, number: u64) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(prepared.body.clone()));
        *request.method_mut() = prepared.method.clone();
        *request.uri_mut() = prepared.uri.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if prepared.content_type.is_empty() {
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(prepared.content_type));
        }
        if !self.clients.is_empty() {
            let at = usize::try_from(number % self.clients.len() as u64).unwrap_or_default();
            let name = HeaderName::from_static(orderwire_api::auth::CLIENT_HEADER);
            headers.insert(name, self.clients[at].clone());
        }
        request
    }
}

#[derive(Deserialize)]
struct Leased {
    deliveries: Vec<Delivery>,
}

#[derive(Deserialize)]
struct Delivery {
    delivery_id: String,
}

/// Makes the queue, unless it is there.
async fn queue(server: &Server) -> Result<(), Error> {
    let new = NewQueue {
        name: NAME.to_owned(),
        kind: Some("task".to_owned()),
        types: vec!["load.#".to_owned()],
        key: None,
        format: None,
        attempts: None,
    };
    match server.post(&["v1", "queues"], &new).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        Err(error) => Err(error),
    }
}

fn path_of(url: &str) -> Result<Uri, Error> {
    let wrong = || Error::usage(format!("{url} is no address"));
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    uri.path_and_query().ok_or_else(wrong)?.as_str().parse().map_err(|_| wrong())
}

/// An event of so many bytes.
fn payload(bytes: usize) -> String {
    let frame = r#"{"pad":""}"#.len();
    format!(r#"{{"pad":"{}"}}"#, "x".repeat(bytes.saturating_sub(frame)))
}

/// So many rows, one a line.
fn rows(count: usize) -> String {
    let mut out = String::with_capacity(count * 100);
    for i in 0..count {
        let (hour, minute, second) = (i / 3_600 % 24, i / 60 % 60, i % 60);
        out.push_str(&format!(
            "{{\"at\":\"2026-11-01T{hour:02}:{minute:02}:{second:02}Z\",\"station\":\"station-{:02}\",\
             \"value\":{}.{},\"number\":{i}}}\n",
            i % 10,
            i % 90,
            i % 10
        ));
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_the_size_that_was_asked_for() {
        for bytes in [10, 11, 512, 4_096] {
            let text = payload(bytes);
            assert_eq!(text.len(), bytes);
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
        assert_eq!(payload(1).len(), 10);
    }

    #[test]
    fn rows_fit_their_dataset() {
        use orderwire_types::{Limits, dataset::DatasetDef, row::Reader};
        let def: DatasetDef = serde_json::from_str(DATASET).unwrap();
        assert_eq!(def.faults(), []);
        let reader = Reader::new(&def, &Limits::default());
        let text = rows(500);
        assert_eq!(text.lines().count(), 500);
        for row in text.lines() {
            reader.read(row, &mut Vec::new()).unwrap();
        }
    }
}
