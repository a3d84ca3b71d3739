//! `orderwire plan ORDER.json`: what an order would do.

use std::fmt::Write as _;

use orderwire_api::wire::{FieldChangeInfo, ObjectChange, OrderPlan};
use serde_json::Value;

use crate::args::Plan;
use crate::error::{Error, ErrorKind};
use crate::order::parameters;
use crate::out::{Out, plain};
use crate::server::{Server, parse};

pub(crate) async fn run(args: &Plan, server: &Server, out: Out) -> Result<(), Error> {
    let order = parameters::document(&args.order)?;
    let answer = server.post(&["v1", "orders", "plan"], &order).await?;
    let plan: OrderPlan = parse(&answer)?;
    if out.json {
        out.line(&answer)?;
    } else {
        out.bytes(shown(&plan).as_bytes())?;
    }
    // An order that is wrong in itself is an error answer; what a plan
    // refuses, what is there forbids.
    let refused = plan.outcome == "refused" || !plan.refused.is_empty();
    if refused { Err(Error::reported(ErrorKind::Conflict)) } else { Ok(()) }
}

/// A plan as people read it: `+` created, `~` changed, `-` removed, `=` kept,
/// `!` refused.
fn shown(plan: &OrderPlan) -> String {
    let OrderPlan { client, name, product, environment, namespace, target, outcome, .. } = plan;
    let head = format!("{name} of {client} ({product}, {environment}) in {namespace} on {target}: {outcome}");
    let mut text = format!("{}\n", plain(&head));
    for sentence in &plan.refused {
        line(&mut text, "! ", sentence);
    }
    text.push_str(&objects(&plan.objects));
    // Of a new release all is new: its objects say enough.
    if outcome == "update" && !plan.changes.is_empty() {
        text.push_str("content:\n");
        text.push_str(&fields(&plan.changes, "  "));
    }
    text
}

/// Objects with what happens to them.
pub(crate) fn objects(objects: &[ObjectChange]) -> String {
    let mut text = String::new();
    for object in objects {
        let ObjectChange { kind, name, effect, fields: changes } = object;
        let mark = match effect.as_str() {
            "create" => '+',
            "change" => '~',
            "remove" => '-',
            _ => '=',
        };
        line(&mut text, &format!("{mark} "), &format!("{effect} {kind} {name}"));
        text.push_str(&fields(changes, "    "));
    }
    text
}

/// Fields, each with its old and its new value.
pub(crate) fn fields(changes: &[FieldChangeInfo], indent: &str) -> String {
    let mut text = String::new();
    let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "(none)".to_owned(), Value::to_string);
    for FieldChangeInfo { field, old, new } in changes {
        line(&mut text, indent, &format!("{field}: {} → {}", value(old), value(new)));
    }
    text
}

fn line(text: &mut String, before: &str, what: &str) {
    writeln!(text, "{before}{}", plain(what)).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::server::address;
    use crate::testing;

    fn plan(outcome: &str, refused: &[&str]) -> OrderPlan {
        serde_json::from_value(json!({
            "client": "acme", "name": "roof", "product": "sensor", "environment": "dev",
            "namespace": "acme", "target": "local", "outcome": outcome, "refused": refused,
            "objects": [
                {"kind": "Process", "name": "roof", "effect": "change",
                 "fields": [{"field": "/spec/env/N", "old": "1", "new": "2\u{1b}"}, {"field": "/a", "new": 1}]},
                {"kind": "File", "name": "x", "effect": "create"},
                {"kind": "File", "name": "y", "effect": "remove"}],
            "changes": [{"field": "/parameters/n", "old": 1, "new": 2}]}))
        .unwrap()
    }

    #[test]
    fn a_plan_shows_every_object_and_field() {
        assert_eq!(
            shown(&plan("update", &["outside the namespace"])),
            "roof of acme (sensor, dev) in acme on local: update\n\
             ! outside the namespace\n~ change Process roof\n    /spec/env/N: \"1\" → \"2\\u001b\"\n    /a: (none) → 1\n\
             + create File x\n- remove File y\n\
             content:\n  /parameters/n: 1 → 2\n"
        );
    }

    #[tokio::test]
    async fn what_is_refused_decides_the_code() {
        let folder = tempfile::tempdir().unwrap();
        let order = folder.path().join("order.json");
        std::fs::write(&order, "{}").unwrap();
        for (answer, wanted) in [
            (
                testing::answer(200, "application/json", serde_json::to_vec(&plan("update", &[])).unwrap()),
                None,
            ),
            (
                testing::answer(
                    200,
                    "application/json",
                    serde_json::to_vec(&plan("refused", &["x"])).unwrap(),
                ),
                Some(ErrorKind::Conflict),
            ),
            (testing::answer(422, "text/plain", "wrong"), Some(ErrorKind::Invalid)),
        ] {
            let server = testing::serve(move |_| answer.clone()).await;
            let client = Server::with(address(&server.url).unwrap(), None, None).unwrap();
            let outcome = run(&Plan { order: order.clone() }, &client, Out { json: true }).await;
            assert_eq!(outcome.err().map(|error| error.kind()), wanted);
        }
    }
}
