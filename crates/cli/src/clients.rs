//! `orderwire client …`.

use orderwire_api::wire::ClientInfo;
use reqwest::Method;

use crate::args::Client;
use crate::error::Error;
use crate::out::{Out, Table};
use crate::server::{Server, parse};

/// The most clients that are listed.
const LIST_MAX: usize = 1_000_000;

pub(crate) async fn run(command: &Client, server: &Server, out: Out) -> Result<(), Error> {
    match command {
        Client::List => {
            let clients = server.pages(&["v1", "clients"], &[], LIST_MAX).await?;
            if out.json {
                return out.json(&clients);
            }
            let mut table = Table::new(["client", "since", "changed", "trace"]);
            for client in &clients.items {
                let client: ClientInfo = parse(client.get())?;
                table.row([client.client, client.since, client.changed_at, client.trace_id]);
            }
            out.table(&table)
        }
        Client::Show { name } => {
            let answer = server.text(server.request(Method::GET, &["v1", "clients", name], &[])).await?;
            if out.json {
                return out.line(&answer);
            }
            let client: ClientInfo = parse(&answer)?;
            let mut table = Table::new(["what", "value"]);
            table.row(["client".into(), client.client]);
            table.row(["since".into(), client.since]);
            table.row(["changed".into(), client.changed_at]);
            table.row(["trace".into(), client.trace_id]);
            table.row(["attributes".into(), client.attributes.get().to_owned()]);
            out.table(&table)
        }
    }
}
