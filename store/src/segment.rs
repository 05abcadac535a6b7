//! Segments: batches of one family appended to an Arrow IPC stream file.
//!
//! Arrow's stream format can be read up to the last whole message whatever
//! happens to the process that writes it, so a segment needs no log beside it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_buffer::Buffer;
use arrow_ipc::writer::StreamEncoder;

use crate::batch::FlowBatch;
use crate::dataset::{Dataset, SegmentName};
use crate::error::StoreError;
use crate::origin::NotWritten;
use crate::schema::{ColumnSet, FAMILY_KEY, Family, FlowSchema};
use crate::zeros::is_zeros;

/// An open segment.
pub struct SegmentWriter {
    name: SegmentName,
    path: PathBuf,
    file: File,
    schema: Arc<FlowSchema>,
    columns: ColumnSet,
    encoder: StreamEncoder,
    rows: u64,
    /// The file's length up to the last whole batch.
    bytes: u64,
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
    /// Its name says `start_us`, or the next microsecond that makes it unique.
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
        let told = HashMap::from([(FAMILY_KEY.to_owned(), family.name().to_owned())]);
        let fields = schema.arrow(set).as_ref().clone().with_metadata(told);
        let encoder = StreamEncoder::try_new(&fields).map_err(StoreError::arrow(&path))?;
        Ok(Self {
            name,
            path,
            file,
            schema: Arc::clone(schema),
            columns: set,
            encoder,
            rows: 0,
            bytes: 0,
        })
    }

    /// Appends a batch: the bytes written.
    ///
    /// # Errors
    /// The batch could not be written whole. What was written of it is taken
    /// back, so that the segment ends with the batch before; nothing more can
    /// be appended then, only [`close`](Self::close) is left.
    pub fn append(&mut self, batch: FlowBatch) -> Result<u64, NotWritten> {
        let arrow = |error| StoreError::arrow(&self.path)(error);
        let batch = batch.into_record_batch(&self.schema, self.columns);
        let batch = batch.map_err(|error| NotWritten::nothing_known(arrow(error)))?;
        let encoded = self.encoder.encode(&batch).map_err(arrow);
        match encoded.and_then(|message| self.write(&message)) {
            Ok(written) => {
                self.rows += batch.num_rows() as u64;
                Ok(written)
            }
            Err(error) => Err(NotWritten::of(&batch, error)),
        }
    }

    fn write(&mut self, message: &[Buffer]) -> Result<u64, StoreError> {
        match append_all(&self.file, self.bytes, message) {
            Ok(written) => {
                self.bytes += written;
                Ok(written)
            }
            Err(error) => {
                // Where even this fails, readers stop at the torn tail all the same.
                let _torn = self.file.set_len(self.bytes);
                Err(StoreError::io("write", &self.path)(error))
            }
        }
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
        self.rows
    }

    /// The file's length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the segment; `None` where it holds nothing and is removed.
    ///
    /// # Errors
    /// An empty segment cannot be removed.
    pub fn close(self) -> Result<Option<ClosedSegment>, StoreError> {
        if self.rows == 0 {
            fs::remove_file(&self.path).map_err(StoreError::io("remove", &self.path))?;
            return Ok(None);
        }
        Ok(Some(ClosedSegment {
            name: self.name,
            path: self.path,
            rows: self.rows,
            bytes: self.bytes,
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
        let next = name.bump();
        if next == name {
            // The end of time: no later name is left.
            return Err(StoreError::io("make", &path)(
                io::ErrorKind::AlreadyExists.into(),
            ));
        }
        name = next;
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

/// Appends the buffers one behind the other, from where they are. Returns their length, of which
/// zeros are passed over: the file has holes there.
///
/// The file has its new length only when all is written.
fn append_all(mut file: &File, start: u64, buffers: &[Buffer]) -> io::Result<u64> {
    let mut end = start;
    let mut written = start;
    let parts = buffers.chunk_by(|one, next| is_zeros(one) == is_zeros(next));
    for part in parts {
        end += part.iter().map(|buffer| buffer.len() as u64).sum::<u64>();
        if part.first().is_some_and(is_zeros) {
            file.seek(SeekFrom::Start(end))?;
        } else {
            write_all(file, part)?;
            written = end;
        }
    }
    if written < end {
        file.set_len(end)?;
    }
    Ok(end - start)
}

fn write_all(mut file: &File, buffers: &[Buffer]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = buffers.iter().map(|b| IoSlice::new(b)).collect();
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut left, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
