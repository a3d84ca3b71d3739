//! `orderwire trace ID`: where did my event go?

use jiff::Timestamp;
use orderwire_api::wire::Trace;
use reqwest::Method;

use crate::args;
use crate::error::Error;
use crate::out::{ABSENT, Out, Table, or_dash, plain};
use crate::server::{Server, parse};

pub(crate) async fn run(args: &args::Trace, server: &Server, out: Out) -> Result<(), Error> {
    let answer = server.text(server.request(Method::GET, &["v1", "traces", &args.trace_id], &[])).await?;
    if out.json {
        return out.line(&answer);
    }
    out.bytes(timeline(&parse(&answer)?).as_bytes())
}

/// A trace as people read it: one line a step, counted from the first.
pub(crate) fn timeline(trace: &Trace) -> String {
    let moment = |at: &str| at.parse::<Timestamp>().ok();
    let first = trace.steps.first().and_then(|step| moment(&step.at));
    let mut table = Table::new(["at", "role", "step", "outcome", "queue", "attempt", "took", "detail"]);
    for step in &trace.steps {
        let offset = match (first, moment(&step.at)) {
            (Some(first), Some(at)) => offset(at.as_microsecond() - first.as_microsecond()),
            _ => step.at.clone(),
        };
        table.row([
            offset,
            step.role.clone(),
            step.step.clone(),
            step.outcome.clone(),
            or_dash(step.queue.as_deref()),
            or_dash(step.attempt),
            or_dash(step.duration_ms.map(|millis| format!("{millis:.1} ms"))),
            step.detail.clone().unwrap_or_else(|| ABSENT.to_owned()),
        ]);
    }
    let begun = trace.steps.first().map_or(ABSENT, |step| &step.at);
    let client = trace.client.as_deref().unwrap_or(ABSENT);
    let head = format!("trace {}  client {client}  state {}  begun {begun}", trace.trace_id, trace.state);
    format!("{}\n{}", plain(&head), table.render())
}

/// Microseconds since the first step, for people.
fn offset(micros: i64) -> String {
    let (sign, micros) = (if micros < 0 { "-" } else { "+" }, micros.unsigned_abs());
    match micros {
        0..10_000_000 => format!("{sign}{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{sign}{}.{:03} s", micros / 1_000_000, micros % 1_000_000 / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_a_timeline() {
        let trace: Trace = serde_json::from_str(
            r#"{"trace_id":"t-1","client":"acme","state":"done","steps":[
                {"at":"2026-11-01T00:00:00Z","role":"gateway","step":"accepted","outcome":"ok","duration_ms":1.25},
                {"at":"2026-11-01T00:00:00.0123Z","role":"queue","step":"queued","outcome":"ok","queue":"data"},
                {"at":"2026-11-01T00:01:30.5Z","role":"recorder","step":"recorded","outcome":"ok","queue":"data",
                 "attempt":2,"detail":"5 rows\u001b[2J"}]}"#,
        )
        .unwrap();
        assert_eq!(
            timeline(&trace),
            "trace t-1  client acme  state done  begun 2026-11-01T00:00:00Z\n\
             AT         ROLE      STEP      OUTCOME  QUEUE  ATTEMPT  TOOK    DETAIL\n\
             +0.0 ms    gateway   accepted  ok       -            -  1.2 ms  -\n\
             +12.3 ms   queue     queued    ok       data         -  -       -\n\
             +90.500 s  recorder  recorded  ok       data         2  -       5 rows\\u{1b}[2J\n"
        );
    }
}
