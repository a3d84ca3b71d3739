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
mod tests {
    use super::*;

    /// What a server that writes these pieces, one after the other, is read as, and
    /// whether the connection is kept.
    async fn answers<P: AsRef<[u8]> + Sync + 'static>(
        pieces: &'static [P],
    ) -> (Result<Answer, String>, bool) {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut socket, _) = server.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let mut request = [0; 4_096];
            assert!(socket.read(&mut request).await.unwrap() > 0);
            for piece in pieces {
                socket.write_all(piece.as_ref()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let mut connection = Connection::new(Target::new(&url.parse().unwrap()).unwrap());
        let request = Request::post("/x").body(Bytes::from_static(b"{}")).unwrap();
        let answer = connection.send(request, true, REQUEST_MAX).await;
        serving.await.unwrap();
        (answer, connection.stream.is_some())
    }

    async fn body(pieces: &'static [&'static str]) -> (Bytes, bool) {
        let (answer, kept) = answers(pieces).await;
        (answer.unwrap().body, kept)
    }

    #[tokio::test]
    async fn a_body_ends_where_its_head_says() {
        const OK: &str = "HTTP/1.1 200 OK\r\n";
        let whole = body(&[OK, "Content-", "Length: 5\r\n\r\nab", "cde"]).await;
        assert_eq!(whole, (Bytes::from_static(b"abcde"), true));
        let chunked = body(&[
            OK,
            "transfer-encoding: chunked\r\n\r\n3\r",
            "\nabc\r\n2\r\nd",
            "e\r\n0\r\n",
            "x: y\r\n\r\n",
        ])
        .await;
        assert_eq!(chunked, (Bytes::from_static(b"abcde"), true));
        let until_end = body(&[OK, "\r\nabc", "de"]).await;
        assert_eq!(until_end, (Bytes::from_static(b"abcde"), false));
        let closing = body(&[OK, "Connection: close\r\nContent-Length: 1\r\n\r\na"]).await;
        assert_eq!(closing, (Bytes::from_static(b"a"), false));
        let listed = body(&[OK, "Connection: x, Close\r\nContent-Length: 1\r\n\r\na"]).await;
        assert_eq!(listed, (Bytes::from_static(b"a"), false));
        // As the standard has it: chunks go before a length, and a length may be repeated.
        let both = body(&[OK, "Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n1\r\na\r\n0\r\n\r\n"]);
        assert_eq!(both.await, (Bytes::from_static(b"a"), true));
        let twice = body(&[OK, "Content-Length: 1\r\nContent-Length: 1\r\n\r\na"]).await;
        assert_eq!(twice, (Bytes::from_static(b"a"), true));
        let announced = body(&["HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"]).await;
        assert_eq!(announced, (Bytes::new(), true));
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_or_is_none_is_an_error() {
        for (pieces, wrong) in [
            (&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"][..], "ended the connection"),
            (&["HTTP/1.1 200 OK\r\nContent-"], "ended the connection"),
            (&["220 mail\r\n"], "no HTTP"),
            (&["HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"], "no sound length"),
            (&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"], "no size"),
            (&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n"], "longer than it says"),
        ] {
            let (answer, kept) = answers(pieces).await;
            let error = answer.unwrap_err();
            assert!(error.contains(wrong) && !kept, "{pieces:?}: {error}");
        }
    }

    /// Read as the next best, the rest of such an answer would be taken for the next one.
    #[tokio::test]
    async fn an_answer_whose_end_is_in_doubt_is_an_error() {
        const CASES: [(&[&[u8]], &str); 10] = [
            (&[b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"], "two lengths"),
            (&[b"Content-Length: +2\r\n\r\nab"], "no sound length: +2"),
            (&[b"Content-Length: 2, 2\r\n\r\nab"], "no sound length: 2, 2"),
            (&[b"Content-Length:\r\n\r\nab"], "no sound length"),
            (&[b"Content-Length: 2\xff\r\n\r\nab"], "Content-Length is no text"),
            (&[b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"], "other than chunked: gzip, chunked"),
            (&[b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], "chunked: gzip"),
            (&[b"Transfer-Encoding: chunked\xff\r\n\r\n0\r\n\r\n"], "Transfer-Encoding is no text"),
            (&[b"Transfer-Encoding: chunked\r\n\r\n", b"\r\n\r\n"], "no size"),
            (&[b"Transfer-Encoding: chunked\r\n\r\n", b";x=1\r\n\r\n"], "no size"),
        ];
        for (lines, wrong) in &CASES {
            let pieces: Vec<&'static [u8]> = [&[&b"HTTP/1.1 200 OK\r\n"[..]], *lines].concat();
            let (answer, kept) = answers(pieces.leak()).await;
            let error = answer.expect_err(wrong);
            assert!(error.contains(wrong) && !kept, "{wrong}: {error}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_the_server_ended_is_made_again() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let mut connection = Connection::new(Target::new(&url.parse().unwrap()).unwrap());
        for _ in 0..2 {
            let serve = async {
                let (mut socket, _) = server.accept().await.unwrap();
                assert!(socket.read(&mut [0; 4_096]).await.unwrap() > 0);
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            };
            let ask = async {
                let request = Request::get("/").body(Bytes::new()).unwrap();
                let answer = connection.send(request, false, REQUEST_MAX).await.unwrap();
                // Until the end has come, which `serve` sends by letting go.
                connection.stream.as_ref().unwrap().readable().await.unwrap();
                answer.status
            };
            assert_eq!(tokio::join!(serve, ask).1, 200);
        }
    }

    #[test]
    fn an_answer_says_whether_it_was_cached() {
        let said = |values: &[&str]| {
            let lines: String = values.iter().map(|value| format!("Cache-Status: {value}\r\n")).collect();
            parse(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes()).unwrap().unwrap().1.cached
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
