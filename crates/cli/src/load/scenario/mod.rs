//! What is asked over and over, prepared once: a request costs the generator a
//! copy of a few pointers, and of what must be another one each time.

mod consume;
mod order;
mod publish;
mod read;
mod rows;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};

use super::http::{Answer, Connection, REQUEST_MAX, Target};
use super::measured::Stages;
use super::settings::Settings;
use crate::args::Scenario;
use crate::error::{Error, ErrorKind};
use crate::server::Server;

/// The queue and the dataset of `load`, and what its clients and releases begin with.
const NAME: &str = "load";
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
/// What failures without an answer are counted as.
const CONNECTION: &str = "connection";
/// How much of a refusal is shown.
const REASON_MAX: usize = 300;

/// What every connection does over and over.
#[derive(Debug)]
pub(super) struct Plan {
    job: Job,
    requests: Requests,
    /// The next request's. It goes on from run to run, so that no two requests
    /// of a process have the same.
    number: AtomicU64,
}

#[derive(Debug)]
enum Job {
    Publish(publish::Publish),
    Rows(rows::Rows),
    Consume(Box<consume::Consume>),
    Read(read::Read),
    Order(order::Orders),
}

/// How a round went.
#[derive(Debug)]
pub(super) enum Round {
    Done(Done),
    /// There was nothing to do at this moment.
    Idle,
    /// There is nothing to do any more.
    Drained,
}

#[derive(Debug)]
pub(super) struct Done {
    /// Events, rows, deliveries, answers or orders that went through.
    pub(super) units: u64,
    /// When that was so.
    pub(super) ended: Instant,
    pub(super) stages: Stages,
}

impl Done {
    fn now(units: u64) -> Self {
        Self { units, ended: Instant::now(), stages: Stages::default() }
    }
}

/// A round that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// The status, or a word: what failures are counted by.
    pub(super) error: Cow<'static, str>,
    /// For people.
    pub(super) reason: String,
}

impl Failure {
    pub(super) fn new(error: &'static str, reason: impl Into<String>) -> Self {
        Self { error: error.into(), reason: reason.into() }
    }

    /// As the end of the command.
    fn into_error(self, what: &str) -> Error {
        let kind = match self.error.parse() {
            Ok(status) => ErrorKind::of_status(status),
            Err(_) if self.error == CONNECTION => ErrorKind::Unavailable,
            Err(_) => ErrorKind::Failed,
        };
        Error::new(kind, format!("{what}: {}", self.reason))
    }
}

impl Plan {
    /// Makes what the scenario needs on the server.
    ///
    /// # Errors
    /// Of the flags, or what the server says.
    pub(super) async fn prepare(
        settings: &Settings,
        server: &Server,
        client: Option<&str>,
    ) -> Result<Self, Error> {
        let requests = Requests::new(settings, server, client)?;
        let job = match settings.scenario {
            Scenario::Single | Scenario::Batch => {
                consume::queue(server).await?;
                let entries = (settings.scenario == Scenario::Batch).then_some(settings.batch);
                Job::Publish(publish::Publish::new(settings, server, entries)?)
            }
            Scenario::Row | Scenario::Rows => {
                rows::dataset(server).await?;
                let count = if settings.scenario == Scenario::Row { 1 } else { settings.batch };
                Job::Rows(rows::Rows::new(settings, server, count)?)
            }
            Scenario::Consume => Job::Consume(Box::new(consume::Consume::new(settings, server).await?)),
            Scenario::Read | Scenario::ReadCached | Scenario::ReadUncached => {
                Job::Read(read::Read::new(settings, server).await?)
            }
            Scenario::Order => Job::Order(order::Orders::new(settings, server)?),
        };
        Ok(Self { job, requests, number: AtomicU64::new(0) })
    }

    /// Makes ready what a run uses up, unmeasured.
    pub(super) async fn before_run(&self) -> Result<(), Error> {
        match &self.job {
            Job::Consume(job) => job.fill(&self.requests, &self.number).await,
            Job::Read(job) => job.prime(&self.requests).await,
            Job::Publish(_) | Job::Rows(_) | Job::Order(_) => Ok(()),
        }
    }

    /// Removes what is left at the end.
    pub(super) async fn finish(&self) -> Result<(), Error> {
        match &self.job {
            Job::Order(job) => job.remove_rest(&self.requests).await,
            _ => Ok(()),
        }
    }

    pub(super) fn connect(&self) -> Connection {
        Connection::new(self.requests.target.clone())
    }

    /// The names of the times within a request that are told apart.
    pub(super) fn stages(&self) -> &'static [&'static str] {
        match &self.job {
            Job::Consume(_) => &["lease", "ack"],
            Job::Order(_) => &["accepted to applied", "accepted to ready", "removed"],
            Job::Publish(_) | Job::Rows(_) | Job::Read(_) => &[],
        }
    }

    /// One round on a connection.
    pub(super) async fn round(&self, connection: &mut Connection) -> Result<Round, Failure> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        match &self.job {
            Job::Publish(job) => job.round(&self.requests, connection, number).await,
            Job::Rows(job) => job.round(&self.requests, connection, number).await,
            Job::Consume(job) => job.round(&self.requests, connection).await,
            Job::Read(job) => job.round(&self.requests, connection, number).await,
            // Few a second, and large.
            Job::Order(job) => Box::pin(job.round(&self.requests, connection, number)).await,
        }
    }
}

/// What requests have in common.
#[derive(Debug)]
struct Requests {
    target: Target,
    authorization: Option<HeaderValue>,
    /// Empty when the server decides whose it is.
    clients: Vec<HeaderValue>,
    /// Who narrows all requests to itself.
    only: Option<HeaderValue>,
}

impl Requests {
    fn new(settings: &Settings, server: &Server, client: Option<&str>) -> Result<Self, Error> {
        let name = |name: &str| {
            HeaderValue::from_str(name)
                .map_err(|_| Error::usage(format!("--client {name:?} is no name of a client")))
        };
        let clients = match settings.clients {
            1 => Vec::new(),
            many => (0..many).map(|i| name(&format!("{NAME}-{i}"))).collect::<Result<_, _>>()?,
        };
        Ok(Self {
            target: Target::new(server.base())?,
            authorization: server.authorization().cloned(),
            clients,
            only: client.map(name).transpose()?,
        })
    }

    fn get(&self, uri: Uri) -> Request<Bytes> {
        let mut request = self.request(Method::GET, uri, Bytes::new());
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(JSON));
        request
    }

    fn post(&self, uri: Uri, content_type: &'static str, body: Bytes) -> Request<Bytes> {
        let mut request = self.request(Method::POST, uri, body);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        request
    }

    fn request(&self, method: Method, uri: Uri, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(HOST, self.target.host().clone());
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(only) = &self.only {
            headers.insert(CLIENT, only.clone());
        }
        request
    }

    /// Says whose the request is.
    fn name_client(&self, request: &mut Request<Bytes>, client: usize) {
        if let Some(name) = self.clients.get(client) {
            request.headers_mut().insert(CLIENT, name.clone());
        }
    }
}

const CLIENT: HeaderName = HeaderName::from_static(orderwire_api::auth::CLIENT_HEADER);

/// Sends a request and wants success.
async fn ask(connection: &mut Connection, request: Request<Bytes>, keep: bool) -> Result<Answer, Failure> {
    let uri = request.uri().clone();
    let sent = connection.send(request, keep, REQUEST_MAX).await;
    success(sent, &uri)
}

fn success(sent: Result<Answer, String>, uri: &Uri) -> Result<Answer, Failure> {
    let answer = sent.map_err(|reason| Failure::new(CONNECTION, reason))?;
    if (200..300).contains(&answer.status) {
        return Ok(answer);
    }
    let body = String::from_utf8_lossy(&answer.body);
    let reason: String = body.chars().take(REASON_MAX).collect();
    Err(Failure {
        error: answer.status.to_string().into(),
        reason: format!("{uri} was answered {}: {reason}", answer.status),
    })
}

/// What has our name and is somebody else's.
fn foreign(what: &str, found: &str) -> Error {
    let message =
        format!("{what} of this server is {found}, none of load's; measure on a server that has none");
    Error::new(ErrorKind::Conflict, message)
}

/// Of a key that may load and not prepare, says what is missing.
fn hint(error: Error, what: &str) -> Error {
    if error.kind() != ErrorKind::NotAllowed {
        return error;
    }
    let message = format!("cannot {what}, which needs the right `operate` for all clients: {error}");
    error.saying(message)
}

/// A path of the server's, below its address.
fn path(server: &Server, segments: &[&str]) -> Result<Uri, Error> {
    let url = server.url(segments, &[]);
    let wrong = || Error::usage(format!("{url} is no address"));
    let uri: Uri = url.as_str().parse().map_err(|_| wrong())?;
    uri.path_and_query().ok_or_else(wrong)?.as_str().parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};
    use crate::server::address;
    use crate::testing::{answer, serve};

    /// What a command line does at a server.
    pub(super) async fn plan(line: &str, url: &str) -> Plan {
        let words = ["orderwire", "load"].into_iter().chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words).unwrap();
        let Command::Load(args) = cli.command else { panic!("it is load") };
        let client = cli.global.client.as_deref();
        let settings = Settings::new(&args, client).unwrap();
        let server = Server::with(address(url).unwrap(), Some("key"), client).unwrap();
        Plan::prepare(&settings, &server, client).await.unwrap()
    }

    /// The client that each of so many requests named.
    async fn named(line: &str) -> Vec<Option<String>> {
        // There is no queue yet.
        let server =
            serve(|request| answer(if request.method() == Method::GET { 404 } else { 202 }, JSON, "{}"))
                .await;
        let plan = plan(line, &server.url).await;
        for _ in 0..3 {
            plan.round(&mut plan.connect()).await.unwrap();
        }
        let requests = server.requests();
        let events = requests.iter().filter(|seen| seen.path.starts_with("/v1/events"));
        events.map(|seen| seen.header(orderwire_api::auth::CLIENT_HEADER)).collect()
    }

    #[tokio::test]
    async fn requests_name_their_clients() {
        assert_eq!(named("single").await, [None, None, None]);
        let spread = named("single --clients 2").await;
        assert_eq!(spread, ["load-0", "load-1", "load-0"].map(|name| Some(name.to_owned())));
        assert_eq!(named("batch --batch 2 --client acme").await, [(); 3].map(|()| Some("acme".to_owned())));
    }

    #[tokio::test]
    async fn a_refusal_is_counted_by_its_status_and_a_broken_connection_by_a_word() {
        let server = serve(|request| {
            let status = match request.uri().path() {
                path if path.starts_with("/v1/events") => 503,
                _ if request.method() == Method::GET => 404,
                _ => 201,
            };
            answer(status, JSON, r#"{"detail":"busy"}"#)
        });
        let server = server.await;
        let plan = plan("single", &server.url).await;
        let failure = plan.round(&mut plan.connect()).await.unwrap_err();
        assert_eq!(failure.error, "503");
        assert!(failure.reason.contains("busy") && failure.reason.contains("/v1/events"), "{failure:?}");
        assert_eq!(failure.into_error("it").kind(), ErrorKind::Unavailable);
        drop(server);
        let failure = plan.round(&mut plan.connect()).await.unwrap_err();
        assert_eq!(failure.error, CONNECTION);
        assert_eq!(failure.into_error("it").kind(), ErrorKind::Unavailable);
    }
}
