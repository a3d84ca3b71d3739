//! Other data for a dead letter, checked as if it came in now.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use orderwire_api::extract::{Body, Segments, document, require_json, work_on};
use orderwire_api::wire::{self, DeadEdit};
use orderwire_api::{Caller, Problem, WriteProblems};
use orderwire_queue::ErrorKind;
use orderwire_types::envelope::with_data;
use orderwire_types::{Data, DatasetName, Event, RawJson, Right, Scope};
use serde::de::IgnoredAny;

use super::{Shown, etag, find, reason, whole};
use crate::events::ORDER;
use crate::problems::{invalid, of_queue};
use crate::rows::{self, ROWS};
use crate::state::{Shared, State as Gateway};

/// Puts other data into a dead letter. Everything else of its event stays: id, type,
/// client, trace, and what its producer was allowed. The trace tells who edited it,
/// and why. Rows are checked against their dataset. `If-Match` says what the edit is
/// based on, so that nobody overwrites what somebody else has just written.
#[utoipa::path(patch, path = "/v1/dead/{id}", tag = "dead letters", request_body = DeadEdit,
    params(("id" = String, Path, description = "its id"),
        ("if-match" = String, Header, description = "the `ETag` of the letter that the edit is based on; `*` is whichever it is")),
    responses((status = 200, description = "the letter as it is now", body = wire::DeadLetter),
        (status = 412, description = "somebody else edited the letter meanwhile", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing", body = Problem, content_type = "application/problem+json"),
        WriteProblems))]
pub(crate) async fn patch_dead(
    State(state): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Shown, Problem> {
    caller.require(Right::Operate)?;
    require_json(&headers)?;
    // The document is a level around the data, and so is the array around rows.
    let edit: DeadEdit = document(&body.bytes, state.limits().json_depth + 2)?;
    let reason = reason(edit.reason.as_deref())?;
    let data = match (edit.data, edit.data_base64) {
        (Some(json), None) => Data::Json(RawJson(json)),
        (None, Some(text)) => Data::Base64(text),
        _ => return Err(invalid("", "give the new data, as data or as data_base64")),
    };
    let based = Based::of(&headers)?;
    let scope = caller.narrowed(&headers)?;
    let letter = find(&state, &scope, &id).await?;
    if !based.matches(&etag(&letter.body)) {
        return Err(changed());
    }
    let data = {
        let (state, scope, stored) = (Arc::clone(&state), Arc::clone(&scope), letter.body.clone());
        work_on(body.bytes.len(), move || checked(&state, &scope, &stored, data)).await?
    };
    let edited = state.queues().edit(&scope, &letter, data, reason).await;
    let edited = edited.map_err(|err| match err.kind() {
        ErrorKind::Conflict => changed(),
        _ => of_queue(&err),
    })?;
    tracing::info!(
        queue.name = %edited.queue, dead.id = edited.id, principal = %scope.principal,
        "a dead letter was edited"
    );
    whole(edited)
}

/// The new data, once it is known to be what the edge would take for this event.
fn checked(state: &Gateway, scope: &Scope, stored: &[u8], data: Data) -> Result<Data, Problem> {
    let event = Event::decode(stored)
        .map_err(|err| Problem::damaged(&format!("a dead letter cannot be read: {err}")))?;
    let at = if matches!(data, Data::Base64(_)) { "/data_base64" } else { "/data" };
    let edited = with_data(&event, data, state.limits()).map_err(|fault| {
        let pointer = format!("{at}{}", fault.pointer);
        Problem::from(fault).at(pointer)
    })?;
    let orders = edited.event_type.as_str() == ORDER || edited.product().is_some();
    if event.may_order && orders && !scope.may(Right::Order) {
        return Err(Problem::forbidden(
            "the event is a request for infrastructure: to change what it orders, the key needs the right \"order\"",
        ));
    }
    if let Some(dataset) = edited.event_type.as_str().strip_prefix(ROWS) {
        check_rows(state, scope, &event, &edited, dataset)?;
    }
    Ok(edited.data)
}

fn check_rows(
    state: &Gateway,
    scope: &Scope,
    before: &Event,
    edited: &Event,
    dataset: &str,
) -> Result<(), Problem> {
    let reader = dataset.parse::<DatasetName>().ok().and_then(|name| state.readers.of(state, scope, &name));
    let Some(reader) = reader else {
        return Err(invalid("/data", format!("dataset {dataset} of these rows does not exist")));
    };
    let Data::Json(json) = &edited.data else {
        return Err(invalid("/data", "rows are a JSON object or an array of them"));
    };
    rows::check_event(&reader, json.get(), "/data", state.limits())?;
    // Each row of a file is known by its place in it.
    let (had, has) = (rows_of(&before.data), rows_of(&edited.data));
    if before.import.is_some() && had != has {
        let detail = format!(
            "these are {had} rows of an imported file, in their order; {has} cannot take their place"
        );
        return Err(invalid("/data", detail));
    }
    Ok(())
}

/// How many rows an event carries.
fn rows_of(data: &Data) -> usize {
    match data {
        Data::Json(json) => serde_json::from_str::<Vec<IgnoredAny>>(json.get()).map_or(1, |rows| rows.len()),
        Data::None | Data::Base64(_) => 0,
    }
}

/// What an edit is based on.
#[derive(Debug, PartialEq, Eq)]
enum Based {
    /// Whatever is there.
    Any,
    /// Content of one of these names.
    On(Vec<String>),
}

impl Based {
    /// # Errors
    /// 428 without the header, 422 for one that names nothing.
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let wrong = || invalid("", "header If-Match: must be the ETag of the letter, in quotes, or *");
        let mut tags = Vec::new();
        for value in headers.get_all(header::IF_MATCH) {
            for tag in value.to_str().map_err(|_| wrong())?.split(',').map(str::trim) {
                if tag == "*" {
                    return Ok(Self::Any);
                }
                // A weak one says nothing of the bytes, and so never matches.
                let strong = tag.strip_prefix("W/").unwrap_or(tag);
                let name =
                    strong.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).ok_or_else(wrong)?;
                if strong == tag {
                    tags.push(name.to_owned());
                } else {
                    tags.push(String::new());
                }
            }
        }
        if tags.is_empty() {
            return Err(Problem::new(
                StatusCode::PRECONDITION_REQUIRED,
                "precondition-required",
                "say what the edit is based on: send the letter's ETag as If-Match, or If-Match: * for whatever is there",
            ));
        }
        Ok(Self::On(tags))
    }

    fn matches(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::On(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}

fn changed() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "precondition-failed",
        "the letter is not as it was when it was read: look at it again and repeat the edit with its new ETag",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn based(values: &[&'static str]) -> Result<Based, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, HeaderValue::from_static(value));
        }
        Based::of(&headers).map_err(|problem| problem.status)
    }

    #[test]
    fn the_header_says_what_an_edit_is_based_on() {
        assert_eq!(based(&["*"]), Ok(Based::Any));
        let two = based(&["\"a\", \"b\"", "\"c\""]).unwrap();
        assert!(two.matches("a") && two.matches("b") && two.matches("c") && !two.matches("d"));
        assert!(!based(&["W/\"a\""]).unwrap().matches("a"));
        assert_eq!(based(&[]), Err(428));
        assert_eq!(based(&["a"]), Err(422));
        assert_eq!(based(&["\"a\" b"]), Err(422));
    }
}
