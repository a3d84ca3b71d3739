//! A RabbitMQ of our own, to be stopped.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use orderwire_broker_rabbitmq::Options;
use orderwire_servers::rabbit::{Rabbit, SCRIPTS};

use super::unique;

/// What takes its time goes on beside the test.
pub(crate) struct OwnServer(Option<Rabbit>);

impl OwnServer {
    /// Starts a server with a configuration, which may use a port for TLS; none, said
    /// loudly, where RabbitMQ is not installed.
    pub(crate) async fn start(configuration: impl FnOnce(u16) -> String) -> Option<Self> {
        if !Path::new(SCRIPTS).exists() {
            assert!(std::env::var_os("CI").is_none(), "CI needs RabbitMQ; install rabbitmq-server");
            eprintln!("SKIPPED: RabbitMQ is not installed; this test starts one of its own");
            return None;
        }
        let mut server = Self(Some(Rabbit::with(configuration).unwrap()));
        server.run().await;
        Some(server)
    }

    /// Starts the node, and waits until it takes connections.
    pub(crate) async fn run(&mut self) {
        self.beside(Rabbit::start).await;
    }

    /// Stops the node in good order, and waits until it has ended.
    pub(crate) async fn stop(&mut self) {
        self.beside(Rabbit::stop).await;
    }

    /// Ends the node in the middle of what it does.
    pub(crate) async fn kill(&mut self) {
        self.beside(Rabbit::kill).await;
    }

    /// Asks the node for something by its own tool.
    pub(crate) async fn control(&mut self, words: &'static [&'static str]) {
        self.beside(|rabbit| rabbit.control(words)).await;
    }

    pub(crate) fn tls_port(&self) -> u16 {
        self.rabbit().tls_port()
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            port: self.rabbit().port(),
            exchange: unique("events"),
            timeout: Duration::from_secs(5),
            pause_last: Duration::from_millis(500),
            ..Options::default()
        }
    }

    fn rabbit(&self) -> &Rabbit {
        self.0.as_ref().expect("it is there but while something is done with it")
    }

    async fn beside(&mut self, act: impl FnOnce(&mut Rabbit) -> Result<()> + Send + 'static) {
        let mut rabbit = self.0.take().expect("one thing is done at a time");
        let acting = tokio::task::spawn_blocking(move || act(&mut rabbit).map(|()| rabbit));
        self.0 = Some(acting.await.unwrap().unwrap());
    }
}
