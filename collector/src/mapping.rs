//! Which information element fills which column (docs/flow-files.md has the table).

use forebay_store::{ColumnId, Family, columns as c};
use forebay_wire::ElementId;

/// RFC 5103 §6.1: the enterprise number of elements in the reverse direction.
const REVERSE: u32 = 29_305;

/// How a field's bytes become a column's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Convert {
    /// An unsigned integer of any length up to 8 bytes (RFC 7011 §6.2: reduced-size encoding).
    Unsigned,
    /// A signed integer.
    Signed,
    /// A float of 4 or 8 bytes.
    Float,
    /// An IPv4 address, as an integer.
    Ipv4,
    /// Exactly as many bytes as the column has: MAC and IPv6 addresses.
    Bytes,
    /// Bytes of any length.
    Octets,
    /// UTF-8, with what is none replaced.
    Text,
    /// The upper byte of icmpTypeCode.
    IcmpType,
    /// The lower byte of icmpTypeCode.
    IcmpCode,
    /// The 20-bit label of a label stack entry (RFC 3032 §2.1).
    MplsLabel,
}

/// A column and the elements that may fill it: the first that a template has is taken.
pub(crate) struct Mapping {
    pub(crate) column: ColumnId,
    pub(crate) elements: &'static [ElementId],
    pub(crate) convert: Convert,
    /// Where several of the elements are there, those after the first fill rows in which it is zero:
    /// exporters with one template for TCP and UDP have tcpSourcePort and udpSourcePort side by side.
    pub(crate) merge: bool,
}

macro_rules! elements {
    ($($number:literal $(of $enterprise:expr)?),*) => {
        &[$(elements!(@one $number $($enterprise)?)),*]
    };
    (@one $number:literal) => { ElementId::iana($number) };
    (@one $number:literal $enterprise:expr) => { ElementId::new($enterprise, $number) };
}

const fn map(column: ColumnId, convert: Convert, elements: &'static [ElementId]) -> Mapping {
    Mapping {
        column,
        elements,
        convert,
        merge: false,
    }
}

const fn merge(column: ColumnId, convert: Convert, elements: &'static [ElementId]) -> Mapping {
    Mapping {
        column,
        elements,
        convert,
        merge: true,
    }
}

/// Columns that mean the same for every family.
pub(crate) const COMMON: &[Mapping] = &[
    merge(c::SRC_PORT, Convert::Unsigned, elements![7, 182, 180]),
    merge(c::DST_PORT, Convert::Unsigned, elements![11, 183, 181]),
    map(c::PROTOCOL, Convert::Unsigned, elements![4]),
    map(c::TOS, Convert::Unsigned, elements![5]),
    map(c::TCP_FLAGS, Convert::Unsigned, elements![6]),
    map(c::PACKETS, Convert::Unsigned, elements![2, 86, 298]),
    map(c::BYTES, Convert::Unsigned, elements![1, 85, 231]),
    map(
        c::REVERSE_PACKETS,
        Convert::Unsigned,
        elements![2 of REVERSE, 86 of REVERSE, 299],
    ),
    map(
        c::REVERSE_BYTES,
        Convert::Unsigned,
        elements![1 of REVERSE, 85 of REVERSE, 232],
    ),
    map(c::IN_IF, Convert::Unsigned, elements![10]),
    map(c::OUT_IF, Convert::Unsigned, elements![14]),
    map(c::SRC_AS, Convert::Unsigned, elements![16]),
    map(c::DST_AS, Convert::Unsigned, elements![17]),
    map(c::SRC_MAC, Convert::Bytes, elements![56, 81]),
    map(c::DST_MAC, Convert::Bytes, elements![80, 57]),
    map(c::SRC_VLAN, Convert::Unsigned, elements![58]),
    map(c::DST_VLAN, Convert::Unsigned, elements![59]),
    map(c::DIRECTION, Convert::Unsigned, elements![61]),
    map(c::FLOW_END_REASON, Convert::Unsigned, elements![136]),
    map(c::FORWARDING_STATUS, Convert::Unsigned, elements![89]),
    map(c::MPLS_LABEL_1, Convert::MplsLabel, elements![70]),
    map(c::MPLS_LABEL_2, Convert::MplsLabel, elements![71]),
    map(c::MPLS_LABEL_3, Convert::MplsLabel, elements![72]),
    // 40001–40004 are the same four in the NSEL of early ASA software.
    map(c::NAT_SRC_IPV4, Convert::Ipv4, elements![225, 40001]),
    map(c::NAT_DST_IPV4, Convert::Ipv4, elements![226, 40002]),
    map(c::NAT_SRC_PORT, Convert::Unsigned, elements![227, 40003]),
    map(c::NAT_DST_PORT, Convert::Unsigned, elements![228, 40004]),
    map(c::NAT_EVENT, Convert::Unsigned, elements![230]),
];

/// The addresses of IPv4.
pub(crate) const IPV4: &[Mapping] = &[
    map(c::SRC_IPV4, Convert::Ipv4, elements![8]),
    map(c::DST_IPV4, Convert::Ipv4, elements![12]),
];

/// The next routers by IPv4. An IPv6 flow may have one too: its network may be reached through a tunnel.
pub(crate) const IPV4_NEXT_HOPS: &[Mapping] = &[
    map(c::NEXT_HOP_IPV4, Convert::Ipv4, elements![15]),
    map(c::BGP_NEXT_HOP_IPV4, Convert::Ipv4, elements![18]),
];

/// The addresses of IPv6.
pub(crate) const IPV6: &[Mapping] = &[
    map(c::SRC_IPV6, Convert::Bytes, elements![27]),
    map(c::DST_IPV6, Convert::Bytes, elements![28]),
];

/// The next routers by IPv6. RFC 8950 has them for IPv4 networks as well.
pub(crate) const IPV6_NEXT_HOPS: &[Mapping] = &[
    map(c::NEXT_HOP_IPV6, Convert::Bytes, elements![62]),
    map(c::BGP_NEXT_HOP_IPV6, Convert::Bytes, elements![63]),
];

/// Columns that several elements fill, of which each family prefers its own.
pub(crate) fn of_family(family: Family) -> &'static [Mapping] {
    match family {
        Family::Ipv4 | Family::Other => {
            const MAPPINGS: &[Mapping] = &[
                map(c::SRC_MASK, Convert::Unsigned, elements![9, 29]),
                map(c::DST_MASK, Convert::Unsigned, elements![13, 30]),
                map(c::ICMP_TYPE, Convert::Unsigned, elements![176, 178]),
                map(c::ICMP_CODE, Convert::Unsigned, elements![177, 179]),
                map(c::ICMP_TYPE, Convert::IcmpType, elements![32, 139]),
                map(c::ICMP_CODE, Convert::IcmpCode, elements![32, 139]),
            ];
            MAPPINGS
        }
        Family::Ipv6 => {
            const MAPPINGS: &[Mapping] = &[
                map(c::SRC_MASK, Convert::Unsigned, elements![29, 9]),
                map(c::DST_MASK, Convert::Unsigned, elements![30, 13]),
                map(c::ICMP_TYPE, Convert::Unsigned, elements![178, 176]),
                map(c::ICMP_CODE, Convert::Unsigned, elements![179, 177]),
                map(c::ICMP_TYPE, Convert::IcmpType, elements![139, 32]),
                map(c::ICMP_CODE, Convert::IcmpCode, elements![139, 32]),
            ];
            MAPPINGS
        }
    }
}
