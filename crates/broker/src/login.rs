//! What brokers are shown and what they have to show, in the settings of each.

use std::fmt;
use std::path::PathBuf;

/// A password or token, which no output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// This one.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    /// The password itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// How a connection is encrypted. The files are read when a connection is made, so that
/// a certificate can be replaced while Orderwire runs.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Certificates (PEM) of whoever may have signed the server's; none: those that the
    /// system trusts.
    pub ca_file: Option<PathBuf>,
    /// The certificate that we show.
    pub identity: Option<Identity>,
}

/// A certificate of our own.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate and those that it is signed by (PEM).
    pub certificate_file: PathBuf,
    /// Its private key (PEM, PKCS #8, PKCS #1 or SEC 1).
    pub key_file: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_in_no_output() {
        let password = Password::new("s3cret");
        assert_eq!(password.expose(), "s3cret");
        assert!(!format!("{password:?} {:?}", Some(&password)).contains("s3cret"));
    }
}
