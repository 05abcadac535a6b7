//! Times as they stand in the names of files and partitions.

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};

/// The last microsecond of the year 9999: later years would not sort by name.
const LAST_US: i64 = 253_402_300_799_999_999;

/// A time (microseconds since the Unix epoch, UTC) to be written in a name.
///
/// Times before 1970 or after 9999 are moved to that limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileTime(i64);

impl FileTime {
    pub(crate) fn new(us: i64) -> Self {
        Self(us.clamp(0, LAST_US))
    }

    pub(crate) fn us(self) -> i64 {
        self.0
    }

    fn civil(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }

    /// `2026-11-21`, the value of the partition `date`.
    pub(crate) fn date(self) -> String {
        let t = self.civil();
        format!("{:04}-{:02}-{:02}", t.year(), t.month(), t.day())
    }

    /// `16`, the value of the partition `hour`.
    pub(crate) fn hour(self) -> String {
        format!("{:02}", self.civil().hour())
    }

    /// `20261121T164000.123456Z`: sorts by time and is safe in any path.
    pub(crate) fn stamp(self) -> String {
        let t = self.civil();
        format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}.{:06}Z",
            t.year(),
            t.month(),
            t.day(),
            t.hour(),
            t.minute(),
            t.second(),
            self.0 % 1_000_000
        )
    }

    /// The time that [`stamp`](Self::stamp) wrote.
    pub(crate) fn from_stamp(stamp: &str) -> Option<Self> {
        let number = |from: usize, to: usize| -> Option<u32> {
            let digits = stamp.get(from..to)?;
            digits
                .bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| digits.parse().ok())?
        };
        let year = i32::try_from(number(0, 4)?).ok()?;
        let date = NaiveDate::from_ymd_opt(year, number(4, 6)?, number(6, 8)?)?;
        let time = date.and_hms_micro_opt(
            number(9, 11)?,
            number(11, 13)?,
            number(13, 15)?,
            number(16, 22)?,
        )?;
        let found = Self::new(time.and_utc().timestamp_micros());
        (found.stamp() == stamp).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_and_read_back() {
        let time = FileTime::new(1_795_279_200_123_456);
        assert_eq!(time.stamp(), "20261121T164000.123456Z");
        assert_eq!(time.date(), "2026-11-21");
        assert_eq!(time.hour(), "16");
        assert_eq!(FileTime::from_stamp(&time.stamp()), Some(time));
    }

    #[test]
    fn times_out_of_range_are_moved_into_it() {
        assert_eq!(FileTime::new(i64::MIN).stamp(), "19700101T000000.000000Z");
        let last = FileTime::new(i64::MAX);
        assert_eq!(last.stamp(), "99991231T235959.999999Z");
        assert_eq!(FileTime::from_stamp(&last.stamp()), Some(last));
    }

    #[test]
    fn what_is_no_stamp_is_refused() {
        for stamp in [
            "",
            "20261121T164000.123456",
            "20261121T164000.123456Zx",
            "20261321T164000.123456Z",
            "+0261121T164000.123456Z",
            "20261121 164000.123456Z",
            "20261121T164000.12345éZ",
        ] {
            assert_eq!(FileTime::from_stamp(stamp), None, "{stamp}");
        }
    }
}
