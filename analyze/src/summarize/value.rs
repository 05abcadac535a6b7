//! What is told of each group.

use std::fmt;

use arrow_schema::{DataType, TimeUnit};

use super::error::SummaryError;
use crate::nearest::nearest;

/// What is told of the flows of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value {
    /// How many there are.
    Flows,
    /// Their packets, together; null where no flow has a number of packets.
    Packets,
    /// Their bytes, likewise.
    Bytes,
    /// From the least `first` to the greatest `last`, in seconds.
    Duration,
    /// The least `first`.
    First,
    /// The greatest `last`.
    Last,
    /// All their flags.
    TcpFlags,
    /// The type, where all flows that have one agree.
    IcmpType,
    /// The code, likewise.
    IcmpCode,
    /// How many exporters told of them.
    Exporters,
    /// How many source addresses they have.
    SrcCount,
    /// How many destination addresses they have.
    DstCount,
}

impl Value {
    /// All values, in order.
    pub const ALL: [Self; 12] = [
        Self::Flows,
        Self::Packets,
        Self::Bytes,
        Self::Duration,
        Self::First,
        Self::Last,
        Self::TcpFlags,
        Self::IcmpType,
        Self::IcmpCode,
        Self::Exporters,
        Self::SrcCount,
        Self::DstCount,
    ];

    /// What is told where nothing else is asked.
    pub const DEFAULT: [Self; 5] = [
        Self::Flows,
        Self::Packets,
        Self::Bytes,
        Self::First,
        Self::Last,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flows => "flows",
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Duration => "duration",
            Self::First => "first",
            Self::Last => "last",
            Self::TcpFlags => "tcp_flags",
            Self::IcmpType => "icmp_type",
            Self::IcmpCode => "icmp_code",
            Self::Exporters => "exporters",
            Self::SrcCount => "src_count",
            Self::DstCount => "dst_count",
        }
    }

    /// The value of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn parse(name: &str) -> Result<Self, SummaryError> {
        let found = Self::ALL.into_iter().find(|value| value.name() == name);
        found.ok_or_else(|| SummaryError::Value {
            name: name.to_owned(),
            nearest: nearest(name, Self::ALL.into_iter().map(Self::name)).map(str::to_owned),
        })
    }

    /// Its type in the answer.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Flows
            | Self::Packets
            | Self::Bytes
            | Self::Exporters
            | Self::SrcCount
            | Self::DstCount => DataType::UInt64,
            Self::Duration => DataType::Float64,
            Self::First | Self::Last => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            Self::TcpFlags => DataType::UInt16,
            Self::IcmpType | Self::IcmpCode => DataType::UInt8,
        }
    }

    /// The columns that it needs, as far as files have them.
    pub(super) fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Flows => &[],
            Self::Packets => &["packets"],
            Self::Bytes => &["bytes"],
            Self::Duration => &["first", "last"],
            Self::First => &["first"],
            Self::Last => &["last"],
            Self::TcpFlags => &["tcp_flags"],
            Self::IcmpType => &["icmp_type"],
            Self::IcmpCode => &["icmp_code"],
            Self::Exporters => &["exporter"],
            Self::SrcCount => &["src_ipv4", "src_ipv6"],
            Self::DstCount => &["dst_ipv4", "dst_ipv6"],
        }
    }

    /// Whether it counts what is different.
    pub(super) fn is_distinct(self) -> bool {
        matches!(self, Self::Exporters | Self::SrcCount | Self::DstCount)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_names() {
        for value in Value::ALL {
            assert_eq!(Value::parse(value.name()), Ok(value));
        }
        let error = Value::parse("byte").expect_err("no value").to_string();
        assert!(error.contains("\"bytes\""), "{error}");
    }
}
