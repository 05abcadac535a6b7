//! Which rows of a batch a filter chooses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::{BooleanBuffer, Buffer};
use arrow_schema::DataType;
use forebay_store::{ColumnType, Family};

use super::FilterError;
use super::bind::{FamilyRanges, Node, OctetsTest, Test};
use super::ranges::{self, Ranges};

/// So many ranges are looked at one by one, more by halving.
const FEW: usize = 4;

/// The rows for which the condition is true.
pub(super) fn select(
    node: &Node,
    batch: &RecordBatch,
    family: Family,
) -> Result<BooleanBuffer, FilterError> {
    let rows = batch.num_rows();
    match node {
        Node::Test(test) => test.select(batch, family),
        Node::All(nodes) => {
            let mut all = BooleanBuffer::new_set(rows);
            for node in nodes {
                all &= &select(node, batch, family)?;
                if !all.has_true() {
                    break;
                }
            }
            Ok(all)
        }
        Node::Any(nodes) => {
            let mut any = BooleanBuffer::new_unset(rows);
            for node in nodes {
                any |= &select(node, batch, family)?;
                if !any.has_false() {
                    break;
                }
            }
            Ok(any)
        }
    }
}

impl Test {
    fn select(&self, batch: &RecordBatch, family: Family) -> Result<BooleanBuffer, FilterError> {
        let rows = batch.num_rows();
        let none = || BooleanBuffer::new_unset(rows);
        let column = |name: &str| batch.column_by_name(name);
        match self {
            Self::Number {
                column: name,
                kind,
                within,
            } => match column(name) {
                Some(array) => numbers(name, array, *kind, within),
                None => Ok(none()),
            },
            Self::Address { columns, within } => addresses(columns, batch, family, within),
            Self::Exporter {
                column: name,
                within,
            } => match column(name) {
                Some(array) => texts(name, array, |text| within.contains_text(text)),
                None => Ok(none()),
            },
            Self::Octets {
                column: name,
                test,
                negated,
            } => match column(name) {
                Some(array) => octets(name, array, |value| test.holds(value) != *negated),
                None => Ok(none()),
            },
            Self::Bits {
                column: name,
                kind,
                mask,
                all,
            } => match column(name) {
                Some(array) => bits(name, array, *kind, |value| (value & mask == *mask) == *all),
                None => Ok(none()),
            },
            Self::Duration(within) => durations(batch, within),
            Self::Null {
                column: name,
                is_null,
            } => {
                let nulls = match column(name) {
                    Some(array) => array.logical_nulls().map(|nulls| nulls.into_inner()),
                    None => Some(none()),
                };
                let values = nulls.unwrap_or_else(|| BooleanBuffer::new_set(rows));
                Ok(if *is_null { !&values } else { values })
            }
            Self::Family(chosen) => {
                let is_chosen = Family::ALL
                    .iter()
                    .zip(chosen)
                    .any(|(of, chosen)| *of == family && *chosen);
                Ok(if is_chosen {
                    BooleanBuffer::new_set(rows)
                } else {
                    none()
                })
            }
        }
    }
}

impl FamilyRanges {
    /// What is no address is in no range.
    fn contains_text(&self, text: &str) -> bool {
        match text.parse() {
            Ok(IpAddr::V4(address)) => self.ipv4.contains(address.to_bits().into()),
            Ok(IpAddr::V6(address)) => self.ipv6.contains(address.to_bits()),
            Err(_) => false,
        }
    }

    /// The addresses as text, if they are only a few.
    pub(super) fn texts(&self, most: usize) -> Option<Vec<String>> {
        let ipv4 = self
            .ipv4
            .singles(most)?
            .filter_map(|key| u32::try_from(key).ok());
        let ipv4 = ipv4.map(|bits| Ipv4Addr::from_bits(bits).to_string());
        let ipv6 = self.ipv6.singles(most)?;
        let ipv6 = ipv6.map(|bits| Ipv6Addr::from_bits(bits).to_string());
        Some(ipv4.chain(ipv6).collect())
    }
}

impl OctetsTest {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::In(values) => values
                .binary_search_by(|known| known.as_slice().cmp(value))
                .is_ok(),
            Self::Below(than) => value < than.as_slice(),
            Self::AtMost(than) => value <= than.as_slice(),
        }
    }
}

fn numbers(
    name: &str,
    array: &ArrayRef,
    kind: ColumnType,
    ranges: &Ranges,
) -> Result<BooleanBuffer, FilterError> {
    check(name, array, kind)?;
    let found = match kind {
        ColumnType::U8 => {
            let values = array.as_primitive::<UInt8Type>().values();
            within(values, |value| value, &ranges.clipped(u8::MAX))
        }
        ColumnType::U16 => {
            let values = array.as_primitive::<UInt16Type>().values();
            within(values, |value| value, &ranges.clipped(u16::MAX))
        }
        ColumnType::U32 => {
            let values = array.as_primitive::<UInt32Type>().values();
            within(values, |value| value, &ranges.clipped(u32::MAX))
        }
        ColumnType::U64 => {
            let values = array.as_primitive::<UInt64Type>().values();
            within(values, |value| value, &ranges.clipped(u64::MAX))
        }
        ColumnType::I64 => {
            let values = array.as_primitive::<Int64Type>().values();
            within(values, ranges::signed, &ranges.clipped(u64::MAX))
        }
        ColumnType::Timestamp => {
            let values = array.as_primitive::<TimestampMicrosecondType>().values();
            within(values, ranges::signed, &ranges.clipped(u64::MAX))
        }
        ColumnType::F64 => {
            let values = array.as_primitive::<Float64Type>().values();
            within(values, ranges::float, &ranges.clipped(u64::MAX))
        }
        ColumnType::Ipv6 => {
            let (values, _) = array.as_fixed_size_binary().value_data().as_chunks();
            let values = values.get(..array.len()).unwrap_or(values);
            within(values, u128::from_be_bytes, &ranges.clipped(u128::MAX))
        }
        ColumnType::Mac => {
            let (values, _) = array.as_fixed_size_binary().value_data().as_chunks::<6>();
            let values = values.get(..array.len()).unwrap_or(values);
            within(
                values,
                |mac| ranges::octets(&mac),
                &ranges.clipped(u128::MAX),
            )
        }
        ColumnType::Text | ColumnType::Octets | ColumnType::Exporter => {
            return Err(wrong_type(name, array, kind));
        }
    };
    Ok(and_valid(found, array))
}

fn check(name: &str, array: &ArrayRef, kind: ColumnType) -> Result<(), FilterError> {
    let is_time = kind == ColumnType::Timestamp;
    let fits = match (array.data_type(), kind.arrow()) {
        // The same instant, whatever the time zone is called.
        (DataType::Timestamp(unit, _), DataType::Timestamp(expected, _)) if is_time => {
            *unit == expected
        }
        (found, expected) => *found == expected,
    };
    if fits {
        Ok(())
    } else {
        Err(wrong_type(name, array, kind))
    }
}

fn wrong_type(name: &str, array: &ArrayRef, kind: ColumnType) -> FilterError {
    FilterError::ColumnType {
        column: name.to_owned(),
        found: array.data_type().clone(),
        expected: kind.arrow(),
    }
}

fn and_valid(found: BooleanBuffer, array: &ArrayRef) -> BooleanBuffer {
    match array.nulls() {
        Some(nulls) => &found & nulls.inner(),
        None => found,
    }
}

/// The values whose key is in one of the ranges, which are in order.
fn within<V: Copy, K: Copy + PartialOrd>(
    values: &[V],
    key: impl Fn(V) -> K,
    ranges: &[(K, K)],
) -> BooleanBuffer {
    match ranges {
        [] => BooleanBuffer::new_unset(values.len()),
        &[(first, last)] => collect(values, |value| {
            let key = key(value);
            (first <= key) & (key <= last)
        }),
        few if few.len() <= FEW => collect(values, |value| {
            let key = key(value);
            let within =
                |found: bool, &(first, last): &(K, K)| found | ((first <= key) & (key <= last));
            few.iter().fold(false, within)
        }),
        many => collect(values, |value| {
            let key = key(value);
            let place = many.partition_point(|&(_, last)| last < key);
            many.get(place).is_some_and(|&(first, _)| first <= key)
        }),
    }
}

/// A bit for each value, 64 at a time.
fn collect<V: Copy>(values: &[V], test: impl Fn(V) -> bool) -> BooleanBuffer {
    let words: Vec<u64> = values
        .chunks(64)
        .map(|values| {
            let mut word = 0;
            for (place, &value) in values.iter().enumerate() {
                word |= u64::from(test(value)) << place;
            }
            word.to_le()
        })
        .collect();
    BooleanBuffer::new(Buffer::from_vec(words), 0, values.len())
}

/// Addresses of the file's family, and where there is none, of the other.
fn addresses(
    columns: &[String; 2],
    batch: &RecordBatch,
    family: Family,
    ranges: &FamilyRanges,
) -> Result<BooleanBuffer, FilterError> {
    let [ipv4, ipv6] = columns;
    let ipv4 = (ipv4, ColumnType::U32, &ranges.ipv4);
    let ipv6 = (ipv6, ColumnType::Ipv6, &ranges.ipv6);
    let order = match family {
        Family::Ipv4 | Family::Other => [ipv4, ipv6],
        Family::Ipv6 => [ipv6, ipv4],
    };
    let rows = batch.num_rows();
    let mut found = BooleanBuffer::new_unset(rows);
    // The rows that have no address so far.
    let mut left: Option<BooleanBuffer> = None;
    for (name, kind, ranges) in order {
        let Some(array) = batch.column_by_name(name) else {
            continue;
        };
        let mut here = numbers(name, array, kind, ranges)?;
        if let Some(left) = &left {
            here &= left;
        }
        found |= &here;
        let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) else {
            break;
        };
        left = Some(!nulls.inner());
    }
    Ok(found)
}

fn bits(
    name: &str,
    array: &ArrayRef,
    kind: ColumnType,
    test: impl Fn(u64) -> bool,
) -> Result<BooleanBuffer, FilterError> {
    check(name, array, kind)?;
    let found = match kind {
        ColumnType::U8 => collect(array.as_primitive::<UInt8Type>().values(), |v| {
            test(v.into())
        }),
        ColumnType::U16 => collect(array.as_primitive::<UInt16Type>().values(), |v| {
            test(v.into())
        }),
        ColumnType::U32 => collect(array.as_primitive::<UInt32Type>().values(), |v| {
            test(v.into())
        }),
        ColumnType::U64 => collect(array.as_primitive::<UInt64Type>().values(), test),
        _ => return Err(wrong_type(name, array, kind)),
    };
    Ok(and_valid(found, array))
}

fn durations(batch: &RecordBatch, ranges: &Ranges) -> Result<BooleanBuffer, FilterError> {
    let (Some(first), Some(last)) = (batch.column_by_name("first"), batch.column_by_name("last"))
    else {
        return Ok(BooleanBuffer::new_unset(batch.num_rows()));
    };
    check("first", first, ColumnType::Timestamp)?;
    check("last", last, ColumnType::Timestamp)?;
    let firsts = first.as_primitive::<TimestampMicrosecondType>().values();
    let lasts = last.as_primitive::<TimestampMicrosecondType>().values();
    let pairs: Vec<(i64, i64)> = firsts.iter().copied().zip(lasts.iter().copied()).collect();
    let duration = |(first, last)| ranges::difference(i128::from(last) - i128::from(first));
    let found = within(&pairs, duration, &ranges.clipped(u128::MAX));
    Ok(and_valid(and_valid(found, first), last))
}

/// Text as it is, or by dictionary.
fn texts(
    name: &str,
    array: &ArrayRef,
    test: impl Fn(&str) -> bool,
) -> Result<BooleanBuffer, FilterError> {
    let found = match array.data_type() {
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            let mut values = array.iter();
            BooleanBuffer::collect_bool(array.len(), |_| values.next().flatten().is_some_and(&test))
        }
        _ => {
            let dictionary = array.as_dictionary_opt::<Int32Type>();
            let names =
                dictionary.and_then(|dictionary| dictionary.values().as_string_opt::<i32>());
            let (Some(dictionary), Some(names)) = (dictionary, names) else {
                return Err(wrong_type(name, array, ColumnType::Exporter));
            };
            let holds: Vec<bool> = names.iter().map(|name| name.is_some_and(&test)).collect();
            let holds = |key: i32| {
                let place = usize::try_from(key).unwrap_or(usize::MAX);
                holds.get(place).copied().unwrap_or(false)
            };
            collect(dictionary.keys().values(), holds)
        }
    };
    Ok(and_valid(found, array))
}

fn octets(
    name: &str,
    array: &ArrayRef,
    test: impl Fn(&[u8]) -> bool,
) -> Result<BooleanBuffer, FilterError> {
    let Some(octets) = array.as_binary_opt::<i32>() else {
        return texts(name, array, |text| test(text.as_bytes()));
    };
    let mut values = octets.iter();
    let next = |_| values.next().flatten().is_some_and(&test);
    Ok(BooleanBuffer::collect_bool(octets.len(), next))
}
