//! Read a path: as it is, what the cache has, or what it cannot have.

use std::time::Duration;

use hyper::{Method, Uri};
use orderwire_api::wire::BatchAccepted;
use serde_json::Value;

use super::{Done, Failure, NAME, NDJSON, Requests, Round, ask, rows};
use crate::args::Scenario;
use crate::error::Error;
use crate::load::http::Connection;
use crate::load::settings::{NUMBER, Settings};
use crate::server::Server;

/// What is read without `--path`: rows of the dataset of `row` and `rows`. The
/// condition always holds, so that each question costs the same.
const CACHED: &str = "/rest/load?limit=100";
const UNCACHED: &str = "/rest/load?limit=100&number=gt.-{i}";
const ROWS: usize = 100;
/// How long rows may take to be seen, and how often it is looked.
const VISIBLE_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often an answer is asked for until it is cached.
const PRIME_MAX: usize = 5;

/// Answers that are read.
#[derive(Debug)]
pub(super) struct Read {
    path: Path,
    /// Whether answers have to come from the cache.
    cached: Option<bool>,
}

#[derive(Debug)]
enum Path {
    Fixed(Uri),
    /// With another number each time, from a number that no run before had.
    Numbered {
        template: String,
        first: u64,
    },
}

impl Read {
    pub(super) async fn new(settings: &Settings, server: &Server) -> Result<Self, Error> {
        let (own, cached) = match settings.scenario {
            Scenario::ReadCached => (CACHED, Some(true)),
            Scenario::ReadUncached => (UNCACHED, Some(false)),
            _ => ("", None),
        };
        if settings.path.is_none() {
            data(server).await?;
        }
        let path = settings.path.as_deref().unwrap_or(own);
        let path = if path.contains(NUMBER) {
            let first = u64::from(fastrand::u32(..)) << 20;
            Path::Numbered { template: path.to_owned(), first }
        } else {
            Path::Fixed(path.parse().expect("the settings were checked"))
        };
        Ok(Self { path, cached })
    }

    /// Puts the answer into the cache.
    pub(super) async fn prime(&self, requests: &Requests) -> Result<(), Error> {
        let (Some(true), Path::Fixed(uri)) = (self.cached, &self.path) else { return Ok(()) };
        let mut connection = Connection::new(requests.target.clone());
        for _ in 0..PRIME_MAX {
            let answer = ask(&mut connection, requests.get(uri.clone()), false).await;
            // One that does not say where it is from is taken as it is.
            if answer.map_err(|failure| failure.into_error("cannot read"))?.cached != Some(false) {
                return Ok(());
            }
        }
        Err(Error::failed(format!(
            "the answer of {uri} is never from the cache; is it written all the time?"
        )))
    }

    pub(super) async fn round(
        &self,
        requests: &Requests,
        connection: &mut Connection,
        number: u64,
    ) -> Result<Round, Failure> {
        let uri = match &self.path {
            Path::Fixed(uri) => uri.clone(),
            Path::Numbered { template, first } => {
                let path = template.replace(NUMBER, &(first + number).to_string());
                path.parse().expect("a number changes nothing about a path")
            }
        };
        let answer = ask(connection, requests.get(uri), false).await?;
        match (self.cached, answer.cached) {
            (Some(true), Some(false)) => Err(Failure::new("not cached", "an answer was not from the cache")),
            (Some(false), Some(true)) => Err(Failure::new("cached", "an answer was from the cache")),
            _ => Ok(Round::Done(Done::now(1))),
        }
    }
}

/// Makes sure that there are rows to read.
async fn data(server: &Server) -> Result<(), Error> {
    rows::dataset(server).await?;
    let enough = async || {
        let limit = ROWS.to_string();
        let rows: Vec<Value> = server.get(&["rest", NAME], &[("limit", &limit)]).await?;
        Ok::<_, Error>(rows.len() == ROWS)
    };
    if enough().await? {
        return Ok(());
    }
    let request = server.request(Method::POST, &["v1", "datasets", NAME, "rows"], &[]);
    let rows = request.header("content-type", NDJSON).body(rows::lines(ROWS));
    let _: BatchAccepted = server.json(rows).await?;
    let visible = async {
        while !enough().await? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    };
    match tokio::time::timeout(VISIBLE_MAX, visible).await {
        Ok(seen) => seen,
        Err(_) => Err(Error::failed(format!(
            "rows that the server accepted are not to be read after {} s; does its recorder run?",
            VISIBLE_MAX.as_secs()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::load::scenario::tests::plan;
    use crate::testing::{answer, serve};

    /// A server whose answers say this of their cache, one after the other.
    async fn said(line: &str, statuses: &'static [&'static str]) -> Vec<Result<Round, Failure>> {
        let next = AtomicUsize::new(0);
        let server = serve(move |_| {
            let status = statuses[next.fetch_add(1, Ordering::Relaxed).min(statuses.len() - 1)];
            let mut answer = answer(200, "application/json", "[]");
            if !status.is_empty() {
                answer.headers_mut().insert("cache-status", status.parse().unwrap());
            }
            answer
        });
        let server = server.await;
        let plan = plan(line, &server.url).await;
        plan.before_run().await.unwrap();
        let mut connection = plan.connect();
        let mut rounds = Vec::new();
        for _ in 0..2 {
            rounds.push(plan.round(&mut connection).await);
        }
        rounds
    }

    #[tokio::test]
    async fn an_answer_from_the_wrong_place_is_an_error() {
        const HIT: &str = "orderwire; hit";
        const MISS: &str = "orderwire; fwd=miss";
        let uncached = said("read-uncached --path /x?n={i}", &[MISS, HIT]).await;
        assert!(matches!(&uncached[..], [Ok(_), Err(failure)] if failure.error == "cached"), "{uncached:?}");
        // The first two are those that put it into the cache.
        let cached = said("read-cached --path /x", &[MISS, HIT, HIT, MISS]).await;
        assert!(matches!(&cached[..], [Ok(_), Err(failure)] if failure.error == "not cached"), "{cached:?}");
        let any = said("read --path /x", &[MISS, HIT]).await;
        assert!(matches!(&any[..], [Ok(_), Ok(_)]), "{any:?}");
        let silent = said("read-cached --path /x", &[""]).await;
        assert!(matches!(&silent[..], [Ok(_), Ok(_)]), "{silent:?}");
    }

    #[tokio::test]
    async fn every_question_is_another_one() {
        let server = serve(|_| answer(200, "application/json", "[]")).await;
        let plan = plan("read-uncached --path /x?n={i}&m={i}", &server.url).await;
        for _ in 0..3 {
            plan.round(&mut plan.connect()).await.unwrap();
        }
        let mut paths: Vec<_> = server.requests().into_iter().map(|seen| seen.path).collect();
        paths.dedup();
        assert_eq!(paths.len(), 3, "{paths:?}");
        assert!(paths.iter().all(|path| !path.contains(['{', '}'])), "{paths:?}");
    }

    #[tokio::test]
    async fn what_is_never_cached_cannot_be_measured() {
        let server = serve(|_| {
            let mut answer = answer(200, "application/json", "[]");
            answer.headers_mut().insert("cache-status", "orderwire; fwd=bypass".parse().unwrap());
            answer
        });
        let server = server.await;
        let plan = plan("read-cached --path /x", &server.url).await;
        assert!(plan.before_run().await.unwrap_err().to_string().contains("never from the cache"));
    }
}
