//! Who is let in, over what.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use orderwire_broker::{Broker, ErrorKind, Password};
use orderwire_broker_nats::{Login, NatsBroker, Options};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::kit::{eventually, message, options, publish, queue};
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

/// What an operator, account or user is, in the words of who vouches for it.
fn jwt(issuer: &KeyPair, of: &KeyPair, is: &Value) -> String {
    let (key, by) = (of.public_key(), issuer.public_key());
    let claims = json!({"jti": key, "iat": 1_700_000_000, "iss": by, "name": "test", "sub": key, "nats": is});
    let part = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let said = format!("{}.{}", part(&json!({"typ": "JWT", "alg": "ed25519-nkey"})), part(&claims));
    let signature = issuer.sign(said.as_bytes()).unwrap();
    format!("{said}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// A file as `nsc` writes it, of a user for whom this account vouches.
fn credentials(file: &Path, account: &KeyPair) {
    let user = KeyPair::new_user();
    let is = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
    let (jwt, seed) = (jwt(account, &user, &is), user.seed().unwrap());
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    std::fs::write(file, text).unwrap();
}

#[tokio::test]
async fn a_credentials_file_lets_in_and_one_of_another_account_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let operator = KeyPair::new_operator();
    let [account, system, stranger] = [(); 3].map(|()| KeyPair::new_account());
    let unlimited = "subs data payload imports exports conn leaf disk_storage streams consumer"
        .split(' ')
        .map(|limit| (limit, json!(-1)));
    let limits: Value =
        unlimited.chain([("wildcards", json!(true))]).map(|(limit, is)| (limit.to_owned(), is)).collect();
    let file = folder.path().join("server.conf");
    let vouched = |account: &KeyPair, limits: &Value| {
        let is = json!({"type": "account", "version": 2, "limits": limits});
        format!("{}: {}", account.public_key(), jwt(&operator, account, &is))
    };
    let mut of_system = limits.clone();
    for limit in ["disk_storage", "streams", "consumer"] {
        // It may have none.
        of_system.as_object_mut().unwrap().remove(limit);
    }
    let config = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}\n{}\n}}\n",
        jwt(&operator, &operator, &json!({"type": "operator", "version": 2})),
        system.public_key(),
        vouched(&account, &limits),
        vouched(&system, &of_system),
    );
    std::fs::write(&file, config).unwrap();
    let Some(server) = Server::start(&["-c", file.to_str().unwrap()]).await else { return };
    let with = |name: &str, account: &KeyPair| {
        let file = folder.path().join(name);
        credentials(&file, account);
        broker(Options { login: Login::Credentials(file), ..options(&server.url()) })
    };
    let known = with("known.creds", &account).await;
    known.declare(&queue("q", &["a"])).await.unwrap();
    publish(&known, vec![message("a", "let in")]).await.unwrap();
    let error = with("stranger.creds", &stranger).await.check().await.unwrap_err();
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
