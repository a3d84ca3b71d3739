//! Who may not is told so, without what was to prove it.

use std::time::{Duration, Instant};

use orderwire_broker::{Broker, ErrorKind, Password};
use orderwire_broker_rabbitmq::{Options, RabbitBroker};

use crate::support::{PATIENCE, failure, options};

#[tokio::test]
async fn wrong_credentials_are_refused_and_in_no_error() {
    let Some(options) = options().await else { return };
    let options = Options { password: Password::new("s3cret-and-wrong"), ..options };
    let error = failure(&RabbitBroker::start(options)).await;
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(!error.is_retryable());
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
}

#[tokio::test]
async fn a_virtual_host_that_is_not_there_is_refused() {
    let Some(options) = options().await else { return };
    let error =
        failure(&RabbitBroker::start(Options { vhost: "orderwire-none".to_owned(), ..options })).await;
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("orderwire-none"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    // Bound and never accepted from, then closed: nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = failure(&RabbitBroker::start(Options { port, ..Options::default() })).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

/// Somebody accepts, and says nothing: another protocol, or a machine that hangs.
#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let timeout = Duration::from_millis(500);
    let begun = Instant::now();
    let broker = RabbitBroker::start(Options { port, timeout, ..Options::default() });
    assert_eq!(broker.check().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(begun.elapsed() < PATIENCE / 3, "{:?}", begun.elapsed());
    // The socket was ended by us, and so was what waited for it.
    let (mut socket, _) = silent.accept().await.unwrap();
    let mut greeting = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut greeting);
    tokio::time::timeout(PATIENCE, reading).await.expect("the connection ends").ok();
    broker.close().await;
}
