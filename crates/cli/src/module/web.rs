//! A server of a folder of static files.
//!
//! Invariant: what is outside the folder is never read, whatever a path or a
//! link says.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{FINE, Stop};
use crate::args::Web;
use crate::error::{Error, ErrorKind};

/// The largest file that is served.
const FILE_MAX: u64 = 16 << 20;
const CONNECTIONS_MAX: usize = 128;
/// How long a request may take to arrive.
const HEADER_MAX: Duration = Duration::from_secs(10);
/// How long an open request may go on after SIGTERM.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// After a failed accept, such as without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(args: &Web, say: impl Fn(&Value) -> Result<(), Error>) -> Result<u8, Error> {
    let mut stop = Stop::listen()?;
    let root = root(&args.folder)?;
    let port = match args.port {
        Some(port) => port,
        None => port(|name| std::env::var(name).ok())?,
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        Error::new(
            ErrorKind::Conflict,
            format!("cannot listen on 127.0.0.1:{port}: {error}; choose another port"),
        )
    })?;
    let address = listener.local_addr().map_err(|error| Error::failed(format!("no address: {error}")))?;
    say(&json!({ "msg": "ready", "listen": address.to_string() }))?;
    serve(listener, root, stop.next()).await;
    Ok(FINE)
}

/// The folder itself, without links on the way.
fn root(folder: &Path) -> Result<PathBuf, Error> {
    let shown = folder.display();
    let root = folder.canonicalize().map_err(|error| {
        Error::new(ErrorKind::NotFound, format!("cannot serve {shown}: {error}; name a folder with --folder"))
    })?;
    if root.is_dir() {
        Ok(root)
    } else {
        Err(Error::invalid(format!("{shown} is no folder; name one with --folder")))
    }
}

fn port(variable: impl Fn(&str) -> Option<String>) -> Result<u16, Error> {
    let names = ["PORT_HTTP", "PORT"];
    let Some((name, value)) = names.into_iter().find_map(|name| Some((name, variable(name)?))) else {
        return Err(Error::usage("no port: name one with --port, or in PORT_HTTP or PORT"));
    };
    value.parse().map_err(|_| Error::usage(format!("{name} is {value:?}, which is no port")))
}

/// Serves until `stop`, then ends what is open, within a limit.
async fn serve(listener: TcpListener, root: PathBuf, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let root: Arc<Path> = root.into();
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("it is never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let root = root.clone();
        let service = service_fn(move |request| {
            let root = root.clone();
            async move { Ok::<_, Infallible>(answer(&request, &root).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADER_MAX);
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A connection that breaks is the reader's matter.
            connection.await.ok();
            drop(place);
        });
    }
    drop(listener);
    // What has not ended by then is ended by the end of the program.
    tokio::time::timeout(DRAIN_MAX, graceful.shutdown()).await.ok();
}

async fn answer<B>(request: &Request<B>, root: &Path) -> Response<Full<Bytes>> {
    let head = request.method() == Method::HEAD;
    if !head && request.method() != Method::GET {
        let mut refusal = sentence(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n", head);
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    let (root, path) = (root.to_owned(), request.uri().path().to_owned());
    let read = tokio::task::spawn_blocking(move || read(&root, &path)).await;
    match read.unwrap_or_else(|error| Err(Refusal::Failed(format!("reading failed: {error}")))) {
        Ok((content, content_type)) => respond(StatusCode::OK, content_type, content.into(), head),
        Err(Refusal::NotFound) => sentence(StatusCode::NOT_FOUND, "there is no such page\n", head),
        Err(Refusal::Failed(detail)) => {
            eprintln!("{}", crate::out::plain(&detail));
            sentence(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be read\n", head)
        }
    }
}

fn sentence(status: StatusCode, text: &'static str, head: bool) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()), head)
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes, head: bool) -> Response<Full<Bytes>> {
    let length = body.len();
    let mut response = Response::new(Full::new(if head { Bytes::new() } else { body }));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// Why there is no page.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// Nothing that may be read is there.
    NotFound,
    Failed(String),
}

/// The file that a path names, and its type.
fn read(root: &Path, path: &str) -> Result<(Vec<u8>, &'static str), Refusal> {
    use std::io::Read as _;

    let mut file = root.to_owned();
    file.extend(segments(path).ok_or(Refusal::NotFound)?);
    // Without links, so that one that leads out of the folder shows.
    let mut file = file.canonicalize().map_err(|_| Refusal::NotFound)?;
    if file.is_dir() {
        file = file.join("index.html").canonicalize().map_err(|_| Refusal::NotFound)?;
    }
    // A pipe or a device is no page, and opening one may never end.
    if !file.starts_with(root) || !file.is_file() {
        return Err(Refusal::NotFound);
    }
    let failed = |what: String| Refusal::Failed(format!("{}: {what}", file.display()));
    let source = std::fs::File::open(&file).map_err(|error| failed(error.to_string()))?;
    let mut content = Vec::new();
    source.take(FILE_MAX + 1).read_to_end(&mut content).map_err(|error| failed(error.to_string()))?;
    if content.len() as u64 > FILE_MAX {
        return Err(failed("larger than 16 MiB, the most that is served".to_owned()));
    }
    Ok((content, content_type(&file)))
}

/// The segments of a path, decoded; `None` for one that is no plain name.
/// Hidden files are none of the site.
fn segments(path: &str) -> Option<Vec<String>> {
    let plain = |segment: &str| {
        let text = decode(segment)?;
        let fine = !text.starts_with('.') && !text.contains(['/', '\\', '\0']);
        fine.then_some(text)
    };
    path.split('/').filter(|segment| !segment.is_empty()).map(plain).collect()
}

/// Text without percent signs.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = segment.bytes();
    let mut text = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            text.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        text.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(text).ok()
}

fn content_type(file: &Path) -> &'static str {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/vnd.microsoft.icon",
        "woff2" => "font/woff2",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
#[path = "web_tests.rs"]
mod tests;
