//! Keys over HTTP, and the first one.

use std::time::Duration;

use serde_json::json;

use crate::support::{JSON, Server, bearer};

#[tokio::test]
async fn a_revoked_key_is_refused_at_once() {
    let server = Server::start().await;
    let made = server.post("/v1/keys", &json!({"name": "n", "roles": ["read"]})).await.ok(201);
    let key = bearer(made["key"].as_str().unwrap());
    let auth = [("authorization", key.as_str())];
    let who = server.call("GET", "/v1/whoami", &auth, "").await.ok(200);
    assert_eq!(who["roles"], json!(["read"]));
    assert_eq!(who["principal"], format!("key:{}", made["id"].as_str().unwrap()));
    let path = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(server.call("DELETE", &path, &[], "").await.status, 204);
    server.call("GET", "/v1/whoami", &auth, "").await.problem(401, "unauthorized");
    let listed = server.get("/v1/keys").await.ok(200);
    let one = listed["items"].as_array().unwrap().iter().find(|key| key["id"] == made["id"]).unwrap();
    assert!(one["revoked_at"].is_string());
    assert!(!listed.to_string().contains(&made["key"].as_str().unwrap()[20..]));
}

#[tokio::test]
async fn a_key_expires() {
    let server = Server::start().await;
    let new = json!({"roles": ["read"], "expires_at": "2024-06-01T00:00:10Z"});
    let key = bearer(&server.key(new).await);
    server.call("GET", "/v1/whoami", &[("authorization", &key)], "").await.ok(200);
    server.time.advance(Duration::from_secs(10));
    server.call("GET", "/v1/whoami", &[("authorization", &key)], "").await.problem(401, "unauthorized");
}

#[tokio::test]
async fn a_key_that_another_node_revoked_is_refused_soon() {
    let server = Server::start().await;
    let made = server.post("/v1/keys", &json!({"roles": ["read"]})).await.ok(201);
    let key = bearer(made["key"].as_str().unwrap());
    server.call("GET", "/v1/whoami", &[("authorization", &key)], "").await.ok(200);
    server.store.revoke_key(made["id"].as_str().unwrap(), server.time.now()).await.unwrap();
    server.time.advance(Duration::from_secs(30));
    server.call("GET", "/v1/whoami", &[("authorization", &key)], "").await.problem(401, "unauthorized");
}

#[tokio::test]
async fn faulty_keys_are_not_made() {
    let server = Server::start().await;
    for (new, pointer) in [
        (json!({}), "/roles"),
        (json!({"roles": ["king"]}), "/roles/0"),
        (json!({"roles": ["read"], "clients": []}), "/clients"),
        (json!({"roles": ["read"], "clients": ["a b"]}), "/clients/0"),
        (json!({"roles": ["read"], "objects": ["table/x"]}), "/objects/0"),
        (json!({"roles": ["read"], "expires_at": "2020-01-01T00:00:00Z"}), "/expires_at"),
        (json!({"roles": ["read"], "name": "admin (made by the server)"}), "/name"),
    ] {
        let answer = server.post("/v1/keys", &new).await;
        assert_eq!(answer.problem(422, "invalid")["pointer"], pointer, "{new}");
    }
}

#[tokio::test]
async fn a_key_reaches_no_further_than_its_maker() {
    let server = Server::start().await;
    let admin = bearer(&server.key(json!({"roles": ["admin"], "clients": ["acme"]})).await);
    let auth = ("authorization", admin.as_str());
    let wide = json!({"roles": ["read"]}).to_string();
    server.call("POST", "/v1/keys", &[JSON, auth], wide).await.problem(403, "forbidden");
    let other = json!({"roles": ["read"], "clients": ["other"]}).to_string();
    server.call("POST", "/v1/keys", &[JSON, auth], other).await.problem(403, "forbidden");
    let own = json!({"roles": ["read"], "clients": ["acme"]}).to_string();
    server.call("POST", "/v1/keys", &[JSON, auth], own).await.ok(201);
    let listed = server.call("GET", "/v1/keys", &[auth], "").await.ok(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn each_data_folder_on_a_shared_store_has_a_key_of_its_own() {
    let server = Server::start().await;
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let path = |folder: usize| folders[folder].path().join("admin.key");
    let key = |folder: usize| bearer(std::fs::read_to_string(path(folder)).unwrap().trim());
    for folder in 0..2 {
        assert!(server.keys.ensure_admin(&path(folder), true).await.unwrap());
        assert!(!server.keys.ensure_admin(&path(folder), true).await.unwrap());
    }
    let old = key(0);
    for folder in 0..2 {
        server.call("GET", "/v1/whoami", &[("authorization", &key(folder))], "").await.ok(200);
    }
    // Whose file is gone gets another key; the one of the other folder stays.
    std::fs::remove_file(path(0)).unwrap();
    assert!(server.keys.ensure_admin(&path(0), true).await.unwrap());
    server.call("GET", "/v1/whoami", &[("authorization", &old)], "").await.problem(401, "unauthorized");
    for folder in 0..2 {
        server.call("GET", "/v1/whoami", &[("authorization", &key(folder))], "").await.ok(200);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_first_key_is_private_and_replaced_when_its_file_is_gone() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start().await;
    let path = server.folder.path().join("admin.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", server.admin));
    assert!(!server.keys.ensure_admin(&path, false).await.unwrap());
    server.get("/v1/whoami").await.ok(200);
    std::fs::remove_file(&path).unwrap();
    assert!(server.keys.ensure_admin(&path, false).await.unwrap());
    server.get("/v1/whoami").await.problem(401, "unauthorized");
    let new = bearer(std::fs::read_to_string(&path).unwrap().trim());
    server.call("GET", "/v1/whoami", &[("authorization", &new)], "").await.ok(200);
    let header = ("x-api-key", new.strip_prefix("Bearer ").unwrap());
    let request = axum::http::Request::builder().uri("/v1/whoami").header(header.0, header.1);
    server.send(request.body(axum::body::Body::empty()).unwrap()).await.ok(200);
}
