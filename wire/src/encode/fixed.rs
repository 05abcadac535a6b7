//! NetFlow v1, v5 and v7 messages, written.
//!
//! The layouts are those of [`crate::fixed`].

use std::net::Ipv4Addr;

use super::EncodeError;
use crate::fixed::{Header, Version};

/// A record of v1, v5 or v7. What the version does not have is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FixedRecord {
    /// Where the packets came from.
    pub source: Ipv4Addr,
    /// Where they went to.
    pub destination: Ipv4Addr,
    /// The next router.
    pub next_hop: Ipv4Addr,
    /// Index of the interface they came in by.
    pub input: u16,
    /// Index of the interface they went out by.
    pub output: u16,
    /// How many packets.
    pub packets: u32,
    /// How many bytes.
    pub octets: u32,
    /// Uptime of the exporter at the first packet.
    pub first_ms: u32,
    /// Uptime of the exporter at the last packet.
    pub last_ms: u32,
    /// Transport port at the source.
    pub source_port: u16,
    /// Transport port at the destination, or ICMP's `type * 256 + code`.
    pub destination_port: u16,
    /// All TCP flags seen.
    pub tcp_flags: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// IP type of service.
    pub tos: u8,
    /// AS number of the source (v5, v7).
    pub source_as: u16,
    /// AS number of the destination (v5, v7).
    pub destination_as: u16,
    /// Prefix length of the source (v5, v7).
    pub source_mask: u8,
    /// Prefix length of the destination (v5, v7).
    pub destination_mask: u8,
    /// The router that the switch short-cuts (v7).
    pub router: Ipv4Addr,
}

/// Writes a v1, v5 or v7 message into `out`, which is cleared. The header's count is that of the `records`.
///
/// # Errors
///
/// The records do not fit into one message. What is in the buffer is none then.
pub fn fixed(
    out: &mut Vec<u8>,
    header: &Header,
    records: impl IntoIterator<Item = FixedRecord>,
) -> Result<(), EncodeError> {
    let version = header.version;
    out.clear();
    out.extend([0, version.number(), 0, 0]);
    out.extend(header.uptime_ms.to_be_bytes());
    out.extend(header.unix_secs.to_be_bytes());
    out.extend(header.unix_nsecs.to_be_bytes());
    if version != Version::V1 {
        out.extend(header.flow_sequence.0.to_be_bytes());
        out.extend([header.engine_type, header.engine_id]);
        out.extend(header.sampling.to_be_bytes());
    }
    let mut count = 0_usize;
    for record in records {
        record.write(version, out);
        count += 1;
    }
    let length = out.len();
    match (u16::try_from(count), out.get_mut(2..4)) {
        (Ok(count), Some(place)) if length <= usize::from(u16::MAX) => {
            place.copy_from_slice(&count.to_be_bytes());
            Ok(())
        }
        _ => Err(EncodeError::TooLong { length }),
    }
}

impl FixedRecord {
    fn write(&self, version: Version, out: &mut Vec<u8>) {
        for address in [self.source, self.destination, self.next_hop] {
            out.extend(address.octets());
        }
        for interface in [self.input, self.output] {
            out.extend(interface.to_be_bytes());
        }
        for counter in [self.packets, self.octets, self.first_ms, self.last_ms] {
            out.extend(counter.to_be_bytes());
        }
        for port in [self.source_port, self.destination_port] {
            out.extend(port.to_be_bytes());
        }
        if version == Version::V1 {
            out.extend([0, 0, self.protocol, self.tos, self.tcp_flags]);
            out.extend([0; 11]);
            return;
        }
        out.extend([0, self.tcp_flags, self.protocol, self.tos]);
        for number in [self.source_as, self.destination_as] {
            out.extend(number.to_be_bytes());
        }
        out.extend([self.source_mask, self.destination_mask, 0, 0]);
        if version == Version::V7 {
            out.extend(self.router.octets());
        }
    }
}
