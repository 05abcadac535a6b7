//! Rows that are spread over partitions: those of the first, those of the second …

use std::ops::Range;

use super::{Shape, Spread};

/// What is spread at once has room in a core's cache.
const BLOCK_BYTES: usize = 1 << 20;

/// Rows, partition behind partition.
pub(super) struct Block {
    words: Vec<u64>,
    row_words: usize,
    /// By partition, and one more: where its first row is.
    starts: Box<[u32]>,
}

impl Block {
    /// Spreads rows that stand column by column, whose hashes these are: fewer than 2³².
    pub(super) fn spread(columns: &[&[u64]], hashes: &[u64], by: Spread) -> Self {
        let mut starts = vec![0; by.partitions() + 1].into_boxed_slice();
        for &hash in hashes {
            starts[by.partition_of(hash) + 1] += 1;
        }
        let mut end = 0;
        for start in &mut starts {
            end += *start;
            *start = end;
        }
        let mut next = starts.clone();
        let place = |&hash: &u64| {
            let next = &mut next[by.partition_of(hash)];
            *next += 1;
            *next - 1
        };
        let places: Vec<u32> = hashes.iter().map(place).collect();
        let mut words = vec![0; columns.len() * hashes.len()];
        put(columns, &places, &mut words);
        Self {
            words,
            row_words: columns.len(),
            starts,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.words.as_slice())
    }

    fn rows_of(&self, partition: usize) -> Range<usize> {
        let [start, end] = [partition, partition + 1].map(|place| self.starts[place] as usize);
        start..end
    }

    /// The rows of a partition, word by word.
    pub(super) fn words(&self, partition: usize) -> &[u64] {
        let Range { start, end } = self.rows_of(partition);
        &self.words[self.row_words * start..self.row_words * end]
    }
}

/// How many rows are spread at once where all that is held may take so many bytes.
pub(super) fn block_rows(shape: Shape, bytes: usize) -> usize {
    (bytes.clamp(4096, BLOCK_BYTES) / shape.row_bytes().max(8)).max(1)
}

/// Puts each row of `columns` at its place among the rows of `to`.
fn put(columns: &[&[u64]], places: &[u32], to: &mut [u64]) {
    // The rows that are usual are copied by code that knows how long they are: it takes half the time.
    match columns.len() {
        6 => put_fixed::<6>(columns, places, to),
        7 => put_fixed::<7>(columns, places, to),
        8 => put_fixed::<8>(columns, places, to),
        9 => put_fixed::<9>(columns, places, to),
        10 => put_fixed::<10>(columns, places, to),
        11 => put_fixed::<11>(columns, places, to),
        12 => put_fixed::<12>(columns, places, to),
        width => {
            for (row, &place) in places.iter().enumerate() {
                let to = &mut to[width * place as usize..][..width];
                for (to, column) in to.iter_mut().zip(columns) {
                    *to = column[row];
                }
            }
        }
    }
}

fn put_fixed<const N: usize>(columns: &[&[u64]], places: &[u32], to: &mut [u64]) {
    let columns: [&[u64]; N] = std::array::from_fn(|column| &columns[column][..places.len()]);
    let (rows, _) = to.as_chunks_mut::<N>();
    for (row, &place) in places.iter().enumerate() {
        let to = &mut rows[place as usize];
        for (to, column) in to.iter_mut().zip(columns) {
            *to = column[row];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{SPREAD, hash};

    #[test]
    fn rows_of_any_width_are_found_by_partition() {
        let by = Spread::by(4);
        for width in [1, 2, 7, 8, 12, 13] {
            let columns: Vec<Vec<u64>> = (0..width)
                .map(|column| (0..1000).map(|row| row << 8 | column).collect())
                .collect();
            let hashes: Vec<u64> = columns[0].iter().map(|&n| hash(&[n], SPREAD)).collect();
            let slices: Vec<&[u64]> = columns.iter().map(Vec::as_slice).collect();
            let block = Block::spread(&slices, &hashes, by);
            assert_eq!(block.bytes(), 8 * 1000 * width as usize);
            for partition in 0..by.partitions() {
                let rows = (0..1000).filter(|&row| by.partition_of(hashes[row]) == partition);
                let expected = rows.flat_map(|row| columns.iter().map(move |column| column[row]));
                let expected: Vec<u64> = expected.collect();
                assert_eq!(block.words(partition), expected);
            }
        }
    }

    #[test]
    fn a_block_fits_in_a_cache_and_in_little_memory() {
        let shape = Shape {
            key_words: 2,
            words: 8,
        };
        assert_eq!(block_rows(shape, 1 << 30), 16384);
        assert_eq!(block_rows(shape, 0), 64);
    }
}
