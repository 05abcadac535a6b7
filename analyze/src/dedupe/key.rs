//! The key: in which columns the rows of one flow have the same values, and how these are packed.

use arrow_schema::DataType;
use forebay_store::{Family, FlowParts, FlowSchema};

use super::DedupeError;
use crate::error::AnalyzeError;

/// The 5-tuple and the type of service. Of ICMP, type and code stand for the ports.
pub(super) const DEFAULT: [&str; 6] = [
    "src_addr", "dst_addr", "src_port", "dst_port", "protocol", "tos",
];

/// Columns that stand for one of either family.
const ADDRESSES: [(&str, &str, &str); 4] = [
    ("src_addr", "src_ipv4", "src_ipv6"),
    ("dst_addr", "dst_ipv4", "dst_ipv6"),
    ("next_hop", "next_hop_ipv4", "next_hop_ipv6"),
    ("bgp_next_hop", "bgp_next_hop_ipv4", "bgp_next_hop_ipv6"),
];

/// The columns of the key as they are called in a family's files; `None` where rows of that family are
/// not compared: those without addresses, by a key of addresses.
pub(super) fn columns_of<'k>(key: &'k [String], family: Family) -> Option<Vec<&'k str>> {
    let column = |name: &'k String| {
        let address = ADDRESSES.iter().find(|(merged, ..)| merged == name);
        match (address, family) {
            (None, _) => Some(name.as_str()),
            (Some((_, ipv4, _)), Family::Ipv4) => Some(*ipv4),
            (Some((_, _, ipv6)), Family::Ipv6) => Some(*ipv6),
            (Some(_), Family::Other) => None,
        }
    };
    key.iter().map(column).collect()
}

/// Refuses names that no column has, here or in the standard.
pub(super) fn check(key: &[String], files: &[FlowParts]) -> Result<(), DedupeError> {
    let standard = FlowSchema::default();
    let mut known: Vec<String> = standard
        .columns()
        .map(|column| standard.name(column).to_owned())
        .collect();
    known.extend(ADDRESSES.iter().map(|(merged, ..)| (*merged).to_owned()));
    for file in files {
        for field in file.schema().fields() {
            if !known.contains(field.name()) {
                known.push(field.name().clone());
            }
        }
    }
    for name in key {
        if !known.contains(name) {
            let near = crate::nearest::nearest(name, known.iter().map(String::as_str));
            return Err(DedupeError::NoSuchColumn {
                name: name.clone(),
                near: near.map(str::to_owned),
            });
        }
    }
    Ok(())
}

/// How the values of a column are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// So many bits, with room in one word.
    Bits(u32),
    /// Two whole words.
    Wide,
    /// A number that stands for a text or octets.
    Named,
}

impl Width {
    fn of(kind: &DataType) -> Option<Self> {
        Some(match kind {
            DataType::UInt8 => Self::Bits(8),
            DataType::UInt16 => Self::Bits(16),
            DataType::UInt32 => Self::Bits(32),
            DataType::UInt64 | DataType::Int64 | DataType::Float64 | DataType::Timestamp(..) => {
                Self::Bits(64)
            }
            DataType::FixedSizeBinary(6) => Self::Bits(48),
            DataType::FixedSizeBinary(16) => Self::Wide,
            DataType::Utf8 | DataType::Binary | DataType::Dictionary(..) => Self::Named,
            _ => return None,
        })
    }

    fn bits(self) -> u32 {
        match self {
            Self::Bits(bits) => bits,
            Self::Named => 32,
            Self::Wide => 128,
        }
    }
}

/// Where a column's values stand in a row.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) column: String,
    pub(super) kind: DataType,
    pub(super) width: Width,
    pub(super) word: usize,
    pub(super) shift: u32,
    /// The bit that says that there is no value.
    pub(super) null_word: usize,
    pub(super) null_shift: u32,
}

/// How the key of a family's rows is packed into words.
#[derive(Debug, Clone)]
pub(super) struct KeyLayout {
    pub(super) fields: Vec<Field>,
    pub(super) words: usize,
}

impl KeyLayout {
    /// For these columns, whose types are those that the family's files have, or else the standard.
    pub(super) fn new(
        columns: &[&str],
        family: Family,
        files: &[FlowParts],
    ) -> Result<Self, DedupeError> {
        let mut fields = Vec::new();
        for &column in columns {
            let Some(kind) = type_of(column, family, files) else {
                // None of them has it: it tells no row from another.
                continue;
            };
            let Some(width) = Width::of(&kind) else {
                return Err(DedupeError::NoKey {
                    name: column.to_owned(),
                    kind: kind.to_string(),
                });
            };
            fields.push(Field {
                column: column.to_owned(),
                kind,
                width,
                word: 0,
                shift: 0,
                null_word: 0,
                null_shift: 0,
            });
        }
        let mut used: Vec<u32> = Vec::new();
        // The wide ones first: what is narrow fits into what is left.
        let mut order: Vec<&mut Field> = fields.iter_mut().collect();
        order.sort_by_key(|field| std::cmp::Reverse(field.width.bits()));
        for field in order {
            (field.word, field.shift) = place(&mut used, field.width.bits());
        }
        for field in &mut fields {
            (field.null_word, field.null_shift) = place(&mut used, 1);
        }
        Ok(Self {
            fields,
            words: used.len(),
        })
    }
}

/// Finds room for so many bits: the first word with room, or new ones.
fn place(used: &mut Vec<u32>, bits: u32) -> (usize, u32) {
    if bits <= 64
        && let Some(word) = used.iter().position(|used| used + bits <= 64)
    {
        let shift = used[word];
        used[word] += bits;
        return (word, shift);
    }
    let word = used.len();
    let mut left = bits;
    while left > 0 {
        used.push(left.min(64));
        left -= left.min(64);
    }
    (word, 0)
}

fn type_of(column: &str, family: Family, files: &[FlowParts]) -> Option<DataType> {
    let of_family = files.iter().filter(|file| file.family() == family);
    let mut found = of_family.filter_map(|file| {
        let schema = file.schema();
        let (_, field) = schema.column_with_name(column)?;
        Some(field.data_type().clone())
    });
    found.next()
}

/// The array of a column, if the file has it, of the type that the others have.
pub(super) fn expect_type<'b>(
    batch: &'b arrow_array::RecordBatch,
    column: &str,
    kind: &DataType,
    path: &std::path::Path,
) -> Result<Option<&'b arrow_array::ArrayRef>, AnalyzeError> {
    match batch.column_by_name(column) {
        Some(array) if array.data_type() != kind => Err(AnalyzeError::ColumnType {
            path: path.to_owned(),
            column: column.to_owned(),
            found: array.data_type().to_string(),
        }),
        found => Ok(found),
    }
}
