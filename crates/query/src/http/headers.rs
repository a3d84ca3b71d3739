//! What request headers say of a read.

use axum::http::header::{ACCEPT, CACHE_CONTROL, IF_NONE_MATCH, RANGE};
use axum::http::{HeaderMap, HeaderName};
use orderwire_store::Count;

use crate::error::{Error, ErrorKind};

/// The forms of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Media {
    #[default]
    Json,
    Csv,
    /// Exactly one row, as an object.
    Single,
    /// One object a line.
    Lines,
    Parquet,
}

impl Media {
    const ALL: [(&'static str, Self); 9] = [
        ("application/json", Self::Json),
        ("application/vnd.pgrst.array", Self::Json),
        ("application/vnd.pgrst.object", Self::Single),
        ("application/vnd.pgrst.array+json", Self::Json),
        ("application/vnd.pgrst.object+json", Self::Single),
        ("text/csv", Self::Csv),
        ("application/x-ndjson", Self::Lines),
        ("application/ndjson", Self::Lines),
        ("application/vnd.apache.parquet", Self::Parquet),
    ];

    /// As it is named in an answer.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Single => "application/vnd.pgrst.object+json; charset=utf-8",
            Self::Lines => "application/x-ndjson; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// In one letter, as it is kept.
    pub(super) fn letter(self) -> char {
        match self {
            Self::Json => 'j',
            Self::Csv => 'c',
            Self::Single => 's',
            Self::Lines => 'l',
            Self::Parquet => 'p',
        }
    }

    pub(super) fn of_letter(letter: &str) -> Option<Self> {
        let all = [Self::Json, Self::Csv, Self::Single, Self::Lines, Self::Parquet];
        all.into_iter().find(|media| letter.chars().eq([media.letter()]))
    }

    /// The form of a view's rows: one that was asked for by its name, else JSON. Anyone may read a
    /// view, so that nobody is refused for what a browser says.
    pub(super) fn of_view(headers: &HeaderMap) -> Self {
        match Self::accepted(headers) {
            Ok(media) if media != Self::Single => media,
            _ => Self::Json,
        }
    }

    /// The form that the caller likes best: highest `q`, then first named.
    pub(super) fn accepted(headers: &HeaderMap) -> Result<Self, Error> {
        let mut best: Option<(Self, f32)> = None;
        let mut asked = false;
        for entry in words(headers, &ACCEPT) {
            asked = true;
            let mut parts = entry.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let mut quality = 1.0;
            let mut exact = true;
            for part in parts {
                match part.split_once('=') {
                    Some(("q" | "Q", number)) => quality = number.parse().unwrap_or(0.0),
                    Some(("charset", charset)) => {
                        exact &= charset.trim_matches('"').eq_ignore_ascii_case("utf-8");
                    }
                    // `nulls=stripped` and the like change the answer: not served.
                    _ => exact = false,
                }
            }
            let media = match name.as_str() {
                "*/*" | "application/*" => Some(Self::Json),
                "text/*" => Some(Self::Csv),
                other => Self::ALL.iter().find(|(known, _)| *known == other).map(|(_, media)| *media),
            };
            if let Some(media) = media.filter(|_| exact && quality > 0.0)
                && best.is_none_or(|(_, most)| quality > most)
            {
                best = Some((media, quality));
            }
        }
        match best {
            Some((media, _)) => Ok(media),
            None if !asked => Ok(Self::Json),
            None => Err(Error::new(
                ErrorKind::NotAcceptable,
                "PGRST107",
                "none of the media types in Accept is served here",
            )
            .hint("accept application/json, text/csv, application/x-ndjson, application/vnd.apache.parquet or application/vnd.pgrst.object+json")),
        }
    }
}

/// Whether the caller wants to know how many rows match. The estimates that
/// PostgREST offers are answered with the exact number.
pub(super) fn count(headers: &HeaderMap) -> Count {
    let counts = |word: &str| matches!(word, "count=exact" | "count=planned" | "count=estimated");
    if words(headers, &HeaderName::from_static("prefer")).any(counts) { Count::Exact } else { Count::None }
}

/// The rows that `Range: 0-24` asks for: the first one and how many. Ranges in
/// other units are for others and ignored, as HTTP has it.
pub(super) fn range(headers: &HeaderMap) -> Result<Option<(u64, Option<u64>)>, Error> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if text(&HeaderName::from_static("range-unit")).is_some_and(|unit| unit != "items") {
        return Ok(None);
    }
    let Some(range) = text(&RANGE) else { return Ok(None) };
    let range = range.strip_prefix("items=").unwrap_or(range);
    let parsed = range.split_once('-').and_then(|(first, last)| {
        let first: u64 = first.parse().ok()?;
        let last: Option<u64> = if last.is_empty() { None } else { Some(last.parse().ok()?) };
        Some((first, last))
    });
    match parsed {
        None => Ok(None),
        Some((first, None)) => Ok(Some((first, None))),
        Some((first, Some(last))) if last >= first => {
            Ok(Some((first, Some((last - first).saturating_add(1)))))
        }
        Some((first, Some(last))) => {
            Err(out_of_range(format!("Range: {first}-{last} ends before it begins")))
        }
    }
}

pub(super) fn out_of_range(message: String) -> Error {
    Error::new(ErrorKind::Range, "PGRST103", message)
}

/// What both `limit`/`offset` and `Range` allow.
pub(super) fn window(
    offset: u64,
    limit: Option<u64>,
    range: Option<(u64, Option<u64>)>,
) -> Result<(u64, Option<u64>), Error> {
    let Some((first, count)) = range else { return Ok((offset, limit)) };
    let end = |from: u64, count: Option<u64>| count.map(|count| from.saturating_add(count));
    let from = offset.max(first);
    let to = match (end(offset, limit), end(first, count)) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    match to {
        Some(to) if to < from => Err(out_of_range("Range and limit/offset have no row in common".to_owned())),
        to => Ok((from, to.map(|to| to - from))),
    }
}

/// Whether the caller wants nothing to be kept of this read.
pub(super) fn no_store(headers: &HeaderMap) -> bool {
    words(headers, &CACHE_CONTROL).any(|word| word.eq_ignore_ascii_case("no-store"))
}

/// Whether the caller has the answer with this tag (weak comparison).
pub(super) fn has(headers: &HeaderMap, etag: &[u8]) -> bool {
    words(headers, &IF_NONE_MATCH).any(|tag| tag == "*" || bare(tag.as_bytes()) == bare(etag))
}

fn bare(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_best_media_type_is_taken() {
        for (accept, media) in [
            ("text/csv", Some(Media::Csv)),
            ("*/*", Some(Media::Json)),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(Media::Json)),
            ("application/json;q=0.5, text/csv", Some(Media::Csv)),
            ("application/vnd.pgrst.object+json", Some(Media::Single)),
            ("application/json; charset=utf-8", Some(Media::Json)),
            ("text/csv;q=0, application/json;q=0.1", Some(Media::Json)),
            ("application/vnd.pgrst.object+json;nulls=stripped", None),
            ("application/x-ndjson", Some(Media::Lines)),
            ("application/vnd.apache.parquet, */*;q=0.1", Some(Media::Parquet)),
            ("image/png", None),
        ] {
            assert_eq!(Media::accepted(&headers(&[("accept", accept)])).ok(), media, "{accept}");
        }
        assert_eq!(Media::accepted(&HeaderMap::new()).unwrap(), Media::Json);
    }

    #[test]
    fn ranges_of_items_are_read_and_others_ignored() {
        for (text, expected) in [
            ("0-24", Some((0, Some(25)))),
            ("items=10-", Some((10, None))),
            ("bytes=0-99", None),
            ("-5", None),
            ("0-24,30-40", None),
        ] {
            assert_eq!(range(&headers(&[("range", text)])).unwrap(), expected, "{text}");
        }
        assert_eq!(range(&headers(&[("range", "0-9"), ("range-unit", "pages")])).unwrap(), None);
        assert_eq!(range(&headers(&[("range", "9-0")])).unwrap_err().kind(), ErrorKind::Range);
    }

    #[test]
    fn range_and_limit_narrow_each_other() {
        assert_eq!(window(0, Some(10), Some((5, Some(20)))).unwrap(), (5, Some(5)));
        assert_eq!(window(3, None, Some((0, None))).unwrap(), (3, None));
        assert_eq!(window(0, None, Some((0, Some(25)))).unwrap(), (0, Some(25)));
        assert!(window(30, None, Some((0, Some(25)))).is_err());
        assert_eq!(window(u64::MAX, Some(u64::MAX), None).unwrap(), (u64::MAX, Some(u64::MAX)));
    }

    #[test]
    fn tags_compare_weakly() {
        let given = headers(&[("if-none-match", "\"a\", W/\"b\"")]);
        assert!(has(&given, b"W/\"a\""));
        assert!(has(&given, b"W/\"b\""));
        assert!(!has(&given, b"W/\"c\""));
        assert!(has(&headers(&[("if-none-match", "*")]), b"W/\"c\""));
    }
}
