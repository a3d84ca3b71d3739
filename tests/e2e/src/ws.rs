//! A consumer on a WebSocket.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::{PATIENCE, Server};

/// An open connection.
pub struct Socket {
    /// The connection itself.
    pub inner: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The subprotocol that the server picked.
    pub protocol: Option<String>,
}

/// The handshake was answered with this status.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(pub u16);

impl Socket {
    /// Opens a WebSocket on this path with further headers, as they are.
    pub async fn with(
        server: &Server,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Result<Self, Refused>> {
        let url = format!("{}{path}", server.url.replacen("http", "ws", 1));
        let mut request = url.into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse()?);
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((inner, answer)) => {
                let protocol = answer.headers().get("sec-websocket-protocol");
                let protocol = protocol.and_then(|value| value.to_str().ok()).map(str::to_owned);
                Ok(Ok(Self { inner, protocol }))
            }
            Err(tungstenite::Error::Http(answer)) => Ok(Err(Refused(answer.status().as_u16()))),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens one with the server's admin key, which must be let in.
    pub async fn open(server: &Server, path: &str) -> Result<Self> {
        match Self::with(server, path, &[("x-api-key", server.key.as_str())]).await? {
            Ok(socket) => Ok(socket),
            Err(refused) => bail!("{path}: {refused:?}"),
        }
    }

    /// Says something.
    pub async fn say(&mut self, message: &Value) -> Result<()> {
        Ok(self.inner.send(Message::text(message.to_string())).await?)
    }

    /// What the server says next, pings aside.
    pub async fn hear(&mut self) -> Result<Value> {
        match self.next().await? {
            Ok(value) => Ok(value),
            Err(close) => bail!("the connection was closed: {close:?}"),
        }
    }

    /// What the server says next; or how it closes the connection, when it says so.
    pub async fn next(&mut self) -> Result<Result<Value, Option<CloseFrame>>> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.inner.next()).await?;
            match message.context("the connection ended without a word")?? {
                Message::Text(text) => return Ok(Ok(serde_json::from_str(&text)?)),
                Message::Close(frame) => return Ok(Err(frame)),
                _ => {}
            }
        }
    }

    /// The next thing that is said, which must be a delivery.
    pub async fn delivery(&mut self) -> Result<Value> {
        let mut said = self.hear().await?;
        ensure!(said["delivery"].is_object(), "{said}");
        Ok(said["delivery"].take())
    }

    /// That nothing is said for a moment.
    pub async fn silence(&mut self) -> Result<()> {
        let waits = tokio::time::timeout(Duration::from_millis(300), self.inner.next()).await;
        ensure!(waits.is_err(), "something was said: {waits:?}");
        Ok(())
    }

    /// Acks a delivery.
    pub async fn ack(&mut self, delivery: &Value) -> Result<()> {
        self.say(&json!({"ack": [delivery["delivery_id"]]})).await
    }
}
