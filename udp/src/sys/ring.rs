//! The memory that packets are received into: TPACKET_V3 of packet(7), and the kernel's
//! Documentation/networking/packet_mmap.rst.

use std::ffi::CStr;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::set_option_of;

/// Where a block's `block_status` is, in a `tpacket_block_desc`.
const STATUS: usize = 8;
/// The frame size is of no account in TPACKET_V3, but must divide the block.
const FRAME_BYTES: usize = 2048;

/// Blocks of packets, shared with the kernel: a block is either the kernel's, which fills it, or
/// ours, until it is released.
pub(crate) struct RingMemory {
    /// The beginning of a mapping of `blocks * block_bytes` bytes.
    memory: NonNull<u8>,
    block_bytes: usize,
    blocks: usize,
}

// SAFETY: the mapping belongs to this value alone, and none of it is bound to a thread.
unsafe impl Send for RingMemory {}

impl RingMemory {
    /// Makes a packet socket receive into memory. A block is handed over when it is full, or
    /// `retire` after its first packet. `block_bytes` is a multiple of the page size.
    pub(crate) fn new(
        socket: BorrowedFd<'_>,
        block_bytes: usize,
        blocks: usize,
        retire: Duration,
    ) -> io::Result<Self> {
        let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let length = block_bytes.checked_mul(blocks).filter(|bytes| *bytes > 0);
        let length = length.ok_or(io::ErrorKind::InvalidInput)?;
        let version = libc::tpacket_versions::TPACKET_V3 as libc::c_int;
        set_option_of(socket, libc::SOL_PACKET, libc::PACKET_VERSION, version)?;
        let request = libc::tpacket_req3 {
            tp_block_size: u32::try_from(block_bytes).map_err(invalid)?,
            tp_block_nr: u32::try_from(blocks).map_err(invalid)?,
            tp_frame_size: FRAME_BYTES as u32,
            tp_frame_nr: u32::try_from(length / FRAME_BYTES).map_err(invalid)?,
            tp_retire_blk_tov: u32::try_from(retire.as_millis()).map_err(invalid)?,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        // SAFETY: the kernel reads the structure, whose length is given.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_RX_RING,
                (&raw const request).cast(),
                mem::size_of_val(&request) as libc::socklen_t,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        // mmap(2).
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(Self {
            memory,
            block_bytes,
            blocks,
        })
    }

    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// The block, if it is ours.
    #[inline]
    pub(crate) fn block(&self, index: usize) -> Option<&[u8]> {
        let status = self.status(index)?;
        // Acquire: what the kernel wrote before it handed the block over is seen after this.
        if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        let start = self.start(index)?;
        // SAFETY: these bytes are inside of the mapping. The block is ours, so the kernel does
        // not write to it until `release`, which takes `self` mutably: not while the slice lives.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), self.block_bytes) })
    }

    /// Gives the block back to the kernel.
    pub(crate) fn release(&mut self, index: usize) {
        if let Some(status) = self.status(index) {
            // Release: what was read of the block was read before this.
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        }
    }

    fn status(&self, index: usize) -> Option<&AtomicU32> {
        let start = self.start(index)?;
        // SAFETY: a block is longer than its descriptor: this is inside of the block.
        let status = unsafe { start.add(STATUS) };
        // SAFETY: it is aligned, for blocks are at multiples of the page size, and lives as long
        // as the mapping, which is as long as `self`. The kernel reads and writes it whole.
        Some(unsafe { AtomicU32::from_ptr(status.as_ptr().cast()) })
    }

    fn start(&self, index: usize) -> Option<NonNull<u8>> {
        if index >= self.blocks {
            return None;
        }
        // SAFETY: there are `blocks` blocks in the mapping, and this is one of them.
        Some(unsafe { self.memory.add(index * self.block_bytes) })
    }
}

impl Drop for RingMemory {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `new` made, and no slice of it outlives `self`.
        // munmap(2).
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.blocks * self.block_bytes) };
    }
}

/// Makes a packet socket receive packets of one protocol (ETH_P_IP or ETH_P_IPV6) from all
/// interfaces. packet(7).
pub(crate) fn bind_protocol(socket: BorrowedFd<'_>, protocol: u16) -> io::Result<()> {
    let name = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: 0,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the kernel reads the structure, whose length is given.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const name).cast(),
            mem::size_of_val(&name) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Packets that a packet socket's ring had no room for, since the last call:
/// PACKET_STATISTICS, packet(7), starts again from zero.
pub(crate) fn ring_drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut values = libc::tpacket_stats_v3 {
        tp_packets: 0,
        tp_drops: 0,
        tp_freeze_q_cnt: 0,
    };
    let mut bytes = mem::size_of_val(&values) as libc::socklen_t;
    // SAFETY: the kernel writes at most `bytes` to the structure, which is that long, and the
    // length written to `bytes`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut values).cast(),
            &raw mut bytes,
        )
    };
    match result {
        0 => Ok(values.tp_drops),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The fan-out group that the socket is in: PACKET_FANOUT, packet(7).
pub(crate) fn fan_out(socket: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut bytes = mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel writes at most `bytes` to the integer, which is that long, and the
    // length written to `bytes`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_FANOUT,
            (&raw mut value).cast(),
            &raw mut bytes,
        )
    };
    match result {
        0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The number of the interface of that name. if_nametoindex(3).
pub(crate) fn interface_index(name: &CStr) -> Option<u32> {
    // SAFETY: the name ends with a zero byte.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}
