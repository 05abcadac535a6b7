//! A block of packets, as the kernel hands it over: linux/if_packet.h.
//!
//! ```text
//! tpacket_block_desc │ tpacket3_hdr, sockaddr_ll, packet │ tpacket3_hdr, …
//! ```
//!
//! The kernel's lengths are right; they are checked all the same.

use crate::capture::bytes::array;

/// A `struct tpacket3_hdr`.
const HEADER_BYTES: usize = 48;

/// Where in the block the next packet is, and how many are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    at: usize,
    pub(super) left: u32,
}

/// A packet of a block, and what `struct tpacket3_hdr` says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    /// From the IP header on, as much as there is.
    pub(super) bytes: &'a [u8],
    /// Where they are in the block.
    pub(super) at: usize,
    /// As long as it was on the interface.
    pub(super) original: usize,
    pub(super) received_ns: u64,
    status: u32,
}

impl Place {
    /// Before the first packet of a block.
    pub(super) fn first(block: &[u8]) -> Self {
        let word = |at| array(block, at).map_or(0, u32::from_ne_bytes);
        Self {
            left: word(12),
            at: word(16) as usize,
        }
    }

    /// The packet here, if it is inside of the block; this is behind it then.
    #[inline]
    pub(super) fn next<'a>(&mut self, block: &'a [u8]) -> Option<Packet<'a>> {
        let header = array::<28>(block, self.at)?;
        let word = |at| array(&header, at).map_or(0, u32::from_ne_bytes);
        let [.., network_0, network_1] = header;
        let network = usize::from(u16::from_ne_bytes([network_0, network_1]));
        let at = self.at.checked_add(network)?;
        let end = at.checked_add(word(12) as usize)?;
        let packet = Packet {
            bytes: block.get(at..end)?,
            at,
            original: word(16) as usize,
            received_ns: u64::from(word(4)) * 1_000_000_000 + u64::from(word(8)),
            status: word(20),
        };
        // The last one's is zero; any other leads on, or there is no next one.
        self.at = match word(0) as usize {
            next if next < HEADER_BYTES => usize::MAX,
            next => self.at.saturating_add(next),
        };
        self.left = self.left.saturating_sub(1);
        Some(packet)
    }
}

impl Packet<'_> {
    /// Whether the checksum of the datagram need not be looked at: it is still to be made, for
    /// the packet never left this machine, or the interface found it right.
    pub(super) fn has_no_checksum_to_check(&self) -> bool {
        self.status & (libc::TP_STATUS_CSUMNOTREADY | libc::TP_STATUS_CSUM_VALID) != 0
    }
}
