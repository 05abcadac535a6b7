//! The values of columns, put into words.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_schema::DataType;

use crate::dedupe::key::Width;
use crate::dedupe::origins::Names;
use crate::error::AnalyzeError;

/// Copies values; where there is none, 0, and sets `flag`.
pub(super) fn copy<T: ArrowPrimitiveType>(
    array: Option<&PrimitiveArray<T>>,
    to: &mut [u64],
    flags: &mut [u64],
    flag: u64,
    number: impl Fn(T::Native) -> u64,
) {
    let Some(array) = array else {
        to.fill(0);
        flags.iter_mut().for_each(|flags| *flags |= flag);
        return;
    };
    for (to, &value) in to.iter_mut().zip(array.values()) {
        *to = number(value);
    }
    if let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) {
        for ((to, flags), is_valid) in to.iter_mut().zip(flags).zip(nulls) {
            if !is_valid {
                *to = 0;
                *flags |= flag;
            }
        }
    }
}

pub(super) fn erase(words: &mut [&mut [u64]], word: usize, shift: u32, width: Width, row: usize) {
    match width {
        Width::Wide => {
            words[word][row] = 0;
            words[word + 1][row] = 0;
        }
        Width::Bits(bits) => words[word][row] &= !(mask(bits) << shift),
        Width::Named => words[word][row] &= !(mask(32) << shift),
    }
}

fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

fn put<T: Copy>(values: &[T], shift: u32, to: &mut [u64], number: impl Fn(T) -> u64) {
    for (to, &value) in to.iter_mut().zip(values) {
        *to |= number(value) << shift;
    }
}

/// Puts the values of a column of the key into its place, nulls included: what stands there is erased.
pub(super) fn put_values(
    array: &ArrayRef,
    width: Width,
    shift: u32,
    word: usize,
    words: &mut [&mut [u64]],
    names: &Names,
) -> Result<(), AnalyzeError> {
    if width == Width::Wide {
        let (octets, _) = array.as_fixed_size_binary().value_data().as_chunks::<16>();
        for (half, to) in words[word..word + 2].iter_mut().enumerate() {
            let skip = 64 * (1 - half as u32);
            put(octets, 0, to, |octets| {
                (u128::from_be_bytes(octets) >> skip) as u64
            });
        }
        return Ok(());
    }
    let to = &mut *words[word];
    match array.data_type() {
        DataType::UInt8 => put(
            array.as_primitive::<UInt8Type>().values(),
            shift,
            to,
            u64::from,
        ),
        DataType::UInt16 => put(
            array.as_primitive::<UInt16Type>().values(),
            shift,
            to,
            u64::from,
        ),
        DataType::UInt32 => put(
            array.as_primitive::<UInt32Type>().values(),
            shift,
            to,
            u64::from,
        ),
        DataType::UInt64 => put(
            array.as_primitive::<UInt64Type>().values(),
            shift,
            to,
            |v| v,
        ),
        DataType::Int64 => put(array.as_primitive::<Int64Type>().values(), shift, to, |v| {
            v as u64
        }),
        DataType::Float64 => {
            put(
                array.as_primitive::<Float64Type>().values(),
                shift,
                to,
                f64::to_bits,
            );
        }
        DataType::Timestamp(..) => {
            let times = array.as_primitive::<TimestampMicrosecondType>().values();
            put(times, shift, to, |v| v as u64);
        }
        DataType::FixedSizeBinary(6) => {
            let (octets, _) = array.as_fixed_size_binary().value_data().as_chunks::<6>();
            put(octets, shift, to, |[a, b, c, d, e, f]| {
                u64::from_be_bytes([0, 0, a, b, c, d, e, f])
            });
        }
        DataType::Utf8 => {
            for (to, text) in to.iter_mut().zip(array.as_string::<i32>()) {
                *to |= u64::from(names.text(text.unwrap_or_default().as_bytes())?) << shift;
            }
        }
        DataType::Binary => {
            for (to, octets) in to.iter_mut().zip(array.as_binary::<i32>()) {
                *to |= u64::from(names.text(octets.unwrap_or_default())?) << shift;
            }
        }
        _ => {
            let named = array.as_dictionary::<Int32Type>();
            let texts = named.values().as_string::<i32>();
            let numbers: Vec<u32> = texts
                .iter()
                .map(|text| names.text(text.unwrap_or_default().as_bytes()))
                .collect::<Result<_, _>>()?;
            put(named.keys().values(), shift, to, |key| {
                let number = usize::try_from(key).ok().and_then(|key| numbers.get(key));
                number.map_or(0, |&number| number.into())
            });
        }
    }
    Ok(())
}

/// Mixes a column's values into the digests; of a type that is not known, nothing.
pub(super) fn digest(array: &ArrayRef, digests: &mut [u64]) {
    fn mix(digests: &mut [u64], values: impl Iterator<Item = u64>) {
        for (digest, value) in digests.iter_mut().zip(values) {
            *digest = (*digest ^ value)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29);
        }
    }
    match array.data_type() {
        DataType::UInt8 => mix(
            digests,
            array
                .as_primitive::<UInt8Type>()
                .values()
                .iter()
                .map(|&v| v.into()),
        ),
        DataType::UInt16 => mix(
            digests,
            array
                .as_primitive::<UInt16Type>()
                .values()
                .iter()
                .map(|&v| v.into()),
        ),
        DataType::UInt32 => mix(
            digests,
            array
                .as_primitive::<UInt32Type>()
                .values()
                .iter()
                .map(|&v| v.into()),
        ),
        DataType::Timestamp(..) => {
            if let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() {
                mix(digests, times.values().iter().map(|&v| v as u64));
            }
        }
        _ => {}
    }
}
