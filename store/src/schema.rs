//! The columns of a flow: their names, types and order.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// The address family of a flow, and the first partition of the dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 addresses.
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
    /// No IP address: layer 2 flows, events about something else.
    Other,
}

impl Family {
    /// All families, in order.
    pub const ALL: [Self; 3] = [Self::Ipv4, Self::Ipv6, Self::Other];

    /// The name in paths (`family=ipv4`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Other => "other",
        }
    }

    /// The family of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }
}

/// The key of a file's metadata that names the family of its flows.
pub(crate) const FAMILY_KEY: &str = "forebay.family";

/// How a column's values are kept in a batch, a segment and a flow file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits; also IPv4 addresses.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 64 bits.
    I64,
    /// Floating point, 64 bits.
    F64,
    /// Microseconds since the Unix epoch, UTC.
    Timestamp,
    /// A MAC address: 6 octets.
    Mac,
    /// An IPv6 address: 16 octets.
    Ipv6,
    /// UTF-8 text.
    Text,
    /// Octets as exported.
    Octets,
    /// The exporter's address as text, by dictionary.
    Exporter,
}

impl ColumnType {
    const ALL: [Self; 12] = [
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::I64,
        Self::F64,
        Self::Timestamp,
        Self::Mac,
        Self::Ipv6,
        Self::Text,
        Self::Octets,
        Self::Exporter,
    ];

    /// The column type of that type in Arrow, if it is one's.
    pub fn of(kind: &DataType) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.arrow() == *kind)
    }

    /// The type in Arrow and, through it, in Parquet.
    pub fn arrow(self) -> DataType {
        match self {
            Self::U8 => DataType::UInt8,
            Self::U16 => DataType::UInt16,
            Self::U32 => DataType::UInt32,
            Self::U64 => DataType::UInt64,
            Self::I64 => DataType::Int64,
            Self::F64 => DataType::Float64,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Mac => DataType::FixedSizeBinary(6),
            Self::Ipv6 => DataType::FixedSizeBinary(16),
            Self::Text => DataType::Utf8,
            Self::Octets => DataType::Binary,
            Self::Exporter => {
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
            }
        }
    }
}

/// A column's place in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ColumnId(pub(crate) u8);

/// The most columns that a schema can have: a [`ColumnSet`] is a `u128`.
pub const COLUMNS_MAX: usize = 128;

/// A set of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ColumnSet(u128);

impl ColumnSet {
    /// Adds a column.
    pub fn insert(&mut self, column: ColumnId) {
        self.0 |= 1 << column.0;
    }

    /// Whether the column is in the set.
    pub fn contains(self, column: ColumnId) -> bool {
        self.0 >> column.0 & 1 == 1
    }

    /// Whether every column of this set is in the other.
    pub fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The columns that are in either set.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

macro_rules! standard_columns {
    ($($(#[$doc:meta])* $id:ident $name:literal $type:ident;)*) => {
        /// The standard columns by name, for code that fills or reads one.
        #[expect(missing_docs, reason = "each is the column of that name in docs/flow-files.md")]
        pub mod columns {
            use super::{ColumnId, ColumnType};
            #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "only their order counts")]
            #[repr(u8)]
            enum Place { $($id,)* }
            $($(#[$doc])* pub const $id: ColumnId = ColumnId(Place::$id as u8);)*
            pub(super) const STANDARD: &[(&str, ColumnType)] = &[$(($name, ColumnType::$type),)*];
        }
    };
}

#[rustfmt::skip]
standard_columns! {
    RECEIVED "received" Timestamp;
    EXPORTER "exporter" Exporter;
    EXPORTER_PORT "exporter_port" U16;
    OBSERVATION_DOMAIN "observation_domain" U32;
    EXPORT_VERSION "export_version" U8;
    TEMPLATE_ID "template_id" U16;
    FIRST "first" Timestamp;
    LAST "last" Timestamp;
    SRC_IPV4 "src_ipv4" U32;
    DST_IPV4 "dst_ipv4" U32;
    NEXT_HOP_IPV4 "next_hop_ipv4" U32;
    SRC_IPV6 "src_ipv6" Ipv6;
    DST_IPV6 "dst_ipv6" Ipv6;
    NEXT_HOP_IPV6 "next_hop_ipv6" Ipv6;
    SRC_PORT "src_port" U16;
    DST_PORT "dst_port" U16;
    PROTOCOL "protocol" U8;
    TOS "tos" U8;
    TCP_FLAGS "tcp_flags" U16;
    ICMP_TYPE "icmp_type" U8;
    ICMP_CODE "icmp_code" U8;
    PACKETS "packets" U64;
    BYTES "bytes" U64;
    REVERSE_PACKETS "reverse_packets" U64;
    REVERSE_BYTES "reverse_bytes" U64;
    IN_IF "in_if" U32;
    OUT_IF "out_if" U32;
    SRC_AS "src_as" U32;
    DST_AS "dst_as" U32;
    SRC_MASK "src_mask" U8;
    DST_MASK "dst_mask" U8;
    SRC_MAC "src_mac" Mac;
    DST_MAC "dst_mac" Mac;
    SRC_VLAN "src_vlan" U16;
    DST_VLAN "dst_vlan" U16;
    DIRECTION "direction" U8;
    FLOW_END_REASON "flow_end_reason" U8;
    FORWARDING_STATUS "forwarding_status" U8;
    SAMPLING_RATE "sampling_rate" U32;
    BGP_NEXT_HOP_IPV4 "bgp_next_hop_ipv4" U32;
    BGP_NEXT_HOP_IPV6 "bgp_next_hop_ipv6" Ipv6;
    MPLS_LABEL_1 "mpls_label_1" U32;
    MPLS_LABEL_2 "mpls_label_2" U32;
    MPLS_LABEL_3 "mpls_label_3" U32;
    NAT_SRC_IPV4 "nat_src_ipv4" U32;
    NAT_DST_IPV4 "nat_dst_ipv4" U32;
    NAT_SRC_PORT "nat_src_port" U16;
    NAT_DST_PORT "nat_dst_port" U16;
    NAT_EVENT "nat_event" U8;
}

/// The columns that every row has.
const REQUIRED: [ColumnId; 5] = [
    columns::RECEIVED,
    columns::EXPORTER,
    columns::EXPORTER_PORT,
    columns::OBSERVATION_DOMAIN,
    columns::EXPORT_VERSION,
];

/// Whether every row has a value of the column of that name.
pub(crate) fn is_required(name: &str) -> bool {
    let named = |column: &ColumnId| {
        columns::STANDARD
            .get(usize::from(column.0))
            .map(|(name, _)| *name)
    };
    REQUIRED
        .iter()
        .filter_map(named)
        .any(|required| required == name)
}

/// Why a configured column cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// A column of that name exists.
    #[error("column \"{0}\" exists already: choose another name")]
    Duplicate(String),
    /// The name cannot be a column's.
    #[error(
        "\"{0}\" cannot be a column's name: use lower-case letters, digits and _, a letter first"
    )]
    Name(String),
    /// The schema is full.
    #[error("too many columns: {COLUMNS_MAX} at the most, of which {} are standard", columns::STANDARD.len())]
    TooMany,
}

/// The standard columns and those that the configuration adds.
#[derive(Debug, Clone)]
pub struct FlowSchema {
    fields: Vec<(Arc<Field>, ColumnType)>,
}

impl Default for FlowSchema {
    fn default() -> Self {
        let fields = columns::STANDARD
            .iter()
            .zip(0..)
            .map(|(&(name, kind), place)| {
                let nullable = !REQUIRED.contains(&ColumnId(place));
                (Arc::new(Field::new(name, kind.arrow(), nullable)), kind)
            })
            .collect();
        Self { fields }
    }
}

impl FlowSchema {
    /// Adds a column behind the others.
    ///
    /// # Errors
    /// The name is taken or not a name, or there are [`COLUMNS_MAX`] columns.
    pub fn add(&mut self, name: &str, kind: ColumnType) -> Result<ColumnId, ColumnError> {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(word) {
            return Err(ColumnError::Name(name.to_owned()));
        }
        if self.find(name).is_some() || RESERVED.contains(&name) {
            return Err(ColumnError::Duplicate(name.to_owned()));
        }
        let place = u8::try_from(self.fields.len()).map_err(|_| ColumnError::TooMany)?;
        if self.fields.len() >= COLUMNS_MAX {
            return Err(ColumnError::TooMany);
        }
        self.fields
            .push((Arc::new(Field::new(name, kind.arrow(), true)), kind));
        Ok(ColumnId(place))
    }

    /// The column of that name.
    pub fn find(&self, name: &str) -> Option<ColumnId> {
        self.columns().find(|&column| self.name(column) == name)
    }

    /// All columns in order.
    pub fn columns(&self) -> impl Iterator<Item = ColumnId> + use<> {
        // `add` keeps the number of columns within a `u8`.
        (0..self.fields.len() as u8).map(ColumnId)
    }

    /// A column's name.
    pub fn name(&self, column: ColumnId) -> &str {
        self.fields[usize::from(column.0)].0.name()
    }

    /// A column's type.
    pub fn kind(&self, column: ColumnId) -> ColumnType {
        self.fields[usize::from(column.0)].1
    }

    /// The Arrow schema of all columns.
    pub(crate) fn arrow_all(&self) -> SchemaRef {
        let fields = self.fields.iter().map(|(field, _)| Arc::clone(field));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The Arrow schema of the columns in `set`, in order.
    pub fn arrow(&self, set: ColumnSet) -> SchemaRef {
        let chosen = self.columns().filter(|&column| set.contains(column));
        Arc::new(Schema::new(
            chosen
                .map(|column| Arc::clone(&self.fields[usize::from(column.0)].0))
                .collect::<Vec<_>>(),
        ))
    }
}

/// The column that tells how many exporters saw a flow, where duplicates were removed.
pub const SEEN_BY: &str = "seen_by";
/// The column that tells which.
pub const SEEN_EXPORTERS: &str = "seen_exporters";

/// The columns that flows gain where duplicates are removed: [`SEEN_BY`] and [`SEEN_EXPORTERS`].
pub fn seen_fields() -> [Field; 2] {
    let exporter = Field::new_list_field(ColumnType::Exporter.arrow(), false);
    [
        Field::new(SEEN_BY, DataType::UInt32, false),
        Field::new(SEEN_EXPORTERS, DataType::List(Arc::new(exporter)), false),
    ]
}

/// Names that the partitions, the readable forms of addresses, and the columns of [`seen_fields`] take.
const RESERVED: [&str; 8] = [
    "family",
    "date",
    "hour",
    "src_addr",
    "dst_addr",
    "next_hop",
    SEEN_BY,
    SEEN_EXPORTERS,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_columns_have_their_places() {
        let schema = FlowSchema::default();
        assert_eq!(schema.find("received"), Some(columns::RECEIVED));
        assert_eq!(schema.find("nat_event"), Some(columns::NAT_EVENT));
        assert_eq!(schema.name(columns::SRC_MAC), "src_mac");
        assert_eq!(schema.kind(columns::SRC_MAC), ColumnType::Mac);
        assert_eq!(schema.columns().count(), columns::STANDARD.len());
    }

    #[test]
    fn a_configured_column_needs_a_new_name() {
        let mut schema = FlowSchema::default();
        let id = schema.add("nbar", ColumnType::Text).expect("a new name");
        assert_eq!(schema.find("nbar"), Some(id));
        assert_eq!(
            schema.add("nbar", ColumnType::U8),
            Err(ColumnError::Duplicate("nbar".into()))
        );
        assert_eq!(
            schema.add("hour", ColumnType::U8),
            Err(ColumnError::Duplicate("hour".into()))
        );
        assert_eq!(
            schema.add("No", ColumnType::U8),
            Err(ColumnError::Name("No".into()))
        );
        for n in 0..COLUMNS_MAX {
            let _full = schema.add(&format!("c{n}"), ColumnType::U8);
        }
        assert_eq!(schema.columns().count(), COLUMNS_MAX);
        assert_eq!(
            schema.add("one_more", ColumnType::U8),
            Err(ColumnError::TooMany)
        );
    }

    #[test]
    fn sets_of_columns() {
        let mut few = ColumnSet::default();
        few.insert(columns::RECEIVED);
        let mut more = few;
        more.insert(columns::NAT_EVENT);
        assert!(few.is_subset_of(more) && !more.is_subset_of(few));
        assert_eq!(few.union(more), more);
        let names: Vec<String> = FlowSchema::default()
            .arrow(more)
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        assert_eq!(names, ["received", "nat_event"]);
    }
}
