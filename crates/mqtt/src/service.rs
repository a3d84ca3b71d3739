//! A connection that is made anew for as long as it is wanted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind};
use crate::message::{Outcome, Port};
use crate::options::Options;
use crate::session::Session;
use crate::shelf::Shelf;
use crate::socket::Opener;

/// A connection that lasted this long was a good one: the next pause is a short one.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// How a connection is before its first answer.
const NOT_YET: &str = "not connected yet";

/// Subscribes to a broker, and has a port take what comes.
pub struct Service {
    options: Options,
    opener: Opener,
    port: Arc<dyn Port>,
    handle: Handle,
}

/// Says how the connection of a [`Service`] is.
#[derive(Clone)]
pub struct Handle(Arc<Mutex<Result<(), String>>>);

impl Handle {
    /// Whether it is connected and subscribed.
    ///
    /// # Errors
    /// Why not, in plain words.
    pub fn check(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What outlives connections, until the service has to stop.
pub(crate) struct Shared<'s> {
    pub(crate) options: &'s Options,
    pub(crate) opener: &'s Opener,
    pub(crate) port: &'s dyn Port,
    pub(crate) stop: CancellationToken,
    /// Whether the broker granted all that was subscribed to.
    is_subscribed: AtomicBool,
    handle: &'s Handle,
}

impl Service {
    /// A service with these options.
    ///
    /// # Errors
    /// `Invalid`: what [`Options::check`] says.
    pub fn new(options: Options, port: Arc<dyn Port>) -> Result<(Self, Handle), Error> {
        let opener = Opener::new(&options)?;
        let handle = Handle(Arc::new(Mutex::new(Err(NOT_YET.to_owned()))));
        // Also of a server whose turn never comes.
        connected(&options.name, false);
        Ok((Self { options, opener, port, handle: handle.clone() }, handle))
    }

    /// Works until `shutdown` is ready. Then no more is read, what was read is made durable
    /// and acknowledged, and the broker keeps from then on what we miss. It may be run again
    /// after that.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let Self { options, opener, port, handle } = self;
        let (stop, is_subscribed) = (CancellationToken::new(), AtomicBool::new(false));
        let shared = Shared { options, opener, port: &**port, stop: stop.clone(), is_subscribed, handle };
        let work = shared.work();
        tokio::pin!(work);
        tokio::select! {
            () = &mut work => return,
            () = shutdown => stop.cancel(),
        }
        work.await;
    }
}

fn connected(name: &str, is: bool) {
    metrics::gauge!("orderwire_mqtt_connected", "connection" => name.to_owned()).set(f64::from(u8::from(is)));
}

impl Shared<'_> {
    async fn work(&self) {
        self.say(Err(NOT_YET.to_owned()));
        let mut shelf = Shelf::default();
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            let began = Instant::now();
            let Err(error) = self.connection(&mut shelf).await else { break };
            self.say(Err(error.to_string()));
            failures = if began.elapsed() >= GOOD_AFTER { 1 } else { failures + 1 };
            let name = &self.options.name;
            if error.kind() == ErrorKind::Unavailable {
                tracing::warn!(mqtt.connection = %name, failures, %error, "an MQTT broker is away, which is tried again");
            } else {
                tracing::error!(mqtt.connection = %name, failures, %error, "cannot take from an MQTT broker until that is mended");
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(self.options.pause.after(failures)) => {}
            }
        }
        self.say(Err(NOT_YET.to_owned()));
    }

    /// One connection, from its beginning to its end; `Ok`: we have to stop.
    async fn connection(&self, shelf: &mut Shelf) -> Result<(), Error> {
        let is_subscribed = self.is_subscribed.load(Ordering::SeqCst);
        let open = Session::open(self, shelf, is_subscribed);
        let session = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(()),
            session = open => session?,
        };
        tracing::info!(mqtt.connection = %self.options.name, "connected to an MQTT broker");
        session.run().await
    }

    /// How the connection is from now on.
    pub(crate) fn say(&self, condition: Result<(), String>) {
        connected(&self.options.name, condition.is_ok());
        *self.handle.0.lock().unwrap_or_else(PoisonError::into_inner) = condition;
    }

    /// What the broker answered to the subscription.
    ///
    /// # Errors
    /// `Broken`: it did not answer each filter.
    pub(crate) fn subscribed(&self, answers: &[Result<bool, String>]) -> Result<(), Error> {
        let name = &self.options.name;
        let (asked, answered) = (self.options.filters.len(), answers.len());
        if asked != answered {
            return Err(Error::broken(format!("the broker answered {answered} of {asked} subscriptions")));
        }
        let mut condition = Ok(());
        for (filter, answer) in self.options.filters.iter().zip(answers) {
            match answer {
                Ok(at_least_once) if *at_least_once || !filter.at_least_once => {}
                Ok(_) => tracing::warn!(
                    mqtt.connection = %name, mqtt.filter = %filter.filter,
                    "an MQTT broker grants QoS 0 alone: its messages come at most once"
                ),
                Err(error) => {
                    tracing::error!(
                        mqtt.connection = %name, mqtt.filter = %filter.filter, error,
                        "an MQTT broker refuses a subscription; it is tried again with the next connection"
                    );
                    condition =
                        Err(format!("the broker refuses the subscription to {}: {error}", filter.filter));
                }
            }
        }
        self.is_subscribed.store(condition.is_ok(), Ordering::SeqCst);
        self.say(condition);
        Ok(())
    }

    /// Counts what became of messages.
    pub(crate) fn count(&self, outcomes: &[Outcome], repeated: usize) {
        for outcome in Outcome::ALL {
            let mut count = outcomes.iter().filter(|other| **other == outcome).count();
            if outcome == Outcome::Repeated {
                count += repeated;
            }
            if count > 0 {
                let name = self.options.name.clone();
                metrics::counter!("orderwire_mqtt_messages_total", "connection" => name, "outcome" => outcome.as_str())
                    .increment(count as u64);
            }
        }
    }
}
