//! Who asks, where proxies stand between the asker and this server.
//!
//! Invariant: what a request says about its way counts only as far as servers that the operator trusts have written it. An
//! address is believed if the one that reports it is trusted: the peer first, then each hop from right to left. Whoever
//! reaches the API past the proxies, or puts hops of its own in front, is still known by its real address.
//!
//! Exactly one header is read: a proxy passes on what it does not write, so a client behind one that writes
//! `X-Forwarded-For` may send any `Forwarded` it likes.
//!
//! Sources: RFC 7239 (`Forwarded`); `X-Forwarded-For` as nginx, HAProxy and Envoy append to it.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use actix_web::http::header::{self, HeaderMap, HeaderName};
use ipnet::IpNet;

/// Hops that are looked at: more proxies in a row are a loop or a forgery.
const MAX_HOPS: usize = 32;

/// Addresses whose reports are believed, e.g. `10.0.0.0/8`, `fd00::/8` or `192.0.2.7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "PM-API-005: `{0}` is no network; write an address or a prefix without bits beyond its length, e.g. 10.0.0.0/8, \
     fd00::/8 or 192.0.2.7"
)]
pub struct BadNetwork(String);

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = || BadNetwork(text.to_owned());
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address.to_canonical()),
            Err(_) => text.parse::<IpNet>().map_err(|_| bad())?,
        };
        // 10.1.2.3/8 is a typing error more often than it is meant.
        if network.addr() == network.network() { Ok(Self(network)) } else { Err(bad()) }
    }
}

/// The header in which proxies report the address that they were asked from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

impl FromStr for ProxyHeader {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "x-forwarded-for" => Ok(Self::XForwardedFor),
            "forwarded" => Ok(Self::Forwarded),
            _ => Err(format!("`{text}` is not read; take x-forwarded-for or forwarded")),
        }
    }
}

/// The proxies of this server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    pub trusted: Vec<Network>,
    pub header: ProxyHeader,
}

impl Proxies {
    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.0.contains(&address))
    }

    /// The right-most address on the way that no trusted proxy has; the last proxy's own where the report ends before.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        let name = match self.header {
            ProxyHeader::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            ProxyHeader::Forwarded => header::FORWARDED,
        };
        // A header may come in several lines, which read as one list.
        let lines: Vec<&str> = headers.get_all(name).map(|line| line.to_str().unwrap_or_default()).collect();
        let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
        for hop in hops.take(MAX_HOPS) {
            let reported = match self.header {
                ProxyHeader::XForwardedFor => address(hop.trim()),
                ProxyHeader::Forwarded => forwarded_for(hop),
            };
            // What is not an address (`unknown`, `_hidden`) ends what is known.
            let Some(reported) = reported else { break };
            client = reported;
            if !self.trusts(client) {
                break;
            }
        }
        client
    }
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// `for=192.0.2.43;proto=https` or `For="[2001:db8::1]:4711"`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address(value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn behind(trusted: &[&str], header: ProxyHeader) -> Proxies {
        Proxies { trusted: trusted.iter().map(|network| network.parse().unwrap()).collect(), header }
    }

    fn client(proxies: &Proxies, peer: &str, lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(line).unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    const XFF: &str = "x-forwarded-for";

    #[test]
    fn what_an_untrusted_peer_says_changes_nothing() {
        let spoofed = [(XFF, "198.51.100.1")];
        assert_eq!(client(&Proxies::default(), "127.0.0.1", &spoofed), "127.0.0.1");
        let proxies = behind(&["10.0.0.0/8"], ProxyHeader::XForwardedFor);
        assert_eq!(client(&proxies, "203.0.113.9", &spoofed), "203.0.113.9");
        assert_eq!(client(&proxies, "10.1.2.3", &spoofed), "198.51.100.1");
    }

    #[test]
    fn hops_in_front_of_the_first_untrusted_one_are_the_clients_own_words() {
        let proxies = behind(&["10.0.0.0/8", "fd00::/8"], ProxyHeader::XForwardedFor);
        let way = [(XFF, "1.1.1.1, 10.9.9.9"), (XFF, "198.51.100.1,10.0.0.2 , fd00::5")];
        assert_eq!(client(&proxies, "10.0.0.1", &way), "198.51.100.1");
        assert_eq!(client(&proxies, "10.0.0.1", &[(XFF, "10.0.0.2")]), "10.0.0.2", "all of it is ours");
        assert_eq!(client(&proxies, "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client(&proxies, "10.0.0.1", &[(XFF, "8.8.8.8, unknown, 10.0.0.2")]), "10.0.0.2");
        assert_eq!(client(&proxies, "::ffff:10.0.0.1", &[(XFF, "::ffff:198.51.100.1")]), "198.51.100.1");
        assert_eq!(client(&proxies, "10.0.0.1", &[(XFF, "198.51.100.1:8080")]), "198.51.100.1");
        assert_eq!(client(&proxies, "10.0.0.1", &[(XFF, "[2001:db8::1]:443")]), "2001:db8::1");
    }

    #[test]
    fn only_the_header_that_the_proxies_write_is_read() {
        let forwarded = behind(&["10.0.0.0/8"], ProxyHeader::Forwarded);
        let both = [
            (XFF, "1.1.1.1"),
            (
                "forwarded",
                r#"for=9.9.9.9, For="[2001:db8:cafe::17]:4711";proto=https, for=10.0.0.7;by=10.0.0.1"#,
            ),
        ];
        assert_eq!(client(&forwarded, "10.0.0.1", &both), "2001:db8:cafe::17");
        let x = behind(&["10.0.0.0/8"], ProxyHeader::XForwardedFor);
        assert_eq!(client(&x, "10.0.0.1", &both), "1.1.1.1");
        assert_eq!(client(&forwarded, "10.0.0.1", &[("forwarded", "for=_hidden, proto=https")]), "10.0.0.1");
    }

    #[test]
    fn a_network_is_written_without_bits_beyond_its_length() {
        for good in ["10.0.0.0/8", "192.0.2.7", "fd00::/8", "::1", "0.0.0.0/0"] {
            assert!(good.parse::<Network>().is_ok(), "{good}");
        }
        for bad in ["", "10.1.2.3/8", "10.0.0.0/33", "proxy.example", "10.0.0.0-10.0.0.9"] {
            assert_eq!(bad.parse::<Network>(), Err(BadNetwork(bad.to_owned())), "{bad}");
        }
    }
}
