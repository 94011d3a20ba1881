//! Proxies that are believed when they say for whom they call.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;
use ipnet::IpNet;

use crate::remote::Remote;

/// The header in which proxies say it: each appends the address from which it was called.
const HEADER: &str = "x-forwarded-for";

/// The most addresses that are looked at.
const HOPS_MAX: usize = 16;

/// Their networks. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies(Arc<[IpNet]>);

impl Proxies {
    pub(super) fn new(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    /// Where a request comes from that `peer` has sent: what the outermost trusted proxy has seen.
    /// What stands before that in the header may be anybody's invention.
    pub(super) fn remote(&self, peer: SocketAddr, headers: &HeaderMap) -> Remote {
        let own = Remote::from(peer);
        if !self.trust(own.ip) {
            return own;
        }
        let lines = headers.get_all(HEADER).iter().rev();
        let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        let mut seen = own;
        for hop in hops.take(HOPS_MAX) {
            let Some(remote) = read(hop.trim()) else { break };
            seen = remote;
            if !self.trust(remote.ip) {
                break;
            }
        }
        seen
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address, with or without a port.
fn read(text: &str) -> Option<Remote> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(ip) => Some(Remote { ip: ip.to_canonical(), port: None }),
        Err(_) => text.parse::<SocketAddr>().ok().map(Remote::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(peer: &str, forwarded: &[&str]) -> String {
        let proxies = Proxies::new(&["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(HEADER, line.parse().unwrap());
        }
        proxies.remote(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(remote("203.0.113.7:9", &["198.51.100.1"]), "203.0.113.7:9");
        assert_eq!(remote("10.1.2.3:9", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(remote("[::ffff:10.1.2.3]:9", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(remote("[::1]:9", &["[2001:db8::1]:443"]), "[2001:db8::1]:443");
        assert_eq!(remote("10.1.2.3:9", &[]), "10.1.2.3:9");
    }

    #[test]
    fn what_a_client_has_invented_is_not_believed() {
        assert_eq!(remote("10.1.2.3:9", &["1.1.1.1, 198.51.100.1, 10.9.9.9"]), "198.51.100.1");
        assert_eq!(remote("10.1.2.3:9", &["1.1.1.1", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(remote("10.1.2.3:9", &["1.1.1.1, nonsense"]), "10.1.2.3:9");
        assert_eq!(remote("10.1.2.3:9", &["1.1.1.1, nonsense, 10.9.9.9"]), "10.9.9.9");
        let long = vec!["10.0.0.1"; 1000].join(",");
        assert_eq!(remote("10.1.2.3:9", &[&format!("1.1.1.1,{long}")]), "10.0.0.1");
    }
}
