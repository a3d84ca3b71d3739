//! A reader of server-sent events.

use anyhow::{Context, Result, ensure};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde_json::Value;

use crate::Server;

/// An open stream.
pub struct Stream {
    body: BoxStream<'static, Result<Vec<u8>, reqwest::Error>>,
    text: String,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its data.
    pub data: Value,
}

impl Stream {
    /// Opens a stream of a server, which must let it in.
    pub async fn open(server: &Server, path: &str) -> Result<Self> {
        let response = server.http.get(format!("{}{path}", server.url)).send().await?;
        let status = response.status();
        ensure!(status == 200, "{path}: {status}: {}", response.text().await?);
        Ok(Self::of(response))
    }

    /// The stream of an answer.
    pub fn of(response: reqwest::Response) -> Self {
        let body = response.bytes_stream().map(|piece| piece.map(|piece| piece.to_vec())).boxed();
        Self { body, text: String::new() }
    }

    /// The next event, comments aside; `None` at the end of the stream, which must be
    /// a clean one.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let value = event.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
                    value.unwrap_or_default().to_owned()
                };
                let (name, id, data) = (field("event"), field("id"), field("data"));
                self.text = rest.to_owned();
                if !data.is_empty() {
                    return Ok(Some(Event { name, id, data: serde_json::from_str(&data)? }));
                }
            }
            match self.body.next().await {
                None => return Ok(None),
                Some(piece) => {
                    let piece = piece.context("the stream broke off")?;
                    self.text.push_str(std::str::from_utf8(&piece)?);
                }
            }
        }
    }

    /// The next event, which must be a delivery.
    pub async fn delivery(&mut self) -> Result<Event> {
        let event = self.next().await?.context("the stream ended")?;
        ensure!(event.name == "delivery" && event.data["delivery_id"] == event.id.as_str(), "{event:?}");
        Ok(event)
    }
}
