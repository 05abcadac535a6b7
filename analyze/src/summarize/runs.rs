//! Sorted runs of rows, one for each partition, and merging them.

use super::layout::Layout;
use super::order::{Order, Row};
use crate::error::AnalyzeError;
use crate::rows::{Extent, Memory, Spill};

/// So many rows of a run that was put aside are read at once, or fewer where there are many runs.
const READ_ROWS: usize = 1024;
/// But not fewer than these: each reading costs a system call.
const READ_ROWS_LEAST: usize = 8;

/// Rows of one layout in order.
pub(super) struct Run {
    /// The layout's place.
    lane: usize,
    rows: Rows,
}

enum Rows {
    Held(Vec<u64>),
    Aside(Extent),
}

impl Run {
    /// Sorts rows, of which only the first `top` are wanted.
    pub(super) fn sort(
        (lane, layout): (usize, &Layout),
        rows: &[u64],
        order: &Order,
        top: Option<usize>,
    ) -> Self {
        let words = layout.words;
        let row = |number: u32| {
            let start = number as usize * words;
            let words = &rows[start..start + words];
            Row { layout, words }
        };
        // A partition of more rows than a `u32` counts does not fit in memory: it was split before.
        let mut ranked: Vec<(u64, u32)> = (0..(rows.len() / words) as u32)
            .map(|number| (order.rank(row(number)), number))
            .collect();
        let compare = |one: &(u64, u32), other: &(u64, u32)| {
            let by_rank = one.0.cmp(&other.0);
            by_rank.then_with(|| order.compare(row(one.1), row(other.1)))
        };
        if let Some(top) = top
            && top < ranked.len()
        {
            if top > 0 {
                ranked.select_nth_unstable_by(top - 1, compare);
            }
            ranked.truncate(top);
        }
        ranked.sort_unstable_by(compare);
        let mut sorted = Vec::with_capacity(ranked.len() * words);
        for (_, number) in ranked {
            sorted.extend_from_slice(row(number).words);
        }
        Self {
            lane,
            rows: Rows::Held(sorted),
        }
    }

    /// The rows.
    pub(super) fn rows(&self, layouts: &[Layout]) -> usize {
        let words = match &self.rows {
            Rows::Held(rows) => rows.len(),
            Rows::Aside(extent) => extent.words(),
        };
        words / layouts[self.lane].words
    }

    /// Counts the memory of the rows, which go to the temporary file where that is more than there may be.
    pub(super) fn keep(&mut self, memory: &Memory, spill: &Spill) -> Result<(), AnalyzeError> {
        if let Rows::Held(rows) = &self.rows
            && memory.take(8 * rows.len())
        {
            let bytes = 8 * rows.len();
            self.rows = Rows::Aside(spill.write(&[rows])?);
            memory.give(bytes);
        }
        Ok(())
    }
}

/// Reads a run from its first row on.
struct Cursor {
    lane: usize,
    words: usize,
    /// What is in memory, and where in it the row is that comes next.
    held: Vec<u64>,
    at: usize,
    /// What is still to be read.
    aside: Option<(Extent, usize)>,
    rank: u64,
    /// So many words are read at once.
    read_words: usize,
}

impl Cursor {
    fn new(run: Run, layouts: &[Layout], most_words: usize) -> Self {
        let (held, aside) = match run.rows {
            Rows::Held(rows) => (rows, None),
            Rows::Aside(extent) => (Vec::new(), Some((extent, 0))),
        };
        let words = layouts[run.lane].words;
        let read_rows = (most_words / words.max(1)).clamp(READ_ROWS_LEAST, READ_ROWS);
        Self {
            lane: run.lane,
            words,
            held,
            at: 0,
            aside,
            rank: 0,
            read_words: read_rows * words,
        }
    }

    /// The row that comes next; there is one.
    fn row<'a>(&'a self, layouts: &'a [Layout]) -> Row<'a> {
        Row {
            layout: &layouts[self.lane],
            words: &self.held[self.at..self.at + self.words],
        }
    }

    /// Sees to it that the next row is in memory; whether there is one.
    fn fill(&mut self, merger: &MergeBy<'_>) -> Result<bool, AnalyzeError> {
        if self.at >= self.held.len()
            && let Some((extent, from)) = &mut self.aside
        {
            self.held.clear();
            self.at = 0;
            let part = extent.part(*from, self.read_words);
            merger.spill.read(part, &mut self.held)?;
            *from += part.words();
        }
        let has_row = self.at < self.held.len();
        if has_row {
            self.rank = merger.order.rank(self.row(merger.layouts));
        }
        Ok(has_row)
    }
}

/// What runs are merged by.
#[derive(Clone, Copy)]
pub(super) struct MergeBy<'a> {
    pub(super) layouts: &'a [Layout],
    pub(super) order: &'a Order,
    pub(super) spill: &'a Spill,
}

impl MergeBy<'_> {
    fn is_before(&self, one: &Cursor, other: &Cursor) -> bool {
        let by_rank = one.rank.cmp(&other.rank);
        let order = by_rank.then_with(|| {
            let (one, other) = (one.row(self.layouts), other.row(self.layouts));
            self.order.compare(one, other)
        });
        order.is_lt()
    }
}

/// Rows that are all in memory, cut into ranges that can be put in order side by side.
pub(super) struct Ranges {
    runs: Vec<(usize, Vec<u64>)>,
    /// A range is of the rows whose rank is from one of these up to the next.
    starts: Vec<u64>,
}

/// Of so many rows of a run one tells where ranges may begin.
const SAMPLE_ROWS: usize = 256;
/// About so many rows are a range.
const RANGE_ROWS: usize = 8192;

impl Ranges {
    /// Cuts `runs` into ranges, unless one was put aside: then it gives them back.
    pub(super) fn new(runs: Vec<Run>, by: &MergeBy<'_>) -> Result<Self, Vec<Run>> {
        if runs.iter().any(|run| matches!(run.rows, Rows::Aside(_))) {
            return Err(runs);
        }
        let held = |run: Run| match run.rows {
            Rows::Held(rows) => Some((run.lane, rows)),
            Rows::Aside(_) => None,
        };
        let runs: Vec<(usize, Vec<u64>)> = runs.into_iter().filter_map(held).collect();
        let mut samples: Vec<u64> = runs
            .iter()
            .flat_map(|(lane, rows)| {
                let layout = &by.layouts[*lane];
                let rows = rows.chunks_exact(layout.words).step_by(SAMPLE_ROWS);
                rows.map(|words| by.order.rank(Row { layout, words }))
            })
            .collect();
        samples.sort_unstable();
        let mut starts: Vec<u64> = samples
            .into_iter()
            .step_by(RANGE_ROWS / SAMPLE_ROWS)
            .collect();
        starts.dedup();
        if let Some(first) = starts.first_mut() {
            *first = 0;
        }
        Ok(Self { runs, starts })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The rows of a range, in order.
    pub(super) fn rows<'a>(&'a self, range: usize, by: &MergeBy<'a>) -> Vec<Row<'a>> {
        let (first, end) = (self.starts[range], self.starts.get(range + 1).copied());
        let row = |(run, number): (u32, u32)| {
            let (lane, rows) = &self.runs[run as usize];
            let layout = &by.layouts[*lane];
            let start = number as usize * layout.words;
            let words = &rows[start..start + layout.words];
            Row { layout, words }
        };
        let rank = |place| by.order.rank(row(place));
        // Small, for they are moved often.
        let mut ranked: Vec<(u64, (u32, u32))> = Vec::with_capacity(2 * RANGE_ROWS);
        for (run, (lane, rows)) in (0..).zip(&self.runs) {
            // A run has no more rows than a `u32` counts: see `Run::sort`.
            let count = (rows.len() / by.layouts[*lane].words) as u32;
            let start = first_of(count, |number| rank((run, number)) >= first);
            let ranks = (start..count).map(|number| (rank((run, number)), (run, number)));
            ranked.extend(ranks.take_while(|(rank, _)| end.is_none_or(|end| *rank < end)));
        }
        ranked.sort_unstable_by(|one, other| {
            let by_rank = one.0.cmp(&other.0);
            by_rank.then_with(|| by.order.compare(row(one.1), row(other.1)))
        });
        ranked.into_iter().map(|(_, place)| row(place)).collect()
    }
}

/// The first of `count` numbers from which on `is_there` says so.
fn first_of(count: u32, is_there: impl Fn(u32) -> bool) -> u32 {
    let (mut from, mut to) = (0, count);
    while from < to {
        let middle = from + (to - from) / 2;
        match is_there(middle) {
            true => to = middle,
            false => from = middle + 1,
        }
    }
    from
}

/// Takes the rows of runs in order: a heap of runs by their next rows.
pub(super) struct Merger {
    heap: Vec<Cursor>,
}

/// Some rows of the answer, in order: where each is, and of which layout.
#[derive(Default)]
pub(super) struct Gathered {
    words: Vec<u64>,
    rows: Vec<(u32, u32)>,
}

impl Gathered {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn rows<'a>(&'a self, layouts: &'a [Layout]) -> Vec<Row<'a>> {
        let row = |&(lane, start): &(u32, u32)| {
            let layout = &layouts[lane as usize];
            let words = &self.words[start as usize..start as usize + layout.words];
            Row { layout, words }
        };
        self.rows.iter().map(row).collect()
    }
}

impl Merger {
    /// The runs that were put aside are read within a quarter of `memory` bytes together.
    pub(super) fn new(
        runs: Vec<Run>,
        by: &MergeBy<'_>,
        memory: usize,
    ) -> Result<Self, AnalyzeError> {
        let most_words = memory / 4 / size_of::<u64>() / runs.len().max(1);
        let mut heap = Vec::with_capacity(runs.len());
        for run in runs {
            let mut cursor = Cursor::new(run, by.layouts, most_words);
            if cursor.fill(by)? {
                heap.push(cursor);
            }
        }
        let mut merger = Self { heap };
        for place in (0..merger.heap.len() / 2).rev() {
            merger.sink(place, by);
        }
        Ok(merger)
    }

    /// The next rows, `most` at the most.
    pub(super) fn take(&mut self, most: usize, by: &MergeBy<'_>) -> Result<Gathered, AnalyzeError> {
        let mut gathered = Gathered::default();
        while gathered.rows.len() < most
            && let Some(first) = self.heap.first_mut()
        {
            let row = first.row(by.layouts);
            let place = (first.lane as u32, gathered.words.len() as u32);
            gathered.words.extend_from_slice(row.words);
            gathered.rows.push(place);
            first.at += first.words;
            if !first.fill(by)? {
                self.heap.swap_remove(0);
            }
            self.sink(0, by);
        }
        Ok(gathered)
    }

    /// Restores the order below `place`.
    fn sink(&mut self, mut place: usize, by: &MergeBy<'_>) {
        loop {
            let mut least = place;
            for child in [2 * place + 1, 2 * place + 2] {
                if child < self.heap.len() && by.is_before(&self.heap[child], &self.heap[least]) {
                    least = child;
                }
            }
            if least == place {
                return;
            }
            self.heap.swap(place, least);
            place = least;
        }
    }
}
