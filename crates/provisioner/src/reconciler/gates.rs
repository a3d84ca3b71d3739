//! Gates: asked beside the slots, so that an answer that takes its time holds nobody
//! up, and again until they let a revision pass.
//!
//! Invariant: nothing is asked but what the target has reported as a port of the
//! release itself, and only while it says that all of the release is healthy.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use orderwire_queue::Clock;
use orderwire_store::Store;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Shared, later};
use crate::catalogue::Gate;
use crate::content::Content;
use crate::probe;
use crate::target::Resource;

/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(1);
/// The most bytes of an answer in which a text is looked for.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How many are asked at once, of all releases: each may hold a connection and a body.
static PLACES: Semaphore = Semaphore::const_new(128);

/// What is said of a release whose gates have said nothing yet.
pub(super) const ASKED: &str = "its gates have not answered yet";

/// What the gates of a release say: why they do not let it pass, if that is known yet.
pub(super) type Said = Result<(), Option<String>>;

/// The gates of a revision, each with the address at which it is asked, if there is one.
#[derive(Clone, PartialEq)]
pub(super) struct Question {
    revision: u64,
    gates: Vec<(Gate, Option<String>)>,
}

/// Gates that are asked. Dropped, it ends.
pub(super) struct Asking {
    question: Question,
    said: watch::Receiver<Said>,
    _task: JoinSet<()>,
}

impl Shared {
    /// Whether the gates of a revision whose resources are all healthy let it pass; else
    /// why not, if that is known yet. They are asked from now on, again and again while
    /// the next attempt begins before `until`; once they let it pass, the release is due.
    pub(super) fn gates(
        &self,
        release: Uuid,
        (revision, content): (u64, &Content),
        resources: &[Resource],
        until: Timestamp,
    ) -> Said {
        if content.gates.is_empty() {
            return Ok(());
        }
        let address = |gate: &Gate| {
            let port = content.openings.get(&gate.http.opening)?.port.as_str();
            resources.iter().find_map(|resource| resource.ports.get(port)).cloned()
        };
        let gates = content.gates.iter().map(|gate| (gate.clone(), address(gate))).collect();
        let question = Question { revision, gates };
        self.memory.gates(release, |former| {
            let former = former.filter(|former| former.question == question);
            let said = former.as_ref().map_or(Err(None), |former| former.said.borrow().clone());
            match former {
                Some(former) if said.is_ok() || former.goes_on() => former,
                _ => self.ask(release, question, said, until),
            }
        })
    }

    fn ask(&self, release: Uuid, question: Question, said: Said, until: Timestamp) -> Asking {
        let (say, said) = watch::channel(said);
        let asker = Asker {
            store: Arc::clone(&self.parts.store),
            clock: self.parts.clock.clone(),
            bound: self.options.gate,
            release,
            gates: question.gates.clone(),
            say,
        };
        let mut task = JoinSet::new();
        task.spawn(asker.ask(until));
        Asking { question, said, _task: task }
    }
}

impl Asking {
    /// What was said last.
    pub(super) fn said(&self) -> Said {
        self.said.borrow().clone()
    }

    fn goes_on(&self) -> bool {
        self.said.has_changed().is_ok()
    }
}

struct Asker {
    store: Arc<dyn Store>,
    clock: Clock,
    /// How long one may take.
    bound: Duration,
    release: Uuid,
    gates: Vec<(Gate, Option<String>)>,
    say: watch::Sender<Said>,
}

impl Asker {
    async fn ask(self, until: Timestamp) {
        loop {
            let answered = self.each().await;
            let passed = answered.is_ok();
            drop(self.say.send_replace(answered.map_err(Some)));
            if passed {
                break;
            }
            let again = later(self.clock.now(), AGAIN);
            if again >= until {
                return;
            }
            self.clock.sleep_until(again).await;
        }
        if let Err(error) = self.store.touch(self.release, self.clock.now()).await {
            // It is looked at again without that, a little later.
            tracing::warn!(release.id = %self.release, error = %error,
                "that the gates of a release let it pass could not be noted");
        }
    }

    /// One after the other, up to the first that does not let it pass.
    async fn each(&self) -> Result<(), String> {
        for (gate, address) in &self.gates {
            let _place = PLACES.acquire().await.expect("it is never closed");
            let asked = match address {
                Some(address) => tokio::time::timeout(self.bound, ask(gate, address)).await,
                None => Ok(Err("its port answers nowhere".to_owned())),
            };
            let asked = asked.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.bound)));
            asked.map_err(|reason| format!("{gate}: {reason}"))?;
        }
        Ok(())
    }
}

/// What an answer says is not repeated: it may be anything.
async fn ask(Gate { http }: &Gate, address: &str) -> Result<(), String> {
    let body_bytes_max = http.contains.as_ref().map_or(0, |_| BODY_BYTES_MAX);
    let answer = probe::get(address, &http.path, body_bytes_max).await?;
    let status = answer.status.as_u16();
    if !http.status.contains(&status) {
        let wanted: Vec<String> = http.status.iter().map(ToString::to_string).collect();
        return Err(format!("{status}, wanted {}", wanted.join(" or ")));
    }
    match http.contains.as_deref().map(str::as_bytes) {
        Some(text) if !answer.body.windows(text.len()).any(|part| part == text) => {
            let text = http.contains.as_deref().unwrap_or_default();
            Err(format!("{text:?} is not in the first 64 KiB of the answer"))
        }
        _ => Ok(()),
    }
}
