//! From a captured frame to the UDP datagram in it: link layer, IP, UDP.
//!
//! Positions are offsets into the frame. A checksum is never looked at: captures
//! taken at the sender have none, and rewritten ones have wrong ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use super::bytes::{Order, array};

/// Tags (802.1Q, 802.1ad) before the network layer.
const MAX_VLAN_TAGS: usize = 8;
/// Extension headers before the UDP header.
const MAX_EXTENSION_HEADERS: usize = 16;

const UDP: u8 = 17;

/// A link layer that can carry IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// An address family in the byte order of the capturing machine, or in network order.
    Null,
    Ethernet,
    RawIp,
    LinuxCooked1,
    LinuxCooked2,
}

impl Link {
    /// The link layer with this LINKTYPE number.
    pub(crate) fn from_type(link_type: u32) -> Option<Self> {
        Some(match link_type {
            0 | 108 => Self::Null,
            1 => Self::Ethernet,
            12 | 14 | 101 | 228 | 229 => Self::RawIp,
            113 => Self::LinuxCooked1,
            276 => Self::LinuxCooked2,
            _ => return None,
        })
    }
}

/// What a frame turned out to hold.
#[derive(Debug)]
pub(crate) enum Found {
    /// A whole UDP datagram.
    Udp(Udp),
    /// A part of an IP datagram that may become UDP.
    Fragment(Fragment),
    NotIp,
    NotUdp,
    /// Lengths that contradict each other, or an unfinished header chain.
    Malformed,
    /// The frame ends before what its headers announce.
    Short,
}

/// Where the payload is and whose it is.
#[derive(Debug)]
pub(crate) struct Udp {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) payload: Range<usize>,
}

/// Which datagram a fragment belongs to. RFC 791: addresses, identification and
/// protocol; RFC 8200, section 4.5: addresses and identification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FragmentKey {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) identification: u32,
    /// 0 for IPv6.
    protocol: u8,
}

#[derive(Debug)]
pub(crate) struct Fragment {
    pub(crate) key: FragmentKey,
    /// What the fragmentable part begins with.
    pub(crate) next_header: u8,
    /// Where in the datagram it goes, in bytes.
    pub(crate) offset: usize,
    pub(crate) more: bool,
    /// Where in the frame it is.
    pub(crate) payload: Range<usize>,
}

/// Finds the UDP datagram in a frame.
#[inline]
pub(crate) fn find(link: Link, frame: &[u8]) -> Found {
    match network_layer(link, frame) {
        Ok(at) => ip(frame, at),
        Err(found) => found,
    }
}

/// Where the IP header begins.
fn network_layer(link: Link, frame: &[u8]) -> Result<usize, Found> {
    match link {
        Link::RawIp => Ok(0),
        Link::Ethernet => ether_type(frame, 12),
        Link::LinuxCooked1 => ether_type(frame, 14),
        Link::LinuxCooked2 => match ether_type_at(frame, 0)? {
            0x0800 | 0x86dd => Ok(20),
            // A tag's four bytes follow the header.
            0x8100 | 0x88a8 | 0x9100 => ether_type(frame, 22),
            _ => Err(Found::NotIp),
        },
        Link::Null => {
            let family = Order::Little.u32(frame, 0).ok_or(Found::Short)?;
            match family {
                // AF_INET; AF_INET6 of Linux, NetBSD, FreeBSD and macOS.
                2 | 10 | 24 | 28 | 30 => Ok(4),
                _ => match family.swap_bytes() {
                    2 | 10 | 24 | 28 | 30 => Ok(4),
                    _ => Err(Found::NotIp),
                },
            }
        }
    }
}

/// The network layer after the EtherType at `at`, tags skipped.
fn ether_type(frame: &[u8], mut at: usize) -> Result<usize, Found> {
    for _ in 0..=MAX_VLAN_TAGS {
        match ether_type_at(frame, at)? {
            0x0800 | 0x86dd => return Ok(at + 2),
            0x8100 | 0x88a8 | 0x9100 => at += 4,
            _ => return Err(Found::NotIp),
        }
    }
    Err(Found::NotIp)
}

fn ether_type_at(frame: &[u8], at: usize) -> Result<u16, Found> {
    Order::Big.u16(frame, at).ok_or(Found::Short)
}

/// Finds the UDP datagram in a frame whose IP header is at `at`.
#[inline]
pub(crate) fn ip(frame: &[u8], at: usize) -> Found {
    match frame.get(at).map(|byte| byte >> 4) {
        Some(4) => ipv4(frame, at),
        Some(6) => ipv6(frame, at),
        Some(_) => Found::NotIp,
        None => Found::Short,
    }
}

/// RFC 791, section 3.1.
fn ipv4(frame: &[u8], at: usize) -> Found {
    let Some(header) = array::<20>(frame, at) else {
        return Found::Short;
    };
    let [
        version_length,
        _,
        total_0,
        total_1,
        identification_0,
        identification_1,
        flags_0,
        flags_1,
        _,
        protocol,
        _,
        _,
        addresses @ ..,
    ] = header;
    if protocol != UDP {
        return Found::NotUdp;
    }
    let header_bytes = usize::from(version_length & 0x0f) * 4;
    // Captured before segmentation offload, the total length is not filled in yet.
    let total = match usize::from(u16::from_be_bytes([total_0, total_1])) {
        0 => frame.len().saturating_sub(at),
        total => total,
    };
    if header_bytes < 20 || total < header_bytes {
        return Found::Malformed;
    }
    let (start, end) = (at + header_bytes, at + total);
    if end > frame.len() {
        return Found::Short;
    }
    let [s0, s1, s2, s3, d0, d1, d2, d3] = addresses;
    let source = IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3));
    let destination = IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3));

    let flags = u16::from_be_bytes([flags_0, flags_1]);
    let (offset, more) = (usize::from(flags & 0x1fff) * 8, flags & 0x2000 != 0);
    if offset > 0 || more {
        let identification = u16::from_be_bytes([identification_0, identification_1]);
        return Found::Fragment(Fragment {
            key: FragmentKey {
                source,
                destination,
                identification: u32::from(identification),
                protocol,
            },
            next_header: protocol,
            offset,
            more,
            payload: start..end,
        });
    }
    udp(frame, start..end, source, destination)
}

/// RFC 8200, section 3.
fn ipv6(frame: &[u8], at: usize) -> Found {
    let Some(header) = array::<40>(frame, at) else {
        return Found::Short;
    };
    let start = at + 40;
    // Zero in a jumbogram, and before segmentation offload.
    let end = match Order::Big.u16(&header, 4) {
        None | Some(0) => frame.len(),
        Some(length) => start + usize::from(length),
    };
    let [_, _, _, _, _, _, next_header, ..] = header;
    let (Some(source), Some(destination)) = (array::<16>(&header, 8), array::<16>(&header, 24))
    else {
        return Found::Short;
    };
    let source = Ipv6Addr::from(source).to_canonical();
    let destination = Ipv6Addr::from(destination).to_canonical();
    transport(frame, start..end, next_header, source, destination)
}

/// Follows extension headers to the UDP header. `part` may end behind the frame.
pub(crate) fn transport(
    frame: &[u8],
    part: Range<usize>,
    mut next_header: u8,
    source: IpAddr,
    destination: IpAddr,
) -> Found {
    let Range { start: mut at, end } = part;
    for _ in 0..=MAX_EXTENSION_HEADERS {
        let header_bytes = match next_header {
            UDP if end > frame.len() => return Found::Short,
            UDP => return udp(frame, at..end, source, destination),
            // Hop-by-hop, routing and destination options; authentication; fragment.
            0 | 43 | 60 | 51 | 44 if at + 8 > end => return Found::Malformed,
            0 | 43 | 60 | 51 | 44 => {
                let Some([next, length, field @ ..]) = array::<8>(frame, at) else {
                    return Found::Short;
                };
                if next_header == 44 {
                    let [offset_0, offset_1, identification @ ..] = field;
                    let offset_more = u16::from_be_bytes([offset_0, offset_1]);
                    // An atomic fragment (RFC 6946) is the whole datagram.
                    if offset_more & 0xfff9 != 0 {
                        return fragment6(
                            frame,
                            at + 8..end,
                            next,
                            offset_more,
                            FragmentKey {
                                source,
                                destination,
                                identification: u32::from_be_bytes(identification),
                                protocol: 0,
                            },
                        );
                    }
                }
                let bytes = match next_header {
                    44 => 8,
                    51 => (usize::from(length) + 2) * 4,
                    _ => (usize::from(length) + 1) * 8,
                };
                next_header = next;
                bytes
            }
            _ => return Found::NotUdp,
        };
        at += header_bytes;
        if at > end {
            return Found::Malformed;
        }
    }
    Found::Malformed
}

fn fragment6(
    frame: &[u8],
    payload: Range<usize>,
    next_header: u8,
    offset_more: u16,
    key: FragmentKey,
) -> Found {
    match next_header {
        UDP | 0 | 43 | 51 | 60 if payload.end > frame.len() => Found::Short,
        UDP | 0 | 43 | 51 | 60 => Found::Fragment(Fragment {
            key,
            next_header,
            offset: usize::from(offset_more & 0xfff8),
            more: offset_more & 1 != 0,
            payload,
        }),
        _ => Found::NotUdp,
    }
}

/// RFC 768. `part` is inside the frame.
fn udp(frame: &[u8], part: Range<usize>, source: IpAddr, destination: IpAddr) -> Found {
    let Range { start, end } = part;
    if start + 8 > end {
        return Found::Malformed;
    }
    let (Some(source_port), Some(destination_port), Some(length)) = (
        Order::Big.u16(frame, start),
        Order::Big.u16(frame, start + 2),
        Order::Big.u16(frame, start + 4),
    ) else {
        return Found::Short;
    };
    let end = match usize::from(length) {
        // A jumbogram (RFC 2675), or before segmentation offload.
        0 => end,
        length if length < 8 || start + length > end => return Found::Malformed,
        length => start + length,
    };
    Found::Udp(Udp {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
        payload: start + 8..end,
    })
}
