use std::path::PathBuf;
use std::time::Duration;

use orderwire_types::dataset::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// The scheme of the embedded store.
pub(crate) const SQLITE: &str = "sqlite://";
/// The schemes of PostgreSQL.
const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

/// Where queues and tables are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// `sqlite://` for the data folder, or `sqlite:///another/folder`.
    /// `postgres://USER@HOST:PORT/DATABASE`: in a PostgreSQL that several servers share, with
    /// `sslmode=`, `target_session_attrs=` and `options=` behind a `?`.
    pub url: String,
    /// The password of PostgreSQL: `${NAME}` or `file:/path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// A file of certificates (PEM) that the one of PostgreSQL, and its name, are checked
    /// against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// A file with our own certificate (PEM), and those that it is signed by, for a PostgreSQL
    /// that knows its users by them. With `key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The file of its private key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// How many connections to PostgreSQL are made at most as they are needed, 4 to 1000;
    /// half of them for queries. Beside them up to six are kept.
    pub connections: u64,
    /// How long one statement on PostgreSQL may take, 1s to 10m; queries have a limit of their own.
    pub statement_timeout: Span,
}

impl Store {
    /// Whether it is a PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        POSTGRES.iter().any(|scheme| self.url.starts_with(scheme))
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: SQLITE.to_owned(),
            password: None,
            ca: None,
            certificate: None,
            key: None,
            connections: 16,
            statement_timeout: Span(Duration::from_secs(10)),
        }
    }
}
