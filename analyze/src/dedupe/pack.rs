//! Batches become rows of words: the key, what is compared, who told it, and which row it is.
//!
//! ```text
//! key … | packets | bytes | first | duration | origin, digest | row
//! ```
//!
//! The words of the key, and the counters where they must be equal, choose the partition.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, TimestampMicrosecondType, UInt8Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch};
use forebay_store::{ColumnType, SEEN_EXPORTERS, seen_fields};

use super::key::{KeyLayout, expect_type};
use super::origins::{Known, NO_LIST, Names, Origin};
use super::rules::Flow;
use crate::error::AnalyzeError;

mod values;

use values::{copy, digest, erase, put_values};

/// The words behind those of the key.
const PACKETS: usize = 0;
const BYTES: usize = 1;
const FIRST: usize = 2;
const DURATION: usize = 3;
const TOLD: usize = 4;
const ROW: usize = 5;
pub(super) const FACT_WORDS: usize = 6;
/// The first of them are the counters.
pub(super) const COUNTER_WORDS: usize = 2;

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
pub(super) fn columns(layout: &KeyLayout) -> Vec<&str> {
    let key = layout.fields.iter().map(|field| field.column.as_str());
    let mut names: Vec<&str> = key.collect();
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
struct Packed<'a, 'w> {
    words: &'a mut [&'w mut [u64]],
    /// Rows that are not compared with others.
    apart: &'a mut Vec<bool>,
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
    /// Packs the rows of `batch`, the first of which has the number `first_row`, into `words`, which have
    /// room for them; how many rows there are then: those that are compared.
    pub(super) fn pack(
        &self,
        batch: &RecordBatch,
        first_row: u64,
        known: &mut Known,
        apart: &mut Vec<bool>,
        words: &mut [&mut [u64]],
    ) -> Result<usize, AnalyzeError> {
        let key_words = self.layout.words;
        for (place, word) in words.iter_mut().enumerate() {
            // The others are overwritten.
            if place < key_words || place >= key_words + TOLD {
                word.fill(0);
            }
        }
        apart.clear();
        apart.resize(batch.num_rows(), false);
        let mut packed = Packed { words, apart };
        self.key(batch, &mut packed)?;
        self.facts(batch, &mut packed)?;
        self.told(batch, known, &mut packed)?;
        for (word, row) in packed.words[key_words + ROW].iter_mut().zip(first_row..) {
            *word |= row;
        }
        Ok(packed.leave_out_apart())
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

    fn key(&self, batch: &RecordBatch, packed: &mut Packed<'_, '_>) -> Result<(), AnalyzeError> {
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
            let Packed { words, apart } = packed;
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
    fn icmp(&self, batch: &RecordBatch, packed: &mut Packed<'_, '_>) -> Result<(), AnalyzeError> {
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
                erase(packed.words, port.word, port.shift, port.width, row);
                packed.words[port.null_word][row] |= 1 << port.null_shift;
            }
            if let Some((port, kind)) = find("dst_port").zip(value(types, row)) {
                let code = value(codes, row).unwrap_or(0);
                erase(packed.words, port.word, port.shift, port.width, row);
                let told = u64::from(u16::from_be_bytes([kind, code]));
                packed.words[port.word][row] |= told << port.shift;
                packed.words[port.null_word][row] &= !(1 << port.null_shift);
            }
        }
        Ok(())
    }

    fn facts(&self, batch: &RecordBatch, packed: &mut Packed<'_, '_>) -> Result<(), AnalyzeError> {
        let key_words = self.layout.words;
        let counter = |name| self.primitive::<UInt64Type>(batch, name, ColumnType::U64);
        let time =
            |name| self.primitive::<TimestampMicrosecondType>(batch, name, ColumnType::Timestamp);
        let (packets, bytes) = (counter("packets")?, counter("bytes")?);
        let (received, first, last) = (time("received")?, time("first")?, time("last")?);
        let Packed { words, apart } = packed;
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
            None => copy(last, duration_to, flags, NO_DURATION, |value| value as u64),
            Some(last) => {
                copy(Some(last), duration_to, flags, NO_DURATION, |value| {
                    value as u64
                });
                for ((duration, first), flags) in
                    duration_to.iter_mut().zip(&**first_to).zip(&**flags)
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
            for (apart, flags) in apart.iter_mut().zip(&**flags) {
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
        packed: &mut Packed<'_, '_>,
    ) -> Result<(), AnalyzeError> {
        let told = &mut *packed.words[self.layout.words + TOLD];
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

impl Packed<'_, '_> {
    /// How many rows are left.
    fn leave_out_apart(self) -> usize {
        let left = self.apart.iter().filter(|&&apart| !apart).count();
        if left < self.apart.len() {
            for word in self.words {
                let rows = self.apart.iter().zip(0..).filter(|(apart, _)| !**apart);
                for (to, (_, row)) in rows.enumerate() {
                    word[to] = word[row];
                }
            }
        }
        left
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
