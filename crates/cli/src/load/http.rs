//! One keep-alive connection, as cheap as it gets: the generator shares the
//! machine with the server that it measures.
//!
//! A request is one write of bytes. Of an answer the head is parsed by `httparse`;
//! its body is passed over unless it was asked for.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::header::HeaderValue;
use hyper::{Request, StatusCode};
use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::error::Error;

/// How long one request may last, as a rule.
pub(super) const REQUEST_MAX: Duration = Duration::from_secs(30);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How much is read at once, and so how long the head of an answer or the line
/// before a chunk may be.
const READ_BYTES: usize = 32 << 10;
const HEADERS_MAX: usize = 64;
/// How much of a body is kept.
const KEPT_BYTES: usize = 64 << 20;

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
    stream: Option<TcpStream>,
    /// The request that is written.
    output: Vec<u8>,
    /// What was read and not yet looked at.
    input: BytesMut,
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

/// What the head of an answer says.
#[derive(Debug)]
struct Head {
    status: u16,
    cached: Option<bool>,
    length: Length,
    /// Whether another request may follow.
    stays: bool,
}

/// How the end of a body is found (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunked,
    /// All that comes until the server ends the connection.
    UntilEnd,
}

impl Connection {
    pub(super) fn new(target: Target) -> Self {
        Self { target, stream: None, output: Vec::new(), input: BytesMut::new() }
    }

    /// Sends a request and reads the whole answer; keeps its body if asked to.
    ///
    /// # Errors
    /// In a few words; the next request uses a new connection.
    pub(super) async fn send(
        &mut self,
        request: Request<Bytes>,
        keep: bool,
        within: Duration,
    ) -> Result<Answer, String> {
        let answer = match tokio::time::timeout(within, self.exchange(&request, keep)).await {
            Ok(answer) => answer,
            Err(_) => Err("time-out".to_owned()),
        };
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    async fn exchange(&mut self, request: &Request<Bytes>, keep: bool) -> Result<Answer, String> {
        let Self { target, stream, output, input } = self;
        // The server may have ended it meanwhile, which is no failure.
        let usable = stream.as_ref().is_some_and(|stream| {
            matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        });
        if !usable {
            *stream = Some(connect(&target.address).await?);
            input.clear();
        }
        let socket = stream.as_mut().expect("there is a connection now");
        output.clear();
        write(request, output);
        socket.write_all(output).await.map_err(broken)?;
        let mut reading = Reading { socket, input };
        let head = reading.head().await?;
        let mut kept = Kept { wanted: keep || head.status >= 300, bytes: BytesMut::new() };
        reading.body(head.length, &mut kept).await?;
        if !head.stays || !input.is_empty() {
            *stream = None;
        }
        Ok(Answer { status: head.status, cached: head.cached, body: kept.bytes.freeze() })
    }
}

fn write(request: &Request<Bytes>, output: &mut Vec<u8>) {
    let body = request.body();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    for part in [request.method().as_str(), " ", path, " HTTP/1.1\r\n"] {
        output.extend_from_slice(part.as_bytes());
    }
    for (name, value) in request.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            output.extend_from_slice(part);
        }
    }
    output.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    output.extend_from_slice(body);
}

/// The part of a body that is kept.
struct Kept {
    wanted: bool,
    bytes: BytesMut,
}

impl Kept {
    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.wanted {
            if self.bytes.len() + bytes.len() > KEPT_BYTES {
                return Err(format!("the answer is longer than {} MiB", KEPT_BYTES >> 20));
            }
            self.bytes.extend_from_slice(bytes);
        }
        Ok(())
    }
}

/// An answer on its way.
struct Reading<'a> {
    socket: &'a mut TcpStream,
    input: &'a mut BytesMut,
}

impl Reading<'_> {
    /// The head of the final answer; those that only announce it are passed over.
    async fn head(&mut self) -> Result<Head, String> {
        loop {
            if let Some((bytes, head)) = parse(self.input)? {
                self.input.advance(bytes);
                if head.status >= 200 {
                    return Ok(head);
                }
                continue;
            }
            self.more_of_line("the head of the answer").await?;
        }
    }

    async fn body(&mut self, length: Length, kept: &mut Kept) -> Result<(), String> {
        match length {
            Length::Bytes(bytes) => self.bytes(bytes, kept).await,
            Length::Chunked => self.chunks(kept).await,
            Length::UntilEnd => loop {
                kept.take(self.input)?;
                self.input.clear();
                if self.read().await? == 0 {
                    return Ok(());
                }
            },
        }
    }

    async fn bytes(&mut self, mut left: usize, kept: &mut Kept) -> Result<(), String> {
        loop {
            let there = left.min(self.input.len());
            kept.take(&self.input[..there])?;
            self.input.advance(there);
            left -= there;
            if left == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn chunks(&mut self, kept: &mut Kept) -> Result<(), String> {
        loop {
            let size = loop {
                // A line without a digit is a size of 0 to `httparse`: the end.
                if self.input.first().is_some_and(|first| !first.is_ascii_hexdigit()) {
                    return Err("a chunk has no size".to_owned());
                }
                let size = httparse::parse_chunk_size(self.input).map_err(|_| "a chunk has no size")?;
                if let httparse::Status::Complete((bytes, size)) = size {
                    self.input.advance(bytes);
                    break usize::try_from(size).map_err(|_| "a chunk is too large")?;
                }
                self.more_of_line("the size of a chunk").await?;
            };
            if size == 0 {
                return self.trailer().await;
            }
            self.bytes(size, kept).await?;
            while self.input.len() < 2 {
                self.more().await?;
            }
            if !self.input.starts_with(b"\r\n") {
                return Err("a chunk is longer than it says".to_owned());
            }
            self.input.advance(2);
        }
    }

    /// What follows the last chunk.
    async fn trailer(&mut self) -> Result<(), String> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let end = httparse::parse_headers(self.input, &mut headers)
                .map_err(|error| format!("the end of the answer cannot be read: {error}"))?;
            if let httparse::Status::Complete((bytes, _)) = end {
                self.input.advance(bytes);
                return Ok(());
            }
            self.more_of_line("the end of the answer").await?;
        }
    }

    async fn more_of_line(&mut self, what: &str) -> Result<(), String> {
        if self.input.len() >= READ_BYTES {
            return Err(format!("{what} is longer than {READ_BYTES} bytes"));
        }
        self.more().await
    }

    async fn more(&mut self) -> Result<(), String> {
        match self.read().await? {
            0 => Err("the server ended the connection".to_owned()),
            _ => Ok(()),
        }
    }

    async fn read(&mut self) -> Result<usize, String> {
        self.input.reserve(READ_BYTES);
        self.socket.read_buf(self.input).await.map_err(broken)
    }
}

/// The head of an answer and its length in bytes, once it is there to its end.
fn parse(input: &[u8]) -> Result<Option<(usize, Head)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(input).map_err(|error| format!("the answer is no HTTP: {error}"))?;
    let httparse::Status::Complete(bytes) = parsed else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let empty =
        status < 200 || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].iter().any(|code| *code == status);
    let mut head =
        Head { status, cached: None, length: Length::UntilEnd, stays: response.version == Some(1) };
    let (mut length, mut chunked) = (None, false);
    for header in response.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let bytes = content_length(framing(header)?)?;
            if length.replace(bytes).is_some_and(|before| before != bytes) {
                return Err("the answer has two lengths".to_owned());
            }
        } else if is("transfer-encoding") {
            let value = framing(header)?;
            if chunked || !value.eq_ignore_ascii_case("chunked") {
                return Err(format!("the answer has a transfer encoding other than chunked: {value}"));
            }
            chunked = true;
        } else if is("connection") {
            head.stays &= !framing(header)?.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"));
        } else if is("cache-status") {
            head.cached = std::str::from_utf8(header.value).map_or(head.cached, cached);
        }
    }
    if empty {
        head.length = Length::Bytes(0);
    } else if chunked {
        head.length = Length::Chunked;
    } else if let Some(bytes) = length {
        head.length = Length::Bytes(bytes);
    }
    head.stays &= head.length != Length::UntilEnd;
    Ok(Some((bytes, head)))
}

/// The value of a header that says where the answer ends: passed over, the next answer
/// would be read from the middle of this one.
fn framing<'a>(header: &httparse::Header<'a>) -> Result<&'a str, String> {
    std::str::from_utf8(header.value).map_err(|_| format!("the answer's {} is no text", header.name))
}

/// Digits and nothing else: a number in Rust may have a sign.
fn content_length(value: &str) -> Result<usize, String> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = if digits { value.parse().ok() } else { None };
    bytes.ok_or_else(|| format!("the answer has no sound length: {value}"))
}

/// What `Cache-Status` (RFC 9211) says of the cache that is nearest to the reader,
/// which is the last one.
fn cached(value: &str) -> Option<bool> {
    let last = value.rsplit(',').next()?;
    let mut parameters = last.split(';').skip(1).map(str::trim);
    Some(parameters.any(|parameter| parameter == "hit"))
}

async fn connect(address: &str) -> Result<TcpStream, String> {
    let stream = match tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address)).await {
        Ok(stream) => stream.map_err(|error| format!("cannot connect to {address}: {error}"))?,
        Err(_) => return Err(format!("cannot connect to {address}: time-out")),
    };
    stream.set_nodelay(true).map_err(|error| format!("cannot set up the connection: {error}"))?;
    Ok(stream)
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
fn broken(error: io::Error) -> String {
    format!("the connection broke: {error}")
}

#[cfg(test)]
mod tests;
