//! Against a real server over a socket.

use std::sync::Mutex;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::testing::{TestServer, answer, serve, serve_on};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);
const ACCEPTED: &str = r#"{"accepted":1,"rejected":0,"trace_id":"t","event_id":"e-1","errors":[]}"#;

fn station(url: &str, count: Option<u64>) -> Station {
    let args = Sensor { dataset: "air".parse().unwrap(), station: "roof".into(), interval_ms: 10, count };
    let url = url.to_owned();
    let mut station = Station::new(&args, |name| match name {
        "ORDERWIRE_URL" => Some(url.clone()),
        "ORDERWIRE_API_KEY" => Some("k-1".to_owned()),
        "ORDERWIRE_TRACE_ID" => Some("9a2ae9de-3f82-4f55-966b-47df50ff51ff".to_owned()),
        _ => None,
    })
    .unwrap();
    station.pause_first = Duration::from_millis(5);
    station
}

/// Runs a station that ends by itself.
async fn ends(station: &Station, said: &Said) {
    let say = |line: &Value| said.say(line);
    let run = station.run(std::future::pending(), &say);
    tokio::time::timeout(PATIENCE, run).await.expect("it ends by itself").unwrap();
}

/// What a station said.
struct Said {
    lines: Mutex<Vec<Value>>,
    count: watch::Sender<usize>,
}

impl Said {
    fn new() -> Self {
        Self { lines: Mutex::new(Vec::new()), count: watch::Sender::new(0) }
    }

    fn say(&self, line: &Value) -> Result<(), Error> {
        self.lines.lock().unwrap().push(line.clone());
        self.count.send_modify(|count| *count += 1);
        Ok(())
    }

    fn of(&self, msg: &str) -> Vec<Value> {
        self.lines.lock().unwrap().iter().filter(|line| line["msg"] == msg).cloned().collect()
    }

    /// Waits until something was said.
    async fn until(&self, msg: &str) {
        let mut count = self.count.subscribe();
        while self.of(msg).is_empty() {
            count.changed().await.unwrap();
        }
    }
}

/// The times of all rows that were accepted, in order.
fn times(server: &TestServer) -> Vec<String> {
    let requests = server.requests();
    let rows = requests.iter().flat_map(|seen| serde_json::from_slice::<Vec<Value>>(&seen.body).unwrap());
    rows.map(|row| row["TimeInstant"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_measurement_is_posted_with_key_trace_and_columns() {
    let server = serve(|_| answer(202, "application/json", ACCEPTED)).await;
    let said = Said::new();
    let station = station(&server.url, Some(5));
    ends(&station, &said).await;
    assert_eq!(times(&server).len(), 5);
    let seen = &server.requests()[0];
    assert_eq!(seen.path, "/v1/datasets/air/rows");
    assert_eq!(seen.header("authorization").unwrap(), "Bearer k-1");
    assert!(seen.header("traceparent").unwrap().starts_with("00-9a2ae9de3f824f55966b47df50ff51ff-"));
    let later = &server.requests()[1..];
    assert!(later.iter().all(|seen| seen.header("traceparent").is_none()), "a trace that never ends");
    let rows: Vec<Value> = serde_json::from_slice(&seen.body).unwrap();
    let columns: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
    let wanted = ["TimeInstant", "co", "id_entity", "no2", "o3", "pm10", "pm2_5", "so2"];
    let mut columns: Vec<&str> = columns.into_iter().map(String::as_str).collect();
    columns.sort_unstable();
    assert_eq!(columns, wanted);
    assert_eq!(said.of("rows accepted")[0]["event_id"], "e-1");
}

#[tokio::test]
async fn a_busy_server_gets_the_same_batch_again() {
    let mut calls = 0;
    let server = serve(move |_| {
        calls += 1;
        match calls {
            1..=3 => answer(503, "text/plain", "later"),
            4 => answer(500, "text/plain", "oops"),
            _ => answer(202, "application/json", ACCEPTED),
        }
    })
    .await;
    let said = Said::new();
    let station = station(&server.url, Some(1));
    ends(&station, &said).await;
    let requests = server.requests();
    assert_eq!(requests.len(), 5);
    for seen in &requests {
        assert_eq!(seen.body, requests[0].body);
        assert_eq!(seen.header("idempotency-key"), requests[0].header("idempotency-key"));
    }
    assert_eq!((said.of("server away").len(), said.of("rows accepted").len()), (1, 1));
}

#[tokio::test]
async fn what_is_measured_while_the_server_is_away_is_posted_later_in_order() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let said = Said::new();
    let station = station(&format!("http://{address}"), Some(20));
    let arrival = async {
        said.until("server away").await;
        let listener = TcpListener::bind(address).await.unwrap();
        serve_on(listener, |_| answer(202, "application/json", ACCEPTED))
    };
    let say = |line: &Value| said.say(line);
    let both = async { tokio::join!(station.run(std::future::pending(), &say), arrival) };
    let (outcome, server) = tokio::time::timeout(PATIENCE, both).await.expect("it ends by itself");
    outcome.unwrap();
    let times = times(&server);
    assert_eq!(times.len(), 20);
    assert!(times.is_sorted(), "{times:?}");
}

#[tokio::test]
async fn refused_rows_are_said_and_not_tried_again() {
    let server = serve(|_| answer(422, "text/plain", "no such column")).await;
    let said = Said::new();
    let station = station(&server.url, Some(1));
    ends(&station, &said).await;
    assert_eq!((server.requests().len(), said.of("rows refused").len()), (1, 1));
}

#[tokio::test]
async fn told_to_end_it_posts_what_it_has() {
    let server = serve(|_| answer(202, "application/json", ACCEPTED)).await;
    let said = Said::new();
    let station = station(&server.url, None);
    let say = |line: &Value| said.say(line);
    let run = station.run(said.until("rows accepted"), &say);
    tokio::time::timeout(PATIENCE, run).await.expect("it ends").unwrap();
    let rows: u64 = said.of("rows accepted").iter().map(|line| line["rows"].as_u64().unwrap()).sum();
    assert_eq!(times(&server).len() as u64, rows);
}

#[tokio::test]
async fn told_to_end_while_the_server_is_away_it_ends_in_time_and_says_what_is_lost() {
    let said = Said::new();
    // Nobody listens on port 1.
    let mut station = station("http://127.0.0.1:1", None);
    station.last_max = Duration::from_millis(50);
    let say = |line: &Value| said.say(line);
    let run = station.run(said.until("server away"), &say);
    let error = tokio::time::timeout(PATIENCE, run).await.expect("it ends").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(said.of("rows lost")[0]["rows"].as_u64().unwrap() >= 1);
}

#[test]
fn without_an_address_it_does_not_start() {
    let args =
        Sensor { dataset: "air".parse().unwrap(), station: "roof".into(), interval_ms: 10, count: None };
    assert_eq!(Station::new(&args, |_| None).err().unwrap().kind(), ErrorKind::Usage);
    let wrong = |name: &str| (name == "ORDERWIRE_URL").then(|| "nowhere".to_owned());
    assert!(Station::new(&args, wrong).err().unwrap().to_string().contains("ORDERWIRE_URL"));
}
