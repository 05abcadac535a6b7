//! The collector's batches as rows of named cells.

use std::collections::BTreeMap;
use std::fmt;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use forebay_collector::{Decoder, Output};
use forebay_store::{Family, FlowSchema};

/// A value of a column that is not null.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// An unsigned integer of any width, or an IPv4 address.
    Number(u64),
    /// A signed integer.
    Signed(i64),
    /// A float.
    Float(f64),
    /// Microseconds since 1970.
    Time(i64),
    /// Octets of any length: MAC and IPv6 addresses too.
    Octets(Vec<u8>),
    /// A text.
    Text(String),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => write!(f, "{value}"),
            Self::Signed(value) | Self::Time(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Octets(octets) => {
                f.write_str("hex:")?;
                octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// The columns of a row that are not null.
pub(crate) type Row = BTreeMap<String, Cell>;

/// Takes what the decoder has ready: the rows of each family in order.
pub(crate) fn take(decoder: &mut Decoder, schema: &FlowSchema) -> BTreeMap<Family, Vec<Row>> {
    decoder.flush();
    let mut rows = BTreeMap::<_, Vec<_>>::new();
    while let Some(output) = decoder.next_output() {
        let Output::Batch(ready) = output else {
            continue;
        };
        let present = ready.batch.present();
        let batch = ready
            .batch
            .into_record_batch(schema, present)
            .expect("the parts agree");
        rows.entry(ready.family)
            .or_default()
            .extend(of_batch(&batch));
    }
    rows
}

fn of_batch(batch: &RecordBatch) -> Vec<Row> {
    let mut rows = vec![Row::new(); batch.num_rows()];
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let cell = reader(array);
        for (place, row) in rows.iter_mut().enumerate() {
            if array.is_valid(place) {
                row.insert(field.name().clone(), cell(place));
            }
        }
    }
    rows
}

fn reader<'a>(array: &'a dyn Array) -> Box<dyn Fn(usize) -> Cell + 'a> {
    macro_rules! numbers {
        ($type:ty, $cell:ident) => {{
            let array = array.as_primitive::<$type>();
            Box::new(move |row| Cell::$cell(array.value(row).into()))
        }};
    }
    match array.data_type() {
        DataType::UInt8 => numbers!(UInt8Type, Number),
        DataType::UInt16 => numbers!(UInt16Type, Number),
        DataType::UInt32 => numbers!(UInt32Type, Number),
        DataType::UInt64 => numbers!(UInt64Type, Number),
        DataType::Int64 => numbers!(Int64Type, Signed),
        DataType::Float64 => numbers!(Float64Type, Float),
        DataType::Timestamp(..) => numbers!(TimestampMicrosecondType, Time),
        DataType::FixedSizeBinary(_) => {
            let array = array.as_fixed_size_binary();
            Box::new(move |row| Cell::Octets(array.value(row).to_vec()))
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            Box::new(move |row| Cell::Octets(array.value(row).to_vec()))
        }
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            Box::new(move |row| Cell::Text(array.value(row).to_owned()))
        }
        DataType::Dictionary(..) => {
            let keys = array.as_dictionary::<Int32Type>();
            let names = keys.values().as_string::<i32>();
            Box::new(move |row| Cell::Text(names.value(keys.keys().value(row) as usize).to_owned()))
        }
        other => panic!("no column has the type {other}"),
    }
}
