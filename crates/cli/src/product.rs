//! `orderwire product …`.

use orderwire_api::wire::ProductInfo;
use orderwire_config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::args::{Configured, Global, Product, Render};
use crate::check;
use crate::error::{Error, ErrorKind};
use crate::local::{Local, RenderRequest};
use crate::order::parameters;
use crate::out::{Out, Table, or_dash, plain};
use crate::server::{Server, parse};

pub(crate) async fn run(command: &Product, global: &Global, local: Local, out: Out) -> Result<(), Error> {
    match command {
        Product::List => list(&Server::new(global)?, out).await,
        Product::Show { product } => {
            let server = Server::new(global)?;
            let answer = server.text(server.request(Method::GET, &["v1", "products", product], &[])).await?;
            if out.json { out.line(&answer) } else { out.bytes(shown(&parse(&answer)?).as_bytes()) }
        }
        Product::Lint { folders, configured } => lint(folders, &load(configured, global)?, local, out),
        Product::Render(args) => render(args, global, local, out),
    }
}

async fn list(server: &Server, out: Out) -> Result<(), Error> {
    let products = server.all(&["v1", "products"], &[]).await?;
    if out.json {
        return out.json(&products);
    }
    let mut table = Table::new(["product", "version", "targets", "aliases", "on failure", "description"]);
    for product in &products.items {
        let product: ProductInfo = parse(product.get())?;
        let ProductInfo { product, version, description, aliases, targets, on_failure, .. } = product;
        table.row([product, version, targets.join(","), listed(&aliases), on_failure, description]);
    }
    out.table(&table)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { crate::out::ABSENT.to_owned() } else { names.join(",") }
}

fn shown(product: &ProductInfo) -> String {
    let mut table = Table::new(["what", "value"]);
    table.row(["product".into(), product.product.clone()]);
    table.row(["version".into(), product.version.clone()]);
    table.row(["description".into(), product.description.clone()]);
    table.row(["aliases".into(), listed(&product.aliases)]);
    table.row(["targets".into(), listed(&product.targets)]);
    table.row(["on failure".into(), product.on_failure.clone()]);
    let mut text = table.render();
    if !product.openings.is_empty() {
        let mut table = Table::new(["opening", "scheme", "description"]);
        for opening in product.openings.clone() {
            table.row([opening.name, opening.scheme, or_dash(opening.description)]);
        }
        text.push('\n');
        text.push_str(&table.render());
    }
    let schema = &product.parameters;
    let Some(properties) = schema["properties"].as_object().filter(|properties| !properties.is_empty())
    else {
        return text;
    };
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.contains(&json!(name)));
    let mut table = Table::new(["parameter", "type", "default", "description"]);
    for (name, property) in properties {
        let kind = match &property["type"] {
            Value::Null if property["enum"].is_array() => property["enum"].to_string(),
            Value::String(kind) => kind.clone(),
            Value::Null => "any".to_owned(),
            kinds => kinds.to_string(),
        };
        let default = match property.get("default") {
            None if required(name) => "(required)".to_owned(),
            None => crate::out::ABSENT.to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let description = property["description"].as_str().unwrap_or(crate::out::ABSENT);
        table.row([name.clone(), kind, default, description.to_owned()]);
    }
    text.push('\n');
    text.push_str(&table.render());
    text
}

/// The configuration that says which environments and products there are. What its own
/// products have of faults does not matter: they are what is being written.
fn load(configured: &Configured, global: &Global) -> Result<Config, Error> {
    Config::load(&check::sources(configured.config.clone(), global)).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(|fault| plain(&fault.to_string()).into_owned()).collect();
        Error::invalid(format!("the configuration has faults: {}", faults.join("; ")))
    })
}

fn lint(folders: &[std::path::PathBuf], config: &Config, local: Local, out: Out) -> Result<(), Error> {
    let mut sound = true;
    let mut results = Vec::new();
    for folder in folders {
        let name = folder.display().to_string();
        let faults = (local.lint)(config, folder);
        sound &= faults.is_empty();
        if out.json {
            results.push(json!({ "folder": name, "valid": faults.is_empty(), "faults": faults }));
            continue;
        }
        if faults.is_empty() {
            out.line(&plain(&format!("{name}: sound")))?;
        }
        for fault in &faults {
            eprintln!("{}", plain(fault));
        }
    }
    if out.json {
        out.json(&json!({ "valid": sound, "products": results }))?;
    }
    if sound { Ok(()) } else { Err(Error::reported(ErrorKind::Invalid)) }
}

fn render(args: &Render, global: &Global, local: Local, out: Out) -> Result<(), Error> {
    let placement = args.placement.clone();
    let request = RenderRequest {
        product: args.product.clone(),
        client: global.client.clone(),
        environment: placement.environment,
        name: placement.name,
        archtype: placement.archtype,
        hardware: placement.hardware,
        namespace: placement.namespace,
        parameters: parameters::read(&args.settings)?.unwrap_or_else(|| json!({})),
    };
    match (local.render)(&load(&args.configured, global)?, &request) {
        Ok(text) if out.json => out.json(&json!({ "rendered": text })),
        Ok(text) => out.bytes(text.as_bytes()),
        Err(faults) => Err(Error::invalid(format!(
            "{} cannot be rendered: {}",
            args.product,
            faults.iter().map(|fault| plain(fault)).collect::<Vec<_>>().join("; ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn local() -> Local {
        Local {
            load: |_| panic!("nothing loads a configuration here"),
            lint: |config, folder| match folder.to_str() {
                Some("sound") => Vec::new(),
                Some("lab") if config.environments.contains_key("lab") => Vec::new(),
                _ => vec!["product.yaml:3: unknown key".to_owned()],
            },
            render: |config, request| {
                Err(vec![format!("{request:?} {:?}", config.environments.keys().collect::<Vec<_>>())])
            },
            try_rules: |_, _| panic!("no rule is tried here"),
            warnings: |_| panic!("nothing is warned of here"),
            try_broker: |_| panic!("no broker is tried here"),
            try_store: |_| panic!("no store is tried here"),
            try_cache: |_| panic!("no cache is tried here"),
        }
    }

    async fn ran(args: &[&str]) -> Result<(), Error> {
        let cli = Cli::try_parse_from([&["orderwire", "product"], args].concat()).unwrap();
        let Command::Product(command) = &cli.command else { panic!("{cli:?}") };
        run(command, &cli.global, local(), Out { json: false }).await
    }

    #[tokio::test]
    async fn lint_fails_when_any_folder_has_a_fault() {
        assert!(ran(&["lint", "sound"]).await.is_ok());
        assert_eq!(ran(&["lint", "faulty", "sound"]).await.unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[tokio::test]
    async fn lint_and_render_use_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orderwire.yaml");
        let file = path.to_str().unwrap();
        std::fs::write(&path, "environments: {lab: {}}\n").unwrap();
        assert!(ran(&["lint", "lab"]).await.is_err());
        assert!(ran(&["lint", "lab", "--config", file]).await.is_ok());
        let error = ran(&["render", "web", "--config", file]).await.unwrap_err().to_string();
        assert!(error.contains("[lab]"), "{error}");
        std::fs::write(&path, "environmentz: {}\n").unwrap();
        let error = ran(&["lint", "sound", "--config", file]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("environmentz"), "{error}");
    }

    #[tokio::test]
    async fn render_asks_for_what_the_flags_say_without_a_server() {
        let args = ["render", "web", "--client", "acme", "-e", "dev", "--set", "n=1", "--set-string", "t=1"];
        let error = ran(&args).await.unwrap_err().to_string();
        for part in [r#"product: "web""#, r#"client: Some("acme")"#, r#"environment: Some("dev")"#] {
            assert!(error.contains(part), "{error}");
        }
        assert!(error.contains(r#""n": Number(1)"#) && error.contains(r#""t": String("1")"#), "{error}");
    }

    #[test]
    fn a_product_is_shown_with_its_openings_and_parameters() {
        use orderwire_api::wire::ProductOpening;

        let product = ProductInfo {
            product: "sensor".into(),
            version: "1".into(),
            description: "A station".into(),
            aliases: vec![],
            targets: vec!["process".into()],
            parameters: json!({"required": ["station"], "properties": {
                "station": {"type": "string", "description": "Its name"},
                "interval_ms": {"type": "integer", "default": 1000},
                "how": {"enum": ["a", "b"], "default": "a"}}}),
            openings: vec![ProductOpening {
                name: "site".into(),
                scheme: "http".into(),
                description: Some("The page.".into()),
            }],
            on_failure: "rollback".into(),
        };
        let text = shown(&product);
        for row in [
            "OPENING  SCHEME  DESCRIPTION\nsite     http    The page.\n",
            "station      string",
            "(required)  Its name",
            "1000",
            r#"["a","b"]"#,
        ] {
            assert!(text.contains(row), "{text}");
        }
    }
}
