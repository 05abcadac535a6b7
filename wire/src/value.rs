//! The content of a field, by its abstract data type (RFC 7011 §6.1).
//!
//! ```text
//! unsigned, signed     big-endian, 1 to 8 bytes: fewer than the type's are its reduced size (§6.2)
//! float                4 or 8 bytes (IEEE 754)
//! boolean              1 byte: 1 is true, 2 is false
//! dateTimeSeconds      4 bytes, from 1970          dateTimeMilliseconds   8 bytes, from 1970
//! dateTimeMicro-, -Nanoseconds: NTP, from 1900
//! +-------------------------------+-------------------------------+
//! |           seconds             |     fraction, in 2^-32 s      |
//! +-------------------------------+-------------------------------+
//! ```
//!
//! Exporters send elements in lengths that contradict their types. Such content is shown as it is.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::element::DataType;

#[cfg(test)]
mod tests;

/// Seconds from 1900, where NTP starts, to 1970.
const NTP_TO_UNIX_SECS: u32 = 2_208_988_800;

/// A point in time, in seconds and nanoseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixTime {
    /// Whole seconds.
    pub secs: u64,
    /// Nanoseconds past them.
    pub nanos: u32,
}

/// Converts a time in NTP's format, as `dateTimeMicroseconds` and `dateTimeNanoseconds` have it.
///
/// NTP's seconds wrap in 2036. What would lie before 1970 is taken to be after that.
#[must_use]
pub const fn unix_time_of_ntp(secs: u32, fraction: u32) -> UnixTime {
    // Less than 10^9, because the fraction is less than 2^32.
    let nanos = (fraction as u64 * 1_000_000_000) >> 32;
    UnixTime {
        secs: secs.wrapping_sub(NTP_TO_UNIX_SECS) as u64,
        nanos: nanos as u32,
    }
}

/// The content of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// An unsigned integer.
    Unsigned(u64),
    /// A signed integer.
    Signed(i64),
    /// A floating-point number.
    Float(f64),
    /// A truth value.
    Boolean(bool),
    /// A hardware address.
    MacAddress([u8; 6]),
    /// An IPv4 address.
    Ipv4Address(Ipv4Addr),
    /// An IPv6 address.
    Ipv6Address(Ipv6Addr),
    /// A text, without the zeros that fill up a field of fixed length.
    Text(&'a str),
    /// A time to the second.
    Seconds(u64),
    /// A time to the millisecond, in milliseconds since 1970.
    Milliseconds(u64),
    /// A time to the microsecond.
    Microseconds(UnixTime),
    /// A time to the nanosecond.
    Nanoseconds(UnixTime),
    /// What has no type that is known, no length that its type allows, or is a list.
    Octets(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Reads a field's `content` as of `data_type`.
    #[must_use]
    pub fn new(data_type: DataType, content: &'a [u8]) -> Self {
        Self::typed(data_type, content).unwrap_or(Self::Octets(content))
    }

    fn typed(data_type: DataType, content: &'a [u8]) -> Option<Self> {
        match data_type {
            DataType::Unsigned8
            | DataType::Unsigned16
            | DataType::Unsigned32
            | DataType::Unsigned64
            | DataType::Unsigned256 => unsigned(content).map(Self::Unsigned),
            DataType::Signed8 | DataType::Signed16 | DataType::Signed32 | DataType::Signed64 => {
                signed(content).map(Self::Signed)
            }
            DataType::Float32 | DataType::Float64 => float(content).map(Self::Float),
            DataType::Boolean => match content {
                [1] => Some(Self::Boolean(true)),
                [2] => Some(Self::Boolean(false)),
                _ => None,
            },
            DataType::MacAddress => content.try_into().ok().map(Self::MacAddress),
            DataType::Ipv4Address => <[u8; 4]>::try_from(content)
                .ok()
                .map(|octets| Self::Ipv4Address(octets.into())),
            DataType::Ipv6Address => <[u8; 16]>::try_from(content)
                .ok()
                .map(|octets| Self::Ipv6Address(octets.into())),
            DataType::String => {
                let text = std::str::from_utf8(content).ok()?;
                Some(Self::Text(text.trim_end_matches('\0')))
            }
            DataType::DateTimeSeconds => unsigned(content).map(Self::Seconds),
            DataType::DateTimeMilliseconds => unsigned(content).map(Self::Milliseconds),
            DataType::DateTimeMicroseconds => ntp(content).map(Self::Microseconds),
            DataType::DateTimeNanoseconds => ntp(content).map(Self::Nanoseconds),
            DataType::OctetArray
            | DataType::BasicList
            | DataType::SubTemplateList
            | DataType::SubTemplateMultiList => None,
        }
    }
}

fn unsigned(content: &[u8]) -> Option<u64> {
    (1..=8).contains(&content.len()).then(|| {
        content
            .iter()
            .fold(0, |value, &byte| value << 8 | u64::from(byte))
    })
}

fn signed(content: &[u8]) -> Option<i64> {
    let unused = 8_usize.checked_sub(content.len())? * 8;
    let value = unsigned(content)?.cast_signed();
    // The sign is the first bit that was sent.
    Some(value << unused >> unused)
}

fn float(content: &[u8]) -> Option<f64> {
    if let Ok(bytes) = content.try_into() {
        return Some(f32::from_be_bytes(bytes).into());
    }
    content.try_into().ok().map(f64::from_be_bytes)
}

fn ntp(content: &[u8]) -> Option<UnixTime> {
    let &[s0, s1, s2, s3, f0, f1, f2, f3] = content else {
        return None;
    };
    let secs = u32::from_be_bytes([s0, s1, s2, s3]);
    let fraction = u32::from_be_bytes([f0, f1, f2, f3]);
    Some(unix_time_of_ntp(secs, fraction))
}

/// For people: addresses as usual, times in seconds since 1970 with the type's digits, octets in hexadecimal.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(value) | Self::Seconds(value) => write!(f, "{value}"),
            Self::Signed(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::MacAddress([a, b, c, d, e, g]) => {
                write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
            }
            Self::Ipv4Address(address) => write!(f, "{address}"),
            Self::Ipv6Address(address) => write!(f, "{address}"),
            // A terminal must not obey what an exporter sends.
            Self::Text(text) => write!(f, "{}", text.escape_debug()),
            Self::Milliseconds(value) => write!(f, "{}.{:03}", value / 1000, value % 1000),
            Self::Microseconds(time) => write!(f, "{}.{:06}", time.secs, time.nanos / 1000),
            Self::Nanoseconds(time) => write!(f, "{}.{:09}", time.secs, time.nanos),
            Self::Octets([]) => f.write_str("-"),
            Self::Octets(octets) => {
                f.write_str("0x")?;
                octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}
