//! Retention: the oldest flow files make room, by total size and by age.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::civil::FileTime;
use crate::dataset::{Dataset, PARQUET_EXTENSION, SEGMENT_EXTENSION};
use crate::error::StoreError;
use crate::files;
use crate::schema::Family;

/// What may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// The most bytes of flow files and ledger together.
    pub bytes: Option<u64>,
    /// The greatest age of a file's start, in microseconds.
    pub age_us: Option<i64>,
}

/// What retention removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// How many files.
    pub files: u64,
    /// Their length in all.
    pub bytes: u64,
}

struct Kept {
    start: FileTime,
    path: PathBuf,
    bytes: u64,
}

/// Removes the oldest files of the ledger and of flows that are beyond
/// `retention`, and the partitions that are empty then. Segments in staging
/// stay. To be called by the thread that settles, because that makes partitions.
///
/// # Errors
/// A folder cannot be listed, or a file not be removed.
pub fn retain(dataset: &Dataset, retention: Retention, now_us: i64) -> Result<Removed, StoreError> {
    let mut removed = Removed::default();
    if retention == Retention::default() {
        return Ok(removed);
    }
    let mut kept = Vec::new();
    let roots = Family::ALL.map(|family| dataset.family(family));
    for root in roots.iter().chain([&dataset.ledger()]) {
        gather(root, &mut kept)?;
    }
    kept.sort_by(|a, b| (a.start, &a.path).cmp(&(b.start, &b.path)));
    let mut total: u64 = kept.iter().map(|file| file.bytes).sum();
    let oldest_us = retention.age_us.map(|age| now_us.saturating_sub(age));
    for file in kept {
        let too_old = oldest_us.is_some_and(|oldest| file.start.us() < oldest);
        let too_much = retention.bytes.is_some_and(|most| total > most);
        if !too_old && !too_much {
            break;
        }
        files::remove(&file.path)?;
        total -= file.bytes;
        removed.files += 1;
        removed.bytes += file.bytes;
        remove_empty_partitions(&file.path);
    }
    Ok(removed)
}

/// The files that a start's time names, in `folder` and below.
fn gather(folder: &Path, kept: &mut Vec<Kept>) -> Result<(), StoreError> {
    for path in files::list(folder)? {
        if path.is_dir() {
            gather(&path, kept)?;
        } else if let Some(start) = start_of(&path) {
            let metadata = fs::metadata(&path).map_err(StoreError::io("look at", &path))?;
            // Without the holes that segments have. The unit of st_blocks is 512 bytes.
            let bytes = metadata.len().min(metadata.blocks() * 512);
            kept.push(Kept { start, path, bytes });
        }
    }
    Ok(())
}

/// The start in the name `<start>-<shard>.parquet` or `<start>.parquet`.
fn start_of(path: &Path) -> Option<FileTime> {
    let name = path.file_name()?.to_str()?;
    let (stem, extension) = name.rsplit_once('.')?;
    if extension != PARQUET_EXTENSION && extension != SEGMENT_EXTENSION {
        return None;
    }
    FileTime::from_stamp(stem.split('-').next()?)
}

/// Removes `hour=…` and `date=…` above a file that is gone, where they are empty.
fn remove_empty_partitions(file: &Path) {
    let is_partition = |folder: &&Path| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("hour=") || name.starts_with("date=")
    };
    for folder in file.ancestors().skip(1).take_while(is_partition) {
        // A folder that is not empty refuses.
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::SegmentName;

    const HOUR_US: i64 = 3_600_000_000;
    const START_US: i64 = 1_795_279_200_000_000;

    /// Four files of 100 bytes, an hour apart, one of the ledger, one segment.
    fn filled(dataset: &Dataset) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = (0..3)
            .map(|n| {
                let family = Family::ALL[n % 2];
                let name = SegmentName::new(0, family, START_US + n as i64 * HOUR_US);
                dataset.final_path(name, PARQUET_EXTENSION)
            })
            .collect();
        let last = SegmentName::new(0, Family::Other, START_US + 3 * HOUR_US);
        paths.push(dataset.final_path(last, SEGMENT_EXTENSION));
        paths.push(dataset.ledger_path(FileTime::new(START_US + 4 * HOUR_US)));
        paths.push(dataset.segment_path(SegmentName::new(0, Family::Ipv4, START_US)));
        for path in &paths {
            files::make_parent(path).expect("makes");
            fs::write(path, [0; 100]).expect("writes");
        }
        paths
    }

    fn left(retention: Retention) -> (Removed, Vec<bool>, bool) {
        let dir = tempfile::tempdir().expect("temporary folder");
        let dataset = Dataset::open(dir.path()).expect("opens");
        let paths = filled(&dataset);
        let removed = retain(&dataset, retention, START_US + 4 * HOUR_US).expect("retains");
        let first_date = paths[0].ancestors().nth(2).expect("has one").exists();
        (
            removed,
            paths.iter().map(|p| p.exists()).collect(),
            first_date,
        )
    }

    #[test]
    fn nothing_goes_by_default() {
        let (removed, exist, _) = left(Retention::default());
        assert_eq!(removed, Removed::default());
        assert_eq!(exist, [true; 6]);
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        let (removed, exist, date) = left(Retention {
            bytes: Some(350),
            age_us: None,
        });
        assert_eq!(
            removed,
            Removed {
                files: 2,
                bytes: 200
            }
        );
        assert_eq!(exist, [false, false, true, true, true, true]);
        // The third file is of the first one's day and family.
        assert!(date);
    }

    #[test]
    fn files_beyond_the_age_go_with_their_partitions() {
        let (removed, exist, date) = left(Retention {
            bytes: None,
            age_us: Some(HOUR_US),
        });
        assert_eq!(
            removed,
            Removed {
                files: 3,
                bytes: 300
            }
        );
        assert_eq!(exist, [false, false, false, true, true, true]);
        assert!(!date);
    }
}
