//! A dictionary: each value that occurs, numbered in order of first appearance.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Values below this have a table of their own.
const DIRECT: usize = 1 << 16;
const SLOTS_MIN: usize = 1 << 10;

/// A value that a dictionary can hold.
pub(super) trait Key: Copy + Eq + Default {
    /// Itself, if it is small.
    fn small(self) -> Option<usize>;
    /// Spreads the value over 64 bits, differently for each `seed`.
    fn hash(self, seed: u64) -> u64;
}

/// Wyhash's mixing: cheap, and unknown to senders as long as the seed is.
fn mix(value: u64, seed: u64) -> u64 {
    let product = u128::from(value ^ seed) * u128::from(seed.rotate_left(32) | 1);
    (product >> 64) as u64 ^ product as u64
}

impl Key for u32 {
    fn small(self) -> Option<usize> {
        ((self as usize) < DIRECT).then_some(self as usize)
    }

    fn hash(self, seed: u64) -> u64 {
        mix(self.into(), seed)
    }
}

impl Key for u64 {
    fn small(self) -> Option<usize> {
        (self < DIRECT as Self).then_some(self as usize)
    }

    fn hash(self, seed: u64) -> u64 {
        mix(self, seed)
    }
}

impl Key for u128 {
    fn small(self) -> Option<usize> {
        None
    }

    fn hash(self, seed: u64) -> u64 {
        mix(mix(self as u64, seed) ^ (self >> 64) as u64, seed)
    }
}

/// The dictionary of one column and row group.
///
/// Numbers are kept plus one, so that zeroed memory is an empty table.
pub(super) struct Interner<K> {
    values: Vec<K>,
    direct: Vec<u32>,
    slots: Vec<(K, u32)>,
    hashed: usize,
    seed: u64,
}

impl<K: Key> Interner<K> {
    pub(super) fn new() -> Self {
        Self {
            values: Vec::new(),
            direct: Vec::new(),
            slots: Vec::new(),
            hashed: 0,
            seed: RandomState::new().build_hasher().finish(),
        }
    }

    /// The values in the order of their numbers.
    pub(super) fn values(&self) -> &[K] {
        &self.values
    }

    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.direct.fill(0);
        self.slots.fill((K::default(), 0));
        self.hashed = 0;
    }

    /// The value's number.
    #[inline]
    pub(super) fn number(&mut self, value: K) -> u32 {
        match value.small() {
            Some(place) => match self.direct.get(place) {
                Some(&plus_one) if plus_one != 0 => plus_one - 1,
                _ => self.add_direct(value, place),
            },
            None => self.number_hashed(value),
        }
    }

    fn push(&mut self, value: K) -> u32 {
        self.values.push(value);
        // Row groups have far less than 2^32 rows.
        self.values.len() as u32
    }

    #[cold]
    fn add_direct(&mut self, value: K, place: usize) -> u32 {
        if self.direct.is_empty() {
            self.direct = vec![0; DIRECT];
        }
        let plus_one = self.push(value);
        self.direct[place] = plus_one;
        plus_one - 1
    }

    #[inline]
    fn number_hashed(&mut self, value: K) -> u32 {
        // A quarter of the slots is free: an empty one ends the search soon.
        if self.hashed * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut place = value.hash(self.seed) as usize & mask;
        loop {
            let (key, plus_one) = self.slots[place];
            if plus_one == 0 {
                let plus_one = self.push(value);
                self.hashed += 1;
                self.slots[place] = (value, plus_one);
                return plus_one - 1;
            }
            if key == value {
                return plus_one - 1;
            }
            place = (place + 1) & mask;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(SLOTS_MIN);
        let old = std::mem::replace(&mut self.slots, vec![(K::default(), 0); size]);
        for (key, plus_one) in old.into_iter().filter(|&(_, plus_one)| plus_one != 0) {
            let mut place = key.hash(self.seed) as usize & (size - 1);
            while self.slots[place].1 != 0 {
                place = (place + 1) & (size - 1);
            }
            self.slots[place] = (key, plus_one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<K: Key + std::fmt::Debug>(values: impl Iterator<Item = K> + Clone) {
        let mut interner = Interner::new();
        for _ in 0..2 {
            let numbers: Vec<u32> = values.clone().map(|v| interner.number(v)).collect();
            let again: Vec<u32> = values.clone().map(|v| interner.number(v)).collect();
            assert_eq!(numbers, again);
            for (value, number) in values.clone().zip(numbers) {
                assert_eq!(interner.values()[number as usize], value);
            }
            let mut distinct = Vec::new();
            values.clone().for_each(|v| {
                if !distinct.contains(&v) {
                    distinct.push(v);
                }
            });
            assert_eq!(interner.values(), distinct);
            interner.clear();
            assert_eq!(interner.values(), []);
        }
    }

    #[test]
    fn values_are_numbered_in_order_of_appearance() {
        check((0..3000u32).map(|n| n % 2000 * 40_503));
        check((0..3000u64).map(|n| u64::MAX - n % 1999));
        check((0..3000u128).map(|n| ((n % 1500) << 64) | (n % 3)));
        check([0u32, u32::MAX, 65_535, 65_536, 0].into_iter());
    }
}
