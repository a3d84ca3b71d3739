//! Which addresses of the network belong to everybody: for outgoing calls to addresses
//! that users chose, which must not reach what only this machine or its network can.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everybody's network.
    Public,
    /// This machine or a network of its owner: called only where that is allowed. In
    /// words, for example `a loopback address`.
    Private(&'static str),
    /// Nobody's address to call, or one at which a machine is told its secrets: never
    /// called. In words.
    Never(&'static str),
}

/// How far this address reaches. One that holds an IPv4 address (mapped, NAT64, 6to4)
/// reaches as far as that.
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => of_v6(address),
    }
}

/// What a cloud tells a machine about itself, credentials among it, outside of the ranges
/// that are refused anyway.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
const METADATA: &str = "the address of a metadata service";

// The registries of special purpose addresses, IANA, as of 2026.
fn of_v4(address: Ipv4Addr) -> Reach {
    if METADATA_V4.contains(&address) {
        return Reach::Never(METADATA);
    }
    match address.octets() {
        [0, ..] => Reach::Never("an unspecified address"),
        [10, ..] | [192, 168, ..] | [172, 16..=31, ..] => Reach::Private("an address of a private network"),
        [100, 64..=127, ..] => Reach::Private("an address behind a carrier's translation"),
        [127, ..] => Reach::Private("a loopback address"),
        [169, 254, ..] => Reach::Never("a link-local address"),
        [192, 0, 0, _] | [192, 88, 99, _] => Reach::Never("an address of a protocol"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Reach::Never("an address for documentation"),
        [198, 18 | 19, ..] => Reach::Private("an address for benchmarks"),
        [224..=239, ..] => Reach::Never("a multicast address"),
        [240..=255, ..] => Reach::Never("a reserved address"),
        _ => Reach::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Reach {
    if address == METADATA_V6 {
        return Reach::Never(METADATA);
    }
    if address.is_unspecified() {
        return Reach::Never("an unspecified address");
    }
    if address.is_loopback() {
        return Reach::Private("a loopback address");
    }
    match address.segments() {
        // Mapped, as sockets of both families see it; translated (RFC 2765, RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => of_v4(v4(high, low)),
        [0xfc00..=0xfdff, ..] => Reach::Private("an address of a private network"),
        [0xfe80..=0xfebf, ..] => Reach::Never("a link-local address"),
        [0xff00..=0xffff, ..] => Reach::Never("a multicast address"),
        [0x2001, 0..=0x1ff, ..] => Reach::Never("an address of a protocol"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Reach::Never("an address for documentation"),
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Never("a reserved address"),
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Reach {
        reach(text.parse().unwrap())
    }

    #[test]
    fn everybodys_addresses_are_public() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::1",
        ] {
            assert_eq!(of(text), Reach::Public, "{text}");
        }
    }

    #[test]
    fn addresses_of_ones_own_network_are_private_in_every_spelling() {
        for text in [
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "::1",
            "fc00::1",
            "fdff::1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::ffff:0:10.1.2.3",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "2002:a00:1::1",
            "2002:7f00:1::",
        ] {
            assert!(matches!(of(text), Reach::Private(_)), "{text}: {:?}", of(text));
        }
    }

    #[test]
    fn nobodys_addresses_and_those_of_metadata_are_never_called() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "100.100.100.200",
            "168.63.129.16",
            "169.254.0.1",
            "169.254.169.254",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::7f00:1",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::7f00:1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:a9fe:a9fe::1",
            "3fff::1",
            "5f00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(matches!(of(text), Reach::Never(_)), "{text}: {:?}", of(text));
        }
    }
}
