//! Socket addresses as the system has them: `sockaddr_in`, ip(7), and `sockaddr_in6`, ipv6(7).

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

const AF_INET: u16 = libc::AF_INET as u16;
const AF_INET6: u16 = libc::AF_INET6 as u16;
/// Bytes of a `sockaddr_in`.
const INET_BYTES: usize = 16;
/// Bytes of a `sockaddr_in6`, the longer one.
pub(crate) const MAX_BYTES: usize = 28;

/// The address in a `sockaddr_in` or `sockaddr_in6`; IPv4-mapped ones as IPv4.
#[inline]
pub(crate) fn decode(name: &[u8]) -> SocketAddr {
    match *name {
        [f0, f1, p0, p1, a, b, c, d, ..] if u16::from_ne_bytes([f0, f1]) == AF_INET => {
            SocketAddr::from(([a, b, c, d], u16::from_be_bytes([p0, p1])))
        }
        [f0, f1, p0, p1, _, _, _, _, ref rest @ ..] if u16::from_ne_bytes([f0, f1]) == AF_INET6 => {
            let port = u16::from_be_bytes([p0, p1]);
            let address = rest
                .first_chunk::<16>()
                .map_or(Ipv6Addr::UNSPECIFIED, |bytes| Ipv6Addr::from(*bytes));
            let scope = rest
                .get(16..)
                .and_then(<[u8]>::first_chunk)
                .map_or(0, |bytes| u32::from_ne_bytes(*bytes));
            match address.to_ipv4_mapped() {
                Some(address) => SocketAddr::from((address, port)),
                None => SocketAddrV6::new(address, port, 0, scope).into(),
            }
        }
        // A UDP socket of either family names no other sender.
        _ => SocketAddr::from(([0, 0, 0, 0], 0)),
    }
}

/// Writes the address; returns its length.
#[inline]
pub(crate) fn encode(address: SocketAddr, name: &mut [u8; MAX_BYTES]) -> usize {
    *name = [0; MAX_BYTES];
    name[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address {
        SocketAddr::V4(address) => {
            name[0..2].copy_from_slice(&AF_INET.to_ne_bytes());
            name[4..8].copy_from_slice(&address.ip().octets());
            INET_BYTES
        }
        SocketAddr::V6(address) => {
            name[0..2].copy_from_slice(&AF_INET6.to_ne_bytes());
            name[8..24].copy_from_slice(&address.ip().octets());
            name[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
            MAX_BYTES
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes() {
        let mut name = [0xff; MAX_BYTES];
        for (text, bytes) in [("192.0.2.1:2055", 16), ("[2001:db8::1]:4739", 28)] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(encode(address, &mut name), bytes);
            assert_eq!(decode(&name[..bytes]), address);
        }
        let scoped = SocketAddrV6::new("fe80::1".parse().unwrap(), 9995, 0, 3).into();
        assert_eq!(encode(scoped, &mut name), 28);
        assert_eq!(decode(&name), scoped);
    }
}
