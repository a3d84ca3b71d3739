//! The problems of a route, as its description says them.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use crate::problem::Problem;

/// The problems of a call that reads.
pub struct ReadProblems;

/// The problems of a call that has a body.
pub struct WriteProblems;

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
