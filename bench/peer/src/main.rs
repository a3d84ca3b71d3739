//! Publishes to a broker as fast as it confirms with so many messages in flight, and
//! prints one line of JSON:
//!
//! ```text
//! orderwire-bench-peer rabbitmq|nats|redis URL SECONDS IN_FLIGHT [BYTES]
//! {"in_flight":64,"bytes":512,"messages":…,"rate":…,"p50_ms":…,"p99_ms":…}
//! ```
//!
//! One connection each, by the library that most programs in Rust use for the broker;
//! what a confirm promises is the broker's business and said in `bench/README.md`.

mod drive;
mod nats;
mod rabbitmq;
mod redis;

use std::error::Error;
use std::time::Duration;

use drive::Load;

const USAGE: &str = "usage: orderwire-bench-peer rabbitmq|nats|redis URL SECONDS IN_FLIGHT [BYTES]";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [broker, url, seconds, in_flight, rest @ ..] = words.as_slice() else { return Err(USAGE.into()) };
    let bytes = match rest {
        [] => 512,
        [bytes] => bytes.parse()?,
        _ => return Err(USAGE.into()),
    };
    let load = Load { time: Duration::from_secs(seconds.parse()?), in_flight: in_flight.parse()?, bytes };
    if load.in_flight == 0 || load.time.is_zero() {
        return Err(USAGE.into());
    }
    let measured = match broker.as_str() {
        "rabbitmq" => rabbitmq::measure(url, &load).await?,
        "nats" => nats::measure(url, &load).await?,
        "redis" => redis::measure(url, &load).await?,
        _ => return Err(USAGE.into()),
    };
    println!("{}", measured.report(&load));
    Ok(())
}
