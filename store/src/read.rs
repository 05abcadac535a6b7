//! Reads flows back: files, segments, folders of them, patterns.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::dataset::{PARQUET_EXTENSION, SEGMENT_EXTENSION, SegmentName};
use crate::error::StoreError;
use crate::files;
use crate::schema::{FAMILY_KEY, Family};
use crate::segment_reader::SegmentReader;

/// The column that every file of flows has.
const RECEIVED: &str = "received";
const STAGING: &str = "staging";
const LEDGER: &str = "ledger";

/// The flow files and segments that `inputs` name, in the order of their paths,
/// each once, however it is named: files, folders (with all that is below), or patterns. Segments
/// that are not settled yet are among them; the ledger is not.
///
/// # Errors
/// An input is not there, is no pattern, or has no flow files.
pub fn find_inputs(inputs: &[String]) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = BTreeSet::new();
    for input in inputs {
        let path = Path::new(input);
        let before = found.len();
        if path.is_dir() {
            walk(path, &mut found)?;
        } else if path.exists() {
            found.insert(path.to_owned());
            continue;
        } else if input.contains(['*', '?', '[']) {
            expand(input, &mut found)?;
        } else {
            return Err(StoreError::NotThere(input.clone()));
        }
        if found.len() == before && !inputs_overlap(path, &found) {
            return Err(StoreError::NoFlowFiles(input.clone()));
        }
    }
    let mut files = without_settled(&found);
    if inputs.len() > 1 {
        // What has just gone is told when it is opened.
        let mut places = HashSet::new();
        files.retain(|path| {
            let place = path.canonicalize().ok();
            place.is_none_or(|place| places.insert(place))
        });
    }
    Ok(files)
}

/// Whether an earlier input named what is in this folder.
fn inputs_overlap(folder: &Path, found: &BTreeSet<PathBuf>) -> bool {
    found.iter().any(|path| path.starts_with(folder))
}

fn walk(folder: &Path, found: &mut BTreeSet<PathBuf>) -> Result<(), StoreError> {
    let mut paths = files::list(folder)?;
    // A segment that is settled meanwhile is met twice this way round, not missed.
    paths.sort_by_key(|path| !path.ends_with(STAGING));
    for path in paths {
        if is_hidden(&path) || path.ends_with(LEDGER) {
            continue;
        }
        let kind = fs::symlink_metadata(&path).map(|metadata| metadata.file_type());
        match kind {
            Ok(kind) if kind.is_dir() => walk(&path, found)?,
            Ok(_) if is_flow_file(&path) => {
                found.insert(path);
            }
            // Another file, or one that has just gone.
            _ => {}
        }
    }
    Ok(())
}

fn expand(pattern: &str, found: &mut BTreeSet<PathBuf>) -> Result<(), StoreError> {
    let paths = glob::glob(pattern).map_err(|error| StoreError::Pattern {
        pattern: pattern.to_owned(),
        reason: error.msg.to_owned(),
    })?;
    for path in paths {
        let path = path.map_err(|error| {
            let place = error.path().to_owned();
            StoreError::io("list", &place)(error.into())
        })?;
        if path.is_dir() {
            walk(&path, found)?;
        } else if is_flow_file(&path) && !is_hidden(&path) && !is_ledger(&path) {
            found.insert(path);
        }
    }
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with('.')
}

fn is_ledger(path: &Path) -> bool {
    let mut folders = path.ancestors().skip(1);
    folders.any(|folder| folder.ends_with(LEDGER))
}

/// Staging has the columns of all flows as a Parquet file, for `views.sql`.
fn is_flow_file(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    match is_staged(path) {
        true => SegmentName::of(path).is_ok(),
        false => extension == PARQUET_EXTENSION || extension == SEGMENT_EXTENSION,
    }
}

pub(crate) fn is_staged(path: &Path) -> bool {
    path.parent()
        .is_some_and(|folder| folder.ends_with(STAGING))
}

/// When the flows of a file may have been received, from the first time on and before the second, as far as its place in a
/// dataset tells without opening it.
///
/// A segment, and with it a flow file, has flows of one hour, of which its name and its folders tell. Where these do not
/// agree, or are not those of a dataset, nothing is known. [`i64::MIN`] and [`i64::MAX`] are no bounds.
pub fn received_us(path: &Path) -> Option<Range<i64>> {
    let name = match is_staged(path) {
        true => SegmentName::of(path).ok(),
        false => SegmentName::of_final(path),
    };
    name.map(SegmentName::received_us)
}

/// Opens a file, at the place where it is settled if it has gone from staging meanwhile.
pub(crate) fn or_settled<T>(
    path: &Path,
    open: impl Fn(&Path) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    match open(path) {
        Err(StoreError::Io { source, .. })
            if source.kind() == io::ErrorKind::NotFound && is_staged(path) =>
        {
            let moved = settled_paths(path).into_iter().flatten();
            match moved.into_iter().find(|path| path.exists()) {
                Some(path) => open(&path),
                None => Err(StoreError::io("open", path)(source)),
            }
        }
        result => result,
    }
}

/// Where a staged segment stands once it is settled.
fn settled_paths(path: &Path) -> Option<[PathBuf; 2]> {
    let root = path.parent()?.parent()?;
    let name = is_staged(path).then(|| SegmentName::of(path).ok())??;
    Some([PARQUET_EXTENSION, SEGMENT_EXTENSION].map(|kind| root.join(name.final_path(kind))))
}

fn without_settled(found: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let is_settled = |path: &Path| {
        settled_paths(path).is_some_and(|paths| paths.iter().any(|path| found.contains(path)))
    };
    found
        .iter()
        .filter(|path| !is_settled(path))
        .cloned()
        .collect()
}

/// An open flow file or segment: an iterator over its batches.
pub struct FlowFile {
    path: PathBuf,
    family: Family,
    batches: Batches,
}

enum Batches {
    Parquet(ParquetRecordBatchReader),
    Segment(SegmentReader),
    Empty,
}

impl FlowFile {
    /// Opens a flow file or segment for those of its columns that `columns`
    /// names, or for all. A column that the file does not have is left out.
    /// A staged segment that was settled since its path was found is read from
    /// where it is now.
    ///
    /// # Errors
    /// The file cannot be read, does not hold flows, or is damaged.
    pub fn open(path: &Path, columns: Option<&[&str]>) -> Result<Self, StoreError> {
        or_settled(path, |path| Self::open_at(path, columns))
    }

    fn open_at(path: &Path, columns: Option<&[&str]>) -> Result<Self, StoreError> {
        if path.extension().unwrap_or_default() == SEGMENT_EXTENSION {
            Self::open_segment(path, columns)
        } else {
            Self::open_parquet(path, columns)
        }
    }

    fn open_parquet(path: &Path, columns: Option<&[&str]>) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        let damaged = |error: parquet::errors::ParquetError| not_flows(path, error.to_string());
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
        let family = family_of(path, builder.schema())?;
        let mask = match columns {
            None => ProjectionMask::all(),
            Some(names) => ProjectionMask::columns(builder.parquet_schema(), names.iter().copied()),
        };
        let reader = builder.with_projection(mask).build().map_err(damaged)?;
        Ok(Self {
            path: path.to_owned(),
            family,
            batches: Batches::Parquet(reader),
        })
    }

    fn open_segment(path: &Path, columns: Option<&[&str]>) -> Result<Self, StoreError> {
        let reader = SegmentReader::open(path, None)?;
        let Some(schema) = reader.schema() else {
            if !is_staged(path) {
                return Err(not_flows(path, "no whole Arrow schema".to_owned()));
            }
            // Its first batch is yet to be written, or never was whole.
            let family = SegmentName::of(path)?.family();
            return Ok(Self {
                path: path.to_owned(),
                family,
                batches: Batches::Empty,
            });
        };
        let family = family_of(path, &schema)?;
        let reader = match columns {
            None => reader,
            Some(names) => {
                let places = schema.fields().iter().enumerate();
                let chosen = places.filter(|(_, field)| names.contains(&field.name().as_str()));
                let chosen = chosen.map(|(place, _)| place).collect();
                SegmentReader::open(path, Some(chosen))?
            }
        };
        Ok(Self {
            path: path.to_owned(),
            family,
            batches: Batches::Segment(reader),
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

    /// The columns that are read.
    pub fn schema(&self) -> SchemaRef {
        match &self.batches {
            Batches::Parquet(reader) => Some(reader.schema()),
            Batches::Segment(reader) => reader.schema(),
            Batches::Empty => None,
        }
        .unwrap_or_else(|| Arc::new(Schema::empty()))
    }
}

impl Iterator for FlowFile {
    type Item = Result<RecordBatch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.batches {
            Batches::Parquet(reader) => {
                // Where a page is damaged, the reader may find out by an assertion, after which it is
                // not used again.
                let next = panic::catch_unwind(AssertUnwindSafe(|| reader.next()));
                let Ok(next) = next else {
                    self.batches = Batches::Empty;
                    return Some(Err(not_flows(&self.path, "a page is damaged".to_owned())));
                };
                next.map(|batch| batch.map_err(|error| not_flows(&self.path, error.to_string())))
            }
            Batches::Segment(reader) => reader.next_batch().transpose(),
            Batches::Empty => None,
        }
    }
}

pub(crate) fn not_flows(path: &Path, reason: String) -> StoreError {
    StoreError::NotFlows {
        path: path.to_owned(),
        reason,
    }
}

/// The family that the file's metadata names, or else its partition, or else its columns.
pub(crate) fn family_of(path: &Path, schema: &Schema) -> Result<Family, StoreError> {
    let has = |name: &str| schema.column_with_name(name).is_some();
    if !has(RECEIVED) {
        let reason = format!("it has no column \"{RECEIVED}\"");
        return Err(not_flows(path, reason));
    }
    let told = schema.metadata().get(FAMILY_KEY);
    let partition = || {
        let parts = path.iter().rev().filter_map(|part| part.to_str());
        let mut names = parts.filter_map(|part| part.strip_prefix("family="));
        names.find_map(Family::from_name)
    };
    let family = told
        .and_then(|name| Family::from_name(name))
        .or_else(partition);
    Ok(family.unwrap_or_else(|| match () {
        () if has("src_ipv4") => Family::Ipv4,
        () if has("src_ipv6") => Family::Ipv6,
        () => Family::Other,
    }))
}

#[cfg(test)]
mod tests;
