//! Products are read from folders with every fault, and those that ship are sound.

use std::fs;
use std::path::PathBuf;

use orderwire_config::{Config, Names};
use orderwire_provisioner::Catalogue;
use orderwire_provisioner::catalogue::{
    OnFailure, RenderRequest, SecretSource, Source, Sources, lint, render_folder,
};
use serde_json::{Value, json};

/// A product without anything special.
pub(crate) const PRODUCT: &str = "product: p\nversion: '1'\ndescription: A product.\ntargets: [process]\nkinds: [File, Process]\nparameters: {type: object, additionalProperties: false}\n";
const TEMPLATE: &str =
    "apiVersion: orderwire.dev/v1\nkind: File\nmetadata: {name: f}\nspec: {path: f, content: x}\n";

pub(crate) fn names() -> Names {
    Names::of(&Config::default())
}

/// A folder of products that is gone afterwards.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn load(&self) -> Result<Catalogue, Vec<String>> {
        Catalogue::load(&Sources { builtin: false, folders: vec![self.path()] }, &names())
    }

    /// The faults, without the path of this folder.
    fn faults(&self) -> Vec<String> {
        let root = format!("{}/", self.path().display());
        let faults = self.load().err().unwrap_or_default();
        faults.iter().map(|fault| fault.replace(&root, "")).collect()
    }
}

fn shipped() -> Catalogue {
    Catalogue::load(&Sources { builtin: true, folders: Vec::new() }, &names()).unwrap()
}

/// A product that ships.
fn named(product: &str) -> Source {
    Source::Named(product.to_owned(), Sources { builtin: true, folders: Vec::new() })
}

fn request(parameters: Value) -> RenderRequest {
    RenderRequest {
        client: "acme".parse().unwrap(),
        environment: None,
        name: None,
        archtype: None,
        hardware: None,
        namespace: None,
        parameters,
    }
}

#[test]
fn every_shipped_product_is_sound_in_every_environment() {
    let names = names();
    let catalogue = shipped();
    let products: Vec<&str> = catalogue.products().map(|product| product.name.as_str()).collect();
    assert_eq!(products, ["broken", "sensor", "web"]);
    for product in products {
        let builtin = named(product);
        assert_eq!(lint(&builtin, &names), [""; 0], "{product}");
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../products").join(product);
        assert_eq!(lint(&folder, &names), [""; 0], "{product} as a folder");
        let mut rendered = String::new();
        for environment in names.environments() {
            let request = RenderRequest { environment: Some(environment.to_owned()), ..request(Value::Null) };
            let text = render_folder(&builtin, &names, &request).unwrap();
            assert_eq!(text, render_folder(&folder, &names, &request).unwrap(), "{product}");
            rendered.push_str(&format!("# {environment}\n{text}"));
        }
        insta::assert_snapshot!(product, rendered);
    }
}

#[test]
fn the_dataset_of_the_sensor_is_that_of_the_example() {
    let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/air-quality/orderwire.yaml");
    let example =
        orderwire_config::yaml::documents("example", &fs::read_to_string(example).unwrap(), 1 << 20);
    let air = example.unwrap()[0].get("datasets").unwrap().get("air").unwrap().to_json().unwrap();
    let air: orderwire_types::dataset::DatasetDef = serde_json::from_value(air).unwrap();
    let shipped = shipped();
    assert_eq!(shipped.get("sensor").unwrap().datasets["air"], air);
}

#[test]
fn a_page_shows_text_as_text() {
    let parameters = json!({"title": "<script>alert('1')</script>", "text": "a & b\n</p>{{ 1 }}"});
    let text = render_folder(named("web"), &names(), &request(parameters)).unwrap();
    assert!(!text.contains("<script>"), "{text}");
    assert!(text.contains("&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;"), "{text}");
    assert!(text.contains("a &amp; b\\n&lt;/p&gt;{{ 1 }}"), "{text}");
}

#[test]
fn parameters_are_checked_with_pointers() {
    let catalogue = shipped();
    let sensor = catalogue.get("sensor").unwrap();
    let faults = |parameters: Value| -> Vec<String> {
        let faults = sensor.check_parameters(&parameters);
        faults.iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).collect()
    };
    assert_eq!(faults(json!({"station": "a: b\n{{ 1 }}", "interval_ms": 10})), [""; 0]);
    let found = faults(json!({"interval_ms": 1, "station": "--help", "sta~tion": 1}));
    assert_eq!(found.len(), 3, "{found:?}");
    for pointer in ["/parameters/interval_ms: ", "/parameters/station: ", "/parameters/sta~0tion: "] {
        assert!(found.iter().any(|fault| fault.starts_with(pointer)), "{pointer} {found:?}");
    }
    assert!(faults(json!([]))[0].starts_with("/parameters: "));
    assert!(faults(json!({"station": "y".repeat(100_000)}))[0].len() < 1_000);
}

#[test]
fn values_are_laid_over_each_other_map_by_map() {
    let product = format!(
        "{}parameters:\n  type: object\n  properties:\n    a: {{default: schema}}\n    b: {{default: schema}}\n    m: {{type: object}}\n",
        PRODUCT.split("parameters").next().unwrap()
    );
    let folder = Folder::new(&[
        ("p/product.yaml", &product),
        ("p/values.yaml", "b: base\nc: base\nm: {x: 1, y: {z: 1}, n: 0o17}\n"),
        ("p/values-PROD.yaml", "c: own\nm: {y: {w: [2]}}\n"),
        ("p/templates/f.yaml", TEMPLATE),
    ]);
    let catalogue = folder.load().unwrap();
    let product = catalogue.get("p").unwrap();
    assert_eq!(
        product.values("production", &json!({"m": {"x": null, "y": {"w": [3]}}})),
        json!({"a": "schema", "b": "base", "c": "own", "m": {"x": null, "y": {"z": 1, "w": [3]}, "n": 15}})
    );
    assert_eq!(product.values("dev", &json!({}))["c"], "base");
}

#[test]
fn every_fault_of_every_product_is_told_with_its_place() {
    let folder = Folder::new(&[
        (
            "bad/product.yaml",
            "product: other\nversion: ''\ndescription: x\ntargets: [kubernetes]\nkinds: [Secret]\nunknown: 1\n\
             parameters: {type: array}\naccess: {rights: [order, write], objects: [dataset/A, air]}\n\
             health: {patience: 2h}\non_failure: explode\n\
             secrets: {lower: \"${X}\", PLAIN: hunter2, ORDERWIRE_URL: \"file:/x\", REL: \"file:x\"}\n\
             datasets: {air: {fields: []}}\n",
        ),
        ("bad/values.yaml", "- list\n"),
        ("bad/values-moon.yaml", "a: 1\n"),
        ("bad/values-prod.yaml", "a: 0644\n"),
        ("bad/values-production.yaml", "a: 1\n"),
        ("bad/templates/a.yaml", "a: 1\nb: {{ x\n"),
        ("none/README.md", "nothing"),
    ]);
    let faults = folder.faults();
    insta::assert_snapshot!(faults.join("\n"));
    assert!(!faults.join("").contains("hunter2"));
}

#[cfg(unix)]
#[test]
fn a_folder_is_bounded_and_nothing_leads_out_of_it() {
    let outside = Folder::new(&[("secret.yaml", "a: 1\n")]);
    let folder = Folder::new(&[
        ("p/product.yaml", PRODUCT),
        ("p/value.yaml", "a: 1\n"),
        ("p/README.md", "said to be ignored"),
        ("p/extra/x.yaml", "a: 1\n"),
        ("p/templates/f.yaml", TEMPLATE),
        ("p/templates/deep/f.yaml", TEMPLATE),
        ("p/values-dev.yaml", &"# long\n".repeat(200_000)),
        ("inside.yaml", "a: 1\n"),
    ]);
    let link =
        |target: PathBuf, name: &str| std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
    link(outside.path().join("secret.yaml"), "p/values.yaml");
    link(PathBuf::from("../inside.yaml"), "p/values-qa.yaml");
    link(PathBuf::from("nowhere"), "p/values-uat.yaml");
    link(outside.path(), "q");
    assert_eq!(folder.faults(), ["q: leads out of its folder; put the file itself here".to_owned()]);
    fs::remove_file(folder.path().join("q")).unwrap();
    insta::assert_snapshot!(folder.faults().join("\n"));
    let good =
        Folder::new(&[("p/product.yaml", PRODUCT), ("p/real.txt", TEMPLATE), ("p/templates/a.yaml", "")]);
    std::os::unix::fs::symlink("../real.txt", good.path().join("p/templates/f.yaml")).unwrap();
    assert!(good.load().unwrap().get("p").is_some(), "a link within the folder is followed");
}

#[test]
fn a_schema_that_refers_elsewhere_is_refused() {
    for schema in [
        "{type: object, $ref: \"https://example.com/schema.json\"}",
        "{type: object, $ref: \"file:///etc/passwd\"}",
        "{type: object, properties: {a: {type: txt}}}",
        "{type: object, properties: {a: {type: string, pattern: \"(a\"}}}",
    ] {
        let product = PRODUCT.replace("{type: object, additionalProperties: false}", schema);
        let folder = Folder::new(&[("p/product.yaml", &product), ("p/templates/f.yaml", TEMPLATE)]);
        let faults = folder.faults();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with("p/product.yaml:6:13: parameters: not a JSON Schema"), "{faults:?}");
    }
}

#[test]
fn a_folder_takes_the_place_of_a_product_of_the_same_name() {
    let product = PRODUCT.replace("product: p", "product: web");
    let folder = Folder::new(&[("web/product.yaml", &product), ("web/templates/f.yaml", TEMPLATE)]);
    let sources = Sources { builtin: true, folders: vec![folder.path()] };
    let catalogue = Catalogue::load(&sources, &names()).unwrap();
    assert_eq!(catalogue.get("web").unwrap().description, "A product.");
    assert!(catalogue.get("sensor").is_some() && catalogue.get("nothing").is_none());
}

#[test]
fn lint_tries_hostile_text_and_says_what_cannot_be_tried() {
    let with = |schema: &str, template: &str| {
        let product = PRODUCT.replace("{type: object, additionalProperties: false}", schema);
        let folder = Folder::new(&[("p/product.yaml", &product), ("p/templates/f.yaml", template)]);
        let root = format!("{}/", folder.path().display());
        let faults = lint(&folder.path().join("p"), &names());
        faults.iter().map(|fault| fault.replace(&root, "")).collect::<Vec<_>>()
    };
    let named = TEMPLATE.replace("{name: f}", "{name: \"{{ values.title }}\"}");
    let title = |more: &str| {
        format!(
            "{{type: object, additionalProperties: false, properties: {{title: {{type: string{more}}}}}, required: [title]}}"
        )
    };
    let faults = with(&title(", default: shop"), &named);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("p/templates/f.yaml:1: metadata.name"), "{faults:?}");
    assert!(faults[0].contains("with any text as title"), "{faults:?}");
    assert_eq!(with(&title(", default: shop, pattern: \"^[a-z]{1,9}$\""), &named), [""; 0]);
    let faults = with(&title(""), &named);
    assert!(faults[0].contains("parameters.title: is required and has neither"), "{faults:?}");
    let faults = with(&title(", examples: [Shop]"), &named);
    assert!(faults.len() == 6 && faults[0].contains("(in dev)"), "{faults:?}");
    let faults = with("{type: object}", TEMPLATE);
    assert!(faults.len() == 1 && faults[0].contains("additionalProperties: false"), "{faults:?}");
}

#[test]
fn lint_finds_what_the_target_would_refuse_at_its_place() {
    let template = "apiVersion: orderwire.dev/v1
kind: File
metadata: {name: f}
spec: {path: f, content: x}
---
apiVersion: orderwire.dev/v1
kind: Process
metadata: {name: web}
spec:
  command: [orderwire, 80]
  port: {http: 0}
---
apiVersion: orderwire.dev/v1
kind: File
metadata: {name: g}
spec: {path: f/g, content: x}
";
    let folder = Folder::new(&[("p/product.yaml", PRODUCT), ("p/templates/f.yaml", template)]);
    let root = format!("{}/", folder.path().display());
    let faults = lint(&folder.path().join("p"), &names()).join("\n").replace(&root, "");
    for fault in [
        "p/templates/f.yaml:6: Process web: spec.command: ",
        "p/templates/f.yaml:6: Process web: spec.port: is no known field (in dev)",
        "p/templates: File g: spec.path: File f is in the way (in dev)",
    ] {
        assert!(faults.contains(fault), "{faults}");
    }
    // Each once in each environment.
    assert_eq!(faults.lines().count(), 3 * names().environments().count(), "{faults}");
}

#[test]
fn a_name_is_the_product_that_the_catalogue_would_have() {
    let product =
        |description: &str| PRODUCT.replace("product: p", "product: web").replace("A product.", description);
    let (first, second) = (product("first"), product("second"));
    let template = TEMPLATE.replace("content: x", "content: last");
    let earlier = Folder::new(&[("web/product.yaml", &first), ("web/templates/f.yaml", TEMPLATE)]);
    let later = Folder::new(&[("web/product.yaml", &second), ("web/templates/f.yaml", &template)]);
    let named = |name: &str| {
        let sources = Sources { builtin: false, folders: vec![earlier.path(), later.path()] };
        render_folder(Source::Named(name.to_owned(), sources), &names(), &request(Value::Null))
    };
    assert!(named("web").unwrap().contains("last"));
    let faults = named("sensor").unwrap_err();
    assert!(faults[0].ends_with("there are web"), "{faults:?}");
}

#[test]
fn a_request_that_names_nothing_that_there_is_is_told_so() {
    let wrong = RenderRequest {
        environment: Some("moon".to_owned()),
        name: Some("Not a label".to_owned()),
        archtype: Some("x".to_owned()),
        hardware: Some("y".to_owned()),
        ..request(json!({"port": -1}))
    };
    let faults = render_folder(named("web"), &names(), &wrong).unwrap_err();
    assert_eq!(faults.len(), 5, "{faults:?}");
    let faults = lint(named("nothing"), &names());
    assert_eq!(
        faults,
        ["there is no product \"nothing\" nor a folder of a product here; there are broken, sensor, web"]
    );
}

#[test]
fn a_secret_is_read_where_it_is() {
    let folder = Folder::new(&[("secret", "s3cret\r\n"), ("empty", "\n"), ("p/templates/f.yaml", TEMPLATE)]);
    let product = format!(
        "{PRODUCT}secrets: {{TOKEN: \"file:{}\", HOME_OF: \"${{PATH}}\"}}\non_failure: keep\n",
        folder.path().join("secret").display()
    );
    fs::write(folder.path().join("p/product.yaml"), product).unwrap();
    let catalogue = folder.load().unwrap();
    let product = catalogue.get("p").unwrap();
    assert_eq!(product.secrets["TOKEN"].read().unwrap(), "s3cret");
    assert_eq!(product.secrets["HOME_OF"].read().unwrap(), std::env::var("PATH").unwrap());
    assert_eq!(product.on_failure, OnFailure::Keep);
    let file = |name: &str| SecretSource::File(folder.path().join(name)).read().unwrap_err();
    fs::write(folder.path().join("long"), "x".repeat(65_537)).unwrap();
    assert!(file("nowhere").contains("cannot be read"));
    assert!(file("empty").contains("is empty"));
    assert!(file("long").contains("longer than 64 KiB"));
    assert!(file("p").contains("not a regular file"));
    assert!(
        SecretSource::Env("ORDERWIRE_NO_SUCH_VARIABLE".to_owned()).read().unwrap_err().contains("is not set")
    );
}

#[test]
fn the_example_of_the_documentation_does_what_it_says() {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/products.md");
    let docs = fs::read_to_string(docs).unwrap();
    let block = |before: &str| {
        docs.split_once(before).unwrap().1.split("```").nth(1).unwrap().split_once('\n').unwrap().1
    };
    let product = block("`shop/product.yaml`:");
    let template = block("`shop/templates/server.yaml`:");
    let folder = Folder::new(&[("shop/product.yaml", product), ("shop/templates/server.yaml", template)]);
    let shop = folder.path().join("shop");
    assert_eq!(lint(&shop, &names()), [""; 0]);
    let title = json!({"title": "<Flowers>: \"fresh\""});
    let rendered = render_folder(&shop, &names(), &request(title)).unwrap();
    assert!(docs.contains(&rendered), "{rendered}");
    let named = template.replace("{name: index}", "{name: \"{{ values.title }}\"}");
    fs::write(shop.join("templates/server.yaml"), named).unwrap();
    let faults = lint(&shop, &names()).join("\n").replace(&format!("{}/", folder.path().display()), "");
    assert!(docs.contains(&faults), "{faults}");
}
