//! Merges the rows that stay by the time of their receipt, and writes them.
//!
//! Each part of the input is a stream of batches, of which it is known when their rows were received. The
//! one that may have the earliest is read next. Rows that are earlier than all that is to come are sorted
//! and written; the others wait. Where more wait than memory allows, as of files in no order, they are
//! sorted in runs that are put aside, and the runs are merged likewise.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use forebay_store::{FileFormat, FlowParts, FlowWriter, NewDataset, PartReader, StoreError};

use super::fates::{Fate, Fates};
use super::gather::{BATCH_ROWS, Columns, Gatherer, Pick, Source};
use super::lists::AllLists;
use super::origins::Names;
use super::plan::{Part, Slice, Span};
use crate::error::AnalyzeError;
use crate::scan::Control;

/// So many rows are sorted at once, where so many can be. Tests have few.
const SORT_ROWS: usize = if cfg!(test) { 1 << 8 } else { 1 << 16 };
/// The rows of a batch of a run: few, for one of each run is in memory.
const RUN_BATCH_ROWS: usize = 1024;

/// What a family's files are made from.
pub(super) struct Merge<'a> {
    pub(super) files: &'a [FlowParts],
    /// By file: the number of its first row among all.
    pub(super) bases: &'a [u64],
    pub(super) parts: &'a [Part],
    pub(super) columns: &'a Columns,
    pub(super) fates: &'a Fates,
    pub(super) names: &'a Names,
    pub(super) lists: &'a AllLists,
    pub(super) output: &'a NewDataset,
    pub(super) format: FileFormat,
    /// How much may wait, in bytes.
    pub(super) memory: usize,
    pub(super) control: &'a Control,
    /// The runs that were put aside.
    pub(super) runs: &'a AtomicU64,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) files: u64,
}

/// The batches of a part that have rows of a slice.
struct Stream<'a> {
    file: &'a FlowParts,
    /// The number of the file's first row; `None` where the rows are none of the input any more.
    base: Option<u64>,
    part: usize,
    next: usize,
    /// By span: the least time of those that have rows of the slice, from there on.
    from_us: Vec<i64>,
    reader: Option<PartReader<'a>>,
}

impl<'a> Stream<'a> {
    fn new(
        file: &'a FlowParts,
        base: Option<u64>,
        (part, spans): (usize, &[Span]),
        slice: Slice,
    ) -> Option<Self> {
        let is_in =
            |span: &Span| span.least_us <= slice.last_us && span.greatest_us >= slice.start_us;
        let count = spans.iter().rposition(is_in)? + 1;
        let spans = spans.get(..count)?;
        let mut least = i64::MAX;
        let mut from_us: Vec<i64> = spans
            .iter()
            .rev()
            .map(|span| {
                if is_in(span) {
                    least = least.min(span.least_us.max(slice.start_us));
                }
                least
            })
            .collect();
        from_us.reverse();
        Some(Self {
            file,
            base,
            part,
            next: 0,
            from_us,
            reader: None,
        })
    }

    fn next_us(&self) -> Option<i64> {
        self.from_us.get(self.next).copied()
    }
}

/// A row that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    received_us: i64,
    source: u32,
    row: u32,
}

/// Rows that wait for their turn.
#[derive(Default)]
struct Waiting {
    entries: Vec<Entry>,
    /// Batches, and how many rows of each still wait.
    sources: Vec<Option<(Source, usize)>>,
    bytes: usize,
}

/// Where rows go.
enum Sink {
    File {
        writer: Option<FlowWriter>,
        rows: u64,
    },
    Run {
        writer: FlowWriter,
        spans: Vec<Span>,
        rows: u64,
    },
}

/// Sorted rows that were put aside.
struct Run {
    path: PathBuf,
    spans: Vec<Span>,
}

impl Merge<'_> {
    /// Writes the file of a slice.
    pub(super) fn write(&self, slice: Slice) -> Result<Written, AnalyzeError> {
        let mut gatherer = Gatherer::new(self.columns, self.names, self.lists);
        let streams = self.parts.iter().filter_map(|part| {
            let base = self.bases.get(part.file).copied();
            let file = self.files.get(part.file)?;
            Stream::new(file, base, (part.part, &part.spans), slice)
        });
        let mut sink = Sink::File {
            writer: None,
            rows: 0,
        };
        let streams: Vec<Stream<'_>> = streams.collect();
        let runs = self.merge(streams, slice, Some(self.memory), &mut gatherer, &mut sink)?;
        if !runs.is_empty() {
            self.merge_runs(&runs, slice, &mut gatherer, &mut sink)?;
        }
        let Sink::File { writer, rows } = sink else {
            return Ok(Written::default());
        };
        let Some(writer) = writer else {
            return Ok(Written::default());
        };
        Ok(Written {
            rows,
            bytes: writer.finish()?,
            files: 1,
        })
    }

    fn merge_runs(
        &self,
        runs: &[Run],
        slice: Slice,
        gatherer: &mut Gatherer<'_>,
        sink: &mut Sink,
    ) -> Result<(), AnalyzeError> {
        let opened = runs.iter().map(|run| FlowParts::open(&run.path));
        let opened: Vec<FlowParts> = opened.collect::<Result<_, _>>()?;
        let mut streams = Vec::new();
        for (file, run) in opened.iter().zip(runs) {
            let mut rest = run.spans.as_slice();
            for (part, rows) in file.parts().iter().enumerate() {
                let end = rows.first_row + rows.rows;
                let (spans, later) =
                    rest.split_at(rest.partition_point(|span| span.first_row < end));
                rest = later;
                streams.extend(Stream::new(file, None, (part, spans), slice));
            }
        }
        self.merge(streams, slice, None, gatherer, sink)?;
        for run in runs {
            fs::remove_file(&run.path).map_err(|source| StoreError::Io {
                action: "remove",
                path: run.path.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Merges streams into `sink`. Where more than `memory` waits, what is left is put aside in runs.
    fn merge(
        &self,
        mut streams: Vec<Stream<'_>>,
        slice: Slice,
        memory: Option<usize>,
        gatherer: &mut Gatherer<'_>,
        sink: &mut Sink,
    ) -> Result<Vec<Run>, AnalyzeError> {
        let first =
            |(place, stream): (usize, &Stream<'_>)| Some(Reverse((stream.next_us()?, place)));
        let mut queue: BinaryHeap<Reverse<(i64, usize)>> =
            streams.iter().enumerate().filter_map(first).collect();
        let mut waiting = Waiting::default();
        let mut runs = Vec::new();
        let mut enough = SORT_ROWS;
        while let Some(Reverse((_, place))) = queue.pop() {
            self.control.check()?;
            let stream = &mut streams[place];
            self.read(stream, slice, &mut waiting)?;
            if let Some(next_us) = stream.next_us() {
                queue.push(Reverse((next_us, place)));
            } else {
                stream.reader = None;
            }
            let horizon = queue.peek().map(|Reverse((us, _))| *us);
            let is_full = memory.is_some_and(|memory| waiting.bytes > memory);
            if runs.is_empty() && (is_full || waiting.entries.len() >= enough || queue.is_empty()) {
                waiting.write_until(horizon, |sources, picks, first_us| {
                    self.put(gatherer, sink, slice, sources, picks, first_us)
                })?;
                enough = 2 * waiting.entries.len() + SORT_ROWS;
            }
            if memory.is_some_and(|memory| waiting.bytes > memory / 2 && is_full) {
                runs.push(self.put_aside(&mut waiting, slice, gatherer)?);
            }
        }
        if !runs.is_empty() && !waiting.entries.is_empty() {
            runs.push(self.put_aside(&mut waiting, slice, gatherer)?);
        }
        Ok(runs)
    }

    /// Reads the next batch of a stream; the rows that stay and are of the slice wait then.
    fn read<'s>(
        &self,
        stream: &mut Stream<'s>,
        slice: Slice,
        waiting: &mut Waiting,
    ) -> Result<(), AnalyzeError> {
        let reader = match &mut stream.reader {
            Some(reader) => reader,
            None => stream.reader.insert(stream.file.read(stream.part, None)?),
        };
        stream.next += 1;
        let changed = |reason: &str| StoreError::NotFlows {
            path: stream.file.path().to_owned(),
            reason: reason.to_owned(),
        };
        let Some((first_row, batch)) = reader.next_batch()? else {
            return Err(changed("it has fewer rows than before").into());
        };
        let received = batch.column_by_name("received");
        let received =
            received.and_then(|array| array.as_primitive_opt::<TimestampMicrosecondType>());
        let Some(received) = received else {
            return Err(changed("it has no column \"received\"").into());
        };
        let first = stream.base.map(|base| base + first_row);
        if stream.base.is_some() {
            self.control.add_rows(batch.num_rows() as u64);
        }
        // Where a vector is too long for this, there is no memory for it either.
        let place = waiting.sources.len() as u32;
        let before = waiting.entries.len();
        for (&received_us, row) in received.values().iter().zip(0..) {
            let stays =
                first.is_none_or(|first| self.fates.get(first + u64::from(row)) != Fate::Removed);
            if stays && (slice.start_us..=slice.last_us).contains(&received_us) {
                waiting.entries.push(Entry {
                    received_us,
                    source: place,
                    row,
                });
            }
        }
        let rows = waiting.entries.len() - before;
        if rows > 0 {
            let fates = first.map(|first| (self.fates, first));
            let source = Source::new(&batch, self.columns, self.names, fates)?;
            let source = source.ok_or_else(|| changed("it has no column \"exporter\""))?;
            waiting.bytes += source.bytes + rows * size_of::<Entry>();
            waiting.sources.push(Some((source, rows)));
        }
        Ok(())
    }

    fn put(
        &self,
        gatherer: &mut Gatherer<'_>,
        sink: &mut Sink,
        slice: Slice,
        sources: &[&Source],
        picks: &[Pick],
        (first_us, last_us): (i64, i64),
    ) -> Result<(), AnalyzeError> {
        let path = PathBuf::from(slice.family.name());
        let batch = gatherer.gather(sources, picks);
        let batch = batch.map_err(|source| StoreError::Arrow { path, source })?;
        match sink {
            Sink::File { writer, rows } => {
                let writer = match writer {
                    Some(writer) => writer,
                    None => {
                        let schema = &self.columns.schema;
                        let file =
                            self.output
                                .flow_file(slice.family, first_us, schema, self.format)?;
                        writer.insert(file)
                    }
                };
                writer.write(&batch)?;
                *rows += picks.len() as u64;
            }
            Sink::Run {
                writer,
                spans,
                rows,
            } => {
                writer.write(&batch)?;
                spans.push(Span {
                    file: 0,
                    first_row: *rows,
                    rows: picks.len() as u64,
                    least_us: first_us,
                    greatest_us: last_us,
                });
                *rows += picks.len() as u64;
            }
        }
        Ok(())
    }

    /// Sorts all that waits and puts it aside.
    fn put_aside(
        &self,
        waiting: &mut Waiting,
        slice: Slice,
        gatherer: &mut Gatherer<'_>,
    ) -> Result<Run, AnalyzeError> {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let (path, writer) =
            self.output
                .scratch_segment(number, slice.family, &self.columns.schema)?;
        let mut sink = Sink::Run {
            writer,
            spans: Vec::new(),
            rows: 0,
        };
        waiting.write_by(None, RUN_BATCH_ROWS, |sources, picks, ends| {
            self.put(gatherer, &mut sink, slice, sources, picks, ends)
        })?;
        let spans = match sink {
            Sink::Run { spans, .. } => spans,
            Sink::File { .. } => Vec::new(),
        };
        Ok(Run { path, spans })
    }
}

impl Waiting {
    /// Gives the rows that were received before `horizon`, or all, in their order to `put`.
    fn write_until(
        &mut self,
        horizon: Option<i64>,
        put: impl FnMut(&[&Source], &[Pick], (i64, i64)) -> Result<(), AnalyzeError>,
    ) -> Result<(), AnalyzeError> {
        self.write_by(horizon, BATCH_ROWS, put)
    }

    fn write_by(
        &mut self,
        horizon: Option<i64>,
        batch_rows: usize,
        mut put: impl FnMut(&[&Source], &[Pick], (i64, i64)) -> Result<(), AnalyzeError>,
    ) -> Result<(), AnalyzeError> {
        let is_due = |entry: &Entry| horizon.is_none_or(|horizon| entry.received_us < horizon);
        // Most of them are in order, which a stable sort finds out.
        self.entries.sort();
        let due = self.entries.partition_point(is_due);
        let mut places = vec![u32::MAX; self.sources.len()];
        let mut picks = Vec::with_capacity(batch_rows);
        for entries in self.entries[..due].chunks(batch_rows) {
            picks.clear();
            let mut sources: Vec<&Source> = Vec::new();
            let mut used = Vec::new();
            for entry in entries {
                let number = entry.source as usize;
                if places[number] == u32::MAX {
                    let Some((source, _)) = &self.sources[number] else {
                        continue;
                    };
                    places[number] = sources.len() as u32;
                    sources.push(source);
                    used.push(number);
                }
                picks.push((places[number] as usize, entry.row as usize));
            }
            if let [first, .., last] | [first @ last] = entries {
                put(&sources, &picks, (first.received_us, last.received_us))?;
            }
            for number in used {
                places[number] = u32::MAX;
            }
        }
        for entry in self.entries.drain(..due) {
            self.bytes -= size_of::<Entry>();
            let slot = &mut self.sources[entry.source as usize];
            if let Some((source, left)) = slot {
                *left -= 1;
                if *left == 0 {
                    self.bytes -= source.bytes;
                    *slot = None;
                }
            }
        }
        Ok(())
    }
}
