//! The declared files of a release as they are on disk. All calls block.

use std::collections::BTreeMap;

use serde_json::json;

use super::folder::Folder;
use super::manifest::{FILE, FileSpec};
use crate::target::{Error, Manifest};

/// Of the files that were declared last, those that are there: their names and
/// contents by their paths.
pub(super) fn files(folder: &Folder) -> Result<BTreeMap<String, (String, Vec<u8>)>, Error> {
    let mut files = BTreeMap::new();
    for (path, name) in folder.declared()? {
        if let Some(content) = folder.read(&path)? {
            files.insert(path, (name, content));
        }
    }
    Ok(files)
}

/// Those that are there, as manifests: a desired one at its path as it is desired, but
/// with the content on disk.
pub(super) fn manifests(
    folder: &Folder,
    desired: &[Manifest],
    parsed: &[FileSpec],
) -> Result<Vec<Manifest>, Error> {
    let there = files(folder)?.into_iter().map(|(path, (name, content))| {
        let as_desired = parsed.iter().any(|file| file.name == name && file.path == path);
        let manifest = desired.iter().find(|other| other.kind() == FILE && other.name() == name);
        let mut manifest = manifest.filter(|_| as_desired).cloned().unwrap_or_else(|| {
            Manifest(json!({"apiVersion": "orderwire.dev/v1", "kind": FILE, "metadata": {"name": name},
                "spec": {"path": path}}))
        });
        manifest.0["spec"]["content"] = String::from_utf8_lossy(&content).into();
        manifest
    });
    Ok(there.collect())
}

/// The names of those that are not there.
pub(super) fn missing(folder: &Folder, files: &[FileSpec]) -> Result<Vec<String>, Error> {
    let mut missing = Vec::new();
    for file in files {
        if !folder.has(&file.path)? {
            missing.push(file.name.clone());
        }
    }
    Ok(missing)
}
