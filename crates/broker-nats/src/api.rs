//! The server's interface for streams and consumers: requests with answers in JSON.
//!
//! Asked directly, because one shape of error for every request tells what a fault
//! means, and because a consumer that others made has to be sent back as it is, fields
//! included that the library does not know.

use async_nats::{RequestError, RequestErrorKind};
use orderwire_broker::{Error, ErrorKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::link::Link;

/// The server's numbers of errors.
const STREAM_NOT_FOUND: u64 = 10059;
const CONSUMER_NOT_FOUND: u64 = 10014;
const MESSAGE_NOT_FOUND: u64 = 10037;
const STREAM_NAME_IN_USE: u64 = 10058;
/// What it calls a fault of its own, and only other settings change: more replicas than a
/// server alone can have, more bytes than it may use.
const IMPOSSIBLE: [u64; 2] = [10074, 10047];

/// What the server says is wrong.
#[derive(Debug, Deserialize)]
pub(crate) struct Fault {
    /// As of HTTP.
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Why a request has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server refused it.
    Fault(Fault),
    /// It was not answered.
    Request(RequestError),
    /// The connection ended before it was.
    Away,
    /// The answer is none.
    Unreadable,
}

impl Failure {
    pub(crate) fn is_name_in_use(&self) -> bool {
        matches!(self, Self::Fault(fault) if fault.err_code == STREAM_NAME_IN_USE)
    }

    fn is_not_found(&self) -> bool {
        let not_found = [STREAM_NOT_FOUND, CONSUMER_NOT_FOUND, MESSAGE_NOT_FOUND];
        matches!(self, Self::Fault(fault) if not_found.contains(&fault.err_code))
    }

    /// As an error of the broker. `doing` names the operation and its input; `refused` is
    /// the kind of what the server does not want for reasons of its own.
    pub(crate) fn error(self, doing: &str, refused: ErrorKind) -> Error {
        let (kind, why) = match self {
            Self::Fault(fault) => {
                let passes = matches!(fault.code, 408 | 500..) && !IMPOSSIBLE.contains(&fault.err_code);
                let kind = if passes { ErrorKind::Unavailable } else { refused };
                (kind, fault.description)
            }
            Self::Request(error) => {
                let why = match error.kind() {
                    RequestErrorKind::NoResponders => "JetStream is not on, or not ready".to_owned(),
                    RequestErrorKind::TimedOut => {
                        "no answer in time; perhaps the right to ask is missing".to_owned()
                    }
                    _ => error.to_string(),
                };
                (ErrorKind::Unavailable, why)
            }
            Self::Away => (ErrorKind::Unavailable, "the connection ended".to_owned()),
            Self::Unreadable => (ErrorKind::Unavailable, "the answer is not readable".to_owned()),
        };
        Error::new(kind, format!("{doing}: {why}"))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer<T> {
    Fault { error: Fault },
    Result(T),
}

/// A stream as it is.
#[derive(Debug, Deserialize)]
pub(crate) struct Stream {
    pub(crate) config: StreamConfig,
    /// The nodes that it is on; none: it is on a server alone.
    pub(crate) cluster: Option<Value>,
    pub(crate) state: StreamState,
}

/// How a stream was made. A request to change it says all of it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamConfig {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) subjects: Vec<String>,
    pub(crate) retention: String,
    #[serde(default)]
    pub(crate) discard: String,
    pub(crate) storage: String,
    #[serde(default)]
    pub(crate) max_bytes: i64,
    #[serde(default)]
    pub(crate) num_replicas: usize,
    /// In nanoseconds.
    #[serde(default)]
    pub(crate) duplicate_window: u64,
    /// What is not ours to change.
    #[serde(flatten)]
    pub(crate) others: Map<String, Value>,
}

/// What is in a stream.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamState {
    #[serde(default)]
    pub(crate) messages: u64,
    #[serde(default)]
    pub(crate) bytes: u64,
    #[serde(default)]
    pub(crate) first_seq: u64,
    #[serde(default)]
    pub(crate) last_seq: u64,
}

/// A consumer as it is.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Consumer {
    pub(crate) config: ConsumerConfig,
    /// Up to where everything is acked.
    pub(crate) ack_floor: Place,
    /// Up to where everything was delivered, or passed over as not for it.
    pub(crate) delivered: Place,
    /// How many messages are delivered and not acked.
    #[serde(default)]
    pub(crate) num_ack_pending: u64,
    /// How many messages wait to be delivered.
    #[serde(default)]
    pub(crate) num_pending: u64,
}

impl Consumer {
    /// Up to where it needs nothing any more: all that is for it was delivered and acked.
    pub(crate) fn done(&self) -> u64 {
        // Servers before 2.10 do not count what is before its beginning.
        let before = self.config.opt_start_seq.map_or(0, |start| start.saturating_sub(1));
        let acked = self.ack_floor.stream_seq.max(before);
        if self.num_ack_pending == 0 { acked.max(self.delivered.stream_seq) } else { acked }
    }
}

/// A place in the stream.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Place {
    #[serde(default)]
    pub(crate) stream_seq: u64,
}

/// How a consumer was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConsumerConfig {
    /// Empty for one that is not durable.
    #[serde(default)]
    pub(crate) durable_name: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) deliver_policy: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) opt_start_seq: Option<u64>,
    pub(crate) ack_policy: String,
    /// In nanoseconds.
    #[serde(default)]
    pub(crate) ack_wait: u64,
    /// −1: without end.
    #[serde(default)]
    pub(crate) max_deliver: i64,
    #[serde(default)]
    pub(crate) max_ack_pending: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) filter_subject: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) filter_subjects: Vec<String>,
    /// Where it is pushed to, if it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) deliver_subject: String,
    /// What is not ours to change.
    #[serde(flatten)]
    pub(crate) others: Map<String, Value>,
}

impl ConsumerConfig {
    /// What it lets through; nothing said is everything.
    pub(crate) fn filters(&self) -> Vec<String> {
        match (self.filter_subject.as_str(), self.filter_subjects.as_slice()) {
            ("", []) => vec![">".to_owned()],
            ("", several) => several.to_vec(),
            (one, _) => vec![one.to_owned()],
        }
    }

    /// Servers before 2.10 know one filter only.
    pub(crate) fn set_filters(&mut self, mut filters: Vec<String>) {
        self.filter_subject.clear();
        self.filter_subjects.clear();
        match filters.len() {
            1 => self.filter_subject = filters.remove(0),
            _ => self.filter_subjects = filters,
        }
    }
}

/// Asks for a stream.
pub(crate) async fn stream(link: &Link, name: &str) -> Result<Option<Stream>, Failure> {
    found(ask(link, &format!("STREAM.INFO.{name}"), &json!({})).await)
}

/// Makes a stream; one that is there as asked for already is fine.
pub(crate) async fn create_stream(link: &Link, config: &StreamConfig) -> Result<Stream, Failure> {
    ask(link, &format!("STREAM.CREATE.{}", config.name), config).await
}

/// Changes a stream.
pub(crate) async fn update_stream(link: &Link, config: &StreamConfig) -> Result<Stream, Failure> {
    ask(link, &format!("STREAM.UPDATE.{}", config.name), config).await
}

/// Asks for a consumer.
pub(crate) async fn consumer(link: &Link, stream: &str, name: &str) -> Result<Option<Consumer>, Failure> {
    found(ask(link, &format!("CONSUMER.INFO.{stream}.{name}"), &json!({})).await)
}

/// All consumers of a stream. That there are many is possible, and bounded by the server.
pub(crate) async fn consumers(link: &Link, stream: &str) -> Result<Vec<Consumer>, Failure> {
    #[derive(Deserialize)]
    struct Page {
        #[serde(default)]
        total: usize,
        consumers: Vec<Consumer>,
    }
    let mut all = Vec::new();
    loop {
        let page = json!({ "offset": all.len() });
        let Page { total, consumers } = ask(link, &format!("CONSUMER.LIST.{stream}"), &page).await?;
        let is_last = consumers.is_empty() || all.len() + consumers.len() >= total;
        all.extend(consumers);
        if is_last {
            return Ok(all);
        }
    }
}

/// A message in the stream.
#[derive(Debug, Deserialize)]
pub(crate) struct Kept {
    pub(crate) subject: String,
    #[serde(rename = "seq")]
    pub(crate) place: u64,
}

/// The first message of the stream from this place on that a filter lets through.
pub(crate) async fn next_message(
    link: &Link,
    stream: &str,
    from: u64,
    filter: &str,
) -> Result<Option<Kept>, Failure> {
    #[derive(Deserialize)]
    struct Found {
        message: Kept,
    }
    let request = json!({ "seq": from, "next_by_subj": filter });
    let next = found(ask::<Found>(link, &format!("STREAM.MSG.GET.{stream}"), &request).await);
    next.map(|found| found.map(|found| found.message))
}

/// Removes what is before this place, where `filter` lets it through.
pub(crate) async fn purge(link: &Link, stream: &str, before: u64, filter: &str) -> Result<(), Failure> {
    let mut request = json!({ "seq": before });
    if filter != ">" {
        request["filter"] = filter.into();
    }
    ask::<Value>(link, &format!("STREAM.PURGE.{stream}"), &request).await.map(drop)
}

/// Makes a consumer, or changes the one of this name.
pub(crate) async fn set_consumer(
    link: &Link,
    stream: &str,
    config: &ConsumerConfig,
) -> Result<Consumer, Failure> {
    let request = json!({ "stream_name": stream, "config": config });
    ask(link, &format!("CONSUMER.DURABLE.CREATE.{stream}.{}", config.durable_name), &request).await
}

/// Removes a consumer, which need not be there.
pub(crate) async fn delete_consumer(link: &Link, stream: &str, name: &str) -> Result<(), Failure> {
    found(ask::<Value>(link, &format!("CONSUMER.DELETE.{stream}.{name}"), &json!({})).await).map(|_| ())
}

/// The subject that messages of a consumer are asked for at.
pub(crate) fn next_subject(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
}

fn found<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn ask<T: DeserializeOwned>(link: &Link, what: &str, request: &impl Serialize) -> Result<T, Failure> {
    let payload = serde_json::to_vec(request).map_err(|_| Failure::Unreadable)?;
    // The library would wait for as long as an answer may take.
    let answer = tokio::select! {
        biased;
        answer = link.client().request(format!("$JS.API.{what}"), payload.into()) => answer,
        () = link.gone(link.number()) => return Err(Failure::Away),
    };
    let answer = answer.map_err(Failure::Request)?;
    match serde_json::from_slice(&answer.payload) {
        Ok(Answer::Result(result)) => Ok(result),
        Ok(Answer::Fault { error }) => Err(Failure::Fault(error)),
        Err(_) => Err(Failure::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_result_or_a_fault() {
        let stream = br#"{"type":"t","config":{"name":"S","subjects":["a.>"],"retention":"limits",
            "storage":"file","max_age":5},"state":{"messages":1,"bytes":70,"last_seq":9},"created":"x"}"#;
        let Answer::Result(stream) = serde_json::from_slice::<Answer<Stream>>(stream).unwrap() else {
            panic!("a result")
        };
        assert_eq!((stream.state.bytes, stream.state.last_seq), (70, 9));
        assert_eq!(serde_json::to_value(&stream.config).unwrap()["max_age"], 5);
        let fault = br#"{"type":"t","error":{"code":404,"err_code":10059,"description":"stream not found"}}"#;
        let Answer::Fault { error } = serde_json::from_slice::<Answer<Stream>>(fault).unwrap() else {
            panic!("a fault")
        };
        assert!(Failure::Fault(error).is_not_found());
    }

    #[test]
    fn one_filter_is_said_as_servers_before_2_10_know_it() {
        let config = json!({"durable_name":"q","deliver_policy":"all","ack_policy":"explicit","replay_policy":"instant"});
        let mut config: ConsumerConfig = serde_json::from_value(config).unwrap();
        assert_eq!(config.filters(), [">"]);
        config.set_filters(vec!["a".to_owned()]);
        assert_eq!(serde_json::to_value(&config).unwrap()["filter_subject"], "a");
        assert_eq!(config.filters(), ["a"]);
        config.set_filters(vec!["a".to_owned(), "b".to_owned()]);
        let said = serde_json::to_value(&config).unwrap();
        assert!(said.get("filter_subject").is_none() && said["replay_policy"] == "instant");
        assert_eq!(config.filters(), ["a", "b"]);
    }
}
