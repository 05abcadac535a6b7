//! How long a packet may be on its way to a destination.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::packet::{IPV4_LEAST_MTU, IPV6_LEAST_MTU};
use crate::sys;

/// How long what the system said is taken for granted. A path that got narrower shows at once,
/// by a refused send.
const FRESH: Duration = Duration::from_secs(10);
/// Destinations that are remembered.
const MAX_PATHS: usize = 4096;
/// Every IPv4 host takes datagrams of this length, RFC 1122, section 3.3.2: what is assumed
/// where there is no way to a destination.
const IPV4_UNKNOWN_MTU: usize = 576;
/// No IP packet is longer, whatever loopback takes.
const MAX_PACKET_BYTES: usize = 65_535;

/// The longest packet for each destination.
#[derive(Debug)]
pub(super) struct Paths {
    /// In the order of the addresses.
    known: Vec<Path>,
}

#[derive(Debug)]
struct Path {
    destination: IpAddr,
    mtu: usize,
    /// When the system is asked again.
    until: Instant,
}

impl Paths {
    pub(super) fn new() -> Self {
        Self {
            known: Vec::with_capacity(64),
        }
    }

    /// The longest packet that goes to `destination`.
    #[inline]
    pub(super) fn mtu(&mut self, destination: SocketAddr, now: Instant) -> usize {
        let address = destination.ip();
        match self.place(address) {
            Ok(at) => match self.known.get(at) {
                Some(path) if now < path.until => path.mtu,
                _ => self.learn(destination, now),
            },
            Err(_) => self.learn(destination, now),
        }
    }

    /// Asks the system again.
    #[cold]
    pub(super) fn learn(&mut self, destination: SocketAddr, now: Instant) -> usize {
        let mtu = match ask(destination) {
            Ok(mtu) => mtu.min(MAX_PACKET_BYTES),
            Err(_) if destination.is_ipv4() => IPV4_UNKNOWN_MTU,
            Err(_) => IPV6_LEAST_MTU,
        };
        let mtu = mtu.max(match destination {
            SocketAddr::V4(_) => IPV4_LEAST_MTU,
            SocketAddr::V6(_) => IPV6_LEAST_MTU,
        });
        let path = Path {
            destination: destination.ip(),
            mtu,
            until: now + FRESH,
        };
        match self.place(path.destination) {
            Ok(at) => {
                if let Some(known) = self.known.get_mut(at) {
                    *known = path;
                }
            }
            Err(_) if self.known.len() >= MAX_PATHS => {
                self.known.clear();
                self.known.push(path);
            }
            Err(at) => self.known.insert(at, path),
        }
        mtu
    }

    fn place(&self, address: IpAddr) -> Result<usize, usize> {
        self.known
            .binary_search_by(|path| path.destination.cmp(&address))
    }
}

/// What the system says: the smaller of the interface's and the route's MTU, and of what
/// routers on the way reported to this machine.
fn ask(destination: SocketAddr) -> io::Result<usize> {
    let any: IpAddr = match destination {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(destination)?;
    sys::path_mtu(socket.as_fd(), destination.is_ipv6())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test is at the edge")]
    fn loopback_takes_the_longest_packet() {
        let mut paths = Paths::new();
        let now = Instant::now();
        let destination = SocketAddr::from(([127, 0, 0, 1], 2055));
        assert_eq!(paths.mtu(destination, now), MAX_PACKET_BYTES);
        assert_eq!(paths.mtu(destination, now + FRESH * 2), MAX_PACKET_BYTES);
        assert_eq!(paths.known.len(), 1);
        assert!(paths.known[0].until > now + FRESH * 2);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test is at the edge")]
    fn no_more_paths_are_remembered_than_the_limit() {
        let mut paths = Paths::new();
        let now = Instant::now();
        for host in 0..5000_u32 {
            let address = Ipv4Addr::from_bits(0x7f00_0001 + host);
            let mtu = paths.mtu((address, 2055).into(), now);
            assert_eq!(mtu, MAX_PACKET_BYTES);
            assert!(paths.known.len() <= MAX_PATHS);
        }
    }
}
