//! Spreads rows over partitions by the hash of their keys.

use super::Spread;
use super::hash::{SPREAD, hash_columns};
use crate::error::AnalyzeError;

/// What a row consists of: words of 64 bits, the key first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The words of the key.
    pub(crate) key_words: usize,
    /// All words.
    pub(crate) words: usize,
}

impl Shape {
    pub(crate) fn row_bytes(self) -> usize {
        8 * self.words
    }
}

/// One worker's buffers, one per partition. A full one is handed over, and an empty one comes back.
pub(crate) struct Scatter {
    shape: Shape,
    by: Spread,
    chunk_words: usize,
    buffers: Vec<Vec<u64>>,
    hashes: Vec<u64>,
}

impl Scatter {
    /// Buffers for `chunk_rows` rows each.
    pub(crate) fn new(shape: Shape, by: Spread, chunk_rows: usize) -> Self {
        Self {
            shape,
            by,
            chunk_words: chunk_rows.max(1) * shape.words,
            buffers: vec![Vec::new(); by.partitions()],
            hashes: Vec::new(),
        }
    }

    /// Adds rows that stand column by column: as many columns as a row has words.
    ///
    /// # Errors
    /// What `deliver` says, which takes a partition's full buffer and gives an empty one.
    pub(crate) fn columns<E: From<AnalyzeError>>(
        &mut self,
        columns: &[&[u64]],
        deliver: &mut impl FnMut(usize, Vec<u64>) -> Result<Vec<u64>, E>,
    ) -> Result<(), E> {
        let rows = columns.first().map_or(0, |column| column.len());
        let mut hashes = std::mem::take(&mut self.hashes);
        hashes.resize(rows, 0);
        let key = columns[..self.shape.key_words].iter().copied();
        hash_columns(key, SPREAD, &mut hashes);
        let result = self.spread(columns, &hashes, deliver);
        self.hashes = hashes;
        result
    }

    fn spread<E>(
        &mut self,
        columns: &[&[u64]],
        hashes: &[u64],
        deliver: &mut impl FnMut(usize, Vec<u64>) -> Result<Vec<u64>, E>,
    ) -> Result<(), E> {
        // The rows that are usual are copied by code that knows how long they are: it takes half the time.
        match columns.len() {
            2 => self.spread_fixed::<2, E>(columns, hashes, deliver),
            3 => self.spread_fixed::<3, E>(columns, hashes, deliver),
            4 => self.spread_fixed::<4, E>(columns, hashes, deliver),
            5 => self.spread_fixed::<5, E>(columns, hashes, deliver),
            6 => self.spread_fixed::<6, E>(columns, hashes, deliver),
            7 => self.spread_fixed::<7, E>(columns, hashes, deliver),
            8 => self.spread_fixed::<8, E>(columns, hashes, deliver),
            9 => self.spread_fixed::<9, E>(columns, hashes, deliver),
            10 => self.spread_fixed::<10, E>(columns, hashes, deliver),
            11 => self.spread_fixed::<11, E>(columns, hashes, deliver),
            12 => self.spread_fixed::<12, E>(columns, hashes, deliver),
            _ => {
                for (row, &hash) in hashes.iter().enumerate() {
                    self.put(columns.iter().map(|column| column[row]), hash, deliver)?;
                }
                Ok(())
            }
        }
    }

    fn spread_fixed<const N: usize, E>(
        &mut self,
        columns: &[&[u64]],
        hashes: &[u64],
        deliver: &mut impl FnMut(usize, Vec<u64>) -> Result<Vec<u64>, E>,
    ) -> Result<(), E> {
        let columns: [&[u64]; N] = std::array::from_fn(|column| &columns[column][..hashes.len()]);
        for (row, &hash) in hashes.iter().enumerate() {
            // Straight to where they belong: by way of an array it would take twice the time.
            self.put(columns.iter().map(|column| column[row]), hash, deliver)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn put<E>(
        &mut self,
        row: impl Iterator<Item = u64>,
        hash: u64,
        deliver: &mut impl FnMut(usize, Vec<u64>) -> Result<Vec<u64>, E>,
    ) -> Result<(), E> {
        let partition = self.by.partition_of(hash);
        let buffer = &mut self.buffers[partition];
        buffer.extend(row);
        if buffer.len() >= self.chunk_words {
            *buffer = deliver(partition, std::mem::take(buffer))?;
        }
        Ok(())
    }

    /// Adds rows that stand one behind the other.
    ///
    /// # Errors
    /// As for [`columns`](Self::columns).
    pub(crate) fn rows<E>(
        &mut self,
        rows: &[u64],
        deliver: &mut impl FnMut(usize, Vec<u64>) -> Result<Vec<u64>, E>,
    ) -> Result<(), E> {
        for row in rows.chunks_exact(self.shape.words) {
            let hash = super::hash::hash(&row[..self.shape.key_words], SPREAD);
            self.put(row.iter().copied(), hash, deliver)?;
        }
        Ok(())
    }

    /// Hands over what is left.
    ///
    /// # Errors
    /// As for [`columns`](Self::columns).
    pub(crate) fn finish<E>(
        self,
        deliver: &mut impl FnMut(usize, Vec<u64>) -> Result<Vec<u64>, E>,
    ) -> Result<(), E> {
        for (partition, buffer) in self.buffers.into_iter().enumerate() {
            if !buffer.is_empty() {
                deliver(partition, buffer)?;
            }
        }
        Ok(())
    }
}
