//! DELTA_BINARY_PACKED: the differences of neighbours, bit-packed in small
//! blocks, each as wide as it must be.
//!
//! ```text
//! block size | miniblocks per block | count | first value
//! least difference | width × 4 | 32 differences × 4      … for each block
//! ```

use super::bits::{pack, put_varint, put_zigzag, width};

const BLOCK: usize = 128;
const MINIBLOCK: usize = 32;

/// Appends 64-bit values.
pub(super) fn put_u64(out: &mut Vec<u8>, values: &[u64]) {
    put(
        out,
        values,
        |value| value as i64,
        |to, from| to.wrapping_sub(from) as i64,
    );
}

/// Appends 32-bit values, with differences of 32 bits.
pub(super) fn put_u32(out: &mut Vec<u8>, values: &[u32]) {
    // A difference wraps at 32 bits, and so does its distance from the least.
    put(
        out,
        values,
        |value| i64::from(value as i32),
        |to, from| i64::from(to.wrapping_sub(from) as i32),
    );
}

fn put<T: Copy>(
    out: &mut Vec<u8>,
    values: &[T],
    signed: impl Fn(T) -> i64,
    difference: impl Fn(T, T) -> i64,
) {
    put_varint(out, BLOCK as u64);
    put_varint(out, (BLOCK / MINIBLOCK) as u64);
    put_varint(out, values.len() as u64);
    put_zigzag(out, values.first().map_or(0, |&first| signed(first)));
    let mut start = 1;
    while start < values.len() {
        let end = values.len().min(start + BLOCK);
        let count = end - start;
        let mut differences = [0i64; BLOCK];
        for ((to, pair), _) in differences
            .iter_mut()
            .zip(values[start - 1..end].windows(2))
            .zip(0..count)
        {
            *to = difference(pair[1], pair[0]);
        }
        put_block(out, &differences[..count]);
        start = end;
    }
}

fn put_block(out: &mut Vec<u8>, differences: &[i64]) {
    let least = differences.iter().copied().min().unwrap_or(0);
    put_zigzag(out, least);
    // Differences beyond the last value are zeros above the least, as are the
    // widths of miniblocks that do not exist.
    let mut above = [0u64; BLOCK];
    for (to, &from) in above.iter_mut().zip(differences) {
        *to = from.wrapping_sub(least) as u64;
    }
    let miniblocks = differences.len().div_ceil(MINIBLOCK);
    let mut widths = [0; BLOCK / MINIBLOCK];
    for (to, miniblock) in widths.iter_mut().zip(above.chunks_exact(MINIBLOCK)) {
        *to = width(miniblock.iter().fold(0, |all, &one| all | one));
    }
    out.extend(widths.map(|width| width as u8));
    for (&width, miniblock) in widths
        .iter()
        .zip(above.chunks_exact(MINIBLOCK))
        .take(miniblocks)
    {
        pack(miniblock, width, out);
    }
}
