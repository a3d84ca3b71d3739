//! W3C trace context, as far as an event carries it.

use uuid::Uuid;

use crate::event::Event;
use crate::identity;

/// The trace id of a W3C `traceparent`; `None` when it is malformed.
pub fn parse_traceparent(text: &str) -> Option<Uuid> {
    let mut parts = text.trim_matches([' ', '\t']).split('-');
    let version = parts.next().filter(|version| hex(version, 2) && *version != "ff")?;
    let trace = parts.next().filter(|trace| hex(trace, 32))?;
    let parent = parts.next().filter(|parent| hex(parent, 16))?;
    parts.next().filter(|flags| hex(flags, 2))?;
    // Later versions may append parts, the first may not.
    if version == "00" && parts.next().is_some() {
        return None;
    }
    let zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    if zero(trace) || zero(parent) {
        return None;
    }
    Uuid::parse_str(trace).ok()
}

/// The W3C `traceparent` of an event: its trace, a span derived from its id.
pub fn traceparent(event: &Event) -> String {
    format!("00-{}-{}-01", event.trace.w3c(), identity::span_id(event.id))
}

fn hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_traceparents_are_none() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(parse_traceparent(good).unwrap().simple().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(parse_traceparent(&format!("cc{}-what", &good[2..])).is_some());
        for bad in [
            "",
            "00",
            &format!("{good}-x"),
            &format!("ff{}", &good[2..]),
            &good.to_uppercase(),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse_traceparent(bad), None, "{bad:?}");
        }
    }
}
