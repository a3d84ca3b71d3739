//! Openings and gates as products declare them, and as they are shown.

use orderwire_provisioner::OrderRequest;
use orderwire_provisioner::catalogue::lint;
use orderwire_provisioner::content::Content;
use orderwire_store::orders::{Advance, ReleaseStatus};
use orderwire_types::RawJson;
use serde_json::{Value, json};

use crate::accept_kit::{kit, request};
use crate::catalogue::{Folder, PRODUCT, names};
use crate::http_kit::Server;

const SERVER: &str = "apiVersion: orderwire.dev/v1
kind: Process
metadata: {name: server}
spec:
  command: [orderwire]
  ports: {http: 0, admin: 0}
";

/// What is said of a product with these lines in `product.yaml`.
fn faults(more: &str) -> String {
    let product = format!("{PRODUCT}{more}");
    let folder = Folder::new(&[("p/product.yaml", &product), ("p/templates/server.yaml", SERVER)]);
    let faults = lint(&folder.path().join("p"), &names());
    faults.join("\n").replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn what_is_wrong_with_openings_and_gates_is_told_with_its_place() {
    let many = |n: usize, item: &dyn Fn(usize) -> String| (0..n).map(item).collect::<String>();
    let openings = many(17, &|n| format!("  o{n}: {{port: http}}\n"));
    let gates = many(9, &|_| "    - http: {opening: o1}\n".to_owned());
    let said = [
        faults("openings:\n  Site: {port: http}\n  site: {port: http, scheme: htp}\n"),
        faults("openings: {site: {scheme: tcp}, other: {port: http, description: \" \", prot: 1}}\n"),
        faults("openings: {db: {port: http, scheme: tcp}}\nhealth:\n  gates:\n    - http: {opening: db}\n"),
        faults("health:\n  gates:\n    - http: {opening: site, path: no slash, status: [], contains: ''}\n"),
        faults(
            "openings: {o: {port: http}}\nhealth:\n  gates:\n    - http: {opening: o, status: [99]}\n    - tcp: {opening: o}\n    - {}\n",
        ),
        faults(&format!("openings:\n{openings}health:\n  gates:\n{gates}")),
    ];
    insta::assert_snapshot!(said.join("\n\n"));
}

#[test]
fn lint_finds_an_opening_whose_port_is_not_that_of_one_object() {
    assert_eq!(faults("openings: {site: {port: http}, admin: {port: admin, scheme: tcp}}\n"), "");
    let said = faults("openings:\n  site:\n    port: htp\n");
    let first = "p/product.yaml:9:11: openings.site.port: no object has a port htp; the ports of this release are: admin, http (in dev)";
    assert_eq!(said.lines().next(), Some(first));
    let two = format!("{SERVER}---\n{}", SERVER.replace("{name: server}", "{name: other}"));
    let product = format!("{PRODUCT}openings: {{site: {{port: http}}}}\n");
    let folder = Folder::new(&[("p/product.yaml", &product), ("p/templates/server.yaml", &two)]);
    let said = lint(&folder.path().join("p"), &names()).join("\n");
    let both = "openings.site.port: port http is one of Process server and Process other; give each port that is opened a name of its own (in dev)";
    assert!(said.contains(both), "{said}");
}

#[tokio::test]
async fn a_plan_shows_openings_and_refuses_one_that_leads_nowhere() {
    let kit = kit();
    let plan = async |parameters| {
        let request = OrderRequest { product: Some("web".to_owned()), parameters, ..request(1) };
        kit.provisioner.plan(request).await.unwrap()
    };
    let open = plan(None).await;
    assert_eq!(open.outcome, "create", "{open:?}");
    let change = |field: &str| open.changes.iter().find(|change| change.field == field).unwrap().new.clone();
    assert_eq!(change("/openings"), Some(json!({"site": {"port": "http", "scheme": "http"}})));
    let gate = json!({"http": {"opening": "site", "path": "/", "status": [200]}});
    assert_eq!(change("/gates"), Some(json!([gate])));

    let closed = plan(Some(json!({"command": "closed"}))).await;
    let refused = "opening site: no object has a port http; the ports of this release are: none";
    assert_eq!((closed.outcome.as_str(), closed.refused), ("refused", vec![refused.to_owned()]));
}

/// Revisions that were made before there were openings stay what they are.
#[test]
fn a_content_without_openings_and_gates_is_written_and_hashed_without_them() {
    let text = r#"{"product":"p","version":"1","archtype":"","hardware":"","parameters":{},"manifests":[{"kind":"File"}],"images":[],"secrets":{},"access":{"rights":[],"objects":[]},"datasets":{},"patience_ms":60000,"on_failure":"rollback"}"#;
    let content: Content = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&content).unwrap(), text);
    assert_eq!(content.hash(), "ded7b1c232a7e787e8f66886c8ed6111d585c316c470c2d5ec38d0eba787cd68");
    let opening = json!({"port": "http", "description": "For people."});
    let open: Content = serde_json::from_value(with(text, "openings", &json!({"site": opening}))).unwrap();
    assert_ne!(open.hash(), content.hash());
    let undescribed = json!({"site": {"port": "http", "scheme": "http"}});
    let same: Content = serde_json::from_value(with(text, "openings", &undescribed)).unwrap();
    assert_eq!(open.hash(), same.hash(), "what is for people alone changes nothing");
}

fn with(text: &str, key: &str, value: &Value) -> Value {
    let mut json: Value = serde_json::from_str(text).unwrap();
    json[key] = value.clone();
    json
}

#[tokio::test]
async fn a_product_and_a_release_show_their_openings() {
    let server = Server::start();
    let product = server.get("reader", "/v1/products/web").await.ok(200);
    let opening = json!([{"name": "site", "scheme": "http", "description": "The page."}]);
    assert_eq!(product["openings"], opening);
    assert_eq!(server.get("reader", "/v1/products/sensor").await.ok(200)["openings"], json!([]));

    let order = server.post("admin", "/v1/orders", &json!({"client": "acme", "product": "web"})).await;
    let order = order.ok(202)["order_id"].as_str().unwrap().to_owned();
    let release = server.release_of(&order).await;
    let path = format!("/v1/releases/{}", release.id);
    assert_eq!(server.get("reader", &path).await.ok(200)["openings"], json!([]));
    let lease = server.claim().await;
    let resources = json!([
        {"kind": "File", "name": "page", "state": "ready"},
        {"kind": "Process", "name": "web", "state": "ready", "endpoint": "http://127.0.0.1:1",
            "openings": {"site": "http://127.0.0.1:1", "db": "tcp://127.0.0.1:2"}},
    ]);
    let status = ReleaseStatus { resources: RawJson::of(&resources).unwrap(), ..release.status };
    server.advance(lease, &order, Advance { status: Some(status), ..Advance::default() }).await;
    let openings =
        json!([{"name": "db", "url": "tcp://127.0.0.1:2"}, {"name": "site", "url": "http://127.0.0.1:1"}]);
    for release in [
        server.get("reader", &path).await.ok(200),
        server.get("reader", "/v1/releases").await.ok(200)["items"][0].clone(),
    ] {
        assert_eq!(release["openings"], openings);
        assert_eq!(
            release["resources"][1],
            json!({"kind": "Process", "name": "web", "state": "ready", "endpoint": "http://127.0.0.1:1"})
        );
    }
}

#[test]
fn the_example_of_the_documentation_is_sound() {
    let docs = include_str!("../../../../docs/products.md");
    let (_, section) = docs.split_once("## Openings and gates").unwrap();
    let example = section.split("```").nth(1).unwrap().strip_prefix("yaml").unwrap();
    let product = format!("{PRODUCT}{example}");
    let server = SERVER.replace("admin: 0", "sql: 0");
    let folder = Folder::new(&[("p/product.yaml", &product), ("p/templates/server.yaml", &server)]);
    assert_eq!(lint(&folder.path().join("p"), &names()), [""; 0]);
    let (_, wanted) = section.split_once("`gate http ").unwrap();
    assert!(wanted.replace('\n', " ").starts_with("/healthz of opening site: 503, wanted 200`"), "{wanted}");
}
