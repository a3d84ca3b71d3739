//! The configuration described for people and for editors.

use crate::model::Config;

/// The commented default file, as `config default` prints it. It says nothing
/// but the defaults: loading it gives [`Config::default`].
pub fn default_yaml() -> &'static str {
    include_str!("../default.yaml")
}

/// The JSON Schema of the configuration (draft 2020-12).
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Config).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".into(), "Orderwire configuration".into());
    }
    schema
}
