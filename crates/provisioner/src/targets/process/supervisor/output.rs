//! What processes write: line by line, bounded in length and in number.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::super::protocol::{OutputLine, TEXT_BYTES_MAX};

/// Lines of a process per second, and at once.
const RATE: f64 = 200.0;
const BURST: f64 = 400.0;

/// The shortest value that is taken for a secret: a shorter one would be found in
/// words that have nothing to do with it.
const SECRET_MIN: usize = 6;

/// What a run of a process has said.
pub(super) struct Words {
    /// What shows that it is ready.
    awaited: Option<String>,
    last: Mutex<String>,
    seen: watch::Sender<bool>,
}

impl Words {
    pub(super) fn new(awaited: Option<String>) -> Arc<Self> {
        Arc::new(Self { awaited, last: Mutex::default(), seen: watch::Sender::new(false) })
    }

    /// Returns when the awaited text was written.
    pub(super) async fn seen(&self) {
        if self.seen.subscribe().wait_for(|seen| *seen).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Its last line that is not blank; none when it wrote nothing.
    pub(super) fn last(&self) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = &last[..last.floor_char_boundary(500)];
        (!shown.is_empty()).then(|| shown.to_owned())
    }

    fn hear(&self, text: &str) {
        if self.awaited.as_deref().is_some_and(|awaited| text.contains(awaited)) {
            self.seen.send_replace(true);
        }
        if !text.trim().is_empty() {
            // It becomes part of a reason, which is read on terminals.
            let plain = text.trim().replace(char::is_control, "\u{fffd}");
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = plain;
        }
    }
}

/// Lets through so many lines of a process, whichever of its runs and streams they
/// come from.
pub(super) struct Tap {
    process: String,
    /// What nobody may read in a log: the key and the secrets of the release.
    secrets: Vec<String>,
    output: mpsc::Sender<OutputLine>,
    state: Mutex<Bucket>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
    dropped: u64,
}

impl Tap {
    pub(super) fn new(
        process: &str,
        given: &[(String, String)],
        output: mpsc::Sender<OutputLine>,
    ) -> Arc<Self> {
        let state = Mutex::new(Bucket { tokens: BURST, at: Instant::now(), dropped: 0 });
        // What else is named so says who the release is.
        let is_own = |name: &str| name.starts_with("ORDERWIRE_") || name == "TRACEPARENT";
        let is_secret = |(name, value): &&(String, String)| {
            (name == "ORDERWIRE_API_KEY" || !is_own(name)) && value.len() >= SECRET_MIN
        };
        let secrets = given.iter().filter(is_secret).map(|(_, value)| value.clone()).collect();
        Arc::new(Self { process: process.to_owned(), secrets, output, state })
    }

    /// The text without secrets.
    fn told(&self, text: &str) -> String {
        let told = |text: String, secret: &String| match text.contains(secret) {
            true => text.replace(secret, "***"),
            false => text,
        };
        self.secrets.iter().fold(text.to_owned(), told)
    }

    fn pass(&self, stream: &str, text: String) {
        let mut bucket = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        bucket.tokens = (bucket.tokens + (now - bucket.at).as_secs_f64() * RATE).min(BURST);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            bucket.dropped += 1;
            return;
        }
        let line = OutputLine {
            process: self.process.clone(),
            stream: stream.to_owned(),
            text,
            dropped: bucket.dropped,
        };
        // Full: Orderwire is slow to listen, and a process must not wait for it.
        if self.output.try_send(line).is_ok() {
            bucket.tokens -= 1.0;
            bucket.dropped = 0;
        } else {
            bucket.dropped += 1;
        }
    }
}

/// Reads a stream to its end.
pub(super) async fn read(stream: &'static str, pipe: OwnedFd, tap: Arc<Tap>, words: Arc<Words>) {
    let pipe = match pipe::Receiver::from_owned_fd(pipe) {
        Ok(pipe) => pipe,
        Err(error) => return tap.pass(stream, format!("its output cannot be read: {error}")),
    };
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    let mut is_begun = false;
    // An error is an end as well.
    while let Ok(bytes) = pipe.fill_buf().await {
        if bytes.is_empty() {
            break;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        line.extend_from_slice(&part[..part.len().min(TEXT_BYTES_MAX - line.len())]);
        let used = part.len() + usize::from(end.is_some());
        pipe.consume(used);
        is_begun = end.is_none();
        if end.is_some() {
            pass(stream, &mut line, &tap, &words);
        }
    }
    if is_begun {
        pass(stream, &mut line, &tap, &words);
    }
}

fn pass(stream: &str, line: &mut Vec<u8>, tap: &Tap, words: &Words) {
    let text = String::from_utf8_lossy(line);
    let text = tap.told(text.trim_end_matches('\r'));
    words.hear(&text);
    tap.pass(stream, text);
    line.clear();
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;

    #[test]
    fn neither_secrets_nor_control_characters_are_told() {
        let (output, mut lines) = mpsc::channel(10);
        let given = [
            ("ORDERWIRE_URL", "http://127.0.0.1:1"),
            ("ORDERWIRE_API_KEY", "ow_1_2345"),
            ("TOKEN", "hunter2"),
            ("PIN", "12"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (tap, words) = (Tap::new("p", &given, output), Words::new(None));
        pass("stdout", &mut b"key ow_1_2345 hunter2 of http://127.0.0.1:1, \x1b[2J12".to_vec(), &tap, &words);
        assert_eq!(lines.try_recv().unwrap().text, "key *** *** of http://127.0.0.1:1, \u{1b}[2J12");
        assert_eq!(words.last().unwrap(), "key *** *** of http://127.0.0.1:1, \u{fffd}[2J12");
    }

    async fn heard(written: Vec<u8>) -> Vec<OutputLine> {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let writing = std::thread::spawn(move || writer.write_all(&written).unwrap());
        let (output, mut lines) = mpsc::channel(1_000);
        let tap = Tap::new("p", &[], output);
        read("stdout", reader.into(), tap.clone(), Words::new(None)).await;
        writing.join().unwrap();
        drop(tap);
        std::iter::from_fn(|| lines.try_recv().ok()).collect()
    }

    #[tokio::test]
    async fn long_lines_are_cut_and_bytes_that_are_no_text_are_replaced() {
        let mut written = vec![b'a'; 100_000];
        written.extend(b"\n\xff!\r\n\nend");
        let texts: Vec<String> = heard(written).await.into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["a".repeat(TEXT_BYTES_MAX).as_str(), "\u{fffd}!", "", "end"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_cut_and_counted() {
        let (output, mut lines) = mpsc::channel(10_000);
        let tap = Tap::new("p", &[], output);
        for n in 0..5_000 {
            tap.pass("stdout", n.to_string());
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        tap.pass("stdout", "late".to_owned());
        let lines: Vec<OutputLine> = std::iter::from_fn(|| lines.try_recv().ok()).collect();
        assert_eq!(lines.len(), 401);
        assert_eq!((lines[400].text.as_str(), lines[400].dropped), ("late", 4_600));
    }

    #[tokio::test]
    async fn the_awaited_text_and_the_last_words_are_known() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"now listening on 1\nlast\n\n").unwrap();
        drop(writer);
        let words = Words::new(Some("listening".to_owned()));
        let (output, _lines) = mpsc::channel(10);
        read("stderr", reader.into(), Tap::new("p", &[], output), words.clone()).await;
        words.seen().await;
        assert_eq!(words.last().as_deref(), Some("last"));
    }
}
