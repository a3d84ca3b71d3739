//! `orderwire event …`.

use std::collections::{HashSet, VecDeque};
use std::io::Read;
use std::time::Duration;

use orderwire_api::wire::{Accepted, BatchAccepted, List, Peeked};
use reqwest::Method;
use sha2::{Digest, Sha256};

use crate::args::Event;
use crate::error::{Error, ErrorKind};
use crate::out::{Out, count, plain};
use crate::queue;
use crate::server::{Server, parse};

/// The largest body that is read. The server's own limit is 8 MiB by default.
const BODY_MAX: u64 = 256 << 20;
/// How often `tail` looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many waiting events `tail` looks at.
const LOOK_AT: u32 = 1_000;
/// How many events `tail` remembers as shown.
const SHOWN_MAX: usize = 100_000;

pub(crate) async fn run(command: &Event, server: &Server, out: Out) -> Result<(), Error> {
    match command {
        Event::Publish { event_type, body, idempotency_key, ndjson } => {
            let body = read_body(body)?;
            let mut path = vec!["v1", "events"];
            path.extend(event_type.as_deref());
            let content_type = match (*ndjson, event_type) {
                (true, _) => "application/x-ndjson",
                // An array under a type is the data of one event.
                (false, None) if body.trim_ascii_start().starts_with(b"[") => {
                    "application/cloudevents-batch+json"
                }
                (false, _) => "application/json",
            };
            let mut request =
                server.request(Method::POST, &path, &[]).header("content-type", content_type).body(body);
            if let Some(key) = idempotency_key {
                request = request.header("idempotency-key", key);
            }
            let answer = server.text(request).await?;
            if out.json { out.line(&answer) } else { published(&answer, out) }
        }
        Event::Tail { queue, max } => tail(server, queue, max.unwrap_or(u64::MAX), out).await,
    }
}

fn published(answer: &str, out: Out) -> Result<(), Error> {
    if let Ok(one) = serde_json::from_str::<Accepted>(answer) {
        out.line(&plain(&format!("event {} is durable in {}", one.event_id, one.queues.join(", "))))?;
        return out.line(&plain(&format!("trace {}", one.trace_id)));
    }
    let batch: BatchAccepted = parse(answer)?;
    let (accepted, rejected) = (count(batch.accepted), count(batch.rejected));
    out.line(&format!("{accepted} events are durable, {rejected} were refused"))?;
    out.line(&plain(&format!("trace {}", batch.trace_id)))?;
    if batch.errors.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!("{rejected} events were refused")).with_faults(batch.errors))
}

/// The body itself, a file's, or that of standard input.
fn read_body(body: &str) -> Result<Vec<u8>, Error> {
    let (name, source): (&str, Box<dyn Read>) = match body.strip_prefix('@') {
        _ if body == "-" => ("standard input", Box::new(std::io::stdin())),
        Some(path) => {
            let file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
            (path, Box::new(file))
        }
        None => return Ok(body.as_bytes().to_vec()),
    };
    let mut bytes = Vec::new();
    source.take(BODY_MAX + 1).read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
    if bytes.len() as u64 > BODY_MAX {
        return Err(Error::invalid(format!("{name} is larger than 256 MiB; publish it in parts")));
    }
    if bytes.trim_ascii().is_empty() {
        return Err(Error::invalid(format!("{name} is empty; there is no event to publish")));
    }
    Ok(bytes)
}

pub(crate) fn unreadable(name: &str, error: &std::io::Error) -> Error {
    let kind =
        if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Failed };
    Error::new(kind, format!("cannot read {name}: {error}"))
}

/// Prints what newly waits in a queue. It looks at the first
/// [`LOOK_AT`] events only, so that it costs the server little however long
/// the queue is.
async fn tail(server: &Server, name: &str, max: u64, out: Out) -> Result<(), Error> {
    let mut shown = Shown::default();
    let mut left = max;
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while left > 0 {
        look.tick().await;
        let waiting: List<Peeked> = parse(&queue::peek(server, name, LOOK_AT).await?)?;
        for Peeked { event, .. } in &waiting.items {
            if left == 0 {
                break;
            }
            if shown.insert(event.get()) {
                out.line(&if out.json { event.get().into() } else { plain(event.get()) })?;
                left -= 1;
            }
        }
    }
    Ok(())
}

/// Events that were printed, by a hash of their text: not every form that a
/// queue hands out has an id. Bounded; the oldest are forgotten first.
#[derive(Default)]
struct Shown {
    known: HashSet<[u8; 16]>,
    order: VecDeque<[u8; 16]>,
}

impl Shown {
    /// Notes an event; false when it was noted before.
    fn insert(&mut self, event: &str) -> bool {
        let digest = Sha256::digest(event.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > SHOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_shown_once_and_memory_is_bounded() {
        let mut shown = Shown::default();
        assert!(shown.insert("a") && !shown.insert("a") && shown.insert("b"));
        for i in 0..SHOWN_MAX {
            assert!(shown.insert(&i.to_string()));
        }
        assert_eq!((shown.known.len(), shown.order.len()), (SHOWN_MAX, SHOWN_MAX));
        assert!(shown.insert("a"), "the oldest is forgotten");
    }

    #[test]
    fn bodies_come_from_the_argument_or_a_file() {
        assert_eq!(read_body(r#"{"a":1}"#).unwrap(), br#"{"a":1}"#);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("body.json");
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(read_body(&format!("@{}", path.display())).unwrap(), b"{}");
        std::fs::write(&path, " \n").unwrap();
        assert_eq!(read_body(&format!("@{}", path.display())).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(read_body("@/nonexistent/x").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
