//! `orderwire forward …`.

use orderwire_api::wire::{ForwardDelivery, ForwardInfo, ForwardTested};
use reqwest::Method;

use crate::args::Forward;
use crate::error::{Error, ErrorKind};
use crate::out::{ABSENT, Out, Table, count, or_dash, plain};
use crate::server::{Server, parse};

pub(crate) async fn run(command: &Forward, server: &Server, out: Out) -> Result<(), Error> {
    match command {
        Forward::List => list(server, out).await,
        Forward::Log { name, outcome, event, max } => {
            let mut query = Vec::new();
            if let Some(outcome) = outcome {
                query.push(("outcome", outcome.as_str()));
            }
            if let Some(event) = event {
                query.push(("event_id", event.as_str()));
            }
            log(server, name, &query, usize::try_from(*max).unwrap_or(usize::MAX), out).await
        }
        Forward::Test { name } => test(server, name, out).await,
    }
}

async fn list(server: &Server, out: Out) -> Result<(), Error> {
    let forwards = server.list(&["v1", "forwards"]).await?;
    if out.json {
        return out.json(&forwards);
    }
    let mut table = Table::new([
        "name",
        "url",
        "types",
        "clients",
        "breaker",
        "delivered",
        "failed",
        "waiting",
        "dead",
        "last error",
    ]);
    for forward in &forwards.items {
        let forward: ForwardInfo = parse(forward.get())?;
        let breaker = match &forward.next_try_at {
            Some(at) => format!("{} until {at}", forward.breaker),
            None => forward.breaker,
        };
        table.row([
            forward.name,
            forward.url,
            forward.types.join(" "),
            forward.clients.map_or_else(|| "all".to_owned(), |clients| clients.join(" ")),
            breaker,
            count(forward.delivered),
            count(forward.failed),
            count(forward.waiting),
            count(forward.dead),
            or_dash(forward.last_error),
        ]);
    }
    out.table(&table)
}

async fn log(server: &Server, name: &str, query: &[(&str, &str)], max: usize, out: Out) -> Result<(), Error> {
    let attempts = server.pages(&["v1", "forwards", name, "deliveries"], query, max.max(1)).await?;
    if out.json {
        return out.json(&attempts);
    }
    let mut table =
        Table::new(["at", "event", "type", "client", "attempt", "outcome", "status", "ms", "detail"]);
    for attempt in &attempts.items {
        let attempt: ForwardDelivery = parse(attempt.get())?;
        table.row([
            attempt.at,
            attempt.event_id,
            attempt.event_type,
            attempt.client,
            attempt.attempt.to_string(),
            attempt.outcome,
            or_dash(attempt.status),
            format!("{:.1}", attempt.duration_ms),
            attempt.detail.unwrap_or_else(|| ABSENT.to_owned()),
        ]);
    }
    out.table(&table)?;
    if attempts.next.is_some() {
        eprintln!("there are more; list them with a larger --max");
    }
    Ok(())
}

async fn test(server: &Server, name: &str, out: Out) -> Result<(), Error> {
    let answer = server.text(server.request(Method::POST, &["v1", "forwards", name, "test"], &[])).await?;
    let tested: ForwardTested = parse(&answer)?;
    if out.json {
        out.line(&answer)?;
    } else {
        let mut table = Table::new(["what", "value"]);
        table.row(["url".into(), tested.url.clone()]);
        table.row(["webhook-id".into(), tested.event_id.clone()]);
        table.row(["status".into(), or_dash(tested.status)]);
        table.row(["time".into(), format!("{:.1} ms", tested.duration_ms)]);
        out.table(&table)?;
        if !tested.body.is_empty() {
            out.line(&plain(&tested.body))?;
        }
    }
    if tested.outcome == "delivered" {
        return Ok(());
    }
    let why = tested.error.unwrap_or_else(|| "the endpoint did not take it".to_owned());
    Err(Error::new(ErrorKind::Failed, format!("the sample event was not delivered: {}", plain(&why))))
}
