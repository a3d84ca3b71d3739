//! The ports of processes: fixed ones, and free ones that are remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::super::folder::replace;
use super::super::manifest::ProcessSpec;

pub(super) struct Ports {
    path: PathBuf,
    /// By `process/port`.
    remembered: Mutex<BTreeMap<String, u16>>,
}

impl Ports {
    /// What cannot be read is chosen anew.
    pub(super) fn open(path: &Path) -> Self {
        let text = std::fs::read(path).unwrap_or_default();
        let remembered = Mutex::new(serde_json::from_slice(&text).unwrap_or_default());
        Self { path: path.to_owned(), remembered }
    }

    /// The ports for a process that starts now, by name; else why it cannot.
    pub(super) fn choose(&self, process: &ProcessSpec) -> Result<BTreeMap<String, u16>, String> {
        let mut chosen = BTreeMap::new();
        for (name, &fixed) in &process.ports {
            let port = if fixed > 0 {
                is_free(fixed)
                    .then_some(fixed)
                    .ok_or_else(|| format!("port {fixed} is taken by another process"))?
            } else {
                self.free(&format!("{}/{name}", process.name))?
            };
            chosen.insert(name.clone(), port);
        }
        Ok(chosen)
    }

    fn free(&self, key: &str) -> Result<u16, String> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&port) = remembered.get(key).filter(|port| is_free(**port)) {
            return Ok(port);
        }
        let taken: BTreeSet<u16> = remembered.values().copied().collect();
        let port = (0..100).find_map(|_| any_free().ok().filter(|port| !taken.contains(port)));
        let port = port.ok_or_else(|| "no port is free".to_owned())?;
        remembered.insert(key.to_owned(), port);
        let text = serde_json::to_vec(&*remembered).expect("a map of numbers is serialisable");
        replace(&self.path, &text).map_err(|error| format!("its port cannot be remembered: {error}"))?;
        Ok(port)
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn any_free() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
