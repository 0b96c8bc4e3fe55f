//! Trusted reverse proxies, by their addresses.

use std::net::IpAddr;
use std::str::FromStr;

use crate::refusal::Refusal;
use crate::scalar::choice;
use crate::scalar::list;
use crate::scalar::number;

/// Bits of an IPv6 address before a mapped IPv4 address.
const MAPPED: u8 = 96;

/// Addresses and networks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Networks(Vec<Network>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Network {
    address: IpAddr,
    /// Leading bits that count.
    bits: u8,
}

/// `[proxy] proxy_protocol`: whether connections begin with a header of the PROXY protocol.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ProxyProtocol {
    /// No connection does.
    #[default]
    Off,
    /// Connections of trusted reverse proxies may.
    Accept,
    /// All connections must, and come from trusted reverse proxies.
    Require,
}

impl Networks {
    /// Whether an address is one of these, or in one of these networks.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Network {
    fn contains(self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                same(u128::from(own.to_bits()), u128::from(other.to_bits()), 32 - self.bits.min(32))
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                same(own.to_bits(), other.to_bits(), 128 - self.bits.min(128))
            }
            _ => false,
        }
    }
}

/// Whether two numbers differ only in their last bits.
fn same(one: u128, other: u128, last: u8) -> bool {
    (one ^ other).checked_shr(u32::from(last)).is_none_or(|rest| rest == 0)
}

/// `ADDRESS` and `ADDRESS/BITS`, separated by commas.
impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all: Result<_, _> = list(text)?.into_iter().map(network).collect();
        all.map(Self)
    }
}

fn network(text: &str) -> Result<Network, String> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let Ok(written) = address.parse::<IpAddr>() else {
        return Err(format!("contains `{text}`, which is neither ADDRESS nor ADDRESS/BITS"));
    };
    let address = written.to_canonical();
    // With fewer bits, a mapped address would stand for all of IPv4.
    let least = if address == written { 0 } else { MAPPED };
    let most = if written.is_ipv4() { 32 } else { 128 };
    let bits = bits
        .map_or(Ok(most), |bits| number(bits, least..=most))
        .map_err(|_| format!("contains `{text}`, whose BITS are not within {least} and {most}"))?;
    let bits = bits - least;
    Ok(Network { address, bits })
}

pub(crate) fn proxy_protocol(text: &str) -> Result<ProxyProtocol, Refusal> {
    let all = [
        ("off", ProxyProtocol::Off),
        ("accept", ProxyProtocol::Accept),
        ("require", ProxyProtocol::Require),
    ];
    choice(text, &all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contain(networks: &str, address: &str) -> bool {
        networks.parse::<Networks>().unwrap().contain(address.parse().unwrap())
    }

    #[test]
    fn an_address_is_itself_and_in_its_networks() {
        for (networks, address, is_in) in [
            ("", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("10.0.0.0/8, 192.0.2.7", "10.255.0.1", true),
            ("10.0.0.0/8, 192.0.2.7", "192.0.2.7", true),
            ("10.0.0.0/8, 192.0.2.7", "11.0.0.1", false),
            ("192.0.2.128/25", "192.0.2.127", false),
            ("192.0.2.129/25", "192.0.2.200", true),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "8.8.8.8", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "10.1.1.1", true),
            ("::ffff:10.0.0.1", "10.0.0.2", false),
        ] {
            assert_eq!(contain(networks, address), is_in, "{networks} {address}");
        }
    }

    #[test]
    fn what_is_neither_an_address_nor_a_network_is_told() {
        for text in ["proxy.example", "10.0.0.1:80", "[::1]", "10.0.0.0/255.0.0.0", "10/8", "*"] {
            let wrong = text.parse::<Networks>().unwrap_err();
            assert!(wrong.starts_with(&format!("contains `{text}`, wh")), "{wrong}");
        }
        for text in
            ["10.0.0.0/33", "::/129", "::ffff:10.0.0.0/8", "::/", "10.0.0.0/-1", "10.0.0.0/x"]
        {
            assert!(text.parse::<Networks>().unwrap_err().contains("BITS"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-f.:/, ]{0,40}|.{0,40}", address: IpAddr) {
            let _ = text.parse::<Networks>().map(|networks| networks.contain(address));
        }

        #[test]
        fn an_address_is_in_every_network_that_is_named_after_it(address: IpAddr, bits in 0..=32u8) {
            prop_assume!(address == address.to_canonical());
            let network = format!("{address}/{bits}");
            prop_assert!(contain(&network, &address.to_string()), "{}", network);
        }
    }
}
