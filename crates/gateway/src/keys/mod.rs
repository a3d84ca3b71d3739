//! Keys: made, shown once, looked up, revoked.
//!
//! A key is `ow_<id>_<secret>`; only the SHA-256 of the secret is stored. The
//! secret is random (244 bits), so that a slow hash would add nothing.

mod bootstrap;
mod error;
pub(crate) mod http;
mod release;
mod ring;
mod text;

pub use error::{Error, ErrorKind};
pub use ring::KeyRing;

/// The name of the key that the server makes for itself at first start.
pub(crate) const BOOTSTRAP_NAME: &str = "admin (made by the server)";

/// What the names of keys begin with that the server makes for releases.
pub(crate) const RELEASE_PREFIX: &str = "release ";
