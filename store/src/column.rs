//! One column of a batch while it fills: values, and which rows have one.
//!
//! A data set either has an element in all its records or in none, so presence
//! comes in runs of rows. Keeping the runs instead of a bit per row makes an
//! absent column cost nothing until a row that has it comes along, and a column
//! that is always there needs no bitmap at all.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeBinaryArray};
use arrow_buffer::{
    ArrowNativeType, BooleanBuffer, BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer,
    ScalarBuffer,
};
use arrow_schema::ArrowError;

use crate::zeros::zeros;

/// The rows of a column that hold a value, as merged runs in ascending order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Presence {
    runs: Vec<Range<usize>>,
}

impl Presence {
    #[inline]
    fn add(&mut self, rows: Range<usize>) {
        if rows.is_empty() {
            return;
        }
        match self.runs.last_mut() {
            Some(last) if last.end == rows.start => last.end = rows.end,
            _ => self.runs.push(rows),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many of `rows` have none.
    pub(crate) fn nulls_among(&self, rows: Range<usize>) -> usize {
        let overlap = |run: &Range<usize>| {
            let ends = run.start.max(rows.start)..run.end.min(rows.end);
            ends.len()
        };
        let first = self.runs.partition_point(|run| run.end <= rows.start);
        let runs = self.runs.iter().skip(first);
        let near = runs.take_while(|run| run.start < rows.end);
        rows.len() - near.map(overlap).sum::<usize>()
    }

    /// The validity bitmap for `rows` rows; `None` where every row has a value.
    pub(crate) fn nulls(&self, rows: usize) -> Option<NullBuffer> {
        if let [only] = self.runs.as_slice()
            && *only == (0..rows)
        {
            return None;
        }
        if self.is_empty() {
            let bits = BooleanBuffer::new(zeros(rows.div_ceil(8)), 0, rows);
            return Some(NullBuffer::new(bits));
        }
        let mut bits = BooleanBufferBuilder::new(rows);
        for run in &self.runs {
            bits.append_n(run.start - bits.len(), false);
            bits.append_n(run.len(), true);
        }
        bits.append_n(rows - bits.len(), false);
        Some(NullBuffer::new(bits.finish()))
    }
}

/// A column of fixed-width values.
///
/// Rows are written in order, a run at a time; rows that are passed over are null.
#[derive(Debug, Clone, Default)]
pub struct Column<T> {
    pub(crate) values: Vec<T>,
    /// Rows to make room for when the first value comes.
    room: usize,
    pub(crate) presence: Presence,
}

impl<T: Copy + Default> Column<T> {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self {
            values: Vec::new(),
            room: rows,
            presence: Presence::default(),
        }
    }

    #[inline]
    fn resize(&mut self, rows: usize) {
        if self.values.capacity() == 0 && rows > 0 {
            self.values.reserve_exact(self.room.max(rows));
        }
        self.values.resize(rows, T::default());
    }

    /// Fills the rows since the last write, so that row `row` comes next.
    fn pass_over(&mut self, row: usize) {
        debug_assert!(self.values.len() <= row, "rows are written in order");
        self.resize(row);
    }

    /// Writes `values` to the `count` rows from `row` on.
    #[inline]
    pub fn extend(&mut self, row: usize, count: usize, values: impl Iterator<Item = T>) {
        // Given the number, the loop needs no look at the vector's capacity.
        let rows = self.grow(row, count);
        rows.iter_mut()
            .zip(values)
            .for_each(|(row, value)| *row = value);
    }

    /// The next `count` rows, from `row` on, to be written to: all hold a value now.
    #[inline]
    pub fn grow(&mut self, row: usize, count: usize) -> &mut [T] {
        debug_assert!(self.values.len() <= row, "rows are written in order");
        self.resize(row + count);
        self.presence.add(row..row + count);
        self.values.get_mut(row..).unwrap_or_default()
    }

    /// Writes values to the rows from `row` on; `None` leaves a row null.
    pub fn extend_optional(&mut self, row: usize, values: impl Iterator<Item = Option<T>>) {
        self.pass_over(row);
        // Presence is told by runs here too: there are far fewer than rows.
        let mut run = row;
        for value in values {
            let row = self.values.len();
            if value.is_none() {
                self.presence.add(run..row);
                run = row + 1;
            }
            self.values.push(value.unwrap_or_default());
        }
        self.presence.add(run..self.values.len());
    }

    /// Writes to `count` rows from `row` on the value of each run to so many of them.
    pub fn fill_runs(&mut self, row: usize, count: usize, runs: impl Iterator<Item = (usize, T)>) {
        let mut rest = self.grow(row, count);
        for (count, value) in runs {
            let Some((run, others)) = std::mem::take(&mut rest).split_at_mut_checked(count) else {
                break;
            };
            run.fill(value);
            rest = others;
        }
    }

    /// Writes the value of each run to so many rows, the first of which is `row`; `None` leaves
    /// them null.
    pub fn extend_runs(&mut self, mut row: usize, runs: impl Iterator<Item = (usize, Option<T>)>) {
        for (count, value) in runs {
            if let Some(value) = value {
                self.fill(row, count, value);
            }
            row += count;
        }
    }

    /// Writes `value` to `count` rows from `row` on.
    pub fn fill(&mut self, row: usize, count: usize, value: T) {
        self.pass_over(row);
        if self.values.capacity() == 0 {
            self.values.reserve_exact(self.room.max(count));
        }
        self.values.resize(row + count, value);
        self.presence.add(row..row + count);
    }

    /// The values from `row` to the last written one, to correct in place.
    pub fn written_since(&mut self, row: usize) -> &mut [T] {
        self.values.get_mut(row..).unwrap_or_default()
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.values.as_slice())
    }
}

impl<T: ArrowNativeType + Default> Column<T> {
    pub(crate) fn into_buffer(mut self, rows: usize) -> ScalarBuffer<T> {
        if self.presence.is_empty() {
            return zeros(rows * size_of::<T>()).into();
        }
        self.pass_over(rows);
        self.values.into()
    }
}

impl<const N: usize> Column<[u8; N]>
where
    [u8; N]: Default,
{
    pub(crate) fn into_fixed_binary(
        mut self,
        rows: usize,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, ArrowError> {
        let octets = if self.presence.is_empty() {
            zeros(rows * N)
        } else {
            self.pass_over(rows);
            Buffer::from_vec(self.values.into_flattened())
        };
        // N is 6 or 16.
        Ok(Arc::new(FixedSizeBinaryArray::try_new(
            N as i32, octets, nulls,
        )?))
    }
}

/// A column of values of any length: text or octets.
#[derive(Debug, Clone)]
pub struct BytesColumn {
    pub(crate) data: Vec<u8>,
    /// Arrow's offsets: one more than rows.
    pub(crate) offsets: Vec<i32>,
    pub(crate) presence: Presence,
}

impl BytesColumn {
    pub(crate) fn new() -> Self {
        Self {
            data: Vec::new(),
            offsets: vec![0],
            presence: Presence::default(),
        }
    }

    /// Writes one value to row `row`.
    pub fn push(&mut self, row: usize, value: &[u8]) {
        self.pass_over(row);
        self.data.extend_from_slice(value);
        self.presence.add(row..row + 1);
        self.pass_over(row + 1);
    }

    pub(crate) fn pass_over(&mut self, row: usize) {
        // A batch holds far less than 2 GiB: its rows come from datagrams of 64 KiB at most.
        let end = i32::try_from(self.data.len()).expect("a batch is cut long before 2 GiB");
        self.offsets.resize(row + 1, end);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.data.len() + size_of_val(self.offsets.as_slice())
    }

    pub(crate) fn into_parts(mut self, rows: usize) -> (OffsetBuffer<i32>, Buffer) {
        self.pass_over(rows);
        (
            OffsetBuffer::new(self.offsets.into()),
            Buffer::from_vec(self.data),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_is_always_there_needs_no_bitmap() {
        let mut column = Column::<u32>::default();
        column.extend(0, 2, [1, 2].into_iter());
        column.fill(2, 3, 9);
        assert_eq!(column.values, [1, 2, 9, 9, 9]);
        assert!(column.presence.nulls(5).is_none());
    }

    #[test]
    fn rows_passed_over_are_null() {
        let mut column = Column::<u8>::default();
        column.fill(2, 1, 7);
        column.extend_optional(4, [None, Some(3)].into_iter());
        let nulls = column.presence.nulls(7).expect("has nulls");
        let valid: Vec<bool> = nulls.iter().collect();
        assert_eq!(valid, [false, false, true, false, false, true, false]);
        assert_eq!(column.values, [0, 0, 7, 0, 0, 3]);
    }

    #[test]
    fn bytes_keep_their_offsets_over_null_rows() {
        let mut column = BytesColumn::new();
        column.push(1, b"ab");
        column.push(3, b"");
        column.pass_over(5);
        assert_eq!(column.offsets, [0, 0, 2, 2, 2, 2]);
        let valid: Vec<bool> = column
            .presence
            .nulls(5)
            .expect("has nulls")
            .iter()
            .collect();
        assert_eq!(valid, [false, true, false, true, false]);
    }
}
