//! Keeps rows in partitions, in memory or put aside, until they are visited partition by partition.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Extent, Memory, Scatter, Shape, Spill, Spread, chunk_rows};
use crate::error::AnalyzeError;
use crate::scan::Control;
use crate::workers;

/// Of some tens of millions of rows, those of a partition fit in a core's cache.
const PARTITION_BITS: u32 = 10;
/// So many words of what was put aside are spread at once.
const READ_WORDS: usize = 1 << 16;

/// Rows that several workers write, and that are visited once all are there.
pub(crate) struct RowStore<'a> {
    shape: Shape,
    by: Spread,
    workers: usize,
    memory: &'a Memory,
    spill: &'a Spill,
    partitions: Vec<Mutex<Held>>,
    making_room: Mutex<()>,
}

/// A partition's rows.
#[derive(Default)]
struct Held {
    chunks: Vec<Vec<u64>>,
    extents: Vec<Extent>,
}

impl Held {
    fn words_in_memory(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }

    fn words(&self) -> usize {
        let aside: usize = self.extents.iter().map(|extent| extent.words()).sum();
        self.words_in_memory() + aside
    }
}

impl<'a> RowStore<'a> {
    /// A store for rows of `shape` that `workers` threads write.
    pub(crate) fn new(shape: Shape, workers: usize, memory: &'a Memory, spill: &'a Spill) -> Self {
        Self::spread_by(Spread::by(PARTITION_BITS), shape, workers, memory, spill)
    }

    fn spread_by(
        by: Spread,
        shape: Shape,
        workers: usize,
        memory: &'a Memory,
        spill: &'a Spill,
    ) -> Self {
        Self {
            shape,
            by,
            workers: workers.max(1),
            memory,
            spill,
            partitions: (0..by.partitions()).map(|_| Mutex::default()).collect(),
            making_room: Mutex::default(),
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// What one worker writes with.
    pub(crate) fn writer(&self) -> RowWriter<'_> {
        let chunk_rows = chunk_rows(self.by, self.shape, self.workers, self.memory);
        RowWriter {
            store: self,
            chunk_words: chunk_rows * self.shape.words,
            scatter: Scatter::new(self.shape, self.by, chunk_rows),
        }
    }

    fn held(&self, partition: usize) -> MutexGuard<'_, Held> {
        let held = self.partitions[partition].lock();
        held.unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, partition: usize, chunk: Vec<u64>) -> Result<(), AnalyzeError> {
        let is_over = self.memory.take(8 * chunk.len());
        self.held(partition).chunks.push(chunk);
        if is_over { self.make_room() } else { Ok(()) }
    }

    /// Puts the greatest partitions aside until a quarter of the memory is free.
    fn make_room(&self) -> Result<(), AnalyzeError> {
        let _one_at_a_time = self
            .making_room
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.memory.used() <= self.memory.limit() {
            return Ok(());
        }
        let words = |partition| self.held(partition).words_in_memory();
        let mut sizes: Vec<(usize, usize)> = (0..self.by.partitions())
            .map(|partition| (words(partition), partition))
            .collect();
        sizes.sort_unstable();
        while self.memory.used() > self.memory.limit() / 4 * 3
            && let Some((1.., partition)) = sizes.pop()
        {
            let chunks = std::mem::take(&mut self.held(partition).chunks);
            let runs: Vec<&[u64]> = chunks.iter().map(Vec::as_slice).collect();
            let extent = self.spill.write(&runs)?;
            self.held(partition).extents.push(extent);
            self.memory.give(8 * extent.words());
        }
        Ok(())
    }

    /// Gives all rows of a partition to `visit`, partition by partition, on as many threads as there are
    /// `states`. The rows of one key come together.
    ///
    /// # Errors
    /// What `visit` says; rows cannot be read back; it was interrupted.
    pub(crate) fn visit<S: Send>(
        self,
        control: &Control,
        states: Vec<S>,
        visit: impl Fn(&mut S, &[u64]) -> Result<(), AnalyzeError> + Sync,
    ) -> Result<Vec<S>, AnalyzeError> {
        let visit = &visit;
        let with_room = |state| (state, Vec::new());
        let states = states.into_iter().map(with_room).collect();
        let ended = workers::share(states, self.by.partitions(), |(state, rows), partition| {
            let mut visit = |rows: &[u64]| visit(state, rows);
            self.visit_partition(control, partition, None, rows, &mut visit)
        })?;
        Ok(ended.into_iter().map(|(state, _)| state).collect())
    }

    fn visit_partition(
        &self,
        control: &Control,
        partition: usize,
        of_words: Option<usize>,
        rows: &mut Vec<u64>,
        visit: &mut dyn FnMut(&[u64]) -> Result<(), AnalyzeError>,
    ) -> Result<(), AnalyzeError> {
        control.check()?;
        let held = std::mem::take(&mut *self.held(partition));
        let words = held.words();
        if words == 0 {
            return Ok(());
        }
        let fits = 8 * words <= self.memory.limit() / 4 / self.workers;
        // Where spreading has not made less of it, it is one key.
        let finer = self.by.finer();
        let finer = finer.filter(|_| of_words.is_none_or(|whole| words < whole));
        let (false, false, Some(finer)) = (held.extents.is_empty(), fits, finer) else {
            rows.clear();
            self.load(held, rows)?;
            let result = visit(rows);
            self.memory.give(8 * words);
            return result;
        };
        let finer = self.split(control, held, finer)?;
        for part in 0..finer.by.partitions() {
            finer.visit_partition(control, part, Some(words), rows, visit)?;
        }
        Ok(())
    }

    /// Reads a partition's rows into memory that the one before it had: new memory is slow to come by.
    fn load(&self, held: Held, rows: &mut Vec<u64>) -> Result<(), AnalyzeError> {
        rows.reserve_exact(held.words());
        for chunk in held.chunks {
            rows.extend_from_slice(&chunk);
        }
        for extent in held.extents {
            self.memory.take(8 * extent.words());
            self.spill.read(extent, rows)?;
        }
        Ok(())
    }

    fn split(&self, control: &Control, held: Held, by: Spread) -> Result<Self, AnalyzeError> {
        let finer = Self::spread_by(by, self.shape, self.workers, self.memory, self.spill);
        let mut writer = finer.writer();
        for chunk in held.chunks {
            self.memory.give(8 * chunk.len());
            writer.rows(&chunk)?;
        }
        let step = (READ_WORDS / self.shape.words).max(1) * self.shape.words;
        let mut rows = Vec::new();
        for extent in held.extents {
            for from in (0..extent.words()).step_by(step) {
                control.check()?;
                rows.clear();
                self.spill.read(extent.part(from, step), &mut rows)?;
                writer.rows(&rows)?;
            }
        }
        writer.finish()?;
        Ok(finer)
    }
}

/// Writes one worker's rows to a [`RowStore`].
pub(crate) struct RowWriter<'a> {
    store: &'a RowStore<'a>,
    chunk_words: usize,
    scatter: Scatter,
}

impl RowWriter<'_> {
    /// Adds rows that stand column by column: as many columns as a row has words.
    ///
    /// # Errors
    /// Rows could not be put aside.
    pub(crate) fn columns(&mut self, columns: &[&[u64]]) -> Result<(), AnalyzeError> {
        let mut deliver = deliver_to(self.store, self.chunk_words);
        self.scatter.columns(columns, &mut deliver)
    }

    /// Adds rows that stand one behind the other.
    ///
    /// # Errors
    /// As for [`columns`](Self::columns).
    pub(crate) fn rows(&mut self, rows: &[u64]) -> Result<(), AnalyzeError> {
        let mut deliver = deliver_to(self.store, self.chunk_words);
        self.scatter.rows(rows, &mut deliver)
    }

    /// Hands over what is left. To be called when all is written.
    ///
    /// # Errors
    /// As for [`columns`](Self::columns).
    pub(crate) fn finish(self) -> Result<(), AnalyzeError> {
        let mut deliver = deliver_to(self.store, self.chunk_words);
        self.scatter.finish(&mut deliver)
    }
}

fn deliver_to<'a>(
    store: &'a RowStore<'_>,
    chunk_words: usize,
) -> impl FnMut(usize, Vec<u64>) -> Result<Vec<u64>, AnalyzeError> + 'a {
    move |partition, chunk| {
        store.add(partition, chunk)?;
        Ok(Vec::with_capacity(chunk_words))
    }
}

#[cfg(test)]
mod tests;
