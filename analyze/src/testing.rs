//! Files of flows for tests.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_store::{
    ColumnData, Dataset, Family, FlowBatch, FlowSchema, SegmentWriter, SettleOptions, keep, settle,
};

/// 2026-11-21 16:40:00 UTC.
pub(crate) const START_US: i64 = 1_795_279_200_000_000;

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Of a column of unsigned numbers of any width.
    Number(u64),
    /// Of one of signed numbers or times.
    Signed(i64),
    /// Of one of floating-point numbers.
    Float(f64),
    /// Of one of texts, octets, addresses or exporters.
    Octets(Vec<u8>),
}

/// A flow: its values, by column. Those that every flow has and that are not given are filled in.
pub(crate) type Flow = HashMap<&'static str, Value>;

/// What becomes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Staged,
    Kept,
    Parquet,
}

/// Writes flows to a file of the dataset, in batches of `batch_rows`; the file.
pub(crate) fn write(
    dataset: &Dataset,
    schema: &Arc<FlowSchema>,
    family: Family,
    flows: &[Flow],
    batch_rows: usize,
    form: Form,
) -> PathBuf {
    let batches: Vec<FlowBatch> = (flows.chunks(batch_rows.max(1)))
        .map(|flows| batch(schema, flows))
        .collect();
    let set = batches
        .iter()
        .map(FlowBatch::present)
        .reduce(|a, b| a.union(b));
    let set = set.expect("at least one flow");
    let mut writer =
        SegmentWriter::create(dataset, 0, family, START_US, set, schema).expect("makes");
    for batch in batches {
        writer.append(batch).expect("appends");
    }
    let path = writer.close().expect("closes").expect("has rows").path;
    finish(dataset, &path, form)
}

fn finish(dataset: &Dataset, path: &Path, form: Form) -> PathBuf {
    let ended = match form {
        Form::Staged => return path.to_owned(),
        Form::Kept => keep(dataset, path),
        Form::Parquet => settle(dataset, path, &SettleOptions::default()),
    };
    ended.expect("settles").path.expect("has rows")
}

fn batch(schema: &FlowSchema, flows: &[Flow]) -> FlowBatch {
    let mut batch = FlowBatch::new(schema, flows.len());
    for flow in flows {
        let row = batch.rows();
        let mut flow = flow.clone();
        let now = Value::Signed(START_US + row as i64);
        flow.entry("received").or_insert(now);
        flow.entry("exporter")
            .or_insert(Value::Octets(b"192.0.2.1".to_vec()));
        for (name, number) in [
            ("exporter_port", 2055),
            ("observation_domain", 0),
            ("export_version", 10),
        ] {
            flow.entry(name).or_insert(Value::Number(number));
        }
        for (name, value) in flow {
            put(&mut batch, schema, row, name, value);
        }
        batch.advance(1);
    }
    batch
}

fn put(batch: &mut FlowBatch, schema: &FlowSchema, row: usize, name: &str, value: Value) {
    let id = schema.find(name).expect("a column");
    if let (ColumnData::Exporter(_), Value::Octets(octets)) = (batch.column(id), &value) {
        let name: Arc<str> = str::from_utf8(octets).expect("text").into();
        let key = batch.add_exporter(&name);
        let ColumnData::Exporter(column) = batch.column(id) else {
            unreachable!()
        };
        return column.fill(row, 1, key);
    }
    match (batch.column(id), value) {
        (ColumnData::U8(column), Value::Number(number)) => column.fill(row, 1, number as u8),
        (ColumnData::U16(column), Value::Number(number)) => column.fill(row, 1, number as u16),
        (ColumnData::U32(column), Value::Number(number)) => column.fill(row, 1, number as u32),
        (ColumnData::U64(column), Value::Number(number)) => column.fill(row, 1, number),
        (ColumnData::I64(column) | ColumnData::Timestamp(column), Value::Signed(number)) => {
            column.fill(row, 1, number);
        }
        (ColumnData::F64(column), Value::Float(number)) => column.fill(row, 1, number),
        (ColumnData::Mac(column), Value::Octets(octets)) => {
            column.fill(row, 1, octets.try_into().expect("6 octets"));
        }
        (ColumnData::Ipv6(column), Value::Octets(octets)) => {
            column.fill(row, 1, octets.try_into().expect("16 octets"));
        }
        (ColumnData::Text(column) | ColumnData::Octets(column), Value::Octets(octets)) => {
            column.push(row, &octets);
        }
        (_, value) => panic!("column {name} takes no {value:?}"),
    }
}
