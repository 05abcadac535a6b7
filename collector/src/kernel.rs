//! The inner loops: one field of many records into one column.
//!
//! Per column there is one dispatch on type and width for hundreds of records; then a
//! loop without a branch on either.

use std::slice::ChunksExact;

use forebay_store::{ColumnData, FlowBatch};

use crate::mapping::Convert;
use crate::plan::{Place, Span, Write};

/// One field of consecutive records.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    records: ChunksExact<'a, u8>,
    place: Place,
    /// What the spans of fields of varying length lie in.
    beside: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(records: ChunksExact<'a, u8>, place: Place, beside: &'a [u8]) -> Self {
        Self {
            records,
            place,
            beside,
        }
    }

    pub(crate) fn length(&self) -> usize {
        self.place.length
    }

    fn count(&self) -> usize {
        self.records.len()
    }

    /// The fields as arrays. The plan's places lie within the records; where that failed, zeros
    /// would show it, and no input could panic.
    #[inline]
    fn arrays<const N: usize>(&self) -> impl Iterator<Item = [u8; N]> + use<'a, N> {
        let offset = self.place.offset;
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
        let (Place { offset, length }, beside) = (self.place, self.beside);
        let variable = length == Place::VARIABLE;
        let bytes = if variable { size_of::<Span>() } else { length };
        self.records.clone().map(move |record| {
            let field = record.get(offset..offset + bytes).unwrap_or_default();
            if variable {
                beyond(field, beside)
            } else {
                field
            }
        })
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
}

/// Whether a record's field is all zero.
pub(crate) fn is_zero(record: &[u8], place: Place) -> bool {
    let field = record.get(place.offset..place.offset + place.length);
    field.unwrap_or_default().iter().all(|&byte| byte == 0)
}

/// A record's field as an integer.
pub(crate) fn integer(record: &[u8], place: Place) -> Option<u64> {
    unsigned(record.get(place.offset..place.offset + place.length)?)
}

/// The bytes that a span tells of.
fn beyond<'a>(span: &[u8], beside: &'a [u8]) -> &'a [u8] {
    let (ends, _) = span.as_chunks::<4>();
    let &[start, length] = ends else {
        return &[];
    };
    let [start, length] = [start, length].map(|end| u32::from_ne_bytes(end) as usize);
    beside.get(start..start + length).unwrap_or_default()
}

/// The big-endian integer of any length.
#[inline]
fn unsigned(field: &[u8]) -> Option<u64> {
    // The common lengths, at once.
    match *field {
        [a] => return Some(a.into()),
        [a, b] => return Some(u16::from_be_bytes([a, b]).into()),
        [a, b, c, d] => return Some(u32::from_be_bytes([a, b, c, d]).into()),
        _ => {}
    }
    let (high, low) = field.split_at(field.len().saturating_sub(8));
    let value = low
        .iter()
        .fold(0, |value, &byte| value << 8 | u64::from(byte));
    (!field.is_empty() && high.iter().all(|&byte| byte == 0)).then_some(value)
}

/// The big-endian integer of `N` bytes, at most 8.
#[inline]
fn widen<const N: usize>(bytes: [u8; N]) -> u64 {
    let mut wide = [0; 8];
    if let Some(low) = wide.last_chunk_mut() {
        *low = bytes;
    }
    u64::from_be_bytes(wide)
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
    // RFC 7011 §6.2: integers may be sent in any length up to their type's.
    macro_rules! integers {
        ($column:expr, $type:ty, $($width:literal),*) => {
            match fields.length() {
                // No more bytes than the type has.
                $($width => $column.extend(row, fields.count(), fields.arrays().map(|b| widen::<$width>(b) as $type)),)*
                _ => optional!($column, fields.unsigned().map(|v| <$type>::try_from(v?).ok())),
            }
        };
    }
    match (column, write.convert) {
        (ColumnData::U8(column), Convert::Unsigned) => integers!(column, u8, 1),
        (ColumnData::U16(column), Convert::Unsigned) => integers!(column, u16, 1, 2),
        (ColumnData::U32(column), Convert::Unsigned) => {
            integers!(column, u32, 1, 2, 3, 4);
        }
        // An address has no reduced size: what is shorter is none.
        (ColumnData::U32(column), Convert::Ipv4) if fields.length() == 4 => {
            column.extend(row, fields.count(), fields.u32s());
        }
        (ColumnData::U64(column), Convert::Unsigned) => {
            integers!(column, u64, 1, 2, 3, 4, 5, 6, 7, 8);
        }
        (ColumnData::U8(column), Convert::IcmpType) => {
            column.extend(
                row,
                fields.count(),
                fields.arrays().map(|[icmp_type, _]| icmp_type),
            );
        }
        (ColumnData::U8(column), Convert::IcmpCode) => {
            column.extend(
                row,
                fields.count(),
                fields.arrays().map(|[_, icmp_code]| icmp_code),
            );
        }
        (ColumnData::U32(column), Convert::MplsLabel) => {
            column.extend(
                row,
                fields.count(),
                fields
                    .arrays()
                    .map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]) >> 4),
            );
        }
        (ColumnData::Mac(column), _) if fields.length() == 6 => {
            column.extend(row, fields.count(), fields.arrays())
        }
        (ColumnData::Ipv6(column), _) if fields.length() == 16 => {
            column.extend(row, fields.count(), fields.arrays())
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
        // Records may tell another length each time, and some of them one that fits.
        (ColumnData::U32(column), Convert::Ipv4) => {
            let address = |field: &[u8]| field.try_into().ok().map(u32::from_be_bytes);
            optional!(column, fields.slices().map(address));
        }
        (ColumnData::Mac(column), _) => {
            optional!(column, fields.slices().map(|field| field.try_into().ok()));
        }
        (ColumnData::Ipv6(column), _) => {
            optional!(column, fields.slices().map(|field| field.try_into().ok()));
        }
        // A column of another type than the conversion makes: plans have none such.
        _ => misfits = fields.count() as u64,
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
        let place = Place {
            offset: 0,
            length: 3,
        };
        let fields = Fields::new(records.chunks_exact(4), place, &[]);
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
        let place = Place {
            offset: 2,
            length: 2,
        };
        let fields = Fields::new(records.chunks_exact(4), place, &[]);
        assert_eq!(
            fields.arrays::<2>().collect::<Vec<_>>(),
            [[2, 3], [6, 7], [10, 11]]
        );
        assert_eq!(fields.count(), 3);
    }
}
