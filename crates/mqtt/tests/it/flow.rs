//! What comes, how often, and when the broker may forget it.

use std::time::Duration;

use anyhow::{Result, ensure};
use orderwire_mqtt::{Filter, Options, Version};
use orderwire_servers::mosquitto::Mosquitto;

use crate::producer::{Producer, publish_all};
use crate::support::{Memory, Running, VERSIONS, options};

#[tokio::test]
async fn messages_come_with_their_topic_and_what_their_producer_says() -> Result<()> {
    for version in VERSIONS {
        let (broker, memory) = (Mosquitto::started()?, Memory::open());
        let running = Running::start(options(broker.port(), version), memory.clone())?.ready().await?;
        let mut producer = Producer::connect(broker.port(), "producer")?;
        producer.publish("t/a/b", b"{}", &[("id", "1"), ("id", "2"), ("traceparent", "x")])?;
        producer.publish("elsewhere", b"{}", &[])?;
        producer.publish("t", b"", &[])?;
        memory.until_taken(2).await?;
        let taken = memory.taken();
        ensure!(taken[0].topic == "t/a/b" && taken[0].body == "{}", "{taken:?}");
        ensure!(taken[1].topic == "t" && taken[1].body.is_empty(), "{taken:?}");
        let is_five = version == Version::V5;
        ensure!(taken[0].content_type.as_deref() == is_five.then_some("application/json"), "{taken:?}");
        ensure!(taken[0].property("id") == is_five.then_some("1"), "{taken:?}");
        ensure!(taken[0].property("traceparent") == is_five.then_some("x"), "{taken:?}");
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn messages_of_qos_0_come_as_well() -> Result<()> {
    let (broker, memory) = (Mosquitto::started()?, Memory::open());
    let filters = vec![Filter { filter: "t/+".to_owned(), at_least_once: false }];
    let options = Options { filters, ..options(broker.port(), Version::V5) };
    let running = Running::start(options, memory.clone())?.ready().await?;
    publish_all(broker.port(), &[("t/1", b"one"), ("t/2", b"two")])?;
    memory.until_taken(2).await?;
    ensure!(memory.bodies() == ["one", "two"], "{:?}", memory.bodies());
    running.stop().await
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_durable() -> Result<()> {
    for version in VERSIONS {
        let (broker, memory) = (Mosquitto::started()?, Memory::closed());
        let running = Running::start(options(broker.port(), version), memory.clone())?.ready().await?;
        publish_all(broker.port(), &[("t", b"one"), ("t", b"two")])?;
        memory.until_asked(1).await?;
        running.kill().await;

        let memory = Memory::open();
        let running = Running::start(options(broker.port(), version), memory.clone())?;
        memory.until_taken(2).await?;
        ensure!(memory.bodies() == ["one", "two"], "{:?}", memory.bodies());
        running.stop().await?;

        // What was acknowledged never comes again.
        let memory = Memory::open();
        let running = Running::start(options(broker.port(), version), memory.clone())?.ready().await?;
        publish_all(broker.port(), &[("t", b"three")])?;
        memory.until_taken(1).await?;
        ensure!(memory.bodies() == ["three"], "{:?}", memory.bodies());
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_published_while_we_are_away_comes_later_unless_nobody_wants_it() -> Result<()> {
    for version in VERSIONS {
        for (session, expected) in [(60, vec!["away", "there"]), (0, vec!["there"])] {
            let (broker, memory) = (Mosquitto::started()?, Memory::open());
            let options =
                Options { session: Duration::from_secs(session), ..options(broker.port(), version) };
            Running::start(options.clone(), memory.clone())?.ready().await?.stop().await?;
            publish_all(broker.port(), &[("t", b"away")])?;
            let running = Running::start(options, memory.clone())?.ready().await?;
            publish_all(broker.port(), &[("t", b"there")])?;
            memory.until_taken(expected.len()).await?;
            ensure!(memory.bodies() == expected, "{version:?}, {session} s: {:?}", memory.bodies());
            running.stop().await?;
        }
    }
    Ok(())
}

/// While the port has its hands full the socket is not read, but the broker hears of us.
#[tokio::test]
async fn a_port_that_is_slow_holds_the_stream_and_keeps_the_connection() -> Result<()> {
    for version in VERSIONS {
        let (broker, memory) =
            (Mosquitto::started_with("allow_anonymous true\nmax_inflight_messages 0\n")?, Memory::closed());
        let options = Options {
            window: 10,
            batch: 4,
            keep_alive: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            ..options(broker.port(), version)
        };
        let running = Running::start(options, memory.clone())?.ready().await?;
        let bodies: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        let messages: Vec<(&str, &[u8])> = bodies.iter().map(|body| ("t", body.as_bytes())).collect();
        publish_all(broker.port(), &messages)?;
        memory.until_asked(1).await?;
        // tidy: sleep because silence of more than 1.5 times the keep-alive would end the connection
        tokio::time::sleep(Duration::from_millis(2500)).await;
        ensure!(memory.taken().is_empty() && running.handle.check().is_ok(), "{:?}", running.handle.check());
        memory.let_in();
        memory.until_taken(300).await?;
        // Each once: the connection was never made anew.
        ensure!(memory.bodies() == bodies, "{version:?}: {:?}", memory.bodies());
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_message_that_is_too_large_comes_cut_and_stops_nothing() -> Result<()> {
    for version in VERSIONS {
        let (broker, memory) = (Mosquitto::started()?, Memory::open());
        let options =
            Options { body_bytes_max: 1000, kept_of_too_large: 10, ..options(broker.port(), version) };
        let running = Running::start(options, memory.clone())?.ready().await?;
        let (large, exact) = (vec![b'x'; 300_000], vec![b'y'; 1000]);
        publish_all(broker.port(), &[("t", b"one"), ("t", &large), ("t", &exact), ("t", b"two")])?;
        memory.until_taken(4).await?;
        let taken = memory.taken();
        let cut: Vec<_> = taken.iter().map(|message| (message.body.len(), message.cut.is_some())).collect();
        ensure!(cut == [(3, false), (10, true), (1000, false), (3, false)], "{taken:?}");
        ensure!(taken[1].cut.as_deref().is_some_and(|cut| cut.contains("300000 bytes")), "{taken:?}");
        running.stop().await?;
    }
    Ok(())
}

/// Any producer may send them; the broker would send them again and again.
#[tokio::test]
async fn properties_that_are_too_large_stop_nothing() -> Result<()> {
    let (broker, memory) = (Mosquitto::started()?, Memory::open());
    let running = Running::start(options(broker.port(), Version::V5), memory.clone())?.ready().await?;
    let mut producer = Producer::connect(broker.port(), "producer")?;
    let many = vec![("name", "value"); 10_000];
    producer.publish("t/large", b"body", &many)?;
    producer.publish("t/small", b"body", &[("id", "1")])?;
    memory.until_taken(2).await?;
    let taken = memory.taken();
    ensure!(taken[0].topic == "t/large" && taken[0].properties.is_empty(), "{taken:?}");
    ensure!(taken[0].cut.as_deref().is_some_and(|cut| cut.contains("bytes of properties")), "{taken:?}");
    ensure!(taken[1].topic == "t/small" && taken[1].cut.is_none(), "{taken:?}");
    running.stop().await
}

#[tokio::test]
async fn a_stop_takes_what_was_read_and_tells_the_broker() -> Result<()> {
    let (broker, memory) = (Mosquitto::started()?, Memory::closed());
    let running = Running::start(options(broker.port(), Version::V5), memory.clone())?.ready().await?;
    publish_all(broker.port(), &[("t", b"one"), ("t", b"two")])?;
    memory.until_asked(1).await?;
    let stopping = tokio::spawn(running.stop());
    memory.let_in();
    stopping.await??;
    let first = memory.bodies();
    ensure!(!first.is_empty(), "what was in hand is lost");
    broker.until_logged("Client orderwire-test disconnected.")?;

    let memory = Memory::open();
    let running = Running::start(options(broker.port(), Version::V5), memory.clone())?.ready().await?;
    publish_all(broker.port(), &[("t", b"end")])?;
    memory.until_taken(3 - first.len()).await?;
    let all = [first, memory.bodies()].concat();
    ensure!(all == ["one", "two", "end"], "{all:?}");
    running.stop().await
}
