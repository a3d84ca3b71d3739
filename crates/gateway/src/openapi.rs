//! What the descriptions of the routes share.

use std::collections::BTreeMap;

use orderwire_api::Problem;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi};

/// What is said once for all routes.
#[derive(OpenApi)]
#[openapi(components(schemas(Problem)), modifiers(&Keys), security(("bearer" = []), ("api_key" = [])))]
pub(crate) struct Common;

/// The two ways to show a key.
struct Keys;

impl Modify for Keys {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        components.add_security_scheme("bearer", bearer);
        let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
        components.add_security_scheme("api_key", header);
    }
}

/// The problems of a call that reads.
pub(crate) struct ReadProblems;

/// The problems of a call that has a body.
pub(crate) struct WriteProblems;

const READ: [(&str, &str); 6] = [
    ("401", "no key, or one that is unknown, revoked or expired"),
    ("403", "the key lacks the right, or the client or object is outside its scope"),
    ("404", "what the path names does not exist, or is outside the scope"),
    ("422", "a part of the request is wrong; `pointer` says which"),
    ("500", "a fault of the server"),
    ("503", "overloaded, or nothing durable can be promised now; `Retry-After` says when to try again"),
];

const WRITE: [(&str, &str); 4] = [
    ("400", "the body is not of the form that it says it has"),
    ("409", "the request contradicts what is there"),
    ("413", "over a limit of size"),
    ("415", "a form of body that this route does not take"),
];

impl IntoResponses for ReadProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        READ.iter().map(problem).collect()
    }
}

impl IntoResponses for WriteProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        READ.iter().chain(&WRITE).map(problem).collect()
    }
}

fn problem((status, meaning): &(&str, &str)) -> (String, RefOr<Response>) {
    let name = <Problem as utoipa::ToSchema>::name();
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(name))).build();
    let response =
        ResponseBuilder::new().description(*meaning).content("application/problem+json", content).build();
    ((*status).to_owned(), response.into())
}
