//! `orderwire load`: puts load on a server and measures it.
//!
//! Closed loop: every connection asks again as soon as it is answered. With
//! `--rate` requests are due at fixed moments whatever the server does, and
//! latency counts from when a request was due: a server that stalls cannot
//! hide what it kept waiting (no coordinated omission).
//!
//! One task and one keep-alive connection each, straight on hyper: the
//! generator shares its machine with what it measures.

mod drive;
mod http;
mod report;
mod scenario;

use crate::args::{Global, Load};
use crate::error::{Error, ErrorKind};
use crate::out::Out;
use crate::server::{Server, address};

/// Bounds of the flags: what is beyond measures the generator.
const CONNECTIONS_MAX: usize = 10_000;
const SECONDS_MAX: u64 = 86_400;
const RATE_MAX: f64 = 1_000_000.0;
const PAYLOAD_MAX: usize = 8 << 20;
const BATCH_MAX: usize = 10_000;
const CLIENTS_MAX: usize = 1_000_000;

pub(crate) async fn run(args: &Load, global: &Global, out: Out) -> Result<(), Error> {
    check(args)?;
    let server = match Server::new(global) {
        // A public view needs no key.
        Err(error)
            if error.kind() == ErrorKind::NotAllowed && args.scenario == crate::args::Scenario::Read =>
        {
            Server::with(address(&global.server)?, None, global.client.as_deref())?
        }
        server => server?,
    };
    let scenario = scenario::Plan::prepare(args, &server, global.client.as_deref()).await?;
    let measured = drive::drive(args, &server, scenario).await?;
    let report = report::Report::new(args, &measured);
    if out.json {
        out.json(&report)?;
    } else {
        out.bytes(report.table().as_bytes())?;
    }
    if report.requests == 0 {
        return Err(Error::failed(match measured.last_error {
            Some(error) => format!("no request succeeded; the last failed so: {error}"),
            None => "no request was made; is the queue empty, or the time too short?".to_owned(),
        }));
    }
    Ok(())
}

fn check(args: &Load) -> Result<(), Error> {
    let bounded = |name: &str, number: usize, max: usize| {
        if (1..=max).contains(&number) {
            Ok(())
        } else {
            Err(Error::usage(format!("--{name} is from 1 to {max}")))
        }
    };
    bounded("connections", args.connections, CONNECTIONS_MAX)?;
    bounded("payload", args.payload, PAYLOAD_MAX)?;
    bounded("batch", args.batch, BATCH_MAX)?;
    bounded("clients", args.clients, CLIENTS_MAX)?;
    if !(1..=SECONDS_MAX).contains(&args.duration) || args.warm_up > SECONDS_MAX {
        return Err(Error::usage(format!("--duration and --warm-up end at {SECONDS_MAX} seconds")));
    }
    match args.rate {
        Some(rate) if !(rate > 0.0 && rate <= RATE_MAX) => {
            Err(Error::usage(format!("--rate is above 0 and at most {RATE_MAX} requests a second")))
        }
        _ => Ok(()),
    }
}
