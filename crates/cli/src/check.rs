//! `orderwire check`: every fault of a configuration at once; with
//! `--connect` what it names is tried as well.

use std::fs::{File, TryLockError};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use orderwire_config::{Config, Faults, Overrides, Sources, environment};
use serde::Serialize;

use crate::args::{Check, Global};
use crate::error::{Error, ErrorKind};
use crate::local::Local;
use crate::out::{Out, plain};

#[derive(Serialize)]
struct Report<'a> {
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<&'a Faults>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    connections: Vec<Connection>,
}

/// One thing that the configuration names, tried.
#[derive(Debug, Serialize)]
struct Connection {
    key: &'static str,
    value: String,
    ok: bool,
    detail: String,
}

pub(crate) async fn run(args: &Check, global: &Global, local: Local, out: Out) -> Result<(), Error> {
    let config = match (local.load)(&sources(args.config.clone(), global)) {
        Ok(config) => config,
        Err(faults) if out.json => {
            let (warnings, connections) = (Vec::new(), Vec::new());
            out.json(&Report { valid: false, faults: Some(&faults), warnings, connections })?;
            return Err(Error::reported(ErrorKind::Invalid));
        }
        Err(faults) => {
            for fault in faults.iter() {
                eprintln!("{}", plain(&fault.to_string()));
            }
            return Err(Error::reported(ErrorKind::Invalid));
        }
    };
    let warnings = (local.warnings)(&config);
    let connections = if args.connect { connect(&config, local).await } else { Vec::new() };
    let reached = connections.iter().all(|connection| connection.ok);
    if out.json {
        out.json(&Report { valid: true, faults: None, warnings, connections })?;
    } else {
        out.line(&format!(
            "the configuration is sound: {} queues, {} datasets, {} views",
            config.queue_definitions().len(),
            config.datasets.len(),
            config.views.len()
        ))?;
        for warning in &warnings {
            out.line(&plain(&format!("warning: {warning}")))?;
        }
        for Connection { key, value, ok, detail } in &connections {
            let line = format!("{} {key} {value}: {detail}", if *ok { "ok  " } else { "FAIL" });
            out.line(&plain(&line))?;
        }
    }
    if reached { Ok(()) } else { Err(Error::reported(ErrorKind::Unavailable)) }
}

/// Where a command finds the configuration, as a server does.
pub(crate) fn sources(file: Option<PathBuf>, global: &Global) -> Sources {
    let overrides = Overrides { listen: None, data: global.data.clone() };
    Sources { file, env: environment(), overrides, ..Sources::default() }
}

async fn connect(config: &Config, local: Local) -> Vec<Connection> {
    let mut connections = vec![folder("data", &config.data)];
    let store = config.store_folder();
    if config.store.is_postgres() {
        let (ok, detail) = match (local.try_store)(config).await {
            Ok(detail) => (true, detail),
            Err(detail) => (false, detail),
        };
        connections.push(Connection { key: "store.url", value: config.store.url.clone(), ok, detail });
    } else if store != config.data {
        connections.push(folder("store.url", &store));
    }
    let (ok, detail) = match TcpListener::bind(config.listen) {
        Ok(_) => (true, "the address is free".to_owned()),
        Err(error) => (false, format!("{error}; choose another address or stop what listens there")),
    };
    connections.push(Connection { key: "listen", value: config.listen.to_string(), ok, detail });
    if !config.broker.url.is_none() {
        let (ok, detail) = match (local.try_broker)(config).await {
            Ok(()) => (true, "connected, and takes messages".to_owned()),
            Err(detail) => (false, detail),
        };
        connections.push(Connection { key: "broker.url", value: config.broker.url.place(), ok, detail });
    }
    if !config.cache.is_in_memory() {
        let (ok, detail) = match (local.try_cache)(config).await {
            Ok(()) => (true, "connected, and keeps answers".to_owned()),
            Err(detail) => (false, detail),
        };
        connections.push(Connection { key: "cache.url", value: config.cache.url.clone(), ok, detail });
    }
    connections
}

/// Whether a server could work in this folder now. Leaves nothing behind.
fn folder(key: &'static str, path: &Path) -> Connection {
    let (ok, detail) = match try_folder(path) {
        Ok(detail) => (true, detail),
        Err(detail) => (false, detail),
    };
    Connection { key, value: path.display().to_string(), ok, detail }
}

fn try_folder(path: &Path) -> Result<String, String> {
    let Some(existing) = path.ancestors().find(|folder| folder.as_os_str().is_empty() || folder.exists())
    else {
        return Err("no part of this path exists".to_owned());
    };
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    let probe = existing.join(format!(".orderwire-check-{}", std::process::id()));
    File::create_new(&probe)
        .and_then(|_| std::fs::remove_file(&probe))
        .map_err(|error| format!("{} cannot be written: {error}", existing.display()))?;
    if existing != path && !path.exists() {
        return Ok("does not exist yet and can be made".to_owned());
    }
    match File::open(path.join("lock")).map(|lock| lock.try_lock()) {
        Ok(Ok(())) => Ok("can be written, in use by nobody".to_owned()),
        Ok(Err(TryLockError::WouldBlock)) => Err("is in use by a running server".to_owned()),
        Ok(Err(TryLockError::Error(error))) => Err(format!("cannot be locked: {error}")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok("can be written".to_owned()),
        Err(error) => Err(format!("its file `lock` cannot be opened: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_tried_and_nothing_is_left_behind() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(try_folder(&root.path().join("a/b")).unwrap(), "does not exist yet and can be made");
        assert_eq!(try_folder(root.path()).unwrap(), "can be written");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_in_use_says_so() {
        let root = tempfile::tempdir().unwrap();
        let lock = File::create(root.path().join("lock")).unwrap();
        lock.lock().unwrap();
        assert!(try_folder(root.path()).unwrap_err().contains("in use"));
        drop(lock);
        assert!(try_folder(root.path()).unwrap().contains("nobody"));
    }

    #[test]
    fn a_file_in_the_way_is_a_fault() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(try_folder(&file.join("data")).is_err());
    }
}
