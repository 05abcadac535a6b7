//! Batches become rows of words: the key, what is compared, who told it, and which row it is.
//!
//! ```text
//! key … | packets | bytes | first | duration | origin, digest | row
//! ```
//!
//! The words of the key, and the counters where they must be equal, choose the partition.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch};
use arrow_schema::DataType;
use forebay_store::{ColumnType, SEEN_EXPORTERS, seen_fields};

use super::key::{KeyLayout, Width, expect_type};
use super::origins::{Known, NO_LIST, Names, Origin};
use super::rules::Flow;
use crate::error::AnalyzeError;

/// The words behind those of the key.
const PACKETS: usize = 0;
const BYTES: usize = 1;
const FIRST: usize = 2;
const DURATION: usize = 3;
const TOLD: usize = 4;
const ROW: usize = 5;
pub(super) const FACT_WORDS: usize = 6;

/// The high bits of the last word say what the row has no value for.
const NO_PACKETS: u64 = 1 << 63;
const NO_BYTES: u64 = 1 << 62;
const NO_DURATION: u64 = 1 << 61;
const FLAGS: u64 = NO_PACKETS | NO_BYTES | NO_DURATION;

/// Columns that tell rows apart where all that is compared is the same.
const DIGEST: [&str; 6] = [
    "received",
    "exporter_port",
    "export_version",
    "in_if",
    "out_if",
    "direction",
];
const FACTS: [&str; 9] = [
    "received",
    "exporter",
    "observation_domain",
    "first",
    "last",
    "packets",
    "bytes",
    "protocol",
    "icmp_type",
];

/// The columns that are read to compare rows.
pub(super) fn columns<'k>(key: &[&'k str]) -> Vec<&'k str> {
    let mut names: Vec<&str> = key.to_vec();
    for name in FACTS
        .into_iter()
        .chain(DIGEST)
        .chain(["icmp_code", SEEN_EXPORTERS])
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Rows of words, column by column.
#[derive(Default)]
pub(super) struct Packed {
    pub(super) words: Vec<Vec<u64>>,
    /// Rows that are not compared with others.
    apart: Vec<bool>,
    /// Rows of the batch that were not compared.
    pub(super) passed_over: u64,
}

/// What a batch is packed by.
pub(super) struct Packer<'a> {
    pub(super) layout: &'a KeyLayout,
    pub(super) names: &'a Names,
    /// Rows without any counter are events, and not compared.
    pub(super) events_apart: bool,
    pub(super) path: &'a Path,
}

impl Packer<'_> {
    /// Packs the rows of `batch`, the first of which has the number `first_row`.
    pub(super) fn pack(
        &self,
        batch: &RecordBatch,
        first_row: u64,
        known: &mut Known,
        packed: &mut Packed,
    ) -> Result<(), AnalyzeError> {
        let rows = batch.num_rows();
        let key_words = self.layout.words;
        packed.words.resize_with(key_words + FACT_WORDS, Vec::new);
        for word in &mut packed.words {
            word.clear();
            word.resize(rows, 0);
        }
        packed.apart.clear();
        packed.apart.resize(rows, false);
        self.key(batch, packed)?;
        self.facts(batch, packed)?;
        self.told(batch, known, packed)?;
        for (word, row) in packed.words[key_words + ROW].iter_mut().zip(first_row..) {
            *word |= row;
        }
        packed.leave_out_apart();
        Ok(())
    }

    fn array<'b>(
        &self,
        batch: &'b RecordBatch,
        name: &str,
        kind: ColumnType,
    ) -> Result<Option<&'b ArrayRef>, AnalyzeError> {
        expect_type(batch, name, &kind.arrow(), self.path)
    }

    fn primitive<'b, T: ArrowPrimitiveType>(
        &self,
        batch: &'b RecordBatch,
        name: &str,
        kind: ColumnType,
    ) -> Result<Option<&'b PrimitiveArray<T>>, AnalyzeError> {
        Ok(self
            .array(batch, name, kind)?
            .map(|array| array.as_primitive()))
    }

    fn key(&self, batch: &RecordBatch, packed: &mut Packed) -> Result<(), AnalyzeError> {
        let rows = batch.num_rows();
        // Until some column of the key has a value.
        packed.apart.fill(true);
        for field in &self.layout.fields {
            let array = expect_type(batch, &field.column, &field.kind, self.path)?;
            let null = 1 << field.null_shift;
            let Some(array) = array.filter(|array| array.null_count() < rows) else {
                let nulls = &mut packed.words[field.null_word];
                nulls.iter_mut().for_each(|word| *word |= null);
                continue;
            };
            let Packed { words, apart, .. } = packed;
            put_values(
                array,
                field.width,
                field.shift,
                field.word,
                words,
                self.names,
            )?;
            match array.nulls().filter(|nulls| nulls.null_count() > 0) {
                None => apart.fill(false),
                Some(nulls) => {
                    let clear = field.width;
                    for (row, is_valid) in nulls.iter().enumerate() {
                        if is_valid {
                            apart[row] = false;
                        } else {
                            erase(words, field.word, field.shift, clear, row);
                            words[field.null_word][row] |= null;
                        }
                    }
                }
            }
        }
        self.icmp(batch, packed)
    }

    /// Some exporters tell the type and code of ICMP in elements of their own, and others in the
    /// destination port: here they all do.
    fn icmp(&self, batch: &RecordBatch, packed: &mut Packed) -> Result<(), AnalyzeError> {
        const ICMP: [u8; 2] = [1, 58];
        let find = |name| self.layout.fields.iter().find(|field| field.column == name);
        let protocols: Option<&PrimitiveArray<UInt8Type>> =
            self.primitive(batch, "protocol", ColumnType::U8)?;
        let Some(protocols) = protocols else {
            return Ok(());
        };
        if find("protocol").is_none() || !protocols.values().iter().any(|it| ICMP.contains(it)) {
            return Ok(());
        }
        let types: Option<&PrimitiveArray<UInt8Type>> =
            self.primitive(batch, "icmp_type", ColumnType::U8)?;
        let codes: Option<&PrimitiveArray<UInt8Type>> =
            self.primitive(batch, "icmp_code", ColumnType::U8)?;
        let value = |array: Option<&PrimitiveArray<UInt8Type>>, row: usize| {
            array
                .filter(|array| array.is_valid(row))
                .map(|array| array.value(row))
        };
        for row in 0..batch.num_rows() {
            if !protocols.is_valid(row) || !ICMP.contains(&protocols.value(row)) {
                continue;
            }
            if let Some(port) = find("src_port") {
                erase(&mut packed.words, port.word, port.shift, port.width, row);
                packed.words[port.null_word][row] |= 1 << port.null_shift;
            }
            if let Some((port, kind)) = find("dst_port").zip(value(types, row)) {
                let code = value(codes, row).unwrap_or(0);
                erase(&mut packed.words, port.word, port.shift, port.width, row);
                let told = u64::from(u16::from_be_bytes([kind, code]));
                packed.words[port.word][row] |= told << port.shift;
                packed.words[port.null_word][row] &= !(1 << port.null_shift);
            }
        }
        Ok(())
    }

    fn facts(&self, batch: &RecordBatch, packed: &mut Packed) -> Result<(), AnalyzeError> {
        let key_words = self.layout.words;
        let counter = |name| self.primitive::<UInt64Type>(batch, name, ColumnType::U64);
        let time =
            |name| self.primitive::<TimestampMicrosecondType>(batch, name, ColumnType::Timestamp);
        let (packets, bytes) = (counter("packets")?, counter("bytes")?);
        let (received, first, last) = (time("received")?, time("first")?, time("last")?);
        let Packed { words, apart, .. } = packed;
        let Some(([packets_to, bytes_to, first_to, duration_to, _, flags], [])) =
            words[key_words..].split_first_chunk_mut::<FACT_WORDS>()
        else {
            return Ok(());
        };
        for (array, to, flag) in [
            (packets, packets_to, NO_PACKETS),
            (bytes, bytes_to, NO_BYTES),
        ] {
            copy(array, to, flags, flag, |value| value);
        }
        copy(first, first_to, flags, NO_DURATION, |value| value as u64);
        let has_last = last.filter(|last| last.null_count() < last.len());
        match has_last {
            None => flags.iter_mut().for_each(|flags| *flags |= NO_DURATION),
            Some(last) => {
                copy(Some(last), duration_to, flags, NO_DURATION, |value| {
                    value as u64
                });
                for ((duration, first), flags) in
                    duration_to.iter_mut().zip(&*first_to).zip(&*flags)
                {
                    let ends = (*duration as i64).saturating_sub(*first as i64);
                    // Clocks that are set back make no flow shorter than nothing.
                    *duration = if flags & NO_DURATION == 0 {
                        ends.max(0) as u64
                    } else {
                        0
                    };
                }
            }
        }
        if let Some(received) = received {
            let is_known = |row: usize| first.is_some_and(|first| first.is_valid(row));
            if first.is_none_or(|first| first.null_count() > 0) {
                for (row, (to, &received)) in first_to.iter_mut().zip(received.values()).enumerate()
                {
                    if !is_known(row) {
                        *to = received as u64;
                    }
                }
            }
        }
        if self.events_apart {
            for (apart, flags) in apart.iter_mut().zip(&*flags) {
                *apart |= flags & NO_PACKETS != 0 && flags & NO_BYTES != 0;
            }
        }
        Ok(())
    }

    /// Fills the word of origin and digest.
    fn told(
        &self,
        batch: &RecordBatch,
        known: &mut Known,
        packed: &mut Packed,
    ) -> Result<(), AnalyzeError> {
        let told = &mut packed.words[self.layout.words + TOLD];
        for name in DIGEST {
            if let Some(array) = batch.column_by_name(name) {
                digest(array, told);
            }
        }
        told.iter_mut().for_each(|word| *word >>= 32);
        let (Some(exporters), Some(domains)) = (
            self.array(batch, "exporter", ColumnType::Exporter)?,
            self.primitive::<UInt32Type>(batch, "observation_domain", ColumnType::U32)?,
        ) else {
            return Err(AnalyzeError::ColumnType {
                path: self.path.to_owned(),
                column: "exporter".to_owned(),
                found: "not there".to_owned(),
            });
        };
        let exporters = exporters.as_dictionary::<Int32Type>();
        let texts = exporters.values().as_string::<i32>();
        let numbers: Vec<u32> = texts
            .iter()
            .map(|text| self.names.text(text.unwrap_or_default().as_bytes()))
            .collect::<Result<_, _>>()?;
        let lists = self.lists(batch, known)?;
        let mut last = None;
        for (row, word) in told.iter_mut().enumerate() {
            let key = exporters.keys().value(row);
            let list = lists.as_ref().map_or(NO_LIST, |lists| lists[row]);
            let teller = (key, domains.value(row), list);
            let number = match last {
                Some((before, number)) if before == teller => number,
                _ => {
                    let exporter = usize::try_from(key).ok().and_then(|key| numbers.get(key));
                    let origin = Origin {
                        exporter: exporter.copied().unwrap_or_default(),
                        domain: teller.1,
                        list,
                    };
                    self.names.origin(known, origin)?
                }
            };
            last = Some((teller, number));
            *word |= u64::from(number) << 32;
        }
        Ok(())
    }

    /// By row: who saw it, where duplicates were removed before.
    fn lists(
        &self,
        batch: &RecordBatch,
        known: &mut Known,
    ) -> Result<Option<Vec<u32>>, AnalyzeError> {
        let [_, field] = seen_fields();
        let Some(lists) = expect_type(batch, SEEN_EXPORTERS, field.data_type(), self.path)? else {
            return Ok(None);
        };
        let lists = lists.as_list::<i32>();
        let exporters = lists.values().as_dictionary::<Int32Type>();
        let texts = exporters.values().as_string::<i32>();
        let numbers: Vec<u32> = texts
            .iter()
            .map(|text| self.names.text(text.unwrap_or_default().as_bytes()))
            .collect::<Result<_, _>>()?;
        let mut found = Vec::with_capacity(lists.len());
        let mut list = Vec::new();
        for ends in lists.value_offsets().windows(2) {
            list.clear();
            let keys = exporters
                .keys()
                .values()
                .get(ends[0] as usize..ends[1] as usize);
            for &key in keys.unwrap_or_default() {
                list.extend(usize::try_from(key).ok().and_then(|key| numbers.get(key)));
            }
            found.push(match list.as_slice() {
                [] => NO_LIST,
                list => self.names.list(known, list)?,
            });
        }
        Ok(Some(found))
    }
}

impl Packed {
    fn leave_out_apart(&mut self) {
        let apart = self.apart.iter().filter(|&&apart| apart).count();
        self.passed_over = apart as u64;
        if apart == 0 {
            return;
        }
        for word in &mut self.words {
            let mut apart = self.apart.iter();
            word.retain(|_| apart.next() == Some(&false));
        }
    }
}

/// Copies values, and sets `flag` where there is none.
fn copy<T: ArrowPrimitiveType>(
    array: Option<&PrimitiveArray<T>>,
    to: &mut [u64],
    flags: &mut [u64],
    flag: u64,
    number: impl Fn(T::Native) -> u64,
) {
    let Some(array) = array else {
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

fn erase(words: &mut [Vec<u64>], word: usize, shift: u32, width: Width, row: usize) {
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
fn put_values(
    array: &ArrayRef,
    width: Width,
    shift: u32,
    word: usize,
    words: &mut [Vec<u64>],
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
    let to = words[word].as_mut_slice();
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
fn digest(array: &ArrayRef, digests: &mut [u64]) {
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

/// A row of words, as [`Packer::pack`] made it. The origin is its number, not its place.
pub(super) fn unpack(row: &[u64], key_words: usize) -> Option<Flow> {
    let facts: &[u64; FACT_WORDS] = row.get(key_words..)?.first_chunk()?;
    let flags = facts[ROW];
    let unless = |flag, value| (flags & flag == 0).then_some(value);
    Some(Flow {
        first_us: facts[FIRST] as i64,
        duration_us: unless(NO_DURATION, facts[DURATION]),
        packets: unless(NO_PACKETS, facts[PACKETS]),
        bytes: unless(NO_BYTES, facts[BYTES]),
        origin: (facts[TOLD] >> 32) as u32,
        digest: facts[TOLD] as u32,
        row: flags & !FLAGS,
    })
}

/// What two rows must agree in beside the words of their key: which counters have no value.
pub(super) fn same_nulls(row: &[u64], key_words: usize) -> u64 {
    let flags = row.get(key_words + ROW).copied().unwrap_or(0);
    flags & (NO_PACKETS | NO_BYTES)
}
