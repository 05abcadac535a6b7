//! Pages, and the column chunk that they make.
//!
//! ```text
//! data page:  length of levels, levels (if the column can be null) | values
//! chunk:      dictionary page (if any) | data page …
//! ```

use std::io;

use arrow_buffer::{BooleanBufferBuilder, NullBuffer};
use bytes::Bytes;
use parquet::basic::{Compression as ParquetCompression, Encoding};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::bits::{put_packed, put_run, put_varint, width};
use super::codec::Codec;

/// A chunk is compressed if that takes off at least one byte in so many.
const WORTH: usize = 10;
/// Less is not worth a try.
const TRY_BYTES: usize = 512;
/// About what a page's header takes.
const HEADER_BYTES: usize = 40;

/// Which rows of the open page have a value; of a column of lists, which of its entries have one, and
/// which begin a row. (A list without values is an entry without one.)
pub(super) struct Levels {
    nullable: bool,
    entries: usize,
    present: usize,
    bits: BooleanBufferBuilder,
    /// Of a column of lists.
    lists: Option<Lists>,
}

/// Which entries go on with the row of the one before.
struct Lists {
    rows: usize,
    goes_on: BooleanBufferBuilder,
}

impl Levels {
    pub(super) fn new(nullable: bool) -> Self {
        Self {
            nullable,
            entries: 0,
            present: 0,
            bits: BooleanBufferBuilder::new(0),
            lists: None,
        }
    }

    /// Those of a column of lists, none of which is null, nor is a value in them.
    pub(super) fn of_lists() -> Self {
        Self {
            lists: Some(Lists {
                rows: 0,
                goes_on: BooleanBufferBuilder::new(0),
            }),
            ..Self::new(true)
        }
    }

    /// Appends lists of these lengths.
    pub(super) fn append_lists(&mut self, lengths: impl Iterator<Item = usize>) {
        let Some(lists) = &mut self.lists else {
            return;
        };
        for length in lengths {
            lists.rows += 1;
            lists.goes_on.append(false);
            lists.goes_on.append_n(length.saturating_sub(1), true);
            self.bits.append_n(length.max(1), length > 0);
            self.entries += length.max(1);
            self.present += length;
        }
    }

    pub(super) fn append(&mut self, rows: usize, nulls: Option<&NullBuffer>) {
        self.entries += rows;
        match nulls {
            None => {
                self.present += rows;
                self.bits.append_n(rows, true);
            }
            Some(nulls) => {
                self.present += rows - nulls.null_count();
                self.bits.append_buffer(nulls.inner());
            }
        }
    }

    pub(super) fn append_absent(&mut self, rows: usize) {
        self.entries += rows;
        self.bits.append_n(rows, false);
        if let Some(lists) = &mut self.lists {
            lists.rows += rows;
            lists.goes_on.append_n(rows, false);
        }
    }

    fn rows(&self) -> usize {
        self.lists.as_ref().map_or(self.entries, |lists| lists.rows)
    }

    fn nulls(&self) -> usize {
        self.entries - self.present
    }

    /// Appends the levels of the page's rows and begins a new page.
    fn put(&mut self, out: &mut Vec<u8>) {
        if let Some(lists) = &mut self.lists {
            put_bits(out, &lists.goes_on, self.entries, self.entries - lists.rows);
            lists.goes_on.truncate(0);
            lists.rows = 0;
        }
        if self.nullable {
            put_bits(out, &self.bits, self.entries, self.present);
        }
        self.entries = 0;
        self.present = 0;
        self.bits.truncate(0);
    }
}

/// Appends levels of 0 and 1, of which so many are 1, behind their length.
fn put_bits(out: &mut Vec<u8>, bits: &BooleanBufferBuilder, count: usize, ones: usize) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    if ones == count || ones == 0 {
        put_run(out, count, u32::from(ones > 0), 1);
    } else {
        // Arrow's bitmap is what Parquet bit-packs with a width of 1.
        put_varint(out, (count.div_ceil(8) as u64) << 1 | 1);
        out.extend_from_slice(bits.as_slice());
    }
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Appends dictionary numbers: as runs where that is shorter, else bit-packed.
pub(super) fn put_numbers(out: &mut Vec<u8>, numbers: &[u32]) {
    let width = width(numbers.iter().copied().max().unwrap_or(0).into()).max(1);
    out.push(width as u8);
    let next = numbers.get(1..).unwrap_or_default();
    let changes: usize = numbers
        .iter()
        .zip(next)
        .map(|(a, b)| usize::from(a != b))
        .sum();
    let run_bytes = 2 + width.div_ceil(8);
    if (1 + changes) * run_bytes < numbers.len() * width / 8 {
        each_run(numbers, |number, count| put_run(out, count, number, width));
    } else {
        put_packed(out, numbers, width);
    }
}

/// Calls `found` with each run of equal values and its length.
pub(super) fn each_run<T: Copy + PartialEq>(values: &[T], mut found: impl FnMut(T, usize)) {
    const STRIDE: usize = 8;
    let mut rest = values;
    while let Some(&value) = rest.first() {
        let mut count = 1;
        // Eight at a time are compared at once.
        while let Some(stride) = rest
            .get(count..)
            .and_then(|rest| rest.first_chunk::<STRIDE>())
            && stride.iter().filter(|&&next| next != value).count() == 0
        {
            count += STRIDE;
        }
        count += rest[count..]
            .iter()
            .take_while(|&&next| next == value)
            .count();
        found(value, count);
        rest = &rest[count..];
    }
}

/// A dictionary, as its page has it.
pub(super) struct Dictionary {
    pub(super) bytes: Bytes,
    pub(super) values: usize,
}

struct DataPage {
    end: usize,
    rows: usize,
    /// As many as rows, but in a column of lists.
    entries: usize,
    encoding: Encoding,
}

/// The data pages of a column in the open row group.
#[derive(Default)]
pub(super) struct Pages {
    bytes: Vec<u8>,
    pages: Vec<DataPage>,
    nulls: u64,
}

impl Pages {
    /// Appends a page with `levels` and the values that `put` writes.
    pub(super) fn push(&mut self, levels: &mut Levels, put: impl FnOnce(&mut Vec<u8>) -> Encoding) {
        let (rows, entries) = (levels.rows(), levels.entries);
        if rows == 0 {
            return;
        }
        self.nulls += levels.nulls() as u64;
        levels.put(&mut self.bytes);
        let encoding = put(&mut self.bytes);
        self.pages.push(DataPage {
            end: self.bytes.len(),
            rows,
            entries,
            encoding,
        });
    }

    /// The rows without a value.
    pub(super) fn nulls(&self) -> u64 {
        self.nulls
    }

    /// The rows of all pages.
    fn rows(&self) -> usize {
        self.pages.iter().map(|page| page.rows).sum()
    }

    /// Whether a page has that encoding.
    pub(super) fn has(&self, encoding: Encoding) -> bool {
        self.pages.iter().any(|page| page.encoding == encoding)
    }

    /// The chunk's bytes and metadata, with offsets from its start. The pages
    /// are gone then.
    pub(super) fn assemble(
        &mut self,
        column: &ColumnDescPtr,
        codec: &mut Codec,
        dictionary: Option<Dictionary>,
        statistics: Option<Statistics>,
    ) -> Result<Chunk> {
        let rows = self.rows() as u64;
        let pages = Bytes::from(std::mem::take(&mut self.bytes));
        let none = &mut Codec::None;
        let (codec, tried) = match self.try_codec(codec, dictionary.as_ref(), &pages)? {
            Some(tried) => (codec, tried),
            None => (none, Vec::new()),
        };
        let mut tried = tried.into_iter();
        let dictionary_bytes = dictionary.as_ref().map_or(0, |d| d.bytes.len());
        let header_bytes = HEADER_BYTES * (1 + self.pages.len());
        let capacity = pages.len() + dictionary_bytes + header_bytes;
        let mut sink = TrackedWrite::new(Vec::with_capacity(capacity));
        let mut writer = SerializedPageWriter::new(&mut sink);
        let mut uncompressed = 0;
        let mut encodings = vec![Encoding::RLE];
        let mut write = |bytes: &Bytes, make: &dyn Fn(Bytes) -> Page| -> Result<u64> {
            let compressed = match tried.next() {
                Some(compressed) => compressed,
                None => codec.compress(bytes)?,
            };
            let page = CompressedPage::new(make(compressed), bytes.len());
            let spec = writer.write_page(page)?;
            uncompressed += spec.uncompressed_size;
            Ok(spec.offset)
        };
        let dictionary_offset = match dictionary {
            None => None,
            Some(Dictionary { bytes, values }) => {
                encodings.push(Encoding::PLAIN);
                Some(write(&bytes, &|buf| Page::DictionaryPage {
                    buf,
                    num_values: values as u32,
                    encoding: Encoding::PLAIN,
                    is_sorted: false,
                })?)
            }
        };
        let mut data_offset = None;
        let mut start = 0;
        for page in &self.pages {
            let offset = write(&pages.slice(start..page.end), &|buf| Page::DataPage {
                buf,
                num_values: page.entries as u32,
                encoding: page.encoding,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            })?;
            data_offset = data_offset.or(Some(offset));
            encodings.push(page.encoding);
            start = page.end;
        }
        let compression = codec.parquet();
        let entries: usize = self.pages.iter().map(|page| page.entries).sum();
        self.pages.clear();
        self.nulls = 0;

        let bytes = sink.into_inner()?;
        let mut metadata = ColumnChunkMetaData::builder(column.clone())
            .set_encodings(encodings)
            .set_compression(compression)
            .set_num_values(entries as i64)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_dictionary_page_offset(dictionary_offset.map(|offset| offset as i64))
            .set_data_page_offset(data_offset.unwrap_or(0) as i64);
        if let Some(statistics) = statistics {
            metadata = metadata.set_statistics(statistics);
        }
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        Ok(Chunk {
            bytes: bytes.into(),
            close,
        })
    }

    /// The dictionary and the first page, compressed; `None` if that takes off
    /// too little: bit-packed numbers are often as small as they can be.
    fn try_codec(
        &self,
        codec: &mut Codec,
        dictionary: Option<&Dictionary>,
        pages: &Bytes,
    ) -> Result<Option<Vec<Bytes>>> {
        let dictionary = dictionary.map(|dictionary| dictionary.bytes.clone());
        let first = self.pages.first().map(|page| pages.slice(..page.end));
        let samples: Vec<Bytes> = dictionary.into_iter().chain(first).collect();
        let length = |pages: &[Bytes]| pages.iter().map(Bytes::len).sum::<usize>();
        let before = length(&samples);
        if codec.parquet() == ParquetCompression::UNCOMPRESSED || before < TRY_BYTES {
            return Ok(None);
        }
        let tried = samples
            .iter()
            .map(|sample| codec.compress(sample))
            .collect::<io::Result<Vec<_>>>()?;
        Ok((length(&tried) + before / WORTH < before).then_some(tried))
    }
}

/// A column chunk, to be put into the file as it is.
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    pub(super) close: ColumnCloseResult,
}
