//! From packets to the datagrams that are wanted.

use std::net::SocketAddr;
use std::ops::Range;

use super::block::Packet;
use super::filter::Wanted;
use crate::capture::CaptureCounts;
use crate::capture::fragments::Fragments;
use crate::capture::frame::{self, Found, Fragment, Udp};
use crate::packet::{self, Ends};

/// What became of the packets that the kernel's filter let through.
///
/// `packets` = (`datagrams` − `reassembled`) + `fragments` + `elsewhere` + `not_udp` +
/// `malformed` + `truncated` + `checksum`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PacketCounts {
    /// Packets in the ring.
    pub packets: u64,
    /// Datagrams handed over.
    pub datagrams: u64,
    /// Datagrams for other destinations, of which the kernel's filter could not tell.
    pub elsewhere: u64,
    /// Packets of other protocols, of which the kernel's filter could not tell.
    pub not_udp: u64,
    /// Packets with lengths that contradict each other.
    pub malformed: u64,
    /// Packets that are not whole in the ring.
    pub truncated: u64,
    /// Packets with a wrong checksum, of the IPv4 header or of the datagram, or with none where
    /// there must be one.
    pub checksum: u64,
    /// Packets that hold a fragment.
    pub fragments: u64,
    /// Datagrams put together from fragments that were handed over; they are among `datagrams`.
    pub reassembled: u64,
    /// Datagrams dropped because their fragments overlap, contradict each other, are more than
    /// 256, or make no UDP datagram, or one with a wrong checksum.
    pub fragments_malformed: u64,
    /// Datagrams given up because a fragment was missing for 30 s; who they were for is not known.
    pub fragments_expired: u64,
    /// Datagrams given up because too many were unfinished at a time; who they were for is not
    /// known.
    pub fragments_over_limit: u64,
    /// Datagrams put together that were for other destinations.
    pub fragments_elsewhere: u64,
}

/// A datagram whose payload is not borrowed yet.
#[derive(Debug, Clone)]
pub(super) struct Located {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) received_ns: u64,
    pub(super) payload: Range<usize>,
    /// Whether the payload's range is into [`Sieve::assembled`] or into the block.
    pub(super) assembled: bool,
}

/// What packets are held against, and what is kept of them.
pub(super) struct Sieve {
    pub(super) wanted: Wanted,
    /// Datagrams put together from fragments, one after the other.
    pub(super) assembled: Vec<u8>,
    fragments: Fragments,
    counts: PacketCounts,
    /// The counts of fragments, which captures have too.
    of_fragments: CaptureCounts,
}

impl Sieve {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            assembled: Vec::new(),
            fragments: Fragments::default(),
            counts: PacketCounts::default(),
            of_fragments: CaptureCounts::default(),
        }
    }

    pub(super) fn counts(&self) -> PacketCounts {
        let more = self.counts.fragments_malformed;
        PacketCounts {
            fragments_malformed: self.of_fragments.fragments_malformed + more,
            fragments_expired: self.of_fragments.fragments_expired,
            fragments_over_limit: self.of_fragments.fragments_over_limit,
            ..self.counts
        }
    }

    /// Packets that cannot be found in their block.
    #[cold]
    pub(super) fn lose(&mut self, packets: u32) {
        self.counts.packets += u64::from(packets);
        self.counts.malformed += u64::from(packets);
    }

    /// The datagram that the packet holds or completes.
    #[inline]
    pub(super) fn take(&mut self, packet: &Packet<'_>) -> Option<Located> {
        self.counts.packets += 1;
        if !packet::has_right_ipv4_header(packet.bytes) {
            self.counts.checksum += 1;
            return None;
        }
        match frame::ip(packet.bytes, 0) {
            Found::Udp(udp) => {
                if !self.wanted.takes(udp.destination) {
                    self.counts.elsewhere += 1;
                    return None;
                }
                if !packet.has_no_checksum_to_check() && !has_right_checksum(packet.bytes, &udp) {
                    self.counts.checksum += 1;
                    return None;
                }
                self.counts.datagrams += 1;
                Some(Located {
                    source: udp.source,
                    destination: udp.destination,
                    received_ns: packet.received_ns,
                    payload: packet.at + udp.payload.start..packet.at + udp.payload.end,
                    assembled: false,
                })
            }
            Found::Fragment(fragment) => self.put_together(packet, &fragment),
            Found::NotUdp | Found::NotIp => {
                self.counts.not_udp += 1;
                None
            }
            Found::Short if packet.bytes.len() < packet.original => {
                self.counts.truncated += 1;
                None
            }
            Found::Short | Found::Malformed => {
                self.counts.malformed += 1;
                None
            }
        }
    }

    #[cold]
    fn put_together(&mut self, packet: &Packet<'_>, fragment: &Fragment) -> Option<Located> {
        self.counts.fragments += 1;
        let bytes = packet.bytes.get(fragment.payload.clone());
        let next_header = self.fragments.add(
            fragment,
            bytes.unwrap_or_default(),
            packet.received_ns,
            &mut self.of_fragments,
        )?;
        let whole = self.fragments.whole();
        let (source, destination) = (fragment.key.source, fragment.key.destination);
        let found = frame::transport(whole, 0..whole.len(), next_header, source, destination);
        let udp = match found {
            // Who fragments a datagram has made its checksum.
            Found::Udp(udp) if has_right_checksum(whole, &udp) => udp,
            _ => {
                self.counts.fragments_malformed += 1;
                return None;
            }
        };
        if !self.wanted.takes(udp.destination) {
            self.counts.fragments_elsewhere += 1;
            return None;
        }
        self.counts.datagrams += 1;
        self.counts.reassembled += 1;
        let at = self.assembled.len();
        self.assembled.extend(whole.get(udp.payload.clone())?);
        Some(Located {
            source: udp.source,
            destination: udp.destination,
            received_ns: packet.received_ns,
            payload: at..self.assembled.len(),
            assembled: true,
        })
    }
}

fn has_right_checksum(bytes: &[u8], udp: &Udp) -> bool {
    let header = udp.payload.start.saturating_sub(packet::UDP_BYTES);
    let datagram = bytes.get(header..udp.payload.end).unwrap_or_default();
    match Ends::new(udp.source.ip(), udp.destination.ip()) {
        Some(ends) => ends.has_right_checksum(datagram),
        None => false,
    }
}
