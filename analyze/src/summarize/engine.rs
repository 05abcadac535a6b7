//! The groups of all partitions, in memory or put aside, while flows are added and until they are told.
//!
//! ```text
//! worker's rows → buffers by partition → pending rows of a partition → its table of groups
//! ```
//!
//! Rows wait until there are about as many as groups, so that a partition's table comes into the cache
//! once for all of them. Beyond the memory allowed, the greatest partitions are put aside as they are.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ahead::{Ahead, Fate};
use super::distinct::Counting;
use super::layout::{Class, Layout};
use super::table::{Merge, Overflowed, Table};
use crate::error::AnalyzeError;
use crate::rows::{Extent, Memory, Scatter, Shape, Spill, Spread, chunk_rows};
use crate::scan::Control;

/// So many rows wait at least, and at most, before they are added to their table.
const PENDING_ROWS: usize = 4096;
const PENDING_ROWS_MAX: usize = 32768;
/// What a partition holds of some millions of groups fits in a core's cache.
const SPREAD: Spread = Spread::by(8);
const READ_WORDS: usize = 1 << 16;

/// Takes the groups of a partition, or of a piece of one.
pub(super) type Tell<'t> = dyn FnMut(&Layout, Vec<u64>) -> Result<(), AnalyzeError> + 't;

/// What all partitions share.
pub(super) struct Shared<'a> {
    pub(super) memory: &'a Memory,
    pub(super) spill: &'a Spill,
    pub(super) workers: usize,
    pub(super) seed: u64,
    pub(super) control: &'a Control,
    pub(super) counting: Counting,
    /// An overflow, in words.
    pub(super) overflow: &'a (dyn Fn(Class, Overflowed) -> AnalyzeError + Sync),
}

/// Rows of one form in their partitions.
struct Stream {
    class: Class,
    shape: Shape,
    merge: Merge,
    /// So many words wait at least.
    pending_words: usize,
    chunk_words: usize,
    parts: Vec<Part>,
}

#[derive(Default)]
struct Part {
    pending: Mutex<Pending>,
    held: Mutex<Option<Held>>,
}

#[derive(Default)]
struct Pending {
    chunks: Vec<Vec<u64>>,
    words: usize,
    /// The groups that the table had when it was last looked at.
    table_words: usize,
}

struct Held {
    table: Table,
    extents: Vec<Extent>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stream {
    fn new(class: Class, shape: Shape, merge: Merge, shared: &Shared<'_>) -> Self {
        let chunk_rows = chunk_rows(SPREAD, shape, shared.workers, shared.memory);
        // All that waits is an eighth of the memory at most.
        let share = shared.memory.limit() / 8 / SPREAD.partitions() / 8;
        Self {
            class,
            shape,
            merge,
            pending_words: share.min(PENDING_ROWS * shape.words),
            chunk_words: chunk_rows * shape.words,
            parts: (0..SPREAD.partitions()).map(|_| Part::default()).collect(),
        }
    }

    /// Takes a worker's full buffer; an empty one for it.
    fn deliver(
        &self,
        shared: &Shared<'_>,
        partition: usize,
        chunk: Vec<u64>,
        free: &mut Vec<Vec<u64>>,
    ) -> Result<Vec<u64>, AnalyzeError> {
        let part = &self.parts[partition];
        shared.memory.take(8 * chunk.len());
        let mut pending = lock(&part.pending);
        pending.words += chunk.len();
        pending.chunks.push(chunk);
        let most = (PENDING_ROWS_MAX * self.shape.words).min(8 * self.pending_words);
        let enough = pending.table_words.min(most).max(self.pending_words);
        let chunks = match pending.words >= enough {
            true => std::mem::take(&mut pending.chunks),
            false => Vec::new(),
        };
        if !chunks.is_empty() {
            pending.words = 0;
            drop(pending);
            let mut held = lock(&part.held);
            let held = held.get_or_insert_with(|| Held {
                table: Table::new(self.merge, shared.seed),
                extents: Vec::new(),
            });
            self.add(shared, &mut held.table, &chunks)?;
            lock(&part.pending).table_words = held.table.rows().len();
            free.extend(chunks);
        }
        Ok(match free.pop() {
            Some(mut chunk) => {
                chunk.clear();
                chunk
            }
            None => Vec::with_capacity(self.chunk_words),
        })
    }

    /// Adds what was counted as waiting to a table, and counts what that takes.
    fn add(
        &self,
        shared: &Shared<'_>,
        table: &mut Table,
        chunks: &[Vec<u64>],
    ) -> Result<(), AnalyzeError> {
        for chunk in chunks {
            self.merge(shared, table, chunk)?;
            shared.memory.give(8 * chunk.len());
        }
        Ok(())
    }

    fn merge(
        &self,
        shared: &Shared<'_>,
        table: &mut Table,
        rows: &[u64],
    ) -> Result<(), AnalyzeError> {
        let before = table.bytes();
        let merged = table.merge(rows);
        shared.memory.take(table.bytes() - before);
        merged.map_err(|overflowed| (shared.overflow)(self.class, overflowed))
    }

    fn words_in_memory(&self, partition: usize) -> usize {
        let part = &self.parts[partition];
        let held = lock(&part.held);
        lock(&part.pending).words + held.as_ref().map_or(0, |held| held.table.rows().len())
    }

    /// Puts aside what a partition has in memory.
    fn put_aside(&self, shared: &Shared<'_>, partition: usize) -> Result<(), AnalyzeError> {
        let part = &self.parts[partition];
        let mut held = lock(&part.held);
        let pending = std::mem::take(&mut *lock(&part.pending));
        let held = held.get_or_insert_with(|| Held {
            table: Table::new(self.merge, shared.seed),
            extents: Vec::new(),
        });
        let waiting = pending.chunks.iter().map(Vec::as_slice);
        let runs: Vec<&[u64]> = waiting.chain([held.table.rows()]).collect();
        if runs.iter().any(|run| !run.is_empty()) {
            held.extents.push(shared.spill.write(&runs)?);
        }
        shared.memory.give(8 * pending.words + held.table.bytes());
        held.table.clear();
        Ok(())
    }

    fn take(&self, shared: &Shared<'_>, partition: usize) -> Contents {
        let part = &self.parts[partition];
        let held = lock(&part.held).take();
        let pending = std::mem::take(&mut *lock(&part.pending));
        let (table, extents) = match held {
            Some(held) => (held.table, held.extents),
            None => (Table::new(self.merge, shared.seed), Vec::new()),
        };
        Contents {
            table,
            chunks: pending.chunks,
            extents,
        }
    }

    /// All of a partition as one table.
    fn gather(&self, shared: &Shared<'_>, contents: Contents) -> Result<Table, AnalyzeError> {
        let mut table = contents.table;
        self.add(shared, &mut table, &contents.chunks)?;
        drop(contents.chunks);
        each_read(shared, self.shape, &contents.extents, |rows| {
            self.merge(shared, &mut table, rows)
        })?;
        Ok(table)
    }
}

/// What a partition holds.
struct Contents {
    table: Table,
    chunks: Vec<Vec<u64>>,
    extents: Vec<Extent>,
}

impl Contents {
    fn words(&self) -> usize {
        let waiting: usize = self.chunks.iter().map(Vec::len).sum();
        self.table.rows().len() + waiting + self.words_aside()
    }

    fn words_aside(&self) -> usize {
        self.extents.iter().map(|extent| extent.words()).sum()
    }
}

/// Reads rows back, some at a time.
fn each_read(
    shared: &Shared<'_>,
    shape: Shape,
    extents: &[Extent],
    mut each: impl FnMut(&[u64]) -> Result<(), AnalyzeError>,
) -> Result<(), AnalyzeError> {
    let step = (READ_WORDS / shape.words).max(1) * shape.words;
    let mut rows = Vec::new();
    for extent in extents {
        for from in (0..extent.words()).step_by(step) {
            shared.control.check()?;
            rows.clear();
            shared.spill.read(extent.part(from, step), &mut rows)?;
            each(&rows)?;
        }
    }
    Ok(())
}

/// The groups of one class, and what is counted of them.
struct Lane {
    layout: Layout,
    groups: Stream,
    distinct: Option<Stream>,
}

/// All groups.
pub(super) struct Engine<'a> {
    shared: &'a Shared<'a>,
    by: Spread,
    lanes: Vec<Lane>,
    making_room: Mutex<()>,
}

impl<'a> Engine<'a> {
    /// One lane for each of `layouts`.
    pub(super) fn new(shared: &'a Shared<'a>, layouts: &[Layout]) -> Self {
        Self::spread_by(SPREAD, shared, layouts)
    }

    fn spread_by(by: Spread, shared: &'a Shared<'a>, layouts: &[Layout]) -> Self {
        let lane = |layout: &Layout| {
            let shape = Shape {
                key_words: layout.key_words,
                words: layout.words,
            };
            let counts = layout.values.distinct.iter().any(Option::is_some);
            let words = layout.key_words + shared.counting.words();
            let distinct = counts.then(|| {
                let shape = Shape { words, ..shape };
                Stream::new(layout.class, shape, shared.counting.merge(words), shared)
            });
            Lane {
                layout: layout.clone(),
                groups: Stream::new(layout.class, shape, Merge::groups(layout), shared),
                distinct,
            }
        };
        Self {
            shared,
            by,
            lanes: layouts.iter().map(lane).collect(),
            making_room: Mutex::new(()),
        }
    }

    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn partitions(&self) -> usize {
        self.by.partitions()
    }

    /// What one worker writes the lane's rows with.
    pub(super) fn writer(&self, lane: usize) -> LaneWriter<'_> {
        let of = |stream| StreamWriter::new(stream, self.by, self.shared);
        let streams = &self.lanes[lane];
        LaneWriter {
            engine: self,
            groups: of(&streams.groups),
            distinct: streams.distinct.as_ref().map(of),
        }
    }

    /// Puts the greatest partitions aside until a quarter of the memory is free.
    fn make_room(&self) -> Result<(), AnalyzeError> {
        let memory = self.shared.memory;
        if memory.used() <= memory.limit() {
            return Ok(());
        }
        let _one_at_a_time = lock(&self.making_room);
        if memory.used() <= memory.limit() {
            return Ok(());
        }
        let streams = self
            .lanes
            .iter()
            .flat_map(|lane| [Some(&lane.groups), lane.distinct.as_ref()]);
        let streams: Vec<&Stream> = streams.flatten().collect();
        let mut sizes: Vec<(usize, usize, usize)> = (0..streams.len())
            .flat_map(|stream| (0..self.partitions()).map(move |partition| (stream, partition)))
            .map(|(s, partition)| (streams[s].words_in_memory(partition), s, partition))
            .collect();
        sizes.sort_unstable();
        while memory.used() > memory.limit() / 4 * 3
            && let Some((1.., stream, partition)) = sizes.pop()
        {
            streams[stream].put_aside(self.shared, partition)?;
        }
        Ok(())
    }

    /// Gives the groups of a lane's partition to `tell`, whole: a partition that does not fit in memory
    /// comes in pieces.
    pub(super) fn finish(
        &self,
        lane: usize,
        partition: usize,
        of_words: Option<usize>,
        tell: &mut Tell<'_>,
    ) -> Result<(), AnalyzeError> {
        self.shared.control.check()?;
        let streams = &self.lanes[lane];
        let groups = streams.groups.take(self.shared, partition);
        let distinct = (streams.distinct.as_ref()).map(|s| (s, s.take(self.shared, partition)));
        let all = || {
            [Some(&groups), distinct.as_ref().map(|(_, d)| d)]
                .into_iter()
                .flatten()
        };
        let words: usize = all().map(Contents::words).sum();
        if words == 0 {
            return Ok(());
        }
        let share = self.shared.memory.limit() / 4 / self.shared.workers;
        // Where spreading has not made less of it, it is one key.
        let finer = self.by.finer();
        let finer = finer.filter(|_| of_words.is_none_or(|whole| words < whole));
        if 8 * words > share
            && all().any(|c| c.words_aside() > 0)
            && let Some(by) = finer
        {
            let layouts = std::slice::from_ref(&streams.layout);
            let finer = Engine::spread_by(by, self.shared, layouts);
            let mut writer = finer.writer(0);
            writer.spread(&streams.groups, groups, false)?;
            if let Some((stream, contents)) = distinct {
                writer.spread(stream, contents, true)?;
            }
            writer.finish()?;
            for part in 0..finer.partitions() {
                finer.finish(0, part, Some(words), tell)?;
            }
            return Ok(());
        }
        let mut table = streams.groups.gather(self.shared, groups)?;
        if let Some((stream, contents)) = distinct {
            let different = stream.gather(self.shared, contents)?;
            let counting = self.shared.counting;
            counting.count(&streams.layout, &mut table, &different);
            self.shared.memory.give(different.bytes());
        }
        let bytes = table.bytes();
        let told = tell(&streams.layout, table.into_rows());
        self.shared.memory.give(bytes);
        told
    }
}

/// Writes one worker's rows of one lane.
pub(super) struct LaneWriter<'a> {
    engine: &'a Engine<'a>,
    groups: StreamWriter<'a>,
    distinct: Option<StreamWriter<'a>>,
}

impl LaneWriter<'_> {
    /// Adds groups, column by column.
    pub(super) fn groups(&mut self, columns: &[&[u64]]) -> Result<(), AnalyzeError> {
        self.groups.columns(self.engine.shared, columns)?;
        self.engine.make_room()
    }

    /// Adds what is counted as different, column by column.
    pub(super) fn distinct(&mut self, columns: &[&[u64]]) -> Result<(), AnalyzeError> {
        if let Some(writer) = &mut self.distinct {
            writer.columns(self.engine.shared, columns)?;
        }
        self.engine.make_room()
    }

    /// Adds all of a coarser partition.
    fn spread(
        &mut self,
        stream: &Stream,
        contents: Contents,
        is_distinct: bool,
    ) -> Result<(), AnalyzeError> {
        let engine = self.engine;
        let writer = match &mut self.distinct {
            Some(writer) if is_distinct => writer,
            _ => &mut self.groups,
        };
        let mut add = |rows: &[u64]| {
            writer.rows(engine.shared, rows)?;
            engine.make_room()
        };
        for chunk in contents.chunks {
            engine.shared.memory.give(8 * chunk.len());
            add(&chunk)?;
        }
        let bytes = contents.table.bytes();
        add(contents.table.rows())?;
        drop(contents.table);
        engine.shared.memory.give(bytes);
        each_read(engine.shared, stream.shape, &contents.extents, add)
    }

    /// Hands over what is left.
    pub(super) fn finish(self) -> Result<(), AnalyzeError> {
        self.groups.finish(self.engine.shared)?;
        if let Some(writer) = self.distinct {
            writer.finish(self.engine.shared)?;
        }
        self.engine.make_room()
    }
}

/// Writes one worker's rows of one form.
struct StreamWriter<'a> {
    stream: &'a Stream,
    ahead: Ahead,
    scatter: Scatter,
    /// Empty buffers.
    free: Vec<Vec<u64>>,
}

impl<'a> StreamWriter<'a> {
    fn new(stream: &'a Stream, by: Spread, shared: &Shared<'_>) -> Self {
        let chunk_rows = stream.chunk_words / stream.shape.words;
        Self {
            stream,
            ahead: Ahead::new(stream.merge, shared.seed),
            scatter: Scatter::new(stream.shape, by, chunk_rows),
            free: Vec::new(),
        }
    }

    fn columns(&mut self, shared: &Shared<'_>, columns: &[&[u64]]) -> Result<(), AnalyzeError> {
        let fate = self.ahead.add(columns);
        let told = |overflowed| (shared.overflow)(self.stream.class, overflowed);
        match fate.map_err(told)? {
            Fate::Taken => Ok(()),
            Fate::Full => {
                let groups = self.ahead.take();
                self.rows(shared, &groups)
            }
            Fate::Passed => {
                let (stream, free) = (self.stream, &mut self.free);
                let mut deliver = |place, chunk| stream.deliver(shared, place, chunk, free);
                self.scatter.columns(columns, &mut deliver)
            }
        }
    }

    fn rows(&mut self, shared: &Shared<'_>, rows: &[u64]) -> Result<(), AnalyzeError> {
        let (stream, free) = (self.stream, &mut self.free);
        let mut deliver = |place, chunk| stream.deliver(shared, place, chunk, free);
        self.scatter.rows(rows, &mut deliver)
    }

    fn finish(mut self, shared: &Shared<'_>) -> Result<(), AnalyzeError> {
        let groups = self.ahead.take();
        self.rows(shared, &groups)?;
        let (stream, mut free) = (self.stream, self.free);
        let mut deliver = |place, chunk| stream.deliver(shared, place, chunk, &mut free);
        self.scatter.finish(&mut deliver)
    }
}
