//! `orderwire client …`.

use orderwire_api::wire::{ClientInfo, ClientRelease};
use reqwest::Method;
use serde::Deserialize;

use crate::args::Client;
use crate::error::Error;
use crate::out::{Out, Table, or_dash};
use crate::server::{Server, parse};

/// The most clients that are listed.
const LIST_MAX: usize = 1_000_000;

/// What a client has, beside what is known of it.
#[derive(Deserialize)]
struct Has {
    #[serde(default)]
    releases: Vec<ClientRelease>,
}

pub(crate) async fn run(command: &Client, server: &Server, out: Out) -> Result<(), Error> {
    match command {
        Client::List => {
            let clients = server.pages(&["v1", "clients"], &[], LIST_MAX).await?;
            if out.json {
                return out.json(&clients);
            }
            let mut table = Table::new(["client", "since", "changed", "releases", "trace"]);
            for client in &clients.items {
                let (client, releases) = read(client.get())?;
                table.row([
                    client.client,
                    client.since,
                    client.changed_at,
                    names(&releases),
                    client.trace_id,
                ]);
            }
            out.table(&table)
        }
        Client::Show { name } => {
            let answer = server.text(server.request(Method::GET, &["v1", "clients", name], &[])).await?;
            if out.json {
                return out.line(&answer);
            }
            let (client, releases) = read(&answer)?;
            out.bytes(shown(client, releases).as_bytes())
        }
    }
}

fn read(answer: &str) -> Result<(ClientInfo, Vec<ClientRelease>), Error> {
    let has: Has = parse(answer)?;
    Ok((parse(answer)?, has.releases))
}

fn names(releases: &[ClientRelease]) -> String {
    let names: Vec<String> =
        releases.iter().map(|release| format!("{} ({})", release.name, release.environment)).collect();
    or_dash((!names.is_empty()).then(|| names.join(", ")))
}

fn shown(client: ClientInfo, releases: Vec<ClientRelease>) -> String {
    let mut table = Table::new(["what", "value"]);
    table.row(["client".into(), client.client]);
    table.row(["since".into(), client.since]);
    table.row(["changed".into(), client.changed_at]);
    table.row(["trace".into(), client.trace_id]);
    table.row(["attributes".into(), client.attributes.get().to_owned()]);
    let mut text = table.render();
    if releases.is_empty() {
        return text;
    }
    let mut table = Table::new([
        "release",
        "product",
        "environment",
        "archtype",
        "hardware",
        "target",
        "state",
        "revision",
        "since",
        "trace",
    ]);
    for release in releases {
        table.row([
            release.name,
            release.product,
            release.environment,
            or_dash(release.archtype),
            or_dash(release.hardware),
            release.target,
            release.state,
            or_dash(release.revision),
            release.since,
            release.trace_id,
        ]);
    }
    text.push('\n');
    text.push_str(&table.render());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str =
        r#""client":"acme","since":"s","changed_at":"c","trace_id":"t-1","attributes":{"n":1.50}"#;

    #[test]
    fn a_client_is_shown_with_what_it_has() {
        let release = r#"{"release_id":"r-1","name":"roof","product":"sensor","environment":"dev",
            "archtype":"edge","hardware":"shared","target":"local","namespace":"acme","state":"ready","revision":2,
            "since":"s","trace_id":"t-2"}"#;
        let (client, releases) = read(&format!("{{{CLIENT},\"releases\":[{release}]}}")).unwrap();
        assert_eq!(names(&releases), "roof (dev)");
        let mut both = [releases.clone(), releases.clone()].concat();
        both[1].environment = "qa".to_owned();
        assert_eq!(names(&both), "roof (dev), roof (qa)");
        let text = shown(client, releases);
        assert!(text.contains("attributes  {\"n\":1.50}\n"), "{text}");
        assert!(
            text.ends_with(
                "RELEASE  PRODUCT  ENVIRONMENT  ARCHTYPE  HARDWARE  TARGET  STATE  REVISION  SINCE  TRACE\n\
                 roof     sensor   dev          edge      shared    local   ready         2  s      t-2\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_client_without_releases_is_shown_as_well() {
        let (client, releases) = read(&format!("{{{CLIENT}}}")).unwrap();
        assert_eq!(names(&releases), "-");
        assert!(!shown(client, releases).contains("RELEASE"));
    }
}
