//! The first key: whoever may read the data folder may do everything.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind as IoKind, Write};
use std::path::{Path, PathBuf};

use orderwire_store::KeyRecord;
use orderwire_types::Right;
use orderwire_types::scope::Clients;

use super::text::{self, KeyText};
use super::{BOOTSTRAP_NAME, Error, KeyRing};

impl KeyRing {
    /// Makes sure that the file at `path` holds a valid key of a caller who may
    /// do everything. When it is missing, or what it holds is not valid (any
    /// more), a new key takes its place and the ones that were made here before
    /// are revoked. Of a store that several servers share, each with a data folder of its
    /// own, only those that were made for this folder: its name stands in the file `node`
    /// beside the key. Returns whether a new one was made.
    ///
    /// # Errors
    /// When a file cannot be read or written, or the store fails.
    pub async fn ensure_admin(&self, path: &Path, shared: bool) -> Result<bool, Error> {
        if let Some(text) = blocking(path, |path| read(&path)).await?
            && self.is_admin(text.trim()).await?
        {
            return Ok(false);
        }
        let name = if shared {
            let node = blocking(&path.with_file_name(NODE_FILE), |path| node(&path)).await?;
            format!("{BOOTSTRAP_NAME}, node {node}")
        } else {
            BOOTSTRAP_NAME.to_owned()
        };
        let now = self.clock.now();
        let (id, secret) = text::generate();
        let record = KeyRecord {
            id: id.clone(),
            name: name.clone(),
            hash: text::hash(&secret),
            clients: Clients::All,
            rights: vec![Right::Admin],
            objects: None,
            created_at: now,
            expires_at: None,
            revoked_at: None,
        };
        // Stored first: a file whose key is unknown would be of no use, a key
        // that no file holds is revoked by the next start.
        self.store.add_key(&record).await?;
        let line = format!("{}\n", text::join(&id, &secret));
        blocking(path, move |path| write(&path, &line)).await?;
        for old in self.store.keys().await? {
            if old.name == name && old.id != id && old.revoked_at.is_none() {
                self.revoke(&old.id).await?;
            }
        }
        Ok(true)
    }

    async fn is_admin(&self, text: &str) -> Result<bool, Error> {
        let Some(key) = KeyText::parse(text) else { return Ok(false) };
        let Some(record) = self.store.key(key.id).await? else { return Ok(false) };
        let valid = record.hash == text::hash(key.secret)
            && record.revoked_at.is_none()
            && record.expires_at.is_none_or(|end| end > self.clock.now());
        Ok(valid && record.rights.contains(&Right::Admin))
    }
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(PathBuf) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || work(path)).await.expect("work on a file does not panic")
}

/// The file beside the key that says which of the data folders on a shared store it is.
const NODE_FILE: &str = "node";
/// How long its name is.
const NODE_CHARS: usize = 16;

/// The name of the data folder, made where there is none.
fn node(path: &Path) -> Result<String, Error> {
    let is_name = |text: &str| text.len() == NODE_CHARS && text.chars().all(|c| c.is_ascii_alphanumeric());
    if let Some(text) = read(path)?.map(|text| text.trim().to_owned())
        && is_name(&text)
    {
        return Ok(text);
    }
    let name: String = uuid::Uuid::new_v4().simple().to_string().chars().take(NODE_CHARS).collect();
    write(path, &format!("{name}\n"))?;
    Ok(name)
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(err) if matches!(err.kind(), IoKind::NotFound | IoKind::InvalidData) => Ok(None),
        Err(err) => Err(Error::file("cannot read", path, &err)),
    }
}

/// Writes the file as a whole or not at all, readable by its owner only.
fn write(path: &Path, line: &str) -> Result<(), Error> {
    let fail = |err: &std::io::Error| Error::file("cannot write", path, err);
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(err) if err.kind() != IoKind::NotFound => return Err(fail(&err)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new).map_err(|err| fail(&err))?;
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(|err| fail(&err))?;
    fs::rename(&new, path).map_err(|err| fail(&err))?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|err| fail(&err))?;
    }
    Ok(())
}
