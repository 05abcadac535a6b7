//! The groups of a partition: rows, found by their key.

use super::layout::Layout;
use crate::rows::hash;

/// Bits of a slot for the row's number, plus one; the others are of its hash.
const NUMBER_BITS: u32 = 40;
const NUMBER: u64 = (1 << NUMBER_BITS) - 1;
const SLOTS_MIN: usize = 256;
/// So many rows are looked for side by side, so that their cache misses are, too.
const BLOCK: usize = 16;

/// How two rows of one key become one. Words that are not named stay as they are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Merge {
    key_words: usize,
    words: usize,
    or: Option<usize>,
    add: [Option<usize>; 3],
    least: Option<usize>,
    greatest: Option<usize>,
}

impl Merge {
    /// For groups of that layout. Where something is counted, that is filled in later.
    pub(super) fn groups(layout: &Layout) -> Self {
        let values = &layout.values;
        Self {
            key_words: layout.key_words,
            words: layout.words,
            or: values.meta,
            add: [Some(values.flows), values.packets, values.bytes],
            least: values.first,
            greatest: values.last,
        }
    }

    /// For rows that are all key: each is kept once.
    pub(super) fn distinct(words: usize) -> Self {
        Self {
            key_words: words,
            words,
            ..Self::default()
        }
    }

    /// For rows of which the last word is no key, and the greatest is kept.
    pub(super) fn greatest(words: usize) -> Self {
        Self {
            key_words: words - 1,
            words,
            greatest: Some(words - 1),
            ..Self::default()
        }
    }

    /// Adds `row` to `group`; the word that does not hold the sum.
    #[inline(always)]
    fn merge(&self, group: &mut [u64], row: &[u64]) -> Result<(), usize> {
        if let Some(word) = self.or {
            group[word] |= row[word];
        }
        for word in self.add.into_iter().flatten() {
            let (sum, overflows) = group[word].overflowing_add(row[word]);
            if overflows {
                return Err(word);
            }
            group[word] = sum;
        }
        if let Some(word) = self.least {
            group[word] = (group[word] as i64).min(row[word] as i64) as u64;
        }
        if let Some(word) = self.greatest {
            group[word] = (group[word] as i64).max(row[word] as i64) as u64;
        }
        Ok(())
    }
}

/// A sum that does not fit in its word.
#[derive(Debug)]
pub(super) struct Overflowed {
    pub(super) word: usize,
    pub(super) row: Vec<u64>,
}

/// Groups by key.
pub(super) struct Table {
    merge: Merge,
    seed: u64,
    slots: Vec<u64>,
    rows: Vec<u64>,
}

impl Table {
    pub(super) fn new(merge: Merge, seed: u64) -> Self {
        Self {
            merge,
            seed,
            slots: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// The number of groups.
    pub(super) fn groups(&self) -> usize {
        self.rows.len() / self.merge.words.max(1)
    }

    /// All groups, one behind the other.
    pub(super) fn rows(&self) -> &[u64] {
        &self.rows
    }

    pub(super) fn into_rows(self) -> Vec<u64> {
        self.rows
    }

    /// Empties it: what it took is given back.
    pub(super) fn clear(&mut self) {
        self.slots = Vec::new();
        self.rows = Vec::new();
    }

    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        8 * (self.slots.capacity() + self.rows.capacity())
    }

    /// Adds rows, which are groups of one flow or of more.
    pub(super) fn merge(&mut self, rows: &[u64]) -> Result<(), Overflowed> {
        // The same code for all, and once more where the numbers of words are known.
        match (self.merge.key_words, self.merge.words) {
            (1, 2) => self.merge_sized(rows, 1, 2),
            (1, 5) => self.merge_sized(rows, 1, 5),
            (1, 7) => self.merge_sized(rows, 1, 7),
            (2, 8) => self.merge_sized(rows, 2, 8),
            (5, 11) => self.merge_sized(rows, 5, 11),
            (key_words, words) => self.merge_sized(rows, key_words, words),
        }
    }

    #[inline(always)]
    fn merge_sized(
        &mut self,
        rows: &[u64],
        key_words: usize,
        words: usize,
    ) -> Result<(), Overflowed> {
        let mut near = [(0, 0); BLOCK];
        for block in rows.chunks(BLOCK * words) {
            self.reserve(block.len() / words);
            let mask = self.slots.len() - 1;
            // What is looked at now is near when it is needed.
            for (near, row) in near.iter_mut().zip(block.chunks_exact(words)) {
                let hash = hash(&row[..key_words], self.seed);
                *near = (hash, self.slots[hash as usize & mask]);
            }
            for (_, slot) in &near[..block.len() / words] {
                if let Some(number) = (slot & NUMBER).checked_sub(1) {
                    std::hint::black_box(self.rows[number as usize * words]);
                }
            }
            for (&(hash, _), row) in near.iter().zip(block.chunks_exact(words)) {
                self.add(hash, row, key_words, words)?;
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn add(
        &mut self,
        hash: u64,
        row: &[u64],
        key_words: usize,
        words: usize,
    ) -> Result<(), Overflowed> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                self.rows.extend_from_slice(row);
                let number = (self.rows.len() / words) as u64;
                self.slots[at] = hash & !NUMBER | number;
                return Ok(());
            }
            if (slot ^ hash) & !NUMBER == 0 {
                let start = ((slot & NUMBER) as usize - 1) * words;
                let group = &mut self.rows[start..start + words];
                if group[..key_words] == row[..key_words] {
                    return self.merge.merge(group, row).map_err(|word| Overflowed {
                        word,
                        row: row.to_vec(),
                    });
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// The place among the rows of the group with that key.
    pub(super) fn find(&self, key: &[u64]) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let hash = hash(key, self.seed);
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if (slot ^ hash) & !NUMBER == 0 {
                let start = ((slot & NUMBER) as usize - 1) * self.merge.words;
                if self.rows[start..start + key.len()] == *key {
                    return Some(start);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// The rows, to fill in what was counted elsewhere.
    pub(super) fn rows_mut(&mut self) -> &mut [u64] {
        &mut self.rows
    }

    /// Makes room for so many groups more: at most half of the slots are taken.
    fn reserve(&mut self, more: usize) {
        let needed = 2 * (self.groups() + more);
        if needed <= self.slots.len() {
            return;
        }
        let slots = needed.next_power_of_two().max(SLOTS_MIN);
        self.slots = vec![0; slots];
        let mask = slots - 1;
        let (key_words, words) = (self.merge.key_words, self.merge.words);
        for (row, number) in self.rows.chunks_exact(words).zip(1..) {
            let hash = hash(&row[..key_words], self.seed);
            let mut at = hash as usize & mask;
            while self.slots[at] != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = hash & !NUMBER | number;
        }
    }
}
