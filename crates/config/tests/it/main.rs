//! The configuration from outside, as `up` and `check` load it.

mod faults;
mod forwards;
mod generated;
mod hostile;
mod layers;
mod mqtt;
mod orders;
mod rules;
mod semantics;
mod settings;
mod yaml;

use orderwire_config::{Config, Faults, Sources};

/// Loads a file of this content. Faults show it as `orderwire.yaml`.
fn load(yaml: impl AsRef<[u8]>) -> Result<Config, String> {
    load_with(yaml, &[]).map_err(|faults| faults.to_string())
}

fn load_with(yaml: impl AsRef<[u8]>, env: &[(&str, &str)]) -> Result<Config, Shown> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("orderwire.yaml");
    std::fs::write(&file, yaml).expect("a file");
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let sources = Sources { file: Some(file), env, ..Sources::default() };
    Config::load(&sources).map_err(|faults| Shown { faults, folder: folder.path().display().to_string() })
}

/// Faults without the folder of the test.
#[derive(Debug)]
struct Shown {
    faults: Faults,
    folder: String,
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.faults.to_string().replace(&format!("{}/", self.folder), ""))
    }
}
