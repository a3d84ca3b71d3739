//! A GET that asks whether something answers as it should: of the readiness of a
//! process, and of gates. Whoever asks bounds the time.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The most bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Whether a GET can ask for it as it is.
pub(crate) fn is_request_path(path: &str) -> bool {
    path.starts_with('/') && path.parse::<hyper::http::uri::PathAndQuery>().is_ok()
}

/// An answer.
pub(crate) struct Answer {
    /// Its status; that of a redirect as well, which is not followed.
    pub(crate) status: StatusCode,
    /// As much of its body as was asked for.
    pub(crate) body: Vec<u8>,
}

/// Connects to an address, `host:port`.
///
/// # Errors
/// In plain words, with the address.
pub(crate) async fn connect(address: &str) -> Result<TcpStream, String> {
    let connected = TcpStream::connect(address).await.and_then(|stream| {
        // Where nobody listens, a connection may get this very port as its own and meet itself.
        let is_own = stream.local_addr()? == stream.peer_addr()?;
        if is_own { Err(std::io::ErrorKind::ConnectionRefused.into()) } else { Ok(stream) }
    });
    connected.map_err(|error| format!("{address} does not answer: {error}"))
}

/// Asks for a path. Of the body at most so many bytes are read.
///
/// # Errors
/// In plain words, with path and address.
pub(crate) async fn get(address: &str, path: &str, body_bytes_max: usize) -> Result<Answer, String> {
    let stream = connect(address).await?;
    let failed = |error: hyper::Error| format!("GET {path} of {address} failed: {error}");
    let handshake = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(failed)?;
    let request = hyper::Request::get(path)
        .header("host", address)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    // How the connection ended is in what becomes of the request.
    let driven = async {
        drop(connection.await);
        std::future::pending().await
    };
    let asked = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok(Answer { status, body: read(response.into_body(), body_bytes_max).await? })
    };
    // The connection ends with this call, whatever is left of the answer.
    tokio::select! {
        answer = asked => answer.map_err(failed),
        nothing = driven => nothing,
    }
}

async fn read(mut incoming: Incoming, bytes_max: usize) -> hyper::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < bytes_max {
        let Some(frame) = incoming.frame().await else { break };
        if let Ok(data) = frame?.into_data() {
            body.extend_from_slice(&data[..data.len().min(bytes_max - body.len())]);
        }
    }
    Ok(body)
}
