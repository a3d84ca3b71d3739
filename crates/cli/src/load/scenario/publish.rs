//! Events: single ones and batches, plain or as CloudEvents.

use bytes::{Bytes, BytesMut};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Uri};
use uuid::Uuid;

use super::{Done, Failure, JSON, NDJSON, Requests, Round, ask, path};
use crate::error::Error;
use crate::load::draw::Draw;
use crate::load::http::Connection;
use crate::load::settings::Settings;
use crate::server::Server;

const TYPE: &str = "load.event";
const BATCH: &str = "application/cloudevents-batch+json";
/// So many different bodies of a batch whose sizes differ.
const BODIES: u64 = 8;
/// Where an id and a key stand in a prepared body; each has this length.
const ID: &str = "0000000000000000";
const KEY: &str = "key-000000";

/// Events that are published.
#[derive(Debug)]
pub(super) struct Publish {
    draw: Draw,
    uri: Uri,
    form: Form,
    /// Of one request.
    entries: u64,
}

#[derive(Debug)]
enum Form {
    /// Plain JSON, by its size.
    Plain(Vec<Bytes>),
    /// Plain JSON, one event a line.
    Lines(Vec<Bytes>),
    /// A CloudEvent in binary mode: attributes are headers.
    Binary { source: HeaderValue, keyed: bool, bodies: Vec<Bytes> },
    /// An array of CloudEvents.
    Batch(Vec<Template>),
}

/// An array of CloudEvents without their ids and keys.
#[derive(Debug)]
struct Template {
    bytes: Vec<u8>,
    ids: Vec<usize>,
    keys: Vec<usize>,
}

impl Publish {
    /// Single events, or batches of so many `entries`.
    pub(super) fn new(settings: &Settings, server: &Server, entries: Option<usize>) -> Result<Self, Error> {
        let draw = settings.draw();
        // A run of its own: an id that came before is known and costs nothing.
        let source = format!("/load/{}", Uuid::now_v7());
        let sizes: Vec<usize> = settings.payload.bytes().collect();
        let bodies = || sizes.iter().map(|bytes| Bytes::from(payload(*bytes))).collect();
        let variants = if sizes.len() == 1 { 1 } else { BODIES };
        let batch = |variant: u64, entries: usize| {
            let entries = entries as u64;
            (0..entries).map(|entry| sizes[draw.size(variant * entries + entry)]).collect::<Vec<_>>()
        };
        let keyed = settings.keys > 1;
        let form = match (settings.cloudevents, entries) {
            (false, None) => Form::Plain(bodies()),
            (false, Some(entries)) => {
                let lines = |sizes: Vec<usize>| sizes.into_iter().map(payload).collect::<Vec<_>>().join("\n");
                Form::Lines((0..variants).map(|variant| lines(batch(variant, entries)).into()).collect())
            }
            (true, None) => {
                let source = HeaderValue::from_str(&source).expect("a UUID is a header");
                Form::Binary { source, keyed, bodies: bodies() }
            }
            (true, Some(entries)) => {
                let template = |variant| Template::new(&batch(variant, entries), &source, keyed);
                Form::Batch((0..variants).map(template).collect())
            }
        };
        let uri = match form {
            Form::Plain(_) | Form::Lines(_) => path(server, &["v1", "events", TYPE])?,
            Form::Binary { .. } | Form::Batch(_) => path(server, &["v1", "events"])?,
        };
        Ok(Self { draw, uri, form, entries: entries.unwrap_or(1) as u64 })
    }

    pub(super) async fn round(
        &self,
        requests: &Requests,
        connection: &mut Connection,
        number: u64,
    ) -> Result<Round, Failure> {
        let uri = self.uri.clone();
        let mut request = match &self.form {
            Form::Plain(bodies) => requests.post(uri, JSON, bodies[self.draw.size(number)].clone()),
            Form::Lines(bodies) => requests.post(uri, NDJSON, bodies[turn(number, bodies)].clone()),
            Form::Binary { source, keyed, bodies } => {
                let body = bodies[self.draw.size(number)].clone();
                let mut request: Request<_> = requests.post(uri, JSON, body);
                let key = keyed.then(|| self.draw.key(number, 0, 1));
                label(request.headers_mut(), source, number, key);
                request
            }
            Form::Batch(templates) => {
                let template = &templates[turn(number, templates)];
                let body =
                    template.fill(number * self.entries, |entry| self.draw.key(number, entry, self.entries));
                requests.post(uri, BATCH, body)
            }
        };
        requests.name_client(&mut request, self.draw.client(number));
        ask(connection, request, false).await?;
        Ok(Round::Done(Done::now(self.entries)))
    }
}

fn turn<T>(number: u64, all: &[T]) -> usize {
    usize::try_from(number % all.len() as u64).expect("it is below a usize")
}

/// The attributes of a CloudEvent.
fn label(headers: &mut HeaderMap, source: &HeaderValue, number: u64, key: Option<usize>) {
    let text = |text: String| HeaderValue::from_maybe_shared(Bytes::from(text)).expect("it is ASCII");
    headers.insert(HeaderName::from_static("ce-specversion"), HeaderValue::from_static("1.0"));
    headers.insert(HeaderName::from_static("ce-type"), HeaderValue::from_static(TYPE));
    headers.insert(HeaderName::from_static("ce-source"), source.clone());
    headers.insert(HeaderName::from_static("ce-id"), text(format!("{number:016x}")));
    if let Some(key) = key {
        headers.insert(HeaderName::from_static("ce-partitionkey"), text(format!("key-{key:06}")));
    }
}

impl Template {
    fn new(sizes: &[usize], source: &str, keyed: bool) -> Self {
        let (mut text, mut ids, mut keys) = (String::from("["), Vec::new(), Vec::new());
        for bytes in sizes {
            text.push_str(r#"{"specversion":"1.0","id":""#);
            ids.push(text.len());
            text.push_str(&format!(r#"{ID}","source":"{source}","type":"{TYPE}","#));
            if keyed {
                text.push_str(r#""partitionkey":""#);
                keys.push(text.len());
                text.push_str(&format!(r#"{KEY}","#));
            }
            text.push_str(&format!(r#""data":{}}},"#, payload(*bytes)));
        }
        text.pop();
        text.push(']');
        Self { bytes: text.into_bytes(), ids, keys }
    }

    /// With ids from this one on, and the key of each entry.
    fn fill(&self, first: u64, key: impl Fn(u64) -> usize) -> Bytes {
        let mut bytes = BytesMut::from(self.bytes.as_slice());
        for (number, at) in (first..).zip(&self.ids) {
            bytes[*at..*at + ID.len()].copy_from_slice(format!("{number:016x}").as_bytes());
        }
        for (entry, at) in (0..).zip(&self.keys) {
            bytes[*at..*at + KEY.len()].copy_from_slice(format!("key-{:06}", key(entry)).as_bytes());
        }
        bytes.freeze()
    }
}

/// An event of so many bytes.
fn payload(bytes: usize) -> String {
    let frame = r#"{"pad":""}"#.len();
    format!(r#"{{"pad":"{}"}}"#, "x".repeat(bytes.saturating_sub(frame)))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn payloads_have_the_size_that_was_asked_for() {
        for bytes in [10, 11, 512, 4_096] {
            let text = payload(bytes);
            assert_eq!(text.len(), bytes);
            serde_json::from_str::<Value>(&text).unwrap();
        }
    }

    #[test]
    fn a_batch_has_ids_and_keys_of_its_own() {
        let template = Template::new(&[20, 30], "/load/x", true);
        let body = template.fill(510, |entry| 7 + usize::try_from(entry).unwrap());
        let events: Vec<Value> = serde_json::from_slice(&body).unwrap();
        let of = |name: &str| events.iter().map(|event| event[name].clone()).collect::<Vec<_>>();
        assert_eq!(of("id"), ["00000000000001fe", "00000000000001ff"]);
        assert_eq!(of("partitionkey"), ["key-000007", "key-000008"]);
        assert_eq!(events[1]["data"].to_string().len(), 30);
        let plain = Template::new(&[20], "/load/x", false).fill(0, |_| 0);
        assert!(serde_json::from_slice::<Vec<Value>>(&plain).unwrap()[0].get("partitionkey").is_none());
    }

    #[test]
    fn an_event_of_its_own_says_what_it_is() {
        let mut headers = HeaderMap::new();
        label(&mut headers, &HeaderValue::from_static("/load/x"), 255, Some(3));
        assert_eq!(headers["ce-id"], "00000000000000ff");
        assert_eq!(headers["ce-partitionkey"], "key-000003");
        label(&mut headers, &HeaderValue::from_static("/load/x"), 256, None);
        assert_eq!(headers["ce-id"], "0000000000000100");
    }
}
