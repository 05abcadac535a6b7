//! The inner loops: one field of many records into one column.
//!
//! Per data set and column there is one dispatch on type and width; then a loop
//! without a branch on either. Records of varying length run through the same
//! loops, one field of one record at a time.

use std::slice::ChunksExact;

use forebay_store::{ColumnData, FlowBatch};

use crate::mapping::Convert;
use crate::plan::Write;

/// One field of consecutive records.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    records: ChunksExact<'a, u8>,
    count: usize,
    offset: usize,
    length: usize,
}

impl<'a> Fields<'a> {
    /// The field at `offset` in each of `count` records.
    pub(crate) fn strided(
        records: &ChunksExact<'a, u8>,
        count: usize,
        offset: usize,
        length: usize,
    ) -> Self {
        Self {
            records: records.clone(),
            count,
            offset,
            length,
        }
    }

    /// The one field of one record.
    pub(crate) fn one(field: &'a [u8]) -> Self {
        let records = field.chunks_exact(field.len().max(1));
        Self {
            records,
            count: 1,
            offset: 0,
            length: field.len(),
        }
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The fields as arrays. The plan's places lie within the records; where that failed, zeros
    /// would show it, and no input could panic.
    #[inline]
    fn arrays<const N: usize>(&self) -> impl Iterator<Item = [u8; N]> + use<'a, N> {
        let offset = self.offset;
        let records = self.records.clone();
        records.map(move |record| {
            record
                .get(offset..)
                .and_then(|field| field.first_chunk())
                .copied()
                .unwrap_or([0; N])
        })
    }

    /// The fields' bytes.
    #[inline]
    fn slices(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (offset, length) = (self.offset, self.length);
        let fields = self
            .records
            .clone()
            .map(move |record| record.get(offset..offset + length));
        // The empty field of the one record is no chunk.
        fields
            .map(Option::unwrap_or_default)
            .chain(std::iter::repeat(&[][..]))
            .take(self.count)
    }

    /// The fields as unsigned integers; `None` where they are longer than 8 bytes and do not fit.
    #[inline]
    pub(crate) fn unsigned(&self) -> impl Iterator<Item = Option<u64>> + use<'a> {
        self.slices().map(unsigned)
    }

    #[inline]
    pub(crate) fn u32s(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.arrays().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u64s(&self) -> impl Iterator<Item = u64> + use<'a> {
        self.arrays().map(u64::from_be_bytes)
    }

    /// The fields, of one byte, as they are.
    #[inline]
    pub(crate) fn u8s(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.arrays().map(|[byte]| byte)
    }

    /// The fields, of two bytes, as unsigned integers.
    #[inline]
    pub(crate) fn u16s(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.arrays().map(u16::from_be_bytes)
    }

    /// Whether the field is zero in the only record.
    pub(crate) fn is_zero(&self) -> bool {
        self.slices()
            .all(|field| field.iter().all(|&byte| byte == 0))
    }
}

/// The big-endian integer of any length.
#[inline]
fn unsigned(field: &[u8]) -> Option<u64> {
    let (high, low) = field.split_at(field.len().saturating_sub(8));
    let value = low
        .iter()
        .fold(0, |value, &byte| value << 8 | u64::from(byte));
    (!field.is_empty() && high.iter().all(|&byte| byte == 0)).then_some(value)
}

fn signed(field: &[u8]) -> Option<i64> {
    let missing = 8usize
        .checked_sub(field.len())
        .filter(|&missing| missing < 8)?;
    let value = unsigned(field)? << (8 * missing);
    Some(value.cast_signed() >> (8 * missing))
}

fn float(field: &[u8]) -> Option<f64> {
    if let Ok(bytes) = field.try_into() {
        return Some(f64::from_be_bytes(bytes));
    }
    let bytes = field.try_into().ok()?;
    Some(f64::from(f32::from_be_bytes(bytes)))
}

/// Writes a field of the records to the rows of `batch` that come next.
///
/// Returns how many values did not fit the column and were left null.
pub(crate) fn write(batch: &mut FlowBatch, write: &Write, fields: &Fields<'_>) -> u64 {
    let row = batch.rows();
    let column = batch.column(write.column);
    if write.where_zero {
        fill_zeros(column, row, fields);
        return 0;
    }
    let mut misfits = 0;
    macro_rules! optional {
        ($column:expr, $values:expr) => {
            $column.extend_optional(
                row,
                $values.inspect(|value| misfits += u64::from(value.is_none())),
            )
        };
    }
    macro_rules! integers {
        ($column:expr, $type:ty, $($width:literal => $from:ty),*) => {
            match fields.length {
                $($width => $column.extend(row, fields.count, fields.arrays().map(|b| <$type>::from(<$from>::from_be_bytes(b)))),)*
                _ => optional!($column, fields.unsigned().map(|v| <$type>::try_from(v?).ok())),
            }
        };
    }
    match (column, write.convert) {
        (ColumnData::U8(column), Convert::Unsigned) => integers!(column, u8, 1 => u8),
        (ColumnData::U16(column), Convert::Unsigned) => integers!(column, u16, 2 => u16, 1 => u8),
        (ColumnData::U32(column), Convert::Unsigned) => {
            integers!(column, u32, 4 => u32, 2 => u16, 1 => u8);
        }
        // An address has no reduced size: what is shorter is none.
        (ColumnData::U32(column), Convert::Ipv4) if fields.length == 4 => {
            column.extend(row, fields.count, fields.u32s());
        }
        (ColumnData::U64(column), Convert::Unsigned) => {
            integers!(column, u64, 4 => u32, 8 => u64, 2 => u16, 1 => u8);
        }
        (ColumnData::U8(column), Convert::IcmpType) => {
            column.extend(
                row,
                fields.count,
                fields.arrays().map(|[icmp_type, _]| icmp_type),
            );
        }
        (ColumnData::U8(column), Convert::IcmpCode) => {
            column.extend(
                row,
                fields.count,
                fields.arrays().map(|[_, icmp_code]| icmp_code),
            );
        }
        (ColumnData::U32(column), Convert::MplsLabel) => {
            column.extend(
                row,
                fields.count,
                fields
                    .arrays()
                    .map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]) >> 4),
            );
        }
        (ColumnData::Mac(column), _) if fields.length == 6 => {
            column.extend(row, fields.count, fields.arrays())
        }
        (ColumnData::Ipv6(column), _) if fields.length == 16 => {
            column.extend(row, fields.count, fields.arrays())
        }
        (ColumnData::I64(column), _) => optional!(column, fields.slices().map(signed)),
        (ColumnData::F64(column), _) => optional!(column, fields.slices().map(float)),
        (ColumnData::Octets(column), _) => {
            fields
                .slices()
                .zip(row..)
                .for_each(|(value, row)| column.push(row, value));
        }
        (ColumnData::Text(column), _) => {
            for (value, row) in fields.slices().zip(row..) {
                // Fixed-length strings are filled up with zeros.
                let end = value
                    .iter()
                    .rposition(|&byte| byte != 0)
                    .map_or(0, |last| last + 1);
                let text = String::from_utf8_lossy(value.get(..end).unwrap_or_default());
                column.push(row, text.as_bytes());
            }
        }
        // A column of another type than the conversion makes, or a field of another length.
        _ => misfits = fields.count as u64,
    }
    misfits
}

/// Fills those of the rows written last that are zero. Only ports are merged so.
fn fill_zeros(column: &mut ColumnData, row: usize, fields: &Fields<'_>) {
    if let ColumnData::U16(column) = column {
        for (value, other) in column.written_since(row).iter_mut().zip(fields.unsigned()) {
            if *value == 0 {
                *value = other
                    .and_then(|other| u16::try_from(other).ok())
                    .unwrap_or(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_any_length_are_big_endian_integers() {
        let records = [1, 2, 3, 0xff, 4, 5, 6, 0xff];
        let fields = Fields::strided(&records.chunks_exact(4), 2, 0, 3);
        assert_eq!(
            fields.unsigned().collect::<Vec<_>>(),
            [Some(0x01_0203), Some(0x04_0506)]
        );
        assert_eq!(unsigned(&[0, 0, 0, 0, 0, 0, 0, 0, 7]), Some(7));
        assert_eq!(unsigned(&[1, 0, 0, 0, 0, 0, 0, 0, 7]), None);
        assert_eq!(unsigned(&[]), None);
    }

    #[test]
    fn signed_integers_keep_their_sign_at_any_length() {
        assert_eq!(signed(&[0xff, 0xfe]), Some(-2));
        assert_eq!(signed(&[0x7f]), Some(127));
        assert_eq!(signed(&[0x80, 0, 0, 0, 0, 0, 0, 0]), Some(i64::MIN));
        assert_eq!(signed(&[]), None);
        assert_eq!(signed(&[0; 9]), None);
    }

    #[test]
    fn floats_of_both_lengths() {
        assert_eq!(float(&1.5f32.to_be_bytes()), Some(1.5));
        assert_eq!(float(&(-2.25f64).to_be_bytes()), Some(-2.25));
        assert_eq!(float(&[1, 2]), None);
    }

    #[test]
    fn a_strided_field_ends_within_the_last_record() {
        let records: Vec<u8> = (0..12).collect();
        let fields = Fields::strided(&records.chunks_exact(4), 3, 2, 2);
        assert_eq!(
            fields.arrays::<2>().collect::<Vec<_>>(),
            [[2, 3], [6, 7], [10, 11]]
        );
        assert_eq!(fields.count, 3);
    }
}
