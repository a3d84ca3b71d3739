//! CloudEvents in HTTP binary mode: attributes in headers, data in the body.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;

use super::arrival::{Arrival, Incoming};
use super::cloudevents::{self, Attributes};
use super::members::{check_depth, not_json, write_text};
use super::plain::raw;
use crate::event::Data;
use crate::json::RawJson;
use crate::problem::Fault;

/// Reads a CloudEvent in HTTP binary mode. `attributes` are the `ce-` headers
/// without that prefix and with their values as sent: the percent-encoding of
/// the HTTP binding is decoded here.
///
/// A JSON content type, or none over a JSON body, gives JSON data; any other
/// body is kept as base64 beside its `datacontenttype`.
///
/// # Errors
/// As [`from_json`](super::from_json); a pointer names the attribute.
pub fn from_binary<'h>(
    attributes: impl Iterator<Item = (&'h str, &'h str)>,
    content_type: Option<&str>,
    body: &[u8],
    arrival: &Arrival<'_>,
) -> Result<Incoming, Fault> {
    let mut given = Attributes::default();
    let mut bytes = body.len();
    for (name, value) in attributes {
        bytes = bytes.saturating_add(name.len()).saturating_add(value.len());
        if bytes > arrival.limits.event_bytes {
            break;
        }
        let name = name.to_ascii_lowercase();
        if matches!(name.as_str(), "datacontenttype" | "data" | "data_base64") {
            return Err(Fault::invalid(
                format!("/{name}"),
                "is not a header: data is the body, its type Content-Type",
            ));
        }
        let value = decode(value)
            .ok_or_else(|| Fault::invalid(format!("/{name}"), "the header is not percent-encoded UTF-8"))?;
        given.push(Cow::Owned(name), text_as_json(&value))?;
    }
    if bytes > arrival.limits.event_bytes {
        return Err(Fault::too_large(
            "",
            format!("the event has more than {} bytes", arrival.limits.event_bytes),
        ));
    }
    if let Some(content_type) = content_type {
        given.push(Cow::Borrowed("datacontenttype"), text_as_json(content_type))?;
    }
    let data = data(content_type, body, arrival)?;
    cloudevents::complete(&given, data, arrival)
}

fn data(content_type: Option<&str>, body: &[u8], arrival: &Arrival<'_>) -> Result<Data, Fault> {
    if body.is_empty() {
        return Ok(Data::None);
    }
    let encoded = || Data::Base64(STANDARD.encode(body));
    if content_type.is_some_and(|content_type| !is_json(content_type)) {
        return Ok(encoded());
    }
    let json = match std::str::from_utf8(body) {
        Ok(text) => {
            check_depth(text, arrival.limits)?;
            serde_json::from_str::<&RawValue>(text).map_err(|err| not_json(&err))
        }
        Err(err) => Err(Fault::malformed(format!("not UTF-8: {err}"))),
    };
    match json {
        Ok(json) => Ok(Data::Json(raw(json.get()))),
        Err(fault) if content_type.is_some() => Err(fault),
        Err(_) => Ok(encoded()),
    }
}

/// Whether a media type is JSON: `application/json`, `text/json` or `…+json`,
/// with or without parameters.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

fn text_as_json(text: &str) -> Cow<'static, RawValue> {
    let mut json = String::with_capacity(text.len() + 2);
    write_text(&mut json, text);
    Cow::Owned(RawJson::parse(json).expect("text is always JSON").0)
}

/// The value of a header: unquoted if it is a quoted string, then
/// percent-decoded. `None` when the outcome is not UTF-8.
fn decode(value: &str) -> Option<Cow<'_, str>> {
    let value = match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => Cow::Owned(unescape(quoted)),
        None => Cow::Borrowed(value),
    };
    match value {
        Cow::Borrowed(value) => percent_decode_str(value).decode_utf8().ok(),
        Cow::Owned(value) => {
            percent_decode_str(&value).decode_utf8().ok().map(|value| Cow::Owned(value.into_owned()))
        }
    }
}

fn unescape(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_decoded_as_the_binding_says() {
        for (sent, meant) in [
            ("plain", "plain"),
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("100% sure %4", "100% sure %4"),
            (r#""a \"b\" c""#, r#"a "b" c"#),
        ] {
            assert_eq!(decode(sent).as_deref(), Some(meant));
        }
        assert_eq!(decode("%ff"), None);
    }

    #[test]
    fn json_media_types_are_known() {
        for (given, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/vnd.api+json", true),
            ("text/plain", false),
            ("application/jsonp", false),
        ] {
            assert_eq!(is_json(given), json, "{given}");
        }
    }
}
