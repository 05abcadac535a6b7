//! Batches of a part of the input, in the order in which they are read.

use arrow_array::RecordBatch;
use forebay_store::{BatchMemory, FlowParts, PartReader, StoreError};

use super::super::plan::{Slice, Span};
use crate::error::AnalyzeError;

/// The batches of a part that have rows of a slice.
pub(super) struct Stream<'a> {
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
    pub(super) fn new(
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

    /// When the earliest row may have been received that is to come.
    pub(super) fn next_us(&self) -> Option<i64> {
        self.from_us.get(self.next).copied()
    }

    /// The next batch, and the number of its first row among all of the input, if it is of that.
    pub(super) fn read(
        &mut self,
        memory: &mut BatchMemory,
    ) -> Result<(Option<u64>, RecordBatch), AnalyzeError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => self.reader.insert(self.file.read(self.part, None)?),
        };
        self.next += 1;
        let Some((first_row, batch)) = reader.next_batch_in(memory)? else {
            return Err(self.changed("it has fewer rows than before"));
        };
        if self.next_us().is_none() {
            self.reader = None;
        }
        Ok((self.base.map(|base| base + first_row), batch))
    }

    /// An error: the file is not what it was.
    pub(super) fn changed(&self, reason: &str) -> AnalyzeError {
        let error = StoreError::NotFlows {
            path: self.file.path().to_owned(),
            reason: reason.to_owned(),
        };
        error.into()
    }
}
