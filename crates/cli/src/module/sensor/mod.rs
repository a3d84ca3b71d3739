//! A simulated air-quality station: measures, keeps what it measured while the
//! server is away, and posts it in order.

mod air;
mod buffer;

use std::time::Duration;

use jiff::Timestamp;
use orderwire_types::{DatasetName, TraceId};
use reqwest::{Method, header::HeaderValue};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use self::air::{Noise, Row};
use self::buffer::Buffer;
use super::{FINE, Stop};
use crate::args::Sensor;
use crate::error::{Error, ErrorKind};
use crate::server::{Server, address};

/// Rows of one post.
const BATCH_MAX: usize = 500;
/// Rows that are kept while the server is away.
const BUFFER_MAX: usize = 10_000;
/// How long one post may last.
const POST_MAX: Duration = Duration::from_secs(10);
/// How long the last rows may take once the station is told to end.
const LAST_MAX: Duration = Duration::from_secs(5);
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);

pub(super) async fn run(args: &Sensor, say: impl Fn(&Value) -> Result<(), Error>) -> Result<u8, Error> {
    let mut stop = Stop::listen()?;
    let station = Station::new(args, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
    station.run(stop.next(), &say).await?;
    Ok(FINE)
}

/// What a station is and where it posts.
struct Station {
    server: Server,
    dataset: DatasetName,
    name: String,
    interval: Duration,
    count: Option<u64>,
    traceparent: Option<HeaderValue>,
    pause_first: Duration,
    last_max: Duration,
}

impl Station {
    fn new(args: &Sensor, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let Some(url) = variable("ORDERWIRE_URL") else {
            return Err(Error::usage("ORDERWIRE_URL does not say where the server is; a release sets it"));
        };
        let base = address(&url).map_err(|error| {
            error.saying(format!(
                "ORDERWIRE_URL is {url:?}, which is no address such as http://127.0.0.1:8080"
            ))
        })?;
        let server = Server::with(base, variable("ORDERWIRE_API_KEY").as_deref(), None)?;
        let traceparent = match (variable("TRACEPARENT"), variable("ORDERWIRE_TRACE_ID")) {
            (Some(given), _) => Some(given),
            (None, Some(id)) => Some(traceparent(&TraceId::from_given(&id))),
            (None, None) => None,
        };
        let traceparent = traceparent.map(|text| {
            HeaderValue::from_str(&text).map_err(|_| Error::usage(format!("TRACEPARENT {text:?} is none")))
        });
        Ok(Self {
            server,
            dataset: args.dataset.clone(),
            name: args.station.clone(),
            interval: Duration::from_millis(args.interval_ms),
            count: args.count,
            traceparent: traceparent.transpose()?,
            pause_first: PAUSE_FIRST,
            last_max: LAST_MAX,
        })
    }

    /// Measures and posts until `stop` or the last measurement, and then until
    /// everything is posted, within a limit.
    async fn run(
        &self,
        stop: impl Future<Output = ()>,
        say: &impl Fn(&Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let buffer = Buffer::new(BUFFER_MAX);
        let post = self.post_all(&buffer, say);
        let mut post = std::pin::pin!(post);
        tokio::select! {
            posted = &mut post => return posted,
            () = self.measure(&buffer) => {}
            () = stop => {}
        }
        buffer.close();
        let left = match tokio::time::timeout(self.last_max, post).await {
            Ok(posted) => return posted,
            Err(_) => buffer.unsettled(),
        };
        say(
            &json!({ "msg": "rows lost", "rows": left, "detail": "the server did not take them before the end" }),
        )?;
        Err(Error::new(ErrorKind::Unavailable, format!("{left} rows were not posted before the end")))
    }

    /// A row every interval.
    async fn measure(&self, buffer: &Buffer<Row>) {
        let mut noise = Noise::new(&self.name);
        let mut tick = tokio::time::interval(self.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut left = self.count;
        while left != Some(0) {
            tick.tick().await;
            buffer.push(air::measure(&self.name, Timestamp::now(), &mut noise));
            left = left.map(|left| left - 1);
        }
    }

    /// Posts what is measured until the buffer is closed and empty.
    async fn post_all(
        &self,
        buffer: &Buffer<Row>,
        say: &impl Fn(&Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // Not that of the measurements: how often something is tried must not
        // change what is measured.
        let mut noise = Noise::new(&format!("{} pauses", self.name));
        // The first rows end the trace of what started this program; those after them
        // would keep it open for ever, so each post has a trace of its own.
        let mut trace = self.traceparent.as_ref();
        loop {
            let rows = buffer.take(BATCH_MAX).await;
            if rows.is_empty() {
                return Ok(());
            }
            self.post(&rows, trace.take(), &mut noise, say).await?;
            buffer.settle();
            let dropped = buffer.dropped();
            if dropped > 0 {
                let detail = format!("the oldest; {BUFFER_MAX} are kept while the server is away");
                say(&json!({ "msg": "rows dropped", "rows": dropped, "detail": detail }))?;
            }
        }
    }

    /// Posts a batch, again while the server is away or busy.
    async fn post(
        &self,
        rows: &[Row],
        trace: Option<&HeaderValue>,
        noise: &mut Noise,
        say: &impl Fn(&Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let path = ["v1", "datasets", self.dataset.as_str(), "rows"];
        // The server takes a batch once, however often it comes.
        let key = Uuid::new_v4().to_string();
        let begun = Instant::now();
        let mut tries: u32 = 0;
        loop {
            let mut request = self.server.request(Method::POST, &path, &[]).json(rows);
            request = request.header("idempotency-key", &key).timeout(POST_MAX);
            if let Some(traceparent) = trace {
                request = request.header("traceparent", traceparent);
            }
            let error = match self.server.json::<Value>(request).await {
                Ok(answer) => {
                    let mut line = json!({ "msg": "rows accepted", "rows": rows.len() });
                    line["event_id"] = answer["event_id"].clone();
                    return say(&line);
                }
                Err(error) => error,
            };
            if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Failed) {
                return say(&json!({
                    "msg": "rows refused",
                    "rows": rows.len(),
                    "status": error.problem().map(|problem| problem.status),
                    "detail": error.to_string(),
                }));
            }
            if tries == 0 {
                say(&json!({ "msg": "server away", "detail": error.to_string() }))?;
            }
            tries = tries.saturating_add(1);
            let asked = error.problem().and_then(|problem| problem.retry_after);
            let own = self.pause_first.saturating_mul(2u32.saturating_pow(tries - 1));
            let pause = asked.map_or(own, |seconds| Duration::from_secs(seconds.into())).min(PAUSE_MAX);
            tokio::time::sleep(pause.mul_f64(0.5 + noise.unit() / 2.0)).await;
            if begun.elapsed() > PAUSE_MAX && tries.is_multiple_of(16) {
                say(&json!({ "msg": "server still away", "tries": tries }))?;
            }
        }
    }
}

/// The header of a trace, with a span of this program.
fn traceparent(trace: &TraceId) -> String {
    let span = Uuid::new_v4().simple().to_string();
    format!("00-{}-{}-01", trace.w3c(), &span[..16])
}

#[cfg(test)]
mod tests;
