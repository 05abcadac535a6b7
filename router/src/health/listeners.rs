//! Which UDP addresses of this machine somebody listens on: /proc/net/udp and udp6, proc(5).
//!
//! ```text
//!    sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode …
//!  3512: 0100007F:0807 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 22046 …
//! ```
//!
//! Addresses are words of 32 bits in the machine's byte order, in hexadecimal.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{ANY, file};

/// A state of TCP's that says of a UDP socket that it is not connected: one that is hears its peer only.
const UNCONNECTED: &str = "07";

/// The sockets that are open.
#[derive(Debug)]
pub(super) struct Listeners(Vec<(SocketAddr, u64)>);

impl Listeners {
    /// `None` where the kernel does not tell.
    pub(super) fn read() -> Option<Self> {
        let mut sockets = Vec::new();
        parse(&file("/proc/net/udp")?, &mut sockets);
        // A kernel without IPv6 has no such file.
        parse(&file("/proc/net/udp6").unwrap_or_default(), &mut sockets);
        Some(Self(sockets))
    }

    /// A number for the sockets that hear what is sent to `address`: 0 if there are none.
    pub(super) fn sockets(&self, address: SocketAddr) -> u64 {
        let ip = address.ip().to_canonical();
        let hears = |local: IpAddr| {
            local == ip || ANY.contains(&local) && (local.is_ipv6() || ip.is_ipv4())
        };
        let inodes = self
            .0
            .iter()
            .filter(|(local, _)| local.port() == address.port() && hears(local.ip()))
            .map(|(_, inode)| *inode);
        // The oldest: a program that adds sockets to its own is not another.
        inodes.min().map_or(0, |inode| inode.max(1))
    }
}

fn parse(text: &str, sockets: &mut Vec<(SocketAddr, u64)>) {
    sockets.extend(text.lines().skip(1).filter_map(line));
}

fn line(line: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    if fields.nth(1)? != UNCONNECTED {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let address = SocketAddr::new(ip(address)?, u16::from_str_radix(port, 16).ok()?);
    Some((address, inode))
}

fn ip(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(at..at + 8)?, 16).ok();
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?.to_ne_bytes()).into()),
        32 => {
            let mut octets = [0; 16];
            for (place, at) in octets.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                place.copy_from_slice(&word(at)?.to_ne_bytes());
            }
            Some(IpAddr::from(Ipv6Addr::from(octets)).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_are_read() {
        let text = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            3512: 0100007F:0807 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 22046 2 0000000000000000 0\n\
            3513: 0100007F:0808 0200007F:1000 01 00000000:00000000 00:00000000 00000000     0        0 22047 2 0000000000000000 0\n\
            garbage\n\
            3514: 00000000000000000000000001000000:1283 00000000000000000000000000000000:0000 07 0:0 0:0 0 0 0 9 2 0 0\n\
            3515: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07 0:0 0:0 0 0 0 11 2 0 0\n";
        let mut sockets = Vec::new();
        parse(text, &mut sockets);
        let listeners = Listeners(sockets);
        for (address, expected) in [
            ("127.0.0.1:2055", 22_046),
            ("127.0.0.2:2055", 0),
            ("127.0.0.1:2056", 0),
            ("[::1]:4739", 9),
            ("192.0.2.1:53", 11),
            ("[2001:db8::1]:53", 11),
        ] {
            assert_eq!(
                listeners.sockets(address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn a_socket_of_ours_is_seen_and_its_end_too() {
        for local in ["127.0.0.1:0", "0.0.0.0:0"] {
            let socket = UdpSocket::bind(local).unwrap();
            let port = socket.local_addr().unwrap().port();
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let first = Listeners::read().unwrap().sockets(address);
            assert_ne!(first, 0);
            drop(socket);
            assert_eq!(Listeners::read().unwrap().sockets(address), 0);
        }
    }
}
