//! From an order to the content of a revision.

use orderwire_store::orders::{Order, Release};

use crate::content::Content;
use crate::provisioner::Parts;

/// What a revision will hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draft {
    /// The content.
    pub(crate) content: Content,
    /// Its hash.
    pub(crate) hash: String,
}

/// Why there is no content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DraftError {
    /// It will not work however often it is tried: one clear sentence.
    #[error("{0}")]
    Refused(String),
    /// It may work later.
    #[error("{0}")]
    Unavailable(String),
}

/// The content that an order asks for: rendered from the catalogue; for a
/// roll-back that of the revision, with the present hashes of its secrets.
pub(crate) async fn draft(parts: &Parts, order: &Order, release: &Release) -> Result<Draft, DraftError> {
    let _ = (parts, order, release);
    todo!()
}

/// The present values of a content's secrets, by name, from the product's sources.
pub(crate) async fn secrets(parts: &Parts, content: &Content) -> Result<Vec<(String, String)>, DraftError> {
    let _ = (parts, content);
    todo!()
}
