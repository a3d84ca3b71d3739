//! The protocol, without I/O: packets in and out, in either version.

use std::time::Duration;

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event, TimerKind};
use mqtt_protocol_core::mqtt::packet::{
    GenericPacketTrait as _, Packet, Property, Qos, RetainHandling, SessionExpiryInterval, SubEntry, SubOpts,
    v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, MqttError, SubackReasonCode, SubackReturnCode,
};
use mqtt_protocol_core::mqtt::{self, role};
use tokio::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::options::{Filter, Options, Version};

/// What the broker said.
#[derive(Debug)]
pub(crate) enum Received {
    /// We are connected.
    Connected { session_present: bool },
    /// The answer to each filter of the subscription: whether at least once is granted, or
    /// why nothing is.
    Subscribed(Vec<Result<bool, String>>),
    /// A message.
    Publish(Publish),
    /// The broker ends the connection.
    Ended(String),
    /// Something that needs no answer.
    Other,
}

/// A message as it came.
#[derive(Debug)]
pub(crate) struct Publish {
    /// What acknowledges it; none for QoS 0.
    pub(crate) packet_id: Option<u16>,
    /// Whether it may have come before.
    pub(crate) dup: bool,
    pub(crate) topic: String,
    pub(crate) content_type: Option<String>,
    pub(crate) properties: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// One connection of the protocol.
pub(crate) struct Protocol {
    connection: mqtt::Connection<role::Client>,
    version: Version,
    /// What has to be written.
    out: Vec<u8>,
    ping_at: Option<Instant>,
}

impl Protocol {
    pub(crate) fn new(options: &Options) -> Self {
        let version = match options.version {
            Version::V3 => mqtt::Version::V3_1_1,
            Version::V5 => mqtt::Version::V5_0,
        };
        // 3.1.1 does not say it to the broker; there we stop reading instead.
        let capabilities = match options.version {
            Version::V3 => ConnectionOptions::new(),
            Version::V5 => ConnectionOptions::new().receive_maximum(options.window),
        };
        let connection = mqtt::Connection::with_options(version, capabilities);
        Self { connection, version: options.version, out: Vec::new(), ping_at: None }
    }

    /// What has to be written, which is forgotten here.
    pub(crate) fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// When the broker has to be asked whether it is there.
    pub(crate) fn ping_at(&self) -> Option<Instant> {
        self.ping_at
    }

    pub(crate) fn connect(&mut self, options: &Options) -> Result<(), Error> {
        let packet = connect(options).map_err(|err| invalid("CONNECT", err))?;
        self.send(packet)
    }

    pub(crate) fn subscribe(&mut self, filters: &[Filter]) -> Result<(), Error> {
        let packet_id = self.connection.acquire_packet_id().map_err(|err| invalid("SUBSCRIBE", err))?;
        let packet = subscribe(self.version, packet_id, filters).map_err(|err| invalid("SUBSCRIBE", err))?;
        self.send(packet)
    }

    pub(crate) fn acknowledge(&mut self, packet_id: u16) -> Result<(), Error> {
        let packet: Result<Packet, MqttError> = match self.version {
            Version::V3 => v3_1_1::Puback::builder().packet_id(packet_id).build().map(Into::into),
            Version::V5 => v5_0::Puback::builder().packet_id(packet_id).build().map(Into::into),
        };
        self.send(packet.map_err(|err| invalid("PUBACK", err))?)
    }

    /// Asks whether the broker is there.
    pub(crate) fn ping(&mut self) -> Result<(), Error> {
        self.ping_at = None;
        let events = self.connection.notify_timer_fired(TimerKind::PingreqSend);
        self.apply(events).map(drop)
    }

    /// Says that we go; the broker keeps what we miss from now on.
    pub(crate) fn disconnect(&mut self) -> Result<(), Error> {
        let packet: Result<Packet, MqttError> = match self.version {
            Version::V3 => v3_1_1::Disconnect::builder().build().map(Into::into),
            Version::V5 => v5_0::Disconnect::builder().build().map(Into::into),
        };
        let packet = packet.map_err(|err| invalid("DISCONNECT", err))?;
        let mut events = self.connection.send(packet);
        // Which is what we do.
        events.retain(|event| !matches!(event, Event::RequestClose));
        self.apply(events).map(drop)
    }

    /// Reads one whole packet.
    ///
    /// # Errors
    /// When it is none, or not one that may come now.
    pub(crate) fn receive(&mut self, packet: &[u8]) -> Result<Vec<Received>, Error> {
        let events = self.connection.recv(&mut Cursor::new(packet));
        self.apply(events)?.into_iter().map(received).collect()
    }

    fn send(&mut self, packet: Packet) -> Result<(), Error> {
        let events = self.connection.send(packet);
        self.apply(events).map(drop)
    }

    /// Does what the library asks for; which packets came.
    fn apply(&mut self, events: Vec<Event>) -> Result<Vec<Packet>, Error> {
        let mut packets = Vec::new();
        let mut fault = None;
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => self.out.extend(packet.to_continuous_buffer()),
                Event::NotifyPacketReceived(packet) => packets.push(packet),
                Event::RequestTimerReset { kind: TimerKind::PingreqSend, duration_ms } => {
                    self.ping_at = Some(Instant::now() + Duration::from_millis(duration_ms));
                }
                Event::RequestTimerCancel(TimerKind::PingreqSend) => self.ping_at = None,
                Event::NotifyError(error) => fault = Some(error.to_string()),
                Event::RequestClose => {
                    fault.get_or_insert_with(|| "the connection has to be closed".to_owned());
                }
                Event::NotifyPacketIdReleased(_)
                | Event::RequestTimerReset { .. }
                | Event::RequestTimerCancel(_) => {}
            }
        }
        match fault {
            None => Ok(packets),
            Some(fault) => Err(Error::broken(format!("the broker does not follow the protocol: {fault}"))),
        }
    }
}

fn invalid(packet: &str, error: MqttError) -> Error {
    Error::new(ErrorKind::Invalid, format!("making the packet {packet}: {error}"))
}

fn connect(options: &Options) -> Result<Packet, MqttError> {
    let keep_alive = u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX).max(1);
    let session = u32::try_from(options.session.as_secs()).unwrap_or(u32::MAX);
    let clean = options.session.is_zero();
    match options.version {
        Version::V3 => {
            let mut packet = v3_1_1::Connect::builder().client_id(options.client_id.as_str())?;
            packet = packet.clean_session(clean).keep_alive(keep_alive);
            if let Some(login) = &options.login {
                packet = packet.user_name(login.user.as_str())?;
                if let Some(password) = &login.password {
                    packet = packet.password(password.bytes().to_vec())?;
                }
            }
            packet.build().map(Into::into)
        }
        Version::V5 => {
            let mut packet = v5_0::Connect::builder().client_id(options.client_id.as_str())?;
            packet = packet.clean_start(clean).keep_alive(keep_alive);
            if let Some(login) = &options.login {
                packet = packet.user_name(login.user.as_str())?;
                if let Some(password) = &login.password {
                    packet = packet.password(password.bytes().to_vec())?;
                }
            }
            if !clean {
                packet =
                    packet.props(vec![Property::SessionExpiryInterval(SessionExpiryInterval::new(session)?)]);
            }
            packet.build().map(Into::into)
        }
    }
}

fn subscribe(version: Version, packet_id: u16, filters: &[Filter]) -> Result<Packet, MqttError> {
    let entry = |filter: &Filter| {
        let qos = if filter.at_least_once { Qos::AtLeastOnce } else { Qos::AtMostOnce };
        let mut options = SubOpts::new().set_qos(qos);
        if version == Version::V5 {
            // Retained messages come once, not with every connection.
            options = options.set_rh(RetainHandling::SendRetainedIfNotExists);
        }
        SubEntry::new(filter.filter.as_str(), options)
    };
    let entries: Vec<SubEntry> = filters.iter().map(entry).collect::<Result<_, _>>()?;
    match version {
        Version::V3 => {
            v3_1_1::Subscribe::builder().packet_id(packet_id).entries(entries).build().map(Into::into)
        }
        Version::V5 => {
            v5_0::Subscribe::builder().packet_id(packet_id).entries(entries).build().map(Into::into)
        }
    }
}

/// What a packet says.
fn received(packet: Packet) -> Result<Received, Error> {
    let refused = |reason: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Refused, format!("the broker refuses the connection: {reason}"))
    };
    Ok(match packet {
        Packet::V3_1_1Connack(packet) => match packet.return_code() {
            ConnectReturnCode::Accepted => Received::Connected { session_present: packet.session_present() },
            ConnectReturnCode::ServerUnavailable => {
                return Err(Error::unavailable("the broker says that it is unavailable"));
            }
            reason => return Err(refused(&reason)),
        },
        Packet::V5_0Connack(packet) => match packet.reason_code() {
            ConnectReasonCode::Success => Received::Connected { session_present: packet.session_present() },
            reason @ (ConnectReasonCode::ServerUnavailable | ConnectReasonCode::ServerBusy) => {
                return Err(Error::unavailable(format!("the broker says: {reason}")));
            }
            reason => return Err(refused(&reason)),
        },
        Packet::V3_1_1Suback(packet) => {
            let granted = |code: SubackReturnCode| match code {
                SubackReturnCode::SuccessMaximumQos0 => Ok(false),
                SubackReturnCode::SuccessMaximumQos1 | SubackReturnCode::SuccessMaximumQos2 => Ok(true),
                SubackReturnCode::Failure => Err("refused".to_owned()),
            };
            Received::Subscribed(packet.return_codes().into_iter().map(granted).collect())
        }
        Packet::V5_0Suback(packet) => {
            let granted = |code: SubackReasonCode| match code {
                SubackReasonCode::GrantedQos0 => Ok(false),
                SubackReasonCode::GrantedQos1 | SubackReasonCode::GrantedQos2 => Ok(true),
                reason => Err(reason.to_string()),
            };
            Received::Subscribed(packet.reason_codes().into_iter().map(granted).collect())
        }
        Packet::V3_1_1Publish(packet) => {
            once_at_most_or_at_least(packet.qos())?;
            Received::Publish(Publish {
                packet_id: packet.packet_id(),
                dup: packet.dup(),
                topic: packet.topic_name().to_owned(),
                content_type: None,
                properties: Vec::new(),
                body: packet.payload().as_slice().to_vec(),
            })
        }
        Packet::V5_0Publish(packet) => {
            once_at_most_or_at_least(packet.qos())?;
            let (mut content_type, mut properties) = (None, Vec::new());
            for property in packet.props() {
                match property {
                    Property::ContentType(given) => content_type = Some(given.val().to_owned()),
                    Property::UserProperty(given) => {
                        properties.push((given.key().to_owned(), given.val().to_owned()));
                    }
                    _ => {}
                }
            }
            Received::Publish(Publish {
                packet_id: packet.packet_id(),
                dup: packet.dup(),
                topic: packet.topic_name().to_owned(),
                content_type,
                properties,
                body: packet.payload().as_slice().to_vec(),
            })
        }
        Packet::V5_0Disconnect(packet) => {
            let reason =
                packet.reason_code().map_or_else(|| "no reason".to_owned(), |reason| reason.to_string());
            Received::Ended(reason)
        }
        _ => Received::Other,
    })
}

/// # Errors
/// QoS 2, which nobody asked for.
fn once_at_most_or_at_least(qos: Qos) -> Result<(), Error> {
    if qos == Qos::ExactlyOnce {
        return Err(Error::broken("the broker sent a message of QoS 2, which was not subscribed to"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::frames::Frames;

    /// A packet of some kind with anything in it.
    fn packet() -> impl Strategy<Value = Vec<u8>> {
        // Messages and acknowledgements more often than what a broker never sends.
        let first =
            prop_oneof![Just(0x30), Just(0x32), Just(0x3b), Just(0x20), Just(0x40), Just(0x90), any::<u8>()];
        let text = Just(b"\x00\x01t\x00\x07\x05\x26\x00\x00\x00\x00".to_vec());
        let content = prop_oneof![vec(any::<u8>(), 0..120), text, vec(0_u8..4, 0..120)];
        (first, content).prop_map(|(first, content)| {
            let mut packet = vec![first, u8::try_from(content.len()).expect("short")];
            packet.extend(content);
            packet
        })
    }

    proptest! {
        /// It ends the connection, never the process.
        #[test]
        fn whatever_a_broker_says_is_an_error_at_worst(packets in vec(packet(), 1..20), is_connected in any::<bool>()) {
            for version in [Version::V3, Version::V5] {
                let options = Options { version, ..Options::new("test", "localhost", 1883) };
                let mut protocol = Protocol::new(&options);
                protocol.connect(&options).expect("it can be said");
                let mut frames = Frames::new(version == Version::V5, 64, 8);
                if is_connected {
                    let accepted: &[u8] = if version == Version::V5 { b"\x20\x03\0\0\0" } else { b"\x20\x02\0\0" };
                    frames.room().extend_from_slice(accepted);
                }
                frames.room().extend_from_slice(&packets.concat());
                while let Ok(Some(frame)) = frames.next() {
                    if protocol.receive(&frame.bytes).is_err() {
                        break;
                    }
                }
            }
        }
    }
}
