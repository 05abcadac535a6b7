//! What the files are called: `exports.pcap`, or with rotation `exports-20261121T164000.123456Z.pcap`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use forebay_udp::capture::CaptureFormat;

use super::{RecordConfig, RecordError};
use crate::output::{COMPRESSED, Named};

/// `-` and the time.
const STAMP_BYTES: usize = 24;

/// Names of files that follow each other.
#[derive(Debug, Clone)]
pub(super) struct Names {
    folder: PathBuf,
    stem: String,
    ending: String,
    format: CaptureFormat,
    is_compressed: bool,
    rotates: bool,
    /// The time in the last name, in microseconds.
    last_us: Option<u64>,
}

impl Names {
    pub(super) fn new(config: &RecordConfig, rotates: bool) -> Result<Self, RecordError> {
        let path = &config.output;
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| RecordError::NoName { path: path.clone() })?;
        let Named {
            stem,
            ending,
            format: by_name,
            is_compressed,
        } = Named::new(name);
        if stem.is_empty() {
            return Err(RecordError::NoName { path: path.clone() });
        }
        let is_compressed = is_compressed || config.compressed;
        let compressed = if is_compressed { COMPRESSED } else { "" };
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let names = Self {
            stem: stem.to_owned(),
            ending: format!("{ending}{compressed}"),
            format: config.format.unwrap_or(by_name),
            is_compressed,
            rotates,
            last_us: None,
            folder,
        };
        let target = names.target("");
        if !rotates && fs::symlink_metadata(&target).is_ok() {
            return Err(RecordError::Taken { path: target });
        }
        Ok(names)
    }

    pub(super) const fn format(&self) -> CaptureFormat {
        self.format
    }

    pub(super) const fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name of a file that begins now: later ones sort after it, wherever the clock goes.
    pub(super) fn next(&mut self, now_ns: u64) -> PathBuf {
        if !self.rotates {
            return self.target("");
        }
        let after_last = self.last_us.map_or(0, |last| last.saturating_add(1));
        let us = (now_ns / 1_000).max(after_last);
        self.last_us = Some(us);
        self.target(&format!("-{}", stamp(us)))
    }

    /// The whole files with names like these, the oldest first.
    pub(super) fn existing(&self) -> Result<Vec<PathBuf>, RecordError> {
        let entries =
            fs::read_dir(&self.folder).map_err(RecordError::file("list", &self.folder))?;
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(RecordError::file("list", &self.folder))?;
            if entry
                .file_name()
                .to_str()
                .is_some_and(|name| self.is_one(name))
            {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }

    fn is_one(&self, name: &str) -> bool {
        let middle = name
            .strip_prefix(&self.stem)
            .and_then(|rest| rest.strip_suffix(&self.ending));
        middle.is_some_and(|middle| {
            let is_like = |(byte, place): (u8, u8)| match place {
                b'0' => byte.is_ascii_digit(),
                other => byte == other,
            };
            middle.len() == STAMP_BYTES
                && middle
                    .bytes()
                    .zip(*b"-00000000T000000.000000Z")
                    .all(is_like)
        })
    }

    fn target(&self, stamp: &str) -> PathBuf {
        let Self { stem, ending, .. } = self;
        self.folder.join(format!("{stem}{stamp}{ending}"))
    }
}

/// Where a file stands until it is whole.
pub(super) fn hidden(target: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".tmp");
    target.with_file_name(name)
}

/// `20261121T164000.123456Z`
fn stamp(us: u64) -> String {
    let seconds = us / 1_000_000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // The calendar repeats every 400 years, which begin in March so that the leap day comes last.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let micros = us % 1_000_000;
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::super::Rotation;
    use super::*;

    fn names(output: &str, compressed: bool, rotates: bool) -> Names {
        let config = RecordConfig {
            output: output.into(),
            format: None,
            compressed,
            rotation: Rotation::default(),
            retain: None,
        };
        Names::new(&config, rotates).expect("a name")
    }

    #[test]
    fn the_ending_says_the_format_and_stays_the_ending() {
        for (output, compressed, format, name) in [
            (
                "a/x.pcap",
                false,
                CaptureFormat::Pcap,
                "a/x-20261121T164000.000001Z.pcap",
            ),
            (
                "a/x.pcapng",
                false,
                CaptureFormat::Pcapng,
                "a/x-20261121T164000.000001Z.pcapng",
            ),
            (
                "x.pcapng",
                true,
                CaptureFormat::Pcapng,
                "./x-20261121T164000.000001Z.pcapng.zst",
            ),
            (
                "x.pcap.zst",
                false,
                CaptureFormat::Pcap,
                "./x-20261121T164000.000001Z.pcap.zst",
            ),
            (
                "x.y",
                false,
                CaptureFormat::Pcap,
                "./x.y-20261121T164000.000001Z",
            ),
        ] {
            let mut names = names(output, compressed, true);
            let next = names.next(1_795_279_200_000_001_999);
            assert_eq!(next, Path::new(name));
            assert_eq!(names.format(), format, "{output}");
            let file = next.file_name().and_then(|name| name.to_str());
            assert!(names.is_one(file.expect("UTF-8")), "{output}");
        }
        assert_eq!(
            names("a/x.pcap", true, false).next(7),
            Path::new("a/x.pcap.zst")
        );
    }

    #[test]
    fn others_files_are_not_ours() {
        let names = names("a/x.pcap", false, true);
        for name in [
            "x.pcap",
            "x-20261121T164000.000001Z.pcapng",
            "x-20261121T164000.000001Z.pcap.zst",
            ".x-20261121T164000.000001Z.pcap.tmp",
            "x-2026112XT164000.000001Z.pcap",
            "y-20261121T164000.000001Z.pcap",
            "x-1-20261121T164000.000001Z.pcap",
        ] {
            assert!(!names.is_one(name), "{name}");
        }
    }

    #[test]
    fn names_sort_as_files_follow_whatever_the_clock_does() {
        let mut names = names("x.pcap", false, true);
        let first = names.next(2_000_000_000);
        let again = names.next(2_000_000_000);
        let back = names.next(1_000_000_000);
        assert!(first < again && again < back);
    }

    #[test]
    fn stamps_are_of_the_calendar() {
        for (us, text) in [
            (0, "19700101T000000.000000Z"),
            (951_782_400_000_000, "20000229T000000.000000Z"),
            (1_709_251_199_999_999, "20240229T235959.999999Z"),
            (1_709_251_200_000_000, "20240301T000000.000000Z"),
            (4_102_444_799_000_000, "20991231T235959.000000Z"),
        ] {
            assert_eq!(stamp(us), text);
        }
    }

    #[test]
    fn what_names_no_file_is_refused() {
        for output in ["/", "..", ".pcap", "a/.pcap.zst"] {
            let config = RecordConfig {
                output: output.into(),
                format: None,
                compressed: false,
                rotation: Rotation::default(),
                retain: None,
            };
            let error = Names::new(&config, false).expect_err("no name");
            assert!(matches!(error, RecordError::NoName { .. }), "{error}");
        }
    }
}
