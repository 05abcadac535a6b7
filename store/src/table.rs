//! Files of any table, such as a summary: what is not flows, but for the same readers.
//!
//! ```text
//! batches → some of them at once: each column by the thread that is free → the row group, in order
//! ```

use std::fs::File;
use std::io::BufWriter;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use arrow_array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use crate::error::StoreError;
use crate::files;

/// A row group waits in memory until it is whole.
const ROW_GROUP_ROWS: usize = 1 << 18;
/// So many rows are encoded at once, by all threads: a part of a row group.
const SHARED_ROWS: usize = 1 << 16;
/// Columns whose values hardly repeat.
const TIMES: [&str; 3] = ["received", "first", "last"];

/// What a table is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// Parquet, compressed by Zstandard.
    Parquet,
    /// An Arrow IPC file.
    Arrow,
}

/// Writes a table to a file, batch by batch.
pub struct TableWriter {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Parquet(Box<ParquetTable>),
    Arrow(Box<FileWriter<BufWriter<File>>>),
}

impl TableWriter {
    /// Begins a table of `schema`, whose columns have no columns in them, in `file`, which is empty and which errors call
    /// `path`. So many threads encode it; it is the same with any number.
    ///
    /// # Errors
    /// The file cannot be written, or the format has no form for the schema.
    pub fn new(
        file: File,
        path: &Path,
        format: TableFormat,
        schema: &SchemaRef,
        threads: usize,
    ) -> Result<Self, StoreError> {
        let kind = match format {
            TableFormat::Parquet => {
                let table = ParquetTable::new(file, schema, threads);
                Kind::Parquet(Box::new(table.map_err(StoreError::parquet(path))?))
            }
            TableFormat::Arrow => {
                let writer = FileWriter::try_new_buffered(file, schema);
                Kind::Arrow(Box::new(writer.map_err(not_written(path))?))
            }
        };
        let path = path.to_owned();
        Ok(Self { path, kind })
    }

    /// Appends a batch of the table's schema.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        match &mut self.kind {
            Kind::Parquet(table) => table.write(batch).map_err(StoreError::parquet(&self.path)),
            Kind::Arrow(writer) => writer.write(batch).map_err(not_written(&self.path)),
        }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> Result<(), StoreError> {
        match self.kind {
            Kind::Parquet(table) => table.finish().map_err(StoreError::parquet(&self.path)),
            Kind::Arrow(mut writer) => writer.finish().map_err(not_written(&self.path)),
        }
    }
}

/// Why an Arrow file could not be written: the system refused it, or the format.
fn not_written(path: &Path) -> impl FnOnce(ArrowError) -> StoreError {
    |error| match error {
        ArrowError::IoError(_, source) => StoreError::io("write", path)(source),
        error => StoreError::arrow(path)(error),
    }
}

/// A Parquet file, whose columns are encoded side by side.
struct ParquetTable {
    file: SerializedFileWriter<File>,
    begin: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    threads: usize,
    /// Those of the open row group.
    columns: Vec<ArrowColumnWriter>,
    /// The rows of the open row group, with those that wait.
    rows: usize,
    /// What is not encoded yet.
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
}

impl ParquetTable {
    fn new(file: File, schema: &SchemaRef, threads: usize) -> Result<Self, ParquetError> {
        let properties = Some(properties(schema));
        let writer = ArrowWriter::try_new(file, SchemaRef::clone(schema), properties)?;
        let (file, begin) = writer.into_serialized_writer()?;
        let mut table = Self {
            file,
            begin,
            schema: Arc::clone(schema),
            threads,
            columns: Vec::new(),
            rows: 0,
            waiting: Vec::new(),
            waiting_rows: 0,
        };
        table.begin_row_group()?;
        if table.columns.len() != schema.fields().len() {
            let what = "a table has no columns of several columns";
            return Err(ParquetError::General(what.to_owned()));
        }
        Ok(table)
    }

    fn begin_row_group(&mut self) -> Result<(), ParquetError> {
        let number = self.file.flushed_row_groups().len();
        self.columns = self.begin.create_column_writers(number)?;
        self.rows = 0;
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        let mut start = 0;
        while start < batch.num_rows() {
            let count = (batch.num_rows() - start).min(SHARED_ROWS - self.waiting_rows);
            self.waiting.push(batch.slice(start, count));
            start += count;
            self.waiting_rows += count;
            self.rows += count;
            if self.rows == ROW_GROUP_ROWS {
                self.end_row_group()?;
                self.begin_row_group()?;
            } else if self.waiting_rows == SHARED_ROWS {
                self.encode()?;
            }
        }
        Ok(())
    }

    fn encode(&mut self) -> Result<(), ParquetError> {
        let (schema, waiting) = (&self.schema, &self.waiting);
        let columns = self.columns.iter_mut().enumerate().collect();
        let encoded = each(self.threads, columns, |(place, column)| {
            append(column, schema, waiting, place)
        });
        self.waiting.clear();
        self.waiting_rows = 0;
        encoded.into_iter().collect()
    }

    fn end_row_group(&mut self) -> Result<(), ParquetError> {
        let (schema, waiting) = (&self.schema, &self.waiting);
        let columns = self.columns.drain(..).enumerate().collect();
        let chunks: Vec<Result<ArrowColumnChunk, ParquetError>> =
            each(self.threads, columns, |(place, mut column)| {
                append(&mut column, schema, waiting, place)?;
                column.close()
            });
        self.waiting.clear();
        self.waiting_rows = 0;
        let mut group = self.file.next_row_group()?;
        for chunk in chunks {
            chunk?.append_to_row_group(&mut group)?;
        }
        group.close()?;
        Ok(())
    }

    fn finish(mut self) -> Result<(), ParquetError> {
        if self.rows > 0 {
            self.end_row_group()?;
        }
        self.file.finish()?;
        Ok(())
    }
}

/// Dictionaries for most columns, but differences for times of flows: they hardly repeat, and to look for that takes most.
fn properties(schema: &SchemaRef) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(files::created_by());
    for field in schema.fields() {
        let is_time = matches!(field.data_type(), DataType::Timestamp(..));
        if is_time && TIMES.contains(&field.name().as_str()) {
            let column = ColumnPath::from(field.name().as_str());
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        }
    }
    properties.build()
}

/// Encodes the column at `place` of `batches`.
fn append(
    column: &mut ArrowColumnWriter,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    place: usize,
) -> Result<(), ParquetError> {
    for batch in batches {
        for leaf in compute_leaves(schema.field(place), batch.column(place))? {
            column.write(&leaf)?;
        }
    }
    Ok(())
}

/// What `work` makes of each of `items`, in their order, on so many threads: each takes the next one when it is free.
fn each<I: Send, T: Send>(threads: usize, items: Vec<I>, work: impl Fn(I) -> T + Sync) -> Vec<T> {
    let helpers = threads.min(items.len()).saturating_sub(1);
    let items = Mutex::new(items.into_iter().enumerate());
    let take = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        let mut made = Vec::new();
        while let Some((place, item)) = take() {
            made.push((place, work(item)));
        }
        made
    };
    let run = &run;
    let mut made = thread::scope(|scope| {
        let start = |_| {
            let name = "table".to_owned();
            let thread = thread::Builder::new().name(name);
            // Where there are no more threads, this one does it all.
            thread.spawn_scoped(scope, run).ok()
        };
        let others: Vec<_> = (0..helpers).filter_map(start).collect();
        let mut made = run();
        for other in others {
            match other.join() {
                Ok(some) => made.extend(some),
                Err(panic) => panic::resume_unwind(panic),
            }
        }
        made
    });
    made.sort_unstable_by_key(|(place, _)| *place);
    made.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::UInt64Type;
    use arrow_array::{ArrayRef, StringArray, UInt64Array};
    use arrow_ipc::reader::FileReader;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let column = |values: Vec<u64>| Arc::new(UInt64Array::from(values)) as ArrayRef;
        let batches = [vec![1, u64::MAX], vec![7]].map(|values| {
            RecordBatch::try_from_iter([("bytes", column(values))]).expect("a batch")
        });
        let folder = tempfile::tempdir().expect("a folder");
        for format in [TableFormat::Parquet, TableFormat::Arrow] {
            let path = folder.path().join("table");
            let file = File::create(&path).expect("a file");
            let mut writer =
                TableWriter::new(file, &path, format, &batches[0].schema(), 2).expect("begins");
            for batch in &batches {
                writer.write(batch).expect("writes");
            }
            writer.finish().expect("ends");
            let file = File::open(&path).expect("is there");
            let values: Vec<u64> = match format {
                TableFormat::Parquet => ParquetRecordBatchReader::try_new(file, 10)
                    .expect("Parquet")
                    .flat_map(|batch| values_of(&batch.expect("a batch")))
                    .collect(),
                TableFormat::Arrow => FileReader::try_new(file, None)
                    .expect("Arrow")
                    .flat_map(|batch| values_of(&batch.expect("a batch")))
                    .collect(),
            };
            assert_eq!(values, [1, u64::MAX, 7], "{format:?}");
        }
    }

    #[test]
    fn a_file_is_the_same_with_any_number_of_threads() {
        let column = |of: &dyn Fn(u64) -> u64, rows: std::ops::Range<u64>| {
            Arc::new(UInt64Array::from_iter_values(rows.map(of))) as ArrayRef
        };
        // Batches end anywhere, as do row groups.
        let batches: Vec<RecordBatch> = [0..10, 10..10, 10..200_000, 200_000..600_001]
            .map(|rows| {
                let text = StringArray::from_iter_values(rows.clone().map(|n| n.to_string()));
                RecordBatch::try_from_iter([
                    ("same", column(&|_| 7, rows.clone())),
                    ("text", Arc::new(text) as ArrayRef),
                    ("number", column(&|number| number, rows)),
                ])
                .expect("a batch")
            })
            .into();
        let folder = tempfile::tempdir().expect("a folder");
        let written = [1, 2, 3, 9].map(|threads| {
            let path = folder.path().join("table");
            let file = File::create(&path).expect("a file");
            let format = TableFormat::Parquet;
            let schema = batches[0].schema();
            let mut writer =
                TableWriter::new(file, &path, format, &schema, threads).expect("begins");
            for batch in &batches {
                writer.write(batch).expect("writes");
            }
            writer.finish().expect("ends");
            std::fs::read(&path).expect("is there")
        });
        assert!(written.iter().all(|file| *file == written[0]));
        std::fs::write(folder.path().join("table"), &written[3]).expect("writes");
        let file = File::open(folder.path().join("table")).expect("is there");
        let reader = ParquetRecordBatchReader::try_new(file, 1 << 20).expect("Parquet");
        let read: Vec<RecordBatch> = reader.map(|batch| batch.expect("a batch")).collect();
        let numbers = read
            .iter()
            .flat_map(|batch| batch.column(2).as_primitive::<UInt64Type>().values());
        assert!(numbers.copied().eq(0..600_001));
        let texts = read
            .iter()
            .flat_map(|batch| batch.column(1).as_string::<i32>());
        assert!(
            texts
                .zip(0_u64..)
                .all(|(text, number)| text == Some(number.to_string().as_str()))
        );
    }

    #[test]
    fn work_is_shared_and_put_in_order() {
        for threads in [0, 1, 3, 100] {
            let made = each(threads, (0..50).collect(), |number: u32| 2 * number);
            assert!(made.into_iter().eq((0..100).step_by(2)), "{threads}");
        }
    }

    fn values_of(batch: &RecordBatch) -> Vec<u64> {
        let column = batch.column(0).as_any().downcast_ref::<UInt64Array>();
        column.expect("u64").values().to_vec()
    }
}
