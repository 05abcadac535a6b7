//! Flows as rows: the columns of a batch become the words of a layout, column by column.

use arrow_array::types::{Float64Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::NullBuffer;
use forebay_store::ColumnType;

use super::key::{DAY_US, Key, Prefix, Source, family_number, port_class};
use super::layout::{Class, Field, Layout, Place, meta};
use super::value::Value;
use super::view::{Addresses, Ip, View};
use crate::error::AnalyzeError;
use crate::rows::Interner;

/// What is the same for all batches.
pub(super) struct Packing<'a> {
    pub(super) keys: &'a [Key],
    pub(super) values: &'a [Value],
    pub(super) interner: &'a Interner,
    /// Whether packets and bytes count as often as flows were sampled.
    pub(super) scale_sampling: bool,
}

/// Makes the words of a layout.
pub(super) struct Packer<'a> {
    packing: &'a Packing<'a>,
    layout: &'a Layout,
    /// Of each word a column.
    words: Vec<Vec<u64>>,
    numbers: Vec<u32>,
}

/// Columns of words: those of a batch as they are, or made.
pub(super) type Columns<'a> = Vec<&'a [u64]>;

impl<'a> Packer<'a> {
    pub(super) fn new(packing: &'a Packing<'a>, layout: &'a Layout) -> Self {
        Self {
            packing,
            layout,
            words: vec![Vec::new(); layout.words],
            numbers: Vec::new(),
        }
    }

    /// The rows of `view`, which are all of the layout's class.
    pub(super) fn pack<'b>(&'b mut self, view: View<'b>) -> Result<Columns<'b>, AnalyzeError> {
        let rows = view.rows();
        let values = self.layout.values;
        for (place, word) in self.words.iter_mut().enumerate() {
            if place < self.layout.key_words || values.meta == Some(place) {
                word.clear();
            }
            // The other values are put below; nobody changes what is the same in every flow.
            word.resize(rows, u64::from(place == values.flows));
        }
        for (key, field) in self.packing.keys.iter().zip(&self.layout.fields) {
            if let Some(field) = field {
                self.key(view, key, *field)?;
            }
        }
        self.meta(view)?;
        let borrowed = self.values(view)?;
        let made = self.words.iter().map(Vec::as_slice).enumerate();
        let borrowed_at = |word| borrowed.iter().find(|(place, _)| *place == word);
        let columns = made.map(|(word, made)| borrowed_at(word).map_or(made, |(_, column)| column));
        Ok(columns.collect())
    }

    fn key(&mut self, view: View<'_>, key: &Key, field: Field) -> Result<(), AnalyzeError> {
        let name = key.name();
        let to = &mut self.words;
        match &key.source {
            Source::Column(kind) => match kind {
                ColumnType::U8 => put(to, field, view.primitive::<UInt8Type>(name)?, u64::from),
                ColumnType::U16 => put(to, field, view.primitive::<UInt16Type>(name)?, u64::from),
                ColumnType::U32 => put(to, field, view.primitive::<UInt32Type>(name)?, u64::from),
                ColumnType::U64 => put(to, field, view.primitive::<UInt64Type>(name)?, |v| v),
                ColumnType::I64 => put(to, field, view.primitive::<Int64Type>(name)?, ordered),
                ColumnType::F64 => put(
                    to,
                    field,
                    view.primitive::<Float64Type>(name)?,
                    ordered_float,
                ),
                ColumnType::Timestamp => put(to, field, view.times(name)?, ordered),
                ColumnType::Mac => {
                    let column = view.fixed(name, 6)?;
                    let values = column.map(|column| column.value_data().as_chunks::<6>().0);
                    let number = |&[a, b, c, d, e, f]: &[u8; 6]| {
                        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
                    };
                    put_iter(
                        to,
                        field,
                        column.map(|c| c as _),
                        values.map(|v| v.iter().map(number)),
                    );
                }
                ColumnType::Ipv6 => {
                    let column = view.fixed(name, 16)?;
                    let values = column.map(|column| column.value_data().as_chunks::<16>().0);
                    let number = |octets: &[u8; 16]| u128::from_be_bytes(*octets);
                    put_wide(
                        to,
                        field,
                        column.map(|c| c as _),
                        values.map(|v| v.iter().map(number)),
                    );
                }
                ColumnType::Text | ColumnType::Octets | ColumnType::Exporter => {
                    let column = view.numbers(name, self.packing.interner, &mut self.numbers)?;
                    let values = self.numbers.iter().map(|&number| u64::from(number));
                    put_iter(to, field, column.map(AsRef::as_ref), Some(values));
                }
            },
            Source::Address(address, prefix) => {
                let addresses = view.addresses(*address)?;
                match self.layout.class {
                    Class::Wide => put_addresses(to, field, &addresses, *prefix, view.rows()),
                    _ => {
                        let mask = mask_ipv4(*prefix);
                        put(to, field, addresses.ipv4, |v| u64::from(v & mask));
                    }
                }
            }
            Source::Bucket(span) => put(to, field, view.times("first")?, |first: i64| {
                ordered(first.saturating_sub(first.rem_euclid(*span)))
            }),
            Source::Date => put(to, field, view.times("first")?, |first: i64| {
                ordered(first.div_euclid(DAY_US))
            }),
            Source::PortClass(port) => {
                put(to, field, view.primitive::<UInt16Type>(port)?, port_class)
            }
            Source::Family => {
                let number = family_number(view.family) << field.place.shift;
                to[field.place.word]
                    .iter_mut()
                    .for_each(|word| *word |= number);
            }
        }
        Ok(())
    }

    fn meta(&mut self, view: View<'_>) -> Result<(), AnalyzeError> {
        let Some(word) = self.layout.values.meta else {
            return Ok(());
        };
        let to = &mut self.words[word];
        let asked = |value| self.packing.values.contains(&value);
        if asked(Value::TcpFlags) {
            let column = view.primitive::<UInt16Type>("tcp_flags")?;
            or(to, column, |flags| {
                meta::TCP_FLAGS | u64::from(flags) << meta::FLAGS_SHIFT
            });
        }
        // The bits that are set, and those that are clear.
        let both = |value: u8| u64::from(value) | u64::from(!value) << 8;
        if asked(Value::IcmpType) {
            let column = view.primitive::<UInt8Type>("icmp_type")?;
            or(to, column, |value| {
                meta::ICMP_TYPE | both(value) << meta::TYPE_SHIFT
            });
        }
        if asked(Value::IcmpCode) {
            let column = view.primitive::<UInt8Type>("icmp_code")?;
            or(to, column, |value| {
                meta::ICMP_CODE | both(value) << meta::CODE_SHIFT
            });
        }
        Ok(())
    }

    /// The columns of values; of those that can be used as they are, the word and the column.
    fn values<'b>(&mut self, view: View<'b>) -> Result<Vec<(usize, &'b [u64])>, AnalyzeError> {
        let mut borrowed = Vec::new();
        let words = self.layout.values;
        let rates = match self.packing.scale_sampling {
            true => view.primitive::<UInt32Type>("sampling_rate")?,
            false => None,
        };
        for (word, name, bit) in [
            (words.packets, "packets", meta::PACKETS),
            (words.bytes, "bytes", meta::BYTES),
        ] {
            let Some(word) = word else { continue };
            let column = view.primitive::<UInt64Type>(name)?;
            self.seen(bit, column);
            match (column, rates) {
                (None, _) => self.words[word].fill(0),
                (Some(column), None) if column.null_count() == 0 => {
                    borrowed.push((word, column.values().as_ref()));
                }
                (Some(column), None) => {
                    self.words[word].fill(0);
                    or(&mut self.words[word], Some(column), |value| value);
                }
                (Some(column), Some(rates)) => self.scaled(word, name, column, rates)?,
            }
        }
        for (word, name, bit, none) in [
            (words.first, "first", meta::FIRST, i64::MAX),
            (words.last, "last", meta::LAST, i64::MIN),
        ] {
            let Some(word) = word else { continue };
            let column = view.times(name)?;
            self.seen(bit, column);
            match column {
                Some(column) if column.null_count() == 0 => {
                    borrowed.push((word, column.values().inner().typed_data()));
                }
                Some(column) => {
                    let value = |value: Option<i64>| value.unwrap_or(none) as u64;
                    let values = column.iter().map(value);
                    self.words[word]
                        .iter_mut()
                        .zip(values)
                        .for_each(|(word, v)| *word = v);
                }
                None => self.words[word].fill(none as u64),
            }
        }
        Ok(borrowed)
    }

    /// Says of each row that it has the value.
    fn seen<T: ArrowPrimitiveType>(&mut self, bit: u64, column: Option<&PrimitiveArray<T>>) {
        let word = self.layout.values.meta.map(|word| &mut self.words[word]);
        if let (Some(word), Some(column)) = (word, column) {
            or(word, Some(column), |_| bit);
        }
    }

    fn scaled(
        &mut self,
        word: usize,
        name: &'static str,
        column: &PrimitiveArray<UInt64Type>,
        rates: &PrimitiveArray<UInt32Type>,
    ) -> Result<(), AnalyzeError> {
        let flows = column.iter().zip(rates);
        for (word, (value, rate)) in self.words[word].iter_mut().zip(flows) {
            let (value, rate) = (value.unwrap_or(0), u64::from(rate.unwrap_or(1).max(1)));
            *word = value
                .checked_mul(rate)
                .ok_or_else(|| AnalyzeError::Overflow {
                    value: name,
                    key: format!("a flow of {value}, sampled one in {rate}"),
                })?;
        }
        Ok(())
    }
}

/// Signed numbers in the order of unsigned ones. It undoes itself.
pub(super) fn ordered(value: i64) -> u64 {
    value as u64 ^ 1 << 63
}

/// Floating-point numbers in the order of unsigned ones: both zeros are one number, and so is all that is
/// no number, behind the others.
pub(super) fn ordered_float(value: f64) -> u64 {
    let bits = match value {
        value if value.is_nan() => f64::NAN.to_bits() & !(1 << 63),
        // -0.0 + 0.0 is 0.0.
        value => (value + 0.0).to_bits(),
    };
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

/// The number that [`ordered_float`] made `bits` of.
pub(super) fn float_of(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 {
        bits ^ 1 << 63
    } else {
        !bits
    })
}

pub(super) fn mask_ipv4(prefix: Option<Prefix>) -> u32 {
    let length = prefix.map_or(32, |prefix| u32::from(prefix.ipv4));
    u32::MAX.checked_shl(32 - length).unwrap_or(0)
}

pub(super) fn mask_ipv6(prefix: Option<Prefix>) -> u128 {
    let length = prefix.map_or(128, |prefix| u32::from(prefix.ipv6));
    u128::MAX.checked_shl(128 - length).unwrap_or(0)
}

/// Puts what `bits` says into the words of rows that have a value.
fn or<T: ArrowPrimitiveType>(
    to: &mut [u64],
    column: Option<&PrimitiveArray<T>>,
    bits: impl Fn(T::Native) -> u64,
) {
    let Some(column) = column else { return };
    let values = to.iter_mut().zip(column.values());
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => values.for_each(|(word, &value)| *word |= bits(value)),
        Some(nulls) => values.zip(nulls).for_each(|((word, &value), is_valid)| {
            // Without a branch: who has a value and who has not is mixed.
            *word |= bits(value) & u64::from(is_valid).wrapping_neg();
        }),
    }
}

/// Puts a column of the key where it belongs.
fn put<T: ArrowPrimitiveType>(
    to: &mut [Vec<u64>],
    field: Field,
    column: Option<&PrimitiveArray<T>>,
    value: impl Fn(T::Native) -> u64,
) {
    or(&mut to[field.place.word], column, |v| {
        value(v) << field.place.shift
    });
    put_nulls(to, field, column.map(|column| column as _));
}

/// The same for a column that is none of numbers: where it is null, `values` say anything.
fn put_iter(
    to: &mut [Vec<u64>],
    field: Field,
    column: Option<&dyn Array>,
    values: Option<impl Iterator<Item = u64>>,
) {
    if let (Some(column), Some(values)) = (column, values) {
        let words = to[field.place.word].iter_mut().zip(values);
        for (row, (word, value)) in words.enumerate() {
            if column.is_valid(row) {
                *word |= value << field.place.shift;
            }
        }
    }
    put_nulls(to, field, column);
}

/// The same for values of two words.
fn put_wide(
    to: &mut [Vec<u64>],
    field: Field,
    column: Option<&dyn Array>,
    values: Option<impl Iterator<Item = u128>>,
) {
    if let (Some(column), Some(values)) = (column, values) {
        for (row, value) in values.enumerate().take(column.len()) {
            if column.is_valid(row) {
                put_u128(to, field.place, row, value);
            }
        }
    }
    put_nulls(to, field, column);
}

fn put_u128(to: &mut [Vec<u64>], place: Place, row: usize, value: u128) {
    to[place.word][row] = (value >> 64) as u64;
    to[place.word + 1][row] = value as u64;
}

fn put_addresses(
    to: &mut [Vec<u64>],
    field: Field,
    addresses: &Addresses<'_>,
    prefix: Option<Prefix>,
    rows: usize,
) {
    let (narrow, wide) = (mask_ipv4(prefix), mask_ipv6(prefix));
    let set = |place: Option<Place>, row: usize, to: &mut [Vec<u64>]| {
        if let Some(place) = place {
            to[place.word][row] |= 1 << place.shift;
        }
    };
    for row in 0..rows {
        match addresses.get(row) {
            Some(Ip::V6(address)) => put_u128(to, field.place, row, address & wide),
            Some(Ip::V4(address)) => {
                put_u128(to, field.place, row, u128::from(address & narrow));
                set(field.is_ipv4, row, to);
            }
            None => set(field.null, row, to),
        }
    }
}

fn put_nulls(to: &mut [Vec<u64>], field: Field, column: Option<&dyn Array>) {
    let Some(place) = field.null else { return };
    let word = &mut to[place.word];
    match column.map(|column| column.nulls()) {
        None => word.iter_mut().for_each(|word| *word |= 1 << place.shift),
        Some(None) => {}
        Some(Some(nulls)) if nulls.null_count() == 0 => {}
        Some(Some(nulls)) => or_nulls(word, nulls, place.shift),
    }
}

fn or_nulls(word: &mut [u64], nulls: &NullBuffer, shift: u32) {
    for (word, is_valid) in word.iter_mut().zip(nulls) {
        *word |= u64::from(!is_valid) << shift;
    }
}
