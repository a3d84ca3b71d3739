//! The catalogue: what can be ordered.
//!
//! A product is a folder: `product.yaml` (what it is), `values.yaml` and
//! `values-<environment>.yaml` (its values), `templates/*.yaml` (its objects).

mod product;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use orderwire_types::Label;

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
        let _ = (sources, names);
        todo!()
    }

    /// One product.
    pub fn get(&self, name: &str) -> Option<&Arc<Product>> {
        let name: Label = name.parse().ok()?;
        self.products.get(&name)
    }

    /// All products, by name.
    pub fn products(&self) -> impl Iterator<Item = &Arc<Product>> {
        self.products.values()
    }
}
