//! A product tried out: every fault that can be found before anybody orders it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use orderwire_config::yaml;
use orderwire_types::{Client, Label};
use serde_json::{Map, Value};

use super::files::{FILE_BYTES_MAX, Files};
use super::opening::misplaced;
use super::{Product, Sources, read};
use crate::Names;
use crate::render::{Context, Placed, RenderError};
use crate::target::Manifest;
use crate::targets::process;

/// Text that would be more than text to a careless template.
const HOSTILE: &str =
    "a: \"b\"\n- 'c' {d: [e]} #f\n---\nkind: Evil\n{{ values }} {% raw %} & * ! | > % @ ` \u{E100} <i>";

/// Where a product is read from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Its folder.
    Folder(PathBuf),
    /// It is the one of this name that a server with these sources has.
    Named(String, Sources),
}

impl From<&Path> for Source {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.to_owned())
    }
}

impl From<&PathBuf> for Source {
    fn from(folder: &PathBuf) -> Self {
        Self::Folder(folder.clone())
    }
}

impl From<&Self> for Source {
    fn from(source: &Self) -> Self {
        source.clone()
    }
}

impl Source {
    fn files(&self) -> Result<Files, Vec<String>> {
        match self {
            Self::Folder(folder) => Files::read(folder),
            Self::Named(name, sources) => named(name, sources),
        }
    }
}

/// The files of a product of the sources. As in the catalogue, a later one takes the
/// place of an earlier one.
fn named(name: &str, sources: &Sources) -> Result<Files, Vec<String>> {
    let mut all = if sources.builtin { Files::shipped() } else { Vec::new() };
    let mut folders = Vec::new();
    for folder in &sources.folders {
        folders.extend(Files::folders(folder)?);
    }
    let of_folder = |folder: &PathBuf| folder.file_name().map(|name| name.to_string_lossy().into_owned());
    if let Some(folder) = folders.iter().rfind(|folder| of_folder(folder).as_deref() == Some(name)) {
        return Files::read(folder);
    }
    if let Some(at) = all.iter().position(|files| files.name == name) {
        return Ok(all.swap_remove(at));
    }
    let known = all.into_iter().map(|files| files.name).chain(folders.iter().filter_map(of_folder));
    let known: BTreeSet<String> = known.collect();
    let known = known.into_iter().collect::<Vec<_>>().join(", ");
    Err(vec![format!("there is no product {name:?} nor a folder of a product here; there are {known}")])
}

/// Every fault of a product, each as `FILE:LINE:COLUMN: what is wrong, what to do`;
/// empty when it is sound. It is rendered for every environment with the examples and
/// defaults of its parameters, and with hostile text wherever a parameter takes it; what
/// its target would refuse of the objects is told as well. A
/// parameter that is required and has neither is told, because without one nothing can
/// be tried.
pub fn lint(source: impl Into<Source>, names: &Names) -> Vec<String> {
    let read = source.into().files().and_then(|files| Ok((read::product(&files, names)?, files)));
    match read {
        Ok((product, files)) => Lint { product: &product, files: &files, names, faults: Vec::new() }.run(),
        Err(faults) => faults,
    }
}

/// A release to be rendered, in the words of an order.
#[derive(Clone, Debug)]
pub struct RenderRequest {
    /// Whose.
    pub client: Client,
    /// The environment, by any of its names; the default one for `None`.
    pub environment: Option<String>,
    /// The name of the release; that of the product for `None`.
    pub name: Option<String>,
    /// The archtype, by any of its names.
    pub archtype: Option<String>,
    /// The hardware class, by any of its names.
    pub hardware: Option<String>,
    /// The namespace; the client for `None`.
    pub namespace: Option<String>,
    /// The parameters; `Null` is none.
    pub parameters: Value,
}

/// The objects of a release as YAML documents (which JSON documents are), without a
/// server.
///
/// # Errors
/// Every fault of the product, or of the request.
pub fn render_folder(
    source: impl Into<Source>,
    names: &Names,
    request: &RenderRequest,
) -> Result<String, Vec<String>> {
    let files = source.into().files()?;
    let product = read::product(&files, names)?;
    let context = context(&product, names, request)?;
    let manifests = product.render(&context).map_err(|error| vec![placed(&files, &error)])?;
    let mut text = String::new();
    for manifest in &manifests {
        if !text.is_empty() {
            text.push_str("---\n");
        }
        text.push_str(
            &serde_json::to_string_pretty(manifest).expect("maps with string keys are serialisable"),
        );
        text.push('\n');
    }
    Ok(text)
}

fn context(product: &Product, names: &Names, request: &RenderRequest) -> Result<Context, Vec<String>> {
    let mut faults = Vec::new();
    let mut word = |what: &str, given: &Option<String>, known: Option<&str>, all: Vec<&str>| {
        if let (Some(given), None) = (given, known) {
            faults.push(format!("{given:?} is no {what}; there are {}", all.join(", ")));
        }
        known.unwrap_or_default().to_owned()
    };
    let environment = names.environment(request.environment.as_deref());
    let environment = word("environment", &request.environment, environment, names.environments().collect());
    let archtype = request.archtype.as_deref().and_then(|given| names.archtype(given));
    let archtype = word("archtype", &request.archtype, archtype, names.archtypes());
    let hardware = request.hardware.as_deref().and_then(|given| names.hardware(given));
    let hardware = word("hardware class", &request.hardware, hardware, names.hardware_classes());
    let release = request.name.clone().unwrap_or_else(|| product.name.to_string());
    let namespace = request.namespace.clone().unwrap_or_else(|| request.client.to_string());
    for name in [&release, &namespace] {
        faults.extend(name.parse::<Label>().err().map(|invalid| invalid.to_string()));
    }
    let none = Value::Object(Map::new());
    let parameters = if request.parameters.is_null() { &none } else { &request.parameters };
    let wrong = product.check_parameters(parameters);
    faults.extend(wrong.iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)));
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Context {
        client: request.client.clone(),
        product: product.name.to_string(),
        release,
        values: product.values(&environment, parameters),
        environment,
        archtype,
        hardware,
        namespace,
    })
}

struct Lint<'l> {
    product: &'l Product,
    files: &'l Files,
    names: &'l Names,
    faults: Vec<String>,
}

impl Lint<'_> {
    fn run(mut self) -> Vec<String> {
        let file = self.files.shown("product.yaml");
        let schema = &self.product.schema;
        if schema.json["additionalProperties"] != false && schema.json["unevaluatedProperties"] != false {
            self.faults.push(format!(
                "{file}: parameters: say additionalProperties: false, so that a misspelt parameter is refused"
            ));
        }
        let (examples, missing) = schema.examples();
        for name in &missing {
            self.faults.push(format!(
                "{file}: parameters.{name}: is required and has neither a default nor examples; give one, so that the product can be tried"
            ));
        }
        if !missing.is_empty() {
            return self.faults;
        }
        let examples = Value::Object(examples);
        for fault in self.product.check_parameters(&examples) {
            let detail = format!("an example or default breaks the schema: {}", fault.detail);
            self.faults.push(format!("{file}: {}: {detail}", fault.pointer));
        }
        let environments: Vec<String> = self.names.environments().map(str::to_owned).collect();
        for environment in &environments {
            self.try_with(environment, &examples, &format!("in {environment}"));
        }
        if let (true, Some(environment)) = (self.faults.is_empty(), environments.first()) {
            for name in schema.texts() {
                let mut parameters = examples.clone();
                parameters[&name] = HOSTILE.into();
                if self.product.check_parameters(&parameters).is_empty() {
                    let why = format!(
                        "with any text as {name}, which the schema allows; narrow it with a pattern or use the value elsewhere"
                    );
                    self.try_with(environment, &parameters, &why);
                }
            }
        }
        self.faults
    }

    fn try_with(&mut self, environment: &str, parameters: &Value, why: &str) {
        let context = Context {
            client: "acme".parse().expect("a client"),
            product: self.product.name.to_string(),
            release: self.product.name.to_string(),
            environment: environment.to_owned(),
            archtype: String::new(),
            hardware: String::new(),
            namespace: "acme".to_owned(),
            values: self.product.values(environment, parameters),
        };
        let faults = match self.product.placed(&context) {
            Ok(objects) if self.product.targets.iter().any(|target| target == "process") => {
                self.misplaced(&objects, why);
                refused(&objects)
            }
            Ok(_) => Vec::new(),
            Err(error) => vec![error],
        };
        self.faults.extend(faults.iter().map(|fault| format!("{} ({why})", placed(self.files, fault))));
    }

    /// Openings whose port not exactly one object has, at their place.
    fn misplaced(&mut self, objects: &[Placed], why: &str) {
        let manifests: Vec<Manifest> = objects.iter().map(|object| object.manifest.clone()).collect();
        for (name, detail) in misplaced(&self.product.openings, &manifests, process::ports) {
            let at = self.place(&["openings", name.as_str(), "port"]);
            self.faults.push(format!("{at}: openings.{name}.port: {detail} ({why})"));
        }
    }

    /// The place of a value of `product.yaml`.
    fn place(&self, path: &[&str]) -> String {
        let file = self.files.shown("product.yaml");
        let text = self.files.texts.get("product.yaml").map_or("", String::as_str);
        let documents = yaml::documents(&file, text, FILE_BYTES_MAX).unwrap_or_default();
        let first = documents.first();
        let value = path.iter().fold(first, |node, key| node.and_then(|node| node.get(key)));
        value.map_or(file, |node| node.at.to_string())
    }
}

/// What the target `process` refuses: of each object, with its place, and of all together.
fn refused(objects: &[Placed]) -> Vec<RenderError> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for object in objects {
        for fault in process::check(std::slice::from_ref(&object.manifest)) {
            seen.insert(fault.clone());
            faults.push(object.fault(fault));
        }
    }
    let all: Vec<Manifest> = objects.iter().map(|object| object.manifest.clone()).collect();
    let together = process::check(&all).into_iter().filter(|fault| !seen.contains(fault));
    faults.extend(together.map(|detail| RenderError { template: None, line: 0, detail }));
    faults
}

fn placed(files: &Files, error: &RenderError) -> String {
    format!("{}/{error}", files.root)
}
