//! A port that remembers, and a service that runs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use orderwire_mqtt::{Filter, Handle, Message, Options, Outcome, Port, Service, Version};
use orderwire_servers::PATIENCE;
use orderwire_worker::Pause;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

pub(crate) const VERSIONS: [Version; 2] = [Version::V3, Version::V5];

/// Remembers what it took, once it may.
pub(crate) struct Memory {
    taken: Mutex<Vec<Message>>,
    count: watch::Sender<usize>,
    /// How many messages it was asked to take, also while it may not.
    asked: watch::Sender<usize>,
    may_take: Semaphore,
}

impl Memory {
    pub(crate) fn open() -> Arc<Self> {
        let memory = Self::closed();
        memory.let_in();
        memory
    }

    /// One that takes nothing yet.
    pub(crate) fn closed() -> Arc<Self> {
        let (count, asked) = (watch::Sender::new(0), watch::Sender::new(0));
        Arc::new(Self { taken: Mutex::default(), count, asked, may_take: Semaphore::new(0) })
    }

    pub(crate) fn let_in(&self) {
        self.may_take.close();
    }

    pub(crate) fn taken(&self) -> Vec<Message> {
        self.taken.lock().expect("no thread has panicked").clone()
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.taken().iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect()
    }

    pub(crate) async fn until_taken(&self, count: usize) -> Result<()> {
        let mut counted = self.count.subscribe();
        let enough = tokio::time::timeout(PATIENCE, counted.wait_for(|taken| *taken >= count)).await;
        ensure!(enough.is_ok(), "only {} of {count} messages came", self.taken().len());
        Ok(())
    }

    pub(crate) async fn until_asked(&self, count: usize) -> Result<()> {
        let mut asked = self.asked.subscribe();
        tokio::time::timeout(PATIENCE, asked.wait_for(|asked| *asked >= count)).await??;
        Ok(())
    }
}

#[async_trait]
impl Port for Memory {
    async fn take(&self, messages: &[Message]) -> Result<Vec<Outcome>, String> {
        self.asked.send_modify(|asked| *asked += messages.len());
        // Closed: it may.
        let _ = self.may_take.acquire().await;
        let mut taken = self.taken.lock().expect("no thread has panicked");
        taken.extend_from_slice(messages);
        self.count.send_replace(taken.len());
        Ok(vec![Outcome::Taken; messages.len()])
    }
}

/// A service that runs.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    task: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
}

impl Running {
    pub(crate) fn start(options: Options, port: Arc<Memory>) -> Result<Self> {
        let (service, handle) = Service::new(options, port)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            service.run(stopped).await;
        });
        Ok(Self { handle, task, stop: Some(stop) })
    }

    /// Waits until it is connected and subscribed.
    pub(crate) async fn ready(self) -> Result<Self> {
        self.until(Result::is_ok).await?;
        Ok(self)
    }

    pub(crate) async fn until(&self, wanted: impl Fn(&Result<(), String>) -> bool) -> Result<()> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !wanted(&self.handle.check()) {
            ensure!(tokio::time::Instant::now() < deadline, "it is {:?}", self.handle.check());
            // tidy: sleep because the handle is asked, and tells nobody
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Ends it in good order.
    pub(crate) async fn stop(mut self) -> Result<()> {
        drop(self.stop.take());
        tokio::time::timeout(PATIENCE, &mut self.task).await??;
        Ok(())
    }

    /// Ends it as a kill would.
    pub(crate) async fn kill(mut self) {
        self.task.abort();
        assert!((&mut self.task).await.expect_err("it was ended").is_cancelled());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Options for a broker on this port, subscribed to `t/#`.
pub(crate) fn options(port: u16, version: Version) -> Options {
    let filters = vec![Filter { filter: "t/#".to_owned(), at_least_once: true }];
    let pause = Pause { first: Duration::from_millis(5), last: Duration::from_millis(50) };
    Options { version, filters, pause, ..Options::new("test", "127.0.0.1", port) }
}
