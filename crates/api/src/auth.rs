//! Who calls, and what they may touch.

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use orderwire_types::names::InvalidName;
use orderwire_types::{Client, Fault, Right, Scope};

use crate::problem::Problem;

/// The header that narrows a read, or names the client of a write.
pub const CLIENT_HEADER: &str = "orderwire-client";

/// Knows keys.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// The scope of the caller that shows this key.
    ///
    /// # Errors
    /// A 401 problem for a key that is unknown, revoked or expired; 503 when
    /// that cannot be known now.
    async fn authenticate(&self, key: &str) -> Result<Arc<Scope>, Problem>;
}

/// A caller with a valid key: an extractor. Needs an
/// `Extension<Arc<dyn Authenticator>>` around the route.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What the caller may touch.
    pub scope: Arc<Scope>,
}

impl Caller {
    /// Demands a right.
    ///
    /// # Errors
    /// 403.
    pub fn require(&self, right: Right) -> Result<(), Problem> {
        if self.scope.may(right) {
            return Ok(());
        }
        let name = format!("{right:?}").to_lowercase();
        Err(Problem::forbidden(format!("this key lacks the right {name:?}; use one that has it")))
    }

    /// The scope of a read: the key's whole scope, or only the client that the
    /// header `Orderwire-Client` names.
    ///
    /// # Errors
    /// 403 for a client outside the scope, 422 for a header that is no client
    /// or there twice.
    pub fn narrowed(&self, headers: &HeaderMap) -> Result<Arc<Scope>, Problem> {
        match client_header(headers)? {
            None => Ok(self.scope.clone()),
            Some(client) => match self.scope.narrowed_to(&client) {
                Some(scope) => Ok(Arc::new(scope)),
                None => Err(outside(&client)),
            },
        }
    }

    /// The client of a write that names none itself: the header's, else the
    /// key's only one, else `default`. Whether the scope covers it is for
    /// [`Caller::covering`] to say, once the document's own client is known.
    ///
    /// # Errors
    /// 422 for a header that is no client or there twice.
    pub fn write_client(&self, headers: &HeaderMap) -> Result<Client, Problem> {
        Ok(client_header(headers)?.unwrap_or_else(|| self.scope.own_client()))
    }

    /// Demands that the scope covers the client.
    ///
    /// # Errors
    /// 403.
    pub fn covering(&self, client: &Client) -> Result<(), Problem> {
        if self.scope.covers(client) { Ok(()) } else { Err(outside(client)) }
    }
}

fn outside(client: &Client) -> Problem {
    Problem::forbidden(format!("client {client} is outside the scope of this key"))
}

fn client_header(headers: &HeaderMap) -> Result<Option<Client>, Problem> {
    let wrong =
        |detail: String| Problem::from(Fault::invalid("", format!("header Orderwire-Client: {detail}")));
    let mut values = headers.get_all(CLIENT_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong("it is there twice; name one client".to_owned()));
    }
    let text = value.to_str().unwrap_or("\u{fffd}");
    text.parse().map(Some).map_err(|invalid: InvalidName| wrong(invalid.to_string()))
}

/// The key that a request shows: `Authorization: Bearer KEY` or `X-API-Key: KEY`.
pub fn shown_key(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then_some(key.trim());
    }
    headers.get("x-api-key")?.to_str().ok().map(str::trim)
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let authenticator = parts
            .extensions
            .get::<Arc<dyn Authenticator>>()
            .cloned()
            .ok_or_else(|| Problem::internal("no authenticator is installed on this route"))?;
        let key = shown_key(&parts.headers).ok_or_else(|| {
            Problem::unauthorized("no key: send Authorization: Bearer KEY or X-API-Key: KEY")
        })?;
        Ok(Self { scope: authenticator.authenticate(key).await? })
    }
}
