//! Who is at the other end of a connection, and for whom it speaks.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::HeaderMap;

use crate::config::Proxies;

/// The header in which proxies say for whom they speak; each adds the address of its own peer at
/// the end.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The peer of a connection: an extension of every request that comes over it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Its address; none over a unix socket.
    address: Option<IpAddr>,
    /// Who else is believed, if the peer is.
    proxies: Option<Arc<Proxies>>,
}

impl Peer {
    /// The peer with this address, which is believed if it is one of `proxies`.
    pub(super) fn new(address: Option<IpAddr>, proxies: &Arc<Proxies>) -> Self {
        Self { address, proxies: proxies.contain(address).then(|| proxies.clone()) }
    }

    /// A proxy whose client nobody knows: what the client says of itself must not pass for the
    /// word of the proxy.
    pub(super) fn unknown(address: Option<IpAddr>) -> Self {
        Self { address, proxies: None }
    }

    /// The address that the connection itself counts for; none of a trusted proxy, whose connections
    /// are those of many.
    pub(super) fn own(&self) -> Option<IpAddr> {
        self.address.filter(|_| self.proxies.is_none())
    }

    /// The address of the client that has sent a request with these headers: the peer's own, or the
    /// one that trusted proxies say.
    ///
    /// It is looked for from the right, as everything left of what a trusted proxy has written may
    /// have been written by anybody.
    #[must_use]
    pub(super) fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let Some(proxies) = &self.proxies else { return self.address };
        let hops = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .rev()
            .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut client = self.address;
        for hop in hops {
            let Some(address) = parse(hop) else { break };
            client = Some(address);
            if !proxies.contain(client) {
                break;
            }
        }
        client
    }
}

/// An address as proxies write it: some with a port, some with the brackets of IPv6.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whom a peer at `address` speaks for with these lines of the header, if those of `10.0.0.0/8`
    /// and of the unix socket are trusted.
    fn client(address: &str, lines: &[&str]) -> String {
        let server = "trusted_proxies = ['10.0.0.0/8', 'fd00::/8', 'unix']";
        let proxies = Arc::new(toml::from_str::<crate::config::Server>(server).unwrap().trusted_proxies);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let client = Peer::new(address.parse().ok(), &proxies).client(&headers);
        client.map_or_else(|| "none".to_owned(), |address| address.to_string())
    }

    #[test]
    fn a_peer_that_is_not_trusted_speaks_for_itself() {
        for line in ["192.0.2.1", "10.0.0.1", "192.0.2.1, 10.0.0.1", "unknown", ""] {
            assert_eq!(client("198.51.100.7", &[line]), "198.51.100.7", "{line}");
        }
        assert_eq!(client("2001:db8::7", &[]), "2001:db8::7");
    }

    #[test]
    fn a_trusted_proxy_speaks_for_the_last_one_that_is_not() {
        for (lines, expected) in [
            (vec![], "10.0.0.9"),
            (vec!["192.0.2.1"], "192.0.2.1"),
            (vec!["203.0.113.5, 192.0.2.1"], "192.0.2.1"),
            (vec!["203.0.113.5, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            (vec!["192.0.2.1,10.0.0.2 ,fd00::3"], "192.0.2.1"),
            (vec!["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (vec!["203.0.113.5", "192.0.2.1", "10.0.0.2"], "192.0.2.1"),
            (vec!["192.0.2.1", "203.0.113.5, 10.0.0.2"], "203.0.113.5"),
        ] {
            assert_eq!(client("10.0.0.9", &lines), expected, "{lines:?}");
        }
        assert_eq!(client("none", &["192.0.2.1"]), "192.0.2.1", "a peer of the unix socket");
        assert_eq!(client("none", &[]), "none");
    }

    #[test]
    fn what_is_no_address_ends_the_search_at_the_last_good_one() {
        for (line, expected) in [
            ("", "10.0.0.9"),
            ("unknown", "10.0.0.9"),
            ("192.0.2.1, unknown", "10.0.0.9"),
            ("192.0.2.1, unknown, 10.0.0.2", "10.0.0.2"),
            ("192.0.2.1,,10.0.0.2", "10.0.0.2"),
            ("192.0.2.1, \u{e9}, 10.0.0.2, 10.0.0.1", "10.0.0.2"),
            ("192.0.2.256", "10.0.0.9"),
            ("unknown, 192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(client("10.0.0.9", &[line]), expected, "{line}");
        }
    }

    #[test]
    fn addresses_are_read_in_the_forms_that_proxies_write() {
        for (hop, expected) in [
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("\t192.0.2.1  ", "192.0.2.1"),
            ("::ffff:10.0.0.2", "10.0.0.2"),
        ] {
            assert_eq!(client("10.0.0.9", &[hop]), expected, "{hop}");
        }
    }

    #[test]
    fn a_proxy_that_does_not_know_its_client_speaks_for_nobody() {
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED_FOR, "192.0.2.1".parse().unwrap());
        let address = "10.0.0.9".parse().ok();
        assert_eq!(Peer::unknown(address).client(&headers), address);
    }
}
