//! Why the server does not run.

use orderwire_config::Faults;

/// Why the server does not run: one clear sentence, or every fault of the
/// configuration.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("the configuration has faults:\n{0}")]
    Configuration(Faults),
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// A fault of the surroundings: `message` says what failed and what to do.
    pub fn failed(message: impl Into<String>) -> Self {
        Self(Kind::Failed(message.into()))
    }

    /// Whether the configuration has to be mended first.
    pub fn is_configuration(&self) -> bool {
        matches!(self.0, Kind::Configuration(_))
    }
}

impl From<Faults> for Error {
    fn from(faults: Faults) -> Self {
        Self(Kind::Configuration(faults))
    }
}

/// Errors of engines and services, with what was being done.
pub(crate) trait While<T> {
    fn while_(self, doing: &str) -> Result<T, Error>;
}

impl<T, E: std::fmt::Display> While<T> for Result<T, E> {
    fn while_(self, doing: &str) -> Result<T, Error> {
        self.map_err(|error| Error::failed(format!("{doing}: {error}")))
    }
}
