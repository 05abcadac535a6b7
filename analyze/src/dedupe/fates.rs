//! What becomes of each row of the input.

use std::sync::atomic::{AtomicU32, Ordering};

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays, and nobody else saw it.
    Alone,
    /// It stays, and those of the list of that number saw it.
    Seen(u32),
    /// It is a duplicate of one that stays.
    Removed,
}

/// By the number of the row.
pub(super) struct Fates {
    rows: u64,
    removed: Removed,
    /// The numbers of the lists, and one more; nothing where only the report is wanted.
    lists: Vec<AtomicU32>,
}

/// A bit for each row that is removed. Rows are removed in no order, and half of all may be: each worker has
/// bits of its own, so that none waits for another's cache.
#[derive(Debug, Default)]
pub(super) struct Removed(Vec<u64>);

impl Removed {
    /// None of so many rows. `None` where there is no memory for them.
    pub(super) fn none_of(rows: u64) -> Option<Self> {
        let words = usize::try_from(rows.div_ceil(64)).ok()?;
        let mut bits = Vec::new();
        bits.try_reserve_exact(words).ok()?;
        bits.resize(words, 0);
        Some(Self(bits))
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.0.as_slice())
    }

    pub(super) fn add(&mut self, row: u64) {
        let word = usize::try_from(row / 64).ok();
        if let Some(word) = word.and_then(|word| self.0.get_mut(word)) {
            *word |= 1 << (row % 64);
        }
    }

    fn holds(&self, row: u64) -> bool {
        let word = usize::try_from(row / 64).ok();
        let word = word.and_then(|word| self.0.get(word));
        word.is_some_and(|word| word >> (row % 64) & 1 == 1)
    }
}

impl Fates {
    /// All of so many rows stay. `None` where there is no memory for them.
    pub(super) fn new(rows: u64, with_lists: bool) -> Option<Self> {
        let removed = Removed::none_of(rows)?;
        let listed = if with_lists { rows } else { 0 };
        let listed = usize::try_from(listed).ok()?;
        let mut lists = Vec::new();
        lists.try_reserve_exact(listed).ok()?;
        lists.resize_with(listed, AtomicU32::default);
        Some(Self {
            rows,
            removed,
            lists,
        })
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn bytes(&self) -> usize {
        self.removed.bytes() + size_of_val(self.lists.as_slice())
    }

    /// Whether it is kept who saw a row.
    pub(super) fn has_lists(&self) -> bool {
        !self.lists.is_empty()
    }

    /// Takes away what a worker found.
    pub(super) fn remove(&mut self, rows: &Removed) {
        for (word, more) in self.removed.0.iter_mut().zip(&rows.0) {
            *word |= more;
        }
    }

    /// The row stays, and those of a list saw it.
    pub(super) fn keep(&self, row: u64, list: u32) {
        let place = usize::try_from(row).ok();
        if let Some(place) = place.and_then(|row| self.lists.get(row)) {
            // A list's number is less than the greatest there is; and the threads that write are joined
            // before anything is read.
            place.store(list + 1, Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self, row: u64) -> Fate {
        if self.removed.holds(row) {
            return Fate::Removed;
        }
        let place = usize::try_from(row).ok();
        let place = place.and_then(|row| self.lists.get(row));
        match place.map_or(0, |place| place.load(Ordering::Relaxed)) {
            0 => Fate::Alone,
            list => Fate::Seen(list - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_are_kept() {
        let mut fates = Fates::new(130, true).expect("there is memory");
        for row in [1, 129, 130] {
            let mut removed = Removed::none_of(130).expect("there is memory");
            removed.add(row);
            fates.remove(&removed);
        }
        fates.keep(2, 0);
        fates.keep(3, u32::MAX - 2);
        let found = [0, 1, 2, 3, 129].map(|row| fates.get(row));
        let expected = [
            Fate::Alone,
            Fate::Removed,
            Fate::Seen(0),
            Fate::Seen(u32::MAX - 2),
            Fate::Removed,
        ];
        assert_eq!(found, expected);
        assert!((4..129).all(|row| fates.get(row) == Fate::Alone));
        assert_eq!(fates.bytes(), 3 * 8 + 130 * 4);
    }

    #[test]
    fn without_lists_it_is_told_what_is_removed() {
        let mut fates = Fates::new(10, false).expect("there is memory");
        let mut removed = Removed::none_of(10).expect("there is memory");
        fates.keep(3, 7);
        removed.add(4);
        fates.remove(&removed);
        assert_eq!(
            [3, 4].map(|row| fates.get(row)),
            [Fate::Alone, Fate::Removed]
        );
        assert!(!fates.has_lists());
    }

    #[test]
    fn more_rows_than_there_is_memory_for_are_told() {
        assert!(Fates::new(1 << 60, true).is_none());
    }
}
