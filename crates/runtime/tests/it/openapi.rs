//! `docs/openapi.json` is what the server says of itself. `UPDATE_GENERATED=1`
//! writes it anew.

use orderwire_runtime::{Options, start};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::file;

/// One call of the server, as it goes over the wire: its head and its body.
async fn get(address: std::net::SocketAddr, path: &str, key: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn the_committed_description_is_generated() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        data: Some(folder.path().join("data")),
        listen: Some("127.0.0.1:0".to_owned()),
        ..Options::default()
    };
    let server = start(options).await.unwrap();
    let (head, said) = get(server.address(), "/openapi.json", server.admin_key()).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let (head, _) = get(server.address(), "/openapi.json", "none").await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    let (head, figures) = get(server.address(), "/metrics", server.admin_key()).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/plain"), "{head}");
    assert!(figures.contains("orderwire_http_requests_total{"), "{figures}");
    server.drain().await.unwrap();

    is_whole(&serde_json::from_str(&said).unwrap());
    let said = said + "\n";
    let path = file("docs/openapi.json");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &said).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    // Not assert_eq: two documents of this size help nobody.
    assert!(committed == said, "docs/openapi.json is stale; run cargo xtask generate");
}

/// What no part can promise of the whole: every part is there, no name is given
/// twice, and every way to show a key is described.
fn is_whole(document: &Value) {
    assert_eq!(document["info"]["title"], "Orderwire");
    let paths = document["paths"].as_object().unwrap();
    for path in ["/v1/events", "/rest/{dataset}", "/metrics", "/openapi.json", "/healthz"] {
        assert!(paths.contains_key(path), "{path} is not described");
    }
    let mut ids = std::collections::BTreeSet::new();
    for operation in paths.values().flat_map(|methods| methods.as_object().unwrap().values()) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id} is there twice");
    }
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    let requirements = document.pointer("/security").into_iter().chain(
        paths.values().flat_map(|methods| methods.as_object().unwrap().values()).map(|one| &one["security"]),
    );
    let mut shown = 0;
    for scheme in requirements.filter_map(Value::as_array).flatten().filter_map(Value::as_object) {
        for name in scheme.keys() {
            assert!(schemes.contains_key(name), "{name} is not described");
            shown += 1;
        }
    }
    assert!(shown > 2, "a key is asked for");
    references(document, document);
}

/// Every reference points to something.
fn references(document: &Value, part: &Value) {
    match part {
        Value::Object(members) => {
            if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                let pointer = target.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{target} points to nothing");
            }
            members.values().for_each(|member| references(document, member));
        }
        Value::Array(items) => items.iter().for_each(|item| references(document, item)),
        _ => {}
    }
}
