//! The catalogue: what can be ordered.
//!
//! A product is a folder: `product.yaml` (what it is), `values.yaml` and
//! `values-<environment>.yaml` (its values), `templates/*.yaml` (its objects).

mod definition;
mod files;
mod lint;
mod opening;
mod product;
mod read;
mod schema;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use files::Files;
use orderwire_types::Label;

pub use lint::{RenderRequest, Source, lint, render_folder};
pub(crate) use opening::misplaced;
pub use opening::{Gate, HttpGate, Opening, Openings, Scheme};
pub use product::{Access, OnFailure, Product, SecretSource};

/// Every product, by name. Read once, at start.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    products: BTreeMap<Label, Arc<Product>>,
}

/// Where products come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Whether the products that ship with Orderwire are among them.
    pub builtin: bool,
    /// Folders whose sub-folders are products. A product of the same name takes the
    /// place of one that came before.
    pub folders: Vec<PathBuf>,
}

impl Catalogue {
    /// Reads every product.
    ///
    /// # Errors
    /// Every fault of every product, each as `FILE:LINE:COLUMN: what is wrong`.
    pub fn load(sources: &Sources, names: &crate::Names) -> Result<Self, Vec<String>> {
        let mut all: Vec<Result<Files, Vec<String>>> = Vec::new();
        if sources.builtin {
            all.extend(Files::shipped().into_iter().map(Ok));
        }
        for folder in &sources.folders {
            match Files::folders(folder) {
                Ok(folders) => all.extend(folders.iter().map(|folder| Files::read(folder))),
                Err(faults) => all.push(Err(faults)),
            }
        }
        let mut products = BTreeMap::new();
        let mut faults = Vec::new();
        for files in all {
            match files.and_then(|files| read::product(&files, names)) {
                Ok(product) => drop(products.insert(product.name.clone(), Arc::new(product))),
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() { Ok(Self { products }) } else { Err(faults) }
    }

    /// One product.
    pub fn get(&self, name: &str) -> Option<&Arc<Product>> {
        self.products.get(name)
    }

    /// All products, by name.
    pub fn products(&self) -> impl Iterator<Item = &Arc<Product>> {
        self.products.values()
    }
}
