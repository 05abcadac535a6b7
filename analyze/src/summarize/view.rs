//! The columns of a batch by name, checked to be what flow files have.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int32Type, TimestampMicrosecondType, UInt32Type};
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, PrimitiveArray, RecordBatch};
use arrow_buffer::BooleanBuffer;
use forebay_store::Family;

use super::key::Address;
use super::layout::Class;
use crate::error::AnalyzeError;
use crate::rows::Interner;

/// A batch of a file.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) batch: &'a RecordBatch,
    pub(super) family: Family,
    pub(super) path: &'a Path,
}

impl<'a> View<'a> {
    pub(super) fn rows(self) -> usize {
        self.batch.num_rows()
    }

    /// The column, if the file has it and any of its rows has a value.
    pub(super) fn column(self, name: &str) -> Option<&'a ArrayRef> {
        let column = self.batch.column_by_name(name)?;
        (column.null_count() < column.len()).then_some(column)
    }

    pub(super) fn primitive<T: ArrowPrimitiveType>(
        self,
        name: &str,
    ) -> Result<Option<&'a PrimitiveArray<T>>, AnalyzeError> {
        self.typed(name, |column| column.as_primitive_opt())
    }

    pub(super) fn times(
        self,
        name: &str,
    ) -> Result<Option<&'a PrimitiveArray<TimestampMicrosecondType>>, AnalyzeError> {
        self.primitive(name)
    }

    /// Values of `octets` octets each.
    pub(super) fn fixed(
        self,
        name: &str,
        octets: i32,
    ) -> Result<Option<&'a FixedSizeBinaryArray>, AnalyzeError> {
        self.typed(name, |column| {
            let fixed = column.as_fixed_size_binary_opt()?;
            (fixed.value_length() == octets).then_some(fixed)
        })
    }

    fn typed<T>(
        self,
        name: &str,
        cast: impl FnOnce(&'a ArrayRef) -> Option<T>,
    ) -> Result<Option<T>, AnalyzeError> {
        let Some(column) = self.column(name) else {
            return Ok(None);
        };
        cast(column)
            .map(Some)
            .ok_or_else(|| self.foreign(name, column))
    }

    fn foreign(self, name: &str, column: &ArrayRef) -> AnalyzeError {
        AnalyzeError::ColumnType {
            path: self.path.to_owned(),
            column: name.to_owned(),
            found: column.data_type().to_string(),
        }
    }

    /// The numbers of the texts or octets of a column, row by row: where it is null, anything.
    pub(super) fn numbers(
        self,
        name: &str,
        interner: &Interner,
        out: &mut Vec<u32>,
    ) -> Result<Option<&'a ArrayRef>, AnalyzeError> {
        let Some(column) = self.column(name) else {
            return Ok(None);
        };
        out.clear();
        if let Some(column) = column.as_dictionary_opt::<Int32Type>() {
            let Some(values) = column.values().as_string_opt::<i32>() else {
                return Err(self.foreign(name, column.values()));
            };
            let numbers = values
                .iter()
                .map(|text| interner.number(text.unwrap_or_default().as_bytes()));
            let numbers = numbers.collect::<Result<Vec<u32>, _>>()?;
            let number = |key: &<Int32Type as ArrowPrimitiveType>::Native| {
                // A null's key is any number.
                usize::try_from(*key)
                    .ok()
                    .and_then(|key| numbers.get(key).copied())
                    .unwrap_or(0)
            };
            out.extend(column.keys().values().iter().map(number));
        } else if let Some(column) = column.as_string_opt::<i32>() {
            each_number(
                column.iter().map(|text| text.map(str::as_bytes)),
                interner,
                out,
            )?;
        } else if let Some(column) = column.as_binary_opt::<i32>() {
            each_number(column.iter(), interner, out)?;
        } else {
            return Err(self.foreign(name, column));
        }
        Ok(Some(column))
    }

    pub(super) fn addresses(self, address: Address) -> Result<Addresses<'a>, AnalyzeError> {
        let [ipv4, ipv6] = address.columns();
        Ok(Addresses {
            ipv4: self.primitive(ipv4)?,
            ipv6: self.fixed(ipv6, 16)?,
            prefers_ipv6: self.family == Family::Ipv6,
        })
    }
}

fn each_number<'v>(
    values: impl Iterator<Item = Option<&'v [u8]>>,
    interner: &Interner,
    out: &mut Vec<u32>,
) -> Result<(), AnalyzeError> {
    // Values come in runs.
    let mut last: (&[u8], Option<u32>) = (&[], None);
    for value in values {
        let value = value.unwrap_or_default();
        let number = match last {
            (same, Some(number)) if same == value => number,
            _ => interner.number(value)?,
        };
        last = (value, Some(number));
        out.push(number);
    }
    Ok(())
}

/// An address of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ip {
    V4(u32),
    V6(u128),
}

/// The addresses of a batch: of the two columns, that of the flow's family counts first.
#[derive(Clone, Copy)]
pub(super) struct Addresses<'a> {
    pub(super) ipv4: Option<&'a PrimitiveArray<UInt32Type>>,
    pub(super) ipv6: Option<&'a FixedSizeBinaryArray>,
    prefers_ipv6: bool,
}

impl Addresses<'_> {
    pub(super) fn get(&self, row: usize) -> Option<Ip> {
        let ipv4 = || {
            let column = self.ipv4.filter(|column| column.is_valid(row))?;
            Some(Ip::V4(column.value(row)))
        };
        let ipv6 = || {
            let column = self.ipv6.filter(|column| column.is_valid(row))?;
            let octets = column.value(row).first_chunk()?;
            Some(Ip::V6(u128::from_be_bytes(*octets)))
        };
        match self.prefers_ipv6 {
            true => ipv6().or_else(ipv4),
            false => ipv4().or_else(ipv6),
        }
    }

    /// The class that an address gives to all rows alike, if it does.
    fn of_all(&self) -> Option<Class> {
        let is_full = |column: &dyn Array| column.null_count() == 0;
        match (self.ipv4, self.ipv6) {
            (None, None) => Some(Class::Plain),
            (Some(column), None) if is_full(column) => Some(Class::Ipv4),
            (Some(column), Some(_)) if is_full(column) && !self.prefers_ipv6 => Some(Class::Ipv4),
            (None, Some(column)) if is_full(column) => Some(Class::Wide),
            (Some(_), Some(column)) if is_full(column) && self.prefers_ipv6 => Some(Class::Wide),
            _ => None,
        }
    }

    fn class(&self, row: usize) -> Class {
        match self.get(row) {
            None => Class::Plain,
            Some(Ip::V4(_)) => Class::Ipv4,
            Some(Ip::V6(_)) => Class::Wide,
        }
    }

    /// Whether no row has an IPv6 address.
    fn never_wide(&self) -> bool {
        self.ipv6.is_none() || self.of_all() == Some(Class::Ipv4)
    }
}

/// The classes that rows with these addresses have, each with its rows; `None` for all of them.
pub(super) fn classes(
    addresses: &[Addresses<'_>],
    rows: usize,
) -> Vec<(Class, Option<BooleanBuffer>)> {
    let of_all = || addresses.iter().map(Addresses::of_all);
    if of_all().all(|class| class == Some(Class::Plain)) {
        return vec![(Class::Plain, None)];
    }
    if of_all().any(|class| class == Some(Class::Wide)) {
        return vec![(Class::Wide, None)];
    }
    let is_narrow = addresses.iter().all(Addresses::never_wide);
    if is_narrow && of_all().any(|class| class == Some(Class::Ipv4)) {
        return vec![(Class::Ipv4, None)];
    }
    let class = |row| {
        let classes = addresses.iter().map(|address| address.class(row));
        classes.fold(Class::Plain, join)
    };
    let of_rows: Vec<Class> = (0..rows).map(class).collect();
    let rows_of = |class| BooleanBuffer::collect_bool(rows, |row| of_rows[row] == class);
    let masks = Class::ALL.map(|class| (class, rows_of(class)));
    let masks = masks
        .into_iter()
        .filter(|(_, mask)| mask.count_set_bits() > 0);
    masks.map(|(class, mask)| (class, Some(mask))).collect()
}

/// The class of a row with addresses of both classes.
fn join(one: Class, other: Class) -> Class {
    match (one, other) {
        (Class::Wide, _) | (_, Class::Wide) => Class::Wide,
        (Class::Ipv4, _) | (_, Class::Ipv4) => Class::Ipv4,
        (Class::Plain, Class::Plain) => Class::Plain,
    }
}
