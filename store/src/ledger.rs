//! The ledger's files: what arrived, what was lost, per exporter and interval.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::builder::{
    Int64Builder, ListBuilder, StringBuilder, StructBuilder, TimestampMicrosecondBuilder,
    UInt8Builder, UInt32Builder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::civil::FileTime;
use crate::dataset::Dataset;
use crate::error::StoreError;
use crate::files;

/// What is counted by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Datagrams that are no message, and so rejected.
    Datagram,
    /// Messages with something wrong that did not keep their good sets from
    /// being decoded.
    Message,
    /// Sets, or rests of sets, that were not decoded.
    Set,
    /// Template records that were refused.
    Template,
    /// Data records that were not stored.
    Record,
    /// Values that did not fit their column and are null.
    Value,
    /// Something that a limit put out of a table.
    Limit,
}

impl Scope {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Datagram => "datagram",
            Self::Message => "message",
            Self::Set => "set",
            Self::Template => "template",
            Self::Record => "record",
            Self::Value => "value",
            Self::Limit => "limit",
        }
    }
}

/// How many were not stored, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasonCount {
    /// Of what.
    pub scope: Scope,
    /// The reason's stable name.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// What one exporter's observation domain did in an interval, for one version.
///
/// `datagrams = datagrams_decoded + Σ reasons of scope datagram`, and
/// `records = records_stored + Σ reasons of scope record`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerRow {
    /// The interval's start, microseconds since the Unix epoch.
    pub interval_start_us: i64,
    /// The interval's end, exclusive.
    pub interval_end_us: i64,
    /// The exporter's address; `None` for what no exporter can be charged with
    /// (datagrams that the kernel dropped).
    pub exporter: Option<String>,
    /// The observation domain; `None` for datagrams whose header was not read.
    pub observation_domain: Option<u32>,
    /// 5, 9 or 10; `None` as above.
    pub export_version: Option<u8>,
    /// Datagrams received.
    pub datagrams: u64,
    /// Their octets, without headers of IP and UDP.
    pub octets: u64,
    /// Datagrams whose message was decoded.
    pub datagrams_decoded: u64,
    /// Data records in them, without those of options templates.
    pub records: u64,
    /// Data records that became flows. Negative where more could not be written
    /// than came: those of an interval before.
    pub records_stored: i64,
    /// Data records of options templates.
    pub options_records: u64,
    /// Templates and options templates defined.
    pub template_records: u64,
    /// What never arrived, by sequence numbers: flows (v5), messages (v9) or
    /// data records (IPFIX). Negative where messages that had been counted as
    /// lost before the interval arrived late in it.
    pub sequence_lost: i64,
    /// Messages that arrived late.
    pub sequence_reordered: u64,
    /// Datagrams that the kernel dropped because the socket was full.
    pub kernel_drops: u64,
    /// Data sets that waited for a template until their bound or time was up.
    pub pending_sets_lost: u64,
    /// What was not stored, by reason.
    pub reasons: Vec<ReasonCount>,
}

fn reason_fields() -> Fields {
    Fields::from(vec![
        Field::new("scope", DataType::Utf8, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("count", DataType::UInt64, false),
    ])
}

fn ledger_schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let reason = Field::new_list_field(DataType::Struct(reason_fields()), false);
    let count = |name: &str| Field::new(name, DataType::UInt64, false);
    Arc::new(Schema::new(vec![
        Field::new("interval_start", time.clone(), false),
        Field::new("interval_end", time, false),
        Field::new("exporter", DataType::Utf8, true),
        Field::new("observation_domain", DataType::UInt32, true),
        Field::new("export_version", DataType::UInt8, true),
        count("datagrams"),
        count("octets"),
        count("datagrams_decoded"),
        count("records"),
        Field::new("records_stored", DataType::Int64, false),
        count("options_records"),
        count("template_records"),
        Field::new("sequence_lost", DataType::Int64, false),
        count("sequence_reordered"),
        count("kernel_drops"),
        count("pending_sets_lost"),
        Field::new("reasons", DataType::List(Arc::new(reason)), false),
    ]))
}

/// Writes the rows to a file of their own: its path.
///
/// # Errors
/// The file cannot be written; nothing of it is left.
pub fn write_ledger(
    dataset: &Dataset,
    start_us: i64,
    rows: &[LedgerRow],
) -> Result<PathBuf, StoreError> {
    let mut start = FileTime::new(start_us);
    let path = loop {
        let path = dataset.ledger_path(start);
        let next = FileTime::new(start.us() + 1);
        if !path.exists() || next == start {
            break path;
        }
        start = next;
    };
    write_at(path, rows)
}

/// Writes a ledger without rows, for readers that want the columns.
pub(crate) fn write_empty_ledger(path: PathBuf) -> Result<PathBuf, StoreError> {
    write_at(path, &[])
}

fn write_at(path: PathBuf, rows: &[LedgerRow]) -> Result<PathBuf, StoreError> {
    let batch = record_batch(rows).map_err(StoreError::arrow(&path))?;
    files::replace(&path, |file| write_batch(file, &path, &batch))?;
    Ok(path)
}

pub(crate) fn write_batch(
    file: File,
    path: &std::path::Path,
    batch: &RecordBatch,
) -> Result<File, StoreError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(files::created_by())
        .build();
    ArrowWriter::try_new(file, batch.schema(), Some(properties))
        .and_then(|mut writer| {
            writer.write(batch)?;
            writer.into_inner()
        })
        .map_err(StoreError::parquet(path))
}

fn record_batch(rows: &[LedgerRow]) -> Result<RecordBatch, ArrowError> {
    let time = |get: fn(&LedgerRow) -> i64| -> ArrayRef {
        let mut builder = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        rows.iter().for_each(|row| builder.append_value(get(row)));
        Arc::new(builder.finish())
    };
    let count = |get: fn(&LedgerRow) -> u64| -> ArrayRef {
        let mut builder = UInt64Builder::new();
        rows.iter().for_each(|row| builder.append_value(get(row)));
        Arc::new(builder.finish())
    };
    let difference = |get: fn(&LedgerRow) -> i64| -> ArrayRef {
        let mut builder = Int64Builder::new();
        rows.iter().for_each(|row| builder.append_value(get(row)));
        Arc::new(builder.finish())
    };
    let mut exporters = StringBuilder::new();
    let mut domains = UInt32Builder::new();
    let mut versions = UInt8Builder::new();
    let item = Field::new_list_field(DataType::Struct(reason_fields()), false);
    let mut reasons =
        ListBuilder::new(StructBuilder::from_fields(reason_fields(), 0)).with_field(item);
    for row in rows {
        exporters.append_option(row.exporter.as_deref());
        domains.append_option(row.observation_domain);
        versions.append_option(row.export_version);
        for reason in &row.reasons {
            append_reason(reasons.values(), reason);
        }
        reasons.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        time(|row| row.interval_start_us),
        time(|row| row.interval_end_us),
        Arc::new(exporters.finish()),
        Arc::new(domains.finish()),
        Arc::new(versions.finish()),
        count(|row| row.datagrams),
        count(|row| row.octets),
        count(|row| row.datagrams_decoded),
        count(|row| row.records),
        difference(|row| row.records_stored),
        count(|row| row.options_records),
        count(|row| row.template_records),
        difference(|row| row.sequence_lost),
        count(|row| row.sequence_reordered),
        count(|row| row.kernel_drops),
        count(|row| row.pending_sets_lost),
        Arc::new(reasons.finish()),
    ];
    RecordBatch::try_new(ledger_schema(), columns)
}

fn append_reason(builder: &mut StructBuilder, reason: &ReasonCount) {
    // The fields are those of `reason_fields`, in its order.
    if let Some(scope) = builder.field_builder::<StringBuilder>(0) {
        scope.append_value(reason.scope.name());
    }
    if let Some(name) = builder.field_builder::<StringBuilder>(1) {
        name.append_value(&reason.reason);
    }
    if let Some(count) = builder.field_builder::<UInt64Builder>(2) {
        count.append_value(reason.count);
    }
    builder.append(true);
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{UInt32Type, UInt64Type};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn reason(scope: Scope, reason: &str, count: u64) -> ReasonCount {
        ReasonCount {
            scope,
            reason: reason.to_owned(),
            count,
        }
    }

    #[test]
    fn rows_are_read_back() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let dataset = Dataset::open(dir.path()).expect("opens");
        let rows = [
            LedgerRow {
                exporter: Some("192.0.2.1".to_owned()),
                observation_domain: Some(7),
                export_version: Some(9),
                datagrams: 10,
                datagrams_decoded: 9,
                reasons: vec![
                    reason(Scope::Datagram, "too_short", 1),
                    reason(Scope::Record, "no_template", 5),
                ],
                ..LedgerRow::default()
            },
            LedgerRow {
                kernel_drops: 3,
                ..LedgerRow::default()
            },
        ];
        let path = write_ledger(&dataset, 1_795_279_200_000_000, &rows).expect("writes");
        assert!(path.ends_with("ledger/date=2026-11-21/20261121T164000.000000Z.parquet"));
        let second = write_ledger(&dataset, 1_795_279_200_000_000, &rows).expect("writes");
        assert!(second.ends_with("20261121T164000.000001Z.parquet"));

        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).expect("opens"));
        let mut batches = reader.expect("is Parquet").build().expect("builds");
        let batch = batches.next().expect("has rows").expect("reads");
        let column = |name| Arc::clone(batch.column_by_name(name).expect("is there"));
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(column("exporter").as_string::<i32>().value(0), "192.0.2.1");
        assert!(column("exporter").is_null(1));
        assert_eq!(
            column("observation_domain")
                .as_primitive::<UInt32Type>()
                .value(0),
            7
        );
        assert_eq!(
            column("kernel_drops").as_primitive::<UInt64Type>().values(),
            &[0, 3]
        );
        let reasons = column("reasons").as_list::<i32>().value(0);
        let reasons = reasons.as_struct();
        assert_eq!(reasons.column(0).as_string::<i32>().value(1), "record");
        assert_eq!(reasons.column(1).as_string::<i32>().value(0), "too_short");
        assert_eq!(
            reasons.column(2).as_primitive::<UInt64Type>().values(),
            &[1, 5]
        );
    }
}
