//! Classic pcap, draft-ietf-opsawg-pcap.
//!
//! ```text
//! file    magic u32 · version u16 u16 · reserved u32 u32 · snaplen u32 · link type u32
//! record  seconds u32 · µs or ns u32 · captured length u32 · original length u32 · frame
//! ```
//!
//! The magic tells byte order and time unit. Kuznetzov's modified format, by old
//! Linux distributions' libpcap, has 8 more bytes in the record header.

use super::bytes::{Order, array};

pub(super) const FILE_HEADER_BYTES: usize = 24;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;

/// How the records of one pcap file are to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pcap {
    order: Order,
    unit_ns: u64,
    record_header_bytes: usize,
}

/// What a record header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) received_ns: u64,
    pub(super) captured: u32,
    pub(super) original: u32,
}

impl Pcap {
    /// Recognises a pcap file by its first four bytes.
    pub(super) fn recognise(bytes: &[u8]) -> Option<Self> {
        let magic: [u8; 4] = array(bytes, 0)?;
        [Order::Little, Order::Big].into_iter().find_map(|order| {
            let (unit_ns, record_header_bytes) = match order.u32(&magic, 0)? {
                MICROSECONDS => (1_000, 16),
                NANOSECONDS => (1, 16),
                MODIFIED => (1_000, 24),
                _ => return None,
            };
            Some(Self {
                order,
                unit_ns,
                record_header_bytes,
            })
        })
    }

    /// The link type in a whole file header, without the bits about frame check sequences.
    pub(super) fn link_type(self, file_header: &[u8]) -> Option<u32> {
        Some(self.order.u32(file_header, 20)? & 0x03ff_ffff)
    }

    #[inline]
    pub(super) fn record_header_bytes(self) -> usize {
        self.record_header_bytes
    }

    #[inline]
    pub(super) fn record(self, header: &[u8]) -> Option<Record> {
        let seconds = u64::from(self.order.u32(header, 0)?);
        let fraction = u64::from(self.order.u32(header, 4)?);
        Some(Record {
            received_ns: seconds * 1_000_000_000 + fraction * self.unit_ns,
            captured: self.order.u32(header, 8)?,
            original: self.order.u32(header, 12)?,
        })
    }
}
