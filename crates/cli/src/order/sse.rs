//! Server-sent events, as the HTML standard reads them.

use bytes::BytesMut;

/// The longest event that is read.
const EVENT_MAX: usize = 4 << 20;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SseEvent {
    /// Its type.
    pub(super) event: String,
    /// Its data; lines are joined by line breaks.
    pub(super) data: String,
    /// Its id, if it carries one.
    pub(super) id: Option<String>,
}

/// Reads a stream piece by piece, however it is cut.
#[derive(Debug, Default)]
pub(super) struct SseReader {
    rest: BytesMut,
    /// How much of `rest` is known to hold no line end.
    searched: usize,
    event: SseEvent,
    has_data: bool,
    begun: bool,
}

impl SseReader {
    /// The events that a piece completes.
    ///
    /// # Errors
    /// For an event that is too long, or is no text.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<Vec<SseEvent>, String> {
        self.rest.extend_from_slice(piece);
        let mut events = Vec::new();
        while let Some(line) = self.line()? {
            if let Some(event) = self.take(&line)? {
                events.push(event);
            }
        }
        if self.rest.len() > EVENT_MAX {
            return Err(too_long());
        }
        Ok(events)
    }

    /// The next complete line, without its end: LF, CR LF or CR.
    fn line(&mut self) -> Result<Option<String>, String> {
        let from = self.searched;
        let Some(at) = self.rest[from..].iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.searched = self.rest.len();
            return Ok(None);
        };
        let at = from + at;
        // Whether a CR ends the line alone shows in the byte after it.
        let end = match (self.rest[at], self.rest.get(at + 1)) {
            (b'\r', None) => {
                self.searched = at;
                return Ok(None);
            }
            (b'\r', Some(b'\n')) => 2,
            _ => 1,
        };
        let line = self.rest.split_to(at + end);
        self.searched = 0;
        let mut line = std::str::from_utf8(&line[..at]).map_err(|_| "it is no UTF-8".to_owned())?;
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        Ok(Some(line.to_owned()))
    }

    fn take(&mut self, line: &str) -> Result<Option<SseEvent>, String> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return Ok(std::mem::take(&mut self.has_data).then_some(event));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.event),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.has_data = true;
                self.event.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            // Comments have no name; others are for other versions.
            _ => {}
        }
        if self.event.data.len() > EVENT_MAX { Err(too_long()) } else { Ok(None) }
    }
}

fn too_long() -> String {
    "an event is longer than 4 MiB".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event: &str, data: &str, id: Option<&str>) -> SseEvent {
        SseEvent { event: event.into(), data: data.into(), id: id.map(str::to_owned) }
    }

    const STREAM: &str = "\u{feff}: a comment\n\nevent: state\ndata: {\"ä\":1}\n\nid: 7\r\nevent: step\r\n\
        data: one\r\ndata:two\r\ndata\r\n\r\n:keep\r\rretry: 5\revent: end\rdata: {}\r\r.";

    fn wanted() -> Vec<SseEvent> {
        vec![
            event("state", "{\"ä\":1}", None),
            event("step", "one\ntwo\n", Some("7")),
            event("end", "{}", None),
        ]
    }

    #[test]
    fn comments_many_lines_and_every_line_end_are_read() {
        assert_eq!(SseReader::default().feed(STREAM.as_bytes()).unwrap(), wanted());
    }

    #[test]
    fn a_stream_may_be_cut_anywhere() {
        for size in 1..STREAM.len() {
            let mut reader = SseReader::default();
            let pieces = STREAM.as_bytes().chunks(size);
            let events: Vec<SseEvent> = pieces.flat_map(|piece| reader.feed(piece).unwrap()).collect();
            assert_eq!(events, wanted(), "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_its_empty_line_is_none() {
        assert_eq!(SseReader::default().feed(b"event: end\ndata: {}\n").unwrap(), []);
    }

    #[test]
    fn endless_lines_and_events_are_refused() {
        let mut reader = SseReader::default();
        let piece = vec![b'x'; 1 << 20];
        let refused = (0..8).find(|_| reader.feed(&piece).is_err());
        assert!(refused.is_some(), "an endless line");
        let mut reader = SseReader::default();
        let line = [b"data: ".as_slice(), &piece, b"\n"].concat();
        let refused = (0..8).find(|_| reader.feed(&line).is_err());
        assert!(refused.is_some(), "endless lines");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert!(SseReader::default().feed(b"data: \xff\n").is_err());
    }
}
