//! One attempt: an event posted to its endpoint.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use orderwire_queue::Clock;
use orderwire_types::Event;
use orderwire_types::envelope::{render, traceparent};
use orderwire_types::queue::Format;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, redirect};
use tokio::time::Instant;

use crate::answer::{Answer, retry_after};
use crate::endpoint::Endpoint;
use crate::guard::{Guard, Lookup, Refused};

/// The most of the time of an attempt that its connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection is kept for the next event.
const IDLE: Duration = Duration::from_secs(60);
/// The most bytes of an answer that are read.
const BODY_BYTES_MAX: usize = 4 << 10;
/// How long the body of an answer may take once its status is known: it only explains.
const BODY_WITHIN: Duration = Duration::from_secs(1);

/// Posts events to one endpoint.
pub(crate) struct Sender {
    endpoint: Arc<Endpoint>,
    client: Client,
    clock: Clock,
}

impl Sender {
    /// # Errors
    /// When HTTP cannot be set up, for example for want of the system's certificates.
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        lookup: Arc<dyn Lookup>,
        clock: Clock,
    ) -> Result<Self, reqwest::Error> {
        // Another component may have installed one; either will do.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let options = &endpoint.options;
        let client = Client::builder()
            .user_agent(concat!("orderwire/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            // A proxy would resolve names by itself, past the guard.
            .no_proxy()
            .dns_resolver(Arc::new(Guard { lookup, allow_private: options.allow_private }))
            .connect_timeout(CONNECT.min(options.timeout))
            .pool_max_idle_per_host(options.concurrency)
            .pool_idle_timeout(IDLE)
            .build()?;
        Ok(Self { endpoint, client, clock })
    }

    /// Posts an event; returns within the endpoint's time-out.
    pub(crate) async fn post(&self, event: &Event) -> Answer {
        let options = &self.endpoint.options;
        let (at, begun) = (self.clock.now(), Instant::now());
        let deadline = begun + options.timeout;
        let id = event.id.to_string();
        let timestamp = at.as_second();
        let body = render(event, options.format);
        let signature = self.endpoint.signer.sign(&id, timestamp, body.as_bytes());
        let request = self
            .client
            .post(self.endpoint.url.clone())
            .headers(self.endpoint.headers.clone())
            .header(CONTENT_TYPE, content_type(options.format))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .header("traceparent", traceparent(event))
            .body(body);
        let response = match tokio::time::timeout_at(deadline, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Answer::broken(why(&error), at, begun.elapsed()),
            Err(_) => {
                let error = format!("no answer within {:?}", options.timeout);
                return Answer::broken(error, at, begun.elapsed());
            }
        };
        let status = response.status();
        let pause = retry_after(response.headers(), at);
        let body = beginning(response, deadline.min(Instant::now() + BODY_WITHIN)).await;
        Answer::of_status(status, pause, at, begun.elapsed(), body)
    }
}

fn content_type(format: Format) -> &'static str {
    match format {
        Format::Cloudevents => "application/cloudevents+json",
        Format::MessageAttributes | Format::Flat => "application/json",
    }
}

/// The beginning of a body. One that is read to its end leaves its connection for the
/// next event; any other is cut off with its connection.
async fn beginning(mut response: Response, deadline: Instant) -> String {
    let mut body = Vec::new();
    while body.len() < BODY_BYTES_MAX {
        // What breaks off or takes too long said enough with its status.
        let Ok(Ok(Some(chunk))) = tokio::time::timeout_at(deadline, response.chunk()).await else { break };
        body.extend_from_slice(&chunk[..chunk.len().min(BODY_BYTES_MAX - body.len())]);
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// Why there is no answer: the first cause. The layers above it say nothing that people
/// can use, and name the URL with what may be secret in it.
fn why(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    let mut refused = None;
    while let Some(next) = cause.source() {
        refused = refused.or_else(|| next.downcast_ref::<Refused>());
        cause = next;
    }
    match refused {
        Some(refused) => format!("the address is refused: {refused}"),
        None if error.is_timeout() => "the endpoint did not take the connection in time".to_owned(),
        None if error.is_connect() => format!("the endpoint cannot be reached: {cause}"),
        None if error.source().is_some() => format!("the connection broke: {cause}"),
        None => "the request could not be sent".to_owned(),
    }
}
