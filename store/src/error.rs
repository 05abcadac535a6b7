//! What can go wrong with files, always with the file's path.

use std::io;
use std::path::{Path, PathBuf};

use arrow_schema::ArrowError;
use parquet::errors::ParquetError;

/// A failure of a file or folder of a dataset.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused an operation.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "open".
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The dataset's path is taken by something that is not a folder.
    #[error("{} is not a folder: choose another output folder, or move the file away", .0.display())]
    NotADirectory(PathBuf),
    /// The dataset's folder cannot be written to.
    #[error("no permission to write in {}: give this user write access, or choose another output folder", .0.display())]
    Permission(PathBuf),
    /// The dataset's folder is on a file system that is mounted read-only.
    #[error("{} is on a read-only file system: choose another output folder", .0.display())]
    ReadOnly(PathBuf),
    /// Another collector writes to the dataset.
    #[error("{} is in use by another collector: stop it, or choose another output folder", .0.display())]
    InUse(PathBuf),
    /// A new dataset's folder holds something.
    #[error("{} is not empty: choose an output folder that is not there yet", .0.display())]
    NotEmpty(PathBuf),
    /// Another run makes the dataset.
    #[error("{} is being written by another run: wait for it, or choose another output folder", .0.display())]
    BeingWritten(PathBuf),
    /// An input that is not there.
    #[error(
        "there is nothing at {0}: give a flow file, a segment, a folder of them, or a pattern such as 'flows/family=ipv4/**/*.parquet'"
    )]
    NotThere(String),
    /// An input without flow files.
    #[error("no flow files in {0}: a collector writes them there when a rotation interval is over")]
    NoFlowFiles(String),
    /// An input that is not a pattern.
    #[error("{pattern} is not a pattern: {reason}")]
    Pattern {
        /// The input.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that does not hold flows, or not whole.
    #[error("{} is no flow file, or damaged ({reason}): leave it out, or restore it", path.display())]
    NotFlows {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        reason: String,
    },
    /// A name in the staging folder that no segment has.
    #[error("{} is not a segment's name (<shard>-<family>-<start>.arrows)", .0.display())]
    SegmentName(PathBuf),
    /// Arrow refused data.
    #[error("{}: {source}", path.display())]
    Arrow {
        /// The segment.
        path: PathBuf,
        /// Arrow's reason.
        source: ArrowError,
    },
    /// Parquet refused data.
    #[error("{}: {source}", path.display())]
    Parquet {
        /// The flow file.
        path: PathBuf,
        /// Parquet's reason.
        source: ParquetError,
    },
}

impl StoreError {
    /// Whether the file system was full (or the user's quota was).
    pub fn is_disk_full(&self) -> bool {
        let source = match self {
            Self::Io { source, .. } => Some(source),
            Self::Arrow {
                source: ArrowError::IoError(_, source),
                ..
            } => Some(source),
            _ => None,
        };
        let kind = source.map(io::Error::kind);
        matches!(
            kind,
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        )
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn arrow(path: &Path) -> impl FnOnce(ArrowError) -> Self {
        let path = path.to_owned();
        move |source| Self::Arrow { path, source }
    }

    /// Why a Parquet file could not be written.
    pub(crate) fn parquet(path: &Path) -> impl FnOnce(ParquetError) -> Self {
        let path = path.to_owned();
        move |source| match source {
            // The system refused it, and not the format.
            ParquetError::External(source) => match source.downcast::<io::Error>() {
                Ok(source) => Self::io("write", &path)(*source),
                Err(source) => Self::Parquet {
                    path,
                    source: ParquetError::External(source),
                },
            },
            source => Self::Parquet { path, source },
        }
    }

    /// Of what was tried at `temporary` or below, as the user knows it: it is to stand at `target`.
    pub(crate) fn of_target(mut self, temporary: &Path, target: &Path) -> Self {
        if let Self::Io { path, .. } | Self::Arrow { path, .. } | Self::Parquet { path, .. } =
            &mut self
            && let Ok(below) = path.strip_prefix(temporary)
        {
            *path = match below.as_os_str().is_empty() {
                true => target.to_owned(),
                false => target.join(below),
            };
        }
        self
    }
}
