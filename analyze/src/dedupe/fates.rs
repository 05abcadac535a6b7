//! What becomes of each row of the input.

use std::sync::atomic::{AtomicU32, Ordering};

const ALONE: u32 = 0;
const REMOVED: u32 = u32::MAX;

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

/// By the number of the row: four bytes each.
pub(super) struct Fates(Vec<AtomicU32>);

impl Fates {
    /// All rows stay. `None` where there is no memory for so many.
    pub(super) fn new(rows: u64) -> Option<Self> {
        let rows = usize::try_from(rows).ok()?;
        let mut fates = Vec::new();
        fates.try_reserve_exact(rows).ok()?;
        fates.resize_with(rows, AtomicU32::default);
        Some(Self(fates))
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.0.as_slice())
    }

    pub(super) fn set(&self, row: u64, fate: Fate) {
        let value = match fate {
            Fate::Alone => ALONE,
            // A list's number is less than what is kept for "none".
            Fate::Seen(list) => list + 1,
            Fate::Removed => REMOVED,
        };
        let place = usize::try_from(row).ok().and_then(|row| self.0.get(row));
        if let Some(place) = place {
            // The threads that write are joined before anything is read.
            place.store(value, Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self, row: u64) -> Fate {
        let place = usize::try_from(row).ok().and_then(|row| self.0.get(row));
        match place.map_or(ALONE, |place| place.load(Ordering::Relaxed)) {
            ALONE => Fate::Alone,
            REMOVED => Fate::Removed,
            list => Fate::Seen(list - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_are_kept() {
        let fates = Fates::new(4).expect("there is memory");
        fates.set(1, Fate::Removed);
        fates.set(2, Fate::Seen(0));
        fates.set(3, Fate::Seen(u32::MAX - 2));
        let found = [0, 1, 2, 3].map(|row| fates.get(row));
        let expected = [
            Fate::Alone,
            Fate::Removed,
            Fate::Seen(0),
            Fate::Seen(u32::MAX - 2),
        ];
        assert_eq!(found, expected);
        fates.set(2, Fate::Alone);
        assert_eq!(fates.get(2), Fate::Alone);
    }

    #[test]
    fn more_rows_than_there_is_memory_for_are_told() {
        assert!(Fates::new(1 << 60).is_none());
    }
}
