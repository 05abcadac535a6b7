//! Keeps rows in partitions, in memory or put aside, until they are visited partition by partition.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::block::{Block, block_rows};
use super::hash::{SPREAD, hash_columns};
use super::{Extent, Memory, Shape, Spill, Spread};
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
    blocks: Mutex<Vec<Block>>,
    runs: Mutex<Vec<Run>>,
    making_room: Mutex<()>,
}

/// Blocks that were put aside together, partition behind partition.
struct Run {
    extent: Extent,
    /// By partition, and one more: its first word.
    starts: Vec<usize>,
}

impl Run {
    fn extent_of(&self, partition: usize) -> Extent {
        let [start, end] = [partition, partition + 1].map(|place| self.starts[place]);
        self.extent.part(start, end - start)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> RowStore<'a> {
    /// A store for rows of `shape` that `workers` threads write.
    pub(crate) fn new(shape: Shape, workers: usize, memory: &'a Memory, spill: &'a Spill) -> Self {
        let by = Spread::by(PARTITION_BITS);
        Self::spread_by(by, shape, workers, memory, spill)
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
            blocks: Mutex::default(),
            runs: Mutex::default(),
            making_room: Mutex::default(),
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// What one worker writes with.
    pub(crate) fn writer(&self) -> RowWriter<'_> {
        // What waits to be spread is a sixteenth of the memory at most, or else a batch of each worker.
        let rows = block_rows(self.shape, self.memory.limit() / 16 / self.workers);
        RowWriter {
            store: self,
            block_rows: rows,
            columns: vec![Vec::new(); self.shape.words],
            hashes: Vec::new(),
        }
    }

    fn add(&self, block: Block) -> Result<(), AnalyzeError> {
        let is_over = self.memory.take(block.bytes());
        lock(&self.blocks).push(block);
        if is_over { self.make_room() } else { Ok(()) }
    }

    /// Puts aside all that is in memory, unless that is little: where others take all the memory, this
    /// store would put its rows aside one by one.
    fn make_room(&self) -> Result<(), AnalyzeError> {
        let _one_at_a_time = lock(&self.making_room);
        let mut held = lock(&self.blocks);
        let bytes: usize = held.iter().map(Block::bytes).sum();
        let limit = self.memory.limit();
        if held.is_empty() || self.memory.used() <= limit || bytes < limit / 8 {
            return Ok(());
        }
        let blocks = std::mem::take(&mut *held);
        drop(held);
        let mut starts = Vec::with_capacity(self.by.partitions() + 1);
        let mut start = 0;
        let mut aside = self.spill.begin(bytes / 8)?;
        for partition in 0..self.by.partitions() {
            starts.push(start);
            for block in &blocks {
                start += block.words(partition).len();
                aside.put(block.words(partition))?;
            }
        }
        starts.push(start);
        let extent = aside.finish()?;
        lock(&self.runs).push(Run { extent, starts });
        self.memory.give(bytes);
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
        let (visit, all) = (&visit, &self.whole());
        let with_room = |state| (state, Vec::new());
        let states = states.into_iter().map(with_room).collect();
        let ended = workers::share(states, self.by.partitions(), |(state, rows), partition| {
            let mut visit = |rows: &[u64]| visit(state, rows);
            all.visit(control, partition, None, rows, &mut visit)
        });
        self.memory.give(all.bytes());
        Ok(ended?.into_iter().map(|(state, _)| state).collect())
    }

    /// What it holds, once all is written.
    fn whole(&self) -> Whole<'_> {
        Whole {
            store: self,
            blocks: std::mem::take(&mut *lock(&self.blocks)),
            runs: std::mem::take(&mut *lock(&self.runs)),
        }
    }
}

/// All that a store holds.
struct Whole<'a> {
    store: &'a RowStore<'a>,
    blocks: Vec<Block>,
    runs: Vec<Run>,
}

impl Whole<'_> {
    fn bytes(&self) -> usize {
        self.blocks.iter().map(Block::bytes).sum()
    }

    fn visit(
        &self,
        control: &Control,
        partition: usize,
        of_words: Option<usize>,
        rows: &mut Vec<u64>,
        visit: &mut dyn FnMut(&[u64]) -> Result<(), AnalyzeError>,
    ) -> Result<(), AnalyzeError> {
        control.check()?;
        let memory = self.store.memory;
        let in_memory: usize = (self.blocks.iter())
            .map(|block| block.words(partition).len())
            .sum();
        let extents = self.runs.iter().map(|run| run.extent_of(partition));
        let aside: usize = extents.clone().map(Extent::words).sum();
        let words = in_memory + aside;
        if words == 0 {
            return Ok(());
        }
        let fits = 8 * words <= memory.limit() / 4 / self.store.workers;
        // Where spreading has not made less of it, it is one key.
        let finer = self.store.by.finer();
        let finer = finer.filter(|_| of_words.is_none_or(|whole| words < whole));
        if let (false, 1.., Some(finer)) = (fits, aside, finer) {
            let finer = self.split(control, partition, finer)?;
            let all = finer.whole();
            let result = (0..finer.by.partitions())
                .try_for_each(|part| all.visit(control, part, Some(words), rows, visit));
            memory.give(all.bytes());
            return result;
        }
        // Into memory that the partition before it had: new memory is slow to come by.
        rows.clear();
        rows.reserve_exact(words);
        memory.take(8 * words);
        for block in &self.blocks {
            rows.extend_from_slice(block.words(partition));
        }
        let mut extents = extents;
        let read = extents.try_for_each(|extent| self.store.spill.read(extent, rows));
        let result = read.and_then(|()| visit(rows));
        memory.give(8 * words);
        result
    }

    /// Spreads a partition by further bits of the hash.
    fn split(
        &self,
        control: &Control,
        partition: usize,
        by: Spread,
    ) -> Result<RowStore<'_>, AnalyzeError> {
        let RowStore {
            shape,
            workers,
            memory,
            spill,
            ..
        } = *self.store;
        let finer = RowStore::spread_by(by, shape, workers, memory, spill);
        let mut writer = finer.writer();
        let step = (READ_WORDS / shape.words).max(1) * shape.words;
        let mut rows = Vec::new();
        for block in &self.blocks {
            writer.rows(block.words(partition))?;
        }
        for run in &self.runs {
            let extent = run.extent_of(partition);
            for from in (0..extent.words()).step_by(step) {
                control.check()?;
                rows.clear();
                spill.read(extent.part(from, step), &mut rows)?;
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
    block_rows: usize,
    /// Rows that wait to be spread, column by column, and room for more.
    columns: Vec<Vec<u64>>,
    /// The hashes of those that wait.
    hashes: Vec<u64>,
}

impl RowWriter<'_> {
    /// Room for some rows, column by column, with whatever was in it. They are added by
    /// [`take`](Self::take).
    pub(crate) fn room(&mut self, rows: usize) -> Vec<&mut [u64]> {
        let waiting = self.hashes.len();
        let mut room = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            if column.len() < waiting + rows {
                column.resize(waiting + rows, 0);
            }
            room.push(&mut column[waiting..waiting + rows]);
        }
        room
    }

    /// Adds the first so many rows of the room that was asked for last.
    ///
    /// # Errors
    /// Rows could not be put aside.
    pub(crate) fn take(&mut self, rows: usize) -> Result<(), AnalyzeError> {
        let waiting = self.hashes.len();
        self.hashes.resize(waiting + rows, 0);
        let key = &self.columns[..self.store.shape.key_words];
        let key = key.iter().map(|column| &column[waiting..waiting + rows]);
        hash_columns(key, SPREAD, &mut self.hashes[waiting..]);
        match self.hashes.len() >= self.block_rows {
            true => self.spread(),
            false => Ok(()),
        }
    }

    /// Adds rows that stand one behind the other.
    fn rows(&mut self, rows: &[u64]) -> Result<(), AnalyzeError> {
        let width = self.store.shape.words;
        for rows in rows.chunks(width * self.block_rows) {
            let count = rows.len() / width;
            for (place, column) in self.room(count).into_iter().enumerate() {
                let words = rows.iter().skip(place).step_by(width);
                column
                    .iter_mut()
                    .zip(words)
                    .for_each(|(to, &word)| *to = word);
            }
            self.take(count)?;
        }
        Ok(())
    }

    /// Hands over what is left. To be called when all is written.
    ///
    /// # Errors
    /// Rows could not be put aside.
    pub(crate) fn finish(mut self) -> Result<(), AnalyzeError> {
        match self.hashes.is_empty() {
            true => Ok(()),
            false => self.spread(),
        }
    }

    fn spread(&mut self) -> Result<(), AnalyzeError> {
        let columns = self.columns.iter();
        let columns: Vec<&[u64]> = columns.map(|all| &all[..self.hashes.len()]).collect();
        let block = Block::spread(&columns, &self.hashes, self.store.by);
        self.hashes.clear();
        self.store.add(block)
    }
}

#[cfg(test)]
mod tests;
