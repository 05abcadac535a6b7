//! Tables by small numbers of our own making, which nobody can make collide: quick to hash.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

pub(super) type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;
pub(super) type NumberSet<K> = HashSet<K, BuildHasherDefault<NumberHasher>>;

/// Multiplies and folds.
#[derive(Debug, Default)]
pub(super) struct NumberHasher(u64);

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for &word in words {
            self.write_u64(u64::from_le_bytes(word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, number: u64) {
        let product = u128::from((self.0 ^ number).wrapping_add(FACTOR)) * u128::from(FACTOR);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_by_numbers_hold_what_is_put_in() {
        let mut lists: NumberMap<Box<[u32]>, u32> = NumberMap::default();
        for n in 0..10_000 {
            lists.insert([n, n / 2, 0].into(), n);
        }
        assert_eq!(lists.len(), 10_000);
        assert_eq!(lists.get(&[7, 3, 0][..]), Some(&7));
        assert_eq!(lists.get(&[7, 3][..]), None);
    }
}
