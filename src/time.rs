//! Times for people: RFC 3339, UTC.

use std::fmt;

const DAY_SECONDS: i64 = 86_400;

/// A time to be shown as `2026-11-21T17:40:00.123456Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rfc3339 {
    seconds: i64,
    nanoseconds: u32,
    /// How many decimal places are shown.
    digits: usize,
}

impl Rfc3339 {
    /// Whole seconds since 1970.
    pub(crate) const fn from_s(seconds: i64) -> Self {
        Self {
            seconds,
            nanoseconds: 0,
            digits: 0,
        }
    }

    /// Milliseconds since 1970.
    pub(crate) const fn from_ms(ms: i64) -> Self {
        Self {
            seconds: ms.div_euclid(1_000),
            nanoseconds: ms.rem_euclid(1_000) as u32 * 1_000_000,
            digits: 3,
        }
    }

    /// Microseconds since 1970.
    pub(crate) const fn from_us(us: i64) -> Self {
        Self {
            seconds: us.div_euclid(1_000_000),
            nanoseconds: us.rem_euclid(1_000_000) as u32 * 1_000,
            digits: 6,
        }
    }

    /// Seconds since 1970 and nanoseconds past them, to the nanosecond.
    pub(crate) const fn from_s_ns(seconds: i64, nanoseconds: u32) -> Self {
        Self {
            seconds,
            nanoseconds,
            digits: 9,
        }
    }

    /// Appends the time to `out`: the way for millions of them.
    pub(crate) fn write_to(self, out: &mut Vec<u8>) {
        write_date(self.seconds.div_euclid(DAY_SECONDS), out);
        // 0 to 86,399.
        let second = self.seconds.rem_euclid(DAY_SECONDS) as u32;
        for (separator, value) in [
            (b'T', second / 3600),
            (b':', second / 60 % 60),
            (b':', second % 60),
        ] {
            out.push(separator);
            put(out, value, 2);
        }
        if self.digits > 0 {
            out.push(b'.');
            let dropped = 10_u32.pow(9 - self.digits as u32);
            put(out, self.nanoseconds / dropped, self.digits);
        }
        out.push(b'Z');
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(30);
        self.write_to(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// Appends a day since 1970-01-01 as `2026-11-21`.
pub(crate) fn write_date(day: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil(day);
    if let Ok(year @ 0..=9999) = u32::try_from(year) {
        put(out, year, 4);
    } else {
        out.extend(format!("{year:+}").bytes());
    }
    for value in [month, day] {
        out.push(b'-');
        put(out, value, 2);
    }
}

/// Appends the last `digits` decimal digits of `value`.
fn put(out: &mut Vec<u8>, value: u32, digits: usize) {
    let start = out.len();
    out.resize(start + digits, b'0');
    let mut left = value;
    for digit in out.iter_mut().skip(start).rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar continued both ways.
///
/// Counted in years that begin with March, so that the leap day is the last of its year, and in eras of 400 years,
/// which all have the same number of days.
const fn civil(day: i64) -> (i64, u32, u32) {
    const ERA_DAYS: i64 = 146_097;
    const MARCH_1_OF_YEAR_0: i64 = -719_468;
    let day = day - MARCH_1_OF_YEAR_0;
    let era = day.div_euclid(ERA_DAYS);
    let day_of_era = day.rem_euclid(ERA_DAYS);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = (month_from_march + 2) as u32 % 12 + 1;
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_279_200, "2026-11-21T16:40:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (253_402_300_800, "+10000-01-01T00:00:00Z"),
        ] {
            assert_eq!(Rfc3339::from_s(seconds).to_string(), text);
        }
    }

    #[test]
    fn decimals_are_those_of_the_unit() {
        assert_eq!(Rfc3339::from_ms(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(
            Rfc3339::from_us(1_795_279_200_000_042).to_string(),
            "2026-11-21T16:40:00.000042Z"
        );
        assert_eq!(
            Rfc3339::from_s_ns(0, 7).to_string(),
            "1970-01-01T00:00:00.000000007Z"
        );
    }

    #[test]
    fn no_time_is_too_far() {
        for us in [i64::MIN, i64::MAX] {
            assert!(Rfc3339::from_us(us).to_string().ends_with('Z'));
        }
        for s in [i64::MIN / 2, i64::MAX / 2] {
            assert!(Rfc3339::from_s(s).to_string().ends_with('Z'));
        }
    }
}
