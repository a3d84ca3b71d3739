//! Who is let in, over what.

use std::time::Duration;

use orderwire_broker::{Broker, ErrorKind, Password};
use orderwire_broker_nats::{Login, NatsBroker, Options};
use tokio::time::Instant;

use crate::kit::{eventually, message, options, queue};
use crate::server::Server;

async fn broker(options: Options) -> NatsBroker {
    NatsBroker::open(options).await.unwrap()
}

#[tokio::test]
async fn a_password_lets_in_and_a_wrong_one_is_refused() {
    let Some(server) = Server::start(&["--user", "anna", "--pass", "s@fe"]).await else { return };
    let by_url = format!("nats://anna:s%40fe@127.0.0.1:{}", server.port());
    broker(options(&by_url)).await.check().await.unwrap();
    let password =
        |password: &str| Login::Password { user: "anna".to_owned(), password: Password::new(password) };
    let right = Options { login: password("s@fe"), ..options(&server.url()) };
    broker(right).await.check().await.unwrap();

    let wrong = broker(Options { login: password("guessed"), ..options(&server.url()) }).await;
    for error in [wrong.check().await.unwrap_err(), wrong.declare(&queue("q", &["a"])).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert!(!error.to_string().contains("guessed"), "{error}");
    }
    let answer = wrong.publish(vec![message("a", "b")]).await.remove(0).unwrap_err();
    assert_eq!(answer.kind(), ErrorKind::Refused, "{answer}");
    assert!(!format!("{wrong:?}").contains("guessed"));
}

#[tokio::test]
async fn a_token_lets_in() {
    let Some(server) = Server::start(&["--auth", "t0ken"]).await else { return };
    let right = Options { login: Login::Token(Password::new("t0ken")), ..options(&server.url()) };
    broker(right).await.check().await.unwrap();
    let error = broker(options(&server.url())).await.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_from_silence() {
    let folder = tempfile::tempdir().unwrap();
    let mine = Options { timeout: Duration::from_secs(2), ..options("nats://127.0.0.1:1") };
    let forbidden = format!("{}.events.Secret", mine.prefix);
    let users = format!(
        "authorization {{ users = [ {{ user: anna, password: safe, permissions: {{ \
         publish: {{ deny: \"{forbidden}\" }} }} }} ] }}"
    );
    let file = folder.path().join("server.conf");
    std::fs::write(&file, users).unwrap();
    let Some(server) = Server::start(&["-c", file.to_str().unwrap()]).await else { return };
    let url = Options::new(server.url()).url;
    let login = Login::Password { user: "anna".to_owned(), password: Password::new("safe") };
    let broker = broker(Options { url, login, ..mine }).await;
    broker.declare(&queue("q", &["#"])).await.unwrap();
    let answers = broker.publish(vec![message("Secret", "1"), message("public", "2")]).await;
    let error = answers[0].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(answers[1].is_ok(), "{answers:?}");
}

#[tokio::test]
async fn files_that_cannot_be_read_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.pem");
    let credentials = folder.path().join("bad.creds");
    std::fs::write(&credentials, "SUANOTASEED").unwrap();
    let plain = || options("nats://127.0.0.1:1");
    let mut trusting = plain();
    trusting.tls.ca_file = Some(missing);
    let known = Options { login: Login::Credentials(credentials), ..plain() };
    for (options, says) in [(trusting, "missing.pem"), (known, "bad.creds")] {
        let error = NatsBroker::open(options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains(says) && !error.to_string().contains("SUA"), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_jetstream_says_so() {
    let Some(mut server) = Server::reserve(&[]) else { return };
    server.run_plain().await;
    let error = broker(options(&server.url())).await.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("JetStream"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_away_at_first_is_found_when_it_comes() {
    let Some(mut server) = Server::reserve(&[]) else { return };
    let broker = broker(options(&server.url())).await;
    let began = Instant::now();
    let error = broker.declare(&queue("q", &["a"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "it fails soon");
    let error = broker.check().await.unwrap_err();
    assert!(error.to_string().contains(&server.port().to_string()), "{error}");
    server.run().await;
    eventually("it is connected", async || broker.check().await.is_ok()).await;
    broker.declare(&queue("q", &["a"])).await.unwrap();
}
