//! Columns of values of any length: the exporter's address, text, octets, lists of addresses.

use std::collections::HashMap;

use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, BinaryArray, StringArray, cast::AsArray};
use arrow_schema::DataType;
use parquet::basic::Encoding;
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;

use super::codec::Codec;
use super::page::{Chunk, Dictionary, Levels, Pages, put_numbers};

/// A dictionary of more octets is given up.
const DICTIONARY_BYTES: usize = 1 << 20;

pub(super) struct OctetsColumn {
    levels: Levels,
    pages: Pages,
    numbers_by_value: HashMap<Vec<u8>, u32>,
    /// The dictionary's page.
    dictionary: Vec<u8>,
    given_up: bool,
    /// Whether there are values in pages without dictionary.
    has_plain: bool,
    /// The open page: numbers in the dictionary, or the values where it is given up.
    numbers: Vec<u32>,
    plain: Vec<u8>,
}

fn put_plain(value: &[u8], out: &mut Vec<u8>) {
    // Arrow's offsets are 32-bit, so a value is below 2 GiB.
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(value);
}

impl OctetsColumn {
    pub(super) fn new(kind: &DataType, nullable: bool) -> Option<Self> {
        let dictionary = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
        let levels = match kind {
            DataType::Utf8 | DataType::Binary => Levels::new(nullable),
            kind if *kind == dictionary => Levels::new(nullable),
            DataType::List(item) if *item.data_type() == dictionary => {
                (!nullable && !item.is_nullable()).then(Levels::of_lists)?
            }
            _ => return None,
        };
        Some(Self {
            levels,
            pages: Pages::default(),
            numbers_by_value: HashMap::new(),
            dictionary: Vec::new(),
            given_up: false,
            has_plain: false,
            numbers: Vec::new(),
            plain: Vec::new(),
        })
    }

    pub(super) fn append(&mut self, array: &ArrayRef) {
        if let Some(lists) = array.as_list_opt::<i32>() {
            self.levels.append_lists(lists.offsets().lengths());
            let offsets = lists.value_offsets();
            let ends = offsets.first().copied().zip(offsets.last().copied());
            // Arrow's offsets ascend from 0 on.
            let (start, end) = ends.map_or((0, 0), |(s, e)| (s as usize, e as usize));
            return self.append_values(&lists.values().slice(start, end - start));
        }
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        self.levels.append(array.len(), nulls);
        self.append_values(array);
    }

    fn append_values(&mut self, array: &ArrayRef) {
        match array.data_type() {
            DataType::Utf8 => {
                let values: &StringArray = array.as_string();
                for value in values.iter().flatten() {
                    self.push(value.as_bytes());
                }
            }
            DataType::Binary => {
                let values: &BinaryArray = array.as_binary();
                for value in values.iter().flatten() {
                    self.push(value);
                }
            }
            _ => {
                let keyed = array.as_dictionary::<Int32Type>();
                let values: &StringArray = keyed.values().as_string();
                if self.given_up {
                    for key in keyed.keys_iter().flatten() {
                        self.push(values.value(key).as_bytes());
                    }
                    return;
                }
                let numbers: Vec<u32> = values
                    .iter()
                    .map(|value| self.number(value.unwrap_or_default().as_bytes()))
                    .collect();
                let keys = keyed.keys_iter().flatten();
                self.numbers.extend(keys.map(|key| numbers[key]));
            }
        }
    }

    pub(super) fn append_absent(&mut self, rows: usize) {
        self.levels.append_absent(rows);
    }

    fn push(&mut self, value: &[u8]) {
        if self.given_up {
            self.has_plain = true;
            put_plain(value, &mut self.plain);
        } else {
            let number = self.number(value);
            self.numbers.push(number);
        }
    }

    fn number(&mut self, value: &[u8]) -> u32 {
        if let Some(&number) = self.numbers_by_value.get(value) {
            return number;
        }
        // A page has far fewer rows than 2^32, and after it the dictionary may be given up.
        let number = self.numbers_by_value.len() as u32;
        self.numbers_by_value.insert(value.to_vec(), number);
        put_plain(value, &mut self.dictionary);
        number
    }

    pub(super) fn end_page(&mut self) {
        let given_up = self.given_up;
        self.pages.push(&mut self.levels, |out| {
            if given_up {
                out.append(&mut self.plain);
                Encoding::PLAIN
            } else if self.numbers.is_empty() {
                Encoding::PLAIN
            } else {
                put_numbers(out, &self.numbers);
                Encoding::RLE_DICTIONARY
            }
        });
        self.numbers.clear();
        self.given_up = self.dictionary.len() > DICTIONARY_BYTES;
    }

    pub(super) fn end_chunk(&mut self, column: &ColumnDescPtr, codec: &mut Codec) -> Result<Chunk> {
        self.end_page();
        // Values that are in no dictionary are not compared.
        let octets = |value: Option<&Vec<u8>>| value.map(|value| ByteArray::from(value.clone()));
        let values = self.numbers_by_value.keys();
        let statistics = (!self.has_plain).then(|| {
            Statistics::byte_array(
                octets(values.clone().min()),
                octets(values.max()),
                None,
                Some(self.pages.nulls()),
                false,
            )
        });
        let has_dictionary = self.pages.has(Encoding::RLE_DICTIONARY);
        let dictionary = has_dictionary.then(|| Dictionary {
            bytes: std::mem::take(&mut self.dictionary).into(),
            values: self.numbers_by_value.len(),
        });
        let chunk = self.pages.assemble(column, codec, dictionary, statistics)?;
        self.numbers_by_value.clear();
        self.dictionary.clear();
        self.given_up = false;
        self.has_plain = false;
        Ok(chunk)
    }
}
