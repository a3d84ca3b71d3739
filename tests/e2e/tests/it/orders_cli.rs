//! Orders as somebody types them: what each command says, and its exit code.

use anyhow::{Context, Result, ensure};
use orderwire_e2e::run;
use serde_json::Value;

use crate::cli::{Site, fails};

/// Runs a command that succeeds, and whose output has these words.
fn says(site: &Site, words: &[&str], parts: &[&str]) -> Result<()> {
    let ran = site.run(words)?;
    ensure!(ran.code == 0, "{words:?}: {ran:?}");
    for part in parts {
        ensure!(ran.stdout.contains(part), "{words:?}: {part:?} is missing: {ran:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_release_is_ordered_changed_compared_brought_back_and_removed_by_commands() -> Result<()> {
    let site = Site::start()?;
    let acme = |words: &[&'static str]| [words, &["--client", "acme"]].concat();
    let create = acme(&["order", "create", "sensor", "--set", "interval_ms=100", "--wait"]);
    says(&site, &create, &["sensor of acme is ready, revision 1"])?;
    fails(&site.run(&create)?, 5, &["sensor"])?;

    // A plan of a change, of what is there already, and of nonsense.
    let plan = |content: &str| -> Result<String> { site.file("order.json", content) };
    let change = plan(r#"{"client":"acme","product":"sensor","parameters":{"interval_ms":200}}"#)?;
    says(&site, &["plan", &change], &["~ change Process module", "100", "200"])?;
    site.json(&["plan", &change])?;
    let taken = plan(r#"{"client":"acme","product":"sensor","action":"create"}"#)?;
    ensure!(site.run(&["plan", &taken])?.code == 5);
    let faulty = plan(r#"{"client":"acme","product":"sensor","parameters":{"interval_ms":"fast"}}"#)?;
    fails(&site.run(&["plan", &faulty])?, 7, &["/parameters/interval_ms"])?;

    let update = acme(&["order", "update", "sensor", "--set", "interval_ms=200", "--watch"]);
    says(&site, &update, &["plan", "apply", "ready"])?;
    let watched = acme(&["-o", "json", "order", "update", "sensor", "--set", "interval_ms=300", "--watch"]);
    let watched = site.run(&watched)?;
    let lines: Result<Vec<Value>, _> = watched.stdout.lines().map(serde_json::from_str).collect();
    let last = lines?.pop().context("a line")?;
    ensure!(watched.code == 0 && last["state"]["state"] == "ready", "{watched:?}");
    fails(&site.run(&acme(&["order", "update", "other", "--set", "n=1"]))?, 7, &["other"])?;
    fails(&site.run(&acme(&["order", "update", "web"]))?, 3, &["web"])?;

    let rollback = acme(&["release", "rollback", "sensor", "--revision", "1", "--wait"]);
    says(&site, &rollback, &["sensor of acme is ready, revision 4"])?;
    let history = acme(&["release", "history", "sensor"]);
    says(&site, &history, &["REVISION", "4  yes", "1  -"])?;
    let revisions = site.json(&history)?;
    ensure!(revisions["items"].as_array().is_some_and(|all| all.len() == 4), "{revisions}");
    let diff = acme(&["release", "diff", "sensor", "--from", "1", "--to", "2"]);
    says(&site, &diff, &["/parameters/interval_ms", "100", "200"])?;
    let changes = site.json(&acme(&["release", "diff", "sensor", "--from", "1", "--to", "4"]))?;
    ensure!(changes["changes"].as_array().is_some_and(Vec::is_empty), "{changes}");
    let drift = acme(&["release", "drift", "sensor"]);
    says(&site, &drift, &["the target is as revision 4 says"])?;
    site.json(&drift)?;
    fails(&site.run(&acme(&["release", "history", "nowhere"]))?, 3, &["nowhere"])?;

    says(&site, &["client", "show", "acme"], &["sensor", "dev", "ready"])?;
    says(&site, &["client", "list"], &["sensor (dev)"])?;
    site.json(&["client", "show", "acme"])?;
    says(&site, &["product", "list"], &["broken", "sensor", "web"])?;
    let products = site.json(&["product", "list"])?;
    ensure!(products["items"].as_array().is_some_and(|all| all.len() == 3), "{products}");
    fails(&site.run(&["product", "show", "nothing"])?, 3, &["nothing"])?;

    let remove = acme(&["order", "remove", "sensor", "--wait"]);
    says(&site, &remove, &["sensor of acme is removed", "removed Process"])?;
    fails(&site.run(&remove)?, 3, &["sensor"])?;
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn orders_that_come_to_nothing_have_a_reason_and_a_code() -> Result<()> {
    let site = Site::start()?;
    let order = ["order", "create", "broken", "--client", "acme", "--set"];
    let failed = site.run(&[&order[..], &["how=exits", "--wait"]].concat())?;
    fails(&failed, 1, &["code 3"])?;
    ensure!(failed.stdout.contains("is rolled back"), "{failed:?}");
    let json = [&["-o", "json"], &order[..], &["how=exits", "--wait"]].concat();
    let failed = site.run(&json)?;
    let (order_of, error): (Value, Value) =
        (serde_json::from_str(&failed.stdout)?, serde_json::from_str(&failed.stderr)?);
    ensure!(failed.code == 1 && order_of["state"] == "rolled_back" && error["code"] == 1, "{failed:?}");

    let stuck = site.json(&[&order[..], &["how=never-ready"]].concat())?;
    let id = stuck["order_id"].as_str().context("an order")?;
    says(&site, &["order", "cancel", id, "--wait"], &["broken of acme is cancelled"])?;
    fails(&site.run(&["order", "watch", id])?, 5, &["cancelled"])?;
    says(&site, &["order", "status", id], &["cancelled"])?;
    let over = order_of["order_id"].as_str().context("an order")?;
    fails(&site.run(&["order", "cancel", over])?, 5, &["rolled"])?;

    let nowhere = "00000000-0000-4000-8000-000000000000";
    fails(&site.run(&["order", "status", nowhere])?, 3, &[nowhere])?;
    fails(&site.run(&["order", "create", "nothing", "--client", "acme"])?, 7, &["/product"])?;
    let reader = site.json(&["key", "create", "reader", "--role", "read"])?;
    let reader = reader["key"].as_str().context("a key")?;
    fails(&site.run(&["--key", reader, "order", "create", "web"])?, 4, &["right"])?;
    fails(&site.run(&["--key", "wrong", "order", "list"])?, 4, &["--key"])?;
    let refused = site.run(&["-o", "json", "--key", reader, "order", "create", "web"])?;
    let error: Value = serde_json::from_str(&refused.stderr)?;
    ensure!(error["code"] == 4, "{refused:?}");
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[test]
fn products_are_checked_and_rendered_for_the_server_that_is_configured() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let shop = folder.path().join("products/shop");
    std::fs::create_dir_all(shop.join("templates"))?;
    std::fs::write(
        shop.join("product.yaml"),
        "product: shop\nversion: '1'\ndescription: A page.\ntargets: [process]\nkinds: [File]\n",
    )?;
    std::fs::write(shop.join("values-lab.yaml"), "content: of the lab\n")?;
    std::fs::write(shop.join("values.yaml"), "content: of all\n")?;
    let template = "apiVersion: orderwire.dev/v1\nkind: File\nmetadata: {name: page}\n\
                    spec: {path: index.html, content: \"{{ values.content }}\"}\n";
    std::fs::write(shop.join("templates/page.yaml"), template)?;
    let config = folder.path().join("orderwire.yaml");
    let products = folder.path().join("products");
    std::fs::write(
        &config,
        format!(
            "environments: {{lab: {{aliases: [bench]}}}}\nproducts: {{folders: [{}], aliases: {{store: shop}}}}\n",
            products.display()
        ),
    )?;
    let (shop, config) = (shop.to_string_lossy(), config.to_string_lossy());
    fails(&run(&["product", "lint", &shop])?, 7, &["\"lab\" is no environment"])?;
    let sound = run(&["product", "lint", &shop, "--config", &config])?;
    ensure!(sound.code == 0 && sound.stdout.contains("sound"), "{sound:?}");
    for name in [&*shop, "shop", "store"] {
        let words = ["product", "render", name, "--client", "acme", "-e", "bench", "--config", &config];
        let rendered = run(&words)?;
        ensure!(rendered.code == 0 && rendered.stdout.contains("of the lab"), "{name}: {rendered:?}");
    }
    let unknown = run(&["product", "render", "nothing", "--client", "acme", "--config", &config])?;
    fails(&unknown, 7, &["nothing", "broken, sensor, shop, web"])?;
    Ok(())
}
