//! The tour that `orderwire demo` gives of a server that runs already: sample
//! data through the queue, read back, cached, traced; an order that becomes a
//! running module. Over HTTP only, as anybody could do it.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use orderwire_api::wire::{Accepted, AckRequest, LeaseRequest, Leased, List, NewQueue, OrderInfo, Trace};
use orderwire_types::OrderState;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::args::FileFormat;
use crate::dataset::{Import, Source, Summary, import};
use crate::error::{Error, ErrorKind};
use crate::out::{count, plain};
use crate::server::{Server, address, parse};
use crate::trace::timeline;

/// The configuration of the demo: the dataset `air` and its public view.
pub const CONFIG: &str = include_str!("../../../examples/air-quality/orderwire.yaml");

/// The sample: ten stations, five days.
const MEASURES: &str = include_str!("../../../examples/air-quality/measures.csv");
const DATASET: &str = "air";
const VIEW: &str = "/api/v1/measures/air";
const QUESTION: &str = "/rest/air?select=TimeInstant,id_entity,no2&no2=gt.80&order=no2.desc&limit=3";
/// The queue that the demo consumes from, and what it takes.
const QUEUE: &str = "demo";
const TYPES: &str = "mycompany.#";
/// Who orders, and what: an alias of the configuration.
const CUSTOMER: &str = "acme";
const MODULE: &str = "small-module";
/// The most of an answer that is shown.
const EXCERPT_MAX: usize = 320;
/// How long a trace may take to be complete.
const PATIENCE: Duration = Duration::from_secs(20);
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Gives the tour: `server` is its address, `key` its admin key, `data` its
/// data folder, for what is printed at the end. Can be given again on the
/// same folder: the sample is there then and nothing is added.
///
/// # Errors
/// When the server does not do what the demo shows. A reader of `out` that
/// has gone is no error.
pub async fn tour(server: &str, key: &str, data: &Path, out: &mut impl Write) -> Result<(), Error> {
    match Box::pin(stops(server, key, data, out)).await {
        Err(error) if error.kind() == ErrorKind::Closed => Ok(()),
        outcome => outcome,
    }
}

async fn stops(url: &str, key: &str, data: &Path, out: &mut impl Write) -> Result<(), Error> {
    let base = address(url)?;
    let server = Server::with(base.clone(), Some(key), None)?;
    let anyone = Server::with(base, None, None)?;
    let url = url.trim_end_matches('/');

    say(out, &format!("Orderwire is up at {url}, with everything it keeps in {}.\n", data.display()))?;
    let source = Source::text("measures.csv", MEASURES, FileFormat::Csv);
    let file = Import {
        dataset: DATASET.parse().expect("a name"),
        source,
        yes: true,
        visible: false,
        rejects: None,
    };
    say(out, "1. Rows in: a CSV of ten stations goes through the durable queue into the table `air`.")?;
    let summary = import(&server, &file).await?;
    say(out, &imported(&summary))?;

    say(out, &format!("\n2. Read back with a key: GET {QUESTION}"))?;
    say(out, &excerpt(&server.text(server.at(QUESTION)?).await?))?;

    say(out, &format!("\n3. The view, public, grouped by station: GET {VIEW}, twice"))?;
    for _ in 0..2 {
        let begun = Instant::now();
        let answer = anyone.text(anyone.at(VIEW)?).await?;
        let took = begun.elapsed().as_secs_f64() * 1_000.0;
        say(out, &format!("   {}  ({} bytes, {took:.1} ms)", ends(&answer), count(answer.len() as u64)))?;
    }

    say(
        out,
        "\n4. An event as existing producers send it: durable in every queue that takes it, before the answer.",
    )?;
    let trace_id = event_there_and_back(&server, out).await?;
    say(out, "\n5. Where did it go?")?;
    show_trace(&server, &trace_id, |trace| trace.state != "open", out).await?;
    if !summary.trace_id.is_empty() {
        say(out, "\n6. And the file of step 1?")?;
        show_trace(&server, &summary.trace_id, |trace| trace.state != "open", out).await?;
    }

    say(out, "\n7. An order: a portal says that a customer has bought a small module.")?;
    let trace_id = order_module(&server, out).await?;
    say(out, "\n8. And the whole trace of it, from the call to the running process.")?;
    show_trace(&server, &trace_id, |trace| trace.state != "open", out).await?;

    say(out, &farewell(url, data))
}

/// Orders a module as a portal does, waits until it runs, and shows its rows.
async fn order_module(server: &Server, out: &mut impl Write) -> Result<String, Error> {
    let body = event(CUSTOMER, Some(MODULE), Uuid::new_v4());
    let request = server.request(Method::POST, &["v1", "events"], &[]);
    let request = request.header("content-type", "application/json").body(body);
    let accepted: Accepted = server.json(request).await?;
    say(out, &format!("   202: client {CUSTOMER}, product {MODULE}, trace {}", accepted.trace_id))?;
    let query = [("trace_id", accepted.trace_id.as_str())];
    let finished = |orders: &List<OrderInfo>| orders.items.iter().any(|order| !is_open(&order.state));
    let orders = until(server, &["v1", "orders"], &query, finished, "the order was not finished").await?;
    let Some(order) = orders.items.first() else { return Err(Error::failed("the order is not listed")) };
    say(out, &plain(&ended(order)))?;
    if order.state != "ready" && order.state != "unchanged" {
        return Err(Error::failed(ended(order).trim().to_owned()));
    }
    let query = [
        ("_client", "eq.acme"),
        ("select", "TimeInstant,id_entity,no2,pm2_5"),
        ("order", "TimeInstant.desc"),
        ("limit", "3"),
    ];
    let arrived = |rows: &Vec<Box<RawValue>>| rows.len() == 3;
    let rows = until(server, &["rest", DATASET], &query, arrived, "no rows of the module arrived").await?;
    say(out, "   Its rows arrive, under its customer and the key that was made for it:")?;
    for row in rows {
        say(out, &plain(&format!("   {}", row.get())))?;
    }
    Ok(accepted.trace_id)
}

fn is_open(state: &str) -> bool {
    state.parse().is_ok_and(|state: OrderState| !state.is_final())
}

fn ended(order: &OrderInfo) -> String {
    let reason = order.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
    match order.state.as_str() {
        "unchanged" => format!("   It runs already as release {}, and nothing was restarted.", order.name),
        state => format!(
            "   {state}: release {} in {}, revision {}{reason}",
            order.name,
            order.environment,
            order.revision.map_or_else(|| "-".to_owned(), |revision| revision.to_string()),
        ),
    }
}

/// Asks until the answer is as wanted.
async fn until<T: DeserializeOwned>(
    server: &Server,
    path: &[&str],
    query: &[(&str, &str)],
    wanted: impl Fn(&T) -> bool,
    otherwise: &str,
) -> Result<T, Error> {
    let begun = Instant::now();
    loop {
        let answer: T = server.get(path, query).await?;
        if wanted(&answer) {
            return Ok(answer);
        }
        if begun.elapsed() > PATIENCE {
            return Err(Error::failed(otherwise));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn imported(summary: &Summary) -> String {
    if summary.added == 0 {
        let rows = count(summary.rows);
        return format!("   All {rows} rows are there already: the same file twice adds nothing.");
    }
    format!(
        "   {} rows accepted and recorded, each once, in {:.0} ms.",
        count(summary.added),
        summary.seconds * 1_000.0
    )
}

/// Publishes an event, takes it as a consumer does, and settles it.
async fn event_there_and_back(server: &Server, out: &mut impl Write) -> Result<String, Error> {
    let new = NewQueue {
        name: QUEUE.to_owned(),
        kind: None,
        types: vec![TYPES.to_owned()],
        key: None,
        format: None,
        attempts: None,
    };
    match server.post(&["v1", "queues"], &new).await {
        Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
        _ => {}
    }
    let request = server.request(Method::POST, &["v1", "events"], &[]);
    let request =
        request.header("content-type", "application/json").body(event("default", None, Uuid::new_v4()));
    let accepted: Accepted = server.json(request).await?;
    say(out, &format!("   202: event {} in {}", accepted.event_id, accepted.queues.join(" and ")))?;
    let begun = Instant::now();
    loop {
        let request = LeaseRequest { max: 100, wait_ms: 1_000, lease_ms: 30_000 };
        let leased: Leased = parse(&server.post(&["v1", "queues", QUEUE, "lease"], &request).await?)?;
        let ours = leased.deliveries.iter().any(|delivery| delivery.event.get().contains(&accepted.event_id));
        if !leased.deliveries.is_empty() {
            let delivery_ids = leased.deliveries.into_iter().map(|delivery| delivery.delivery_id).collect();
            server.post(&["v1", "queues", QUEUE, "ack"], &AckRequest { delivery_ids }).await?;
        }
        if ours {
            break;
        }
        if begun.elapsed() > PATIENCE {
            return Err(Error::failed(format!("queue {QUEUE} did not hand out the event")));
        }
    }
    say(out, &format!("   A consumer leased it from queue {QUEUE} and acked it."))?;
    Ok(accepted.trace_id)
}

/// An event in the form of existing producers. `infra` takes its type; with a product
/// it is an order, without one it is not.
fn event(client: &str, product: Option<&str>, trace: Uuid) -> String {
    // The queue of the demo is for the event that its own consumer takes.
    let what =
        if product.is_some() { "portal.producer.event.order" } else { "mycompany.producer.event.client" };
    let product = product.map_or_else(String::new, |product| format!(r#""product":"{product}","#));
    format!(
        r#"{{"client":"{client}","environment":"Development",{product}"MessageAttributes":{{"event_type":{{"Type":"String","Value":"{what}.published"}},"published_on":"2023.01.2.23.02.642883101","trace_id":"{trace}","retrace_intent":"0"}},"Metadata":{{"host":"laptop","origing":"Cloud","publisher":"demo"}}}}"#
    )
}

fn farewell(url: &str, data: &Path) -> String {
    let key = data.join("admin.key");
    let (key, folder) = (key.display(), data.display());
    // As it was called: it need not be installed.
    let program = std::env::args().next().unwrap_or_else(|| "orderwire".to_owned());
    format!(
        "\nWhat to try next, in another terminal:\n   \
         curl -s {url}{VIEW}\n   \
         curl -s -H \"Authorization: Bearer $(cat {key})\" '{url}/rest/air?id_entity=eq.air-station-03&limit=5'\n   \
         curl -s -H \"Authorization: Bearer $(cat {key})\" -d '{{\"hello\":\"world\"}}' \
         -H 'Content-Type: application/json' {url}/v1/events/my.producer.event.greeting.published\n   \
         {program} --server {url} --data {folder} release list\n   \
         {program} --server {url} --data {folder} order create web --client {CUSTOMER} --set title=Hello --wait\n   \
         {program} --server {url} --data {folder} load single --duration 5\n\
         Ctrl-C ends."
    )
}

/// Shows a trace once it says what the demo did; after a while, as it is.
async fn show_trace(
    server: &Server,
    id: &str,
    complete: impl Fn(&Trace) -> bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    let begun = Instant::now();
    let trace = loop {
        let answer = server.get::<Trace>(&["v1", "traces", id], &[]).await;
        match answer {
            Ok(trace) if complete(&trace) || begun.elapsed() > PATIENCE => break trace,
            // A trace may be readable a moment after its event.
            Err(error) if error.kind() != ErrorKind::NotFound || begun.elapsed() > PATIENCE => {
                return Err(error);
            }
            _ => tokio::time::sleep(ASK_EVERY).await,
        }
    };
    for line in timeline(&trace).lines() {
        say(out, &format!("   {line}"))?;
    }
    Ok(())
}

/// The beginning of an answer.
fn excerpt(answer: &str) -> String {
    let shown: String = answer.chars().take(EXCERPT_MAX).collect();
    let more = if shown.len() < answer.len() { " …" } else { "" };
    let lines: Vec<String> = shown.lines().map(|line| format!("   {}", plain(line))).collect();
    format!("{}{more}", lines.join("\n"))
}

/// The beginning and the end of an answer, where the view says `"cache"`.
fn ends(answer: &str) -> String {
    const SIDE: usize = 72;
    const TAIL: usize = 24;
    let answer = answer.replace(['\n', '\r'], " ");
    let chars: Vec<char> = answer.trim_end().chars().collect();
    if chars.len() <= SIDE + TAIL {
        return plain(answer.trim_end()).into_owned();
    }
    let head: String = chars[..SIDE].iter().collect();
    let tail: String = chars[chars.len() - TAIL..].iter().collect();
    format!("{} … {}", plain(&head), plain(&tail))
}

fn say(out: &mut impl Write, text: &str) -> Result<(), Error> {
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Error::output(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_configuration_defines_what_the_tour_reads() {
        for wanted in ["  air:\n", VIEW, "read: public", "group_by: id_entity"] {
            assert!(CONFIG.contains(wanted), "{wanted}");
        }
        assert!(MEASURES.lines().count() > 1_000);
    }

    #[test]
    fn the_event_is_the_form_of_existing_producers() {
        let plain: serde_json::Value = serde_json::from_str(&event("default", None, Uuid::nil())).unwrap();
        assert!(plain.get("product").is_none(), "an event with a product is an order");
        assert!(plain["MessageAttributes"]["trace_id"].is_string());
        let order: serde_json::Value =
            serde_json::from_str(&event(CUSTOMER, Some(MODULE), Uuid::nil())).unwrap();
        assert_eq!((&order["client"], &order["product"]), (&CUSTOMER.into(), &MODULE.into()));
    }

    #[test]
    fn long_answers_show_both_ends() {
        let answer = format!("{{\"a\":\"{}\",\"cache\":false}}", "x".repeat(500));
        let shown = ends(&answer);
        assert!(shown.starts_with("{\"a\":\"xxx") && shown.ends_with("\"cache\":false}"), "{shown}");
        assert_eq!(ends("{}\n"), "{}");
    }
}
