//! Ports that nobody else takes.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

/// Below those that the system gives to whoever connects or asks for any port.
const FROM: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Held for as long as this process lives, so that a server can be stopped and started again.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port that nobody listens on, and that no other test is given while this process lives.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    let folder = std::env::temp_dir().join("orderwire-ports");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let random = RandomState::new().build_hasher().finish();
    let start = u16::try_from(random % u64::from(COUNT)).expect("less than the count");
    for step in 0..COUNT {
        let port = FROM + (start + step) % COUNT;
        // One of another user is as good as held.
        let Ok(file) = File::create(folder.join(port.to_string())) else { continue };
        if file.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            HELD.lock().unwrap_or_else(PoisonError::into_inner).push(file);
            return Ok(port);
        }
    }
    anyhow::bail!("no port of {FROM} to {} is free", FROM + COUNT - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once() {
        let ports: std::collections::BTreeSet<u16> = (0..200).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 200);
        for port in ports {
            let file = File::open(std::env::temp_dir().join("orderwire-ports").join(port.to_string()));
            assert!(file.unwrap().try_lock().is_err(), "another process would be given {port}");
        }
    }
}
