//! IP and UDP headers, made: RFC 791, RFC 8200, RFC 768.
//!
//! ```text
//! IPv4 (20) │ UDP (8) │ payload            IPv4 (20)                │ a part of the datagram
//! IPv6 (40) │ UDP (8) │ payload            IPv6 (40) │ fragment (8) │ a part of the datagram
//! ```

use std::net::IpAddr;

/// The longest head of a packet: IPv6, fragment and UDP header.
pub(crate) const MAX_HEAD_BYTES: usize = IPV6_BYTES + FRAGMENT_BYTES + UDP_BYTES;
/// Every IPv4 network takes packets of this length: RFC 791, section 3.2.
pub(crate) const IPV4_LEAST_MTU: usize = 68;
/// Every IPv6 network takes packets of this length: RFC 8200, section 5.
pub(crate) const IPV6_LEAST_MTU: usize = 1280;

const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const FRAGMENT_BYTES: usize = 8;
/// A UDP header.
pub(crate) const UDP_BYTES: usize = 8;
const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
const HOPS: u8 = 64;
const DO_NOT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;

/// The addresses of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    V4([u8; 4], [u8; 4]),
    V6([u8; 16], [u8; 16]),
}

impl Ends {
    /// `None` if one address is IPv4 and the other IPv6. An IPv4-mapped address is IPv4.
    #[inline]
    pub(crate) fn new(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source.to_canonical(), destination.to_canonical()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Some(Self::V4(source.octets(), destination.octets()))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Some(Self::V6(source.octets(), destination.octets()))
            }
            _ => None,
        }
    }

    /// The UDP header with its checksum; `None` if no IP packet holds so long a payload.
    #[inline]
    pub(crate) fn udp_header(
        &self,
        source_port: u16,
        destination_port: u16,
        payload: &[u8],
    ) -> Option<[u8; UDP_BYTES]> {
        let udp_bytes = u16::try_from(payload.len() + UDP_BYTES).ok()?;
        if let Self::V4(..) = self {
            udp_bytes.checked_add(IPV4_BYTES as u16)?;
        }
        let mut udp = [0; UDP_BYTES];
        udp[0..2].copy_from_slice(&source_port.to_be_bytes());
        udp[2..4].copy_from_slice(&destination_port.to_be_bytes());
        udp[4..6].copy_from_slice(&udp_bytes.to_be_bytes());
        // RFC 768: a sum of zero is sent as all ones, for zero says that there is none.
        let sum = self.pseudo_header(udp_bytes).add(&udp).add(payload);
        udp[6..8].copy_from_slice(&match sum.checksum() {
            [0, 0] => [0xff, 0xff],
            checksum => checksum,
        });
        Some(udp)
    }

    /// Whether a UDP datagram with its header has the right checksum. None, zero, is right with
    /// IPv4 only: RFC 8200, section 8.1.
    #[inline]
    pub(crate) fn has_right_checksum(&self, datagram: &[u8]) -> bool {
        let Ok(bytes) = u16::try_from(datagram.len()) else {
            return false;
        };
        match datagram {
            [_, _, _, _, _, _, 0, 0, ..] => matches!(self, Self::V4(..)),
            _ => self.pseudo_header(bytes).add(datagram).checksum() == [0, 0],
        }
    }

    /// The sum of addresses, protocol and length, which a UDP checksum is over besides the
    /// datagram: RFC 768 and RFC 8200, section 8.1.
    #[inline]
    fn pseudo_header(&self, udp_bytes: u16) -> Sum {
        let addresses = match self {
            Self::V4(source, destination) => Sum::default().add(source).add(destination),
            Self::V6(source, destination) => Sum::default().add(source).add(destination),
        };
        let [high, low] = udp_bytes.to_be_bytes();
        addresses.add(&[0, UDP, high, low])
    }
}

/// Whether the checksum of the IPv4 header that the packet begins with is right; what begins
/// with no whole IPv4 header has none.
#[inline]
pub(crate) fn has_right_ipv4_header(packet: &[u8]) -> bool {
    let [version_length @ 0x40..0x50, ..] = packet else {
        return true;
    };
    let bytes = usize::from(version_length & 0x0f) * 4;
    match packet.get(..bytes) {
        Some(header) => Sum::default().add(header).checksum() == [0, 0],
        None => true,
    }
}

/// The beginning of a packet: what comes before the payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    bytes: [u8; MAX_HEAD_BYTES],
    length: u8,
}

impl Head {
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; MAX_HEAD_BYTES],
        length: 0,
    };

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }

    #[inline]
    fn push<const N: usize>(&mut self, part: [u8; N]) {
        let at = usize::from(self.length);
        if let Some(room) = self.bytes.get_mut(at..at + N) {
            room.copy_from_slice(&part);
            self.length += N as u8;
        }
    }
}

/// The packets of a datagram: one, or as many fragments as its path takes.
#[derive(Debug, Clone)]
pub(crate) struct Packets<'a> {
    ends: Ends,
    udp: [u8; UDP_BYTES],
    payload: &'a [u8],
    identification: u32,
    /// Bytes of the datagram that go into each packet.
    step: usize,
    /// Bytes of the datagram that are in packets already.
    done: usize,
}

impl<'a> Packets<'a> {
    /// `udp` is what [`Ends::udp_header`] made of this payload.
    #[inline]
    pub(crate) fn new(
        ends: Ends,
        udp: [u8; UDP_BYTES],
        payload: &'a [u8],
        identification: u32,
        mtu: usize,
    ) -> Self {
        let whole = UDP_BYTES + payload.len();
        let (room, part) = match ends {
            Ends::V4(..) => {
                let room = mtu.max(IPV4_LEAST_MTU) - IPV4_BYTES;
                (room, room)
            }
            Ends::V6(..) => {
                let room = mtu.max(IPV6_LEAST_MTU) - IPV6_BYTES;
                (room, room - FRAGMENT_BYTES)
            }
        };
        Self {
            ends,
            udp,
            payload,
            identification,
            // Every fragment but the last is a multiple of eight bytes long.
            step: if whole <= room { whole } else { part & !7 },
            done: 0,
        }
    }

    /// Writes the next packet's beginning to `head`, and returns the rest of it; `None` after
    /// the last.
    #[inline]
    pub(crate) fn next(&mut self, head: &mut Head) -> Option<&'a [u8]> {
        let whole = UDP_BYTES + self.payload.len();
        if self.done == whole {
            return None;
        }
        let (start, end) = (self.done, whole.min(self.done + self.step));
        self.done = end;
        // Below 65,536, for the UDP header holds it.
        let (offset, bytes) = (start as u16, (end - start) as u16);
        let more = end < whole;
        head.length = 0;
        match self.ends {
            Ends::V4(source, destination) => {
                let more = if more { MORE_FRAGMENTS } else { 0 };
                head.push(ipv4_header(
                    source,
                    destination,
                    bytes + IPV4_BYTES as u16,
                    self.identification as u16,
                    (offset / 8) | more,
                ));
            }
            Ends::V6(source, destination) if start == 0 && !more => {
                head.push(ipv6_header(source, destination, bytes, UDP));
            }
            Ends::V6(source, destination) => {
                let length = bytes + FRAGMENT_BYTES as u16;
                head.push(ipv6_header(source, destination, length, FRAGMENT));
                head.push([UDP, 0]);
                head.push((offset | u16::from(more)).to_be_bytes());
                head.push(self.identification.to_be_bytes());
            }
        }
        let from = match start.checked_sub(UDP_BYTES) {
            Some(from) => from,
            None => {
                head.push(self.udp);
                0
            }
        };
        self.payload.get(from..end - UDP_BYTES)
    }
}

/// The header of an IPv4 datagram that is never fragmented, and so needs no identification
/// (RFC 6864).
pub(crate) fn whole_ipv4_header(
    source: [u8; 4],
    destination: [u8; 4],
    udp_bytes: u16,
) -> [u8; IPV4_BYTES] {
    let total = udp_bytes.saturating_add(IPV4_BYTES as u16);
    ipv4_header(source, destination, total, 0, DO_NOT_FRAGMENT)
}

/// RFC 791, section 3.1, without options.
#[inline]
fn ipv4_header(
    source: [u8; 4],
    destination: [u8; 4],
    total: u16,
    identification: u16,
    flags: u16,
) -> [u8; IPV4_BYTES] {
    let mut header = [0; IPV4_BYTES];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[4..6].copy_from_slice(&identification.to_be_bytes());
    header[6..8].copy_from_slice(&flags.to_be_bytes());
    header[8..10].copy_from_slice(&[HOPS, UDP]);
    header[12..16].copy_from_slice(&source);
    header[16..20].copy_from_slice(&destination);
    let checksum = Sum::default().add(&header).checksum();
    header[10..12].copy_from_slice(&checksum);
    header
}

/// RFC 8200, section 3.
#[inline]
pub(crate) fn ipv6_header(
    source: [u8; 16],
    destination: [u8; 16],
    bytes: u16,
    next_header: u8,
) -> [u8; IPV6_BYTES] {
    let mut header = [0; IPV6_BYTES];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&bytes.to_be_bytes());
    header[6..8].copy_from_slice(&[next_header, HOPS]);
    header[8..24].copy_from_slice(&source);
    header[24..40].copy_from_slice(&destination);
    header
}

/// The one's complement sum of RFC 1071, over parts of even length but the last.
///
/// The words are added as the machine has them: the sum is the same but for the order of its
/// bytes (section 2), and nothing need be turned around on the way.
#[derive(Debug, Clone, Copy, Default)]
struct Sum(u64);

impl Sum {
    /// 65,535 bytes are 16,384 words of 32 bits: 64 bits hold their sum with ease.
    #[inline]
    fn add(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut sum = self.0;
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        Self(sum + u64::from(u32::from_ne_bytes(last)))
    }

    #[inline]
    fn checksum(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        (!(sum as u16)).to_ne_bytes()
    }
}

#[cfg(test)]
mod tests;
