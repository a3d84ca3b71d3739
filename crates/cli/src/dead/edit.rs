//! Other data for a dead letter, from a file or from an editor.

use std::io::{IsTerminal as _, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use orderwire_api::wire::{DeadEdit, DeadLetter};
use reqwest::Method;
use reqwest::header::IF_MATCH;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::error::Error;
use crate::event::unreadable;
use crate::out::Out;
use crate::server::{Server, parse};
use crate::stop::Stop;

/// The largest data that is read. The server's own limit is 8 MiB by default.
const DATA_MAX: u64 = 64 << 20;

/// What to edit, and with what.
pub(super) struct Edit<'a> {
    pub(super) id: &'a str,
    /// The file with the new data; an editor without one.
    pub(super) file: Option<&'a Path>,
    /// What the new data is based on; the letter as it is now without it.
    pub(super) if_match: Option<&'a str>,
    pub(super) reason: Option<String>,
}

/// The payload of an event.
#[derive(Deserialize)]
struct Payload {
    #[serde(default, deserialize_with = "given")]
    data: Option<Box<RawValue>>,
    data_base64: Option<IgnoredAny>,
}

fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

pub(super) async fn edit(server: &Server, order: Edit<'_>, out: Out) -> Result<(), Error> {
    if let Some(path) = order.file {
        let data = json(&read(path)?, &shown(path))?;
        let etag = match order.if_match {
            Some(etag) => etag.trim_matches('"').to_owned(),
            None => etag(&letter(server, order.id).await?)?,
        };
        return send(server, &order, data, &etag, out).await;
    }
    let editor = editor()?;
    let letter = letter(server, order.id).await?;
    let before = indented(&payload(&letter)?);
    let file = Draft::new(&before)?;
    // Ctrl-C is the editor's while it runs.
    let _heard = Stop::listen()?;
    let after = file.edited_with(&editor)?;
    if after == before {
        file.remove()?;
        return out.done(&letter, "nothing was changed");
    }
    let sent = match json(&after, "what you wrote") {
        Ok(data) => send(server, &order, data, &etag(&letter)?, out).await,
        Err(error) => Err(error),
    };
    match sent {
        Ok(()) => file.remove(),
        Err(error) => {
            let sentence =
                format!("{error}; what you wrote is in {}: send it with --file", file.path.display());
            Err(error.saying(sentence))
        }
    }
}

async fn letter(server: &Server, id: &str) -> Result<DeadLetter, Error> {
    server.get(&["v1", "dead", id], &[]).await
}

async fn send(
    server: &Server,
    order: &Edit<'_>,
    data: Box<RawValue>,
    etag: &str,
    out: Out,
) -> Result<(), Error> {
    let edit = DeadEdit { data: Some(data), data_base64: None, reason: order.reason.clone() };
    let request = server.request(Method::PATCH, &["v1", "dead", order.id], &[]);
    let request = request.header(IF_MATCH, format!("\"{etag}\"")).json(&edit);
    let answer = server.text(request).await?;
    if out.json {
        return out.line(&answer);
    }
    let letter: DeadLetter = parse(&answer)?;
    out.line(&format!(
        "dead letter {} has other data now; replay it with `orderwire dead replay {0}`",
        letter.id
    ))
}

fn etag(letter: &DeadLetter) -> Result<String, Error> {
    let missing = || Error::failed("the server does not say the letter's etag; is it of another version?");
    letter.etag.clone().ok_or_else(missing)
}

/// The data of a letter's event.
fn payload(letter: &DeadLetter) -> Result<String, Error> {
    let event = letter.event.as_ref().map_or("{}", |event| event.get());
    let Payload { data, data_base64 } = parse(event)?;
    if data_base64.is_some() {
        return Err(Error::invalid(
            "the event carries bytes, which no editor shows: send them as data_base64 over the API",
        ));
    }
    Ok(data.map_or_else(|| "null".to_owned(), |data| data.get().to_owned()))
}

fn json(text: &str, name: &str) -> Result<Box<RawValue>, Error> {
    RawValue::from_string(text.to_owned())
        .map_err(|error| Error::invalid(format!("{name} is not JSON: {error}")))
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

fn read(path: &Path) -> Result<String, Error> {
    let name = shown(path);
    let fault = |error: std::io::Error| unreadable(&name, &error);
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(fault)?)
    };
    let mut text = String::new();
    source.take(DATA_MAX + 1).read_to_string(&mut text).map_err(fault)?;
    if text.len() as u64 > DATA_MAX {
        return Err(Error::invalid(format!("{name} is larger than 64 MiB; no event is")));
    }
    Ok(text)
}

/// The editor of whoever sits at the terminal.
fn editor() -> Result<String, Error> {
    let named = ["VISUAL", "EDITOR"].into_iter().filter_map(|name| std::env::var(name).ok());
    match named.into_iter().find(|editor| !editor.trim().is_empty()) {
        Some(editor) if std::io::stdin().is_terminal() => Ok(editor),
        Some(_) => {
            Err(Error::usage("there is no terminal for an editor: give the new data with --file FILE"))
        }
        None => Err(Error::usage("give the new data with --file FILE, or name an editor in EDITOR")),
    }
}

/// A file that only its owner may read, as long as it is edited.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn new(text: &str) -> Result<Self, Error> {
        let path = std::env::temp_dir().join(format!("orderwire-{}.json", Uuid::new_v4()));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let written = options.open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| Error::failed(format!("cannot write {}: {error}", path.display())))?;
        Ok(Self { path })
    }

    /// What it holds after the editor, which may be a command with flags.
    fn edited_with(&self, editor: &str) -> Result<String, Error> {
        let status =
            Command::new("sh").args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(&self.path).status();
        let status = status.map_err(|error| Error::failed(format!("cannot start {editor}: {error}")))?;
        if !status.success() {
            self.remove()?;
            return Err(Error::failed(format!("{editor} ended with {status}; nothing was changed")));
        }
        read(&self.path)
    }

    fn remove(&self) -> Result<(), Error> {
        std::fs::remove_file(&self.path)
            .map_err(|error| Error::failed(format!("cannot remove {}: {error}", self.path.display())))
    }
}

/// JSON with a line for each member, its tokens as they are.
fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    let mut tokens = json.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    while let Some(c) = tokens.next() {
        if in_string {
            out.push(c);
            (in_string, escaped) = (escaped || c != '"', !escaped && c == '\\');
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                while tokens.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = tokens.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => {
                in_string = c == '"';
                out.push(c);
            }
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_shown_with_its_tokens_as_they_are() {
        let json = r#"{"n":9007199254740993,"s":"a\\\"{[,: b","empty":{ },"list":[1.10,[]]}"#;
        let lines = indented(json);
        assert_eq!(
            lines,
            concat!(
                "{\n  \"n\": 9007199254740993,\n  \"s\": \"a\\\\\\\"{[,: b\",\n  \"empty\": {},\n",
                "  \"list\": [\n    1.10,\n    []\n  ]\n}\n"
            )
        );
        assert_eq!(indented("null"), "null\n");
    }

    #[test]
    fn a_draft_is_its_owners_and_holds_what_the_editor_wrote() {
        use std::os::unix::fs::PermissionsExt as _;
        let draft = Draft::new("{\"n\":1}").unwrap();
        let mode = std::fs::metadata(&draft.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(draft.edited_with("sed -i s/1/2/").unwrap(), "{\"n\":2}");
        assert!(draft.edited_with("false").is_err());
        assert!(!draft.path.exists(), "nothing is left behind");
    }

    #[test]
    fn data_is_found_in_a_letter() {
        let letter = |event: &str| -> DeadLetter {
            serde_json::from_str(&format!(
                r#"{{"id":"1","queue":"q","event_id":"e","type":"a.b","client":"acme","trace_id":"t","attempts":1,"cause":"c","died_at":"2026-11-01T10:00:00Z","event":{event}}}"#
            ))
            .unwrap()
        };
        assert_eq!(payload(&letter(r#"{"data":{"n":1.10}}"#)).unwrap(), r#"{"n":1.10}"#);
        assert_eq!(payload(&letter(r#"{"data":null}"#)).unwrap(), "null");
        assert!(payload(&letter(r#"{"data_base64":"AA=="}"#)).is_err());
    }
}
