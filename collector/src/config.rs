//! What the decoder is told: columns, versions, limits.

use forebay_store::{ColumnError, ColumnId, ColumnType, FlowSchema};
use forebay_wire::ElementId;

use crate::mapping::Convert;

/// A configured column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each is the type of that name in docs/configuration.md"
)]
pub enum ExtraType {
    U8,
    U16,
    U32,
    U64,
    I64,
    F64,
    Ipv4,
    Ipv6,
    Mac,
    Text,
    Octets,
}

impl ExtraType {
    /// Every type with its name in a configuration.
    pub const NAMES: [(&'static str, Self); 11] = [
        ("u8", Self::U8),
        ("u16", Self::U16),
        ("u32", Self::U32),
        ("u64", Self::U64),
        ("i64", Self::I64),
        ("f64", Self::F64),
        ("ipv4", Self::Ipv4),
        ("ipv6", Self::Ipv6),
        ("mac", Self::Mac),
        ("string", Self::Text),
        ("binary", Self::Octets),
    ];

    fn parts(self) -> (ColumnType, Convert) {
        match self {
            Self::U8 => (ColumnType::U8, Convert::Unsigned),
            Self::U16 => (ColumnType::U16, Convert::Unsigned),
            Self::U32 => (ColumnType::U32, Convert::Unsigned),
            Self::U64 => (ColumnType::U64, Convert::Unsigned),
            Self::I64 => (ColumnType::I64, Convert::Signed),
            Self::F64 => (ColumnType::F64, Convert::Float),
            Self::Ipv4 => (ColumnType::U32, Convert::Ipv4),
            Self::Ipv6 => (ColumnType::Ipv6, Convert::Bytes),
            Self::Mac => (ColumnType::Mac, Convert::Bytes),
            Self::Text => (ColumnType::Text, Convert::Text),
            Self::Octets => (ColumnType::Octets, Convert::Octets),
        }
    }
}

/// A column that the configuration adds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExtraColumn {
    pub(crate) id: ColumnId,
    pub(crate) element: ElementId,
    pub(crate) convert: Convert,
}

/// The columns that flows get: the standard ones and those that the configuration adds.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    pub(crate) schema: FlowSchema,
    pub(crate) extra: Vec<ExtraColumn>,
}

impl Columns {
    /// Adds a column that `element` fills.
    ///
    /// # Errors
    /// The name is taken or not a name, or there are too many columns.
    pub fn add(
        &mut self,
        name: &str,
        element: ElementId,
        kind: ExtraType,
    ) -> Result<(), ColumnError> {
        let (kind, convert) = kind.parts();
        let id = self.schema.add(name, kind)?;
        self.extra.push(ExtraColumn {
            id,
            element,
            convert,
        });
        Ok(())
    }

    /// The schema of the flows.
    pub fn schema(&self) -> &FlowSchema {
        &self.schema
    }
}

/// How much a shard keeps of what the network sends. Each limit has a counter of what it cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Exporter addresses. Default 65,536. The least recently heard goes first.
    pub exporters: usize,
    /// Transport sessions (address, port, version and observation domain) in all. Default 131,072.
    pub domains: usize,
    /// Transport sessions and observation domains of one exporter address. Default 4,096.
    pub domains_per_exporter: usize,
    /// Templates of one transport session and observation domain. Default 1,024.
    pub templates_per_domain: usize,
    /// Templates in all. Default 262,144.
    pub templates: usize,
    /// Fields of a template. Default 1,024.
    pub fields_per_template: usize,
    /// Samplers and selectors of one domain. Default 1,024.
    pub samplers_per_domain: usize,
    /// Bytes of data sets of one exporter that wait for their template. Default 1 MiB.
    pub pending_bytes_per_exporter: usize,
    /// Bytes of data sets that wait, in all. Default 64 MiB.
    pub pending_bytes: usize,
    /// Seconds that a data set waits. Default 300: exporters send templates again every few minutes.
    pub pending_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exporters: 65_536,
            domains: 131_072,
            domains_per_exporter: 4_096,
            templates_per_domain: 1_024,
            templates: 262_144,
            fields_per_template: 1_024,
            samplers_per_domain: 1_024,
            pending_bytes_per_exporter: 1 << 20,
            pending_bytes: 64 << 20,
            pending_seconds: 300,
        }
    }
}

/// What a decoder is told.
#[derive(Debug, Clone)]
pub struct DecoderConfig {
    /// The columns of the flows.
    pub columns: Columns,
    /// The versions to accept; a datagram of another is rejected. Default all: 1, 5, 7, 9, 10.
    pub versions: Vec<u8>,
    /// See [`Limits`].
    pub limits: Limits,
    /// Seconds of a rotation window: segments hold the flows that were received in one. Windows are
    /// aligned to the epoch and end at every full hour too. Default 60.
    pub rotation_seconds: u32,
    /// Rows at which a batch is handed over. Default 8,192: its columns stay in a core's cache.
    pub batch_rows: usize,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self {
            columns: Columns::default(),
            versions: vec![1, 5, 7, 9, 10],
            limits: Limits::default(),
            rotation_seconds: 60,
            batch_rows: 8_192,
        }
    }
}
