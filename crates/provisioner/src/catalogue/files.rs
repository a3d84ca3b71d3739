//! The files of a product, read within bounds: from a folder, or from this binary.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rust_embed::RustEmbed;

/// The most bytes of a file of a product.
pub(super) const FILE_BYTES_MAX: usize = 1024 * 1024;
/// The most templates of a product.
const TEMPLATES_MAX: usize = 64;
/// The most products of a folder.
const PRODUCTS_MAX: usize = 256;
/// The most entries of a folder that are looked at.
const ENTRIES_MAX: usize = 10_000;
/// The folder of the templates.
const TEMPLATES: &str = "templates";

#[derive(RustEmbed)]
#[folder = "../../products"]
struct Shipped;

/// The files of one product.
#[derive(Debug)]
pub(super) struct Files {
    /// The name of its folder.
    pub(super) name: String,
    /// How the folder is shown in messages.
    pub(super) root: String,
    /// The texts of `product.yaml`, `values*.yaml` and `templates/*.yaml`, by these paths.
    pub(super) texts: BTreeMap<String, String>,
}

impl Files {
    /// The products that ship with Orderwire.
    pub(super) fn shipped() -> Vec<Self> {
        let mut products: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for path in Shipped::iter() {
            let (Some((name, inner)), Some(file)) = (path.split_once('/'), Shipped::get(&path)) else {
                continue;
            };
            let text = String::from_utf8_lossy(&file.data).into_owned();
            products.entry(name.to_owned()).or_default().insert(inner.to_owned(), text);
        }
        let files = |(name, texts): (String, _)| Self { root: format!("products/{name}"), name, texts };
        products.into_iter().map(files).collect()
    }

    /// Reads the folder of a product.
    ///
    /// # Errors
    /// Every file that cannot be one of a product.
    pub(super) fn read(folder: &Path) -> Result<Self, Vec<String>> {
        let root = folder.display().to_string();
        let inside = folder.canonicalize().map_err(|error| vec![cannot_read(folder, &error)])?;
        let name = inside.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut reader = Reader { inside, texts: BTreeMap::new(), faults: Vec::new() };
        for (name, path) in entries(folder).map_err(|fault| vec![fault])? {
            let is_folder = path.is_dir();
            match name.as_str() {
                _ if name.starts_with('.') => {}
                TEMPLATES if is_folder => reader.templates(&path),
                "product.yaml" | "values.yaml" => reader.file(name, &path),
                _ if is_folder => reader.faults.push(format!(
                    "{}: a product has no folder but {TEMPLATES}; remove this one",
                    path.display()
                )),
                _ if name.starts_with("values-") && name.ends_with(".yaml") => reader.file(name, &path),
                // A misspelt file would be left out without a word.
                _ if is_yaml(&name) => reader.faults.push(format!(
                    "{}: not a file of a product; they are product.yaml, values.yaml, values-<environment>.yaml and {TEMPLATES}/*.yaml",
                    path.display()
                )),
                _ => {}
            }
        }
        if reader.faults.is_empty() {
            Ok(Self { name, root, texts: reader.texts })
        } else {
            Err(reader.faults)
        }
    }

    /// The folders of the products in a folder, by name.
    ///
    /// # Errors
    /// When it cannot be read, or holds too many.
    pub(super) fn folders(parent: &Path) -> Result<Vec<PathBuf>, Vec<String>> {
        let inside = parent.canonicalize().map_err(|error| vec![cannot_read(parent, &error)])?;
        let mut folders = Vec::new();
        let mut faults = Vec::new();
        for (name, path) in entries(parent).map_err(|fault| vec![fault])? {
            if name.starts_with('.') || !path.is_dir() {
                continue;
            }
            match contained(&inside, &path) {
                Ok(_) => folders.push(path),
                Err(fault) => faults.push(fault),
            }
        }
        if folders.len() > PRODUCTS_MAX {
            faults.push(format!("{}: more than {PRODUCTS_MAX} products; split the folder", parent.display()));
        }
        if faults.is_empty() { Ok(folders) } else { Err(faults) }
    }

    /// How a file is shown in messages.
    pub(super) fn shown(&self, path: &str) -> String {
        format!("{}/{path}", self.root)
    }

    /// The templates, by their path.
    pub(super) fn templates(&self) -> BTreeMap<String, String> {
        let is_template = |(path, _): &(&String, &String)| path.starts_with(TEMPLATES);
        self.texts.iter().filter(is_template).map(|(path, text)| (path.clone(), text.clone())).collect()
    }
}

struct Reader {
    inside: PathBuf,
    texts: BTreeMap<String, String>,
    faults: Vec<String>,
}

impl Reader {
    fn templates(&mut self, folder: &Path) {
        if let Err(fault) = contained(&self.inside, folder) {
            self.faults.push(fault);
            return;
        }
        let entries = match entries(folder) {
            Ok(entries) => entries,
            Err(fault) => return self.faults.push(fault),
        };
        let before = self.texts.len();
        for (name, path) in entries.into_iter().filter(|(name, _)| !name.starts_with('.')) {
            if path.is_dir() || !name.ends_with(".yaml") {
                let fault = format!("{}: {TEMPLATES} holds *.yaml files alone; remove this", path.display());
                self.faults.push(fault);
            } else if self.texts.len() - before >= TEMPLATES_MAX {
                let fault = format!("{}: more than {TEMPLATES_MAX} templates", folder.display());
                return self.faults.push(fault);
            } else {
                self.file(format!("{TEMPLATES}/{name}"), &path);
            }
        }
    }

    fn file(&mut self, name: String, path: &Path) {
        match contained(&self.inside, path).and_then(|file| read_text(&file, path)) {
            Ok(text) => drop(self.texts.insert(name, text)),
            Err(fault) => self.faults.push(fault),
        }
    }
}

/// Where a path really is, when that is inside.
fn contained(inside: &Path, path: &Path) -> Result<PathBuf, String> {
    let real = path.canonicalize().map_err(|error| cannot_read(path, &error))?;
    if real.starts_with(inside) {
        return Ok(real);
    }
    Err(format!("{}: leads out of its folder; put the file itself here", path.display()))
}

fn read_text(file: &Path, shown: &Path) -> Result<String, String> {
    // A pipe or device would never end.
    let metadata = fs::metadata(file).map_err(|error| cannot_read(shown, &error))?;
    if !metadata.is_file() {
        return Err(format!("{}: not a regular file", shown.display()));
    }
    let mut bytes = Vec::new();
    let opened = fs::File::open(file).map_err(|error| cannot_read(shown, &error))?;
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX) + 1;
    opened.take(limit).read_to_end(&mut bytes).map_err(|error| cannot_read(shown, &error))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("{}: larger than 1 MiB", shown.display()));
    }
    String::from_utf8(bytes).map_err(|_| format!("{}: not UTF-8 text", shown.display()))
}

/// The entries of a folder, by name.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| cannot_read(folder, &error))? {
        let entry = entry.map_err(|error| cannot_read(folder, &error))?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(format!("{}: the name is not UTF-8", entry.path().display()));
        };
        if entries.len() >= ENTRIES_MAX {
            return Err(format!("{}: more than {ENTRIES_MAX} files", folder.display()));
        }
        entries.push((name, entry.path()));
    }
    entries.sort();
    Ok(entries)
}

fn is_yaml(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    [".yaml", ".yml"].iter().any(|end| lower.ends_with(end))
}

fn cannot_read(path: &Path, error: &std::io::Error) -> String {
    format!("{}: cannot be read: {error}", path.display())
}
