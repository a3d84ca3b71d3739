//! `orderwire release …`.

use orderwire_api::wire::{ReleaseDrift, ReleaseInfo, RevisionDiff, RevisionInfo, RollbackRequest};
use reqwest::Method;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::args::{Named, Release, ReleaseFilter, Wait};
use crate::error::{Error, ErrorKind};
use crate::order::accepted;
use crate::order::watch::Hope;
use crate::out::{Out, Table, or_dash, plain};
use crate::plan;
use crate::server::{Server, parse};

pub(crate) async fn run(command: &Release, server: &Server, out: Out) -> Result<(), Error> {
    match command {
        Release::List(filter) => list(filter, server, out).await,
        Release::Show(named) => {
            let id = find(named, server).await?;
            let answer = server.text(server.request(Method::GET, &path(&id), &[])).await?;
            if out.json { out.line(&answer) } else { out.bytes(shown(&parse(&answer)?).as_bytes()) }
        }
        Release::History { named, revision } => history(named, *revision, server, out).await,
        Release::Diff { named, from, to } => diff(named, *from, *to, server, out).await,
        Release::Rollback { named, revision, wait } => {
            let id = find(named, server).await?;
            let body = RollbackRequest { revision: *revision };
            let answer = server.post(&["v1", "releases", &id, "rollback"], &body).await?;
            accepted(server, &answer, *wait, Hope::Done, out).await
        }
        Release::Drift(named) => drift(named, server, out).await,
        Release::Remove { named, wait } => remove(named, *wait, server, out).await,
    }
}

fn path(id: &str) -> [&str; 3] {
    ["v1", "releases", id]
}

/// The id of a release that is named by its id or its name.
pub(crate) async fn find(named: &Named, server: &Server) -> Result<String, Error> {
    let Named { release, environment } = named;
    if Uuid::try_parse(release).is_ok() {
        return Ok(release.clone());
    }
    let mut query = vec![("name", release.as_str())];
    query.extend(environment.as_deref().map(|environment| ("environment", environment)));
    let found = server.all(&["v1", "releases"], &query).await?;
    let found: Result<Vec<ReleaseInfo>, Error> = found.items.iter().map(|item| parse(item.get())).collect();
    one_of(found?, named)
}

fn one_of(mut found: Vec<ReleaseInfo>, named: &Named) -> Result<String, Error> {
    /// How many candidates are shown.
    const SHOWN_MAX: usize = 10;
    let name = &named.release;
    if found.len() > 1 {
        let candidate = |release: &ReleaseInfo| {
            let ReleaseInfo { release_id, client, environment, .. } = release;
            format!("{release_id} (client {client}, environment {environment})")
        };
        let candidates: Vec<String> = found.iter().take(SHOWN_MAX).map(candidate).collect();
        let more = found.len().saturating_sub(SHOWN_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return Err(Error::usage(format!(
            "{name} names {} releases; say --client and --environment, or an id: {}{more}",
            found.len(),
            candidates.join(", ")
        )));
    }
    match found.pop() {
        Some(release) => Ok(release.release_id),
        None => Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "there is no release {name}; `orderwire release list` shows those there are (--removed: and were)"
            ),
        )),
    }
}

async fn list(filter: &ReleaseFilter, server: &Server, out: Out) -> Result<(), Error> {
    let removed = filter.removed.then(|| "true".to_owned());
    let query = [
        ("name", &filter.name),
        ("environment", &filter.environment),
        ("product", &filter.product),
        ("target", &filter.target),
        ("removed", &removed),
    ];
    let query: Vec<(&str, &str)> =
        query.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
    let mut releases = server.all(&["v1", "releases"], &query).await?;
    let max = usize::try_from(filter.max.max(1)).unwrap_or(usize::MAX);
    let more = releases.items.len() > max;
    releases.items.truncate(max);
    if out.json {
        return out.json(&releases);
    }
    let mut table = Table::new([
        "release",
        "client",
        "name",
        "product",
        "environment",
        "target",
        "state",
        "revision",
        "changed",
    ]);
    for release in &releases.items {
        let release: ReleaseInfo = parse(release.get())?;
        table.row([
            release.release_id,
            release.client,
            release.name,
            release.product,
            release.environment,
            release.target,
            release.state,
            or_dash(release.revision),
            release.updated_at,
        ]);
    }
    out.table(&table)?;
    if more {
        eprintln!("there are more; list them with a larger --max");
    }
    Ok(())
}

fn shown(release: &ReleaseInfo) -> String {
    let mut table = Table::new(["what", "value"]);
    let applied = release.applied_revision.filter(|applied| Some(*applied) != release.revision);
    for (what, value) in [
        ("release", Some(release.release_id.clone())),
        ("state", Some(release.state.clone())),
        ("reason", release.reason.clone()),
        ("client", Some(release.client.clone())),
        ("name", Some(release.name.clone())),
        ("product", Some(release.product.clone())),
        ("environment", Some(release.environment.clone())),
        ("archtype", release.archtype.clone()),
        ("hardware", release.hardware.clone()),
        ("namespace", Some(release.namespace.clone())),
        ("target", Some(release.target.clone())),
        ("revision", release.revision.map(|number| number.to_string())),
        ("applied", applied.map(|number| number.to_string())),
        ("order", Some(release.order_id.clone())),
        ("trace", Some(release.trace_id.clone())),
        ("created", Some(release.created_at.clone())),
        ("changed", Some(release.updated_at.clone())),
    ] {
        if let Some(value) = value {
            table.row([what.to_owned(), value]);
        }
    }
    let mut text = table.render();
    if !release.openings.is_empty() {
        let mut table = Table::new(["opening", "url"]);
        for opening in release.openings.clone() {
            table.row([opening.name, opening.url]);
        }
        text.push('\n');
        text.push_str(&table.render());
    }
    if !release.resources.is_empty() {
        let mut table = Table::new(["kind", "name", "state", "endpoint", "reason"]);
        for resource in release.resources.clone() {
            let endpoint = or_dash(resource.endpoint);
            table.row([resource.kind, resource.name, resource.state, endpoint, or_dash(resource.reason)]);
        }
        text.push('\n');
        text.push_str(&table.render());
    }
    text
}

async fn history(named: &Named, revision: Option<u64>, server: &Server, out: Out) -> Result<(), Error> {
    let id = find(named, server).await?;
    if let Some(number) = revision {
        let number = number.to_string();
        let path = ["v1", "releases", &id, "revisions", &number];
        let answer = server.text(server.request(Method::GET, &path, &[])).await?;
        if out.json {
            return out.line(&answer);
        }
        let revision: RevisionInfo = parse(&answer)?;
        let content = revision.content.as_deref().map_or("{}", RawValue::get);
        let content: serde_json::Value = parse(content)?;
        let pretty = serde_json::to_string_pretty(&content).expect("what was read can be written");
        // Line by line: the content is what others wrote.
        return pretty.lines().try_for_each(|line| out.line(&plain(line)));
    }
    let revisions = server.all(&["v1", "releases", &id, "history"], &[]).await?;
    if out.json {
        return out.json(&revisions);
    }
    let mut table = Table::new(["revision", "current", "made", "ready", "order", "hash"]);
    for revision in &revisions.items {
        let revision: RevisionInfo = parse(revision.get())?;
        table.row([
            revision.revision.to_string(),
            if revision.current { "yes".into() } else { crate::out::ABSENT.into() },
            revision.created_at,
            or_dash(revision.ready_at),
            revision.order_id,
            revision.hash.chars().take(12).collect(),
        ]);
    }
    out.table(&table)
}

async fn diff(
    named: &Named,
    from: Option<u64>,
    to: Option<u64>,
    server: &Server,
    out: Out,
) -> Result<(), Error> {
    let id = find(named, server).await?;
    let (from, to) = (from.map(|number| number.to_string()), to.map(|number| number.to_string()));
    let query = [("from", &from), ("to", &to)];
    let query: Vec<(&str, &str)> =
        query.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
    let answer = server.text(server.request(Method::GET, &["v1", "releases", &id, "diff"], &query)).await?;
    if out.json {
        return out.line(&answer);
    }
    let diff: RevisionDiff = parse(&answer)?;
    if diff.changes.is_empty() {
        return out.line(&format!("revisions {} and {} are the same", diff.from, diff.to));
    }
    out.line(&format!("revision {} → {}", diff.from, diff.to))?;
    out.bytes(plan::fields(&diff.changes, "  ").as_bytes())
}

async fn drift(named: &Named, server: &Server, out: Out) -> Result<(), Error> {
    let id = find(named, server).await?;
    let answer = server.text(server.request(Method::GET, &["v1", "releases", &id, "drift"], &[])).await?;
    let drift: ReleaseDrift = parse(&answer)?;
    if out.json {
        out.line(&answer)?;
    } else if drift.drifted {
        out.bytes(plan::objects(&drift.objects).as_bytes())?;
    } else {
        let revision = or_dash(drift.revision);
        out.line(&format!("the target is as revision {revision} says"))?;
    }
    if drift.drifted { Err(Error::reported(ErrorKind::Conflict)) } else { Ok(()) }
}

pub(crate) async fn remove(named: &Named, wait: Wait, server: &Server, out: Out) -> Result<(), Error> {
    let id = find(named, server).await?;
    let answer = server.text(server.request(Method::DELETE, &path(&id), &[])).await?;
    accepted(server, &answer, wait, Hope::Done, out).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn release(id: &str, environment: &str) -> ReleaseInfo {
        serde_json::from_value(json!({
            "release_id": id, "client": "acme", "name": "roof", "product": "sensor",
            "environment": environment, "target": "local", "namespace": "acme", "state": "ready",
            "revision": 3, "applied_revision": 4, "order_id": "o-1", "trace_id": "t-1", "created_at": "c", "updated_at": "u",
            "resources": [{"kind": "Process", "name": "roof", "state": "failed",
                "endpoint": "http://127.0.0.1:1", "reason": "exited\u{7}"}],
            "openings": [{"name": "site", "url": "http://127.0.0.1:1"}]}))
        .unwrap()
    }

    fn named() -> Named {
        Named { release: "roof".into(), environment: None }
    }

    #[test]
    fn an_ambiguous_name_lists_the_candidates() {
        assert_eq!(one_of(vec![release("r-1", "dev")], &named()).unwrap(), "r-1");
        assert_eq!(one_of(vec![], &named()).unwrap_err().kind(), ErrorKind::NotFound);
        let error = one_of(vec![release("r-1", "dev"), release("r-2", "prod")], &named()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        for part in
            ["r-1 (client acme, environment dev)", "r-2 (client acme, environment prod)", "--environment"]
        {
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_release_is_shown_with_its_openings_and_resources() {
        let text = shown(&release("r-1", "dev"));
        assert!(text.contains("revision     3\napplied      4\n"), "{text}");
        assert!(
            text.ends_with(
                "OPENING  URL\n\
                 site     http://127.0.0.1:1\n\
                 \n\
                 KIND     NAME  STATE   ENDPOINT            REASON\n\
                 Process  roof  failed  http://127.0.0.1:1  exited\\u{7}\n"
            ),
            "{text}"
        );
    }
}
