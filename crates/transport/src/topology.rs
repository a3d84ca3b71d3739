//! The queues at the broker, all of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use orderwire_broker::{Broker, Error, QueueBinding};
use orderwire_types::{Pattern, QueueName};
use orderwire_worker::Pause;
use tokio::sync::Notify;

/// The types that each queue is bound to.
type Bindings = BTreeMap<QueueName, Vec<Pattern>>;
/// What was bound, by the place of the broker.
type Memory = BTreeMap<String, Bindings>;

/// Every queue that has to be at the broker before anything is published there: an event
/// that is published while one of its queues is still missing would not reach that one,
/// and nobody would say so.
///
/// What was bound is remembered in a file, because a broker does not tell it: a binding of an
/// earlier configuration would go on bringing events where nobody wants them.
pub struct Topology {
    bindings: Vec<QueueBinding>,
    place: String,
    memory: PathBuf,
    made: AtomicBool,
    /// Somebody found that they may not be there any more.
    doubted: Notify,
    /// Why they are not made yet, after the first attempt.
    fault: Mutex<Option<String>>,
}

impl Topology {
    /// These queues, which nobody has made yet. `place`: which broker it is, whatever its users
    /// are. `memory`: the file of what was bound there, whose folder is there.
    pub fn new(bindings: Vec<QueueBinding>, place: String, memory: PathBuf) -> Self {
        let (made, doubted, fault) = (AtomicBool::new(false), Notify::new(), Mutex::default());
        Self { bindings, place, memory, made, doubted, fault }
    }

    /// Whether all of them are there, as far as is known.
    pub fn is_made(&self) -> bool {
        self.made.load(Ordering::SeqCst)
    }

    /// They may not be there any more: somebody may have deleted one.
    pub fn doubt(&self) {
        self.made.store(false, Ordering::SeqCst);
        self.doubted.notify_one();
    }

    /// Why they are not made, where that was tried and failed.
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sees that they are there, for as long as it is polled.
    pub async fn keep(&self, broker: &dyn Broker) {
        loop {
            self.make(broker).await;
            self.doubted.notified().await;
            // Whoever doubted may have done so before the last one was made.
            self.made.store(false, Ordering::SeqCst);
        }
    }

    /// Makes all of them, and takes away what an earlier configuration bound, however long
    /// the broker is away or refuses.
    pub async fn make(&self, broker: &dyn Broker) {
        let (pause, mut failures) = (Pause::default(), 0);
        while let Err(why) = self.try_make(broker).await {
            failures += 1;
            tracing::warn!(
                error = why,
                failures,
                "the queues at the broker are not made, which is tried again"
            );
            self.tell(Some(why));
            tokio::time::sleep(pause.after(failures)).await;
        }
        self.tell(None);
        self.made.store(true, Ordering::SeqCst);
    }

    async fn try_make(&self, broker: &dyn Broker) -> Result<(), String> {
        let wanted: Bindings =
            self.bindings.iter().map(|binding| (binding.name.clone(), binding.types.clone())).collect();
        let mut memory = recall(&self.memory).map_err(|error| self.says("read", &error))?;
        let before = memory.remove(&self.place).unwrap_or_default();
        // Remembered before it is there: a binding that is remembered and was never made
        // harms nobody.
        let mut all = before.clone();
        for (name, types) in &wanted {
            let known = all.entry(name.clone()).or_default();
            known.extend(without(types, before.get(name)));
        }
        self.remember(&mut memory, all)?;
        for binding in &self.bindings {
            broker.declare(binding).await.map_err(|error: Error| error.to_string())?;
        }
        for (name, types) in &before {
            let gone = without(types, wanted.get(name));
            if !gone.is_empty() {
                broker.unbind(name, &gone).await.map_err(|error| error.to_string())?;
                tracing::info!(broker.queue = %name, "bindings of an earlier configuration were taken away");
            }
        }
        self.remember(&mut memory, wanted)
    }

    fn remember(&self, memory: &mut Memory, bindings: Bindings) -> Result<(), String> {
        memory.insert(self.place.clone(), bindings);
        write(&self.memory, memory).map_err(|error| self.says("write", &error))
    }

    fn says(&self, what: &str, error: &io::Error) -> String {
        format!("cannot {what} {}, which tells what was bound at the broker: {error}", self.memory.display())
    }

    fn tell(&self, fault: Option<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

/// Those of these types that are not among the others.
fn without(types: &[Pattern], others: Option<&Vec<Pattern>>) -> Vec<Pattern> {
    types.iter().filter(|pattern| !others.is_some_and(|others| others.contains(pattern))).cloned().collect()
}

/// What was bound; nothing, where nothing was remembered yet.
fn recall(memory: &Path) -> io::Result<Memory> {
    match std::fs::read(memory) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Memory::new()),
        Err(error) => Err(error),
    }
}

/// Writes the file so that at any moment the old or the new one is there.
fn write(file: &Path, memory: &Memory) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut writer = File::create(&new)?;
    writer.write_all(&serde_json::to_vec_pretty(memory)?)?;
    writer.sync_all()?;
    std::fs::rename(&new, file)?;
    File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}
