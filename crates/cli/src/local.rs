//! What commands do on this machine with the server's own code. The binary
//! supplies it, because commands know no service.

use std::path::Path;
use std::pin::Pin;

use orderwire_config::{Config, Faults, Sources};
use serde_json::Value;

/// How a configuration is loaded: as a server does it, so that both refuse the
/// same.
pub type Load = fn(&Sources) -> Result<Config, Faults>;

/// The functions that work without a server.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    /// Loads a configuration.
    pub load: Load,
    /// Checks the product in a folder: every fault with its file and line.
    pub lint: fn(&Config, &Path) -> Vec<String>,
    /// Renders a product: its objects as text, or every fault.
    pub render: fn(&Config, &RenderRequest) -> Result<String, Vec<String>>,
    /// What rules would do with an event, as the JSON of [`RuleTrials`](orderwire_api::wire::RuleTrials) on
    /// one line, or what is wrong with the request.
    pub try_rules: fn(&Config, &RuleRequest) -> Result<String, String>,
    /// What somebody has to know of a configuration that is sound: a sentence each.
    pub warnings: fn(&Config) -> Vec<String>,
    /// Whether the broker that is configured can be reached and takes messages.
    pub try_broker: fn(&Config) -> Trying<'_>,
    /// Whether the PostgreSQL that is configured can be used; what it is.
    pub try_store: fn(&Config) -> Trying<'_, String>,
    /// Whether the Redis that is configured can be reached and keeps answers.
    pub try_cache: fn(&Config) -> Trying<'_>,
}

/// Something that is tried; why it failed, in plain words.
pub type Trying<'c, T = ()> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'c>>;

/// What is tried on rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRequest {
    /// This rule alone, or all.
    pub rule: Option<String>,
    /// The event, in any of its forms.
    pub event: Vec<u8>,
    /// The type of an event that says none.
    pub event_type: Option<String>,
    /// The client of an event that names none.
    pub client: Option<String>,
}

/// What is rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderRequest {
    /// A folder with a `product.yaml`, or the name of a product of the configuration.
    pub product: String,
    /// Whose; the default client when not named.
    pub client: Option<String>,
    /// The environment; the default one when not named.
    pub environment: Option<String>,
    /// The name of the release; the product's when not named.
    pub name: Option<String>,
    /// The archtype.
    pub archtype: Option<String>,
    /// The hardware class.
    pub hardware: Option<String>,
    /// The namespace; the client when not named.
    pub namespace: Option<String>,
    /// The parameters of the order: an object.
    pub parameters: Value,
}
