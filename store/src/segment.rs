//! Segments: batches of one family appended to an Arrow IPC stream file.
//!
//! Arrow's stream format can be read up to the last whole message whatever
//! happens to the process that writes it, so a segment needs no log beside it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::FlowBatch;
use crate::dataset::{Dataset, SegmentName};
use crate::error::StoreError;
use crate::origin::NotWritten;
use crate::schema::{ColumnSet, Family, FlowSchema};
use crate::stream::StreamFile;

/// An open segment.
pub struct SegmentWriter {
    name: SegmentName,
    schema: Arc<FlowSchema>,
    columns: ColumnSet,
    stream: StreamFile,
}

/// A segment that is written, to be settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedSegment {
    /// Its name.
    pub name: SegmentName,
    /// Its file.
    pub path: PathBuf,
    /// The flows in it.
    pub rows: u64,
    /// The file's length.
    pub bytes: u64,
}

impl SegmentWriter {
    /// Makes a segment for batches with the columns of `set`.
    ///
    /// Its name says `start_us`, or the next microsecond of its hour that makes it unique.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(
        dataset: &Dataset,
        shard: u16,
        family: Family,
        start_us: i64,
        set: ColumnSet,
        schema: &Arc<FlowSchema>,
    ) -> Result<Self, StoreError> {
        let (name, path, file) = create_file(dataset, SegmentName::new(shard, family, start_us))?;
        Ok(Self {
            name,
            schema: Arc::clone(schema),
            columns: set,
            stream: StreamFile::new(file, &path, family, &schema.arrow(set))?,
        })
    }

    /// Appends a batch: the bytes written.
    ///
    /// # Errors
    /// The batch could not be written whole. What was written of it is taken
    /// back, so that the segment ends with the batch before; nothing more can
    /// be appended then, only [`close`](Self::close) is left.
    pub fn append(&mut self, batch: FlowBatch) -> Result<u64, NotWritten> {
        let batch = batch.into_record_batch(&self.schema, self.columns);
        let path = self.stream.path();
        let batch =
            batch.map_err(|error| NotWritten::nothing_known(StoreError::arrow(path)(error)))?;
        let appended = self.stream.append(&batch);
        appended.map_err(|error| NotWritten::of(&batch, error))
    }

    /// The columns that the segment's batches have.
    pub fn columns(&self) -> ColumnSet {
        self.columns
    }

    /// The segment's name.
    pub fn name(&self) -> SegmentName {
        self.name
    }

    /// The flows in the segment.
    pub fn rows(&self) -> u64 {
        self.stream.rows()
    }

    /// The file's length.
    pub fn bytes(&self) -> u64 {
        self.stream.bytes()
    }

    /// Ends the segment; `None` where it holds nothing and is removed.
    ///
    /// # Errors
    /// An empty segment cannot be removed.
    pub fn close(self) -> Result<Option<ClosedSegment>, StoreError> {
        let path = self.stream.path();
        if self.rows() == 0 {
            fs::remove_file(path).map_err(StoreError::io("remove", path))?;
            return Ok(None);
        }
        Ok(Some(ClosedSegment {
            name: self.name,
            path: path.to_owned(),
            rows: self.rows(),
            bytes: self.bytes(),
        }))
    }
}

/// Makes the file of the first free name from `name` on.
fn create_file(
    dataset: &Dataset,
    mut name: SegmentName,
) -> Result<(SegmentName, PathBuf, File), StoreError> {
    loop {
        let path = dataset.segment_path(name);
        let free = !dataset.is_taken(name);
        match free.then(|| create_new(&path)) {
            Some(Ok(file)) => return Ok((name, path, file)),
            Some(Err(error)) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StoreError::io("make", &path)(error));
            }
            _ => {}
        }
        // An hour has more names than files fit on a disk.
        name = name.bump();
    }
}

/// Makes the file, and its folder where somebody has removed it.
fn create_new(path: &Path) -> io::Result<File> {
    match (File::create_new(path), path.parent()) {
        (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder)?;
            File::create_new(path)
        }
        (result, _) => result,
    }
}

/// What became of a batch.
#[derive(Debug)]
#[must_use]
pub struct Written {
    /// The segment that ended before the batch or because of it.
    pub closed: Option<ClosedSegment>,
    /// The bytes appended; or why the batch was not written. The next one may
    /// be tried all the same.
    pub appended: Result<u64, NotWritten>,
}

/// Writes one shard's batches of one family, segment after segment.
///
/// A segment ends when a batch has a column that the segment has not, or finds
/// the segment full; when a write fails, so that the next batch begins afresh;
/// or when its owner closes it, as at the end of a rotation interval.
pub struct FamilyWriter {
    dataset: Arc<Dataset>,
    schema: Arc<FlowSchema>,
    shard: u16,
    family: Family,
    /// A segment that has reached this length ends.
    segment_bytes: u64,
    open: Option<SegmentWriter>,
    /// The columns that the batches of the open segment, or of the last, had:
    /// what the next segment begins with.
    seen: ColumnSet,
}

impl FamilyWriter {
    /// A writer with no segment open, of segments of about `segment_bytes`.
    pub fn new(
        dataset: &Arc<Dataset>,
        schema: &Arc<FlowSchema>,
        shard: u16,
        family: Family,
        segment_bytes: u64,
    ) -> Self {
        Self {
            dataset: Arc::clone(dataset),
            schema: Arc::clone(schema),
            shard,
            family,
            segment_bytes,
            open: None,
            seen: ColumnSet::default(),
        }
    }

    /// Writes a batch whose first row was received at `received_us`, which
    /// names the segment that begins with it. That has the columns of `likely` too, which
    /// batches that follow are likely to have.
    pub fn write(&mut self, batch: FlowBatch, likely: ColumnSet, received_us: i64) -> Written {
        let mut closed = None;
        let appended = self.append(batch, likely, received_us, &mut closed);
        if appended.is_err() {
            let broken = self.close().unwrap_or_default();
            closed = closed.or(broken);
        }
        Written { closed, appended }
    }

    fn append(
        &mut self,
        batch: FlowBatch,
        likely: ColumnSet,
        received_us: i64,
        closed: &mut Option<ClosedSegment>,
    ) -> Result<u64, NotWritten> {
        if batch.rows() == 0 {
            return Ok(0);
        }
        let present = batch.present();
        let goes_on = self.open.as_ref().is_some_and(|segment| {
            segment.bytes() < self.segment_bytes && present.is_subset_of(segment.columns())
        });
        if !goes_on {
            // A segment that cannot be closed is empty: nothing is lost with it.
            *closed = self.close().unwrap_or_default();
        }
        let segment = match &mut self.open {
            Some(segment) => segment,
            None => {
                let set = self.seen.union(present).union(likely);
                self.seen = ColumnSet::default();
                let created = SegmentWriter::create(
                    &self.dataset,
                    self.shard,
                    self.family,
                    received_us,
                    set,
                    &self.schema,
                );
                match created {
                    Ok(segment) => self.open.insert(segment),
                    Err(error) => {
                        return Err(match batch.into_record_batch(&self.schema, set) {
                            Ok(batch) => NotWritten::of(&batch, error),
                            Err(_) => NotWritten::nothing_known(error),
                        });
                    }
                }
            }
        };
        self.seen = self.seen.union(present);
        segment.append(batch)
    }

    /// Ends the open segment, if there is one with flows.
    ///
    /// # Errors
    /// An empty segment cannot be removed.
    pub fn close(&mut self) -> Result<Option<ClosedSegment>, StoreError> {
        match self.open.take() {
            Some(segment) => segment.close(),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
