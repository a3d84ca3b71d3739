//! `orderwire dead …`.

mod edit;
mod replay;

use orderwire_api::wire::{DeadAction, DeadCount, DeadLetter, DeadSelector};
use reqwest::Method;

use crate::args::{Dead, DeadChoice, DeadSelect, Global};
use crate::error::Error;
use crate::out::{Out, Table, count, or_dash, plain};
use crate::server::{Server, parse};

pub(crate) async fn run(command: &Dead, global: &Global, out: Out) -> Result<(), Error> {
    match command {
        Dead::List { select, max } => {
            let selector = selector(select, global.client.as_deref());
            let query = query(&selector);
            let query: Vec<(&str, &str)> =
                query.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let server = Server::new(global)?;
            list(&server, &query, usize::try_from(*max).unwrap_or(usize::MAX), out).await
        }
        Dead::Show { id } => {
            let server = Server::new(global)?;
            let answer = server.text(server.request(Method::GET, &["v1", "dead", id], &[])).await?;
            if out.json { out.line(&answer) } else { show(&parse(&answer)?, out) }
        }
        Dead::Edit { id, file, if_match, reason } => {
            let edit = edit::Edit {
                id,
                file: file.as_deref(),
                if_match: if_match.as_deref(),
                reason: reason.clone(),
            };
            edit::edit(&Server::new(global)?, edit, out).await
        }
        Dead::Replay { choice, rate } => {
            let action = DeadAction { rate: *rate, ..action(choice, global)? };
            let server = Server::new(global)?;
            if rate.is_some() && !action.dry_run {
                return Box::pin(replay::follow(&server, &action, out)).await;
            }
            act(&server, "replay", &action, out).await
        }
        Dead::Replays => replay::list(&Server::new(global)?, out).await,
        Dead::Cancel { replay_id } => replay::cancel(&Server::new(global)?, replay_id, out).await,
        Dead::Discard { choice, reason } => {
            let action = DeadAction { reason: reason.clone(), ..action(choice, global)? };
            act(&Server::new(global)?, "discard", &action, out).await
        }
    }
}

async fn list(server: &Server, query: &[(&str, &str)], max: usize, out: Out) -> Result<(), Error> {
    let letters = server.pages(&["v1", "dead"], query, max.max(1)).await?;
    if out.json {
        return out.json(&letters);
    }
    let mut table = Table::new(["id", "queue", "type", "client", "attempts", "died", "trace", "cause"]);
    for letter in &letters.items {
        let letter: DeadLetter = parse(letter.get())?;
        table.row([
            letter.id,
            letter.queue,
            letter.event_type,
            letter.client,
            letter.attempts.to_string(),
            letter.died_at,
            letter.trace_id,
            letter.cause,
        ]);
    }
    out.table(&table)?;
    if letters.next.is_some() {
        eprintln!("there are more; list them with a larger --max");
    }
    Ok(())
}

fn show(letter: &DeadLetter, out: Out) -> Result<(), Error> {
    let mut table = Table::new(["what", "value"]);
    table.row(["id".into(), letter.id.clone()]);
    table.row(["queue".into(), letter.queue.clone()]);
    table.row(["type".into(), letter.event_type.clone()]);
    table.row(["client".into(), letter.client.clone()]);
    table.row(["event".into(), letter.event_id.clone()]);
    table.row(["trace".into(), letter.trace_id.clone()]);
    table.row(["attempts".into(), letter.attempts.to_string()]);
    table.row(["died".into(), letter.died_at.clone()]);
    table.row(["cause".into(), letter.cause.clone()]);
    table.row(["etag".into(), or_dash(letter.etag.clone())]);
    out.table(&table)?;
    match &letter.event {
        Some(event) => out.line(&plain(event.get())),
        None => Ok(()),
    }
}

async fn act(server: &Server, what: &str, action: &DeadAction, out: Out) -> Result<(), Error> {
    let answer = server.post(&["v1", "dead", what], action).await?;
    if out.json {
        return out.line(&answer);
    }
    let done: DeadCount = parse(&answer)?;
    let number = count(done.count);
    out.line(&match (what, done.dry_run) {
        (_, true) => format!("{number} dead letters match; nothing was changed (--dry-run)"),
        ("replay", false) => format!("{number} dead letters are back in their queues"),
        (_, false) => format!("{number} dead letters are gone"),
    })
}

/// What replay and discard are asked to do. Nothing selected is nothing
/// meant: it must be said that all are.
fn action(choice: &DeadChoice, global: &Global) -> Result<DeadAction, Error> {
    let DeadChoice { ids, select, all, dry_run } = choice;
    let selector = selector(select, global.client.as_deref());
    let flags = selector != DeadSelector::default();
    let (ids, filter) = match (ids.is_empty(), flags, *all) {
        (false, false, false) => (Some(ids.to_vec()), None),
        (true, true, false) => (None, Some(selector)),
        (true, false, true) => (None, Some(DeadSelector::default())),
        (true, false, false) => {
            return Err(Error::usage(
                "which dead letters? name ids, select by --queue, --type, --client, --cause, --since or \
                 --until, or say --all",
            ));
        }
        _ => return Err(Error::usage("ids, a selection by flags and --all exclude each other; keep one")),
    };
    Ok(DeadAction { ids, filter, dry_run: *dry_run, ..DeadAction::default() })
}

fn selector(select: &DeadSelect, client: Option<&str>) -> DeadSelector {
    DeadSelector {
        queue: select.queue.clone(),
        event_type: select.event_type.clone(),
        client: client.map(str::to_owned),
        cause: select.cause.clone(),
        since: select.since.clone(),
        until: select.until.clone(),
    }
}

fn query(selector: &DeadSelector) -> Vec<(&'static str, String)> {
    let DeadSelector { queue, event_type, client, cause, since, until } = selector.clone();
    [
        ("queue", queue),
        ("type", event_type),
        ("client", client),
        ("cause", cause),
        ("since", since),
        ("until", until),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| (name, value)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Output;
    use crate::error::ErrorKind;

    fn global(client: Option<&str>) -> Global {
        let server = "http://127.0.0.1:1".to_owned();
        Global { server, key: None, data: None, output: Output::Table, client: client.map(str::to_owned) }
    }

    #[test]
    fn nothing_selected_is_refused_and_all_must_be_said() {
        let of = |ids: &[String], client, all| {
            let choice = DeadChoice { ids: ids.to_vec(), all, ..DeadChoice::default() };
            action(&choice, &global(client))
        };
        assert_eq!(of(&[], None, false).unwrap_err().kind(), ErrorKind::Usage);
        assert_eq!(of(&["x".into()], None, true).unwrap_err().kind(), ErrorKind::Usage);
        assert_eq!(of(&["x".into()], Some("acme"), false).unwrap_err().kind(), ErrorKind::Usage);
        let all = of(&[], None, true).unwrap();
        assert_eq!((all.ids, all.filter), (None, Some(DeadSelector::default())));
        let one = of(&[], Some("acme"), false).unwrap();
        assert_eq!(one.filter.unwrap().client.as_deref(), Some("acme"));
    }
}
