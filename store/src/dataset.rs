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
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::civil::FileTime;
use crate::error::StoreError;
use crate::schema::Family;

/// What a folder `hour=` spans.
pub(crate) const HOUR_US: i64 = 3_600_000_000;

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

    /// The name of the segment that became the flow file at `path`; `None` unless all of the path, from `family=` on, is as
    /// this crate writes it.
    pub(crate) fn of_final(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?;
        let is_flows = [PARQUET_EXTENSION, SEGMENT_EXTENSION].contains(&extension);
        let (start, shard) = path.file_stem()?.to_str()?.split_once('-')?;
        let family = path.ancestors().nth(3)?.file_name()?.to_str()?;
        let found = Self {
            start: FileTime::from_stamp(start)?,
            shard: shard.parse().ok()?,
            family: Family::from_name(family.strip_prefix("family=")?)?,
        };
        (is_flows && path.ends_with(found.final_path(extension))).then_some(found)
    }

    /// When the flows may have been received: from the first time on, and before the second.
    pub(crate) fn received_us(self) -> Range<i64> {
        let start_us = self.start.us();
        let hour = start_us - start_us.rem_euclid(HOUR_US);
        let to = hour + HOUR_US;
        // Earlier and later times have the names of these.
        let from = if hour <= 0 { i64::MIN } else { hour };
        let is_last = to > FileTime::new(i64::MAX).us();
        from..if is_last { i64::MAX } else { to }
    }

    /// The next name, of the same hour, which it promises: the hour's first after its last.
    pub(crate) fn bump(self) -> Self {
        let next_us = self.start.us() + 1;
        let back_us = if next_us % HOUR_US == 0 { HOUR_US } else { 0 };
        Self {
            start: FileTime::new(next_us - back_us),
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
    fn a_flow_file_tells_the_hour_of_its_flows_only_where_a_dataset_has_it() {
        let hour = |hours| START_US - START_US % HOUR_US + hours * HOUR_US;
        let place = "family=ipv6/date=2026-11-21/hour=16/20261121T164000.123456Z-3.parquet";
        let told =
            |path: &str| SegmentName::of_final(Path::new(path)).map(SegmentName::received_us);
        assert_eq!(told(place), Some(hour(0)..hour(1)));
        let below = format!("/data/flows/{}", place.replace("parquet", "arrows"));
        assert_eq!(told(&below), Some(hour(0)..hour(1)));
        for (is, lie) in [
            ("family=ipv6", "family=ipx"),
            ("family=", "kind="),
            ("date=2026-11-21", "date=2026-11-20"),
            ("hour=16", "hour=17"),
            ("hour=16", "hour=16/backup"),
            ("hour=16/", ""),
            ("-3.", "-03."),
            ("-3.", "-3-on."),
            ("-3.", "."),
            ("20261121T16", "20261121T17"),
            (".parquet", ".csv"),
            (".parquet", ""),
        ] {
            assert_eq!(told(&place.replace(is, lie)), None, "{is} {lie}");
        }
    }

    #[test]
    fn a_name_that_is_taken_gives_way_within_its_hour() {
        for (start_us, next_us) in [
            (START_US, START_US + 1),
            (HOUR_US - 1, 0),
            (5 * HOUR_US - 1, 4 * HOUR_US),
            (i64::MAX, FileTime::new(i64::MAX).us() + 1 - HOUR_US),
        ] {
            let name = SegmentName::new(0, Family::Ipv4, start_us);
            let next = name.bump();
            assert_eq!(next.start_us(), next_us);
            assert_eq!(next.received_us(), name.received_us());
        }
    }

    #[test]
    fn the_first_and_the_last_hour_have_what_is_beyond() {
        let of = |us| SegmentName::new(0, Family::Ipv4, us).received_us();
        assert_eq!(of(i64::MIN), i64::MIN..HOUR_US);
        assert_eq!(of(HOUR_US + 5), HOUR_US..2 * HOUR_US);
        assert_eq!(of(i64::MAX).end, i64::MAX);
        let last = of(i64::MAX).start;
        assert_eq!(of(last - 1).end, last);
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
