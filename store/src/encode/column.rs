//! Columns of values of fixed width.

use arrow_array::types::{
    Float64Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, cast::AsArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};
use parquet::basic::Encoding;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::Result;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;

use super::codec::Codec;
use super::delta;
use super::interner::{Interner, Key};
use super::page::{Chunk, Dictionary, Levels, Pages, each_run, put_numbers};

/// A dictionary that grows beyond this costs more than it saves.
const DICTIONARY_VALUES: usize = 1 << 17;
/// A dictionary is given up if more than one in so many values of a page are new.
const NEW_VALUES: usize = 2;
/// A page with fewer values does not tell.
const TELLING_VALUES: usize = 1 << 10;
/// The values that show whether a column comes in runs.
const SAMPLE: usize = 256;

/// The Parquet type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Physical {
    Int32,
    Int64 { signed: bool },
    Double,
    Fixed(usize),
}

/// A value as the encoder holds it: octets as a number, the first the highest.
trait Value: Key + Ord {
    fn put_plain(self, physical: Physical, out: &mut Vec<u8>);
    fn put_delta(values: &[Self], out: &mut Vec<u8>);
    /// As a number that has the order of the column's values.
    fn ordered(self, physical: Physical) -> Self;
    /// The column's statistics, from the least to the greatest value.
    fn statistics(
        range: Option<(Self, Self)>,
        nulls: u64,
        physical: Physical,
    ) -> Option<Statistics>;
}

impl Value for u32 {
    fn put_plain(self, _: Physical, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn put_delta(values: &[Self], out: &mut Vec<u8>) {
        delta::put_u32(out, values);
    }

    fn ordered(self, _: Physical) -> Self {
        self
    }

    fn statistics(range: Option<(Self, Self)>, nulls: u64, _: Physical) -> Option<Statistics> {
        let (least, greatest) = range.unzip();
        let signed = |value: Option<Self>| value.map(|value| value as i32);
        let (least, greatest) = (signed(least), signed(greatest));
        Some(Statistics::int32(least, greatest, None, Some(nulls), false))
    }
}

impl Value for u64 {
    fn put_plain(self, physical: Physical, out: &mut Vec<u8>) {
        match physical {
            Physical::Fixed(width) => out.extend_from_slice(&self.to_be_bytes()[8 - width..]),
            _ => out.extend_from_slice(&self.to_le_bytes()),
        }
    }

    fn put_delta(values: &[Self], out: &mut Vec<u8>) {
        delta::put_u64(out, values);
    }

    fn ordered(self, physical: Physical) -> Self {
        match physical {
            Physical::Int64 { signed: true } => self ^ 1 << 63,
            _ => self,
        }
    }

    fn statistics(
        range: Option<(Self, Self)>,
        nulls: u64,
        physical: Physical,
    ) -> Option<Statistics> {
        let (least, greatest) = range.unzip();
        match physical {
            Physical::Fixed(_) => fixed_statistics(least, greatest, nulls, physical),
            Physical::Int64 { .. } => {
                let signed = |value: Option<Self>| value.map(|value| value as i64);
                let (least, greatest) = (signed(least), signed(greatest));
                Some(Statistics::int64(least, greatest, None, Some(nulls), false))
            }
            // Floating point has its own order.
            _ => None,
        }
    }
}

impl Value for u128 {
    fn put_plain(self, physical: Physical, out: &mut Vec<u8>) {
        if let Physical::Fixed(width) = physical {
            out.extend_from_slice(&self.to_be_bytes()[16 - width..]);
        }
    }

    fn put_delta(_: &[Self], _: &mut Vec<u8>) {
        unreachable!("octets have no differences");
    }

    fn ordered(self, _: Physical) -> Self {
        self
    }

    fn statistics(
        range: Option<(Self, Self)>,
        nulls: u64,
        physical: Physical,
    ) -> Option<Statistics> {
        let (least, greatest) = range.unzip();
        fixed_statistics(least, greatest, nulls, physical)
    }
}

fn fixed_statistics<V: Value>(
    least: Option<V>,
    greatest: Option<V>,
    nulls: u64,
    physical: Physical,
) -> Option<Statistics> {
    let octets = |value: Option<V>| {
        value.map(|value| {
            let mut out = Vec::new();
            value.put_plain(physical, &mut out);
            FixedLenByteArray::from(ByteArray::from(out))
        })
    };
    Some(Statistics::fixed_len_byte_array(
        octets(least),
        octets(greatest),
        None,
        Some(nulls),
        false,
    ))
}

/// A column whose values are held as `V`.
struct Typed<V> {
    physical: Physical,
    /// Differences are to be tried first, not a dictionary.
    delta: bool,
    levels: Levels,
    /// The values of the open page.
    values: Vec<V>,
    pages: Pages,
    dictionary: Interner<V>,
    given_up: bool,
    numbers: Vec<u32>,
    /// The range of values in pages without dictionary, in the values' order.
    range: Option<(V, V)>,
}

impl<V: Value> Typed<V> {
    fn new(physical: Physical, nullable: bool, delta: bool) -> Self {
        Self {
            physical,
            delta,
            levels: Levels::new(nullable),
            values: Vec::new(),
            pages: Pages::default(),
            dictionary: Interner::new(),
            given_up: false,
            numbers: Vec::new(),
            range: None,
        }
    }

    fn append<T: Copy>(
        &mut self,
        values: &[T],
        nulls: Option<&NullBuffer>,
        widen: impl Fn(T) -> V + Copy,
    ) {
        self.levels.append(values.len(), nulls);
        let mut extend = |values: &[T]| self.values.extend(values.iter().map(|&v| widen(v)));
        match nulls {
            None => extend(values),
            Some(nulls) => {
                for (start, end) in nulls.valid_slices() {
                    extend(&values[start..end]);
                }
            }
        }
    }

    fn end_page(&mut self) {
        let is_number = !matches!(self.physical, Physical::Double | Physical::Fixed(_));
        self.pages.push(&mut self.levels, |out| {
            if self.values.is_empty() {
                return Encoding::PLAIN;
            }
            if !self.delta && !self.given_up {
                let before = self.dictionary.values().len();
                number(&self.values, &mut self.dictionary, &mut self.numbers);
                put_numbers(out, &self.numbers);
                let after = self.dictionary.values().len();
                let values = self.values.len();
                self.given_up = after > DICTIONARY_VALUES
                    || values >= TELLING_VALUES && (after - before) * NEW_VALUES > values;
                return Encoding::RLE_DICTIONARY;
            }
            self.range = range(&self.values, self.physical, self.range);
            if is_number {
                V::put_delta(&self.values, out);
                Encoding::DELTA_BINARY_PACKED
            } else {
                for value in &self.values {
                    value.put_plain(self.physical, out);
                }
                Encoding::PLAIN
            }
        });
        self.values.clear();
    }

    fn end_chunk(&mut self, column: &ColumnDescPtr, codec: &mut Codec) -> Result<Chunk> {
        self.end_page();
        let values = self.dictionary.values();
        let range = range(values, self.physical, self.range);
        let statistics = V::statistics(range, self.pages.nulls(), self.physical);
        let dictionary = self.pages.has(Encoding::RLE_DICTIONARY).then(|| {
            let mut bytes = Vec::new();
            for value in values {
                value.put_plain(self.physical, &mut bytes);
            }
            Dictionary {
                bytes: bytes.into(),
                values: values.len(),
            }
        });
        let chunk = self.pages.assemble(column, codec, dictionary, statistics)?;
        self.dictionary.clear();
        self.given_up = false;
        self.range = None;
        Ok(chunk)
    }
}

/// The numbers of `values` in the dictionary; one look per run where they come in runs.
fn number<V: Value>(values: &[V], dictionary: &mut Interner<V>, numbers: &mut Vec<u32>) {
    numbers.clear();
    let sample = &values[..values.len().min(SAMPLE)];
    let changes = sample.windows(2).filter(|pair| pair[0] != pair[1]).count();
    if changes * 4 < sample.len() {
        each_run(values, |value, count| {
            let number = dictionary.number(value);
            numbers.resize(numbers.len() + count, number);
        });
    } else {
        numbers.extend(values.iter().map(|&value| dictionary.number(value)));
    }
}

/// The range of `values` and of `known`.
fn range<V: Value>(values: &[V], physical: Physical, known: Option<(V, V)>) -> Option<(V, V)> {
    let Some(first) = values.first() else {
        return known;
    };
    let first = first.ordered(physical);
    let start = known.map_or((first, first), |(least, greatest)| {
        (least.ordered(physical), greatest.ordered(physical))
    });
    let (least, greatest) = values.iter().fold(start, |(least, greatest), value| {
        let value = value.ordered(physical);
        (least.min(value), greatest.max(value))
    });
    // `ordered` undoes itself.
    Some((least.ordered(physical), greatest.ordered(physical)))
}

/// A column of values of fixed width, or one without values.
pub(super) struct FixedColumn(Kind);

enum Kind {
    Narrow(Typed<u32>),
    Long(Typed<u64>),
    Wide(Typed<u128>),
}

impl FixedColumn {
    /// A column for values of Arrow's type `kind`; `None` if it has another shape.
    pub(super) fn new(kind: &DataType, nullable: bool, delta: bool) -> Option<Self> {
        let signed = Physical::Int64 { signed: true };
        let unsigned = Physical::Int64 { signed: false };
        let long = |physical| Kind::Long(Typed::new(physical, nullable, delta));
        Some(Self(match kind {
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => {
                Kind::Narrow(Typed::new(Physical::Int32, nullable, delta))
            }
            DataType::UInt64 => long(unsigned),
            DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _) => long(signed),
            DataType::Float64 => Kind::Long(Typed::new(Physical::Double, nullable, false)),
            DataType::FixedSizeBinary(6) => {
                Kind::Long(Typed::new(Physical::Fixed(6), nullable, false))
            }
            DataType::FixedSizeBinary(16) => {
                Kind::Wide(Typed::new(Physical::Fixed(16), nullable, false))
            }
            _ => return None,
        }))
    }

    /// Appends the rows of `array`, which is of the column's type.
    pub(super) fn append(&mut self, array: &ArrayRef) {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        match (&mut self.0, array.data_type()) {
            (Kind::Narrow(column), DataType::UInt8) => {
                column.append(array.as_primitive::<UInt8Type>().values(), nulls, u32::from);
            }
            (Kind::Narrow(column), DataType::UInt16) => {
                column.append(
                    array.as_primitive::<UInt16Type>().values(),
                    nulls,
                    u32::from,
                );
            }
            (Kind::Narrow(column), _) => {
                column.append(array.as_primitive::<UInt32Type>().values(), nulls, |v| v);
            }
            (Kind::Long(column), DataType::UInt64) => {
                column.append(array.as_primitive::<UInt64Type>().values(), nulls, |v| v);
            }
            (Kind::Long(column), DataType::Int64) => {
                let values = array.as_primitive::<Int64Type>().values();
                column.append(values, nulls, |v| v as u64);
            }
            (Kind::Long(column), DataType::Float64) => {
                let values = array.as_primitive::<Float64Type>().values();
                column.append(values, nulls, f64::to_bits);
            }
            (Kind::Long(column), DataType::FixedSizeBinary(_)) => {
                let octets = array.as_fixed_size_binary();
                let (values, _) = octets.value_data().as_chunks::<6>();
                column.append(values, nulls, |[a, b, c, d, e, f]| {
                    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
                });
            }
            (Kind::Long(column), _) => {
                let values = array.as_primitive::<TimestampMicrosecondType>().values();
                column.append(values, nulls, |v| v as u64);
            }
            (Kind::Wide(column), _) => {
                let octets = array.as_fixed_size_binary();
                let (values, _) = octets.value_data().as_chunks::<16>();
                column.append(values, nulls, u128::from_be_bytes);
            }
        }
    }

    /// Appends rows without a value.
    pub(super) fn append_absent(&mut self, rows: usize) {
        match &mut self.0 {
            Kind::Narrow(column) => column.levels.append_absent(rows),
            Kind::Long(column) => column.levels.append_absent(rows),
            Kind::Wide(column) => column.levels.append_absent(rows),
        }
    }

    pub(super) fn end_page(&mut self) {
        match &mut self.0 {
            Kind::Narrow(column) => column.end_page(),
            Kind::Long(column) => column.end_page(),
            Kind::Wide(column) => column.end_page(),
        }
    }

    pub(super) fn end_chunk(&mut self, column: &ColumnDescPtr, codec: &mut Codec) -> Result<Chunk> {
        match &mut self.0 {
            Kind::Narrow(typed) => typed.end_chunk(column, codec),
            Kind::Long(typed) => typed.end_chunk(column, codec),
            Kind::Wide(typed) => typed.end_chunk(column, codec),
        }
    }
}
