//! One keep-alive connection, as cheap as it gets.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HeaderValue;
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::net::TcpStream;

use crate::error::Error;

/// How long one request may last.
const REQUEST_MAX: Duration = Duration::from_secs(30);
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Where connections go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    address: String,
    host: HeaderValue,
}

impl Target {
    /// # Errors
    /// `Usage` for anything but plain HTTP.
    pub(super) fn new(url: &Url) -> Result<Self, Error> {
        if url.scheme() != "http" {
            return Err(Error::usage("load speaks plain HTTP: name an address that begins with http://"));
        }
        let host = url.host_str().expect("the address was checked");
        let address = format!("{host}:{}", url.port_or_known_default().unwrap_or(80));
        let host = HeaderValue::from_str(&address)
            .map_err(|_| Error::usage(format!("--server {url} is no address")))?;
        Ok(Self { address, host })
    }

    pub(super) fn host(&self) -> &HeaderValue {
        &self.host
    }
}

/// A connection that is made again when it broke.
pub(super) struct Connection {
    target: Target,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// An answer. The body is read to its end in any case.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Only when it was asked for, or of a refusal.
    pub(super) body: Bytes,
}

impl Connection {
    pub(super) fn new(target: Target) -> Self {
        Self { target, sender: None }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// In a few words; the next request uses a new connection.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>, keep: bool) -> Result<Answer, String> {
        let answer = match tokio::time::timeout(REQUEST_MAX, self.exchange(request, keep)).await {
            Ok(answer) => answer,
            Err(_) => Err("time-out".to_owned()),
        };
        if answer.is_err() {
            self.sender = None;
        }
        answer
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>, keep: bool) -> Result<Answer, String> {
        let usable = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.sender = Some(connect(&self.target.address).await?);
        }
        let sender = self.sender.as_mut().expect("there is a connection now");
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let keep = keep || status >= 300;
        let mut body = response.into_body();
        let mut kept = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken(&error))?;
            if let (true, Some(data)) = (keep, frame.data_ref()) {
                kept.extend_from_slice(data);
            }
        }
        Ok(Answer { status, body: kept.freeze() })
    }
}

async fn connect(address: &str) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = match tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address)).await {
        Ok(stream) => stream.map_err(|error| format!("cannot connect to {address}: {error}"))?,
        Err(_) => return Err(format!("cannot connect to {address}: time-out")),
    };
    stream.set_nodelay(true).map_err(|error| format!("cannot set up the connection: {error}"))?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    tokio::spawn(async move {
        // Its failure is that of the request on it, which reports it.
        connection.await.ok();
    });
    Ok(sender)
}

fn broken(error: &hyper::Error) -> String {
    format!("the connection broke: {error}")
}
