//! The answer: groups in order, as columns to be read.

use std::collections::VecDeque;
use std::fmt::Write;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::thread;

use arrow_array::builder::StringBuilder;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, PrimitiveArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use forebay_store::{ColumnType, Family};

use super::key::{Key, PORT_CLASSES, Prefix, Source};
use super::layout::Layout;
use super::order::{Order, Row};
use super::pack::{float_of, ordered};
use super::runs::{MergeBy, Merger, Ranges};
use super::value::Value;
use crate::error::AnalyzeError;
use crate::rows::Spill;

/// The rows of a batch of the answer, about.
const BATCH_ROWS: usize = 8192;
/// So many batches are made ahead.
const RANGES_PER_THREAD: usize = 2;

/// What was read and found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// The rows that were read.
    pub rows_read: u64,
    /// Of those, the ones that the filter chose.
    pub rows_chosen: u64,
    /// The parts of files that there were: row groups, runs of batches.
    pub parts: u64,
    /// Of those, the ones that cannot have a flow that the filter chooses, by the files' statistics; they were not read.
    pub parts_left_out: u64,
    /// The groups in the answer.
    pub groups: u64,
    /// The bytes that went to temporary files.
    pub spilled_bytes: u64,
    /// The most memory that rows took.
    pub peak_bytes: usize,
}

/// The groups, batch by batch, in order.
pub struct Answer {
    pub(super) shape: Shape,
    pub(super) order: Order,
    pub(super) layouts: Vec<Layout>,
    pub(super) spill: Spill,
    pub(super) rows: Rows,
    /// The rows that are still to come.
    pub(super) left: usize,
    pub(super) threads: usize,
    pub(super) counts: Counts,
    pub(super) ready: VecDeque<RecordBatch>,
}

/// Where the rows of the answer come from.
pub(super) enum Rows {
    /// From memory; and the range that comes next.
    Ranges(Ranges, usize),
    /// From runs, of which some were put aside.
    Merged(Merger),
}

/// The columns of the answer.
pub(super) struct Shape {
    pub(super) keys: Vec<Key>,
    pub(super) values: Vec<Value>,
    /// Texts, in order.
    pub(super) texts: Vec<Arc<[u8]>>,
    pub(super) schema: SchemaRef,
}

impl Answer {
    /// The columns: the keys as they were asked for, then the values.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shape.schema)
    }

    /// What was read and found.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn refill(&mut self) -> Result<(), AnalyzeError> {
        let by = MergeBy {
            layouts: &self.layouts,
            order: &self.order,
            spill: &self.spill,
        };
        let shape = &self.shape;
        let batches = match &mut self.rows {
            Rows::Ranges(ranges, next) => {
                let end = ranges.len().min(*next + RANGES_PER_THREAD * self.threads);
                let ahead: Vec<usize> = (*next..end).collect();
                *next = end;
                let ranges = &*ranges;
                each_aside(self.threads, &ahead, |range| {
                    shape.batches(&ranges.rows(*range, &by))
                })
            }
            Rows::Merged(merger) => {
                let mut gathered = Vec::new();
                for _ in 0..self.threads {
                    let rows = merger.take(BATCH_ROWS, &by)?;
                    gathered.extend((rows.len() > 0).then_some(rows));
                }
                let layouts = &self.layouts;
                each_aside(self.threads, &gathered, |rows| {
                    shape.batches(&rows.rows(layouts))
                })
            }
        };
        for batches in batches {
            for batch in batches? {
                let count = batch.num_rows().min(self.left);
                self.left -= count;
                if count > 0 {
                    self.ready.push_back(batch.slice(0, count));
                }
            }
        }
        Ok(())
    }
}

/// What `make` makes of each of `items`, in order, on so many threads.
fn each_aside<I: Sync, T: Send>(
    threads: usize,
    items: &[I],
    make: impl Fn(&I) -> T + Sync,
) -> Vec<T> {
    let share = items.len().div_ceil(threads.max(1)).max(1);
    let make = &make;
    thread::scope(|scope| {
        let all = |items: &[I]| items.iter().map(make).collect::<Vec<T>>();
        let mut shares = items.chunks(share);
        let own = shares.next();
        let threads: Vec<_> = shares
            .map(|items| scope.spawn(move || all(items)))
            .collect();
        let mut made = own.map_or_else(Vec::new, all);
        for thread in threads {
            match thread.join() {
                Ok(others) => made.extend(others),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        made
    })
}

impl Iterator for Answer {
    type Item = Result<RecordBatch, AnalyzeError>;

    fn next(&mut self) -> Option<Self::Item> {
        // A range is never empty.
        if self.ready.is_empty()
            && self.left > 0
            && let Err(error) = self.refill()
        {
            self.left = 0;
            return Some(Err(error));
        }
        self.ready.pop_front().map(Ok)
    }
}

impl Shape {
    pub(super) fn new(keys: Vec<Key>, values: Vec<Value>, texts: Vec<Arc<[u8]>>) -> Self {
        let of_keys = keys.iter().map(|key| {
            let is_nullable = key.source != Source::Family;
            Field::new(key.name(), arrow_type(key), is_nullable)
        });
        let of_values = values.iter().map(|value| {
            let is_nullable = !(*value == Value::Flows || value.is_distinct());
            Field::new(value.name(), value.arrow(), is_nullable)
        });
        let fields: Vec<Field> = of_keys.chain(of_values).collect();
        Self {
            schema: Arc::new(Schema::new(fields)),
            keys,
            values,
            texts,
        }
    }

    fn batches(&self, rows: &[Row<'_>]) -> Result<Vec<RecordBatch>, AnalyzeError> {
        rows.chunks(2 * BATCH_ROWS)
            .map(|rows| self.batch(rows))
            .collect()
    }

    fn batch(&self, rows: &[Row<'_>]) -> Result<RecordBatch, AnalyzeError> {
        let keys = (0..self.keys.len()).map(|place| self.key(place, rows));
        let values = self.values.iter().map(|value| value_column(*value, rows));
        let columns = keys.chain(values).collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn key(&self, place: usize, rows: &[Row<'_>]) -> ArrayRef {
        let key = &self.keys[place];
        let number = |row: &Row<'_>| row.number(place);
        let of_rows = || rows.iter().map(number);
        match &key.source {
            Source::Column(kind) => match kind {
                ColumnType::U8 => column::<UInt8Type>(of_rows(), |n| n as u8),
                ColumnType::U16 => column::<UInt16Type>(of_rows(), |n| n as u16),
                ColumnType::U32 if !is_address(key) => {
                    column::<UInt32Type>(of_rows(), |n| n as u32)
                }
                ColumnType::U64 => column::<UInt64Type>(of_rows(), |n| n),
                ColumnType::I64 => column::<Int64Type>(of_rows(), signed),
                ColumnType::F64 => column::<Float64Type>(of_rows(), float_of),
                ColumnType::Timestamp => times(of_rows()),
                _ => self.text(place, rows),
            },
            Source::Bucket(_) => times(of_rows()),
            Source::Date => column::<Date32Type>(of_rows(), |n| signed(n) as i32),
            Source::Address(..) | Source::PortClass(_) | Source::Family => self.text(place, rows),
        }
    }

    fn text(&self, place: usize, rows: &[Row<'_>]) -> ArrayRef {
        let mut texts = StringBuilder::with_capacity(rows.len(), 16 * rows.len());
        for row in rows {
            match row.key(place) {
                None => texts.append_null(),
                Some(bits) => {
                    // Writing to memory does not fail.
                    let _written = self.write(place, bits, &mut texts);
                    texts.append_value("");
                }
            }
        }
        Arc::new(texts.finish())
    }

    /// Writes a value of a key as text.
    fn write(
        &self,
        place: usize,
        (is_wide, bits): (bool, u128),
        to: &mut impl Write,
    ) -> std::fmt::Result {
        let key = &self.keys[place];
        let number = bits as u64;
        match &key.source {
            Source::Address(_, prefix) => write_address(is_wide, bits, *prefix, to),
            Source::PortClass(_) => to.write_str(name_of(&PORT_CLASSES, number)),
            Source::Family => to.write_str(name_of(&Family::ALL.map(Family::name), number)),
            Source::Bucket(_) | Source::Date => write!(to, "{}", signed(number)),
            Source::Column(kind) => match kind {
                ColumnType::U32 if is_address(key) => write_ipv4(bits as u32, to),
                ColumnType::Ipv6 => write!(to, "{}", Ipv6Addr::from_bits(bits)),
                ColumnType::Mac => {
                    let [_, _, a, b, c, d, e, f] = number.to_be_bytes();
                    write!(to, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
                }
                ColumnType::Text | ColumnType::Exporter => {
                    let octets = self.octets(number);
                    to.write_str(&String::from_utf8_lossy(octets))
                }
                ColumnType::Octets => {
                    let octets = self.octets(number);
                    octets
                        .iter()
                        .try_for_each(|octet| write!(to, "{octet:02x}"))
                }
                ColumnType::F64 => write!(to, "{}", float_of(number)),
                ColumnType::I64 | ColumnType::Timestamp => write!(to, "{}", signed(number)),
                ColumnType::U8 | ColumnType::U16 | ColumnType::U32 | ColumnType::U64 => {
                    write!(to, "{number}")
                }
            },
        }
    }

    fn octets(&self, number: u64) -> &[u8] {
        let octets = usize::try_from(number).ok().and_then(|n| self.texts.get(n));
        octets.map_or(&[], |octets| octets)
    }

    /// A row's key in words, for errors.
    pub(super) fn describe(&self, row: Row<'_>) -> String {
        let mut text = String::new();
        for (place, key) in self.keys.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            let _written = write!(text, "{comma}{} ", key.name());
            let _written = match row.key(place) {
                None => text.write_str("null"),
                Some(bits) => self.write(place, bits, &mut text),
            };
        }
        if self.keys.is_empty() {
            text.push_str("all flows");
        }
        text
    }
}

fn name_of(names: &[&'static str], number: u64) -> &'static str {
    let name = usize::try_from(number).ok().and_then(|n| names.get(n));
    name.copied().unwrap_or_default()
}

fn signed(number: u64) -> i64 {
    ordered(number as i64) as i64
}

/// Whether a column of numbers is one of addresses.
fn is_address(key: &Key) -> bool {
    key.name().ends_with("_ipv4")
}

fn arrow_type(key: &Key) -> DataType {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    match &key.source {
        Source::Bucket(_) => time,
        Source::Date => DataType::Date32,
        Source::Address(..) | Source::PortClass(_) | Source::Family => DataType::Utf8,
        Source::Column(kind) => match kind {
            ColumnType::U32 if is_address(key) => DataType::Utf8,
            ColumnType::Mac
            | ColumnType::Ipv6
            | ColumnType::Text
            | ColumnType::Octets
            | ColumnType::Exporter => DataType::Utf8,
            kind => kind.arrow(),
        },
    }
}

fn column<T: ArrowPrimitiveType>(
    numbers: impl Iterator<Item = Option<u64>>,
    value: impl Fn(u64) -> T::Native,
) -> ArrayRef {
    let values = numbers.map(|number| number.map(&value));
    Arc::new(values.collect::<PrimitiveArray<T>>())
}

fn times(numbers: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    let values = numbers.map(|number| number.map(signed));
    let times: PrimitiveArray<TimestampMicrosecondType> = values.collect();
    Arc::new(times.with_timezone("UTC"))
}

fn value_column(value: Value, rows: &[Row<'_>]) -> ArrayRef {
    let of_rows = rows.iter().map(|row| row.value(value));
    match value {
        Value::First | Value::Last => times(of_rows),
        Value::Duration => column::<Float64Type>(of_rows, |n| signed(n) as f64 / 1e6),
        Value::TcpFlags => column::<UInt16Type>(of_rows, |n| n as u16),
        Value::IcmpType | Value::IcmpCode => column::<UInt8Type>(of_rows, |n| n as u8),
        _ => column::<UInt64Type>(of_rows, |n| n),
    }
}

fn write_address(
    is_wide: bool,
    bits: u128,
    prefix: Option<Prefix>,
    to: &mut impl Write,
) -> std::fmt::Result {
    match is_wide {
        false => write_ipv4(bits as u32, to)?,
        true => write!(to, "{}", Ipv6Addr::from_bits(bits))?,
    }
    match (prefix, is_wide) {
        (None, _) => Ok(()),
        (Some(prefix), false) => write!(to, "/{}", prefix.ipv4),
        (Some(prefix), true) => write!(to, "/{}", prefix.ipv6),
    }
}

/// As [`Ipv4Addr`](std::net::Ipv4Addr) writes it, several times as fast: there are two in most rows.
fn write_ipv4(address: u32, to: &mut impl Write) -> std::fmt::Result {
    let mut text = [0; 15];
    let mut length = 0;
    let mut push = |digit: u8| {
        text[length] = digit;
        length += 1;
    };
    for (place, octet) in address.to_be_bytes().into_iter().enumerate() {
        if place > 0 {
            push(b'.');
        }
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    to.write_str(str::from_utf8(&text[..length]).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_does() {
        for address in [
            0,
            u32::MAX,
            0x0a00_0001,
            0xc0a8_6401,
            0x0909_6363,
            0x0163_0a64,
        ] {
            let mut text = String::new();
            write_ipv4(address, &mut text).expect("writes");
            assert_eq!(text, Ipv4Addr::from_bits(address).to_string());
        }
        let prefix = Some(Prefix { ipv4: 8, ipv6: 64 });
        let text = |is_wide, bits| {
            let mut text = String::new();
            write_address(is_wide, bits, prefix, &mut text).expect("writes");
            text
        };
        assert_eq!(text(false, 0x0a00_0000), "10.0.0.0/8");
        assert_eq!(text(true, 0x2001_0db8 << 96), "2001:db8::/64");
    }
}
