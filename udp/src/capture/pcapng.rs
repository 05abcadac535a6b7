//! pcapng, draft-ietf-opsawg-pcapng.
//!
//! ```text
//! block    type u32 · total length u32 · body, padded to 4 · total length u32
//! section  0x0a0d0d0a: byte-order magic u32 · version · length: a new byte order, no interfaces
//! 1        interface: link type u16 · reserved u16 · snaplen u32 · options
//! 2        packet (obsolete): interface u16 · drops u16 · time u32 u32 · captured · original · frame
//! 3        simple packet: original length u32 · frame
//! 6        enhanced packet: interface u32 · time u32 u32 · captured u32 · original u32 · frame · options
//! ```
//!
//! Other blocks are skipped by their length.

use super::bytes::{Order, array};
use super::frame::Link;

pub(super) const SECTION: u32 = 0x0a0d_0d0a;
pub(super) const INTERFACE: u32 = 1;
pub(super) const PACKET: u32 = 2;
pub(super) const SIMPLE_PACKET: u32 = 3;
pub(super) const ENHANCED_PACKET: u32 = 6;

/// Type and length before a block's body, and the length after it.
pub(super) const BLOCK_FRAME_BYTES: u32 = 12;
/// A section header as far as it is needed: type, length, byte-order magic.
pub(super) const SECTION_BYTES: usize = 12;
/// A block's type and length.
pub(super) const BLOCK_HEAD_BYTES: usize = 8;
/// Where a packet block's frame begins.
pub(super) const PACKET_HEADER_BYTES: usize = 28;
/// Where a simple packet block's frame begins.
pub(super) const SIMPLE_HEADER_BYTES: usize = 12;
/// Interface descriptions are looked at up to here.
pub(super) const INTERFACE_BYTES: usize = 1 << 16;
/// Interfaces a section may describe.
const MAX_INTERFACES: usize = 1 << 16;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const OPTION_END: u16 = 0;
const OPTION_TIME_RESOLUTION: u16 = 9;
const OPTION_TIME_OFFSET: u16 = 14;

/// The section that is being read.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) order: Order,
    interfaces: Vec<Interface>,
    /// A simple packet block has no time: it takes the last one seen.
    last_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Interface {
    /// `None`: a link type that cannot carry IP, or that is not known here.
    link: Option<Link>,
    snaplen: u32,
    resolution: Resolution,
    offset_seconds: i64,
}

/// Time units per second.
#[derive(Debug, Clone, Copy)]
enum Resolution {
    /// 10 to this power.
    Decimal(u32),
    /// 2 to this power.
    Binary(u32),
}

/// What a packet block says before its frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct PacketHeader {
    pub(super) link: Option<Link>,
    pub(super) received_ns: u64,
    pub(super) captured: u32,
    pub(super) original: u32,
}

/// Whether a file begins as pcapng does.
pub(super) fn recognise(bytes: &[u8]) -> bool {
    array(bytes, 0) == Some(SECTION.to_be_bytes())
}

impl Section {
    /// Begins a section; `None` if its byte-order magic is neither way round.
    pub(super) fn begin(block: &[u8]) -> Option<Self> {
        let order = [Order::Little, Order::Big]
            .into_iter()
            .find(|order| order.u32(block, 8) == Some(BYTE_ORDER_MAGIC))?;
        Some(Self {
            order,
            interfaces: Vec::new(),
            last_ns: 0,
        })
    }

    /// Takes note of an interface; `false` if there are too many or it is too short.
    pub(super) fn add_interface(&mut self, block: &[u8]) -> bool {
        let Some(interface) = Interface::parse(self.order, block) else {
            return false;
        };
        if self.interfaces.len() >= MAX_INTERFACES {
            return false;
        }
        self.interfaces.push(interface);
        true
    }

    /// Reads the first [`PACKET_HEADER_BYTES`] of an enhanced packet block, or of an
    /// obsolete packet block; `None` if its interface was never described.
    pub(super) fn packet(&mut self, block: &[u8], kind: u32) -> Option<PacketHeader> {
        let order = self.order;
        let index = if kind == PACKET {
            u32::from(order.u16(block, 8)?)
        } else {
            order.u32(block, 8)?
        };
        let interface = self.interfaces.get(usize::try_from(index).ok()?)?;
        let high = u64::from(order.u32(block, 12)?);
        let low = u64::from(order.u32(block, 16)?);
        self.last_ns = interface.nanoseconds(high << 32 | low);
        Some(PacketHeader {
            link: interface.link,
            received_ns: self.last_ns,
            captured: order.u32(block, 20)?,
            original: order.u32(block, 24)?,
        })
    }

    /// Reads the first [`SIMPLE_HEADER_BYTES`] of a simple packet block of `total` bytes;
    /// `None` if the section has no interface.
    pub(super) fn simple_packet(&self, block: &[u8], total: u32) -> Option<PacketHeader> {
        let interface = self.interfaces.first()?;
        let original = self.order.u32(block, 8)?;
        let limit = match interface.snaplen {
            0 => u32::MAX,
            snaplen => snaplen,
        };
        Some(PacketHeader {
            link: interface.link,
            received_ns: self.last_ns,
            captured: original
                .min(limit)
                .min(total.saturating_sub(BLOCK_FRAME_BYTES + 4)),
            original,
        })
    }
}

impl Interface {
    fn parse(order: Order, block: &[u8]) -> Option<Self> {
        let mut interface = Self {
            link: Link::from_type(u32::from(order.u16(block, 8)?)),
            snaplen: order.u32(block, 12)?,
            resolution: Resolution::Decimal(6),
            offset_seconds: 0,
        };
        let mut at = 16;
        // Options: code u16 · length u16 · value, padded to 4.
        while let (Some(code), Some(length)) = (order.u16(block, at), order.u16(block, at + 2)) {
            match (code, length) {
                (OPTION_END, _) => break,
                (OPTION_TIME_RESOLUTION, 1) => {
                    let [value] = array(block, at + 4)?;
                    let power = u32::from(value & 0x7f);
                    interface.resolution = match value & 0x80 {
                        0 => Resolution::Decimal(power),
                        _ => Resolution::Binary(power),
                    };
                }
                (OPTION_TIME_OFFSET, 8) => {
                    interface.offset_seconds = order.u64(block, at + 4)?.cast_signed();
                }
                _ => {}
            }
            at += 4 + usize::from(length).next_multiple_of(4);
        }
        Some(interface)
    }

    /// Time since the Unix epoch; what does not fit 64 bits is held at the nearest end.
    fn nanoseconds(&self, units: u64) -> u64 {
        let since_offset = match self.resolution {
            Resolution::Decimal(power @ 0..=9) => units.saturating_mul(10u64.pow(9 - power)),
            Resolution::Decimal(power) => 10u64
                .checked_pow(power - 9)
                .map_or(0, |divisor| units / divisor),
            Resolution::Binary(power) => {
                let nanoseconds = (u128::from(units) * 1_000_000_000) >> power;
                u64::try_from(nanoseconds).unwrap_or(u64::MAX)
            }
        };
        since_offset.saturating_add_signed(self.offset_seconds.saturating_mul(1_000_000_000))
    }
}
