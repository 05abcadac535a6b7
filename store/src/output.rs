//! A dataset that appears whole or not at all: where flows go that no collector received.
//!
//! It is written beside its place under a hidden name, and moved there by one
//! rename when all of it is on disk. What a run that was killed has left is
//! taken away by the next one to the same place.

use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::Schema;

use crate::dataset::{HOUR_US, PARQUET_EXTENSION, SEGMENT_EXTENSION, SegmentName};
use crate::encode::FlowFileWriter;
use crate::error::StoreError;
use crate::files;
use crate::schema::Family;
use crate::settle::Compression;
use crate::stream::StreamFile;
use crate::views;

/// What flows are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// Parquet.
    Parquet(Compression),
    /// Segments: Arrow IPC streams.
    Segment,
}

impl FileFormat {
    fn extension(self) -> &'static str {
        match self {
            Self::Parquet(_) => PARQUET_EXTENSION,
            Self::Segment => SEGMENT_EXTENSION,
        }
    }
}

/// Files lie here that only the run itself needs.
const SCRATCH: &str = "scratch";
const LOCK: &str = ".lock";

/// A dataset in the making. Where it is dropped before it is finished, nothing of it is left.
#[derive(Debug)]
pub struct NewDataset {
    target: PathBuf,
    temporary: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl NewDataset {
    /// Begins a dataset that is to stand at `dir`: where nothing is yet, or an empty folder.
    ///
    /// # Errors
    /// Something stands there, another run writes to it, or the folder beside it cannot be made.
    pub fn create(dir: &Path) -> Result<Self, StoreError> {
        let target = place_of(dir)?;
        refuse_taken(&target, dir)?;
        let temporary = files::temporary_path(&target);
        Self::begin(dir, target.clone(), temporary.clone())
            .map_err(|error| error.of_target(&temporary, &target))
    }

    fn begin(dir: &Path, target: PathBuf, temporary: PathBuf) -> Result<Self, StoreError> {
        fs::create_dir_all(&temporary).map_err(StoreError::io("make", &temporary))?;
        let lock = temporary.join(LOCK);
        let file = File::create(&lock).map_err(StoreError::io("make", &lock))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::BeingWritten(dir.to_owned())),
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &lock)(error)),
        }
        let dataset = Self {
            target,
            temporary,
            _lock: file,
        };
        for left in files::list(&dataset.temporary)? {
            if left != lock {
                remove_all(&left).map_err(StoreError::io("remove", &left))?;
            }
        }
        let scratch = dataset.scratch();
        fs::create_dir(&scratch).map_err(StoreError::io("make", &scratch))?;
        Ok(dataset)
    }

    /// A folder for what only this run needs; it is gone in the end.
    pub fn scratch(&self) -> PathBuf {
        self.temporary.join(SCRATCH)
    }

    /// Begins a segment among what only this run needs: where it is, and what writes it. Its number is its
    /// own.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn scratch_segment(
        &self,
        number: u64,
        family: Family,
        schema: &Schema,
    ) -> Result<(PathBuf, FlowWriter), StoreError> {
        let path = self.scratch().join(format!("{number}.{SEGMENT_EXTENSION}"));
        // What is put aside is nothing that the user knows.
        let told = &self.target;
        let file = File::create_new(&path).map_err(StoreError::io("write", told))?;
        let stream = StreamFile::new(file, told, family, schema)?;
        let kind = Kind::Segment(Box::new(stream));
        let writer = FlowWriter {
            path: told.clone(),
            kind,
        };
        Ok((path, writer))
    }

    /// Begins a file of flows of `family` with the columns of `schema`, which were received from the first to the last of
    /// `received_us`. Only where that is within an hour does the file's name promise it.
    ///
    /// # Errors
    /// The file cannot be made, or a standard column is not of its type.
    pub fn flow_file(
        &self,
        family: Family,
        received_us: RangeInclusive<i64>,
        schema: &Schema,
        format: FileFormat,
    ) -> Result<FlowWriter, StoreError> {
        let (start_us, last_us) = received_us.into_inner();
        let mut name = SegmentName::new(0, family, start_us);
        let is_one_hour = start_us.div_euclid(HOUR_US) == last_us.div_euclid(HOUR_US);
        let (path, file) = loop {
            let mut path = name.final_path(format.extension());
            if !is_one_hour {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                path.set_file_name(format!("{stem}-on.{}", format.extension()));
            }
            let (place, path) = (self.temporary.join(&path), self.target.join(path));
            files::make_parent(&place).map_err(|error| self.told(error))?;
            match File::create_new(&place) {
                // Errors call it by the name that it is to have.
                Ok(file) => break (path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    name = name.bump();
                }
                Err(error) => return Err(StoreError::io("make", &path)(error)),
            }
        };
        let kind = match format {
            FileFormat::Parquet(compression) => {
                let writer = FlowFileWriter::new(file, &path, family, schema, compression)?;
                Kind::Parquet(Box::new(writer))
            }
            FileFormat::Segment => {
                let stream = StreamFile::new(file, &path, family, schema)?;
                Kind::Segment(Box::new(stream))
            }
        };
        Ok(FlowWriter { path, kind })
    }

    /// Moves the dataset to its place, with views that show columns of `schema`.
    ///
    /// # Errors
    /// Something stands there by now, or it cannot be moved.
    pub fn finish(self, schema: &Schema) -> Result<(), StoreError> {
        self.moved(schema).map_err(|error| self.told(error))
    }

    fn told(&self, error: StoreError) -> StoreError {
        error.of_target(&self.temporary, &self.target)
    }

    fn moved(&self, schema: &Schema) -> Result<(), StoreError> {
        refuse_taken(&self.target, &self.target)?;
        views::write_views_of(&self.temporary, &self.target, schema)?;
        for name in [SCRATCH, LOCK] {
            let path = self.temporary.join(name);
            remove_all(&path).map_err(StoreError::io("remove", &path))?;
        }
        sync_folders(&self.temporary)?;
        // Onto an empty folder this is one step too (rename(2)).
        fs::rename(&self.temporary, &self.target)
            .map_err(StoreError::io("rename", &self.temporary))?;
        let parent = self.target.parent().unwrap_or(&self.target);
        sync_folder(parent)
    }
}

impl Drop for NewDataset {
    fn drop(&mut self) {
        // Once it is finished, nothing is there.
        let _gone = fs::remove_dir_all(&self.temporary);
    }
}

/// A file of flows in the making, of a [`NewDataset`].
pub struct FlowWriter {
    /// What errors call it.
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Parquet(Box<FlowFileWriter>),
    Segment(Box<StreamFile>),
}

impl FlowWriter {
    /// Appends the rows of a batch of the file's schema.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        match &mut self.kind {
            Kind::Parquet(writer) => writer.write(batch),
            Kind::Segment(stream) => stream.append(batch).map(|_| ()),
        }
    }

    /// Ends the file, on disk: its length.
    ///
    /// # Errors
    /// What is left of it cannot be written.
    pub fn finish(self) -> Result<u64, StoreError> {
        let path = &self.path;
        let file = match self.kind {
            Kind::Parquet(writer) => writer.finish()?,
            Kind::Segment(stream) => stream.into_file(),
        };
        file.sync_all().map_err(StoreError::io("sync", path))?;
        let metadata = file.metadata().map_err(StoreError::io("look at", path))?;
        Ok(metadata.len())
    }
}

/// The path as it is from anywhere; what is above it is there then.
fn place_of(dir: &Path) -> Result<PathBuf, StoreError> {
    let place = std::path::absolute(dir).map_err(StoreError::io("find", dir))?;
    let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
        return Err(StoreError::NotEmpty(dir.to_owned()));
    };
    fs::create_dir_all(parent).map_err(StoreError::io("make", parent))?;
    let parent = parent
        .canonicalize()
        .map_err(StoreError::io("find", parent))?;
    Ok(parent.join(name))
}

fn refuse_taken(target: &Path, dir: &Path) -> Result<(), StoreError> {
    match fs::symlink_metadata(target) {
        Err(_) => Ok(()),
        Ok(metadata) if !metadata.is_dir() => Err(StoreError::NotADirectory(dir.to_owned())),
        Ok(_) if files::list(target)?.is_empty() => Ok(()),
        Ok(_) => Err(StoreError::NotEmpty(dir.to_owned())),
    }
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

fn sync_folders(folder: &Path) -> Result<(), StoreError> {
    for path in files::list(folder)? {
        if path.is_dir() {
            sync_folders(&path)?;
        }
    }
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(StoreError::io("sync", folder))
}

#[cfg(test)]
mod tests;
