//! `orderwire trace ID`: where did my event go? `orderwire lineage`: where does my resource come from?

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use orderwire_api::wire::{LineageGraph, LineageLink, LineageNode, Trace};
use reqwest::Method;

use crate::args;
use crate::error::Error;
use crate::out::{ABSENT, Out, Table, or_dash, plain};
use crate::server::{Server, parse};

pub(crate) async fn run(args: &args::Trace, server: &Server, out: Out) -> Result<(), Error> {
    if args.lineage {
        let path = ["v1", "traces", &args.trace_id, "lineage"];
        let answer = server.text(server.request(Method::GET, &path, &[])).await?;
        return show(&answer, &format!("trace {}", args.trace_id), out);
    }
    let answer = server.text(server.request(Method::GET, &["v1", "traces", &args.trace_id], &[])).await?;
    if out.json {
        return out.line(&answer);
    }
    out.bytes(timeline(&parse(&answer)?).as_bytes())
}

pub(crate) async fn run_lineage(args: &args::Lineage, server: &Server, out: Out) -> Result<(), Error> {
    let given = [("release", &args.release), ("resource", &args.resource), ("kind", &args.kind)];
    let query: Vec<(&str, &str)> =
        given.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let answer = server.text(server.request(Method::GET, &["v1", "lineage"], &query)).await?;
    let what = match (&args.release, &args.resource) {
        (Some(release), _) => format!("release {release}"),
        (None, resource) => format!("resource {}", or_dash(resource.as_deref())),
    };
    show(&answer, &what, out)
}

fn show(answer: &str, what: &str, out: Out) -> Result<(), Error> {
    if out.json { out.line(answer) } else { out.bytes(lineage(what, &parse(answer)?).as_bytes()) }
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

/// A lineage as people read it: from what was first to what came of it, a level deeper each time.
/// What was shown before is only named, so that circles end.
fn lineage(what: &str, graph: &LineageGraph) -> String {
    let nodes: HashMap<&str, &LineageNode> =
        graph.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let mut next: HashMap<&str, Vec<&LineageLink>> = HashMap::new();
    let mut caused: HashSet<&str> = HashSet::new();
    for link in &graph.links {
        next.entry(&link.from).or_default().push(link);
        if link.from != link.to {
            caused.insert(&link.to);
        }
    }
    let mut text = format!("lineage of {}\n", plain(what));
    let mut shown: HashSet<&str> = HashSet::new();
    // What nothing led to first; then what only circles lead to.
    let begins = graph.nodes.iter().filter(|node| !caused.contains(node.id.as_str()));
    for root in begins.chain(&graph.nodes) {
        let mut stack: Vec<(usize, &str, Option<&str>)> = vec![(0, &root.id, None)];
        if shown.contains(root.id.as_str()) {
            continue;
        }
        while let Some((level, id, what)) = stack.pop() {
            let again = !shown.insert(id);
            let line = match nodes.get(id) {
                Some(node) => described(node, what, again),
                None => id.to_owned(),
            };
            text.push_str(&"  ".repeat(level.min(LEVELS_SHOWN)));
            text.push_str(&plain(&line));
            text.push('\n');
            if !again {
                let links = next.get(id).into_iter().flatten().rev();
                stack.extend(links.map(|link| (level + 1, link.to.as_str(), Some(link.what.as_str()))));
            }
        }
    }
    if graph.cut {
        text.push_str("there is more than is shown here\n");
    }
    text
}

/// Deeper levels stand under each other.
const LEVELS_SHOWN: usize = 40;

fn described(node: &LineageNode, what: Option<&str>, again: bool) -> String {
    let mut line = what.map_or_else(String::new, |what| format!("{what}: "));
    line.push_str(&node.id);
    for (word, value) in [("", &node.name), ("client ", &node.client), ("state ", &node.state)] {
        if let Some(value) = value.as_ref().filter(|_| !again) {
            line.push_str(&format!("  {word}{value}"));
        }
    }
    if again {
        line.push_str("  (see above)");
    }
    line
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
    fn a_lineage_is_a_tree_and_circles_end() {
        let graph: LineageGraph = serde_json::from_str(
            r#"{"trace_id":"t-1","cut":true,"nodes":[
                {"id":"event/1","kind":"event","name":"a.b","client":"acme"},
                {"id":"event/2","kind":"event","name":"c\u001b[2J"},{"id":"event/3","kind":"event"},
                {"id":"event/4","kind":"event"}],"links":[
                {"from":"event/1","to":"event/2","what":"caused, rule hot"},
                {"from":"event/2","to":"event/3","what":"caused, x"},
                {"from":"event/3","to":"event/2","what":"caused, y"},
                {"from":"event/4","to":"event/4","what":"caused, z"}]}"#,
        )
        .unwrap();
        assert_eq!(
            lineage("trace t-1", &graph),
            "lineage of trace t-1\n\
             event/1  a.b  client acme\n  \
               caused, rule hot: event/2  c\\u{1b}[2J\n    \
                 caused, x: event/3\n      \
                   caused, y: event/2  (see above)\n\
             event/4\n  \
               caused, z: event/4  (see above)\n\
             there is more than is shown here\n"
        );
    }

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
