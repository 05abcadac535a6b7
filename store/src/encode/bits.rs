//! Variable-length integers and bit-packing, as Parquet's `Encodings.md` has them.

/// The values that are packed together.
const BLOCK: usize = 32;

/// Appends an unsigned LEB128 integer.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed integer as a zigzag LEB128.
pub(super) fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// The bits that `value` needs.
pub(super) fn width(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()) as usize
}

/// Appends the low `width` bits of each value, the first in the lowest bits,
/// filled up with zeros to a multiple of 8 values.
pub(super) fn pack<T: Copy + Into<u64>>(values: &[T], width: usize, out: &mut Vec<u8>) {
    let pack_block = PACKERS[width];
    let start = out.len();
    let block_bytes = BLOCK / 8 * width;
    out.resize(start + values.len().div_ceil(BLOCK) * block_bytes, 0);
    if width == 0 {
        return;
    }
    let mut places = out[start..].chunks_exact_mut(block_bytes);
    let mut blocks = values.chunks_exact(BLOCK);
    for (block, place) in blocks.by_ref().zip(places.by_ref()) {
        pack_block(&std::array::from_fn(|i| block[i].into()), place);
    }
    if let Some(place) = places.next() {
        let mut block = [0; BLOCK];
        for (to, from) in block.iter_mut().zip(blocks.remainder()) {
            *to = (*from).into();
        }
        pack_block(&block, place);
    }
    out.truncate(start + values.len().div_ceil(8) * width);
}

type Packer = fn(&[u64; BLOCK], &mut [u8]);

/// The packer for each width: with the width known, every shift is.
static PACKERS: [Packer; 65] = {
    macro_rules! packers {
        ($($width:literal)*) => { [$(pack_block::<$width>,)*] };
    }
    packers!(
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62
        63 64
    )
};

/// Packs a block into `4 * WIDTH` octets.
fn pack_block<const WIDTH: usize>(values: &[u64; BLOCK], out: &mut [u8]) {
    let mut word = 0u64;
    let mut used = 0;
    let mut place = 0;
    for &value in values {
        if WIDTH == 0 {
            return;
        }
        word |= value << used;
        used += WIDTH;
        if used >= 64 {
            out[place..place + 8].copy_from_slice(&word.to_le_bytes());
            place += 8;
            used -= 64;
            // What did not fit; nothing, and no shift by 64, where all did.
            word = if used == 0 {
                0
            } else {
                value >> (WIDTH - used)
            };
        }
    }
    // Half a word is left where the width is odd.
    if used > 0 {
        out[place..place + 4].copy_from_slice(&(word as u32).to_le_bytes());
    }
}

/// Appends a run of the hybrid of run lengths and bit-packing: `count` times `value`.
pub(super) fn put_run(out: &mut Vec<u8>, count: usize, value: u32, width: usize) {
    put_varint(out, (count as u64) << 1);
    out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8)]);
}

/// Appends a bit-packed stretch of the same hybrid.
pub(super) fn put_packed(out: &mut Vec<u8>, values: &[u32], width: usize) {
    if values.is_empty() {
        return;
    }
    put_varint(out, (values.len().div_ceil(8) as u64) << 1 | 1);
    pack(values, width, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit.
    fn unpack(packed: &[u8], width: usize, count: usize) -> Vec<u64> {
        let bit = |n: usize| u64::from(packed[n / 8] >> (n % 8) & 1);
        (0..count)
            .map(|i| (0..width).map(|b| bit(i * width + b) << b).sum())
            .collect()
    }

    #[test]
    fn every_width_packs_values_of_any_count() {
        for width in 0..=64 {
            let mask = if width == 64 {
                u64::MAX
            } else {
                (1 << width) - 1
            };
            for count in [0usize, 1, 7, 8, 9, 31, 32, 33, 64, 100] {
                let values: Vec<u64> = (1..=count as u64)
                    .map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask)
                    .collect();
                let mut out = Vec::new();
                pack(&values, width, &mut out);
                assert_eq!(out.len(), count.div_ceil(8) * width);
                assert_eq!(unpack(&out, width, count), values, "width {width}");
            }
        }
    }

    #[test]
    fn integers_of_variable_length() {
        let mut out = Vec::new();
        put_varint(&mut out, 300);
        put_zigzag(&mut out, -1);
        put_zigzag(&mut out, 1);
        put_zigzag(&mut out, i64::MIN);
        assert_eq!(out[..4], [0xac, 0x02, 0x01, 0x02]);
        assert_eq!(out[4..], [[0xff; 9].as_slice(), &[1]].concat());
        assert_eq!(
            (width(0), width(1), width(255), width(u64::MAX)),
            (0, 1, 8, 64)
        );
    }
}
