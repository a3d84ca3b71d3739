//! The query string as pairs of text.
//!
//! Libraries for this replace what is not UTF-8 and take a lone `%` as it
//! stands; both would turn a mistake into a wrong answer, so it is done here.

use crate::error::Error;

/// The pairs of a query string, decoded, in order.
pub(crate) fn pairs(query: &str, bytes_max: usize) -> Result<Vec<(String, String)>, Error> {
    if query.len() > bytes_max {
        return Err(Error::syntax(format!(
            "the query string is {} bytes long; at most {bytes_max} are taken",
            query.len()
        )));
    }
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => Ok((decode(name)?, decode(value)?)),
            None => Err(Error::syntax(format!(
                "parameter {:?} has no value; write it as column=operator.value",
                shorten(pair)
            ))),
        })
        .collect()
}

/// The beginning of a text, for messages.
pub(crate) fn shorten(text: &str) -> &str {
    match text.char_indices().nth(80) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

fn decode(text: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(rest.next()).zip(hex(rest.next())).map(|(high, low)| high << 4 | low).ok_or_else(
                || {
                    Error::syntax(format!("{:?}: % is not followed by two hex digits", shorten(text)))
                        .hint("write % itself as %25; in like patterns * means the same")
                },
            )?,
            other => other,
        });
    }
    if bytes.contains(&0) {
        return Err(Error::new(
            crate::ErrorKind::Invalid,
            "22021",
            format!("{:?} contains a NUL, which no text has", shorten(text)),
        ));
    }
    String::from_utf8(bytes)
        .map_err(|_| Error::syntax(format!("{:?} is not UTF-8 once it is decoded", shorten(text))))
}

fn hex(byte: Option<u8>) -> Option<u8> {
    char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
