//! What orders are resolved with: enumerations with their aliases, products and
//! targets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use orderwire_types::Label;
use orderwire_types::dataset::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, Config};

/// The settings of an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Environment {
    /// Other names for it, in any case.
    pub aliases: Vec<String>,
    /// The target that its releases run on; that of `default` when left out.
    #[schemars(with = "Option<String>")]
    pub target: Option<Label>,
    /// Only in `default`: the environment of an order that names none.
    #[schemars(with = "Option<String>")]
    pub name: Option<Label>,
}

/// A word of an enumeration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Word {
    /// Other names for it, in any case.
    pub aliases: Vec<String>,
}

/// Where products come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Products {
    /// Whether the products that ship with Orderwire can be ordered.
    pub builtin: bool,
    /// Folders whose sub-folders are products.
    pub folders: Vec<PathBuf>,
    /// Other names under which products can be ordered, in any case: `small-module: sensor`.
    #[schemars(with = "BTreeMap<String, String>")]
    pub aliases: BTreeMap<String, Label>,
}

impl Default for Products {
    fn default() -> Self {
        Self { builtin: true, folders: Vec::new(), aliases: BTreeMap::new() }
    }
}

/// Where releases run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TargetSettings {
    /// What it is.
    pub kind: TargetKind,
    /// The namespace of an order that names none: `{client}`, `{environment}`, `{name}`
    /// and `{product}` stand for those of the order.
    pub namespace: String,
    /// How many releases are worked on at once, 1 to 256.
    pub concurrency: u32,
    /// The most memory that a process may take unless its product says less.
    pub memory: ByteSize,
    /// How long a process has to end after SIGTERM, before SIGKILL: 0s to 5m.
    pub grace: Span,
}

impl Default for TargetSettings {
    fn default() -> Self {
        Self {
            kind: TargetKind::Process,
            namespace: "{client}".to_owned(),
            concurrency: 16,
            memory: ByteSize(1 << 30),
            grace: Span(std::time::Duration::from_secs(5)),
        }
    }
}

/// The kinds of target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// Processes of this machine, which end with Orderwire and come back with it.
    #[default]
    Process,
}

/// The key of `environments` that holds what every environment has unless it says
/// otherwise.
pub(crate) const DEFAULT: &str = "default";
/// The target that exists without configuration.
pub(crate) const LOCAL: &str = "local";

/// What the template of a namespace may name.
pub(crate) const PLACEHOLDERS: [&str; 4] = ["client", "environment", "name", "product"];

/// Environments that exist without configuration, with their aliases.
pub(crate) const ENVIRONMENTS: [(&str, &[&str]); 6] = [
    ("dev", &["development"]),
    ("qa", &["test"]),
    ("uat", &[]),
    ("stage", &["staging"]),
    ("preprod", &["pre-production", "preproduction"]),
    ("production", &["prod"]),
];
/// Archtypes that exist without configuration.
pub(crate) const ARCHTYPES: [(&str, &[&str]); 3] =
    [("saas", &[]), ("edge", &[]), ("classic", &["on-prem", "onprem", "on-premise"])];
/// Hardware classes that exist without configuration.
pub(crate) const HARDWARE: [(&str, &[&str]); 2] = [("shared", &["classic"]), ("dedicated", &[])];

/// The words that orders use, with their aliases: every look-up ignores case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    environments: BTreeMap<String, String>,
    archtypes: BTreeMap<String, String>,
    hardware: BTreeMap<String, String>,
    products: BTreeMap<String, String>,
    default_environment: String,
    targets: BTreeMap<String, String>,
}

impl Names {
    /// The words of a configuration.
    pub fn of(config: &Config) -> Self {
        let environments = config.environments.iter().filter(|(name, _)| name.as_str() != DEFAULT);
        let of_environment = environments.map(|(name, settings)| (name.as_str(), &settings.aliases));
        let words = |words: &'_ BTreeMap<Label, Word>| -> Vec<(String, Vec<String>)> {
            words.iter().map(|(name, word)| (name.to_string(), word.aliases.clone())).collect()
        };
        let own = |known: &[(&str, &[&str])]| -> Vec<(String, Vec<String>)> {
            known
                .iter()
                .map(|(name, aliases)| {
                    ((*name).to_owned(), aliases.iter().map(|alias| (*alias).to_owned()).collect())
                })
                .collect()
        };
        let of_environment: Vec<_> =
            of_environment.map(|(name, aliases)| (name.to_owned(), aliases.clone())).collect();
        let base = config.environments.get(DEFAULT);
        let base_target = base.and_then(|base| base.target.as_ref()).map_or(LOCAL, |target| target.as_str());
        let environments = look_up(own(&ENVIRONMENTS), of_environment);
        let targets = environments
            .values()
            .map(|name| {
                let own = config.environments.get(name.as_str()).and_then(|own| own.target.as_ref());
                (name.clone(), own.map_or(base_target, |target| target.as_str()).to_owned())
            })
            .collect();
        // An alias of an environment is as good as its name.
        let default_environment = base
            .and_then(|base| base.name.as_ref())
            .map_or(ENVIRONMENTS[0].0, |name| {
                environments.get(name.as_str()).map_or(name.as_str(), String::as_str)
            })
            .to_owned();
        Self {
            archtypes: look_up(own(&ARCHTYPES), words(&config.archtypes)),
            hardware: look_up(own(&HARDWARE), words(&config.hardware)),
            products: config
                .products
                .aliases
                .iter()
                .map(|(alias, product)| (alias.to_lowercase(), product.to_string()))
                .collect(),
            default_environment,
            environments,
            targets,
        }
    }

    /// The canonical name of an environment; of the default one for `None`.
    pub fn environment(&self, given: Option<&str>) -> Option<&str> {
        match given {
            None => Some(&self.default_environment),
            Some(given) => self.environments.get(&given.to_lowercase()).map(String::as_str),
        }
    }

    /// The canonical name of an archtype.
    pub fn archtype(&self, given: &str) -> Option<&str> {
        self.archtypes.get(&given.to_lowercase()).map(String::as_str)
    }

    /// The canonical name of a hardware class.
    pub fn hardware(&self, given: &str) -> Option<&str> {
        self.hardware.get(&given.to_lowercase()).map(String::as_str)
    }

    /// The name of a product: what its alias stands for, else the name itself in
    /// lower case. Whether it exists is for the catalogue to say.
    pub fn product(&self, given: &str) -> String {
        let lower = given.to_lowercase();
        self.products.get(&lower).cloned().unwrap_or(lower)
    }

    /// The aliases of a product, by name.
    pub fn aliases_of(&self, product: &str) -> impl Iterator<Item = &str> {
        self.products.iter().filter(move |(_, of)| of.as_str() == product).map(|(alias, _)| alias.as_str())
    }

    /// Canonical environments, by name.
    pub fn environments(&self) -> impl Iterator<Item = &str> {
        self.targets.keys().map(String::as_str)
    }

    /// The canonical archtypes, by name.
    pub fn archtypes(&self) -> Vec<&str> {
        distinct(&self.archtypes)
    }

    /// The canonical hardware classes, by name.
    pub fn hardware_classes(&self) -> Vec<&str> {
        distinct(&self.hardware)
    }

    /// The target of a canonical environment.
    pub fn target_of(&self, environment: &str) -> Option<&str> {
        self.targets.get(environment).map(String::as_str)
    }
}

fn distinct(words: &BTreeMap<String, String>) -> Vec<&str> {
    let mut names: Vec<&str> = words.values().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Every spelling in lower case with what it stands for. A configured word or alias
/// goes before one that exists anyway.
fn look_up(
    own: Vec<(String, Vec<String>)>,
    configured: Vec<(String, Vec<String>)>,
) -> BTreeMap<String, String> {
    let mut words = BTreeMap::new();
    for (name, aliases) in own.into_iter().chain(configured) {
        for alias in aliases {
            words.insert(alias.to_lowercase(), name.clone());
        }
        words.insert(name.clone(), name);
    }
    words
}

impl Config {
    /// Every target: the configured ones, and `local` (processes of this machine) when
    /// none is configured under that name.
    pub fn target_settings(&self) -> BTreeMap<String, TargetSettings> {
        let mut targets: BTreeMap<String, TargetSettings> =
            self.targets.iter().map(|(name, target)| (name.to_string(), target.clone())).collect();
        targets.entry(LOCAL.to_owned()).or_default();
        targets
    }
}
