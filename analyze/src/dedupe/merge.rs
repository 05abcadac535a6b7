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
use forebay_store::{BatchMemory, FileFormat, FlowParts, FlowWriter, NewDataset, StoreError};

use super::fates::{Fate, Fates};
use super::gather::{BATCH_ROWS, Columns, Gatherer, Pick, Rows, Source};
use super::lists::AllLists;
use super::origins::{NO_LIST, Names};
use super::plan::{Part, Slice, Span};
use crate::error::AnalyzeError;
use crate::scan::Control;

mod stream;
mod waiting;

use stream::Stream;
use waiting::Waiting;

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
        let mut batch_memory = BatchMemory::default();
        let mut runs = Vec::new();
        let mut enough = SORT_ROWS;
        while let Some(Reverse((_, place))) = queue.pop() {
            self.control.check()?;
            let stream = &mut streams[place];
            self.read(stream, slice, &mut waiting, &mut batch_memory)?;
            if let Some(next_us) = stream.next_us() {
                queue.push(Reverse((next_us, place)));
            }
            let horizon = queue.peek().map(|Reverse((us, _))| *us);
            let is_full = memory.is_some_and(|memory| waiting.bytes() > memory);
            if runs.is_empty() && (is_full || waiting.rows() >= enough || queue.is_empty()) {
                waiting.take(horizon, BATCH_ROWS, |sources, picks, times| {
                    self.put(gatherer, sink, slice, sources, picks, times)
                })?;
                enough = 2 * waiting.rows() + SORT_ROWS;
            }
            if memory.is_some_and(|memory| waiting.bytes() > memory / 2 && is_full) {
                runs.push(self.put_aside(&mut waiting, slice, gatherer)?);
            }
        }
        if !runs.is_empty() && waiting.rows() > 0 {
            runs.push(self.put_aside(&mut waiting, slice, gatherer)?);
        }
        Ok(runs)
    }

    /// Reads the next batch of a stream; the rows that stay and are of the slice wait then.
    fn read(
        &self,
        stream: &mut Stream<'_>,
        slice: Slice,
        waiting: &mut Waiting,
        memory: &mut BatchMemory,
    ) -> Result<(), AnalyzeError> {
        let (first, batch) = stream.read(memory)?;
        let received = batch.column_by_name("received");
        let received =
            received.and_then(|array| array.as_primitive_opt::<TimestampMicrosecondType>());
        let Some(received) = received else {
            return Err(stream.changed("it has no column \"received\""));
        };
        if first.is_some() {
            self.control.add_rows(batch.num_rows() as u64);
        }
        let rows = self.rows(received.values(), first, slice);
        if !rows.places.is_empty() {
            let times: Vec<i64> = (rows.places.iter())
                .map(|&place| received.value(place as usize))
                .collect();
            let source = Source::new(&batch, self.columns, self.names, rows)?;
            let source = source.ok_or_else(|| stream.changed("it has no column \"exporter\""))?;
            waiting.add(source, times.into_iter());
        }
        Ok(())
    }

    /// Those rows that stay and are of the slice, of a batch whose first has the number `first` among
    /// all, if it is of the input.
    fn rows(&self, received: &[i64], first: Option<u64>, slice: Slice) -> Rows {
        let mut rows = Rows::default();
        let tells_seen = self.columns.tells_seen();
        for (received_us, place) in received.iter().zip(0..) {
            if !(slice.start_us..=slice.last_us).contains(received_us) {
                continue;
            }
            let fate = first.map(|first| self.fates.get(first + u64::from(place)));
            let list = match fate {
                Some(Fate::Removed) => continue,
                Some(Fate::Seen(list)) => list,
                Some(Fate::Alone) | None => NO_LIST,
            };
            rows.places.push(place);
            if tells_seen {
                rows.lists.push(list);
            }
        }
        rows
    }

    fn put(
        &self,
        gatherer: &mut Gatherer<'_>,
        sink: &mut Sink,
        slice: Slice,
        sources: &[&Source],
        picks: &[Pick<'_>],
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
                        let received_us = first_us..=slice.last_us;
                        let file = self.output.flow_file(
                            slice.family,
                            received_us,
                            schema,
                            self.format,
                        )?;
                        writer.insert(file)
                    }
                };
                writer.write(&batch)?;
                *rows += batch.num_rows() as u64;
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
                    rows: batch.num_rows() as u64,
                    least_us: first_us,
                    greatest_us: last_us,
                });
                *rows += batch.num_rows() as u64;
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
        waiting.take(None, RUN_BATCH_ROWS, |sources, picks, ends| {
            self.put(gatherer, &mut sink, slice, sources, picks, ends)
        })?;
        let spans = match sink {
            Sink::Run { spans, .. } => spans,
            Sink::File { .. } => Vec::new(),
        };
        Ok(Run { path, spans })
    }
}
