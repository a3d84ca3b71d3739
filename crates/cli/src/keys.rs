//! `orderwire key …`.

use orderwire_api::wire::{CreatedKey, KeyInfo, NewKey};
use reqwest::Method;

use crate::args::Key;
use crate::error::Error;
use crate::out::{Out, Table, or_dash};
use crate::server::{Server, parse};

/// `client` is the one that commands work for: the key that they make is for it,
/// unless it is said for whom else.
pub(crate) async fn run(command: &Key, client: Option<&str>, server: &Server, out: Out) -> Result<(), Error> {
    match command {
        Key::Create { name, roles, clients, objects, expires_at } => {
            let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
            let new = NewKey {
                name: name.clone(),
                clients: some(clients).or_else(|| client.map(|client| vec![client.to_owned()])),
                roles: roles.clone(),
                objects: some(objects),
                expires_at: expires_at.clone(),
            };
            let answer = server.post(&["v1", "keys"], &new).await?;
            if out.json {
                return out.line(&answer);
            }
            let created: CreatedKey = parse(&answer)?;
            out.line(&format!("key {} ({}), shown this once:", created.info.id, created.info.name))?;
            out.line(&created.key)
        }
        Key::List => {
            let keys = server.list(&["v1", "keys"]).await?;
            if out.json {
                return out.json(&keys);
            }
            let mut table =
                Table::new(["id", "name", "roles", "clients", "objects", "created", "expires", "revoked"]);
            for key in &keys.items {
                let key: KeyInfo = parse(key.get())?;
                let all =
                    |list: Option<Vec<String>>| list.map_or_else(|| "all".to_owned(), |list| list.join(","));
                table.row([
                    key.id,
                    key.name,
                    key.roles.join(","),
                    all(key.clients),
                    all(key.objects),
                    key.created_at,
                    or_dash(key.expires_at),
                    or_dash(key.revoked_at),
                ]);
            }
            out.table(&table)
        }
        Key::Revoke { id } => {
            server.text(server.request(Method::DELETE, &["v1", "keys", id], &[])).await?;
            out.done(&serde_json::json!({ "id": id, "revoked": true }), &format!("key {id} is revoked"))
        }
    }
}
