//! One keep-alive connection, as cheap as it gets.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HeaderMap, HeaderValue};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::net::TcpStream;

use crate::error::Error;

/// How long one request may last, as a rule.
pub(super) const REQUEST_MAX: Duration = Duration::from_secs(30);
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
    /// Whether it came from a cache, if it says so.
    pub(super) cached: Option<bool>,
    /// Only when it was asked for, or of a refusal.
    pub(super) body: Bytes,
}

impl Connection {
    pub(super) fn new(target: Target) -> Self {
        Self { target, sender: None }
    }

    /// Sends a request and reads the whole answer; keeps its body if asked to.
    ///
    /// # Errors
    /// In a few words; the next request uses a new connection.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        keep: bool,
        within: Duration,
    ) -> Result<Answer, String> {
        let answer = match tokio::time::timeout(within, self.exchange(request, keep)).await {
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
        let cached = cached(response.headers());
        let keep = keep || status >= 300;
        let mut body = response.into_body();
        let mut kept = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken(&error))?;
            if let (true, Some(data)) = (keep, frame.data_ref()) {
                kept.extend_from_slice(data);
            }
        }
        Ok(Answer { status, cached, body: kept.freeze() })
    }
}

/// What `Cache-Status` (RFC 9211) says of the cache that is nearest to the reader,
/// which is the last one.
fn cached(headers: &HeaderMap) -> Option<bool> {
    let last = headers.get_all("cache-status").iter().next_back()?.to_str().ok()?.rsplit(',').next()?;
    let mut parameters = last.split(';').skip(1).map(str::trim);
    Some(parameters.any(|parameter| parameter == "hit"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whether_it_was_cached() {
        let said = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("cache-status", HeaderValue::from_static(value));
            }
            cached(&headers)
        };
        assert_eq!(said(&[]), None);
        assert_eq!(said(&["orderwire; hit"]), Some(true));
        assert_eq!(said(&["orderwire; hit; detail=stale"]), Some(true));
        assert_eq!(said(&["orderwire; fwd=miss"]), Some(false));
        assert_eq!(said(&["origin; hit, edge; fwd=miss"]), Some(false));
        assert_eq!(said(&["origin; fwd=miss", "edge; hit"]), Some(true));
    }

    #[test]
    fn only_plain_http_is_spoken() {
        let target = |url: &str| Target::new(&url.parse().unwrap());
        assert!(target("https://localhost").unwrap_err().to_string().contains("http://"));
        assert_eq!(target("http://[::1]:81").unwrap().address, "[::1]:81");
        assert_eq!(target("http://localhost").unwrap().address, "localhost:80");
    }
}
