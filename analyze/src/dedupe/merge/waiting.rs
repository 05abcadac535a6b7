//! Rows that wait for those that may come before them.

use std::collections::HashMap;

use super::super::gather::{Pick, Source};
use crate::error::AnalyzeError;

/// Neighbours of a source that were received at once, as those of one datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    received_us: i64,
    source: u32,
    /// The place of the first among those of the source that stay, and how many there are.
    place: u32,
    rows: u32,
}

/// Rows that wait for their turn.
#[derive(Default)]
pub(super) struct Waiting {
    entries: Vec<Entry>,
    /// Batches, and how many rows of each still wait.
    sources: Vec<Option<(Source, usize)>>,
    rows: usize,
    bytes: usize,
}

impl Waiting {
    /// How many there are.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The memory that they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds those rows of a batch that stay, which were received at `times`.
    pub(super) fn add(&mut self, source: Source, times: impl ExactSizeIterator<Item = i64>) {
        let rows = times.len();
        let before = self.entries.len();
        // Where a vector is too long for this, there is no memory for it either.
        let number = self.sources.len() as u32;
        let mut open: Option<Entry> = None;
        for (received_us, place) in times.zip(0..) {
            match &mut open {
                Some(entry) if entry.received_us == received_us => entry.rows += 1,
                _ => {
                    let next = Entry {
                        received_us,
                        source: number,
                        place,
                        rows: 1,
                    };
                    self.entries.extend(open.replace(next));
                }
            }
        }
        self.entries.extend(open);
        let entries = self.entries.len() - before;
        self.rows += rows;
        self.bytes += source.bytes + entries * size_of::<Entry>();
        self.sources.push(Some((source, rows)));
    }

    /// Gives the rows that were received before `horizon`, or all, in their order to `put`, so many at
    /// once, with the times of the first and the last.
    pub(super) fn take(
        &mut self,
        horizon: Option<i64>,
        batch_rows: usize,
        mut put: impl FnMut(&[&Source], &[Pick<'_>], (i64, i64)) -> Result<(), AnalyzeError>,
    ) -> Result<(), AnalyzeError> {
        let is_due = |entry: &Entry| horizon.is_none_or(|horizon| entry.received_us < horizon);
        // Most of them are in order, which a stable sort finds out.
        self.entries.sort();
        let due = self.entries.partition_point(is_due);
        let mut batch = Batch::default();
        for entry in &self.entries[..due] {
            let Some((source, _)) = &self.sources[entry.source as usize] else {
                continue;
            };
            let mut place = entry.place as usize;
            let end = place + entry.rows as usize;
            while place < end {
                let count = (end - place).min(batch_rows - batch.rows);
                batch.add(entry, source, place, count);
                place += count;
                if batch.rows == batch_rows {
                    put(&batch.sources, &batch.picks, batch.times)?;
                    batch = Batch::default();
                }
            }
        }
        if batch.rows > 0 {
            put(&batch.sources, &batch.picks, batch.times)?;
        }
        for entry in self.entries.drain(..due) {
            self.bytes -= size_of::<Entry>();
            self.rows -= entry.rows as usize;
            let slot = &mut self.sources[entry.source as usize];
            if let Some((source, left)) = slot {
                *left -= entry.rows as usize;
                if *left == 0 {
                    self.bytes -= source.bytes;
                    *slot = None;
                }
            }
        }
        Ok(())
    }
}

/// Rows that are given at once.
#[derive(Default)]
struct Batch<'a> {
    sources: Vec<&'a Source>,
    /// By number of a source: its place in the batch.
    places: HashMap<u32, usize>,
    picks: Vec<Pick<'a>>,
    rows: usize,
    times: (i64, i64),
}

impl<'a> Batch<'a> {
    fn add(&mut self, entry: &Entry, source: &'a Source, place: usize, count: usize) {
        if self.rows == 0 {
            self.times.0 = entry.received_us;
        }
        self.times.1 = entry.received_us;
        let number = *self.places.entry(entry.source).or_insert_with(|| {
            self.sources.push(source);
            self.sources.len() - 1
        });
        self.rows += count;
        // What follows in its source is taken with the pick before it.
        match self.picks.last_mut() {
            Some(last) if last.source == number && last.place + last.rows.len() == place => {
                *last = source.pick(number, last.place, last.rows.len() + count);
            }
            _ => self.picks.push(source.pick(number, place, count)),
        }
    }
}
