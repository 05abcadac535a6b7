//! Settling: closed segments become flow files.
//!
//! The flow file is written under a hidden name, synced, renamed, and only then
//! is the segment removed. Whenever that is cut off, doing it again from the
//! start leaves every flow in exactly one file: if the flow file is there, the
//! segment is all that is left to remove.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;

use crate::dataset::{Dataset, PARQUET_EXTENSION, SEGMENT_EXTENSION, SegmentName};
use crate::encode::FlowFileWriter;
use crate::error::StoreError;
use crate::files;
use crate::schema::Family;
use crate::segment::ClosedSegment;
use crate::segment_reader::SegmentReader;

/// How flow files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Zstandard: the smallest files.
    #[default]
    Zstd,
    /// LZ4: the least work.
    Lz4,
    /// Encodings only.
    None,
}

/// How segments are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SettleOptions {
    /// How the flow file is compressed.
    pub compression: Compression,
}

/// A segment that was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The flow file; `None` where the segment held no whole batch.
    pub path: Option<PathBuf>,
    /// The flows in it.
    pub rows: u64,
    /// The flow file's length.
    pub bytes: u64,
    /// The bytes of the segment behind its last whole batch, which were dropped.
    pub torn_bytes: u64,
    /// Whether the flow file was there already, from a run that was cut off
    /// before it removed the segment.
    pub was_settled: bool,
}

/// A segment that was moved to its final place as it is.
pub type Kept = Settled;

/// Turns the segment at `segment` into a flow file and removes it.
///
/// # Errors
/// A file cannot be read or written; the segment is left as it was.
pub fn settle(
    dataset: &Dataset,
    segment: &Path,
    options: &SettleOptions,
) -> Result<Settled, StoreError> {
    let name = SegmentName::of(segment)?;
    let target = dataset.final_path(name, PARQUET_EXTENSION);
    if let Some(settled) = finish_earlier(dataset, segment, name)? {
        return Ok(settled);
    }
    let mut reader = SegmentReader::open(segment, None)?;
    let (Some(schema), Some(first)) = (reader.schema(), reader.next_batch()?) else {
        return drop_empty(segment, &reader);
    };
    let mut rows = 0;
    let bytes = files::replace(&target, |file| {
        let (family, compression) = (name.family(), options.compression);
        let writer = FlowFileWriter::new(file, &target, family, &schema, compression)?;
        let (file, count) = write_flow_file(writer, first, &mut reader)?;
        rows = count;
        Ok(file)
    })?;
    files::remove(segment)?;
    Ok(Settled {
        path: Some(target),
        rows,
        bytes,
        torn_bytes: reader.torn_bytes(),
        was_settled: false,
    })
}

fn write_flow_file(
    mut writer: FlowFileWriter,
    first: RecordBatch,
    rest: &mut SegmentReader,
) -> Result<(File, u64), StoreError> {
    let mut rows = 0;
    let mut next = Some(first);
    while let Some(batch) = next {
        rows += batch.num_rows() as u64;
        writer.write(&batch)?;
        next = rest.next_batch()?;
    }
    Ok((writer.finish()?, rows))
}

/// Moves the whole batches of the segment at `segment` to its final place.
///
/// # Errors
/// A file cannot be read or written; the segment is left, but for its torn tail.
pub fn keep(dataset: &Dataset, segment: &Path) -> Result<Kept, StoreError> {
    let name = SegmentName::of(segment)?;
    let target = dataset.final_path(name, SEGMENT_EXTENSION);
    if let Some(settled) = finish_earlier(dataset, segment, name)? {
        return Ok(settled);
    }
    let mut reader = SegmentReader::open(segment, Some(Vec::new()))?;
    let mut rows = 0;
    while let Some(batch) = reader.next_batch()? {
        rows += batch.num_rows() as u64;
    }
    if rows == 0 {
        return drop_empty(segment, &reader);
    }
    let (whole, torn) = (reader.whole_bytes(), reader.torn_bytes());
    place(segment, target, rows, whole, torn)
}

/// Moves a segment that this run closed to its final place, without reading it.
///
/// # Errors
/// The segment cannot be moved.
pub fn keep_closed(dataset: &Dataset, segment: &ClosedSegment) -> Result<Kept, StoreError> {
    let target = dataset.final_path(segment.name, SEGMENT_EXTENSION);
    place(&segment.path, target, segment.rows, segment.bytes, 0)
}

fn place(
    segment: &Path,
    target: PathBuf,
    rows: u64,
    whole: u64,
    torn_bytes: u64,
) -> Result<Kept, StoreError> {
    files::make_parent(&target)?;
    let file = File::options()
        .write(true)
        .open(segment)
        .map_err(StoreError::io("open", segment))?;
    file.set_len(whole)
        .map_err(StoreError::io("truncate", segment))?;
    let bytes = files::commit(&file, segment, &target)?;
    Ok(Kept {
        path: Some(target),
        rows,
        bytes,
        torn_bytes,
        was_settled: false,
    })
}

/// The segments that an earlier run left, in order. Files that were not
/// finished are removed.
///
/// # Errors
/// A folder cannot be read, or a file in it not removed.
pub fn recover(dataset: &Dataset) -> Result<Vec<PathBuf>, StoreError> {
    let mut segments = files::list(&dataset.staging())?;
    segments.retain(|path| SegmentName::of(path).is_ok());
    segments.sort_by_key(|path| SegmentName::of(path).ok());
    let folders = Family::ALL.map(|family| dataset.family(family));
    for folder in folders.iter().chain([&dataset.ledger()]) {
        files::remove_temporaries(folder)?;
    }
    Ok(segments)
}

/// Where the final file is there, the segment is all that is left of an earlier run. That run may
/// have had the other format.
fn finish_earlier(
    dataset: &Dataset,
    segment: &Path,
    name: SegmentName,
) -> Result<Option<Settled>, StoreError> {
    let targets = [PARQUET_EXTENSION, SEGMENT_EXTENSION].map(|end| dataset.final_path(name, end));
    for target in targets {
        let Ok(metadata) = fs::metadata(&target) else {
            continue;
        };
        files::remove(segment)?;
        return Ok(Some(Settled {
            path: Some(target),
            rows: 0,
            bytes: metadata.len(),
            torn_bytes: 0,
            was_settled: true,
        }));
    }
    Ok(None)
}

fn drop_empty(segment: &Path, reader: &SegmentReader) -> Result<Settled, StoreError> {
    files::remove(segment)?;
    Ok(Settled {
        path: None,
        rows: 0,
        bytes: 0,
        torn_bytes: reader.torn_bytes(),
        was_settled: false,
    })
}

#[cfg(test)]
mod tests;
