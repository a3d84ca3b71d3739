//! Passwords, as a server looks them up.

use std::io;

use orderwire_broker::{Broker, Declare, ErrorKind, Password};
use orderwire_broker_kafka::{KafkaBroker, Login, Mechanism, Options};
use orderwire_servers::free_port;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::Tansu;
use crate::support::{drain, label, message, publish, queue};

/// A server that asks who we are, and knows nobody: it was never told of a user.
#[tokio::test]
async fn who_is_unknown_is_refused_and_told_so_without_the_password() {
    let port = free_port().unwrap();
    let asks = ["--authentication"];
    let Some(tansu) = Tansu::start_as(port, &format!("127.0.0.1:{port}"), &asks) else { return };
    for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha512] {
        let login = Login { user: "nobody".to_owned(), password: Password::new("s3cret"), mechanism };
        let broker = KafkaBroker::start(Options { login: Some(login), ..tansu.options() });
        let error = broker.check().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{mechanism:?}: {error}");
        let said = error.to_string();
        assert!(said.contains("unknown-user") && !said.contains("s3cret"), "{mechanism:?}: {said}");
        broker.close().await;
    }
}

/// The number of a request, and of its answer to it.
const HANDSHAKE: i16 = 17;
const AUTHENTICATE: i16 = 36;

/// One request or answer, without its length.
async fn frame(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = from.read_i32().await?;
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn send(to: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    to.write_i32(i32::try_from(bytes.len()).map_err(io::Error::other)?).await?;
    to.write_all(bytes).await
}

/// Lets somebody through to a server who knows the password, which is shown as it is.
async fn admit(mut near: TcpStream, port: u16, password: &str) -> io::Result<()> {
    let mut far = TcpStream::connect(("127.0.0.1", port)).await?;
    loop {
        let request = frame(&mut near).await?;
        let number = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
        let (key, version, correlation) = (number(0), number(2), &request[4..8]);
        // What we are called stands between these and what is said.
        let said = &request[10 + usize::try_from(number(8)).map_err(io::Error::other)?..];
        match key {
            HANDSHAKE => {
                assert_eq!(said, b"\0\x05PLAIN");
                send(&mut near, &[correlation, b"\0\0", b"\0\0\0\x01\0\x05PLAIN"].concat()).await?;
            }
            AUTHENTICATE => {
                let is_right = said[4..] == *password.as_bytes();
                let code: i16 = if is_right { 0 } else { 58 };
                let lifetime: &[u8] = if version > 0 { &[0; 8] } else { &[] };
                let words = [correlation, &code.to_be_bytes(), b"\0\x02no", &[0; 4], lifetime];
                send(&mut near, &words.concat()).await?;
                if !is_right {
                    return Ok(());
                }
                return copy_bidirectional(&mut near, &mut far).await.map(drop);
            }
            // What a server can do is asked before.
            _ => {
                send(&mut far, &request).await?;
                let answer = frame(&mut far).await?;
                send(&mut near, &answer).await?;
            }
        }
    }
}

/// The door stands in front of the server, which has no users that it could be told of.
#[tokio::test]
async fn a_password_of_the_url_lets_in_and_another_one_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (door, port) = (listener.local_addr().unwrap().port(), free_port().unwrap());
    let Some(_tansu) = Tansu::start_as(port, &format!("127.0.0.1:{door}"), &[]) else { return };
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            // Either side may end it as it likes.
            tokio::spawn(async move { admit(near, port, "\0anna\0s@fe, and: more/").await.ok() });
        }
    });
    let open = |password: &str| {
        let url = format!("kafka://anna:{password}@127.0.0.1:{door}/?sasl=PLAIN&partitions=2");
        KafkaBroker::start(Options::from_url(&url).unwrap())
    };
    let broker = open("s%40fe%2C%20and%3A%20more%2F");
    let queue = queue(&["known"], Declare::Quorum);
    broker.declare(&queue).await.unwrap();
    publish(&broker, message("known", "let in")).await.unwrap();
    assert_eq!(label(&drain(&broker, &queue, 1).await[0]), "let in");
    broker.close().await;

    let broker = open("guessed");
    let error = broker.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(!error.to_string().contains("guessed"), "{error}");
    broker.close().await;
}
