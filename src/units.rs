//! Sizes, durations and rates as people write them: `256MiB`, `10us`, `1.5M/s`.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Visitor};

/// A number of bytes: a number and `B`, `kB`, `MB`, `GB`, `TB`, `KiB`, `MiB`, `GiB` or `TiB`. No unit means bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// A duration: a number and `ns`, `us`, `ms`, `s`, `min`, `h` or `d`. Only 0 needs no unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

/// How often in a second: a number, perhaps with `k`, `M` or `G`, perhaps with `/s` behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) u64);

/// A number, perhaps with `k`, `M` or `G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u64);

/// A text that is no quantity of its kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnitError {
    text: String,
    kind: &'static str,
    write: &'static str,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, kind, write } = self;
        write!(f, "\"{text}\" is no {kind}: write {write}")
    }
}

impl std::error::Error for UnitError {}

/// The unit names and what each is worth.
type Units = &'static [(&'static str, u64)];

const BYTES: Units = &[
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const NANOSECONDS: Units = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

const COUNTS: Units = &[
    ("", 1),
    ("k", 1_000),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
];

/// Reads a number with at most nine decimal places and its unit, without rounding on the way.
fn quantity(text: &str, units: Units) -> Option<u64> {
    let text = text.trim();
    let number_end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let &(_, worth) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || whole.len() > 20 || decimals.len() > 9 || number.ends_with('.') {
        return None;
    }
    let digits: u128 = format!("{whole}{decimals}").parse().ok()?;
    let value = digits * u128::from(worth) / 10_u128.pow(decimals.len() as u32);
    u64::try_from(value).ok()
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        quantity(text, BYTES).map(Self).ok_or_else(|| UnitError {
            text: text.to_owned(),
            kind: "size",
            write: "a number and B, kB, MB, GB, KiB, MiB, GiB or TiB, such as 256MiB",
        })
    }
}

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let nanoseconds = if text.trim() == "0" {
            Some(0)
        } else {
            quantity(text, NANOSECONDS)
        };
        nanoseconds
            .map(|ns| Self(Duration::from_nanos(ns)))
            .ok_or_else(|| UnitError {
                text: text.to_owned(),
                kind: "duration",
                write: "a number and ns, us, ms, s, min, h or d, such as 60s",
            })
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let number = text.trim().strip_suffix("/s").unwrap_or(text);
        quantity(number, COUNTS).map(Self).ok_or_else(|| UnitError {
            text: text.to_owned(),
            kind: "rate",
            write: "a number, perhaps with k, M or G, per second, such as 1.5M/s",
        })
    }
}

impl FromStr for Count {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        quantity(text, COUNTS).map(Self).ok_or_else(|| UnitError {
            text: text.to_owned(),
            kind: "number",
            write: "digits, perhaps with k, M or G, such as 10M",
        })
    }
}

/// In the largest unit of which it is a whole number.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            ("TiB", 1 << 40),
            ("GiB", 1 << 30),
            ("MiB", 1 << 20),
            ("KiB", 1 << 10),
        ];
        for (name, worth) in units {
            if self.0 != 0 && self.0.is_multiple_of(worth) {
                return write!(f, "{}{name}", self.0 / worth);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// Reads a value that flags write as text from a configuration file, where a plain number needs no quotes.
pub(crate) struct FromText<T>(pub(crate) PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for FromText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text in quotes, as for the flag")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// An address with its port.
pub(crate) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("\"{text}\" is no address and port: write it as 127.0.0.1:9180 or [::1]:9180")
    })
}

/// An address and port that can be sent to.
pub(crate) fn target_address(text: &str) -> Result<SocketAddr, String> {
    let target = socket_address(text)?;
    if target.port() == 0 || target.ip().is_unspecified() {
        return Err(format!(
            "nobody can be sent to at {target}: write the collector's address and port, such as 192.0.2.10:2055"
        ));
    }
    Ok(target)
}

/// An export version by its number; which of them will do is another question.
pub(crate) fn export_version(text: &str) -> Result<u8, String> {
    text.parse().map_err(|_| {
        format!("\"{text}\" is no export version: write its number, such as 9, or 10 for IPFIX")
    })
}

macro_rules! deserialize_from_text {
    ($($type:ident),*) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any($crate::units::FromText(std::marker::PhantomData))
            }
        }
    )*};
}

pub(crate) use deserialize_from_text;

deserialize_from_text!(Size, Period);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17B", 17),
            ("1kB", 1_000),
            ("256MiB", 256 << 20),
            ("1.5 GiB", 3 << 29),
            (" 2TB ", 2_000_000_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in [
            "",
            "B",
            ".5MiB",
            "5.MiB",
            "1.2.3B",
            "-1",
            "+1",
            "1 parsec",
            "1e3",
            "1mib",
            "16777216TiB",
            "18446744073709551616",
            "99999999999999999999999999999999999999999",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for text in ["0B", "1023B", "64MiB", "3KiB", "1GiB", "2TiB"] {
            assert_eq!(text.parse::<Size>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn durations() {
        for (text, duration) in [
            ("0", Duration::ZERO),
            ("10ns", Duration::from_nanos(10)),
            ("10us", Duration::from_micros(10)),
            ("10µs", Duration::from_micros(10)),
            ("1.5ms", Duration::from_micros(1_500)),
            ("60s", Duration::from_secs(60)),
            ("5 min", Duration::from_secs(300)),
            ("2h", Duration::from_secs(7_200)),
            ("30d", Duration::from_secs(2_592_000)),
        ] {
            assert_eq!(text.parse(), Ok(Period(duration)), "{text}");
        }
        for text in [
            "",
            "60",
            "s",
            "1m",
            "1 year",
            "-1s",
            "1s 2ms",
            "1.0000000001s",
            "300000d",
        ] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates() {
        for (text, per_second) in [
            ("1", 1),
            ("100/s", 100),
            ("600k", 600_000),
            ("1.5M/s", 1_500_000),
            ("0.25G/s", 250_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Rate(per_second)), "{text}");
        }
        for text in ["", "/s", "1/min", "1m/s", "1MiB/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn counts() {
        assert_eq!("10M".parse(), Ok(Count(10_000_000)));
        assert_eq!("1048576".parse(), Ok(Count(1 << 20)));
        assert!("10/s".parse::<Count>().is_err());
    }

    #[test]
    fn an_error_says_what_to_write() {
        assert_eq!(
            "60".parse::<Period>().expect_err("no unit").to_string(),
            "\"60\" is no duration: write a number and ns, us, ms, s, min, h or d, such as 60s"
        );
    }
}
