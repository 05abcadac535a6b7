//! Where the fields of a fixed record lie, and which information elements they are.
//!
//! ```text
//! offset      0       4       8       12      16      20      24      28      32      36
//! all     | source | dest. | next  | in|out| pkts  | bytes | first | last  | sp|dp |
//!            36   37    38    39    40   42   44   45   46   48    52
//! v5      | pad |flags|proto| tos | sAS| dAS| sM | dM | pad |
//! v7      |valid|flags|proto| tos | sAS| dAS| sM | dM |valid| router |
//! v1      |    pad    |proto| tos |flags| pad …                      |
//! ```
//!
//! Interfaces and AS numbers take two bytes, ports two, masks one.

use crate::template::ElementId;

/// A field of a fixed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedField {
    /// Where it starts in the record.
    pub offset: u16,
    /// How many bytes it takes.
    pub length: u16,
    /// What it means.
    pub element: ElementId,
}

const fn field(offset: u16, length: u16, number: u16) -> FixedField {
    FixedField {
        offset,
        length,
        element: ElementId::iana(number),
    }
}

// sourceIPv4Address … destinationTransportPort: the same in all three versions.
const SOURCE: FixedField = field(0, 4, 8);
const DESTINATION: FixedField = field(4, 4, 12);
const NEXT_HOP: FixedField = field(8, 4, 15);
const INPUT: FixedField = field(12, 2, 10);
const OUTPUT: FixedField = field(14, 2, 14);
const PACKETS: FixedField = field(16, 4, 2);
const OCTETS: FixedField = field(20, 4, 1);
const FIRST: FixedField = field(24, 4, 22);
const LAST: FixedField = field(28, 4, 21);
const SOURCE_PORT: FixedField = field(32, 2, 7);
const DESTINATION_PORT: FixedField = field(34, 2, 11);
const PROTOCOL: FixedField = field(38, 1, 4);
const TOS: FixedField = field(39, 1, 5);

// v5 and v7.
const TCP_FLAGS: FixedField = field(37, 1, 6);
const SOURCE_AS: FixedField = field(40, 2, 16);
const DESTINATION_AS: FixedField = field(42, 2, 17);
const SOURCE_MASK: FixedField = field(44, 1, 9);
const DESTINATION_MASK: FixedField = field(45, 1, 13);

/// A v1 record's fields, in the order of the record.
pub const V1_FIELDS: &[FixedField] = &[
    SOURCE,
    DESTINATION,
    NEXT_HOP,
    INPUT,
    OUTPUT,
    PACKETS,
    OCTETS,
    FIRST,
    LAST,
    SOURCE_PORT,
    DESTINATION_PORT,
    PROTOCOL,
    TOS,
    field(40, 1, 6),
];

/// A v5 record's fields, in the order of the record.
pub const V5_FIELDS: &[FixedField] = &[
    SOURCE,
    DESTINATION,
    NEXT_HOP,
    INPUT,
    OUTPUT,
    PACKETS,
    OCTETS,
    FIRST,
    LAST,
    SOURCE_PORT,
    DESTINATION_PORT,
    TCP_FLAGS,
    PROTOCOL,
    TOS,
    SOURCE_AS,
    DESTINATION_AS,
    SOURCE_MASK,
    DESTINATION_MASK,
];

/// A v7 record's fields, in the order of the record. Which of them the switch filled in is told by flags at bytes 36 and
/// 46, which no element stands for: what it did not fill in is zero.
pub const V7_FIELDS: &[FixedField] = &[
    SOURCE,
    DESTINATION,
    NEXT_HOP,
    INPUT,
    OUTPUT,
    PACKETS,
    OCTETS,
    FIRST,
    LAST,
    SOURCE_PORT,
    DESTINATION_PORT,
    TCP_FLAGS,
    PROTOCOL,
    TOS,
    SOURCE_AS,
    DESTINATION_AS,
    SOURCE_MASK,
    DESTINATION_MASK,
    // ipv4RouterSc: the router that the switch short-cuts.
    field(48, 4, 43),
];
