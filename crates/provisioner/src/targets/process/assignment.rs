//! What a supervisor is told to do: the revision, with what it is given to work with.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::folder::Folder;
use super::manifest::ProcessSpec;
use super::protocol::Assignment;
use super::target::ProcessOptions;
use super::{HOME, RELEASE};
use crate::target::{Desired, Error, Grant, Placement};

/// Where programs are looked for when Orderwire has no `PATH` itself.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Assignment {
    /// To run these processes of a revision. `open_files` is how many files a process may
    /// open whose manifest says nothing.
    pub(super) fn new(
        options: &ProcessOptions,
        open_files: Option<u64>,
        placement: &Placement,
        desired: &Desired,
        grant: &Grant,
        processes: Vec<ProcessSpec>,
    ) -> Self {
        let folder = Folder::new(&options.folder, placement.release);
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let path = std::env::var("PATH").unwrap_or_else(|_| PATH.to_owned());
        let base = [
            ("PATH", path),
            ("HOME", text(&folder.work())),
            ("LANG", "C.UTF-8".to_owned()),
            ("TMPDIR", text(&folder.temporary())),
        ];
        let trace = desired.trace.w3c();
        let span = placement.release.as_u64_pair().1;
        let own = [
            ("ORDERWIRE_TRACE_ID", desired.trace.to_string()),
            ("TRACEPARENT", format!("00-{trace}-{span:016x}-01")),
            ("ORDERWIRE_CLIENT", placement.client.to_string()),
            ("ORDERWIRE_ENVIRONMENT", placement.environment.clone()),
            ("ORDERWIRE_NAME", placement.name.clone()),
            ("ORDERWIRE_PRODUCT", placement.product.clone()),
            (RELEASE, placement.release.to_string()),
            (HOME, text(&options.folder)),
        ];
        let named = |values: &[(&str, String)]| -> Vec<(String, String)> {
            values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        Self {
            lock: folder.lock(),
            ports: folder.ports(),
            work: folder.work(),
            program: options.program.clone(),
            supervise: options.supervise.clone(),
            grace: options.grace,
            beat: options.beat,
            memory: options.memory,
            open_files,
            base: named(&base),
            given: grant.values.iter().cloned().chain(named(&own)).collect(),
            processes,
        }
    }
}

/// A value that no environment can hold would fail every start.
pub(super) fn check_grant(grant: &Grant) -> Result<(), Error> {
    let wrong = |(name, value): &&(String, String)| {
        name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
    };
    match grant.values.iter().find(wrong) {
        None => Ok(()),
        Some((name, _)) => {
            Err(Error::Refused(format!("secret {name} holds a zero byte or has no usable name")))
        }
    }
}

/// SHA-256 of a grant.
pub(super) fn fingerprint(grant: &Grant) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (name, value) in &grant.values {
        for text in [name, value] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    }
    hash.finalize().into()
}
