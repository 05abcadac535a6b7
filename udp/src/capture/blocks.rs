//! The blocks of a pcapng file that is written, draft-ietf-opsawg-pcapng: little-endian, of one
//! interface, whose time unit is the nanosecond.
//!
//! ```text
//! section │ interface │ enhanced packet … │ interface statistics
//! ```

use super::pcapng::{BLOCK_FRAME_BYTES, ENHANCED_PACKET, INTERFACE, PACKET_HEADER_BYTES, SECTION};
use super::writer::CaptureStatistics;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const STATISTICS: u32 = 5;
const OPTION_END: u16 = 0;
/// `shb_userappl`: what wrote the file.
const OPTION_APPLICATION: u16 = 4;
/// `if_tsresol`
const OPTION_TIME_RESOLUTION: u16 = 9;
/// `isb_starttime`, `isb_endtime`
const OPTION_STATISTICS_BEGAN: u16 = 2;
const OPTION_STATISTICS_ENDED: u16 = 3;
/// `isb_ifrecv`, and `isb_ifdrop`, where dumpcap too puts what the kernel dropped: readers show
/// that one.
const OPTION_RECEIVED: u16 = 4;
const OPTION_DROPPED: u16 = 5;
/// `isb_usrdeliv`
const OPTION_DELIVERED: u16 = 8;

/// The section header. Its length is not known while it is written.
pub(super) fn section_block() -> Vec<u8> {
    let mut body = BYTE_ORDER_MAGIC.to_le_bytes().to_vec();
    // Version 1.0, and a length of −1.
    body.extend([1, 0, 0, 0]);
    body.extend([0xff; 8]);
    let application = concat!("forebay ", env!("CARGO_PKG_VERSION"));
    option(&mut body, OPTION_APPLICATION, application.as_bytes());
    option(&mut body, OPTION_END, &[]);
    block(SECTION, &body)
}

/// The description of the only interface.
pub(super) fn interface_block(link_type: u16, snaplen: u32) -> Vec<u8> {
    let mut body = link_type.to_le_bytes().to_vec();
    body.extend([0, 0]);
    body.extend(snaplen.to_le_bytes());
    // 10 to the power of −9.
    option(&mut body, OPTION_TIME_RESOLUTION, &[9]);
    option(&mut body, OPTION_END, &[]);
    block(INTERFACE, &body)
}

/// What comes before an enhanced packet of so many bytes.
pub(super) fn packet_head(received_ns: u64, bytes: u32) -> [u8; PACKET_HEADER_BYTES] {
    let [high, low] = halves(received_ns);
    let words = [
        ENHANCED_PACKET,
        packet_block_bytes(bytes),
        0,
        high,
        low,
        bytes,
        bytes,
    ];
    let mut head = [0; PACKET_HEADER_BYTES];
    for (place, word) in head.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    head
}

/// What comes after it: padding, and the block's length again.
pub(super) fn packet_tail(bytes: u32) -> Tail {
    let padding = (bytes.next_multiple_of(4) - bytes) as usize;
    let mut tail = [0; 7];
    if let Some(length) = tail.get_mut(padding..padding + 4) {
        length.copy_from_slice(&packet_block_bytes(bytes).to_le_bytes());
    }
    Tail {
        bytes: tail,
        length: padding + 4,
    }
}

/// Up to three bytes of padding, and a length.
pub(super) struct Tail {
    bytes: [u8; 7],
    length: usize,
}

impl Tail {
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// What became of the interface's datagrams.
pub(super) fn statistics_block(statistics: &CaptureStatistics) -> Vec<u8> {
    let &CaptureStatistics {
        began_ns,
        ended_ns,
        received,
        dropped,
    } = statistics;
    let mut body = 0_u32.to_le_bytes().to_vec();
    body.extend(time(ended_ns));
    option(&mut body, OPTION_STATISTICS_BEGAN, &time(began_ns));
    option(&mut body, OPTION_STATISTICS_ENDED, &time(ended_ns));
    option(&mut body, OPTION_RECEIVED, &received.to_le_bytes());
    option(&mut body, OPTION_DROPPED, &dropped.to_le_bytes());
    let delivered = received.saturating_sub(dropped);
    option(&mut body, OPTION_DELIVERED, &delivered.to_le_bytes());
    option(&mut body, OPTION_END, &[]);
    block(STATISTICS, &body)
}

/// A block's length: its header, the packet with its padding, and the length again.
fn packet_block_bytes(bytes: u32) -> u32 {
    PACKET_HEADER_BYTES as u32 + bytes.next_multiple_of(4) + 4
}

/// A time is two words, the high one first, in whatever byte order.
fn time(ns: u64) -> Vec<u8> {
    halves(ns).into_iter().flat_map(u32::to_le_bytes).collect()
}

fn halves(ns: u64) -> [u32; 2] {
    [(ns >> 32) as u32, ns as u32]
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// `body` is a multiple of four bytes long.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let total = (BLOCK_FRAME_BYTES + body.len() as u32).to_le_bytes();
    [&kind.to_le_bytes()[..], &total, body, &total].concat()
}
