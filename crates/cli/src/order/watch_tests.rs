//! Against a real server over a socket.

use super::*;
use crate::server::address;
use crate::testing;

pub(crate) fn info(state: &str) -> OrderInfo {
    let json = format!(
        r#"{{"order_id":"o-1","trace_id":"t-1","client":"acme","name":"roof","product":"sensor",
            "namespace":"acme","environment":"dev","target":"local","action":"create","state":"{state}",
            "revision":null,"parameters":{{"n":1.50}},"created_at":"2026-11-01T10:00:00Z",
            "updated_at":"2026-11-01T10:00:01Z"}}"#
    );
    serde_json::from_str(&json).unwrap()
}

fn state(state: &str) -> String {
    format!("event: state\ndata: {}\n\n", serde_json::to_string(&info(state)).unwrap())
}

fn step(n: u64) -> String {
    format!(
        "event: step\nid: {n}\ndata: {{\"n\":{n},\"at\":\"2026-11-01T10:00:00.5Z\",\"step\":\"apply\",\"outcome\":\"done\"}}\n\n"
    )
}

const END: &str = "event: end\ndata: {}\n\n";

/// Follows an order of a server that answers one stream after the other, and
/// gives what was seen, how it ended, and the `Last-Event-ID` of each call.
async fn followed(streams: Vec<String>) -> (Vec<String>, Result<OrderInfo, Error>, Vec<Option<String>>) {
    let mut left = streams.into_iter();
    let server = testing::serve(move |_| match left.next() {
        Some(stream) => testing::answer(200, "text/event-stream", stream),
        None => testing::answer(404, "text/plain", "no such order"),
    })
    .await;
    let client = Server::with(address(&server.url).unwrap(), None, None).unwrap();
    let mut seen = Vec::new();
    let outcome = follow(&client, "o-1", Duration::from_millis(1), |event| {
        seen.push(event.line());
        Ok(())
    })
    .await;
    let asked = server.requests().iter().map(|request| request.header("last-event-id")).collect();
    (seen, outcome, asked)
}

#[tokio::test]
async fn every_state_and_step_is_seen_in_order() {
    let (seen, outcome, _) =
        followed(vec![[&state("applying"), &step(1), &step(2), &state("ready"), END].concat()]).await;
    assert_eq!(
        seen,
        [
            "10:00:01.000  applying",
            "10:00:00.500    apply done",
            "10:00:00.500    apply done",
            "10:00:01.000  ready"
        ]
    );
    assert_eq!(outcome.unwrap().state, "ready");
}

#[tokio::test]
async fn a_stream_that_breaks_goes_on_where_it_was_and_repeats_nothing() {
    let first = [state("applying"), step(1), step(2)].concat();
    let second = [&state("applying"), &step(2), &step(3), &state("failed"), END].concat();
    let (seen, outcome, asked) = followed(vec![first, second]).await;
    assert_eq!(seen.len(), 5, "{seen:?}");
    assert_eq!(outcome.unwrap().state, "failed");
    assert_eq!(asked, [None, Some("2".to_owned())]);
}

#[tokio::test]
async fn a_final_state_is_enough_when_the_end_is_lost() {
    let (_, outcome, asked) = followed(vec![state("removed")]).await;
    assert_eq!((outcome.unwrap().state.as_str(), asked.len()), ("removed", 1));
}

#[tokio::test]
async fn what_the_server_refuses_is_not_asked_again() {
    let (_, outcome, asked) = followed(vec![]).await;
    assert_eq!((outcome.unwrap_err().kind(), asked.len()), (ErrorKind::NotFound, 1));
}

#[tokio::test]
async fn a_problem_on_the_way_ends_it_as_a_refusal_would() {
    let problem = r#"{"type":"x","title":"x","status":401,"detail":"the key was revoked"}"#;
    let stream = format!("{}event: problem\ndata: {problem}\n\n", state("applying"));
    let (_, outcome, asked) = followed(vec![stream]).await;
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), asked.len()), (ErrorKind::NotAllowed, 1), "{error}");
}

#[tokio::test]
async fn a_stream_that_says_nothing_new_is_given_up() {
    let (_, outcome, asked) = followed(vec![state("applying"); 50]).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(asked.len() <= usize::try_from(BREAKS_MAX).unwrap() + 1, "{}", asked.len());
}

#[test]
fn how_an_order_ended_decides_the_code() {
    let code = |state, hope| settle(info(state), hope).map_or_else(|error| error.kind().code(), |()| 0);
    let states = ["ready", "unchanged", "removed", "failed", "rolled_back", "cancelled", "superseded"];
    assert_eq!(states.map(|state| code(state, Hope::Done)), [0, 0, 0, 1, 1, 5, 5]);
    assert_eq!(code("cancelled", Hope::Cancelled), 0);
    assert_eq!(code("ready", Hope::Cancelled), 5);
}

#[test]
fn digits_of_parameters_survive() {
    assert!(Seen::State(Box::new(info("ready"))).json().contains("\"n\":1.50"));
}
