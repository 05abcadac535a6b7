//! Flow files in parts, which several threads read side by side.
//!
//! A part of a flow file is a row group; one of a segment is a run of batches. What tells where they
//! are is read once, when the file is opened.

use std::fs::File;
use std::iter;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt64Array};
use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;

use crate::dataset::{SEGMENT_EXTENSION, SegmentName};
use crate::error::StoreError;
use crate::read::{family_of, is_staged, not_flows, or_settled};
use crate::schema::Family;

mod positioned;
mod segment;

use positioned::Positioned;
pub use segment::BatchMemory;
use segment::{SegmentIndex, SegmentPartReader};

/// The rows of a batch that is read from a flow file: as many as a collector's batches have.
const BATCH_ROWS: usize = 8192;
/// More than a file has: the footer is damaged. So the rows of many files can be added up.
const ROWS_MAX: u64 = 1 << 40;

/// An open flow file or segment, and the parts that it has.
pub struct FlowParts {
    path: PathBuf,
    family: Family,
    kind: Kind,
    parts: Vec<FlowPart>,
    /// A segment that a collector works on may have gone when it is to be read: then it is held open.
    held: Option<Arc<File>>,
    torn_bytes: u64,
}

enum Kind {
    Parquet(ArrowReaderMetadata),
    Segment(SegmentIndex),
    /// A segment whose first batch is yet to come.
    Empty,
}

/// Some of a file's rows, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowPart {
    /// The number of its first row in the file, from 0.
    pub first_row: u64,
    /// How many there are.
    pub rows: u64,
}

/// What a file knows of a column in one of its parts.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// No value is less: an array of one element, null where that is not known.
    pub least: ArrayRef,
    /// No value is greater: likewise.
    pub greatest: ArrayRef,
    /// How many rows have no value, where that is known.
    pub nulls: Option<u64>,
    /// The rows of the part.
    pub rows: u64,
}

impl FlowParts {
    /// Opens a flow file or segment. A staged segment that was settled since its path was found is
    /// read from where it is now.
    ///
    /// # Errors
    /// The file cannot be read, does not hold flows, or is damaged where it tells of itself.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        or_settled(path, |path| {
            if path.extension().unwrap_or_default() == SEGMENT_EXTENSION {
                Self::open_segment(path)
            } else {
                Self::open_parquet(path)
            }
        })
    }

    fn open_parquet(path: &Path) -> Result<Self, StoreError> {
        let file = Positioned::open(path)?;
        let options = ArrowReaderOptions::new();
        let metadata = unless_damaged(path, || ArrowReaderMetadata::load(&file, options))?;
        let family = family_of(path, metadata.schema())?;
        let mut parts = Vec::new();
        let mut first_row = 0;
        for group in metadata.metadata().row_groups() {
            let rows = u64::try_from(group.num_rows())
                .map_err(|_| not_flows(path, "a row group of less than no rows".to_owned()))?;
            parts.push(FlowPart { first_row, rows });
            // Both are less than 2⁶³.
            first_row += rows;
            if first_row > ROWS_MAX {
                let reason = format!("its footer tells of {first_row} rows");
                return Err(not_flows(path, reason));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            family,
            kind: Kind::Parquet(metadata),
            parts,
            held: None,
            torn_bytes: 0,
        })
    }

    fn open_segment(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        let (index, torn_bytes) = SegmentIndex::read(&file, path)?;
        let (family, kind, parts) = match index {
            Some(index) => {
                let parts = index.parts().collect();
                (
                    family_of(path, index.schema())?,
                    Kind::Segment(index),
                    parts,
                )
            }
            None if is_staged(path) => {
                let family = SegmentName::of(path)?.family();
                (family, Kind::Empty, Vec::new())
            }
            None => return Err(not_flows(path, "no whole Arrow schema".to_owned())),
        };
        Ok(Self {
            path: path.to_owned(),
            family,
            kind,
            parts,
            held: is_staged(path).then(|| Arc::new(file)),
            torn_bytes,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The family of its flows.
    pub fn family(&self) -> Family {
        self.family
    }

    /// All its columns.
    pub fn schema(&self) -> SchemaRef {
        match &self.kind {
            Kind::Parquet(metadata) => Arc::clone(metadata.schema()),
            Kind::Segment(index) => Arc::clone(index.schema()),
            Kind::Empty => Arc::new(Schema::empty()),
        }
    }

    /// Its parts, in the order of their rows.
    pub fn parts(&self) -> &[FlowPart] {
        &self.parts
    }

    /// The rows of all parts.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// What lies behind a segment's last whole batch. A segment that is written to may end so; any
    /// other is damaged.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Whether a collector may be at work on the file.
    pub fn is_staged(&self) -> bool {
        self.held.is_some()
    }

    /// What the file knows of a column in the part `part`; `None` where it knows nothing, as segments
    /// do, or has no such column.
    pub fn bounds(&self, part: usize, column: &str) -> Option<Bounds> {
        let Kind::Parquet(metadata) = &self.kind else {
            return None;
        };
        let group = metadata.metadata().row_groups().get(part)?;
        let known = || {
            let schema = metadata.schema();
            let of = StatisticsConverter::try_new(column, schema, metadata.parquet_schema())?;
            // A file that tells no number of nulls may have some.
            let of = of.with_missing_null_counts_as_zero(false);
            let nulls: UInt64Array = of.row_group_null_counts(iter::once(group))?;
            Ok::<_, ParquetError>(Bounds {
                least: of.row_group_mins(iter::once(group))?,
                greatest: of.row_group_maxes(iter::once(group))?,
                nulls: nulls.iter().next().flatten(),
                rows: self.parts.get(part).map_or(0, |part| part.rows),
            })
        };
        // Statistics that cannot be read say nothing.
        panic::catch_unwind(AssertUnwindSafe(known)).ok()?.ok()
    }

    /// Reads those columns of the part `part` that `columns` names, or all. A column that the file
    /// does not have is left out; of all columns of a segment, those are that have no value in a batch.
    ///
    /// # Errors
    /// The file cannot be opened any more.
    ///
    /// # Panics
    /// There is no such part.
    pub fn read(
        &self,
        part: usize,
        columns: Option<&[&str]>,
    ) -> Result<PartReader<'_>, StoreError> {
        let FlowPart { first_row, rows } = self.parts[part];
        let batches = match &self.kind {
            Kind::Parquet(metadata) => {
                Batches::Parquet(Box::new(self.parquet(metadata, part, columns)?))
            }
            Kind::Segment(index) => {
                let file = match &self.held {
                    Some(file) => Arc::clone(file),
                    None => {
                        let file = File::open(&self.path);
                        Arc::new(file.map_err(StoreError::io("open", &self.path))?)
                    }
                };
                Batches::Segment(Box::new(index.reader(file, part, columns)))
            }
            Kind::Empty => Batches::Ended,
        };
        Ok(PartReader {
            path: &self.path,
            next_row: first_row,
            end_row: first_row + rows,
            batches,
            memory: BatchMemory::default(),
        })
    }

    fn parquet(
        &self,
        metadata: &ArrowReaderMetadata,
        part: usize,
        columns: Option<&[&str]>,
    ) -> Result<ParquetRecordBatchReader, StoreError> {
        let file = Positioned::open(&self.path)?;
        let mask = match columns {
            None => ProjectionMask::all(),
            Some(names) => {
                let has = |name: &&str| metadata.schema().column_with_name(name).is_some();
                let names = names.iter().copied().filter(has);
                ProjectionMask::columns(metadata.parquet_schema(), names)
            }
        };
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
        unless_damaged(&self.path, || {
            builder
                .with_projection(mask)
                .with_row_groups(vec![part])
                .with_batch_size(BATCH_ROWS)
                .build()
        })
    }
}

/// Where a file is damaged, Parquet's reader may find out by an assertion.
fn unless_damaged<T>(
    path: &Path,
    read: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T, StoreError> {
    match panic::catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(not_flows(path, error.to_string())),
        Err(_) => Err(not_flows(path, "a page is damaged".to_owned())),
    }
}

/// Reads the batches of one part.
///
/// It reads into the same memory again where a batch before is gone: drop that first.
pub struct PartReader<'a> {
    path: &'a Path,
    next_row: u64,
    end_row: u64,
    batches: Batches<'a>,
    memory: BatchMemory,
}

enum Batches<'a> {
    Parquet(Box<ParquetRecordBatchReader>),
    Segment(Box<SegmentPartReader<'a>>),
    Ended,
}

impl PartReader<'_> {
    /// The next batch, and the number of its first row in the file.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged there; nothing can be read of the part after that.
    pub fn next_batch(&mut self) -> Result<Option<(u64, RecordBatch)>, StoreError> {
        let mut memory = std::mem::take(&mut self.memory);
        let next = self.next_batch_in(&mut memory);
        self.memory = memory;
        next
    }

    /// Likewise, read into memory that several readers share.
    ///
    /// # Errors
    /// As for [`next_batch`](Self::next_batch).
    pub fn next_batch_in(
        &mut self,
        memory: &mut BatchMemory,
    ) -> Result<Option<(u64, RecordBatch)>, StoreError> {
        let next = match &mut self.batches {
            Batches::Parquet(reader) => unless_damaged(self.path, || {
                let next = reader.next().transpose();
                next.map_err(|error| ParquetError::ArrowError(error.to_string()))
            }),
            Batches::Segment(reader) => reader.next_batch(self.path, memory),
            Batches::Ended => return Ok(None),
        };
        if !matches!(next, Ok(Some(_))) {
            self.batches = Batches::Ended;
        }
        let Some(batch) = next? else {
            return match self.end_row.checked_sub(self.next_row) {
                Some(0) => Ok(None),
                _ => Err(not_flows(
                    self.path,
                    "it has not the rows that it tells of".to_owned(),
                )),
            };
        };
        let first_row = self.next_row;
        self.next_row += batch.num_rows() as u64;
        Ok(Some((first_row, batch)))
    }
}

#[cfg(test)]
mod tests;
