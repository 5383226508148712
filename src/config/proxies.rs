//! `server.trusted_proxies`: who may say for whom it speaks.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use ipnet::Ipv4Net;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::config::text;

/// What stands for all peers of the unix socket.
const UNIX: &str = "unix";

/// Peers that are believed when they say for whom they speak.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Proxies(Vec<Proxy>);

impl Proxies {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a peer of this address is one of them; a peer of the unix socket has none. An IPv4
    /// address inside IPv6 is to be given as IPv4.
    #[must_use]
    pub fn contain(&self, address: Option<IpAddr>) -> bool {
        self.0.iter().any(|proxy| match (proxy, address) {
            (Proxy::Unix, None) => true,
            (Proxy::Network(network), Some(address)) => network.contains(&address),
            _ => false,
        })
    }
}

/// A peer, or a network of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
enum Proxy {
    /// Every peer of the unix socket.
    Unix,
    /// Every peer with an address in this network.
    Network(IpNet),
}

impl FromStr for Proxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == UNIX {
            return Ok(Self::Unix);
        }
        let network = text.parse().or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)));
        let Ok(network) = network else {
            let form =
                "write an IP address, a network or `unix`, like `10.0.0.1`, `10.0.0.0/8` or `fd00::/8`";
            return Err(format!("`{text}` is not a proxy; {form}"));
        };
        // Most likely one of the two numbers is not what was meant.
        if network.addr() != network.network() {
            let network = network.trunc();
            return Err(format!("`{text}` has an address where its network belongs; write `{network}`"));
        }
        Ok(Self::Network(canonical(network)))
    }
}

/// A network of IPv4 addresses inside IPv6 as one of IPv4, as peers are compared with it.
fn canonical(network: IpNet) -> IpNet {
    let IpAddr::V4(address) = network.addr().to_canonical() else { return network };
    let prefix = if network.addr().is_ipv6() { network.prefix_len().checked_sub(96) } else { None };
    prefix.and_then(|prefix| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix => f.write_str(UNIX),
            Self::Network(one) if one.prefix_len() == one.max_prefix_len() => one.addr().fmt(f),
            Self::Network(network) => network.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Proxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

impl From<Proxy> for String {
    fn from(proxy: Proxy) -> Self {
        proxy.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(texts: &[&str]) -> Proxies {
        Proxies(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn contain(proxies: &Proxies, address: &str) -> bool {
        proxies.contain(Some(address.parse().unwrap()))
    }

    #[test]
    fn proxies_are_addresses_networks_and_the_unix_socket() {
        let some = proxies(&["10.1.0.0/16", "192.0.2.7", "fd00::/8", "::1", "unix"]);
        for address in ["10.1.0.0", "10.1.255.255", "192.0.2.7", "fd00::7", "::1"] {
            assert!(contain(&some, address), "{address}");
        }
        for address in ["10.2.0.0", "192.0.2.8", "fc00::7", "::2", "127.0.0.1"] {
            assert!(!contain(&some, address), "{address}");
        }
        assert!(some.contain(None));
        assert!(!proxies(&["0.0.0.0/0", "::/0"]).contain(None));
        assert!(!contain(&Proxies::default(), "127.0.0.1") && !Proxies::default().contain(None));
    }

    #[test]
    fn ipv4_inside_ipv6_is_ipv4() {
        let some = proxies(&["::ffff:10.0.0.0/104", "::ffff:192.0.2.7"]);
        assert!(contain(&some, "10.1.2.3") && contain(&some, "192.0.2.7") && !contain(&some, "11.0.0.0"));
    }

    #[test]
    fn what_is_not_a_proxy_is_refused_with_the_way_to_write_one() {
        for text in ["", "*", "all", "localhost", "10.0.0.0/33", "10.0.0.1:80", "[::1]", "10.0.0", "UNIX"] {
            let refusal = text.parse::<Proxy>().unwrap_err();
            assert!(
                refusal.starts_with(&format!("`{text}` is not a proxy; write an IP address")),
                "{refusal}"
            );
        }
        let refusal = "`10.0.0.1/8` has an address where its network belongs; write `10.0.0.0/8`";
        assert_eq!("10.0.0.1/8".parse::<Proxy>(), Err(refusal.to_owned()));
    }

    #[test]
    fn a_proxy_is_written_as_it_was_read() {
        for text in ["unix", "10.0.0.1", "10.0.0.0/8", "::1", "fd00::/8", "0.0.0.0/0"] {
            assert_eq!(text.parse::<Proxy>().unwrap().to_string(), text);
        }
    }
}
