//! What stands in a column at a row, as text: the one place where values become readable.

use std::fmt::Display;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_array::{
    BinaryArray, Date32Array, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array,
    ListArray, StringArray, TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};
use arrow_schema::{DataType, TimeUnit};

use crate::time::{Rfc3339, write_date};

/// The shown columns of a batch.
pub(crate) struct Batch<'b> {
    columns: Vec<Column<'b>>,
}

/// A column as it is shown.
pub(crate) struct Column<'b> {
    pub(crate) name: String,
    /// The value is the first of them that is not null.
    values: Vec<Values<'b>>,
}

/// The values of one column of a batch.
#[derive(Clone, Copy)]
pub(crate) enum Values<'b> {
    U8(&'b UInt8Array),
    U16(&'b UInt16Array),
    U32(&'b UInt32Array),
    U64(&'b UInt64Array),
    I64(&'b Int64Array),
    F64(&'b Float64Array),
    Time(&'b TimestampMicrosecondArray),
    Date(&'b Date32Array),
    Ipv4(&'b UInt32Array),
    Ipv6(&'b FixedSizeBinaryArray),
    Mac(&'b FixedSizeBinaryArray),
    Text(&'b StringArray),
    Octets(&'b BinaryArray),
    Named(&'b Int32Array, &'b StringArray),
    /// A list of the latter.
    Several(&'b ListArray, &'b Int32Array, &'b StringArray),
}

/// How a value is quoted where that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    /// Text of our own making: nothing in it needs escaping.
    Plain,
    /// Text that somebody sent.
    Text,
}

/// The name of a shown column, and those of the batch's columns that it is made of.
pub(crate) type Shown = (String, Vec<String>);

impl<'b> Batch<'b> {
    /// Those columns of a batch that is `whose`.
    pub(crate) fn new(
        batch: &'b RecordBatch,
        shown: impl IntoIterator<Item = Shown>,
        whose: impl Display,
    ) -> Result<Self> {
        let column = |(name, sources): Shown| -> Result<Column<'b>> {
            let mut values = Vec::new();
            for source in sources {
                if let Some(array) = batch.column_by_name(&source) {
                    let Some(readable) = Values::new(&source, array) else {
                        let kind = array.data_type();
                        bail!("cannot show column \"{source}\" of {whose}: its type is {kind}");
                    };
                    values.push(readable);
                }
            }
            Ok(Column { name, values })
        };
        Ok(Self {
            columns: shown.into_iter().map(column).collect::<Result<_>>()?,
        })
    }

    pub(crate) fn columns(&self) -> &[Column<'b>] {
        &self.columns
    }

    /// The column of that name, if it is shown.
    pub(crate) fn column(&self, name: &str) -> Option<&Column<'b>> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl<'b> Column<'b> {
    /// The values in which the row's is; `None` where it is null.
    pub(crate) fn at(&self, row: usize) -> Option<Values<'b>> {
        self.values
            .iter()
            .copied()
            .find(|values| !values.is_null(row))
    }
}

impl<'b> Values<'b> {
    fn new(name: &str, array: &'b ArrayRef) -> Option<Self> {
        Some(match array.data_type() {
            DataType::UInt8 => Self::U8(array.as_primitive::<UInt8Type>()),
            DataType::UInt16 => Self::U16(array.as_primitive::<UInt16Type>()),
            DataType::UInt32 if name.ends_with("_ipv4") => {
                Self::Ipv4(array.as_primitive::<UInt32Type>())
            }
            DataType::UInt32 => Self::U32(array.as_primitive::<UInt32Type>()),
            DataType::UInt64 => Self::U64(array.as_primitive::<UInt64Type>()),
            DataType::Int64 => Self::I64(array.as_primitive::<Int64Type>()),
            DataType::Float64 => Self::F64(array.as_primitive::<Float64Type>()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Time(array.as_primitive::<TimestampMicrosecondType>())
            }
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>()),
            DataType::FixedSizeBinary(16) => Self::Ipv6(array.as_fixed_size_binary()),
            DataType::FixedSizeBinary(6) => Self::Mac(array.as_fixed_size_binary()),
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::Binary => Self::Octets(array.as_binary()),
            DataType::Dictionary(..) => {
                let dictionary = array.as_dictionary_opt::<Int32Type>()?;
                let names = dictionary.values().as_string_opt()?;
                Self::Named(dictionary.keys(), names)
            }
            DataType::List(_) => {
                let lists = array.as_list_opt::<i32>()?;
                let dictionary = lists.values().as_dictionary_opt::<Int32Type>()?;
                let names = dictionary.values().as_string_opt()?;
                Self::Several(lists, dictionary.keys(), names)
            }
            _ => return None,
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::U8(array) => array.is_null(row),
            Self::U16(array) => array.is_null(row),
            Self::U32(array) | Self::Ipv4(array) => array.is_null(row),
            Self::U64(array) => array.is_null(row),
            Self::I64(array) => array.is_null(row),
            // No number is no value: JSON has no word for it.
            Self::F64(array) => array.is_null(row) || !array.value(row).is_finite(),
            Self::Time(array) => array.is_null(row),
            Self::Date(array) => array.is_null(row),
            Self::Ipv6(array) | Self::Mac(array) => array.is_null(row),
            Self::Text(array) => array.is_null(row),
            Self::Octets(array) => array.is_null(row),
            Self::Named(keys, _) => keys.is_null(row),
            Self::Several(lists, ..) => lists.is_null(row),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::U8(_)
            | Self::U16(_)
            | Self::U32(_)
            | Self::U64(_)
            | Self::I64(_)
            | Self::F64(_) => Kind::Number,
            Self::Time(_)
            | Self::Date(_)
            | Self::Ipv4(_)
            | Self::Ipv6(_)
            | Self::Mac(_)
            | Self::Octets(_) => Kind::Plain,
            Self::Text(_) | Self::Named(..) | Self::Several(..) => Kind::Text,
        }
    }

    /// The value as a count, for those that are one.
    pub(crate) fn number(&self, row: usize) -> Option<i64> {
        match self {
            Self::U8(array) => Some(array.value(row).into()),
            Self::U16(array) => Some(array.value(row).into()),
            Self::I64(array) => Some(array.value(row)),
            Self::Time(array) => Some(array.value(row)),
            _ => None,
        }
    }

    /// Whether it is an IPv6 address, which has colons of its own.
    pub(crate) fn is_ipv6(&self) -> bool {
        matches!(self, Self::Ipv6(_))
    }

    /// Appends the row's value, which is not null.
    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) {
        // Writing to a vector does not fail.
        let _written = match self {
            Self::U8(array) => write!(out, "{}", array.value(row)),
            Self::U16(array) => write!(out, "{}", array.value(row)),
            Self::U32(array) => write!(out, "{}", array.value(row)),
            Self::U64(array) => write!(out, "{}", array.value(row)),
            Self::I64(array) => write!(out, "{}", array.value(row)),
            Self::F64(array) => write!(out, "{}", array.value(row)),
            Self::Ipv4(array) => write!(out, "{}", Ipv4Addr::from_bits(array.value(row))),
            Self::Ipv6(array) => {
                let octets = <[u8; 16]>::try_from(array.value(row)).unwrap_or_default();
                write!(out, "{}", Ipv6Addr::from(octets))
            }
            Self::Mac(array) => write_joined(array.value(row), ":", out),
            Self::Octets(array) => write_joined(array.value(row), "", out),
            Self::Time(array) => {
                Rfc3339::from_us(array.value(row)).write_to(out);
                Ok(())
            }
            Self::Date(array) => {
                write_date(array.value(row).into(), out);
                Ok(())
            }
            Self::Text(array) => out.write_all(array.value(row).as_bytes()),
            Self::Named(keys, names) => out.write_all(named(keys, names, row).as_bytes()),
            Self::Several(lists, keys, names) => {
                let ends = [row, row + 1].map(|place| lists.value_offsets().get(place).copied());
                let [start, end] = ends.map(|end| end.map_or(0, |end| end as usize));
                let texts: Vec<&str> = (start..end).map(|at| named(keys, names, at)).collect();
                out.write_all(texts.join(" ").as_bytes())
            }
        };
    }
}

/// The text that a key stands for.
fn named<'n>(keys: &Int32Array, names: &'n StringArray, row: usize) -> &'n str {
    let key = usize::try_from(keys.value(row)).unwrap_or(usize::MAX);
    if key < names.len() {
        names.value(key)
    } else {
        ""
    }
}

fn write_joined(octets: &[u8], separator: &str, out: &mut Vec<u8>) -> std::io::Result<()> {
    for (index, octet) in octets.iter().enumerate() {
        let separator = if index == 0 { "" } else { separator };
        write!(out, "{separator}{octet:02x}")?;
    }
    Ok(())
}
