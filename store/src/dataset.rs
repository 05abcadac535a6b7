//! A dataset: the folder that a collector writes to, and where things stand in it.
//!
//! ```text
//! DIR/staging/<shard>-<family>-<start>.arrows
//!     family=ipv4/date=2026-11-21/hour=16/<start>-<shard>.parquet
//!     ledger/date=2026-11-21/<start>.parquet
//!     templates.bin   views.sql
//! ```
//!
//! A segment's name and the name of the flow file that it becomes are one to
//! one: that is what makes settling happen exactly once, whenever it is cut off.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::civil::FileTime;
use crate::error::StoreError;
use crate::schema::Family;

/// The extension of segments.
pub const SEGMENT_EXTENSION: &str = "arrows";
/// The extension of flow files.
pub const PARQUET_EXTENSION: &str = "parquet";

/// A folder of flow files that this process alone writes to.
#[derive(Debug)]
pub struct Dataset {
    root: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl Dataset {
    /// Opens the dataset in `dir`, making the folder where there is none.
    ///
    /// # Errors
    /// The folder cannot be made or written to, or another process writes to it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        if dir.exists() && !dir.is_dir() {
            return Err(StoreError::NotADirectory(dir.to_owned()));
        }
        let staging = dir.join("staging");
        fs::create_dir_all(&staging).map_err(|error| refused("make", &staging, dir, error))?;
        // Names are kept in `views.sql`, which is read from anywhere.
        let root = dir
            .canonicalize()
            .map_err(|error| refused("find", dir, dir, error))?;
        let lock_path = root.join("staging").join(".lock");
        let lock =
            File::create(&lock_path).map_err(|error| refused("write", &lock_path, dir, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(dir.to_owned())),
            Err(TryLockError::Error(error)) => Err(refused("lock", &lock_path, dir, error)),
        }
    }

    /// The dataset's folder, as an absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of segments that are open or not yet settled.
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// The folder of the ledger's files.
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger")
    }

    /// The folder of a family's flow files.
    pub fn family(&self, family: Family) -> PathBuf {
        self.root.join(format!("family={}", family.name()))
    }

    /// The file of templates as last seen.
    pub fn templates(&self) -> PathBuf {
        self.root.join("templates.bin")
    }

    /// The file of DuckDB macros and views.
    pub fn views(&self) -> PathBuf {
        self.root.join("views.sql")
    }

    /// Where a segment stands before it is settled.
    pub(crate) fn segment_path(&self, name: SegmentName) -> PathBuf {
        self.staging().join(format!("{name}.{SEGMENT_EXTENSION}"))
    }

    /// Where the ledger of an interval stands.
    pub(crate) fn ledger_path(&self, start: FileTime) -> PathBuf {
        self.ledger()
            .join(format!("date={}", start.date()))
            .join(format!("{}.{PARQUET_EXTENSION}", start.stamp()))
    }

    /// Where a segment's flows stand in the end.
    pub(crate) fn final_path(&self, name: SegmentName, extension: &str) -> PathBuf {
        self.root.join(name.final_path(extension))
    }

    /// Whether a segment of that name exists or has existed and was settled.
    pub(crate) fn is_taken(&self, name: SegmentName) -> bool {
        self.segment_path(name).exists()
            || self.final_path(name, PARQUET_EXTENSION).exists()
            || self.final_path(name, SEGMENT_EXTENSION).exists()
    }
}

fn refused(action: &'static str, path: &Path, dir: &Path, source: io::Error) -> StoreError {
    match source.kind() {
        io::ErrorKind::PermissionDenied => StoreError::Permission(dir.to_owned()),
        io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly(dir.to_owned()),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            StoreError::NotADirectory(path.to_owned())
        }
        _ => StoreError::io(action, path)(source),
    }
}

/// What a segment is called, and with it the flow file that it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentName {
    pub(crate) start: FileTime,
    pub(crate) shard: u16,
    pub(crate) family: Family,
}

impl SegmentName {
    pub(crate) fn new(shard: u16, family: Family, start_us: i64) -> Self {
        Self {
            start: FileTime::new(start_us),
            shard,
            family,
        }
    }

    /// The name of the segment at `path`.
    ///
    /// # Errors
    /// The file is not named like a segment.
    pub fn of(path: &Path) -> Result<Self, StoreError> {
        let parse = || {
            let name = path.file_name()?.to_str()?;
            let (stem, extension) = name.rsplit_once('.')?;
            let mut parts = stem.splitn(3, '-');
            let found = Self {
                shard: parts.next()?.parse().ok()?,
                family: Family::from_name(parts.next()?)?,
                start: FileTime::from_stamp(parts.next()?)?,
            };
            (extension == SEGMENT_EXTENSION && found.to_string() == stem).then_some(found)
        };
        parse().ok_or_else(|| StoreError::SegmentName(path.to_owned()))
    }

    /// The family of the segment's flows.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The shard that wrote it.
    pub fn shard(&self) -> u16 {
        self.shard
    }

    /// Its start, in microseconds since the Unix epoch.
    pub fn start_us(&self) -> i64 {
        self.start.us()
    }

    /// Where its flows stand in the end, below the dataset's folder.
    pub(crate) fn final_path(self, extension: &str) -> PathBuf {
        let (start, shard) = (self.start, self.shard);
        PathBuf::from(format!("family={}", self.family.name()))
            .join(format!("date={}", start.date()))
            .join(format!("hour={}", start.hour()))
            .join(format!("{}-{shard}.{extension}", start.stamp()))
    }

    /// The next later name.
    pub(crate) fn bump(self) -> Self {
        Self {
            start: FileTime::new(self.start.us() + 1),
            ..self
        }
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}-{}-{}",
            self.shard,
            self.family.name(),
            self.start.stamp()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_US: i64 = 1_795_279_200_123_456;

    #[test]
    fn names_are_one_to_one() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let dataset = Dataset::open(&dir.path().join("flows")).expect("opens");
        let name = SegmentName::new(3, Family::Ipv6, START_US);
        let path = dataset.segment_path(name);
        assert!(path.ends_with("staging/3-ipv6-20261121T164000.123456Z.arrows"));
        assert_eq!(SegmentName::of(&path).expect("a segment's name"), name);
        assert!(
            dataset
                .final_path(name, PARQUET_EXTENSION)
                .ends_with("family=ipv6/date=2026-11-21/hour=16/20261121T164000.123456Z-3.parquet")
        );
    }

    #[test]
    fn other_names_are_no_segments() {
        for name in [
            ".lock",
            "3-ipv6-20261121T164000.123456Z.parquet",
            "03-ipv6-20261121T164000.123456Z.arrows",
            "3-ipx-20261121T164000.123456Z.arrows",
            "99999-ipv6-20261121T164000.123456Z.arrows",
            "ipv6.arrows",
        ] {
            assert!(SegmentName::of(Path::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn a_dataset_has_one_writer() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let first = Dataset::open(dir.path()).expect("opens");
        assert!(matches!(
            Dataset::open(dir.path()),
            Err(StoreError::InUse(path)) if path == dir.path()
        ));
        drop(first);
        Dataset::open(dir.path()).expect("opens again");
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let file = dir.path().join("flows");
        fs::write(&file, "").expect("writes");
        assert!(
            matches!(Dataset::open(&file), Err(StoreError::NotADirectory(path)) if path == file)
        );
        let below = file.join("deeper");
        assert!(matches!(
            Dataset::open(&below),
            Err(StoreError::NotADirectory(_))
        ));
        let staging = dir.path().join("staging");
        fs::write(&staging, "").expect("writes");
        let error = Dataset::open(dir.path()).expect_err("staging is a file");
        assert!(
            error.to_string().contains("staging is not a folder"),
            "{error}"
        );
    }
}
