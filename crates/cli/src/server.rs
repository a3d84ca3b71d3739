//! The server as commands see it: an address, a key, HTTP.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use orderwire_api::Problem;
use orderwire_api::wire::List;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::args::Global;
use crate::error::{Error, ErrorKind};

/// Where the server keeps its data, and its first key, unless told otherwise.
const DATA_DEFAULT: &str = "./orderwire-data";
/// How long a server may be silent. A long poll lasts 60 s at most.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// How often a call is tried that may be repeated.
pub(crate) const TRIES_MAX: u32 = 8;
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How much of an answer that is no problem is shown.
const EXCERPT_MAX: usize = 200;
/// The most items of a list that are read without being asked for a number.
const ALL_MAX: usize = 100_000;
/// Items of one page of a list.
const PAGE_MAX: usize = 1_000;

/// A server and who asks it.
#[derive(Clone)]
pub(crate) struct Server {
    http: reqwest::Client,
    base: Url,
    key: Option<HeaderValue>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key is a secret.
        f.debug_struct("Server").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl Server {
    /// The server and the key that the flags name.
    ///
    /// # Errors
    /// `Usage` for an address that is none, `NotAllowed` when there is no key.
    pub(crate) fn new(global: &Global) -> Result<Self, Error> {
        let base = address(&global.server)?;
        let key = find_key(global, &base)?;
        Self::with(base, Some(&key), global.client.as_deref())
    }

    /// A server with a given key, or without any.
    pub(crate) fn with(base: Url, key: Option<&str>, client: Option<&str>) -> Result<Self, Error> {
        // Another component may have installed one; either will do.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let mut headers = HeaderMap::new();
        let key = key.map(bearer).transpose()?;
        if let Some(key) = &key {
            headers.insert(reqwest::header::AUTHORIZATION, key.clone());
        }
        if let Some(client) = client {
            let value = HeaderValue::from_str(client)
                .map_err(|_| Error::usage(format!("--client {client:?} is no name of a client")))?;
            headers.insert(HeaderName::from_static(orderwire_api::auth::CLIENT_HEADER), value);
        }
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(SILENCE_MAX)
            .build()
            .map_err(|error| Error::failed(format!("cannot set up HTTP: {}", root(&error))))?;
        Ok(Self { http, base, key })
    }

    /// Its address.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// The value of the header `Authorization`.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.key.as_ref()
    }

    /// The URL of a path; its segments may hold anything.
    pub(crate) fn url(&self, segments: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("an http address has a path").pop_if_empty().extend(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// A request to a path.
    pub(crate) fn request(
        &self,
        method: Method,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> RequestBuilder {
        self.http.request(method, self.url(segments, query))
    }

    /// A `GET` of a path with its query, as it is written.
    ///
    /// # Errors
    /// `Usage` for a path that is none.
    pub(crate) fn at(&self, path: &str) -> Result<RequestBuilder, Error> {
        let url = self.base.join(path).map_err(|_| Error::usage(format!("{path:?} is no path")))?;
        Ok(self.http.get(url))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// An answer that is no success, by its status; `Unavailable` when there is none.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| self.broken(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response).await)
    }

    /// Sends a request and reads the answer as text.
    pub(crate) async fn text(&self, request: RequestBuilder) -> Result<String, Error> {
        self.send(request).await?.text().await.map_err(|error| self.broken(&error))
    }

    /// Sends a request and reads the answer as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        parse(&self.text(request).await?)
    }

    /// `GET`.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, Error> {
        self.json(self.request(Method::GET, segments, query)).await
    }

    /// `POST` of a JSON document; the answer as text.
    pub(crate) async fn post<B: Serialize>(&self, segments: &[&str], body: &B) -> Result<String, Error> {
        self.text(self.request(Method::POST, segments, &[]).json(body)).await
    }

    /// A list that the server gives as a whole.
    pub(crate) async fn list(&self, segments: &[&str]) -> Result<List<Box<RawValue>>, Error> {
        self.get(segments, &[]).await
    }

    /// A whole list, of whatever pages the server makes of it.
    pub(crate) async fn all(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<List<Box<RawValue>>, Error> {
        let mut all: List<Box<RawValue>> = self.get(segments, query).await?;
        while let Some(after) = all.next.take().filter(|_| all.items.len() < ALL_MAX) {
            let query = [query, &[("after", after.as_str())]].concat();
            let page: List<Box<RawValue>> = self.get(segments, &query).await?;
            if page.items.is_empty() {
                break;
            }
            all.items.extend(page.items);
            all.next = page.next;
        }
        Ok(all)
    }

    /// The pages of a list, up to `max` items.
    pub(crate) async fn pages(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
        max: usize,
    ) -> Result<List<Box<RawValue>>, Error> {
        let mut all: List<Box<RawValue>> = List { items: Vec::new(), next: None };
        loop {
            let mut query = query.to_vec();
            let limit = (max - all.items.len()).min(PAGE_MAX).to_string();
            query.push(("limit", &limit));
            let after = all.next.take();
            query.extend(after.iter().map(|after| ("after", after.as_str())));
            let page: List<Box<RawValue>> = self.get(segments, &query).await?;
            if page.items.is_empty() {
                return Ok(all);
            }
            all.items.extend(page.items);
            all.next = page.next;
            if all.next.is_none() || all.items.len() >= max {
                return Ok(all);
            }
        }
    }

    /// Posts a body that the server takes once however often it comes, and so
    /// tries again while the server is away or asks to wait.
    pub(crate) async fn post_again(
        &self,
        url: &Url,
        headers: &[(&'static str, &str)],
        body: &Bytes,
    ) -> Result<String, Error> {
        let mut tries = 1;
        loop {
            let mut request = self.http.post(url.clone()).body(body.clone());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let error = match self.text(request).await {
                Ok(text) => return Ok(text),
                Err(error) => error,
            };
            if error.kind() != ErrorKind::Unavailable || tries == TRIES_MAX {
                return Err(error);
            }
            tokio::time::sleep(pause(tries, error.problem())).await;
            tries += 1;
        }
    }

    async fn refusal(&self, response: Response) -> Error {
        let status = response.status();
        let path = response.url().path().to_owned();
        let wait = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = match response.text().await {
            Ok(body) => body,
            Err(error) => return self.broken(&error),
        };
        if let Ok(mut problem) = serde_json::from_str::<Problem>(&body) {
            problem.retry_after = wait.or(problem.retry_after);
            return Error::from_problem(problem);
        }
        let excerpt: String = body.chars().take(EXCERPT_MAX).collect();
        let message =
            format!("{} answered {status} for {path}, not as Orderwire does: {excerpt}", self.shown());
        Error::new(ErrorKind::of_status(status.as_u16()), message)
    }

    pub(crate) fn broken(&self, error: &reqwest::Error) -> Error {
        let server = self.shown();
        let message = if error.is_connect() {
            format!(
                "no server answers at {server} ({}): start one with `orderwire up` or name another with --server",
                root(error)
            )
        } else if error.is_timeout() {
            format!("{server} was silent for {} s; try again later", SILENCE_MAX.as_secs())
        } else {
            format!("the connection to {server} broke ({}); try again", root(error))
        };
        Error::new(ErrorKind::Unavailable, message)
    }

    fn shown(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }
}

/// Reads an answer.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| {
        Error::failed(format!("the server's answer is not as expected ({error}); is it of another version?"))
    })
}

/// The address of a server.
pub(crate) fn address(text: &str) -> Result<Url, Error> {
    let wrong = || Error::usage(format!("--server {text:?} is no address such as http://127.0.0.1:8080"));
    let url: Url = text.parse().map_err(|_| wrong())?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(wrong()) }
}

/// The key that the flags name, else the one of the data folder. That one is
/// not shown to other machines, unless the folder was named.
fn find_key(global: &Global, base: &Url) -> Result<String, Error> {
    if let Some(key) = global.key.as_deref().map(str::trim).filter(|key| !key.is_empty()) {
        return Ok(key.to_owned());
    }
    let path = key_file(global);
    if global.data.is_none() && !is_local(base) {
        return Err(Error::new(
            ErrorKind::NotAllowed,
            format!(
                "no key for {base}: name one with --key or ORDERWIRE_API_KEY (the local one in {} is sent to \
                 this machine only)",
                path.display()
            ),
        ));
    }
    match read_key(&path) {
        Ok(Some(key)) => Ok(key),
        Ok(None) => Err(Error::new(
            ErrorKind::NotAllowed,
            format!(
                "no key found: looked at --key, ORDERWIRE_API_KEY and {}; name a key, or the server's folder with --data",
                path.display()
            ),
        )),
        Err(error) => Err(Error::new(
            ErrorKind::NotAllowed,
            format!("cannot read the key in {}: {error}; name one with --key", path.display()),
        )),
    }
}

/// Where the local key is.
pub(crate) fn key_file(global: &Global) -> PathBuf {
    global.data.as_deref().unwrap_or(Path::new(DATA_DEFAULT)).join("admin.key")
}

fn read_key(path: &Path) -> std::io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|key| !key.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

fn bearer(key: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
        Error::usage("the key has characters that no key has; check --key or ORDERWIRE_API_KEY")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// As long as the server says, else twice as long each time.
pub(crate) fn pause(tries: u32, problem: Option<&Problem>) -> Duration {
    let own = Duration::from_millis(200).saturating_mul(2u32.saturating_pow(tries - 1));
    let asked =
        problem.and_then(|problem| problem.retry_after).map(|seconds| Duration::from_secs(seconds.into()));
    asked.unwrap_or(own).min(PAUSE_MAX)
}

/// The first cause: the layers above it say nothing that people can use.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Output;

    fn global(server: &str, key: Option<&str>, data: Option<&Path>) -> Global {
        Global {
            server: server.to_owned(),
            key: key.map(str::to_owned),
            data: data.map(Path::to_owned),
            output: Output::Table,
            client: None,
        }
    }

    fn found(server: &str, key: Option<&str>, data: Option<&Path>) -> Result<String, Error> {
        find_key(&global(server, key, data), &address(server).unwrap())
    }

    #[test]
    fn a_named_key_comes_before_the_folders_own() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("admin.key"), "from-file\n").unwrap();
        let local = "http://127.0.0.1:1";
        assert_eq!(found(local, Some("named"), Some(folder.path())).unwrap(), "named");
        assert_eq!(found(local, None, Some(folder.path())).unwrap(), "from-file");
        assert_eq!(found(local, Some(" "), Some(folder.path())).unwrap(), "from-file");
    }

    #[test]
    fn without_a_key_every_place_that_was_looked_at_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = found("http://localhost:1", None, Some(folder.path())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAllowed);
        for place in ["--key", "ORDERWIRE_API_KEY", "admin.key"] {
            assert!(error.to_string().contains(place), "{error}");
        }
    }

    #[test]
    fn the_local_key_is_not_shown_to_other_machines() {
        let error = found("http://example.com", None, None).unwrap_err();
        assert!(error.to_string().contains("this machine only"), "{error}");
        assert!(is_local(&address("http://[::1]:8080").unwrap()));
        assert!(!is_local(&address("http://127.0.0.1.example.com").unwrap()));
    }

    #[test]
    fn addresses_are_checked() {
        for wrong in ["", "127.0.0.1:8080", "ftp://x", "http://"] {
            assert_eq!(address(wrong).unwrap_err().kind(), ErrorKind::Usage, "{wrong:?}");
        }
    }

    #[test]
    fn segments_hold_anything() {
        let server = Server::with(address("http://h:1/base/").unwrap(), None, None).unwrap();
        let url = server.url(&["v1", "traces", "a/b ?c"], &[("x", "1&2")]);
        assert_eq!(url.as_str(), "http://h:1/base/v1/traces/a%2Fb%20%3Fc?x=1%262");
    }

    #[test]
    fn pauses_grow_or_follow_the_server() {
        assert_eq!(pause(1, None), Duration::from_millis(200));
        assert_eq!(pause(3, None), Duration::from_millis(800));
        assert_eq!(pause(30, None), PAUSE_MAX);
        assert_eq!(pause(5, Some(&Problem::unavailable("").retry_after(2))), Duration::from_secs(2));
    }
}
