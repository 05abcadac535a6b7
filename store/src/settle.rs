//! Settling: closed segments become flow files.
//!
//! The flow file is written under a hidden name, synced, renamed, and only then
//! is the segment removed. Whenever that is cut off, doing it again from the
//! start leaves every flow in exactly one file: if the flow file is there, the
//! segment is all that is left to remove.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::dataset::{Dataset, PARQUET_EXTENSION, SEGMENT_EXTENSION, SegmentName};
use crate::error::StoreError;
use crate::schema::Family;
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
    if let Some(settled) = finish_earlier(segment, &target)? {
        return Ok(settled);
    }
    let mut reader = SegmentReader::open(segment, None)?;
    let (Some(schema), Some(first)) = (reader.schema(), reader.next_batch()?) else {
        return drop_empty(segment, &reader);
    };
    let temporary = temporary_path(&target);
    make_parent(&target)?;
    let written = write_flow_file(&temporary, schema, first, &mut reader, options)
        .and_then(|(file, rows)| Ok((commit(&file, &temporary, &target)?, rows)));
    if written.is_err() {
        // The segment is still there; the space may be what is missing.
        let _stays = fs::remove_file(&temporary);
    }
    let (bytes, rows) = written?;
    remove(segment)?;
    Ok(Settled {
        path: Some(target),
        rows,
        bytes,
        torn_bytes: reader.torn_bytes(),
        was_settled: false,
    })
}

fn write_flow_file(
    path: &Path,
    schema: SchemaRef,
    first: RecordBatch,
    rest: &mut SegmentReader,
    options: &SettleOptions,
) -> Result<(File, u64), StoreError> {
    let file = File::create(path).map_err(StoreError::io("make", path))?;
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties(options)))
        .map_err(StoreError::parquet(path))?;
    let mut rows = 0;
    let mut next = Some(first);
    while let Some(batch) = next {
        rows += batch.num_rows() as u64;
        writer.write(&batch).map_err(StoreError::parquet(path))?;
        next = rest.next_batch()?;
    }
    let file = writer.into_inner().map_err(StoreError::parquet(path))?;
    Ok((file, rows))
}

/// Moves the whole batches of the segment at `segment` to its final place.
///
/// # Errors
/// A file cannot be read or written; the segment is left, but for its torn tail.
pub fn keep(dataset: &Dataset, segment: &Path) -> Result<Kept, StoreError> {
    let name = SegmentName::of(segment)?;
    let target = dataset.final_path(name, SEGMENT_EXTENSION);
    if let Some(settled) = finish_earlier(segment, &target)? {
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
    make_parent(&target)?;
    let file = File::options()
        .write(true)
        .open(segment)
        .map_err(StoreError::io("open", segment))?;
    file.set_len(reader.whole_bytes())
        .map_err(StoreError::io("truncate", segment))?;
    let bytes = commit(&file, segment, &target)?;
    Ok(Kept {
        path: Some(target),
        rows,
        bytes,
        torn_bytes: reader.torn_bytes(),
        was_settled: false,
    })
}

/// The segments that an earlier run left, in order. Files that were not
/// finished are removed.
///
/// # Errors
/// A folder cannot be read, or a file in it not removed.
pub fn recover(dataset: &Dataset) -> Result<Vec<PathBuf>, StoreError> {
    let staging = dataset.staging();
    let mut segments = Vec::new();
    for entry in fs::read_dir(&staging).map_err(StoreError::io("list", &staging))? {
        let path = entry.map_err(StoreError::io("list", &staging))?.path();
        if SegmentName::of(&path).is_ok() {
            segments.push(path);
        }
    }
    segments.sort_by_key(|path| SegmentName::of(path).ok());
    let folders = Family::ALL.map(|family| dataset.family(family));
    for folder in folders.iter().chain([&dataset.ledger()]) {
        remove_temporaries(folder)?;
    }
    Ok(segments)
}

fn remove_temporaries(folder: &Path) -> Result<(), StoreError> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(StoreError::io("list", folder))? {
        let path = entry.map_err(StoreError::io("list", folder))?.path();
        if path.is_dir() {
            remove_temporaries(&path)?;
        } else if is_temporary(&path) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Where a final file stands while it is written: hidden, so that no reader takes it.
pub(crate) fn temporary_path(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.tmp"))
}

fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with(".tmp")
}

pub(crate) fn make_parent(path: &Path) -> Result<(), StoreError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(StoreError::io("make", parent))
}

/// Gives a whole file its final name, on disk: the file's length.
pub(crate) fn commit(file: &File, temporary: &Path, target: &Path) -> Result<u64, StoreError> {
    file.sync_all().map_err(StoreError::io("sync", temporary))?;
    let bytes = file
        .metadata()
        .map_err(StoreError::io("look at", temporary))?
        .len();
    fs::rename(temporary, target).map_err(StoreError::io("rename", temporary))?;
    let parent = target.parent().unwrap_or(target);
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .map_err(StoreError::io("sync", parent))?;
    Ok(bytes)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    fs::remove_file(path).map_err(StoreError::io("remove", path))
}

/// Where the final file is there, the segment is all that is left of an earlier run.
fn finish_earlier(segment: &Path, target: &Path) -> Result<Option<Settled>, StoreError> {
    let Ok(metadata) = fs::metadata(target) else {
        return Ok(None);
    };
    remove(segment)?;
    Ok(Some(Settled {
        path: Some(target.to_owned()),
        rows: 0,
        bytes: metadata.len(),
        torn_bytes: 0,
        was_settled: true,
    }))
}

fn drop_empty(segment: &Path, reader: &SegmentReader) -> Result<Settled, StoreError> {
    remove(segment)?;
    Ok(Settled {
        path: None,
        rows: 0,
        bytes: 0,
        torn_bytes: reader.torn_bytes(),
        was_settled: false,
    })
}

fn properties(options: &SettleOptions) -> WriterProperties {
    let compression = match options.compression {
        Compression::Zstd => ParquetCompression::ZSTD(ZstdLevel::default()),
        Compression::Lz4 => ParquetCompression::LZ4_RAW,
        Compression::None => ParquetCompression::UNCOMPRESSED,
    };
    WriterProperties::builder()
        .set_compression(compression)
        .build()
}

#[cfg(test)]
mod tests;
