//! Rows of 64-bit words, in partitions by the hash of their keys.
//!
//! Rows of one key are all in one partition, so partitions can be worked on side by side. A [`Scatter`]
//! is one worker's buffers, one per partition, each handed over when it is full: for rows that are added
//! up as they come. A [`RowStore`] keeps rows until all are there, in blocks that are spread as a whole;
//! beyond the memory that is allowed, all of its blocks go to a temporary file. A partition that does not
//! fit in memory by itself is spread once more by other bits of the hash.

mod block;
mod hash;
mod interner;
mod memory;
mod order;
mod scatter;
mod spill;
mod store;

pub(crate) use hash::{SPREAD, hash, secret};
pub(crate) use interner::Interner;
pub(crate) use memory::Memory;
pub use memory::{MemoryLimit, available_bytes};
pub(crate) use order::HashOrder;
pub(crate) use scatter::{Scatter, Shape};
pub(crate) use spill::{Extent, Spill};
pub(crate) use store::{RowStore, RowWriter};

/// Into how many partitions rows are spread, and by which bits of their hashes: each level looks at others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spread {
    bits: u32,
    level: u32,
}

impl Spread {
    /// By so many bits.
    pub(crate) const fn by(bits: u32) -> Self {
        Self { bits, level: 0 }
    }

    /// How many partitions there are.
    pub(crate) const fn partitions(self) -> usize {
        1 << self.bits
    }

    /// The partition of a key with that hash.
    #[inline(always)]
    pub(crate) fn partition_of(self, hash: u64) -> usize {
        hash.rotate_left(self.bits * (self.level + 1)) as usize & (self.partitions() - 1)
    }

    /// By the next bits; `None` where none are left.
    pub(crate) fn finer(self) -> Option<Self> {
        let level = self.level + 1;
        ((level + 1) * self.bits <= u64::BITS).then_some(Self { level, ..self })
    }
}

/// How many rows a worker's buffer for a partition holds: few where there is little memory, of which
/// all buffers take an eighth at most.
pub(crate) fn chunk_rows(spread: Spread, shape: Shape, workers: usize, memory: &Memory) -> usize {
    let buffers = spread.partitions() * workers.max(1);
    (memory.limit() / 8 / buffers / shape.row_bytes().max(8)).clamp(8, 512)
}
