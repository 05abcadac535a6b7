//! Finds rows whose hashes are equal.

/// The order of a partition's rows by their hashes. One worker's, for one partition after the other.
#[derive(Debug, Default)]
pub(crate) struct HashOrder {
    /// The high bits of the hash, and below them the place of the row.
    entries: Vec<u64>,
    sorted: Vec<u64>,
    /// By bucket: where its next entry belongs.
    ends: Vec<u32>,
    places: Vec<u32>,
}

impl HashOrder {
    /// Calls `found` with the places of the rows of each hash that several of `hashes` have, as far as its
    /// high bits tell: those that a place leaves. There may be 2³² − 1 of them at most.
    ///
    /// # Errors
    /// What `found` says; it is not called again then.
    pub(crate) fn each_of_several<E>(
        &mut self,
        hashes: impl ExactSizeIterator<Item = u64>,
        mut found: impl FnMut(&mut [u32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let place_bits = usize::BITS - hashes.len().leading_zeros();
        let places = (1_u64 << place_bits) - 1;
        // There are no more than 32 bits count: who calls this sees to that.
        let place = |entry: u64| (entry & places) as u32;
        self.entries.clear();
        let entries = hashes.zip(0..).map(|(hash, place)| hash & !places | place);
        self.entries.extend(entries);
        // First to about as many buckets as there are rows: what is left to sort are a few rows each.
        let bucket_bits = place_bits.clamp(1, 24);
        let bucket = |entry: u64| (entry >> (u64::BITS - bucket_bits)) as usize;
        self.ends.clear();
        self.ends.resize((1 << bucket_bits) + 1, 0);
        for &entry in &self.entries {
            self.ends[bucket(entry) + 1] += 1;
        }
        let mut end = 0;
        for count in &mut self.ends {
            end += *count;
            *count = end;
        }
        self.sorted.clear();
        self.sorted.resize(self.entries.len(), 0);
        for &entry in &self.entries {
            let end = &mut self.ends[bucket(entry)];
            self.sorted[*end as usize] = entry;
            *end += 1;
        }
        // Each bucket's place is now that of the next.
        let mut start = 0;
        for &end in &self.ends {
            let entries = &mut self.sorted[start..end as usize];
            start = end as usize;
            if entries.len() < 2 {
                continue;
            }
            entries.sort_unstable();
            let are_equal = |one: &u64, other: &u64| one & !places == other & !places;
            for equal in entries.chunk_by(are_equal) {
                if equal.len() > 1 {
                    self.places.clear();
                    self.places.extend(equal.iter().map(|&entry| place(entry)));
                    found(&mut self.places)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rows::{SPREAD, hash};

    #[test]
    fn rows_of_equal_hashes_come_together_and_in_order() {
        let mut order = HashOrder::default();
        for count in [0, 1, 2, 3, 1000, 50_000_u64] {
            let hashes: Vec<u64> = (0..count)
                .map(|n| hash(&[n * n % 1009 % 300], SPREAD))
                .collect();
            let mut expected: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
            for (&hash, place) in hashes.iter().zip(0..) {
                expected.entry(hash).or_default().push(place);
            }
            expected.retain(|_, places| places.len() > 1);
            let mut found = BTreeMap::new();
            let result = order.each_of_several(hashes.iter().copied(), |places| {
                let hash = hashes[places[0] as usize];
                let is_new = found.insert(hash, places.to_vec()).is_none();
                if is_new { Ok(()) } else { Err("came apart") }
            });
            assert_eq!(result, Ok(()));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn an_error_ends_it() {
        let mut calls = 0;
        let result = HashOrder::default().each_of_several([1_u64, 2, 1, 2].into_iter(), |_| {
            calls += 1;
            Err(7)
        });
        assert_eq!((result, calls), (Err(7), 1));
    }
}
