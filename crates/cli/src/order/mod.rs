//! `orderwire order …`.

pub(crate) mod parameters;
mod sse;
pub(crate) mod watch;

use orderwire_api::wire::{List, NewOrder, OrderAccepted, OrderInfo, OrderStep};
use reqwest::Method;
use serde_json::{Value, json};

use crate::args::{Apply, Global, Named, Order, OrderFilter, Wait};
use crate::error::Error;
use crate::out::{Out, Table, or_dash, plain};
use crate::release;
use crate::server::{Server, parse};

pub(crate) async fn run(command: &Order, global: &Global, out: Out) -> Result<(), Error> {
    let order = |args: &Apply, action| wanted(args, global.client.as_deref(), action);
    match command {
        Order::Create(args) => place(args, order(args, Some("create"))?, global, out).await,
        Order::Update(args) => place(args, order(args, Some("update"))?, global, out).await,
        Order::Apply(args) => place(args, order(args, None)?, global, out).await,
        Order::Remove(args) => release::remove(&args.named, args.wait, &Server::new(global)?, out).await,
        Order::Cancel { order_id, wait } => cancel(order_id, *wait, &Server::new(global)?, out).await,
        Order::Status { order_id } => status(order_id, &Server::new(global)?, out).await,
        Order::Watch { order_id } => {
            let server = Server::new(global)?;
            watch::settle(watch::live(&server, order_id, out).await?, watch::Hope::Done)
        }
        Order::List(filter) => list(filter, &Server::new(global)?, out).await,
    }
}

/// The order that the flags or the file say.
fn wanted(args: &Apply, client: Option<&str>, action: Option<&str>) -> Result<Value, Error> {
    if let Some(path) = &args.file {
        let mut order = parameters::document(path)?;
        let Some(fields) = order.as_object_mut() else {
            return Err(Error::invalid(format!("{} is no JSON object", path.display())));
        };
        let given = [("action", action), ("client", client), ("trace_id", args.trace_id.as_deref())];
        for (field, value) in given {
            let Some(value) = value else { continue };
            match fields.insert(field.to_owned(), json!(value)) {
                Some(Value::String(old)) if old != value => {
                    return Err(Error::usage(format!(
                        "the order in {} says {field} {old:?}, the command line {value:?}; say one",
                        path.display()
                    )));
                }
                _ => {}
            }
        }
        return Ok(order);
    }
    let placement = args.placement.clone();
    let order = NewOrder {
        client: client.map(str::to_owned),
        product: args.product.clone(),
        name: placement.name,
        environment: placement.environment,
        archtype: placement.archtype,
        hardware: placement.hardware,
        namespace: placement.namespace,
        parameters: parameters::read(&args.settings)?,
        action: action.map(str::to_owned),
        trace_id: args.trace_id.clone(),
    };
    Ok(serde_json::to_value(order).expect("an order is serialisable"))
}

async fn place(args: &Apply, order: Value, global: &Global, out: Out) -> Result<(), Error> {
    let server = Server::new(global)?;
    let mut request = server.request(Method::POST, &["v1", "orders"], &[]).json(&order);
    if let Some(key) = &args.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let answer = server.text(request).await?;
    accepted(&server, &answer, args.wait, watch::Hope::Done, out).await
}

async fn cancel(order_id: &str, wait: Wait, server: &Server, out: Out) -> Result<(), Error> {
    let path = ["v1", "orders", order_id, "cancel"];
    let answer = server.text(server.request(Method::POST, &path, &[])).await?;
    if wait.watch || wait.wait {
        return follow(server, order_id, wait, watch::Hope::Cancelled, out).await;
    }
    if out.json {
        return out.line(&answer);
    }
    let order: OrderInfo = parse(&answer)?;
    if order.state == "cancelled" {
        return out.line(&plain(&format!("order {order_id} is cancelled")));
    }
    out.line(&plain(&format!("order {order_id} is being cancelled; follow it with `orderwire order watch`")))
}

/// Says what was accepted, and follows it if that was asked for.
pub(crate) async fn accepted(
    server: &Server,
    answer: &str,
    wait: Wait,
    hope: watch::Hope,
    out: Out,
) -> Result<(), Error> {
    let order: OrderAccepted = parse(answer)?;
    if wait.watch || wait.wait {
        if !out.json {
            out.line(&plain(&format!("order {} is recorded, trace {}", order.order_id, order.trace_id)))?;
        }
        return follow(server, &order.order_id, wait, hope, out).await;
    }
    if out.json {
        return out.line(answer);
    }
    out.line(&plain(&format!("order {} is {}", order.order_id, order.state)))?;
    out.line(&plain(&format!("trace {}", order.trace_id)))
}

async fn follow(
    server: &Server,
    order_id: &str,
    wait: Wait,
    hope: watch::Hope,
    out: Out,
) -> Result<(), Error> {
    if wait.watch {
        return watch::settle(watch::live(server, order_id, out).await?, hope);
    }
    let order = watch::quiet(server, order_id).await?;
    if out.json {
        out.json(&order)?;
    } else {
        out.bytes(ending(&order).as_bytes())?;
    }
    watch::settle(order, hope)
}

/// How an order ended, in a sentence, and what it removed.
fn ending(order: &OrderInfo) -> String {
    let revision = order.revision.map_or_else(String::new, |number| format!(", revision {number}"));
    let mut text = plain(&format!("{} of {} is {}{revision}", order.name, order.client, order.state))
        .replace("rolled_back", "rolled back");
    text.push('\n');
    for removed in &order.removed {
        text.push_str(&plain(&format!("  removed {removed}")));
        text.push('\n');
    }
    text
}

async fn status(order_id: &str, server: &Server, out: Out) -> Result<(), Error> {
    let answer = server.text(server.request(Method::GET, &["v1", "orders", order_id], &[])).await?;
    if out.json {
        return out.line(&answer);
    }
    let steps = server.all(&["v1", "orders", order_id, "steps"], &[]).await?;
    let steps: Result<Vec<OrderStep>, Error> = steps.items.iter().map(|step| parse(step.get())).collect();
    out.bytes(shown(&parse(&answer)?, &steps?).as_bytes())
}

fn shown(order: &OrderInfo, steps: &[OrderStep]) -> String {
    let mut table = Table::new(["what", "value"]);
    let OrderInfo { order_id, trace_id, client, name, product, environment, namespace, target, .. } = order;
    for (what, value) in [
        ("order", order_id),
        ("state", &order.state),
        ("action", &order.action),
        ("client", client),
        ("release", name),
        ("product", product),
        ("environment", environment),
        ("namespace", namespace),
        ("target", target),
        ("trace", trace_id),
        ("created", &order.created_at),
        ("changed", &order.updated_at),
    ] {
        table.row([what.to_owned(), value.clone()]);
    }
    let optional = [
        ("archtype", order.archtype.clone()),
        ("hardware", order.hardware.clone()),
        ("revision", order.revision.map(|number| number.to_string())),
        ("reason", order.reason.clone()),
        ("cancel", order.cancel_requested.then(|| "requested".to_owned())),
        ("removed", (!order.removed.is_empty()).then(|| order.removed.join(", "))),
    ];
    for (what, value) in optional {
        if let Some(value) = value {
            table.row([what.to_owned(), value]);
        }
    }
    table.row(["parameters".to_owned(), order.parameters.get().to_owned()]);
    let mut text = table.render();
    if !steps.is_empty() {
        let mut table = Table::new(["at", "step", "outcome", "detail"]);
        for step in steps {
            let OrderStep { at, step, outcome, detail, .. } = step.clone();
            table.row([watch::time(&at), step, outcome, or_dash(detail)]);
        }
        text.push('\n');
        text.push_str(&table.render());
    }
    text
}

async fn list(filter: &OrderFilter, server: &Server, out: Out) -> Result<(), Error> {
    let named =
        filter.release.clone().map(|release| Named { release, environment: filter.environment.clone() });
    let release = match &named {
        Some(named) => Some(release::find(named, server).await?),
        None => None,
    };
    let query = [
        ("trace_id", &filter.trace_id),
        ("state", &filter.state),
        ("product", &filter.product),
        ("environment", &filter.environment),
        ("release", &release),
    ];
    let query: Vec<(&str, &str)> =
        query.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
    let max = usize::try_from(filter.max.max(1)).unwrap_or(usize::MAX);
    let orders: List<_> = server.pages(&["v1", "orders"], &query, max).await?;
    if out.json {
        return out.json(&orders);
    }
    let mut table = Table::new([
        "order",
        "client",
        "release",
        "product",
        "environment",
        "action",
        "state",
        "changed",
        "reason",
    ]);
    for order in &orders.items {
        let order: OrderInfo = parse(order.get())?;
        table.row([
            order.order_id,
            order.client,
            order.name,
            order.product,
            order.environment,
            order.action,
            order.state,
            order.updated_at,
            or_dash(order.reason),
        ]);
    }
    out.table(&table)?;
    if orders.next.is_some() {
        eprintln!("there are more; list them with a larger --max");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};
    use crate::error::ErrorKind;

    fn order(args: &[&str]) -> Result<Value, Error> {
        let cli = Cli::try_parse_from([&["orderwire", "order"], args].concat()).unwrap();
        let client = cli.global.client.as_deref();
        match &cli.command {
            Command::Order(Order::Create(args)) => wanted(args, client, Some("create")),
            Command::Order(Order::Apply(args)) => wanted(args, client, None),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_an_order() {
        let args = ["create", "sensor", "--client", "acme", "--name", "roof", "-e", "dev", "--set", "n=5"];
        let wanted = json!({"client": "acme", "product": "sensor", "name": "roof", "environment": "dev",
            "parameters": {"n": 5}, "action": "create"});
        assert_eq!(order(&args).unwrap(), wanted);
        assert_eq!(order(&["apply", "web"]).unwrap(), json!({"product": "web"}));
    }

    #[test]
    fn a_file_is_the_order_and_does_not_contradict_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("order.json");
        let file = path.to_str().unwrap();
        std::fs::write(&path, r#"{"client":"acme","product":"web"}"#).unwrap();
        let wanted = json!({"client": "acme", "product": "web", "action": "create"});
        assert_eq!(order(&["create", "--file", file]).unwrap(), wanted);
        let error = order(&["create", "--file", file, "--client", "other"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        std::fs::write(&path, "[]").unwrap();
        assert_eq!(order(&["create", "--file", file]).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn an_order_names_something_and_a_file_stands_alone() {
        for wrong in [
            vec!["create"],
            vec!["create", "web", "--file", "x"],
            vec!["create", "--file", "x", "--set", "a=1"],
            vec!["create", "web", "--wait", "--watch"],
        ] {
            assert!(
                Cli::try_parse_from([vec!["orderwire", "order"], wrong.clone()].concat()).is_err(),
                "{wrong:?}"
            );
        }
        assert!(Cli::try_parse_from(["orderwire", "order", "update", "--name", "roof"]).is_ok());
    }

    #[test]
    fn an_order_is_shown_with_its_steps() {
        let step = OrderStep {
            n: 1,
            at: "2026-11-01T10:00:00.1234Z".into(),
            step: "apply".into(),
            outcome: "failed".into(),
            detail: Some("port 80 is taken\u{1b}[2J".into()),
        };
        let text = shown(&watch::tests::info("failed"), &[step]);
        assert!(text.contains("state        failed\n"), "{text}");
        assert!(
            text.ends_with(
                "AT            STEP   OUTCOME  DETAIL\n\
                 10:00:00.123  apply  failed   port 80 is taken\\u{1b}[2J\n"
            ),
            "{text}"
        );
    }
}
