//! Replays at a rate: followed to their end, listed, cancelled.

use std::time::Duration;

use indicatif::ProgressBar;
use orderwire_api::wire::{DeadAction, List, Replay};
use reqwest::Method;

use crate::error::{Error, ErrorKind};
use crate::out::{Out, Table, count, or_dash, plain};
use crate::progress::{Unit, bar};
use crate::server::{Server, parse};
use crate::stop::Stop;

/// How often the server is asked how far a replay is.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How often in a row it may be away meanwhile.
const BREAKS_MAX: u32 = 8;
/// The pause after it was away.
const PAUSE: Duration = Duration::from_secs(1);

/// What the server says of a replay, and as it says it.
struct Told {
    text: String,
    replay: Replay,
}

impl Told {
    fn read(text: String) -> Result<Self, Error> {
        Ok(Self { replay: parse(&text)?, text })
    }

    fn is_running(&self) -> bool {
        self.replay.state == "running"
    }
}

/// Begins a replay and follows it to its end, with a bar on a terminal. Ctrl-C
/// cancels it on the server.
pub(super) async fn follow(server: &Server, action: &DeadAction, out: Out) -> Result<(), Error> {
    // Before it begins: nobody must be left with one that goes on unseen.
    let mut stop = Stop::listen()?;
    let told = Told::read(server.post(&["v1", "dead", "replay"], action).await?)?;
    let bar = bar(!out.json, Unit::Letters, told.replay.matched.unwrap_or_default(), "replaying");
    let ended = until_ended(server, told, &bar, &mut stop).await;
    bar.finish_and_clear();
    end(&ended?, out)
}

async fn until_ended(
    server: &Server,
    mut told: Told,
    bar: &ProgressBar,
    stop: &mut Stop,
) -> Result<Told, Error> {
    let id = told.replay.replay_id.clone();
    let mut breaks = 0;
    while told.is_running() {
        bar.set_length(told.replay.matched.unwrap_or_default());
        bar.set_position(told.replay.done);
        let asked = async {
            tokio::time::sleep(if breaks == 0 { ASK_EVERY } else { PAUSE }).await;
            ask(server, Method::GET, &["v1", "dead", "replays", &id]).await
        };
        let asked = tokio::select! {
            asked = asked => asked,
            () = stop.next() => {
                bar.set_message("cancelling");
                return cancelled(server, &id, stop).await;
            }
        };
        match asked {
            Ok(now) => (told, breaks) = (now, 0),
            Err(error) if error.kind() == ErrorKind::Unavailable && breaks < BREAKS_MAX => breaks += 1,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(error.saying(
                    "the server was restarted and the replay ended with it: what was put back stays, the others \
                     are still dead letters; run the command again to go on",
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(told)
}

/// Cancels a replay, unless whoever waits has had enough.
async fn cancelled(server: &Server, id: &str, stop: &mut Stop) -> Result<Told, Error> {
    let path = ["v1", "dead", "replays", id, "cancel"];
    tokio::select! {
        ended = ask(server, Method::POST, &path) => ended,
        () = stop.next() => Err(Error::new(
            ErrorKind::Unavailable,
            format!("the server has not answered yet; the replay may go on: see `orderwire dead replays` and `orderwire dead cancel {id}`"),
        )),
    }
}

async fn ask(server: &Server, method: Method, path: &[&str]) -> Result<Told, Error> {
    Told::read(server.text(server.request(method, path, &[])).await?)
}

/// Says how a replay ended.
fn end(told: &Told, out: Out) -> Result<(), Error> {
    if out.json {
        out.line(&told.text)?;
    }
    let Replay { state, done, matched, reason, .. } = &told.replay;
    let (done, all) = (count(*done), matched.map_or_else(|| "the".to_owned(), count));
    let left =
        format!("{done} of {all} dead letters are back in their queues; the others are still dead letters");
    match state.as_str() {
        "done" if out.json => Ok(()),
        "done" => match matched.unwrap_or_default().saturating_sub(told.replay.done) {
            0 => out.line(&format!("{done} dead letters are back in their queues")),
            gone => out.line(&format!(
                "{done} dead letters are back in their queues; {} were replayed or discarded by somebody else",
                count(gone)
            )),
        },
        "cancelled" => Err(Error::new(ErrorKind::Conflict, format!("the replay was cancelled: {left}"))),
        "failed" => {
            let reason = reason.as_deref().unwrap_or("no reason was given");
            Err(Error::failed(format!("the replay failed ({reason}): {left}")))
        }
        _ => Err(Error::new(
            ErrorKind::Unavailable,
            format!("replay {} has not ended yet; see `orderwire dead replays`", told.replay.replay_id),
        )),
    }
}

/// Cancels a replay.
pub(super) async fn cancel(server: &Server, id: &str, out: Out) -> Result<(), Error> {
    let told = ask(server, Method::POST, &["v1", "dead", "replays", id, "cancel"]).await?;
    let Replay { state, done, matched, .. } = &told.replay;
    if state == "cancelled" {
        let sentence = format!(
            "the replay is cancelled: {} of {} dead letters are back in their queues",
            count(*done),
            matched.map_or_else(|| "the".to_owned(), count)
        );
        return out.line(if out.json { &told.text } else { &sentence });
    }
    if out.json {
        out.line(&told.text)?;
    }
    let state = state.as_str();
    Err(Error::new(ErrorKind::Conflict, plain(&format!("the replay is {state}, not cancelled")).into_owned()))
}

/// Lists replays.
pub(super) async fn list(server: &Server, out: Out) -> Result<(), Error> {
    let all = server.list(&["v1", "dead", "replays"]).await?;
    if out.json {
        return out.json(&all);
    }
    let List { items, .. } = all;
    let mut table = Table::new(["replay", "state", "done", "matched", "rate", "started", "by", "reason"]);
    for replay in items {
        let replay: Replay = parse(replay.get())?;
        table.row([
            replay.replay_id,
            replay.state,
            count(replay.done),
            or_dash(replay.matched.map(count)),
            count(replay.rate.into()),
            replay.started_at,
            replay.principal,
            or_dash(replay.reason),
        ]);
    }
    out.table(&table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::address;
    use crate::testing;

    fn replay(state: &str, done: u64) -> String {
        format!(
            r#"{{"replay_id":"r-1","state":"{state}","rate":5,"matched":9,"done":{done},"filter":{{}},"principal":"key:1","started_at":"2026-11-01T10:00:00Z","status_url":"/v1/dead/replays/r-1"}}"#
        )
    }

    /// Follows a replay of a server that gives these answers, one after the other;
    /// how it ended, and what was asked.
    async fn followed(answers: Vec<(u16, String)>) -> (Result<(), Error>, Vec<String>) {
        let mut left = answers.into_iter();
        let server = testing::serve(move |_| {
            let (status, body) = left.next().unwrap_or((500, String::new()));
            testing::answer(status, "application/json", body)
        })
        .await;
        let client = Server::with(address(&server.url).unwrap(), None, None).unwrap();
        let ended = follow(&client, &DeadAction::default(), Out { json: true }).await;
        (ended, server.requests().into_iter().map(|request| request.path).collect())
    }

    #[tokio::test]
    async fn a_replay_is_followed_to_its_end() {
        let answers =
            vec![(202, replay("running", 0)), (200, replay("running", 4)), (200, replay("done", 9))];
        let (ended, asked) = followed(answers).await;
        assert!(ended.is_ok(), "{ended:?}");
        assert_eq!(asked, ["/v1/dead/replay", "/v1/dead/replays/r-1", "/v1/dead/replays/r-1"]);
    }

    #[tokio::test]
    async fn how_it_ended_decides_the_code() {
        for (status, body, kind, word) in [
            (200, replay("cancelled", 4), ErrorKind::Conflict, "4 of 9"),
            (200, replay("failed", 4), ErrorKind::Failed, "no reason"),
            (404, "{}".to_owned(), ErrorKind::NotFound, "restarted"),
        ] {
            let (ended, _) = followed(vec![(202, replay("running", 0)), (status, body)]).await;
            let error = ended.unwrap_err();
            assert!(error.kind() == kind && error.to_string().contains(word), "{error}");
        }
    }
}
