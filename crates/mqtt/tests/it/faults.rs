//! Brokers that go away, are silent, or refuse us, and connections that are cut.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Error, Result, ensure};
use orderwire_config::Secret;
use orderwire_mqtt::{Login, Options, Version};
use orderwire_servers::mosquitto::Mosquitto;
use orderwire_servers::proxy::Proxy;

use crate::producer::{Producer, publish_all};
use crate::support::{Memory, Running, VERSIONS, options};

#[tokio::test(flavor = "multi_thread")]
async fn restarts_under_load_lose_nothing_that_the_broker_acknowledged() -> Result<()> {
    for version in VERSIONS {
        let (mut broker, memory) = (Mosquitto::started()?, Memory::open());
        let running = Running::start(options(broker.port(), version), memory.clone())?.ready().await?;
        let stop = Arc::new(AtomicBool::new(false));
        let producing = {
            let (stop, port) = (stop.clone(), broker.port());
            tokio::task::spawn_blocking(move || {
                let (mut acknowledged, mut n) = (BTreeSet::new(), 0_u32);
                while !stop.load(Ordering::SeqCst) {
                    let Ok(mut producer) = Producer::connect(port, "producer") else { continue };
                    while !stop.load(Ordering::SeqCst) {
                        n += 1;
                        let body = n.to_string();
                        if producer.publish("t", body.as_bytes(), &[]).is_err() {
                            break;
                        }
                        acknowledged.insert(body);
                    }
                }
                acknowledged
            })
        };
        for round in 1..=5 {
            memory.until_taken(round * 100).await?;
            broker.stop()?;
            broker.start()?;
        }
        stop.store(true, Ordering::SeqCst);
        let mut missing = producing.await?;
        let count = missing.len();
        // What came twice around a restart was counted twice above.
        ensure!(count > 250, "only {count} messages");
        let mut looked_at = 0;
        while !missing.is_empty() {
            memory
                .until_taken(looked_at + 1)
                .await
                .with_context(|| format!("{version:?}: missing {missing:?}"))?;
            let bodies = memory.bodies();
            for body in &bodies[looked_at..] {
                missing.remove(body);
            }
            looked_at = bodies.len();
        }
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_became_durable_when_its_connection_was_cut_is_not_taken_again() -> Result<()> {
    for version in VERSIONS {
        let (broker, memory) = (Mosquitto::started()?, Memory::closed());
        let proxy = Proxy::to(broker.port()).await?;
        let running = Running::start(options(proxy.port(), version), memory.clone())?.ready().await?;
        publish_all(broker.port(), &[("t", b"one"), ("t", b"two")])?;
        memory.until_asked(1).await?;
        proxy.cut();
        running.until(Result::is_err).await?;
        // What the connection had handed over is durable before there is another one.
        memory.let_in();
        memory.until_taken(1).await?;
        running.until(Result::is_ok).await?;
        publish_all(broker.port(), &[("t", b"three")])?;
        memory.until_taken(3).await?;
        ensure!(memory.bodies() == ["one", "two", "three"], "{version:?}: {:?}", memory.bodies());
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_broker_that_refuses_us_is_told_of_and_tried_again() -> Result<()> {
    for version in VERSIONS {
        let (broker, memory) = (Mosquitto::started_with("allow_anonymous false\n")?, Memory::open());
        let running = Running::start(options(broker.port(), version), memory)?;
        running.until(|is| matches!(is, Err(why) if why.contains("refuses"))).await?;
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_broker_that_knows_us_lets_us_in() -> Result<()> {
    // Every run of the tests has this variable.
    let secret: Secret = "${CARGO_PKG_NAME}".parse().map_err(Error::msg)?;
    let password = secret.resolve().map_err(Error::msg)?;
    let mut broker = Mosquitto::with_user("plant", password.text().map_err(Error::msg)?)?;
    broker.start()?;
    for version in VERSIONS {
        let login = |password| Some(Login { user: "plant".to_owned(), password });
        let known = Options { login: login(Some(password.clone())), ..options(broker.port(), version) };
        ensure!(!format!("{known:?}").contains(env!("CARGO_PKG_NAME")), "the password is shown");
        Running::start(known, Memory::open())?.ready().await?.stop().await?;
        let unknown = Options { login: login(None), ..options(broker.port(), version) };
        let running = Running::start(unknown, Memory::open())?;
        running.until(|is| matches!(is, Err(why) if why.contains("refuses"))).await?;
        running.stop().await?;
    }
    Ok(())
}

/// A broker that says these bytes to each connection, and nothing else ever; how many came.
fn mute(says: &'static [u8]) -> Result<(u16, Arc<Mutex<usize>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || -> Result<()> {
        let mut kept = Vec::new();
        loop {
            let (mut socket, _) = listener.accept()?;
            *counted.lock().expect("no thread has panicked") += 1;
            socket.write_all(says)?;
            kept.push(socket);
        }
    });
    Ok((port, count))
}

#[tokio::test]
async fn a_broker_that_is_silent_is_left_in_time() -> Result<()> {
    let connected_and_subscribed = b"\x20\x02\x00\x00\x90\x03\x00\x01\x01";
    for says in [&b""[..], &b"\x20\x02\x00\x00"[..], &connected_and_subscribed[..], &b"\x20"[..]] {
        let (port, count) = mute(says)?;
        let options = Options {
            keep_alive: Duration::from_secs(1),
            timeout: Duration::from_millis(200),
            ..options(port, Version::V3)
        };
        let running = Running::start(options, Memory::open())?;
        running
            .until(|_| *count.lock().expect("no thread has panicked") >= 3)
            .await
            .with_context(|| format!("after {says:?}"))?;
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_broker_that_does_not_follow_the_protocol_is_left() -> Result<()> {
    for says in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        // A message before the answer to CONNECT, one of QoS 2, a topic that is not UTF-8, and a packet of 256 MiB.
        &b"\x30\x03\x00\x01t"[..],
        &b"\x20\x02\x00\x00\x34\x05\x00\x01t\x00\x01"[..],
        &b"\x20\x02\x00\x00\x30\x03\x00\x01\xff"[..],
        &b"\x20\x02\x00\x00\x90\xff\xff\xff\x7f"[..],
    ] {
        let (port, count) = mute(says)?;
        let options = Options { timeout: Duration::from_secs(1), ..options(port, Version::V3) };
        let running = Running::start(options, Memory::open())?;
        running
            .until(|_| *count.lock().expect("no thread has panicked") >= 3)
            .await
            .with_context(|| format!("after {says:?}"))?;
        running.stop().await?;
    }
    Ok(())
}
