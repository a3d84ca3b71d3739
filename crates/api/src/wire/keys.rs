//! Keys and who one is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /v1/keys`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewKey {
    /// What it is for.
    pub name: String,
    /// Which clients; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<Vec<String>>,
    /// Rights: `read`, `write`, `order`, `consume`, `operate`, `admin`.
    pub roles: Vec<String>,
    /// Which objects, as `dataset/<name>` or `queue/<name>`; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<Vec<String>>,
    /// Until when it is valid, RFC 3339; for good when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// A key without its secret.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyInfo {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Which clients; null is all.
    pub clients: Option<Vec<String>>,
    /// Its rights.
    pub roles: Vec<String>,
    /// Which objects; null is all.
    pub objects: Option<Vec<String>>,
    /// When it was made.
    pub created_at: String,
    /// Until when it is valid.
    pub expires_at: Option<String>,
    /// When it was revoked.
    pub revoked_at: Option<String>,
}

/// A new key: the only time that its secret is shown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CreatedKey {
    /// The key itself, to be sent as `Authorization: Bearer KEY`.
    pub key: String,
    /// The rest of it.
    #[serde(flatten)]
    pub info: KeyInfo,
}

/// `GET /v1/whoami`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// Who calls.
    pub principal: String,
    /// Which clients; null is all.
    pub clients: Option<Vec<String>>,
    /// Which rights.
    pub roles: Vec<String>,
    /// Which objects; null is all.
    pub objects: Option<Vec<String>>,
}
