//! What flows are grouped by: columns, and what is derived from them.

use std::fmt;

use forebay_store::{ColumnType, Family, FlowSchema};

use super::error::SummaryError;
use crate::nearest::nearest;

/// An address that both families have, under a name of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address {
    Src,
    Dst,
    NextHop,
}

impl Address {
    /// The columns it is in, of IPv4 and IPv6.
    pub(super) fn columns(self) -> [&'static str; 2] {
        match self {
            Self::Src => ["src_ipv4", "src_ipv6"],
            Self::Dst => ["dst_ipv4", "dst_ipv6"],
            Self::NextHop => ["next_hop_ipv4", "next_hop_ipv6"],
        }
    }
}

/// The lengths of prefixes, of IPv4 and IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) ipv4: u8,
    pub(super) ipv6: u8,
}

/// What a key is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A column as it is.
    Column(ColumnType),
    /// An address of the flow's family, whole or its network.
    Address(Address, Option<Prefix>),
    /// The time `first`, rounded down to so many microseconds.
    Bucket(i64),
    /// The day of `first`.
    Date,
    /// What kind of port it is (RFC 6335).
    PortClass(&'static str),
    /// The family.
    Family,
}

/// A column of the answer's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// As it was asked for.
    name: String,
    pub(super) source: Source,
}

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;
pub(super) const DAY_US: i64 = 24 * HOUR_US;

/// The derived keys by name; those that take more behind it are shown with an example.
const DERIVED: [&str; 12] = [
    "src_addr",
    "dst_addr",
    "next_hop",
    "src_prefix/24",
    "dst_prefix/24",
    "hour",
    "minute",
    "bucket:5m",
    "date",
    "src_port_class",
    "dst_port_class",
    "family",
];

impl Key {
    /// The 5-tuple: what flows are grouped by where nothing else is asked.
    pub fn five_tuple() -> Vec<Self> {
        let column = |name: &str, kind| Self::new(name, Source::Column(kind));
        vec![
            Self::new("src_addr", Source::Address(Address::Src, None)),
            Self::new("dst_addr", Source::Address(Address::Dst, None)),
            column("src_port", ColumnType::U16),
            column("dst_port", ColumnType::U16),
            column("protocol", ColumnType::U8),
        ]
    }

    /// Reads the name of a column of `schema` or of what is derived from one: `dst_port`, `src_addr`,
    /// `src_prefix/24`, `dst_prefix/24/64` (IPv4/IPv6), `hour`, `minute`, `bucket:5m`, `date`,
    /// `src_port_class`, `family`.
    ///
    /// # Errors
    /// There is no such key.
    pub fn parse(text: &str, schema: &FlowSchema) -> Result<Self, SummaryError> {
        let source = match text {
            "src_addr" => Source::Address(Address::Src, None),
            "dst_addr" => Source::Address(Address::Dst, None),
            "next_hop" => Source::Address(Address::NextHop, None),
            "hour" => Source::Bucket(HOUR_US),
            "minute" => Source::Bucket(MINUTE_US),
            "date" => Source::Date,
            "family" => Source::Family,
            "src_port_class" => Source::PortClass("src_port"),
            "dst_port_class" => Source::PortClass("dst_port"),
            _ => match text.split_once(['/', ':']) {
                Some(("src_prefix", lengths)) => prefix(text, Address::Src, lengths)?,
                Some(("dst_prefix", lengths)) => prefix(text, Address::Dst, lengths)?,
                Some(("bucket", span)) => Source::Bucket(
                    span_us(span).ok_or_else(|| SummaryError::Bucket(text.to_owned()))?,
                ),
                _ => match schema.find(text) {
                    Some(column) => Source::Column(schema.kind(column)),
                    None => return Err(unknown(text, schema)),
                },
            },
        };
        Ok(Self::new(text, source))
    }

    fn new(name: &str, source: Source) -> Self {
        Self {
            name: name.to_owned(),
            source,
        }
    }

    /// Its name, as it was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns that it needs of files of that family, as far as they have them.
    pub(super) fn columns(&self) -> Vec<&str> {
        match &self.source {
            Source::Column(_) => vec![&self.name],
            Source::Address(address, _) => address.columns().to_vec(),
            Source::Bucket(_) | Source::Date => vec!["first"],
            Source::PortClass(column) => vec![column],
            Source::Family => Vec::new(),
        }
    }

    pub(super) fn address(&self) -> Option<Address> {
        match self.source {
            Source::Address(address, _) => Some(address),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn unknown(text: &str, schema: &FlowSchema) -> SummaryError {
    let columns = schema.columns().map(|column| schema.name(column));
    let nearest = nearest(text, columns.chain(DERIVED));
    SummaryError::Key {
        name: text.to_owned(),
        nearest: nearest.map(str::to_owned),
    }
}

fn prefix(text: &str, address: Address, lengths: &str) -> Result<Source, SummaryError> {
    let wrong = || SummaryError::Prefix(text.to_owned());
    let number = |text: &str| text.parse::<u8>().ok().filter(|length| *length <= 128);
    let prefix = match lengths.split_once('/') {
        // One length for both.
        None => {
            let length = number(lengths).ok_or_else(wrong)?;
            Prefix {
                ipv4: length.min(32),
                ipv6: length,
            }
        }
        Some((ipv4, ipv6)) => Prefix {
            ipv4: number(ipv4)
                .filter(|length| *length <= 32)
                .ok_or_else(wrong)?,
            ipv6: number(ipv6).ok_or_else(wrong)?,
        },
    };
    Ok(Source::Address(address, Some(prefix)))
}

/// `5m` in microseconds.
fn span_us(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1000,
        "s" => SECOND_US,
        "m" | "min" => MINUTE_US,
        "h" => HOUR_US,
        "d" => DAY_US,
        _ => return None,
    };
    let number: i64 = digits.parse().ok()?;
    number.checked_mul(unit).filter(|span| *span > 0)
}

/// Families in the words of keys, and back.
pub(super) fn family_number(family: Family) -> u64 {
    Family::ALL
        .iter()
        .position(|other| *other == family)
        .unwrap_or(0) as u64
}

/// What kind of port it is: RFC 6335, section 6.
pub(super) fn port_class(port: u16) -> u64 {
    match port {
        0..1024 => 0,
        1024..49152 => 1,
        _ => 2,
    }
}

/// The names of what [`port_class`] says.
pub(super) const PORT_CLASSES: [&str; 3] = ["system", "user", "dynamic"];

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Result<Source, String> {
        let key = Key::parse(text, &FlowSchema::default());
        key.map(|key| key.source).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_columns_and_what_is_derived() {
        let prefix = |ipv4, ipv6| Some(Prefix { ipv4, ipv6 });
        for (text, expected) in [
            ("dst_port", Source::Column(ColumnType::U16)),
            ("exporter", Source::Column(ColumnType::Exporter)),
            ("src_addr", Source::Address(Address::Src, None)),
            (
                "src_prefix/24",
                Source::Address(Address::Src, prefix(24, 24)),
            ),
            (
                "dst_prefix/64",
                Source::Address(Address::Dst, prefix(32, 64)),
            ),
            (
                "dst_prefix/0/128",
                Source::Address(Address::Dst, prefix(0, 128)),
            ),
            ("hour", Source::Bucket(HOUR_US)),
            ("bucket:5m", Source::Bucket(300_000_000)),
            ("bucket:100ms", Source::Bucket(100_000)),
            ("date", Source::Date),
            ("src_port_class", Source::PortClass("src_port")),
            ("family", Source::Family),
        ] {
            assert_eq!(source(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_names_are_refused_with_what_was_meant() {
        let error = source("dst_prot").expect_err("no column");
        assert!(error.contains("\"dst_port\""), "{error}");
        for text in [
            "src_prefix/129",
            "src_prefix/33/64",
            "src_prefix/",
            "dst_prefix/24/x",
        ] {
            assert!(source(text).expect_err(text).contains("/24"), "{text}");
        }
        for text in [
            "bucket:5",
            "bucket:0s",
            "bucket:m",
            "bucket:-1s",
            "bucket:9999999999999d",
        ] {
            assert!(
                source(text).expect_err(text).contains("bucket:5m"),
                "{text}"
            );
        }
        assert!(source("zzzzzzzzzzzz").is_err());
    }

    #[test]
    fn ports_have_classes() {
        let class = |port| PORT_CLASSES[port_class(port) as usize];
        assert_eq!(
            [0, 1023, 1024, 49151, 49152, 65535].map(class),
            ["system", "system", "user", "user", "dynamic", "dynamic"]
        );
    }
}
