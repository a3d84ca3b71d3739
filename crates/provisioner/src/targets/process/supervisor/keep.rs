//! Keeping one process running.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::super::manifest::{ProcessSpec, Ready};
use super::super::protocol::Phase;
use super::output::{Tap, Words};
use super::start::{Heard, endpoint, start};
use super::{Shared, end, output, ready, reaper};

/// How long after its end the last words of a process are waited for.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// One that was ready for so long starts again at the shortest back-off.
const STABLE: Duration = Duration::from_secs(10);

/// How a run of a process ended.
struct Ended {
    /// In words that follow its name.
    how: String,
    last_words: Option<String>,
    ready_since: Option<Instant>,
}

/// Starts a process again and again, until it has ended too often before it was ever
/// ready.
pub(super) async fn keep(shared: Arc<Shared>, process: ProcessSpec) {
    let name = &process.name;
    let tap = Tap::new(name, &shared.assignment.given, shared.output.clone());
    let mut back_off = process.restart_first;
    let mut was_ever_ready = false;
    let mut failures = 0;
    loop {
        let ended = run(&shared, &process, &tap).await;
        was_ever_ready |= ended.ready_since.is_some();
        if ended.ready_since.is_some_and(|since| since.elapsed() >= STABLE) {
            back_off = process.restart_first;
        }
        failures += 1;
        let words = ended.last_words.map(|words| format!("; its last words: {words}")).unwrap_or_default();
        let how = ended.how;
        if !was_ever_ready && failures >= process.failures {
            let often = if failures == 1 { String::new() } else { format!(", {failures} times in a row") };
            shared.board.update(name, |state| {
                state.phase = Phase::Failed;
                state.reason = Some(format!("process {name} {how}{often}{words}"));
            });
            return;
        }
        shared.board.update(name, |state| {
            state.phase = Phase::Exited;
            let wait = back_off.as_millis();
            state.reason = Some(format!("process {name} {how} and is started again after {wait} ms{words}"));
            state.restarts = state.restarts.saturating_add(1);
        });
        sleep(back_off).await;
        back_off = back_off.saturating_mul(2).min(process.restart_last);
    }
}

/// Runs it once, to its end and that of all that it started.
async fn run(shared: &Shared, process: &ProcessSpec, tap: &Arc<Tap>) -> Ended {
    let not_started = |how: String| Ended { how, last_words: None, ready_since: None };
    let name = &process.name;
    let ports = match shared.ports.choose(process) {
        Ok(ports) => ports,
        Err(reason) => return not_started(format!("cannot be started: {reason}")),
    };
    let mut started = match start(shared, process, &process.command, &ports, Heard::Yes) {
        Ok(started) => started,
        Err(error) => return not_started(format!("cannot be started: {error}")),
    };
    shared.board.update(name, |state| {
        state.phase = Phase::Running;
        state.reason = Some(format!("process {name} runs and is not ready yet"));
        state.endpoint = endpoint(process, &ports);
        state.ports.clone_from(&ports);
    });
    let words = Words::new(match &process.ready {
        Some(Ready::Output(text)) => Some(text.clone()),
        _ => None,
    });
    // Tasks of their own: they read on while everything is being ended.
    let outputs = std::mem::take(&mut started.outputs).into_iter();
    let read = |(stream, pipe)| tokio::spawn(output::read(stream, pipe, tap.clone(), words.clone()));
    let readers: Vec<_> = outputs.map(read).collect();
    let mut ready_since = None;
    let watched = ready::watch(shared, process, &ports, &words, || ready_since = Some(Instant::now()));
    let status = tokio::select! {
        status = &mut started.ended => status,
        () = watched => unreachable!("readiness is watched for as long as it runs"),
    };
    shared.board.update(name, |state| {
        state.phase = Phase::Exited;
        state.reason = Some(format!("process {name} has ended"));
    });
    let how = status.map_or_else(|_| "was lost".to_owned(), reaper::in_words);
    let how = match end::rest_of(shared, name, started.pid).await {
        Ok(()) => how,
        // Nothing new is started over it: the next run looks again.
        Err(reason) => format!("{how}, but {reason}"),
    };
    // What else holds its output open has left its group and dropped its name.
    timeout(LAST_WORDS, futures::future::join_all(readers)).await.ok();
    Ended { how, last_words: words.last(), ready_since }
}
