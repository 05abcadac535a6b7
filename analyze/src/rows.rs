//! Rows of 64-bit words, in partitions by the hash of their keys.
//!
//! A worker writes rows into buffers of its own, one per partition, and hands full buffers over. Rows
//! of one key are all in one partition, so partitions can be worked on side by side. Beyond the memory
//! that is allowed, whole partitions go to a temporary file; one that does not fit in memory by itself is
//! spread once more by other bits of the hash.

mod hash;
mod interner;
mod memory;
mod scatter;
mod spill;
mod store;

pub(crate) use hash::{SPREAD, hash, secret};
pub(crate) use interner::Interner;
pub(crate) use memory::Memory;
pub use memory::{MemoryLimit, available_bytes};
pub(crate) use scatter::{Scatter, Shape};
pub(crate) use spill::{Extent, Spill};
pub(crate) use store::{RowStore, RowWriter};

/// How many partitions there are: what one holds of some millions of keys fits in a core's cache.
pub(crate) const PARTITIONS: usize = 256;

/// The partition of a key with that hash. Each level looks at other bits.
#[inline]
pub(crate) fn partition_of(hash: u64, level: u32) -> usize {
    (hash.rotate_left(8 * (level + 1)) & 0xff) as usize
}

/// How many rows a worker's buffer for a partition holds: few where there is little memory, of which
/// all buffers take an eighth at most.
pub(crate) fn chunk_rows(shape: Shape, workers: usize, memory: &Memory) -> usize {
    let buffers = PARTITIONS * workers.max(1);
    (memory.limit() / 8 / buffers / shape.row_bytes().max(8)).clamp(8, 512)
}
