//! A producer that knows what the broker acknowledged.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, anyhow, bail};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::Event;
use mqtt_protocol_core::mqtt::packet::{
    ContentType, GenericPacketTrait as _, Packet, Property, Qos, UserProperty, v5_0,
};
use mqtt_protocol_core::mqtt::{Connection, Version, role};
use orderwire_servers::PATIENCE;

pub(crate) struct Producer {
    connection: Connection<role::Client>,
    socket: TcpStream,
}

impl Producer {
    pub(crate) fn connect(port: u16, name: &str) -> Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let mut producer = Self { connection: Connection::new(Version::V5_0), socket };
        let packet = v5_0::Connect::builder().client_id(name).map_err(fault)?.clean_start(true);
        producer.send(packet.build().map_err(fault)?.into())?;
        producer.wait_for(|packet| matches!(packet, Packet::V5_0Connack(_)))?;
        Ok(producer)
    }

    /// Publishes with QoS 1, and returns once the broker is responsible.
    pub(crate) fn publish(&mut self, topic: &str, body: &[u8], properties: &[(&str, &str)]) -> Result<()> {
        let mut props = vec![Property::ContentType(ContentType::new("application/json").map_err(fault)?)];
        for (name, value) in properties {
            props.push(Property::UserProperty(UserProperty::new(*name, *value).map_err(fault)?));
        }
        let id = self.connection.acquire_packet_id().map_err(fault)?;
        let packet = v5_0::Publish::builder().topic_name(topic).map_err(fault)?.qos(Qos::AtLeastOnce);
        let packet = packet.packet_id(id).props(props).payload(body).build().map_err(fault)?;
        self.send(packet.into())?;
        self.wait_for(|packet| matches!(packet, Packet::V5_0Puback(_)))
    }

    fn send(&mut self, packet: Packet) -> Result<()> {
        let events = self.connection.send(packet);
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    self.socket.write_all(&packet.to_continuous_buffer())?;
                }
                Event::NotifyError(error) => bail!("{error}"),
                _ => {}
            }
        }
        Ok(())
    }

    fn wait_for(&mut self, wanted: impl Fn(&Packet) -> bool) -> Result<()> {
        loop {
            let mut buffer = [0; 1024];
            let count = self.socket.read(&mut buffer)?;
            if count == 0 {
                bail!("the broker closed the connection");
            }
            let mut cursor = Cursor::new(&buffer[..count]);
            while !cursor.remaining_slice().is_empty() {
                for event in self.connection.recv(&mut cursor) {
                    match event {
                        Event::NotifyPacketReceived(packet) if wanted(&packet) => return Ok(()),
                        Event::NotifyError(error) => bail!("{error}"),
                        _ => {}
                    }
                }
            }
        }
    }
}

fn fault(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("{error:?}")
}

/// Publishes one after the other with a connection of its own.
pub(crate) fn publish_all(port: u16, messages: &[(&str, &[u8])]) -> Result<()> {
    let mut producer = Producer::connect(port, "producer").context("connecting a producer")?;
    messages.iter().try_for_each(|(topic, body)| producer.publish(topic, body, &[]))
}
