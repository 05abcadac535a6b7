//! Hashes of keys.

use std::hash::{BuildHasher, RandomState};

/// The seed that spreads keys over partitions: the same in every run.
pub(crate) const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTOR: u64 = 0xd6e8_feb8_6659_fd93;

/// A seed that nobody knows beforehand: keys come from the network, and must not be made to collide.
pub(crate) fn secret() -> u64 {
    RandomState::new().hash_one(FACTOR) | 1
}

/// Multiplies and folds, as wyhash does.
#[inline]
fn mix(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word) * u128::from(FACTOR);
    (product >> 64) as u64 ^ product as u64
}

/// The last step: every bit of the state tells in every bit of the hash.
#[inline]
fn finish(state: u64, seed: u64) -> u64 {
    let product = u128::from(state ^ seed.rotate_left(32)) * u128::from(seed | 1);
    (product >> 64) as u64 ^ product as u64
}

/// The hash of one key.
#[inline]
pub(crate) fn hash(key: &[u64], seed: u64) -> u64 {
    let state = key.iter().fold(seed, |state, &word| mix(state, word));
    finish(state, seed)
}

/// The hashes of keys that stand column by column.
pub(crate) fn hash_columns<'c>(
    columns: impl Iterator<Item = &'c [u64]>,
    seed: u64,
    hashes: &mut [u64],
) {
    hashes.fill(seed);
    for column in columns {
        for (state, &word) in hashes.iter_mut().zip(column) {
            *state = mix(*state, word);
        }
    }
    for state in hashes {
        *state = finish(*state, seed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_row_and_by_column_are_the_same() {
        let columns: [Vec<u64>; 3] = [1, 2, 3].map(|n| {
            (0..100)
                .map(|row: u64| row.wrapping_mul(SPREAD) >> n)
                .collect()
        });
        let mut hashes = [0; 100];
        let slices = columns.iter().map(Vec::as_slice);
        hash_columns(slices, SPREAD, &mut hashes);
        for (row, &of_columns) in hashes.iter().enumerate() {
            let key: Vec<u64> = columns.iter().map(|column| column[row]).collect();
            assert_eq!(hash(&key, SPREAD), of_columns);
        }
    }

    #[test]
    fn small_numbers_are_spread_evenly() {
        for seed in [SPREAD, secret()] {
            for shift in [0, 16, 32, 48] {
                let mut counts = [0_u32; 256];
                for n in 0..25_600_u64 {
                    counts[(hash(&[n << shift, 0], seed) >> 56) as usize] += 1;
                }
                // Of 100 each: the standard deviation is 10.
                assert!(
                    counts.iter().all(|count| (40..170).contains(count)),
                    "{seed} {counts:?}"
                );
            }
        }
    }
}
