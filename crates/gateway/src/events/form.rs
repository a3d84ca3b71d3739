//! Which form a request has, by its headers.

use axum::http::{HeaderMap, header};
use orderwire_api::Problem;
use orderwire_api::extract::content_type;
use orderwire_api::problem::shown;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::problems::{invalid, unsupported};

/// The form of a request for events.
pub(super) enum Form<'h> {
    /// One JSON document, whose form is detected.
    Json,
    /// A CloudEvent whose attributes are headers: these, without their prefix,
    /// and the content type of its data.
    Binary(Vec<(&'h str, &'h str)>, Option<&'h str>),
    /// A JSON array of CloudEvents.
    Batch,
    /// NDJSON.
    Lines,
}

impl<'h> Form<'h> {
    /// All of the headers that makes what the body means: the form, the content
    /// type as it was sent, and the attributes of a binary CloudEvent by name.
    pub(super) fn fingerprint(&self, headers: &HeaderMap) -> Vec<u8> {
        let mut all = Vec::new();
        let mut add = |part: &[u8]| {
            all.extend_from_slice(&(part.len() as u64).to_be_bytes());
            all.extend_from_slice(part);
        };
        add(match self {
            Self::Json => b"json",
            Self::Binary(..) => b"binary",
            Self::Batch => b"batch",
            Self::Lines => b"lines",
        });
        add(headers.get(header::CONTENT_TYPE).map_or(b"".as_slice(), |value| value.as_bytes()));
        if let Self::Binary(attributes, _) = self {
            let mut sorted = attributes.clone();
            // Stable: of one name the order of the values stays.
            sorted.sort_by_key(|(name, _)| *name);
            for (name, value) in sorted {
                add(name.as_bytes());
                add(value.as_bytes());
            }
        }
        all
    }

    /// JSON that `may` be a batch is one when it is an array of CloudEvents, by
    /// its first member: many libraries know no media type but JSON's.
    pub(super) fn or_batch(self, may: bool, body: &[u8]) -> Self {
        /// What only a CloudEvent has.
        #[derive(Deserialize)]
        struct Head {
            #[serde(rename = "specversion")]
            _version: IgnoredAny,
        }
        if !may || !matches!(self, Self::Json) || !is_array(body) {
            return self;
        }
        let members = body.trim_ascii_start()[1..].trim_ascii_start();
        let first = serde_json::Deserializer::from_slice(members).into_iter::<Head>().next();
        // A struct may also be read from an array.
        if members.starts_with(b"{") && matches!(first, Some(Ok(_))) { Self::Batch } else { self }
    }

    /// The form that these headers say.
    ///
    /// # Errors
    /// 415 for a media type that is none of ours, 422 for `ce-` headers that
    /// are not ASCII.
    pub(super) fn of(headers: &'h HeaderMap) -> Result<Self, Problem> {
        let is_binary = headers.keys().any(|name| name.as_str().starts_with("ce-"));
        let essence = if is_binary {
            // The data of a binary CloudEvent may be anything.
            content_type(headers).unwrap_or_default()
        } else {
            content_type(headers)?
        };
        match essence.as_deref() {
            Some("application/cloudevents+json") => Ok(Self::Json),
            Some("application/cloudevents-batch+json") => Ok(Self::Batch),
            _ if is_binary => binary(headers),
            None | Some("application/json") => Ok(Self::Json),
            Some("application/x-ndjson" | "application/ndjson") => Ok(Self::Lines),
            Some(other) => Err(unsupported(format!(
                "{} is not taken; send application/json, application/cloudevents+json, \
                 application/cloudevents-batch+json or application/x-ndjson, or a CloudEvent with ce- headers",
                shown(other)
            ))),
        }
    }
}

/// Whether a JSON document is an array, if it is one at all.
pub(super) fn is_array(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"[")
}

fn binary(headers: &HeaderMap) -> Result<Form<'_>, Problem> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(unsupported("send the body without Content-Encoding"));
    }
    let mut attributes = Vec::new();
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        let value = value
            .to_str()
            .map_err(|_| invalid(format!("/{attribute}"), "the header must be ASCII, percent-encoded"))?;
        attributes.push((attribute, value));
    }
    let content_type = match headers.get(header::CONTENT_TYPE) {
        None => None,
        Some(value) => Some(value.to_str().map_err(|_| unsupported("the Content-Type is not ASCII"))?),
    };
    Ok(Form::Binary(attributes, content_type))
}
